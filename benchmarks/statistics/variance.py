"""How much of a score's variance comes from the subsample and how much from the training seed."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pandas as pd

from benchmarks.statistics.intervals import LEVEL
from benchmarks.statistics.keys import CONDITION, VARIANT, check_unique, with_clean_status
from benchmarks.statistics.summary import replicate_means, without_flagged

FEWEST = 4
"""Replicates that a size needs to count in a trend of the variance, and the trend itself."""


def split(groups: Sequence[np.ndarray], level: float = LEVEL) -> dict:
    """One-way random-effects analysis of variance: seeds within subsamples.

    With R subsamples of n_i seeds, N values in all, and k0 = (N - sum n_i^2 / N) / (R - 1), the mean squares have the
    expectations E[within] = s_seed^2 and E[between] = s_seed^2 + k0 s_subsample^2 (Searle, Casella and McCulloch
    1992, *Variance Components*, section 3.5). A negative estimate of s_subsample^2 is set to 0.

    Parameters
    ----------
    groups
        Values of the seeds of each subsample.
    level
        Nominal coverage of the intervals, exact for normal values and equal n_i.

    Returns
    -------
    dict
        ``subsample_variance``, ``seed_variance`` with ``seed_low``, ``seed_high`` (chi-squared), ``subsample_share``
        of the sum with ``share_low``, ``share_high`` (F), ``variance`` of a score of one seed on one subsample,
        ``n_subsamples``, ``n_values``, and ``note``: what cannot be told apart, or is exactly 0. NaN for what is not
        identifiable. Equal values give exactly 0.
    """
    from scipy.special import chdtri, fdtri

    groups = [np.asarray(group, dtype=float) for group in groups if len(group)]
    result = dict.fromkeys(
        ("variance", "subsample_variance", "seed_variance", "seed_low", "seed_high", "subsample_share", "share_low", "share_high"),
        np.nan,
    )  # fmt: skip
    counts = np.array([len(group) for group in groups])
    n, r = int(counts.sum()), len(groups)
    result |= {"n_subsamples": r, "n_values": n, "note": ""}
    if n < 2:
        return result | {"note": "one value: no variance"}
    # Taken about the first value, so that equal values have a variance of exactly 0 and no rounding.
    origin = groups[0][0]
    shifted = [group - origin for group in groups]
    means = np.array([group[0] if np.ptp(group) == 0 else group.mean() for group in shifted])
    grand = means[0] if np.ptp(means) == 0 else float(np.sum(counts * means) / n)
    inner = float(sum(np.sum((group - mean) ** 2) for group, mean in zip(shifted, means)))
    outer = float(np.sum(counts * (means - grand) ** 2))
    tail = (1 - level) / 2
    if n == r:
        return result | {"variance": outer / (r - 1), "note": "one seed a subsample: the parts cannot be told apart"}
    seed = inner / (n - r)
    result["seed_variance"] = seed
    # chdtri and fdtri take lower or upper tails: chdtri the upper, fdtri the lower one.
    result["seed_low"] = inner / chdtri(n - r, tail)
    result["seed_high"] = inner / chdtri(n - r, 1 - tail)
    if seed == 0:
        result["note"] = "seeds give identical scores"
    if r < 2:
        return result | {"note": result["note"] or "one subsample: its part is unknown"}
    k0 = (n - np.sum(counts**2) / n) / (r - 1)
    between = outer / (r - 1)
    subsample = max(0.0, (between - seed) / k0)
    result |= {"subsample_variance": subsample, "variance": subsample + seed}
    if subsample == 0 and seed == 0:
        return result | {"note": "all scores are identical"}
    result["subsample_share"] = subsample / (subsample + seed)
    if seed > 0:
        ratio = between / seed
        bounds = (ratio / fdtri(r - 1, n - r, 1 - tail), ratio / fdtri(r - 1, n - r, tail))
        result["share_low"], result["share_high"] = (max(0.0, (f - 1) / (f - 1 + k0)) for f in bounds)
    else:
        result["share_low"] = result["share_high"] = 1.0
    return result


def trend(sizes: np.ndarray, values: np.ndarray, level: float = LEVEL) -> dict:
    """Slope of the logarithm of the variance against the logarithm of the number of cells.

    -1 is the variance of a mean of n cells. The interval is a jackknife over replicates (Tukey's, with Student's
    quantile), which takes whole replicates out and so respects that their sizes nest.

    Parameters
    ----------
    sizes
        Numbers of cells, shape (sizes,).
    values
        Replicates x sizes, seeds averaged. Sizes with fewer than :data:`FEWEST` replicates are left out (a study may
        have fewer of those that cost most), then replicates that lack another size.

    Returns
    -------
    dict
        ``slope``, ``slope_low``, ``slope_high``, ``trend`` (``falls``, ``rises`` or ``unresolved``) and ``note``.
    """
    from scipy.special import stdtrit

    result = {"slope": np.nan, "slope_low": np.nan, "slope_high": np.nan, "trend": "unresolved", "note": ""}
    values = np.asarray(values, dtype=float)
    if values.shape[1] < 2:
        return result | {"note": "one size"}
    often = (~np.isnan(values)).sum(axis=0) >= FEWEST
    if 2 <= often.sum() < len(often):
        left = ", ".join(f"{size:,.0f}" for size in np.asarray(sizes)[~often])
        result["note"] = f"without {left} cells, which fewer than four replicates have"
        sizes, values = np.asarray(sizes)[often], values[:, often]
    values = values[~np.isnan(values).any(axis=1)]
    r = len(values)
    if r < FEWEST:
        return result | {"note": f"{r} replicate{'' if r == 1 else 's'} with all sizes; four are needed"}
    x = np.log(np.asarray(sizes, dtype=float))
    x = (x - x.mean()) / np.sum((x - x.mean()) ** 2)

    def slope(part: np.ndarray) -> float:
        shifted = part - part[0]
        variances = shifted.var(axis=0, ddof=1)
        return float(np.log(variances) @ x) if (variances > 0).all() else np.nan

    whole = slope(values)
    left_out = np.array([slope(np.delete(values, number, axis=0)) for number in range(r)])
    if np.isnan(whole) or np.isnan(left_out).any():
        return result | {"note": "a variance of exactly 0 at one of the sizes"}
    pseudo = r * whole - (r - 1) * left_out
    half = stdtrit(r - 1, (1 + level) / 2) * pseudo.std(ddof=1) / np.sqrt(r)
    low, high = pseudo.mean() - half, pseudo.mean() + half
    word = "falls" if high < 0 else "rises" if low > 0 else "unresolved"
    return result | {"slope": whole, "slope_low": float(low), "slope_high": float(high), "trend": word}


def variance_split(scores: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """:func:`split` of every (condition, variant, metric) with a value: one row each.

    Parameters are those of :func:`benchmarks.statistics.summary.summarise`. Flagged runs are left out: how far a
    degenerate embedding lies from the others is no variance of training.
    """
    check_unique(scores)
    ok = with_clean_status(without_flagged(scores, runs)).query("status == 'ok'")
    keys = [*CONDITION, *VARIANT, "metric"]
    ok = ok.sort_values([*keys, "replicate", "seed"])
    rows = []
    for key, part in ok.groupby(keys, dropna=False, sort=True):
        values, replicate = part["value"].to_numpy(), part["replicate"].to_numpy()
        starts = np.flatnonzero(np.r_[True, replicate[1:] != replicate[:-1]])
        rows.append({**dict(zip(keys, key)), **split(np.split(values, starts[1:]))})
    names = ("variance", "subsample_variance", "seed_variance", "seed_low", "seed_high", "subsample_share", "share_low",
             "share_high", "n_subsamples", "n_values", "note")  # fmt: skip
    return pd.DataFrame(rows, columns=[*keys, *names])


def variance_trends(scores: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """:func:`trend` of every (study, dataset, unpaired fraction, variant, metric): one row each; flagged runs as above."""
    units = replicate_means(without_flagged(scores, runs))
    keys = ["study", "dataset", "unpaired_fraction", *VARIANT, "metric"]
    rows = []
    for key, part in units.groupby(keys, dropna=False, sort=True):
        row, replicates = pd.factorize(part["replicate"], sort=True)
        column, sizes = pd.factorize(part["n_cells"], sort=True)
        values = np.full((len(replicates), len(sizes)), np.nan)
        values[row, column] = part["value"]
        rows.append({**dict(zip(keys, key)), "n_sizes": len(sizes), **trend(sizes.to_numpy(float), values)})
    return pd.DataFrame(rows, columns=[*keys, "n_sizes", "slope", "slope_low", "slope_high", "trend", "note"])
