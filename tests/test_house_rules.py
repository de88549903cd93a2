"""Rules of the house that can be read off the files: who imports whom, one sentence a folder, nothing left open."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmarks", "models", "workflow")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
    return names


def test_benchmarks_never_imports_models_or_workflow():
    offenders = {
        str(path): names
        for path in modules("benchmarks")
        if (names := {n for n in imported(path) if n.split(".")[0] in ("models", "workflow")})
    }
    assert not offenders


def test_models_import_only_the_file_contracts_of_benchmarks():
    allowed = {"benchmarks.formats", "benchmarks.errors"}
    for path in modules("models"):
        for name in imported(path):
            if name.split(".")[0] == "benchmarks":
                assert name == "benchmarks" or ".".join(name.split(".")[:2]) in allowed, f"{path}: {name}"
            assert name.split(".")[0] != "workflow", f"{path}: {name}"


def test_rules_hold_one_command_each_and_every_directive():
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for body in re.split(r"^rule ", text, flags=re.M)[1:]:
            name = body.split(":")[0]
            directives = re.findall(r"^    (\w+):", body, flags=re.M)
            wanted = ["input", "output", "log", "benchmark", "conda", "threads", "resources", "params", "shell"]
            present = [item for item in wanted if item in directives]
            assert directives == present, f"{path.name}: {name}: {directives} is not in the order of {wanted}"
            missing = set(wanted) - set(directives) - {"input"}
            assert not missing, f"{path.name}: {name}: {missing}"
            assert re.match(r'\w+:\s+"""', body), f"{path.name}: {name} has no docstring"
            for resource in ("mem_mb", "runtime", "gpu"):
                assert f"{resource}=" in body, f"{path.name}: {name}: no {resource}"
            assert len(re.findall(r"python -m (?:models|benchmarks|workflow) ", body)) == 1, f"{path.name}: {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_in_one_sentence_what_lives_there(package):
    for path in (ROOT / package).rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        doc = ast.get_docstring(tree)
        assert doc and len(tree.body) == 1, f"{path}: a docstring and nothing else"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_and_classes_have_docstrings(package):
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path}: no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def test_data_are_never_executed():
    forbidden = re.compile(r"pickle\.load|allow_pickle=True|weights_only=False|\beval\(|\bexec\(|shell=True|os\.system")
    for package in PACKAGES:
        for path in modules(package):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not re.search(r"(?<![.\w])" + forbidden.pattern, line) or ".eval()" in line, (
                    f"{path}:{number}: {line.strip()}"
                )


def tracked_files() -> list[Path]:
    result = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_tracked_files_are_small_and_the_top_level_is_the_agreed_one():
    files = tracked_files()
    assert not [path for path in files if path.stat().st_size > 1_000_000]
    folders = {path.relative_to(ROOT).parts[0] for path in files if len(path.relative_to(ROOT).parts) > 1}
    assert folders <= {"workflow", "envs", "config", "models", "benchmarks", "results", "tests", "docs", ".ci"}
