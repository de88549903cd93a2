"""YAML, lock, declarations and what is installed agree; every pin exists on the package index."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import time

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models import environments, registry

FILES = environments.ENVIRONMENTS
LOCKED = [name for name in environments.names() if (FILES / f"{name}.lock").is_file()]
CARRIERS = {"anndata", "h5py", "numpy", "pandas", "psutil", "scipy"}
"""What the training process imports before any model: it reads the design and writes the outputs."""

WEEK = 7 * 24 * 3600


def pins(name: str) -> dict[str, str]:
    """Distribution -> version of an environment's lock."""
    lines = environments.requirements(FILES / f"{name}.lock")
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}


def declared_by() -> dict[str, list[str]]:
    """Environment -> the models that declare it."""
    found: dict[str, list[str]] = {}
    for name in registry.names():
        found.setdefault(registry.declaration(name).environment, []).append(name)
    return found


def test_every_declared_environment_is_described_and_every_described_one_has_a_model():
    assert set(declared_by()) | {"main"} == set(environments.names())


@pytest.mark.parametrize("name", environments.names())
def test_yaml(name):
    content = yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert content["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    dependencies = content["dependencies"]
    assert "python=3.11" in dependencies
    assert all("=" in item or item == "pip" for item in dependencies if isinstance(item, str)), "pin every package"
    if (FILES / f"{name}.lock").is_file():
        assert (FILES / f"{name}.yaml").read_text(encoding="utf-8") == environments.conda_file(name), "make env-files"
        (section,) = [item["pip"] for item in dependencies if isinstance(item, dict)]
        assert section == environments.requirements(FILES / f"{name}.lock")
        assert dependencies[-2:] == ["pip", {"pip": section}]
    else:
        assert (FILES / f"{name}.apt").is_file(), "an environment has a lock, or the system's packages in its place"


@pytest.mark.parametrize("name", LOCKED)
def test_every_line_of_a_lock_is_one_pinned_package(name):
    lines = environments.requirements(FILES / f"{name}.lock")
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.!+]+", line) for line in lines)
    assert len(pins(name)) == len(lines), "a package is pinned twice"


@pytest.mark.parametrize("name", [name for name in LOCKED if name != "main"])
def test_a_lock_can_carry_the_data(name):
    assert set(pins(name)) >= CARRIERS


@pytest.mark.parametrize("path", sorted(FILES.glob("*.post-deploy.sh")), ids=lambda path: path.name)
def test_post_deploy_scripts_install_pinned_packages_alone(path):
    assert path.name.removesuffix(".post-deploy.sh") in LOCKED
    for line in environments.requirements(path):
        if "pip install" in line:
            named = [word for word in line.split("pip install")[1].split() if not word.startswith("-")]
            assert named and all("==" in word for word in named), line
            assert "--no-deps" in line, "what can be resolved belongs into the lock"


@pytest.mark.parametrize("path", sorted(FILES.glob("*.apt")), ids=lambda path: path.name)
def test_apt_files_name_pairs(path):
    lines = environments.requirements(path)
    assert lines and all(len(line.split()) == 2 for line in lines)


def test_torch_is_one_version_everywhere():
    assert {pins(name)["torch"] for name in LOCKED if "torch" in pins(name)} == {pins("main")["torch"]}


def problems(wanted: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Pins that another version, or none, is installed of."""
    public = {name: version.split("+")[0] for name, version in installed.items()}
    return [
        f"{name}=={version}: {public.get(name, 'not installed')}"
        for name, version in wanted.items()
        if public.get(name) != version.split("+")[0]
    ]


def test_main_lock_is_what_runs():
    if sys.prefix == sys.base_prefix:
        pytest.skip("not in a virtual environment")
    installed = {canonicalize_name(item.metadata["Name"]): item.version for item in importlib.metadata.distributions()}
    assert not problems(pins("main"), installed)


@pytest.mark.parametrize("name", [name for name in LOCKED if name != "main"])
def test_built_environments_are_what_their_lock_says(name):
    place = environments.locate(name)
    if place.python is None:
        pytest.skip(place.reason)
    # Of the package's own metadata, so that a package whose folder was half removed is noticed.
    code = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    done = subprocess.run([place.python, "-c", code], capture_output=True, text=True, check=True)
    installed = {canonicalize_name(key): value for key, value in json.loads(done.stdout).items()}
    assert not problems(pins(name), installed)
    for line in environments.requirements(FILES / f"{name}.post-deploy.sh"):
        for word in line.split():
            if re.fullmatch(r"[\w.-]+==[\w.]+", word):
                package, _, version = word.partition("==")
                assert installed.get(canonicalize_name(package)) == version, word


def test_problems_are_seen():
    assert problems({"a": "1.0", "b": "2.0", "c": "1"}, {"a": "1.0+cpu", "b": "2.1"}) == [
        "b==2.0: 2.1",
        "c==1: not installed",
    ]


def groups(n_buckets: int = 8) -> list[dict[str, str]]:
    """All pins of all locks in lists that can be resolved at once: no list has two versions of one package.

    A package's list depends on its name, so that another pin changes one list and leaves what is known of the others.
    """
    found: dict[tuple[int, int], dict[str, str]] = {}
    for package, version in sorted({pin for name in LOCKED for pin in pins(name).items()}):
        bucket = int(hashlib.sha256(package.encode()).hexdigest(), 16) % n_buckets
        repeat = 0
        while package in found.setdefault((bucket, repeat), {}):
            repeat += 1
        found[bucket, repeat][package] = version
    return list(found.values())


def resolve(group: dict[str, str], folder) -> dict[str, list[str]]:
    """``name==version`` -> what it requires; pip looks every pin up on the index, and downloads metadata alone."""
    wanted, report = folder / "requirements.txt", folder / "report.json"
    wanted.write_text("".join(f"{package}=={version}\n" for package, version in group.items()), encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--retries", "1",
        "--report", str(report), "--requirement", str(wanted),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index did not answer in time; what it has answered is kept for the next run")
    if done.returncode:
        if re.search(
            r"Temporary failure|Max retries|Connection|timed out|Network is unreachable|SSLError", done.stderr
        ):
            pytest.skip("the package index cannot be reached")
        raise AssertionError(done.stderr[-2000:])
    facts = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {canonicalize_name(item["name"]): item.get("requires_dist", []) for item in facts}


@pytest.fixture(scope="module")
def requirements_on_the_index(request, tmp_path_factory) -> dict[str, list[str]]:
    """``name==version`` of every pin -> what it requires, as the package index says.

    What was looked up in the last week is not looked up again: some hundred pages of the index take minutes.
    """
    found, key = {}, "mosaicbench/index"
    for group in groups():
        content = "\n".join(f"{package}=={version}" for package, version in group.items())
        place = f"{key}/{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        known = request.config.cache.get(place, None)
        if known is None or time.time() - known["time"] > WEEK:
            known = {"time": time.time(), "requires": resolve(group, tmp_path_factory.mktemp("resolve"))}
            request.config.cache.set(place, known)
        found |= {f"{package}=={group[package]}": requires for package, requires in known["requires"].items()}
    return found


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LOCKED)
def test_every_pin_is_on_the_index_and_the_lock_is_complete(name, requirements_on_the_index):
    versions, missing = pins(name), []
    for package, version in versions.items():
        for text in requirements_on_the_index[f"{package}=={version}"]:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({**default_environment(), "extra": ""}):
                continue
            wanted = canonicalize_name(requirement.name)
            # The CUDA libraries come with torch's own build for GPUs, and not with the one for CPUs.
            if wanted.startswith(("nvidia-", "cuda-", "triton")) or wanted in ("setuptools", "pip", "wheel"):
                continue
            found = versions.get(wanted)
            if found is None or not requirement.specifier.contains(found.split("+")[0], prereleases=True):
                missing.append(f"{package} wants {requirement}, the lock has {found}")
    assert not missing
