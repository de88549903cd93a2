"""The values that curves and comparisons are made of: one a (condition, variant, metric, replicate)."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.keys import CONDITION, CONTROLS, VARIANT, declared
from benchmarks.statistics.summary import flags, replicate_means


def usable_units(scores: pd.DataFrame, runs: pd.DataFrame | None, metrics: Mapping[str, object]) -> pd.DataFrame:
    """Replicate-wise values of all models but controls, without flagged embeddings.

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
    units = replicate_means(scores)
    units = units[~units["model"].isin(CONTROLS)]
    if runs is not None and len(runs):
        keys = [*CONDITION, *VARIANT]
        flagged = flags(runs)[keys].drop_duplicates()
        units = units.merge(flagged, on=keys, how="left", indicator="_flagged")
        units = units[units["_flagged"] == "left_only"].drop(columns="_flagged")
    units = units.copy()
    units["lower"] = False
    for name in units["metric"].unique():
        rows = units["metric"] == name
        direction = declared(metrics, name, "direction", "higher")
        if direction == "target":
            units.loc[rows, "value"] = np.abs(units.loc[rows, "value"] - declared(metrics, name, "target"))
        units.loc[rows, "lower"] = direction != "higher"
    order = [*CONDITION, *VARIANT, "metric", "replicate"]
    return units.sort_values(order, ignore_index=True)
