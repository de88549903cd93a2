"""The values that curves and comparisons are made of: one a (condition, variant, metric, replicate)."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.keys import CONDITION, CONTROLS, VARIANT, declared
from benchmarks.statistics.scaling import SCALED_BY_CONTROLS, scale
from benchmarks.statistics.summary import replicate_means, without_flagged

MEASURED, BETWEEN_CONTROLS = "measured", "between controls"
"""What the values of a data set's metric are, in the column ``scale`` of :func:`comparable_units`."""


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


def comparable_units(
    scores: pd.DataFrame, runs: pd.DataFrame | None, metrics: Mapping[str, object], units: pd.DataFrame
) -> pd.DataFrame:
    """Values that can be compared between designs of different numbers of observations.

    Chance depends on that number: the NMI of random numbers falls as observations are added, and a model at chance
    would seem to lose by every cell. Label and pairing metrics are therefore put between the controls of their own
    design (:func:`~benchmarks.statistics.scaling.scale`: 0 is the random one, 1 the oracle, higher is better).

    Parameters
    ----------
    scores, runs, metrics
        As for :func:`usable_units`.
    units
        What :func:`usable_units` makes of them.

    Returns
    -------
    pandas.DataFrame
        `units` with ``scale``: :data:`BETWEEN_CONTROLS`, or :data:`MEASURED` for a data set's metric of another group
        and for one that cannot be scaled in every design (a control is missing, or the oracle not clearly better).
    """
    keys = [*CONDITION, *VARIANT, "metric", "replicate"]
    scaled = scale(replicate_means(without_flagged(scores, runs)), metrics).set_index(keys)["scaled"]
    scaled = scaled.reindex(pd.MultiIndex.from_frame(units[keys])).to_numpy(float)
    groups = {name: declared(metrics, name, "group", "other") for name in units["metric"].unique()}
    usable = units["metric"].map(groups).isin(SCALED_BY_CONTROLS).to_numpy() & (
        ~np.isnan(scaled) | units["value"].isna().to_numpy()
    )
    whole = (
        pd.Series(usable, units.index)
        .groupby([units[name] for name in ("study", "dataset", "metric")])
        .transform("all")
    )
    chosen = whole.to_numpy(bool)
    return units.assign(
        value=np.where(chosen, scaled, units["value"]),
        lower=units["lower"].to_numpy(bool) & ~chosen,
        scale=np.where(chosen, BETWEEN_CONTROLS, MEASURED),
    )


def bounds_of(metrics: Mapping[str, object], name: str) -> tuple[float, float]:
    """Smallest and largest value that the metric `name` can take in :func:`usable_units`; infinite where undeclared.

    That is its declared range, and of a metric with a target the distances from it.
    """
    low, high = declared(metrics, name, "range", (-np.inf, np.inf))
    if declared(metrics, name, "direction") != "target":
        return low, high
    target = declared(metrics, name, "target")
    return 0.0, max(high - target, target - low)
