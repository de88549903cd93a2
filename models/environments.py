"""Where a model runs: the environment that its declaration names, whether it is here, and how it is built.

An environment ``<name>`` is described by files in ``envs/``:

``<name>.yaml``
    for ``snakemake --sdm conda``, which makes the environment and starts a training inside it. Its ``pip`` section is a
    copy of the lock, written by ``make env-files``: Snakemake moves the file elsewhere before conda reads it, so that it
    cannot refer to another one;
``<name>.lock``
    the Python packages, all pinned; without conda ``make env NAME=<name>`` builds ``.venvs/<name>`` from it;
``<name>.post-deploy.sh``
    what neither can express (packages that must be installed without their dependencies);
``<name>.apt``
    in place of a lock, for what comes from the system: Debian package and the R package that it brings, one a line.

``main`` is the running interpreter. This module needs the standard library alone: ``make env`` calls it before
anything is installed, and the workflow at its start.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from benchmarks.errors import InputError, did_you_mean

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / "envs"
"""Folder of the files that describe the environments."""

VARIABLE = "MOSAICBENCH_ENVIRONMENTS"
"""Environment variable: folder of the built environments (default ``.venvs``), or :data:`ACTIVE`."""

ACTIVE = "active"
"""Value of :data:`VARIABLE` where a deployment method has activated the right environment already."""

STAMP = ".lock-hash"
_BUILDING = ".building"
_PIP = "- pip:"
"""First line of the section of a conda file that holds the lock; it is the file's last one."""


@dataclass(frozen=True)
class Place:
    """Where a model of one environment runs on this machine.

    Attributes
    ----------
    python
        Interpreter of the training process; ``None`` if the environment is not here.
    reason
        Why it is not, with the one command that would change it; empty if it is.
    lock
        Digest of the files that describe the environment.
    installed
        Digest of what is installed in it, by names and versions: when it changes, a model that was not available
        may have become so.
    """

    python: str | None
    reason: str
    lock: str
    installed: str


def names() -> list[str]:
    """Names of all environments, ``main`` first."""
    found = {path.stem for ending in ("yaml", "lock", "apt") for path in ENVIRONMENTS.glob(f"*.{ending}")}
    return sorted(found, key=lambda name: (name != "main", name))


def requirements(path: Path) -> list[str]:
    """Lines of a file with their comments and blank lines left out; empty if there is no such file."""
    return requirements_of(path.read_text(encoding="utf-8")) if path.is_file() else []


def requirements_of(text: str) -> list[str]:
    """Lines of a text with comments and blank lines left out."""
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def lock_digest(name: str) -> str:
    """Digest of all that describes an environment; comments do not count, nor does the order of a lock's lines."""
    sha = hashlib.sha256()
    for ending, ordered in (("yaml", True), ("lock", False), ("post-deploy.sh", True), ("apt", False)):
        lines = requirements(ENVIRONMENTS / f"{name}.{ending}")
        if ending == "yaml" and _PIP in lines:
            # What follows is the lock once more.
            lines = lines[: lines.index(_PIP)]
        sha.update(f"{ending}\0{chr(10).join(lines if ordered else sorted(lines))}\0".encode())
    return sha.hexdigest()[:16]


def folder() -> Path:
    """Folder of the environments that ``make env`` built."""
    # Absolute: the training process starts in another working folder.
    return Path(os.environ.get(VARIABLE) or ROOT / ".venvs").absolute()


def locate(name: str) -> Place:
    """Find the environment called `name` on this machine; one that is not here is no error but a :class:`Place`."""
    lock = lock_digest(name)
    if os.environ.get(VARIABLE) == ACTIVE:
        # The deployment method makes the environment anew when its files change: these say what is installed.
        return Place(sys.executable, "", lock, f"deployed {lock}")
    if name == "main":
        return Place(sys.executable, "", lock, _installed(_own_site_packages()))
    if (ENVIRONMENTS / f"{name}.apt").is_file():
        return _locate_system(name, lock)
    if not (ENVIRONMENTS / f"{name}.lock").is_file():
        return Place(None, f"there is no envs/{name}.lock that says what the environment {name!r} is", lock, "absent")
    built = folder() / name
    stamp = built / STAMP
    python = built / "bin" / "python"
    if not stamp.is_file() or not os.access(python, os.X_OK):
        return Place(
            None, f"the environment {name!r} is not on this machine; build it by: make env NAME={name}", lock, "absent"
        )
    if stamp.read_text(encoding="utf-8").strip() != lock:
        reason = f"the environment {name!r} was built from another lock; bring it up to date by: make env NAME={name}"
        return Place(None, reason, lock, "outdated")
    return Place(str(python), "", lock, _installed(built.glob("lib/python*/site-packages")))


def _locate_system(name: str, lock: str) -> Place:
    """The running interpreter, if R has the packages that the environment's ``.apt`` file names."""
    present = r_packages()
    installed = hashlib.sha256("\n".join([_installed(_own_site_packages()), *sorted(present)]).encode()).hexdigest()[
        :16
    ]
    missing = missing_system_packages(name, present)
    if missing:
        wanted = ", ".join(package for _, package in missing)
        reason = f"R or its packages are missing ({wanted}); install them by: {apt_command(missing)}"
        return Place(None, reason, lock, installed)
    return Place(sys.executable, "", lock, installed)


def missing_system_packages(name: str, present: frozenset[str]) -> list[tuple[str, str]]:
    """(Debian package, R package) of the environment's ``.apt`` file whose R package is not among `present`."""
    pairs = [line.split() for line in requirements(ENVIRONMENTS / f"{name}.apt")]
    return [(debian, package) for debian, package in pairs if package not in present]


def apt_command(missing: Sequence[tuple[str, str]]) -> str:
    """The command that installs what is missing on Debian."""
    return f"apt-get install -y --no-install-recommends {' '.join(debian for debian, _ in missing)}"


@functools.cache
def r_packages() -> frozenset[str]:
    """Names of the packages in R's libraries; empty where there is no R."""
    command = shutil.which("Rscript")
    if command is None:
        return frozenset()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [command, "-e", 'cat(list.files(.libPaths()), sep="\\n")'], capture_output=True, text=True, timeout=60
        )
        if done.returncode == 0:
            return frozenset(done.stdout.split())
    return frozenset()


def _own_site_packages() -> Iterator[Path]:
    return iter(sorted({Path(sysconfig.get_paths()[kind]) for kind in ("purelib", "platlib")}))


def _installed(folders) -> str:
    """Digest of the distributions in some ``site-packages``: the names of their folders hold name and version."""
    found = {path.name for folder in folders for path in folder.glob("*.dist-info")}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


# --------------------------------------------------------------------------------------------------------
# The conda files
# --------------------------------------------------------------------------------------------------------


def conda_file(name: str) -> str:
    """What ``envs/<name>.yaml`` has to be: its text up to the section ``pip``, and in that the lines of the lock.

    Raises
    ------
    InputError
        If it has no such section at its end.
    """
    path = ENVIRONMENTS / f"{name}.yaml"
    head, found, _ = path.read_text(encoding="utf-8").partition(f"  {_PIP}\n")
    if not found:
        raise InputError(f"{path}: no line {_PIP!r}; end the dependencies with it, make env-files writes the rest")
    pins = "".join(f"      - {pin}\n" for pin in requirements(ENVIRONMENTS / f"{name}.lock"))
    return f"{head}{found}{pins}"


def write_conda_files() -> list[str]:
    """Copy every lock into its conda file; return the names of those that changed."""
    changed = []
    for name in names():
        path = ENVIRONMENTS / f"{name}.yaml"
        if path.is_file() and (ENVIRONMENTS / f"{name}.lock").is_file():
            text = conda_file(name)
            if text != path.read_text(encoding="utf-8"):
                path.write_text(text, encoding="utf-8")
                changed.append(name)
    return changed


# --------------------------------------------------------------------------------------------------------
# Building
# --------------------------------------------------------------------------------------------------------


def build(name: str) -> str:
    """Build ``.venvs/<name>`` from its lock, unless it is up to date; return one line about what was done.

    The stamp is written last, so that an interrupted build is no environment; the next build of the same lock goes on
    where it stopped, and one of another lock starts from nothing.

    Raises
    ------
    InputError
        If there is no such environment, the system lacks what it needs, or pip could not install it.
    """
    if name not in names() or name == "main":
        known = [known for known in names() if known != "main"]
        hint = "; the main environment is made by: make setup" if name == "main" else did_you_mean(name, known)
        raise InputError(f"no environment {name!r} to build{hint}")
    if (ENVIRONMENTS / f"{name}.apt").is_file():
        missing = missing_system_packages(name, r_packages())
        if missing:
            raise InputError(
                f"environment {name}: comes from the system; as root run: {apt_command(missing)} "
                f"(or, with conda, run the workflow with --sdm conda)"
            )
        return f"environment {name}: R and its packages are here"
    lock = ENVIRONMENTS / f"{name}.lock"
    if not lock.is_file():
        raise InputError(f"environment {name}: there is no {lock.name} to build it from; add it beside {name}.yaml")
    if sys.version_info[:2] != (3, 11):
        raise InputError(
            f"the locks are pinned for Python 3.11, this is {sys.version.split()[0]}: make env NAME={name} PYTHON=python3.11"
        )
    target, wanted = folder() / name, lock_digest(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / f".{name}.turn", "a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _read(target / STAMP) == wanted and os.access(target / "bin" / "python", os.X_OK):
            return f"environment {name}: up to date"
        (target / STAMP).unlink(missing_ok=True)
        if _read(target / _BUILDING) != wanted:
            _say(f"environment {name}: creating {target} (one time, a few minutes)")
            _run([sys.executable, "-m", "venv", "--clear", str(target)], name)
            (target / _BUILDING).write_text(wanted, encoding="utf-8")
        pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pins = requirements(lock)
        for torch in (pin for pin in pins if pin.startswith("torch==")):
            _say(f"environment {name}: installing {torch}")
            _run([*pip, torch], name)
        _say(f"environment {name}: installing {lock.name} ({sum('==' in pin for pin in pins)} packages)")
        _run([*pip, "--requirement", str(lock)], name)
        script = ENVIRONMENTS / f"{name}.post-deploy.sh"
        if script.is_file():
            _say(f"environment {name}: running {script.name}")
            _run(["bash", "-euo", "pipefail", str(script)], name, child_variables(str(target / "bin" / "python")))
        (target / STAMP).write_text(wanted, encoding="utf-8")
        (target / _BUILDING).unlink()
    return f"environment {name}: done"


def build_missing(wanted: Iterable[str]) -> None:
    """Build those of the environments `wanted` that are not here, one after the other, saying so.

    One that cannot be built (no network, say, or what only root can install) is said to be so and nothing else: its
    models are then recorded as not available.
    """
    for name in sorted(set(wanted) - {"main"}):
        if locate(name).python is None:
            try:
                _say(build(name))
            except InputError as error:
                _say(str(error))


def child_variables(python: str) -> dict[str, str]:
    """Variables with which a process of the environment of `python` finds its own commands first."""
    folder = Path(python).parent
    return {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "VIRTUAL_ENV": str(folder.parent)}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _run(command: list[str], name: str, variables: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env={**os.environ, **(variables or {})}, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise InputError(
            f"environment {name}: {' '.join(command[:4])} ... ended with status {done.returncode} (its message is above); "
            f"when that is mended, make env NAME={name} goes on from here"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m models.environments {build NAME...|build --all|list|conda-files}``; status 2 with one line for bad input."""
    parser = argparse.ArgumentParser(prog="python -m models.environments", description="Environments of the models.")
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build environments from their locks")
    builder.add_argument("names", nargs="*", metavar="NAME")
    builder.add_argument("--all", action="store_true", help="all but main; one that fails does not stop the others")
    commands.add_parser("list", help="list the environments and whether they are here")
    commands.add_parser("conda-files", help="copy the locks into the conda files")
    options = parser.parse_args(arguments)
    if options.command == "list":
        for name in names():
            print(f"{name}\t{locate(name).reason or 'here'}")
        return 0
    if options.command == "conda-files":
        try:
            print(f"changed: {', '.join(write_conda_files()) or 'none'}")
        except InputError as error:
            _say(str(error))
            return 2
        return 0
    wanted = [name for name in names() if name != "main"] if options.all else [name for name in options.names if name]
    if not wanted and not options.all:
        print(f"name an environment: make env NAME=... (known: {', '.join(names()[1:])})", file=sys.stderr)
        return 2
    status = 0
    for name in wanted:
        try:
            _say(build(name))
        except InputError as error:
            _say(str(error))
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
