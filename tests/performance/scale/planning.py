"""Seconds and memory of planning (``snakemake --dry-run``) against the number of jobs of a study.

Run as ``python tests/performance/scale/planning.py --jobs 1000 3000 10000 30000``. Each study has the shape of
`brombacher_sample_size`: five sizes, many replicates, ten applicable models, two seeds, so that a design makes 41 jobs
(itself, 20 trainings, 20 scorings). It is planned in an empty folder, as before its first run; with ``--done`` once
more where the outputs of every job are (empty files), as when a finished study is asked for again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT))

MODELS = ["random", "oracle", "pca", "wnn", "mofa", "multivi", "multivi-native", "cobolt", "scmm", "totalvi"]
SIZES = [100, 200, 500, 1000, 2000]
SEEDS = [0, 1]
JOBS_OF_A_DESIGN = 1 + 2 * len(MODELS) * len(SEEDS)


def study(jobs: int) -> dict:
    """A study of about so many jobs, rounded to whole replicates of the five sizes."""
    replicates = max(1, round(jobs / JOBS_OF_A_DESIGN / len(SIZES)))
    return {
        "study": "many",
        "datasets": ["simulated"],
        "designs": {"n_cells": SIZES, "replicates": replicates},
        "models": MODELS,
        "training_seeds": SEEDS,
        "metrics": ["nmi_leiden", "asw_cell_type"],
        "device": "cpu",
    }


LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
status = subprocess.call(sys.argv[2:], stdout=2)
wall, usage = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([status, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], open(sys.argv[1], "w"))
"""


def measured(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak resident MB and output of a command run in `folder`.

    It is started by a small process in between: Linux counts a parent's memory as a child's own peak. The peak is the
    largest process', not the sum of a tree; the seconds are those of the tree.
    """
    with tempfile.TemporaryDirectory() as name:
        facts = Path(name) / "facts.json"
        done = subprocess.run(
            [sys.executable, "-S", "-c", LAUNCHER, str(facts), *command],
            cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
        )  # fmt: skip
        status, wall, cpu, memory = json.loads(facts.read_text())
    if status:
        raise SystemExit(f"{command} ended with {status}:\n{done.stderr[-3000:]}")
    return wall, cpu, memory, done.stderr


def dry_run(folder: Path, *arguments: str) -> tuple[float, float, float, int]:
    """Wall seconds, CPU seconds, peak MB and number of jobs of a dry run of ``study.yaml`` in `folder`."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "study.yaml",
        "--workflow-profile", str(ROOT / "workflow" / "profiles" / "default"),
        "--cores", "1", "--dry-run", "--quiet", "rules", *arguments,
    ]  # fmt: skip
    *numbers, text = measured(command, folder)
    found = re.search(r"^total\s+(\d+)", text, flags=re.M)
    return *numbers, int(found[1]) if found else 0


def touch_everything(folder: Path) -> None:
    """Leave an empty file for every output of the study in `folder`: older files first, as a run would."""
    from benchmarks.documents import load_yaml
    from workflow.configuration import load_study
    from workflow.planning import make_plan

    content = load_yaml(folder / "study.yaml")
    plan = make_plan(load_study(content, [folder / "study.yaml"]))
    shared = folder / "results" / "shared"
    groups = [
        [shared / "datasets" / item.key / name for item in plan.datasets for name in ("data.h5mu", "summary.json")],
        [shared / "designs" / item.key / name for item in plan.designs for name in ("visible.h5mu", "truth.h5mu")],
        [shared / "runs" / run.key / name for run in plan.trained for name in ("embedding.h5ad", "prediction.h5mu")],
        [shared / "runs" / run.key / "record.json" for run in plan.trained],
        [shared / "scores" / plan.metrics_key / run.key / "scores.tsv" for run in plan.trained],
        [shared / "scores" / plan.metrics_key / run.key / "seconds.json" for run in plan.trained],
    ]
    stamp = time.time() - 3600
    for age, paths in enumerate(groups):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (stamp + age, stamp + age))


def main() -> None:
    """Print one row a size, then the exponents."""
    import numpy as np
    import yaml

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 3000, 10000, 30000])
    parser.add_argument("--done", action="store_true", help="plan once more with all trainings and scorings done")
    options = parser.parse_args()
    rows = []
    print("| jobs | state | seconds | CPU seconds | peak MB | jobs left |\n|---|---|---|---|---|---|")
    for jobs in options.jobs:
        with tempfile.TemporaryDirectory(prefix="planning ") as name:
            folder = Path(name)
            (folder / "study.yaml").write_text(yaml.safe_dump(study(jobs)), encoding="utf-8")
            wall, cpu, memory, total = dry_run(folder)
            rows.append((total, cpu, memory))
            print(f"| {total:,} | nothing done | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {total:,} |", flush=True)
            if options.done:
                touch_everything(folder)
                wall, cpu, memory, left = dry_run(folder)
                print(
                    f"| {total:,} | trained and scored | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {left:,} |", flush=True
                )
    if len(rows) > 1:
        number, cpu, memory = np.array(rows, dtype=float).T
        exponent = np.polyfit(np.log(number), np.log(cpu), 1)[0]
        slope = np.polyfit(number, memory, 1)[0] * 1024
        print(f"\nCPU seconds ~ jobs^{exponent:.2f}; memory grows by {slope:.1f} KB a job")


if __name__ == "__main__":
    main()
