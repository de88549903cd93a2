"""Which model is the best one, with what probability, and which ones the replicates cannot rule out."""

from __future__ import annotations

from itertools import combinations
from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.compare import ALPHA, sign_flip_test
from benchmarks.statistics.fitting import intervals, samples
from benchmarks.statistics.keys import CONDITION, VARIANT, metric_declarations
from benchmarks.statistics.learning_curves import Series, fit_all
from benchmarks.statistics.units import usable_units


def probability_best(draws: np.ndarray, probabilities: np.ndarray, lower: bool) -> np.ndarray:
    """Share of the bootstrap samples in which each model is the best one; ties are split.

    It describes the replicates and carries no error rate: among equal models one of them may well get 0.9.

    Parameters
    ----------
    draws
        Samples x models; samples in which a model has no value do not count.
    probabilities
        Of the samples.
    lower
        Whether lower is better.
    """
    whole = ~np.isnan(draws).any(axis=1) & (probabilities > 0)
    if not whole.any():
        return np.full(draws.shape[1], np.nan)
    signed = -draws[whole] if lower else draws[whole]
    first = signed == signed.max(axis=1, keepdims=True)
    share = probabilities[whole] / probabilities[whole].sum()
    return share @ (first / first.sum(axis=1, keepdims=True))


def p_not_best(values: np.ndarray, lower: bool) -> np.ndarray:
    """P-value, for each model, of the hypothesis that no other model is better than it.

    Paired sign-flip tests against every other model that has the better mean on the replicates that both have, the
    smallest p-value times the number of the others (Bonferroni). The hypothesis is about one model at a time, and
    only the tests of the true best model can exclude it wrongly: the set of the models with p > alpha holds the true
    best one with probability 1 - alpha at least, however many models there are (subset selection in the manner of
    Gupta 1965 and Hsu 1984, here by permutation).

    Parameters
    ----------
    values
        Replicates x models; NaN where there is none.
    lower
        Whether lower is better.

    Returns
    -------
    numpy.ndarray
        In (0, 1]; NaN for a model without a value.
    """
    m = values.shape[1]
    p = np.where(np.isnan(values).all(axis=0), np.nan, 1.0)
    by_count: dict[int, list[tuple[int, np.ndarray]]] = {}
    for a, b in combinations(range(m), 2):
        gap = values[:, a] - values[:, b]
        gap = gap[~np.isnan(gap)]
        if len(gap) and gap.mean() != 0:
            worse = a if (gap.mean() > 0) == lower else b
            by_count.setdefault(len(gap), []).append((worse, gap))
    for pairs in by_count.values():
        worse = np.array([number for number, _ in pairs])
        np.minimum.at(p, worse, np.minimum(1.0, (m - 1) * sign_flip_test(np.array([gap for _, gap in pairs]))))
    return p


MEASURED, CURVE, EXTRAPOLATED = "measured", "curve", "extrapolated curve"
"""Where a value comes from."""


def _rows(key: dict, names: list[tuple], sources: list[str], values: np.ndarray, draws: np.ndarray,
          probabilities: np.ndarray, lower: bool, alpha: float) -> list[dict]:  # fmt: skip
    """One row a model that has a value; see :func:`best`."""
    n = (~np.isnan(values)).sum(axis=0)
    chance = probability_best(draws[1:], probabilities[1:], lower)
    # The values of one replicate on a curve beyond its sizes differ by the form and exponent that all replicates gave:
    # that error is the same in each of them, and a test over replicates does not see it.
    beyond = np.array([source == EXTRAPOLATED for source in sources])
    p = p_not_best(np.where(beyond, np.nan, values), lower)
    may_be = beyond | (p > alpha)
    resolved = int(may_be.sum()) == 1 and not beyond.any()
    rows = []
    for number, (model, variant) in enumerate(names):
        (low,), (high,) = intervals(draws[:, number], probabilities, int(n[number]))
        rows.append(
            {
                **key, "source": sources[number], "model": model, "variant": variant, "n_replicates": int(n[number]), "value": draws[0, number], "low": low, "high": high,
                "probability_best": chance[number] if n.min() > 1 else np.nan, "p_not_best": p[number],
                "may_be_best": bool(may_be[number]), "resolved": resolved and len(names) > 1,
            }
        )  # fmt: skip
    return rows


COLUMNS = (*CONDITION, "metric", "source", *VARIANT, "n_replicates", "value", "low", "high", "probability_best",
           "p_not_best", "may_be_best", "resolved")  # fmt: skip
"""Columns of :func:`best`."""


def best_measured(units: pd.DataFrame, alpha: float = ALPHA) -> pd.DataFrame:
    """As :func:`best`, of the measured conditions."""
    rows = []
    for key, part in units.groupby([*CONDITION, "metric"], dropna=False, sort=True):
        names = sorted(set(zip(part["model"], part["variant"])))
        column = {name: number for number, name in enumerate(names)}
        row, replicates = pd.factorize(part["replicate"], sort=True)
        values = np.full((len(replicates), len(names)), np.nan)
        values[row, [column[name] for name in zip(part["model"], part["variant"])]] = part["value"]
        weights, probabilities = samples(len(values))
        present = ~np.isnan(values)
        share = weights @ present
        draws = np.where(share > 0, (weights @ np.where(present, values, 0)) / np.where(share > 0, share, 1), np.nan)
        own, sources = dict(zip((*CONDITION, "metric"), key)), [MEASURED] * len(names)
        rows += _rows(own, names, sources, values, draws, probabilities, bool(part["lower"].iloc[0]), alpha)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def budgets(sizes: np.ndarray) -> np.ndarray:
    """Numbers of cells to advise on between and beyond the measured `sizes`: the round ones, and twice the largest."""
    low, high = sizes[0], 2 * sizes[-1]
    round_ones = [factor * 10.0**power for power in range(1, 8) for factor in (1, 2, 3, 5, 7)]
    return np.array(sorted({value for value in round_ones if low < value < high} - set(sizes.tolist()) | {high}))


def best_on_curves(all_series: list[Series], alpha: float = ALPHA) -> pd.DataFrame:
    """As :func:`best`, of the fitted curves along ``cells`` at :func:`budgets`, where two models or more have one."""
    groups: dict[tuple, list[Series]] = {}
    for series in all_series:
        if series.axis == "cells" and series.curve is not None:
            key = (series.key["study"], series.key["dataset"], series.fixed, series.key["metric"])
            groups.setdefault(key, []).append(series)
    rows = []
    for (study, dataset, fraction, metric), members in sorted(
        groups.items(), key=lambda item: tuple(map(str, item[0]))
    ):
        if len(members) < 2:
            continue
        names = [(item.key["model"], item.key["variant"]) for item in members]
        sizes = np.unique(np.concatenate([item.curve.sizes for item in members]))
        # Only where every curve may be read, so that nobody wins by the absence of the others.
        reach = min(item.curve.limits[1] for item in members)
        start = max(item.curve.limits[0] for item in members)
        wanted = [n for n in budgets(sizes) if start <= n <= reach]
        if not wanted:
            continue
        draws = np.stack([item.curve.draws(np.array(wanted)) for item in members], axis=2)
        valid = np.stack([item.curve.fits.probabilities > 0 for item in members], axis=1).all(axis=1)
        _, probabilities = samples(len(members[0].replicates))
        probabilities = np.where(valid, probabilities, 0.0)
        for place, n in enumerate(wanted):
            values = np.stack([item.curve.replicate_values(n) for item in members], axis=1)
            own = {"study": study, "dataset": dataset, "n_cells": n, "unpaired_fraction": fraction, "metric": metric}
            sources = [CURVE if item.curve.sizes[0] <= n <= item.curve.sizes[-1] else EXTRAPOLATED for item in members]
            rows += _rows(own, names, sources, values, draws[:, place], probabilities, members[0].lower, alpha)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def best(
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
    alpha: float = ALPHA,
    all_series: list[Series] | None = None,
) -> pd.DataFrame:
    """Which model is best at which number of cells.

    Parameters
    ----------
    scores, runs, metrics
        As for :func:`benchmarks.statistics.summary.summarise`.
    alpha
        Error rate at which a model is ruled out.
    all_series
        Curves along ``cells`` where they have been fitted already.

    Returns
    -------
    pandas.DataFrame
        One row a (condition, metric, variant), at measured sizes and at round numbers of cells between them and up to
        twice the largest: ``source`` (``measured``, ``curve``, or ``extrapolated curve`` outside the sizes that the
        model itself was measured at); ``value``, ``low``, ``high`` (distance from the target for metrics with one);
        ``probability_best`` (:func:`probability_best`); ``p_not_best`` (:func:`p_not_best`; NaN for an extrapolated
        curve, which no test rules out), ``may_be_best`` (not ruled out at `alpha`), ``resolved`` (one model only may be
        best; never where a curve is extrapolated).
    """
    metrics = metric_declarations(metrics)
    units = usable_units(scores, runs, metrics)
    if all_series is None:
        all_series = fit_all(units, "cells", metrics)
    tables = [table for table in (best_measured(units, alpha), best_on_curves(all_series, alpha)) if len(table)]
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    order = ["study", "dataset", "unpaired_fraction", "metric", "n_cells", *VARIANT]
    return pd.concat(tables, ignore_index=True).sort_values(order, ignore_index=True)
