"""Ranking of models over many blocks by mean ranks, with Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

from functools import lru_cache
from typing import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.statistics.compare import ALPHA
from benchmarks.statistics.keys import CONTROLS, VARIANT, metric_declarations
from benchmarks.statistics.units import usable_units

MISSING_LIMIT = 0.2
"""A variant that lacks more than this share of the conditions and replicates is left out, not the others' blocks."""


def friedman(ranks: np.ndarray) -> tuple[float, float]:
    """Iman and Davenport's form of Friedman's test, with the correction for ties.

    Parameters
    ----------
    ranks
        Blocks x models, mean ranks for ties.

    Returns
    -------
    statistic, p
        F statistic with k - 1 and (k - 1)(N - 1) degrees of freedom, and its p-value (Iman and Davenport 1980;
        Demsar 2006, Journal of Machine Learning Research 7:1, section 3.2.2). All blocks agreeing gives infinity and 0,
        all models tied in all blocks gives 0 and 1.
    """
    from scipy.special import fdtrc

    n, k = ranks.shape
    mean = (k + 1) / 2
    spread = float(np.sum((ranks - mean) ** 2))
    if spread == 0:
        return 0.0, 1.0
    between = n * float(np.sum((ranks.mean(axis=0) - mean) ** 2))
    chi = n * (k - 1) * between / spread
    rest = n * (k - 1) - chi
    if rest <= 1e-9:
        return float("inf"), 0.0
    statistic = (n - 1) * chi / rest
    return statistic, float(fdtrc(k - 1, (k - 1) * (n - 1), statistic))


@lru_cache(maxsize=64)
def _studentized_range(k: int, alpha: float) -> float:
    """Upper quantile of the studentized range of `k` groups and infinite degrees of freedom; slow, so kept."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - alpha, k, np.inf))


def critical_difference(k: int, n: int, alpha: float = ALPHA) -> float:
    """Difference of mean ranks from which on two of `k` models differ over `n` blocks (Nemenyi; Demsar 2006, 3.2.2).

    q sqrt(k (k + 1) / (6 n)) with q the studentized range of k groups and infinite degrees of freedom over sqrt(2).
    """
    return float(_studentized_range(k, alpha) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))


def cliques(means: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Largest runs (first, last) of sorted mean ranks that lie closer together than `difference`."""
    runs: list[tuple[int, int]] = []
    for first in range(len(means)):
        last = int(np.searchsorted(means, means[first] + difference, side="left")) - 1
        if not runs or last > runs[-1][1]:
            runs.append((first, max(first, last)))
    return runs


def rank_over_blocks(
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
    by: Sequence[str] = ("study",),
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """Mean ranks of the variants over blocks (data set and replicate), for each metric.

    Conditions of a block nest, so that they are no blocks of their own: the scores of a variant are ranked within
    each condition, and these ranks averaged within the block (and ranked again). The table has to be complete:
    variants that lack more than :data:`MISSING_LIMIT` of the conditions are left out and named, then whatever
    condition of a replicate still lacks one. Replicates of one data set are blocks; the result is about other
    subsamples of these data sets, not about other tissues.

    Data sets to which other models apply (RNA with accessibility, RNA with protein) are ranked apart: in one table
    only those models would be left that take them all.

    Parameters
    ----------
    scores, runs, metrics
        As for :func:`benchmarks.statistics.summary.summarise`.
    by
        Columns within which to rank: ``("study",)`` over all data sets, ``("study", "dataset")`` for each.
    alpha
        Of the critical difference.

    Returns
    -------
    pandas.DataFrame
        One row a (`by`, ``datasets``, metric, ranked variant), best first: ``datasets`` (names of those ranked over,
        to which the same variants apply), ``mean_rank``, ``n_blocks``, ``n_models``,
        ``friedman_p``, ``critical_difference``, ``rank_low``, ``rank_high`` (ranks that the critical difference
        leaves open; all of them where Friedman's test does not reject), ``cliques`` (numbers of the bars that the
        variant lies under), ``left_out`` (variants that were planned and lack too much, those without any value too).
    """
    metrics = metric_declarations(metrics)
    kinds = _alike(scores)
    scores = scores.assign(datasets=_looked_up(scores, kinds))
    units = usable_units(scores, runs, metrics)
    units = units.assign(datasets=_looked_up(units, kinds))
    by = [*by, "datasets"]
    names = [*by, "metric", *VARIANT, "mean_rank", "n_blocks", "n_models", "friedman_p", "critical_difference",
             "rank_low", "rank_high", "cliques", "left_out"]  # fmt: skip
    planned = _planned(scores, [*by, "metric"])
    rows = []
    for key, part in units.groupby([*by, "metric"], dropna=False, sort=True):
        sign = 1.0 if bool(part["lower"].iloc[0]) else -1.0
        table = part.assign(value=sign * part["value"]).pivot_table(
            index=["dataset", "replicate", "n_cells", "unpaired_fraction"],
            columns=list(VARIANT),
            values="value",
            sort=True,
        )
        whole = table.notna().mean() >= 1 - MISSING_LIMIT
        absent = planned.get(key, set()) - set(table.columns[whole])
        left_out = [f"{model} {variant}" if model != variant else model for model, variant in sorted(absent)]
        table = table.loc[:, whole].dropna()
        k = table.shape[1]
        if k < 2 or table.empty:
            continue
        ranks = table.rank(axis=1).groupby(level=["dataset", "replicate"]).mean().rank(axis=1).to_numpy()
        order = np.argsort(ranks.mean(axis=0), kind="stable")
        means, n = ranks.mean(axis=0)[order], len(ranks)
        p = friedman(ranks)[1] if n > 1 else np.nan
        distance = critical_difference(k, n, alpha)
        resolved = p <= alpha
        bars = cliques(means, distance) if resolved else [(0, k - 1)]
        for place, number in enumerate(order):
            better = int(np.sum(means <= means[place] - distance)) if resolved else 0
            worse = int(np.sum(means >= means[place] + distance)) if resolved else 0
            rows.append(
                {
                    **dict(zip([*by, "metric"], key)), **dict(zip(VARIANT, table.columns[number])), "mean_rank": means[place], "n_blocks": n,
                    "n_models": k, "friedman_p": p, "critical_difference": distance, "rank_low": 1 + better, "rank_high": k - worse,
                    "cliques": ", ".join(str(bar) for bar, (first, last) in enumerate(bars, 1) if first <= place <= last),
                    "left_out": ", ".join(left_out),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _alike(scores: pd.DataFrame) -> dict[tuple, str]:
    """Of each (study, data set) the data sets of that study to which the same variants apply, as names with commas."""
    applying = _planned(scores, ["study", "dataset"])
    alike: dict[tuple, list] = {}
    for (study, dataset), variants in sorted(applying.items(), key=lambda item: str(item[0])):
        alike.setdefault((study, frozenset(variants)), []).append(dataset)
    return {key: ", ".join(map(str, alike[key[0], frozenset(variants)])) for key, variants in applying.items()}


def _looked_up(table: pd.DataFrame, kinds: Mapping[tuple, str]) -> list[str]:
    """The entry of :func:`_alike` of each row; the data set's own name where it has controls alone."""
    return [kinds.get(key, str(key[1])) for key in zip(table["study"], table["dataset"])]


def _planned(scores: pd.DataFrame, by: list[str]) -> dict[tuple, set[tuple]]:
    """Variants that have a score of any status but ``not_applicable``, by the columns `by`; controls are none."""
    tried = scores[(scores["status"] != "not_applicable") & ~scores["model"].isin(CONTROLS)]
    return {key: set(zip(part["model"], part["variant"])) for key, part in tried.groupby(by, dropna=False)}
