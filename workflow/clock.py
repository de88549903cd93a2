"""Results that are dated in the future, because the clock jumped, get the present time before Snakemake compares dates."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from workflow.configuration import ROOT
from workflow.planning import Plan

_SHARED = ("dataset_summary", "visible", "truth", "embedding", "prediction", "record", "scores", "seconds")


def settle(plan: Plan, results_dir: Path, now: float | None = None) -> int:
    """Give the files of a study that are dated after `now` (seconds, default: the clock) that time; return how many.

    Snakemake takes a file that is older than what it was made from for outdated. After a clock was set back, everything
    made from then on would be: it would be refused, and what was done would be done again in each run until the former
    time has passed. Files keep their order, as equal times are not older.
    """
    now = time.time() if now is None else now
    paths = {results_dir / entry[name] for entry in plan.to_mapping()["runs"] for name in _SHARED}
    paths |= {path.with_name("data.h5mu") for path in paths if path.name == "summary.json"}
    with contextlib.suppress(OSError):
        paths.update(path for path in (results_dir / plan.study.name).iterdir() if path.is_file())
    # The one file of the repository that a rule reads.
    paths.add(ROOT / "config" / "claims.yaml")
    changed = 0
    for path in paths:
        # A file that is not there, or not ours to touch, is left to Snakemake.
        with contextlib.suppress(OSError):
            # Under a second may be the disk's server, whose clock is never quite this one.
            if path.stat().st_mtime > now + 1:
                os.utime(path, (now, now))
                changed += 1
    if changed:
        print(
            f"{changed} files of the study were dated in the future (the clock was set back): they are dated now.",
            file=sys.stderr,
        )
    return changed
