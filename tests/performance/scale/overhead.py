"""What a job costs beside its work: Snakemake's own time a job, and start-up, imports and files of each stage.

Run as ``python tests/performance/scale/overhead.py snakemake --jobs 500 1000 3000`` and ``... overhead.py stages``.

`snakemake` runs whole studies (of :mod:`planning`'s shape) with a stand-in for Python that leaves empty outputs and ends
at once, so that what is measured is Snakemake and one shell a job. `stages` makes a small simulated design and runs the
workflow's own commands on it: of ``models train`` the fit's own seconds (in its record) are work, of ``benchmarks score``
the metrics' own seconds; the rest is overhead. Both print processor seconds, of all children, beside wall seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from planning import ROOT, measured, study
from scheduler import COUNTED, passes_of

STAND_IN = """#!/bin/bash
# Leaves an empty file for every output of the stages that are run, and touches nothing that is there.
[ "$3" = train ] && sleep "$STAND_IN_SECONDS"
shift 3
while [ $# -gt 0 ]; do
  case "$1" in
    --output|--summary|--visible|--truth|--embedding|--prediction|--record|--scores|--seconds)
      [ -e "$2" ] || : > "$2"; shift 2;;
    *) shift;;
  esac
done
"""


def stand_in(folder: Path) -> Path:
    """An interpreter like this one, beside which `python` is the stand-in; jobs find what is beside Snakemake's."""
    (folder / "bin").mkdir(parents=True)
    os.symlink(sys.executable, folder / "bin" / "snakemake-python")
    os.symlink(Path(sys.prefix) / "lib", folder / "lib")
    (folder / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (folder / "bin" / "python").write_text(STAND_IN)
    (folder / "bin" / "python").chmod(0o755)
    return folder / "bin" / "snakemake-python"


def snakemake(options: argparse.Namespace) -> None:
    """Print Snakemake's seconds a job against the number of jobs."""
    import yaml

    print("| jobs | wall s | CPU s | CPU ms a job | passes a job | jobs looked at a job | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for jobs in options.jobs:
        with tempfile.TemporaryDirectory(prefix="overhead ") as name:
            folder = Path(name)
            python = stand_in(folder / "environment")
            (folder / "study.yaml").write_text(yaml.safe_dump(study(jobs)), encoding="utf-8")
            command = [
                str(python), "-c", COUNTED, "--snakefile", str(options.snakefile), "--configfile", "study.yaml",
                "--workflow-profile", str(ROOT / "workflow" / "profiles" / "default"), "--cores", str(options.cores),
                "--quiet", "all", "--until", "score_run", *options.arguments,
            ]  # fmt: skip
            os.environ["STAND_IN_SECONDS"] = str(options.seconds)
            wall, cpu, memory, text = measured(command, folder)
            done = len(list(folder.glob("results/shared/**/*.benchmark.tsv")))
            if not done:
                raise SystemExit(text[-3000:])
            passes, seen = passes_of(text)
            row = f"{wall:.1f} | {cpu:.1f} | {1000 * cpu / done:.0f} | {passes / done:.2f} | {seen / done:.0f}"
            print(f"| {done:,} | {row} | {memory:.0f} |", flush=True)


def stages(options: argparse.Namespace) -> None:
    """Print wall and CPU seconds of each stage's process, its work and its overhead, medians over repeats."""
    run = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory(prefix="overhead ") as name:
        folder = Path(name)
        data, visible, truth = (str(folder / f"{part}.h5mu") for part in ("data", "visible", "truth"))
        registry = folder / "datasets.yaml"
        registry.write_text(
            f"simulated:\n  format: simulated\n  description: x\n  simulate: {{n_cells: {options.cells}}}\n"
        )
        steps = {
            "prepare": ["benchmarks", "prepare", "--registry", str(registry), "--dataset", "simulated",
                        "--output", data, "--summary", str(folder / "summary.json")],
            "design": ["benchmarks", "design", "--dataset", data, "--visible", visible, "--truth", truth, "--spec",
                       json.dumps({"dataset": "simulated", "modalities": ["rna", "atac"], "n_cells": options.cells})],
        }  # fmt: skip
        for model in options.models:
            outputs = {key: str(folder / f"{model}.{key}") for key in ("embedding", "prediction", "record")}
            outputs = {"embedding": outputs["embedding"] + ".h5ad", "prediction": outputs["prediction"] + ".h5mu",
                       "record": outputs["record"] + ".json"}  # fmt: skip
            given = [word for key, path in outputs.items() for word in (f"--{key}", path)]
            steps[f"train {model}"] = ["models", "train", "--design", visible, "--model", model, "--device", "cpu",
                                       "--wall-seconds", "3600", "--memory-mb", "8000", *given]  # fmt: skip
            steps[f"score {model}"] = [
                "benchmarks", "score", *given, "--visible", visible, "--truth", truth, "--scores",
                str(folder / "scores.tsv"), "--seconds", str(folder / f"{model}.seconds.json"), "--metrics",
                *options.metrics,
            ]  # fmt: skip
        print("| stage | wall s | CPU s | work s | overhead CPU s | peak MB |\n|---|---|---|---|---|---|")
        for step, arguments in steps.items():
            rows = []
            for _ in range(options.repeats):
                wall, cpu, memory, _ = measured([*run, *arguments], ROOT)
                kind, model = (step.split() + [""])[:2]
                work = 0.0
                if kind == "train":
                    work = json.loads(Path(folder / f"{model}.record.json").read_text())["cpu_seconds"]
                if kind == "score":
                    # Wall seconds: on a machine with other work, more than the metrics' processor seconds.
                    work = sum(json.loads((folder / f"{model}.seconds.json").read_text())["seconds"].values())
                rows.append((wall, cpu, work, cpu - work, memory))
            wall, cpu, work, rest, memory = (statistics.median(column) for column in zip(*rows))
            print(f"| {step} | {wall:.2f} | {cpu:.2f} | {work:.2f} | {rest:.2f} | {memory:.0f} |", flush=True)


def main() -> None:
    """Read the arguments and run one mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("snakemake")
    mode.set_defaults(function=snakemake)
    mode.add_argument("--jobs", type=int, nargs="+", default=[500, 1000, 3000])
    mode.add_argument("--cores", type=int, default=2)
    mode.add_argument("--snakefile", type=Path, default=ROOT / "Snakefile")
    mode.add_argument("--seconds", type=float, default=0.0, help="what each training takes, asleep")
    mode.add_argument("arguments", nargs="*", help="further arguments of Snakemake, after --")
    mode = modes.add_parser("stages")
    mode.set_defaults(function=stages)
    mode.add_argument("--cells", type=int, default=500)
    mode.add_argument("--models", nargs="+", default=["random", "pca"])
    mode.add_argument("--repeats", type=int, default=3)
    mode.add_argument("--metrics", nargs="+", default=["nmi_louvain", "asw_cell_type", "asw_batch", "wall_seconds"])
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
