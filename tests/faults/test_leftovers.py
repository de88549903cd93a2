"""Temporary files of killed processes: removed by the next run, unless somebody is still writing them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.documents import load_yaml
from benchmarks.formats import atomic_path
from tests.faults import tiny
from workflow import leftovers
from workflow.configuration import load_study
from workflow.planning import make_plan

WRITER = """
import os, signal, sys
from benchmarks.formats import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half a file")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def plan(tmp_path):
    study = tiny.write_study(tmp_path, tiny.STUDY, results_dir=str(tmp_path / "results"))
    return make_plan(load_study(load_yaml(study), [study]))


def test_a_killed_writer_leaves_a_part_that_is_swept_and_a_live_one_is_left_alone(plan, tmp_path):
    results = tmp_path / "results"
    entry = plan.to_mapping()["runs"][0]
    done = subprocess.run([sys.executable, "-c", WRITER, str(results / entry["visible"])], cwd=tiny.ROOT)
    assert done.returncode == -9 and len(tiny.unfinished(tmp_path)) == 1
    assert not (results / entry["visible"]).exists()
    with atomic_path(results / entry["record"]) as temporary:
        temporary.write_text("being written")
        assert leftovers.sweep(plan, results) == 1
        assert tiny.unfinished(tmp_path) == [Path(temporary)]
    assert (results / entry["record"]).read_text() == "being written"
    assert leftovers.sweep(plan, results) == 0 and not tiny.unfinished(tmp_path)


def test_parts_of_downloads_stay(plan, tmp_path):
    """What has arrived of a file is gone on with."""
    results = tmp_path / "results"
    folder = (results / plan.to_mapping()["runs"][0]["dataset_summary"]).parent
    folder.mkdir(parents=True)
    (folder / "counts.h5.part").write_text("half a download")
    assert leftovers.sweep(plan, results) == 0 and (folder / "counts.h5.part").exists()
