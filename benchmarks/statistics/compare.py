"""Paired comparisons of models on the same subsamples."""

from __future__ import annotations

from itertools import combinations
from typing import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.statistics.intervals import bootstrap_intervals
from benchmarks.statistics.keys import CONDITION, CONTROLS, declared, metric_declarations
from benchmarks.statistics.summary import replicate_means, without_flagged

ALPHA = 0.05
"""Family-wise error rate at which a difference counts as resolved."""

EXACT_FLIPS = 12
"""Up to this many blocks all sign flips are enumerated; above it, :data:`N_FLIPS` are drawn."""

N_FLIPS = 19_999
"""Random sign flips drawn above :data:`EXACT_FLIPS` blocks."""


def sign_flips(n: int, seed: int = 0) -> np.ndarray:
    """Sign vectors under which `n` paired differences are exchangeable if two models are equal.

    All 2**(n - 1) up to a global sign for `n` <= :data:`EXACT_FLIPS` (the two-sided statistic does not see the global
    sign), else the identity and :data:`N_FLIPS` random ones. Shape (flips, n); the first row is all ones.
    """
    if n <= EXACT_FLIPS:
        bits = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(n)[None, :] & 1
        return 1.0 - 2.0 * bits
    generator = np.random.default_rng([seed, n])
    return np.vstack([np.ones(n), generator.choice([-1.0, 1.0], size=(N_FLIPS, n))])


def sign_flip_test(differences: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two-sided paired permutation test of a mean of zero, for each row.

    The p-value is the share of sign flips, the observed signs among them, whose absolute mean reaches the observed
    one. It is exact for few blocks: with n of them it cannot fall below 2**(1 - n).

    Parameters
    ----------
    differences
        Rows x blocks, finite.

    Returns
    -------
    numpy.ndarray
        One p-value a row, in (0, 1]; NaN where there are no blocks.
    """
    differences = np.asarray(differences, dtype=float)
    rows, n = differences.shape
    if n == 0:
        return np.full(rows, np.nan)
    signs = sign_flips(n, seed)
    result = np.empty(rows)
    block = max(1, 4_000_000 // len(signs))
    for start in range(0, rows, block):
        part = differences[start : start + block]
        sums = np.abs(part @ signs.T)
        # Flips that give the same sum in exact arithmetic must count as ties whatever the rounding.
        tolerance = 1e-12 * np.abs(part).sum(axis=1, keepdims=True)
        result[start : start + block] = np.mean(sums >= np.abs(part.sum(axis=1, keepdims=True)) - tolerance, axis=1)
    return result


def smallest_p(n: int) -> float:
    """Smallest p-value that :func:`sign_flip_test` can give with `n` blocks (NaN for none)."""
    if n == 0:
        return float("nan")
    return 2.0 ** (1 - n) if n <= EXACT_FLIPS else 1 / (N_FLIPS + 1)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment (1979, Scandinavian Journal of Statistics 6:65); NaN stay NaN and do not count."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    valid = np.flatnonzero(~np.isnan(p_values))
    order = valid[np.argsort(p_values[valid], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


def compare(
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
    by: Sequence[str] = CONDITION,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """Compare every pair of variants on every metric, on the subsamples that both have a score for.

    Controls are left out. Seeds are averaged within a replicate. With a `by` that is coarser than a condition, the
    differences are averaged within a block (data set and replicate) first: the smaller of two nested designs is part
    of the larger one, so that only blocks are independent.

    Parameters
    ----------
    scores
        Tidy scores with :data:`benchmarks.formats.SCORE_COLUMNS`.
    runs
        One row a run; a run with a flagged embedding counts as one without a score
        (:func:`~benchmarks.statistics.summary.without_flagged`).
    metrics
        Metric declarations; the registry where left out.
    by
        Columns of :data:`~benchmarks.statistics.keys.CONDITION` within which to compare.
    alpha
        Family-wise error rate within one metric of one `by` group.

    Returns
    -------
    pandas.DataFrame
        See :func:`compare_units`.
    """
    metrics = metric_declarations(metrics)
    return compare_units(replicate_means(without_flagged(scores, runs)), metrics, by, alpha)


def compare_units(
    units: pd.DataFrame, metrics: Mapping[str, object], by: Sequence[str] = CONDITION, alpha: float = ALPHA
) -> pd.DataFrame:
    """As :func:`compare`, on replicate-wise values.

    Returns
    -------
    pandas.DataFrame
        One row a (`by`, metric, pair): ``model_a``, ``variant_a``, ``model_b``, ``variant_b`` (a before b in the
        alphabet); ``n_blocks``; ``difference`` (mean of a - b in units of the metric) with ``low`` and ``high`` (95 %
        bootstrap over blocks); ``p``, ``p_holm`` (over the pairs of one metric in one `by` group), ``smallest_p``;
        ``better``: ``a``, ``b`` or ``unresolved``. Metrics with a target are compared by their distance from it.
    """
    by = list(by)
    units = units[~units["model"].isin(CONTROLS)].copy()
    names = units["metric"].unique()
    targets = {
        name: declared(metrics, name, "target") for name in names if declared(metrics, name, "direction") == "target"
    }
    for name, target in targets.items():
        rows = units["metric"] == name
        units.loc[rows, "value"] = np.abs(units.loc[rows, "value"] - target)
    lower_is_better = {
        name: name in targets or declared(metrics, name, "direction", "higher") == "lower" for name in names
    }
    columns = [*by, "metric", "model_a", "variant_a", "model_b", "variant_b", "n_blocks", "difference"]
    facts, differences = [], []
    for key, part in units.groupby([*by, "metric"], dropna=False, sort=True):
        variants = sorted(set(zip(part["model"], part["variant"])))
        pairs = list(combinations(range(len(variants)), 2))
        gaps = _block_differences(part, variants, pairs)
        for (a, b), gap in zip(pairs, gaps.T):
            gap = gap[~np.isnan(gap)]
            facts.append((*key, *variants[a], *variants[b], len(gap), gap.mean() if len(gap) else np.nan))
            differences.append(gap)
    table = pd.DataFrame(facts, columns=columns)
    for name in ("low", "high", "p", "smallest_p"):
        table[name] = np.nan
    for n in table["n_blocks"].unique():
        rows = np.flatnonzero(table["n_blocks"].to_numpy() == n)
        block = np.array([differences[row] for row in rows]).reshape(len(rows), n)
        table.loc[rows, "p"] = sign_flip_test(block)
        table.loc[rows, "smallest_p"] = smallest_p(n)
        if n:
            table.loc[rows, "low"], table.loc[rows, "high"] = bootstrap_intervals(block)
    table["p_holm"] = np.nan
    for _, part in table.groupby([*by, "metric"], dropna=False):
        table.loc[part.index, "p_holm"] = holm(part["p"])
    lower = table["metric"].map(lower_is_better).to_numpy(bool) if len(table) else np.zeros(0, bool)
    a_better = np.where(lower, table["difference"] < 0, table["difference"] > 0)
    table["better"] = np.where(table["p_holm"] <= alpha, np.where(a_better, "a", "b"), "unresolved")
    return table


def _block_differences(part: pd.DataFrame, variants: list[tuple], pairs: list[tuple[int, int]]) -> np.ndarray:
    """Differences of each pair of variants in each block (data set, replicate); NaN where they share no subsample.

    Returns blocks x pairs. Each subsample's difference comes first and is then averaged within its block.
    """
    column = {variant: number for number, variant in enumerate(variants)}
    subsample, _ = pd.factorize(pd.MultiIndex.from_frame(part[[*CONDITION, "replicate"]]))
    values = np.full((subsample.max() + 1, len(variants)), np.nan)
    values[subsample, [column[variant] for variant in zip(part["model"], part["variant"])]] = part["value"]
    first = part.assign(subsample=subsample).drop_duplicates("subsample").sort_values("subsample")
    block, _ = pd.factorize(pd.MultiIndex.from_frame(first[["dataset", "replicate"]]))
    gaps = values[:, [a for a, _ in pairs]] - values[:, [b for _, b in pairs]]
    sums, counts = np.zeros((block.max() + 1, len(pairs))), np.zeros((block.max() + 1, len(pairs)))
    np.add.at(sums, block, np.nan_to_num(gaps))
    np.add.at(counts, block, ~np.isnan(gaps))
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
