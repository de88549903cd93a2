"""What the tests of faults share: one undisturbed run, small disks, and the switch for the long ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import tiny


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tests unless they are asked for by their marker."""
    if "faults" in (config.getoption("-m") or ""):
        return
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-faults"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """Folder of the tiny study, run to its tables without a fault, in a path with a space."""
    folder = tmp_path_factory.mktemp("undisturbed") / "a folder"
    tiny.write_study(folder, tiny.STUDY)
    tiny.succeed(folder)
    return folder


@pytest.fixture
def mount(tmp_path) -> Iterator[Callable[..., Path]]:
    """A function (options of mount) -> folder; unmounted after the test. Skipped where mounting is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def do(*options: str, folder: Path | None = None) -> Path:
        folder = folder or tmp_path / f"mounted {len(mounted)}"
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield do
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(mount) -> Callable[[int], Path]:
    """A function (KiB) -> folder of a file system of that size."""
    return lambda size_kib: mount("-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs")
