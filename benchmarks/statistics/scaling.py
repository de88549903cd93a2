"""Scaling of scores to a common unit: 0 for the worst that makes sense, 1 for the best.

Label and pairing metrics are scaled between *measured* controls, because their chance level depends on the data:

    scaled = (value - random) / (oracle - random)

where ``random`` and ``oracle`` are the mean scores of these two controls in the same condition. The formula serves
either direction: where lower is better, both differences are negative. A model below chance is negative; nothing is
clipped here.

Mixing and batch metrics cannot be scaled so: a random embedding mixes perfectly, so it is no lower bound. They are
scaled by what their declaration says: its own ``scale`` if it has one, else its range and direction, or the distance
from the target.
"""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.keys import CONDITION, declaration, declared

SCALED_BY_CONTROLS = ("bio_conservation", "pairing")
"""Groups of metrics that are scaled between the random and the oracle control."""

SCALED_BY_DECLARATION = ("mixing", "batch_removal")
"""Groups of metrics that are scaled by their declared range or target."""

MINIMUM_GAP = 2.0
"""The controls must differ by this many standard deviations (over replicates) for a metric to be scaled by them."""


def scale_by_declaration(metric: object, values: np.ndarray) -> np.ndarray:
    """Scale the values of a mixing or batch metric by its declaration.

    ``metric.scale`` if there is one; ``(value - low) / (high - low)`` where higher is better and one minus that where
    lower is; around a target ``1 - |value - target| / |bound - target|`` with the bound on the value's side, or
    ``min(value / target, target / value)`` where that bound is infinite and all values are positive.

    Returns
    -------
    numpy.ndarray
        Same shape; NaN where the declaration gives no finite bounds.
    """
    values = np.asarray(values, dtype=float)
    scale = getattr(metric, "scale", None)
    if callable(scale):
        return np.array([float(scale(value)) if np.isfinite(value) else np.nan for value in values])
    low, high = (
        float(bound) if bound is not None else bound_if_none
        for bound, bound_if_none in zip(metric.range, (-np.inf, np.inf))
    )
    if metric.direction == "target":
        target = float(metric.target)
        bound = np.where(values < target, low, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            linear = 1 - np.abs(values - target) / np.abs(bound - target)
            ratio = np.minimum(values / target, target / values)
        ratio = np.where((values > 0) & (target > 0), ratio, 0.0 if low == 0 else np.nan)
        # One rule for both sides, or a metric on (0, inf) would be judged by a line below and a ratio above.
        scaled = linear if np.isfinite(low) and np.isfinite(high) else ratio
        return np.where(values == target, 1.0, np.where(np.isfinite(values), scaled, np.nan))
    if not (np.isfinite(low) and np.isfinite(high)) or high <= low:
        return np.full(values.shape, np.nan)
    scaled = (values - low) / (high - low)
    return scaled if metric.direction == "higher" else 1 - scaled


def control_scores(units: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of the ``random`` and ``oracle`` controls in each condition, for each metric.

    Parameters
    ----------
    units
        One row a (condition, variant, replicate, metric) with ``value``, as of :func:`benchmarks.statistics.summary.replicate_means`.

    Returns
    -------
    pandas.DataFrame
        Indexed by condition and metric; columns ``random``, ``random_sd``, ``oracle``, ``oracle_sd``.
    """
    keys = [*CONDITION, "metric"]
    table = pd.DataFrame(index=pd.MultiIndex.from_frame(units[keys].drop_duplicates()))
    for control in ("random", "oracle"):
        grouped = units[units["model"] == control].groupby(keys, dropna=False)["value"]
        table[control] = grouped.mean().reindex(table.index)
        table[f"{control}_sd"] = grouped.std(ddof=1).reindex(table.index)
    return table


def scale(units: pd.DataFrame, metrics: Mapping[str, object]) -> pd.DataFrame:
    """Add ``random``, ``oracle``, ``scaled`` and ``scaled_reason`` to replicate-wise scores.

    ``scaled`` is NaN, with the reason beside it, where a control has no score, where the oracle is not better than
    the random control by :data:`MINIMUM_GAP` standard deviations, or where a metric has no finite bounds.
    """
    units = units.copy()
    controls = control_scores(units)
    bounds = controls.reindex(pd.MultiIndex.from_frame(units[[*CONDITION, "metric"]]))
    random, oracle = bounds["random"].to_numpy(), bounds["oracle"].to_numpy()
    units["random"], units["oracle"] = random, oracle
    group = (
        units["metric"]
        .map({name: declared(metrics, name, "group", "other") for name in units["metric"].unique()})
        .to_numpy()
    )
    lower = (
        units["metric"]
        .map({name: declared(metrics, name, "direction", "higher") == "lower" for name in units["metric"].unique()})
        .to_numpy(bool)
    )
    values = units["value"].to_numpy(float)

    gap = np.where(lower, random - oracle, oracle - random)
    noise = np.sqrt(
        np.nan_to_num(bounds["random_sd"].to_numpy()) ** 2 + np.nan_to_num(bounds["oracle_sd"].to_numpy()) ** 2
    )
    tiny = 1e-9 * np.maximum(np.abs(random), np.abs(oracle))
    by_controls = np.isin(group, SCALED_BY_CONTROLS)
    resolved = by_controls & (gap > MINIMUM_GAP * noise) & (gap > tiny)
    scaled = np.full(len(units), np.nan)
    scaled[resolved] = (values[resolved] - random[resolved]) / (oracle[resolved] - random[resolved])

    reason = np.full(len(units), "", dtype=object)
    reason[by_controls & ~resolved] = "the oracle does not beat the random control clearly"
    reason[by_controls & np.isnan(oracle)] = "no score of the oracle control"
    reason[by_controls & np.isnan(random)] = "no score of the random control"
    for name in units["metric"].unique():
        if declared(metrics, name, "group", "other") in SCALED_BY_DECLARATION:
            rows = (units["metric"] == name).to_numpy()
            scaled[rows] = scale_by_declaration(declaration(metrics, name), values[rows])
            reason[rows & np.isnan(scaled)] = "the metric declares no finite bounds"
    reason[~by_controls & ~np.isin(group, SCALED_BY_DECLARATION)] = "metrics of this group are not scaled"
    reason[np.isnan(values)] = "no value"
    units["scaled"] = scaled
    units["scaled_reason"] = np.where(np.isfinite(scaled), "", reason)
    return units
