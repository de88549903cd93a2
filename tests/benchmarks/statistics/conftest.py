"""Small score tables, row by row, and stand-ins for metric declarations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import SCORE_COLUMNS


def metric(name, group="bio_conservation", direction="higher", bounds=(0.0, 1.0), target=None, scale=None):
    """Stand-in for a metric declaration."""
    return SimpleNamespace(
        name=name, title=name, group=group, direction=direction, range=bounds, target=target, scale=scale
    )


METRICS = {
    item.name: item
    for item in (
        metric("nmi_leiden"),
        metric("rank_distance_fraction", "pairing", "lower"),
        metric("modality_enrichment", "mixing", "target", (0.0, np.inf), 1.0),
        metric("asw_batch", "batch_removal"),
        metric("rmse", "prediction", "lower", (0.0, np.inf)),
    )
}


def score_table(rows, **fixed) -> pd.DataFrame:
    """Scores from rows (model, metric, replicate, value[, status, reason[, seed]]) in one condition."""
    table = []
    for model, name, replicate, value, *rest in rows:
        status, reason, seed = (*rest, *("ok", "", 0)[len(rest) :])
        table.append(("s", "d", f"r{replicate}", 100, 0.5, replicate, model, model, seed, name, value, status, reason))
    return pd.DataFrame(table, columns=list(SCORE_COLUMNS)).assign(**fixed)


def run_table(scores: pd.DataFrame, **columns) -> pd.DataFrame:
    """The runs behind scores, none of them flagged."""
    keys = ["study", "dataset", "design", "n_cells", "unpaired_fraction", "replicate", "model", "variant", "seed"]
    runs = scores[keys].drop_duplicates(ignore_index=True)
    facts = {"status": "ok", "reason": "", "collapsed": False, "duplicate_fraction": 0.0, "wall_seconds": 1.0}
    return runs.assign(**{**facts, **columns})


def study(
    models: dict[str, float], replicates: int, noise: float = 0.01, seed: int = 0, metrics=("nmi_leiden",)
) -> pd.DataFrame:
    """Scores of models with known means, of equal noise, with the two controls at 0 and 1 (1 and 0 where lower is better)."""
    generator = np.random.default_rng(seed)
    rows = []
    for replicate in range(replicates):
        for name in metrics:
            lower = METRICS[name].direction == "lower"
            shift = generator.normal(0, 0.05)
            for model, mean in {"random": 0.0, "oracle": 1.0, **models}.items():
                level = mean if model in ("random", "oracle") else mean + shift + generator.normal(0, noise)
                rows.append((model, name, replicate, 1 - level if lower else level))
    return score_table(rows)


@pytest.fixture(scope="session")
def make():
    """The makers of this module."""
    return SimpleNamespace(metric=metric, metrics=METRICS, scores=score_table, runs=run_table, study=study)
