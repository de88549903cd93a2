"""SIGKILL of the whole run at random moments: the next run goes on, does nothing twice, and gives the same bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.faults import tiny

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def kill_repeatedly(folder: Path, reference: Path, n_kills: int, seed: int, **options) -> list[dict]:
    """Run a study with `n_kills` SIGKILLs at random moments and to its end; check after each what is kept.

    A moment is a number of finished jobs, drawn without repeats from all but the last two, and a delay of up to 2 s
    after these. Moments in jobs rather than in seconds fall into every stage on machines of any speed.
    """
    rng = np.random.default_rng(seed)
    outputs = tiny.moved(tiny.jobs(reference), reference, folder)
    moments = sorted(rng.choice(len(outputs) - 2, n_kills, replace=False).tolist())
    delays = rng.uniform(0, 2, n_kills).tolist()
    kept: dict[str, tuple[int, ...]] = {}
    trials = []
    for number, (at, delay) in enumerate(zip(moments, delays)):
        killed, seconds = tiny.kill_when(folder, lambda at=at: len(tiny.finished(outputs)) >= at, delay, **options)
        found = tiny.finished(outputs)
        repeated = [name for name, times in kept.items() if found.get(name) != times]
        assert not repeated, f"seed {seed}, kill {number}: done before, and done again: {repeated}"
        kept = found
        trials.append(
            {"seed": seed, "kill": number, "killed": killed, "wanted": at, "delay_s": delay, "seconds": seconds,
             "finished": len(found), "jobs": len(outputs), "half_written": len(tiny.unfinished(folder))}
        )  # fmt: skip
    tiny.succeed(folder, **options)
    found = tiny.finished(outputs)
    assert set(found) == set(outputs)
    repeated = [name for name, times in kept.items() if found[name] != times]
    assert not repeated, f"seed {seed}: done before the last kill, and done again: {repeated}"
    assert tiny.digests(folder) == tiny.digests(reference)
    assert not tiny.unfinished(folder), "temporary files of killed jobs are left"
    assert "Nothing to be done" in tiny.succeed(folder, **options)
    return trials


def write_table(trials: list[dict]) -> None:
    """Append the trials to the table that the environment names, and print them."""
    lines = [
        "\t".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in t.values()) for t in trials
    ]
    print("\n".join(["\t".join(trials[0]), *lines]))
    if path := os.environ.get("MOSAICBENCH_FAULTS_TABLE"):
        new = not Path(path).exists()
        with open(path, "a", encoding="utf-8") as stream:
            stream.write("\n".join(["\t".join(trials[0])] * new + lines) + "\n")


def test_three_kills(undisturbed, tmp_path):
    tiny.write_study(tmp_path, tiny.STUDY)
    trials = kill_repeatedly(tmp_path, undisturbed, 3, seed=7, cores=2)
    write_table(trials)
    assert sum(trial["killed"] for trial in trials) == 3


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("larger")
    tiny.write_study(folder, tiny.LARGER)
    tiny.succeed(folder, target="all")
    return folder


@pytest.mark.faults
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_twenty_kills(larger, tmp_path, seed):
    """Four runs with five kills each, on one core and on two."""
    tiny.write_study(tmp_path, tiny.LARGER)
    trials = kill_repeatedly(tmp_path, larger, 5, seed=seed, cores=1 + seed % 2, target="all")
    write_table(trials)
    assert all(trial["killed"] for trial in trials)


def test_tables_that_a_killed_job_did_not_reach_are_made(undisturbed, tmp_path):
    """The statistics write one table after another; killed half-way, the later ones are missing and nobody notices."""
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder, symlinks=True)
    for name in ("claims.parquet", "claims.tsv", "advice.parquet"):
        (folder / "results" / "tiny" / name).unlink()
    planned = tiny.succeed(folder, "--dry-run", "--quiet", "rules", target="all")
    assert "compute_statistics" in planned and "train_model" not in planned
