"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; the test is skipped where it is not there."""
    folder = Path(os.environ.get("MOSAICBENCH_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (folder / "bmmc_multiome.h5mu").is_file():
        pytest.skip("the real data sets are not here (set MOSAICBENCH_DATA_DIR)")
    return folder
