"""The tiniest study through the real workflow, and what the tests of faults compare: bytes, finished jobs, leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from benchmarks.formats import file_sha256, read_json

ROOT = Path(__file__).resolve().parents[2]

STUDY = {
    "study": "tiny",
    "datasets": ["simulated_tiny"],
    "designs": {"n_cells": [60], "unpaired_fraction": [0.5], "seed": 3},
    "models": ["random", "pca"],
    "metrics": ["nmi_leiden", "rank_distance"],
    "umaps": {"max_embeddings": 0},
    "device": "cpu",
    "limits": {"wall_minutes": 20, "memory_mb": 4000},
}
"""One design, two models: what a test of every run of the tests can afford."""

LARGER = {
    **STUDY,
    "datasets": ["simulated_tiny", {"name": "simulated_tiny", "label": "paired", "unpaired_fraction": [0.0]}],
    "models": ["random", "oracle", "pca", "rna-pca", "multivi-native"],
    "hyperparameters": {"multivi-native": {"epochs": 2}},
}
"""Two sets of designs, controls, baselines and a small network: what ``make test-faults`` kills."""

TABLES = "results/tiny/summary.parquet"
"""What the tests ask the workflow for: all but the pictures and the report, which would take most of the time."""

WITHOUT_TIMES = {
    "data.h5mu", "summary.json", "visible.h5mu", "truth.h5mu", "embedding.h5ad", "prediction.h5mu", "plan.json", "scores.tsv",
    "scores.parquet", "summary.tsv", "ranking.tsv", "comparisons.tsv", "learning_curves.tsv", "advice.tsv", "claims.tsv",
}  # fmt: skip
"""Files whose bytes a study determines; the others hold times, too."""


def write_study(folder: Path, study: dict, **changes) -> Path:
    """Write a study file into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**study, **changes}, allow_unicode=True), encoding="utf-8")
    return path


def command(
    folder: Path, *arguments: str, cores: int = 2, snakefile: Path = ROOT / "Snakefile", target: str = TABLES
) -> list[str]:
    """The workflow in `folder`, on the study file there."""
    return [
        sys.executable, "-m", "snakemake", target, "--snakefile", str(snakefile), "--directory", str(folder),
        "--configfile", str(folder / "study.yaml"), "--cores", str(cores), "--rerun-triggers", "mtime", "params", "input",
        "--show-failed-logs", *arguments,
    ]  # fmt: skip


def run(folder: Path, *arguments: str, **settings) -> subprocess.CompletedProcess:
    """Run the workflow to its end; ``stdout`` and ``stderr`` are together in ``stdout``."""
    options = {name: settings.pop(name) for name in ("cores", "snakefile", "target") if name in settings}
    return subprocess.run(
        command(folder, *arguments, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500,
        errors="replace", **settings,
    )  # fmt: skip


def succeed(folder: Path, *arguments: str, **settings) -> str:
    """Run the workflow, which has to succeed; return what it printed."""
    done = run(folder, *arguments, **settings)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def digests(folder: Path) -> dict[str, str]:
    """Path in `folder` -> SHA-256 of each file of results that holds no times."""
    results = folder / "results"
    return {
        str(path.relative_to(results)): file_sha256(path)
        for path in sorted(results.rglob("*"))
        if path.name in WITHOUT_TIMES
    }


def unfinished(folder: Path) -> list[Path]:
    """Temporary files among the results."""
    return [path for path in (folder / "results").rglob(".*") if path.name.endswith(".part")]


def jobs(folder: Path) -> dict[str, list[Path]]:
    """Job -> its outputs, of the finished study in `folder`: what was made by one command."""
    results = folder / "results"
    plan = read_json(results / "tiny" / "plan.json")
    found: dict[str, list[Path]] = {"plan": [results / "tiny" / "plan.json"]}
    for entry in plan["runs"]:
        if entry["not_applicable"]:
            continue
        for name, keys in (
            ("train", ("embedding", "prediction", "record")),
            ("score", ("scores", "seconds")),
            ("design", ("visible", "truth")),
            ("dataset", ("dataset_summary",)),
        ):
            found[f"{name} {entry[keys[-1]]}"] = [results / entry[key] for key in keys]
    collected = {"scores", "runs", "metric_seconds"}
    tables = [path for ending in ("tsv", "parquet") for path in (results / "tiny").glob(f"*.{ending}")]
    found["collect"] = [path for path in tables if path.stem in collected] + [results / "tiny" / "provenance.json"]
    found["statistics"] = [path for path in tables if path.stem not in collected | {"umaps"}]
    if (results / "tiny" / "report.html").exists():
        found["umaps"] = [path for path in tables if path.stem == "umaps"]
        found["report"] = [results / "tiny" / "report.html"]
    return found


def moved(outputs: dict[str, list[Path]], source: Path, target: Path) -> dict[str, list[Path]]:
    """The jobs of the study in `source`, as they are in `target`."""
    return {name: [target / path.relative_to(source) for path in paths] for name, paths in outputs.items()}


def finished(outputs: dict[str, list[Path]]) -> dict[str, tuple[int, ...]]:
    """Job -> times at which its outputs were written, for the jobs all of whose outputs are there."""
    return {
        name: tuple(path.stat().st_mtime_ns for path in paths)
        for name, paths in outputs.items()
        if all(path.exists() for path in paths)
    }


def kill_when(folder: Path, ready: Callable[[], bool], delay: float = 0.0, **options) -> tuple[bool, float]:
    """Start the workflow, and SIGKILL its whole process group `delay` seconds after `ready`; return (killed, seconds).

    Not killed is a run that was done before. When this returns, no process of the run is left.
    """
    with open(folder / "killed.log", "ab") as log:
        process = subprocess.Popen(
            command(folder, **options), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    started, due = time.monotonic(), None
    try:
        while process.poll() is None:
            if due is None and ready():
                due = time.monotonic() + delay
            if due is not None and time.monotonic() >= due:
                break
            time.sleep(0.02)
            assert time.monotonic() - started < 1500
    finally:
        below = descendants(process.pid)
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert alive or process.returncode == 0, (folder / "killed.log").read_text(errors="replace")[-5000:]
    # Models run in sessions of their own: the kernel tells them that their parent has died.
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left, f"still running: {left}"
    return alive, time.monotonic() - started


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below `pid`."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
