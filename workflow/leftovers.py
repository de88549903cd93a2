"""Unfinished files that killed runs left beside the results: removed before the next run makes them anew."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from workflow.planning import Plan


def sweep(plan: Plan, results_dir: Path) -> int:
    """Remove temporary files of :func:`benchmarks.formats.atomic_path` whose writer is dead; return how many.

    Only folders in which something of the study is missing are looked at. Whoever writes holds a lock on the file,
    which no death leaves behind: a job of a cluster that outlived its Snakemake keeps what it is writing.
    """
    folders = {results_dir / plan.study.name}
    for entry in plan.to_mapping()["runs"]:
        for value in entry.values():
            if isinstance(value, str) and value.startswith("shared/") and not (results_dir / value).exists():
                folders.add((results_dir / value).parent)
    removed = 0
    for folder in folders:
        for path in folder.glob(".*.part"):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
    return removed
