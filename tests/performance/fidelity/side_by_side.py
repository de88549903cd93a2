"""What the drivers beside the authors' code share: designs, scores of an embedding, tables, alternating timings.

A driver gives two functions, ours and theirs, from a design and a seed to an embedding. The authors' code is run
from where the user put it; nothing of it is here.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

METRICS = {
    "nmi_leiden": "NMI",
    "asw_cell_type": "cell-type ASW",
    "label_knn_accuracy": "kNN accuracy",
    "asw_batch": "batch ASW",
    "rank_distance_fraction": "rank distance",
}

Embedder = Callable[[object, int], np.ndarray]


def designs(
    names: list[str],
    unpaired: float = 0.0,
    modalities: tuple[str, ...] = ("rna", "atac"),
    n_cells: int = 1000,
    n_real_cells: int | None = None,
    top_peaks: float | None = None,
):
    """Name -> (visible, truth); ``simulated`` or an entry of ``config/datasets.yaml`` (MOSAICBENCH_DATA_DIR).

    Of the latter all cells, or a subsample of `n_real_cells`, and all peaks, or a share `top_peaks` of those with the
    most counts.
    """
    from benchmarks.datasets.prepare import prepare
    from benchmarks.datasets.registry import get_entry, load_registry
    from benchmarks.datasets.simulate import SimulationParameters, simulate
    from benchmarks.designs import DesignSpec, make_design, make_design_from_file

    made = {}
    for name in names:
        if name == "simulated":
            parameters = SimulationParameters(
                modalities=modalities, n_cells=n_cells, n_genes=600, n_peaks=1500, n_proteins=40
            )
            spec = DesignSpec(name, modalities, n_cells=n_cells, unpaired_fraction=unpaired)
            made[name] = make_design(simulate(parameters, seed=0), spec)
            continue
        path = Path("config/datasets.yaml")
        entry = get_entry(load_registry(path), name, path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "data.h5mu"
            prepare(entry, os.environ.get("MOSAICBENCH_DATA_DIR"), file, Path(folder) / "summary.json", False)
            features = {"atac": {"top_fraction": top_peaks}} if top_peaks else {}
            spec = DesignSpec(name, modalities, n_cells=n_real_cells, unpaired_fraction=unpaired, features=features)
            made[name] = make_design_from_file(file, spec)
    return made


def scores(embedding: np.ndarray, truth) -> dict[str, float]:
    """The metrics that apply."""
    from benchmarks.metrics.context import Context
    from benchmarks.metrics.score import score

    table, _ = score(Context(embedding, truth, threads=1), METRICS)
    return {row.metric: row.value for row in table.itertuples() if row.status == "ok"}


def both_modalities(design, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean of the codes of the modalities that each observation has, as Brombacher et al. 2022 take it."""
    width = next(iter(codes.values())).shape[1]
    total, count = np.zeros((design.n_obs, width)), np.zeros((design.n_obs, 1))
    for name, values in codes.items():
        total[design.rows[name]] += values
        count[design.rows[name]] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)


def quietly(function: Callable, *arguments):
    """Call with what is printed thrown away: releases print every step."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments)


def compare(ways: Mapping[str, Embedder], made: Mapping[str, tuple], seeds: int, label: str = "") -> None:
    """Print one table: mean and standard deviation over seeds of each way on each design.

    The first way is ours, the second theirs; a metric of which the two means are further apart than the larger of
    the two standard deviations is marked. A training by a way whose name starts with "theirs" that breaks off counts as
    failed; the scores are of the others.
    """
    for name, (visible, truth) in made.items():
        found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
        failed: dict[str, list[str]] = {way: [] for way in ways}
        for seed in range(seeds):
            for way, embed in ways.items():
                try:
                    embedding = quietly(embed, visible, seed)
                except (ValueError, RuntimeError, FloatingPointError) as error:
                    if not way.startswith("theirs"):
                        raise
                    failed[way].append(f"seed {seed}: {str(error).splitlines()[0][:80]}")
                    continue
                scored = scores(embedding, truth)
                for metric, value in scored.items():
                    found[way].setdefault(metric, []).append(value)
                told = ", ".join(f"{METRICS[metric]} {scored[metric]:.3f}" for metric in METRICS if metric in scored)
                print(f"{name}, seed {seed}, {way}: {told}", file=sys.stderr, flush=True)
        print(f"\n{name}{label}, {seeds} seeds\n")
        shown = [metric for metric in METRICS if any(metric in values for values in found.values())]
        print("| | " + " | ".join(METRICS[metric] for metric in shown) + " |")
        print("|---" * (len(shown) + 1) + "|")
        for way, values in found.items():
            cells = [
                f"{np.mean(values[m]):.3f} ± {np.std(values[m], ddof=1):.3f}" if m in values else "" for m in shown
            ]
            print(f"| {way} | " + " | ".join(cells) + " |", flush=True)
        for way, reasons in failed.items():
            if reasons:
                print(f"{way}: {len(reasons)} of {seeds} failed ({'; '.join(reasons)})", flush=True)
        ours, theirs = (found[way] for way in list(ways)[:2])
        apart = []
        for metric in shown:
            gap = abs(np.mean(ours[metric]) - np.mean(theirs[metric]))
            deviation = max(np.std(ours[metric], ddof=1), np.std(theirs[metric], ddof=1))
            if gap > deviation:
                apart.append(f"{METRICS[metric]} ({gap / deviation:.1f} SD)")
        print("more than one standard deviation apart: " + (", ".join(apart) or "none"), flush=True)


def alternate(ways: Mapping[str, Callable[[], float]], repeats: int, unit: str) -> None:
    """Print the median seconds of each way, called in turn in this process; each returns the seconds of one `unit`."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, call in ways.items():
            taken[way].append(quietly(call))
    first = None
    for way, seconds in taken.items():
        median = float(np.median(seconds))
        first = median if first is None else first
        print(f"{way}: {1000 * median:.1f} ms {unit} (median of {repeats}), {median / first:.2f} of ours", flush=True)


def fitted(model: Callable, settings: Mapping[str, object]) -> Embedder:
    """Our side: a model with these hyperparameters, trained on the CPU."""

    def embed(visible, seed: int) -> np.ndarray:
        ours = model(**settings)
        ours.fit(visible, seed, "cpu")
        return ours.embed()

    return embed


def our_epoch(model: Callable, visible) -> float:
    """Median CPU seconds of the epochs of a new `model()`, the first two left out: other load does not count."""
    ours, stamps = model(), []
    ours.progress = lambda *_, **__: stamps.append(time.process_time())
    ours.fit(visible, 0, "cpu")
    return float(np.median(np.diff(stamps)[1:]))


def time_epochs(
    made: Mapping[str, tuple], model: Callable, their_epoch: Callable[[object], float], repeats: int
) -> None:
    """Print CPU seconds of an epoch of both on each design; the caller has set PyTorch to one thread.

    `model()` makes ours with the epochs to time, `their_epoch` returns the seconds of one of theirs on a design.
    """
    for name, (visible, _) in made.items():
        print(f"\n{name}, CPU seconds, one thread")
        ways = {"ours": partial(our_epoch, model, visible), "theirs": partial(their_epoch, visible)}
        alternate(ways, repeats, "an epoch")


def seconds(function: Callable, *arguments) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def parser(description: str, checkout: bool = True) -> argparse.ArgumentParser:
    """The arguments that all drivers have; without `checkout` the release is an installed package."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    if checkout:
        made.add_argument("checkout", type=Path, help="folder of the authors' repository")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--repeats", type=int, default=5, help="of the timings")
    made.add_argument("--data", nargs="+", help="designs: simulated, or entries of config/datasets.yaml")
    made.add_argument("--only", choices=("scores", "times"), help="one of the two parts")
    return made


def training_parser(description: str, epochs: int, checkout: bool = True) -> argparse.ArgumentParser:
    """The arguments of :func:`parser`, and of drivers in which both train for the same number of epochs."""
    made = parser(description, checkout)
    made.add_argument("--epochs", type=int, default=epochs)
    made.add_argument("--ours", type=json.loads, default={}, help="our hyperparameters, as JSON")
    return made
