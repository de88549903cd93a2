"""No code of ours can execute data: read off the syntax trees, with every rule shown to catch what it forbids."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from benchmarks.documents import _UniqueKeyLoader

PACKAGES = ("benchmarks", "models", "workflow")
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "imp",
    "pty",
    "code",
}
"""Modules that execute what they read."""

BARE = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint"}
DOTTED = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "yaml.unsafe_load_all", "pd.read_pickle", "pandas.read_pickle", "pd.eval", "torch.hub.load", "asyncio.create_subprocess_shell",
    "torch.package.PackageImporter",
}  # fmt: skip


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else f"?.{node.attr}"
    return ""


def faults(source: str) -> list[str]:
    """What a module does that could execute data, or write an archive's members anywhere."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        name, where = dotted(node.func), f"{node.lineno}: "
        keywords = {item.arg: item.value for item in node.keywords}
        constant = {key: value.value for key, value in keywords.items() if isinstance(value, ast.Constant)}
        last = name.rsplit(".", 1)[-1]
        if name in BARE or name in DOTTED:
            found.append(f"{where}calls {name}")
        # torch's modules have an eval() without arguments; pandas evaluates a text, which may only be one of ours.
        own = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and not node.keywords
        if last in ("eval", "query") and "." in name and (node.args or node.keywords) and not own:
            found.append(f"{where}{name} evaluates text")
        if "shell" in keywords and constant.get("shell") is not False:
            found.append(f"{where}{name} may use a shell")
        if name == "torch.load" and constant.get("weights_only") is not True:
            found.append(f"{where}torch.load without weights_only=True")
        if "allow_pickle" in keywords and constant.get("allow_pickle") is not False:
            found.append(f"{where}{name} may unpickle")
        if name == "yaml.load" and dotted(keywords.get("Loader", ast.Constant(0))) not in (
            "_UniqueKeyLoader",
            "yaml.SafeLoader",
        ):
            found.append(f"{where}yaml.load with a loader that is not safe")
        if last in ("extract", "extractall", "unpack_archive") and constant.get("filter") != "data":
            found.append(f"{where}{name} without filter='data'")
        if last == "Environment" and constant.get("autoescape") is not True:
            found.append(f"{where}{name} without autoescape=True")
    return found


BAD = (
    "import pickle", "from joblib import load", "eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)", "os.system(x)", "pd.eval(x)",
    "frame.query(x)", "frame.eval(x)", "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)", "torch.load(x)",
    "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)", "yaml.load(x)", "yaml.load(x, Loader=yaml.Loader)", "yaml.unsafe_load(x)",
    "tar.extractall(x)", "shutil.unpack_archive(x)", "archive.extract(x)", "jinja2.Environment()", "Environment(autoescape=False)",
)  # fmt: skip
FINE = (
    "model.eval()", "subprocess.run([x])", "torch.load(x, weights_only=True)", "np.load(x)", "yaml.safe_load(x)", "yaml.load(x, Loader=_UniqueKeyLoader)",
    "tar.extractall(x, filter='data')", "Environment(autoescape=True)", "re.compile(x)", "frame.query('a > 1')",
)  # fmt: skip


def test_every_rule_catches_what_it_forbids():
    assert [text for text in BAD if not faults(text)] == []
    assert [text for text in FINE if faults(text)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_can_execute_data(root, package):
    paths = sorted((root / package).rglob("*.py"))
    assert paths
    assert [
        f"{path.relative_to(root)}:{text}" for path in paths for text in faults(path.read_text(encoding="utf-8"))
    ] == []


def test_our_yaml_loader_is_the_safe_one():
    assert issubclass(_UniqueKeyLoader, yaml.SafeLoader)
    assert {tag for tag in _UniqueKeyLoader.yaml_constructors if tag and "python" in tag} == set()


def test_text_is_marked_as_html_in_two_places_alone(root):
    """Where templates are rendered, and where our own script and style enter the page (refusing end tags)."""
    marked = {
        path.relative_to(root / "benchmarks").as_posix()
        for path in (root / "benchmarks").rglob("*.py")
        if "Markup(" in path.read_text(encoding="utf-8")
    }
    assert marked == {"report/page.py", "report/section.py"}
    for path in (root / "benchmarks" / "report" / "templates").glob("*.j2"):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text(encoding="utf-8")), path


def test_r_code_evaluates_no_text(root):
    for path in sorted((root / "models").rglob("*.R")):
        text = "\n".join(line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
        assert not re.search(r"\b(eval|parse|system|system2|shell|readRDS|load|source\(url)\s*\(", text), path


OURS = {
    "params.truth", "params.data_dir", "params.metrics", "params.predict", "params.device", "params.threads", "params.embeddings",
    "params.observations", "wildcards.seed", "resources.wall_seconds", "resources.memory_limit",
}  # fmt: skip
"""What shell commands of rules hold unquoted: numbers, choices of the schema, and options quoted where they are made."""


def test_every_name_in_a_rules_command_is_quoted(root):
    for path in sorted((root / "workflow" / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for command in re.findall(r"^    shell:\n((?: {8}.*\n)+)", text, flags=re.M):
            held = re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", command)
            assert held, command
            assert {name for name in held if not name.endswith(":q")} <= OURS, path
        for line in re.findall(r"^        (?:truth|data_dir)=.*--.*$", text, flags=re.M):
            assert "shlex.quote" in line, line
