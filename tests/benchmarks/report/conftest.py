"""A fictitious study: invented numbers in the real tables' form, for looking at the report and testing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import SCORE_COLUMNS, write_json, write_table

HOSTILE = (
    "<script>alert(1)</script>",
    "$(touch x)",
    "../../x",
    "</script><img src=x onerror=alert(2)>",
    "T cell & 'NK' \"cell\"",
)
"""Names that data may bring: they must come out as the text that they are."""


@dataclass(frozen=True)
class StandInMetric:
    """The fields of a metric declaration that statistics and the report read."""

    name: str
    title: str
    family: str
    group: str
    direction: str = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    target: float | None = None
    paper: str = "A. Author et al. 2022"
    description: str = "A stand-in for a metric."
    scale: object = None
    # Chance, best, and how the quality of a model turns into a value.
    chance: float = 0.0
    best: float = 1.0
    spread: float = field(default=0.02)


FICTITIOUS_METRICS = {
    metric.name: metric
    for metric in (
        StandInMetric("nmi_leiden", "NMI (Leiden)", "clustering", "bio_conservation", chance=0.12, best=0.99),
        StandInMetric(
            "ari_leiden",
            "ARI (Leiden)",
            "clustering",
            "bio_conservation",
            range=(-1, 1),
            chance=0.0,
            best=0.98,
            spread=0.03,
        ),
        StandInMetric(
            "asw_cell_type", "Cell-type ASW", "silhouettes", "bio_conservation", chance=0.48, best=0.82, spread=0.01
        ),
        StandInMetric(
            "label_knn_accuracy", "Label kNN accuracy", "clustering", "bio_conservation", chance=0.16, best=1.0
        ),
        StandInMetric(
            "rank_distance",
            "Neighbour rank distance",
            "pairing",
            "pairing",
            "lower",
            (1, np.inf),
            chance=300.0,
            best=1.0,
            spread=8.0,
        ),
        StandInMetric(
            "rank_distance_fraction",
            "Rank distance / cells",
            "pairing",
            "pairing",
            "lower",
            (0, 1),
            chance=0.5,
            best=0.001,
            spread=0.01,
        ),
        StandInMetric(
            "modality_enrichment",
            "Modality enrichment",
            "mixing",
            "mixing",
            "target",
            (0, 2),
            1.0,
            chance=1.0,
            best=1.0,
        ),
        StandInMetric("asw_batch", "Batch ASW", "silhouettes", "batch_removal", chance=1.0, best=0.97, spread=0.01),
        StandInMetric(
            "graph_connectivity", "Graph connectivity", "structure", "batch_removal", chance=0.9, best=1.0, spread=0.01
        ),
        StandInMetric("spearman_rna", "Spearman, RNA", "prediction", "prediction", range=(-1, 1), chance=0.0, best=0.9),
    )
}

# model, variant, quality in [0, 1], gain from more cells, loss when all is unpaired, seconds at 1,000 cells
VARIANTS = (
    ("random", "random", 0.0, 0.0, 0.0, 0.1),
    ("collapsed", "collapsed", 0.0, 0.0, 0.0, 0.1),
    ("oracle", "oracle", 1.0, 0.0, 0.0, 0.2),
    ("pca", "pca", 0.62, 0.03, 0.30, 1.1),
    ("wnn", "wnn", 0.70, 0.04, 0.45, 9.0),
    ("mofa", "mofa", 0.60, 0.06, 0.35, 22.0),
    ("multivi", "multivi", 0.64, 0.14, 0.22, 95.0),
    ("multivi", "multivi-mmd", 0.635, 0.14, 0.22, 110.0),
    ("scmm", "scmm", 0.55, 0.10, 0.25, 140.0),
    ("scmvp", "scmvp", 0.58, 0.12, 0.0, 180.0),
)


def fictitious_tables(
    datasets=("bmmc_multiome", "snare_mouse_cortex"),
    sizes=(500, 1000, 2000),
    fractions=(0.0, 0.5, 0.99),
    replicates=5,
    seeds=(0,),
    variants=VARIANTS,
    seed=0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and runs of a study that nobody ran, with failures, rows that do not apply and a collapsed model."""
    generator = np.random.default_rng(seed)
    scores, runs = [], []
    for dataset_number, dataset in enumerate(datasets):
        for n_cells in sizes:
            for fraction in fractions:
                for replicate in range(replicates):
                    shift = generator.normal(0, 0.5)
                    design = f"n{n_cells}-u{fraction:g}-r{replicate}-{dataset_number:08x}"
                    for model, variant, quality, gain, loss, seconds in variants:
                        for training_seed in seeds:
                            key = (
                                "fictitious",
                                dataset,
                                design,
                                n_cells,
                                fraction,
                                replicate,
                                model,
                                variant,
                                training_seed,
                            )
                            status, reason = "ok", ""
                            if model == "scmvp" and fraction > 0:
                                status, reason = "not_applicable", "takes paired cells only"
                            elif model == "wnn" and fraction == 0.99:
                                status, reason = (
                                    "failed",
                                    "ValueError: 5 paired cells are too few for 20 neighbours <b>each</b>",
                                )
                            elif model == "scmm" and replicate == 1 and n_cells == sizes[0]:
                                status, reason = "diverged", "loss is not finite in epoch 31 of 200: {'train': nan}"
                            elif model == "mofa" and replicate == 2 and n_cells == sizes[-1]:
                                status, reason = "timeout", "more than 600 s"
                            level = (
                                quality
                                + (gain * np.log(n_cells / 1000) if quality else 0)
                                - loss * fraction**2
                                - 0.05 * dataset_number * (0 < quality < 1)
                            )
                            level = float(np.clip(level, 0, 1))
                            for metric in FICTITIOUS_METRICS.values():
                                scores.append(
                                    (
                                        *key,
                                        metric.name,
                                        *_score(metric, model, level, fraction, status, reason, shift, generator),
                                    )
                                )
                            ok = status == "ok"
                            wall = seconds * n_cells / 1000 * generator.lognormal(0, 0.1)
                            collapsed = model == "collapsed" or (
                                model == "scmm" and n_cells == sizes[-1] and replicate == 0
                            )
                            runs.append(
                                {
                                    **dict(
                                        zip(
                                            (
                                                "study",
                                                "dataset",
                                                "design",
                                                "n_cells",
                                                "unpaired_fraction",
                                                "replicate",
                                                "model",
                                                "variant",
                                                "seed",
                                            ),
                                            key,
                                        )
                                    ),
                                    "status": status,
                                    "reason": reason,
                                    "device": "cpu",
                                    "wall_seconds": wall if ok else np.nan,
                                    "cpu_seconds": wall * 0.97 if ok else np.nan,
                                    "gpu_seconds": None,
                                    "peak_rss_mb": 300 + 200 * np.log10(1 + seconds) + n_cells / 20 if ok else np.nan,
                                    "peak_device_mb": None,
                                    "epochs": 200 if model in ("multivi", "scmm", "scmvp") and ok else None,
                                    "n_latent": 10 if ok else 0,
                                    "collapsed": bool(collapsed and ok),
                                    "duplicate_fraction": 0.0 if ok else np.nan,
                                    "embedding": f"models/{design}/{variant}/embedding.h5ad",
                                    "truth": f"designs/{design}/truth.h5mu",
                                }
                            )
    return pd.DataFrame(scores, columns=list(SCORE_COLUMNS)), pd.DataFrame(runs)


def _score(metric, model, level, fraction, status, reason, shift, generator):
    """Value, status and reason of one fictitious score."""
    if status == "not_applicable":
        return np.nan, "not_applicable", reason
    if status != "ok":
        return np.nan, "missing", f"{status}: {reason}"
    if metric.group == "prediction" and model not in ("multivi", "scmm"):
        return np.nan, "not_applicable", "the model predicts nothing"
    if metric.group in ("mixing", "pairing") and fraction == 0:
        return np.nan, "not_applicable", "no unpaired cells"
    noise = generator.normal(0, metric.spread) * (model != "oracle")
    if metric.group in ("mixing", "batch_removal"):
        worst = 0.55
        mixed = 1.0 if model in ("random", "oracle", "collapsed") else 0.75 + 0.3 * level
        value = worst + (metric.best - worst) * min(mixed, 1.0) + noise
    else:
        value = metric.chance + (metric.best - metric.chance) * level + noise + metric.spread * shift * (0 < level < 1)
    low, high = metric.range
    return float(np.clip(value, low, high)), "ok", ""


def fictitious_umaps(runs: pd.DataFrame, n: int = 600) -> pd.DataFrame:
    """Blobs in the form of the table of UMAPs, with hostile cell types."""
    generator = np.random.default_rng(1)
    types = [*HOSTILE, *(f"type {i}" for i in range(1, 10))]
    size = runs["n_cells"].max()
    chosen = runs[
        (runs["replicate"] == 0)
        & (runs["n_cells"] == size)
        & (runs["status"] == "ok")
        & runs["unpaired_fraction"].isin([0.0, 0.5])
    ]
    tables = []
    for design, part in chosen.groupby("design", sort=False):
        cell_type = generator.integers(0, len(types), n)
        batch = generator.integers(0, 3, n)
        fraction = part["unpaired_fraction"].iloc[0]
        group = np.where(generator.random(n) > fraction, "paired", np.where(generator.random(n) > 0.5, "rna", "atac"))
        angle = cell_type / len(types) * 2 * np.pi
        for row in part.itertuples():
            spread = {"random": 6.0, "collapsed": 2.0, "oracle": 0.4}.get(row.model, 1.1)
            centre = 0 if row.model in ("random", "collapsed") else 6
            tables.append(
                pd.DataFrame(
                    {
                        "dataset": row.dataset, "design": design, "n_cells": row.n_cells, "unpaired_fraction": fraction, "model": row.model,
                        "variant": row.variant, "x": centre * np.cos(angle) + generator.normal(0, spread, n),
                        "y": centre * np.sin(angle) + generator.normal(0, spread, n) + (group == "atac") * 0.8,
                        "cell_type": np.array(types, dtype=object)[cell_type], "batch": np.array(["s1d1", "s1d2", "s2d4"], dtype=object)[batch], "group": group,
                    }
                )
            )  # fmt: skip
            tables[-1].loc[::37, "cell_type"] = None
    return pd.concat(tables, ignore_index=True)


FICTITIOUS_PROVENANCE = {
    "mosaicbench": "0.1.0",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "date": "2026-01-31T12:00:00Z",
    "command": "snakemake --cores 2 --config 'note=<script>alert(3)</script>'",
    "machine": {"system": "Linux 6.1", "processor": "a fictitious one", "cores": 2, "memory_gb": 16},
    "seeds": {"design": 0, "training": [0]},
    "versions": {"python": "3.11.9", "numpy": "2.4.6", "torch": "2.13.0"},
    "description": "A study <b>cut short</b> for the test.",
    "config": {
        "study": "fictitious",
        "datasets": ["bmmc_multiome"],
        "hyperparameters": {"multivi": {"max_epochs": 60, "lr": 0.003}},
    },
}


def write_fictitious_study(folder: Path, **arguments) -> Path:
    """Write the tables of a fictitious study into `folder`, as the workflow would."""
    scores, runs = fictitious_tables(**arguments)
    for name, table in (("scores", scores), ("runs", runs), ("umaps", fictitious_umaps(runs))):
        write_table(folder / f"{name}.parquet", table)
    write_json(folder / "provenance.json", FICTITIOUS_PROVENANCE)
    return folder


@pytest.fixture(scope="session")
def fictitious_study(tmp_path_factory) -> Path:
    """Folder of a fictitious study."""
    return write_fictitious_study(tmp_path_factory.mktemp("study with spaces"))


@pytest.fixture(scope="session")
def fictitious_metrics():
    """Metric declarations that go with the fictitious study."""
    return FICTITIOUS_METRICS
