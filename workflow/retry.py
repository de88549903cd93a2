"""Training runs again whose outcome may be another one now: those that failed, and those whose environment has come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from benchmarks.formats import read_record
from models import environments
from models import registry as model_registry
from workflow.planning import Plan, PlannedRun


def candidates(plan: Plan, results_dir: Path) -> list[tuple[PlannedRun, str]]:
    """The runs whose record says that they failed (in any way that training again may cure), with that status."""
    found = []
    for run in plan.trained:
        record = _record_path(run, results_dir)
        if record.is_file():
            status = read_record(record).status
            if status not in ("ok", "not_applicable"):
                found.append((run, status))
    return found


def newly_available(plan: Plan, results_dir: Path) -> list[PlannedRun]:
    """The runs that were not available, and in whose environment something else is installed now.

    Comparing what is installed, rather than looking for the missing package, needs no import of it; a run that still
    lacks something is recorded so again, with what is installed now, and then rests until that changes.
    """
    found, places = [], {}
    for run in plan.trained:
        record = _record_path(run, results_dir)
        # Most records are of runs that are done: their text tells it faster than a parser.
        if not record.is_file() or b'"not_available"' not in record.read_bytes():
            continue
        facts = read_record(record)
        if facts.status != "not_available":
            continue
        name = model_registry.declaration(run.variant.model).environment
        place = places.setdefault(name, environments.locate(name))
        if place.python is not None and facts.versions.get("environment_installed") != place.installed:
            found.append(run)
    return found


def forget(plan: Plan, runs: Sequence[PlannedRun], results_dir: Path) -> None:
    """Remove the outputs of `runs`, so that the next run of the workflow trains and scores them again."""
    for run in runs:
        folder = _record_path(run, results_dir).parent
        outputs = [folder / name for name in ("record.json", "embedding.h5ad", "prediction.h5mu")]
        outputs += (results_dir / "shared" / "scores").glob(f"*/{run.key}/scores.tsv")
        for path in outputs:
            path.unlink(missing_ok=True)
    if runs:
        # Snakemake makes a missing intermediate file only if something that needs it is missing as well.
        (results_dir / plan.study.name / "scores.parquet").unlink(missing_ok=True)


def revive(plan: Plan, results_dir: Path, dry_run: bool = False) -> int:
    """At the start of a session: have the runs trained that have become possible. Returns how many these are."""
    runs = newly_available(plan, results_dir)
    if runs:
        names = ", ".join(sorted({run.variant.name for run in runs}))
        verb = "would be" if dry_run else "are"
        print(f"{len(runs)} runs that were not available {verb} trained again: {names}", file=sys.stderr)
    if not dry_run:
        forget(plan, runs, results_dir)
    return len(runs)


def _record_path(run: PlannedRun, results_dir: Path) -> Path:
    return results_dir / "shared" / "runs" / run.key / "record.json"
