"""A clock that jumps: results dated in the future are taken as they are, and nothing is done twice."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from benchmarks.documents import load_yaml
from tests.faults import tiny
from workflow import clock
from workflow.configuration import load_study
from workflow.planning import make_plan

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DAY = 86400


def test_a_finished_study_that_is_dated_in_the_future_is_finished(undisturbed, tmp_path):
    """Some files from before the jump and some from after it, in any order of their dates."""
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    rng = np.random.default_rng(0)
    files = [path for path in sorted((folder / "results").rglob("*")) if path.is_file()]
    ahead = time.time() + rng.uniform(1, 300, len(files)) * DAY
    for path, moment in zip(files, ahead):
        if path.suffix != ".log":
            os.utime(path, (moment, moment))
    # Of files below a size Snakemake compares contents too: not of a study's larger ones.
    by_date = ("--max-checksum-file-size", "0")
    planned = tiny.succeed(folder, "--dry-run", "--quiet", "rules", *by_date)
    assert "Nothing to be done" not in planned, "without the remedy, Snakemake takes these for outdated"
    output = tiny.succeed(folder, *by_date)
    assert "dated in the future" in output and "Nothing to be done" in output
    assert "dated in the future" not in tiny.succeed(folder, *by_date)


def test_dates_of_the_past_stay_as_they_are(undisturbed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    study = folder / "study.yaml"
    plan = make_plan(load_study(load_yaml(study), [study], check_output=False))
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")}
    assert clock.settle(plan, folder / "results") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (path,) = (folder / "results").rglob("visible.h5mu")
    os.utime(path, (time.time() + DAY,) * 2)
    now = time.time()
    assert clock.settle(plan, folder / "results", now) == 1 and abs(path.stat().st_mtime - now) < 1e-3
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "visible.h5mu"} == {
        path: moment for path, moment in before.items() if path.name != "visible.h5mu"
    }


@pytest.mark.faults
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_while_a_run_is_down(undisturbed, tmp_path, jump):
    """Killed half-way; what there is dates from the other time; the next run goes on to the same bytes, once."""
    tiny.write_study(tmp_path, tiny.STUDY)
    outputs = tiny.moved(tiny.jobs(undisturbed), undisturbed, tmp_path)
    killed, _ = tiny.kill_when(tmp_path, lambda: any(name.startswith("train") for name in tiny.finished(outputs)))
    assert killed
    for path in (tmp_path / "results").rglob("*"):
        moment = path.stat().st_mtime + jump
        os.utime(path, (moment, moment))
    done = tiny.finished(outputs)
    inodes = {name: [path.stat().st_ino for path in outputs[name]] for name in done}
    tiny.succeed(tmp_path)
    assert tiny.digests(tmp_path) == tiny.digests(undisturbed)
    assert {name: [path.stat().st_ino for path in outputs[name]] for name in done} == inodes, "done again"
    assert "Nothing to be done" in tiny.succeed(tmp_path)
