"""The values that curves and comparisons are made of: one a (condition, variant, metric, replicate)."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.keys import CONDITION, CONTROLS, VARIANT, declared
from benchmarks.statistics.summary import replicate_means, without_flagged


def usable_units(scores: pd.DataFrame, runs: pd.DataFrame | None, metrics: Mapping[str, object]) -> pd.DataFrame:
    """Replicate-wise values of all models but controls, without flagged runs.

    A flagged run loses its own replicate and seed (:func:`~benchmarks.statistics.summary.without_flagged`); the other
    seeds of the replicate are averaged without it.

    Parameters
    ----------
    scores, runs
        As for :func:`benchmarks.statistics.summary.summarise`.
    metrics
        Metric declarations.

    Returns
    -------
    pandas.DataFrame
        Condition, variant, ``metric``, ``replicate``, ``value`` and ``lower`` (whether lower is better). The value of
        a metric with a target is its distance from the target, of which lower is better.
    """
    units = replicate_means(without_flagged(scores, runs))
    units = units[~units["model"].isin(CONTROLS)].copy()
    units["lower"] = False
    for name in units["metric"].unique():
        rows = units["metric"] == name
        direction = declared(metrics, name, "direction", "higher")
        if direction == "target":
            units.loc[rows, "value"] = np.abs(units.loc[rows, "value"] - declared(metrics, name, "target"))
        units.loc[rows, "lower"] = direction != "higher"
    order = [*CONDITION, *VARIANT, "metric", "replicate"]
    return units.sort_values(order, ignore_index=True)


def bounds_of(metrics: Mapping[str, object], name: str) -> tuple[float, float]:
    """Smallest and largest value that the metric `name` can take in :func:`usable_units`; infinite where undeclared.

    That is its declared range, and of a metric with a target the distances from it.
    """
    low, high = declared(metrics, name, "range", (-np.inf, np.inf))
    if declared(metrics, name, "direction") != "target":
        return low, high
    target = declared(metrics, name, "target")
    return 0.0, max(high - target, target - low)
