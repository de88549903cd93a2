"""Bootstrap intervals of a mean over few replicates."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial

import numpy as np

LEVEL = 0.95
"""Nominal coverage of every interval."""

EXACT_LIMIT = 6
"""Up to this many replicates every bootstrap sample is enumerated; above it, resamples are drawn."""

N_RESAMPLES = 4000
"""Resamples drawn above :data:`EXACT_LIMIT`, from a generator with a fixed seed."""


def expanded_tail(n: int, level: float = LEVEL) -> float:
    """Tail probability at which the bootstrap distribution of a mean of `n` values is cut.

    A plain percentile interval is too short for small `n`: the bootstrap variance lacks the factor n / (n - 1) and
    uses normal instead of Student quantiles. The tail is therefore taken further out,
    ``Phi(sqrt(n / (n - 1)) * t(alpha / 2; n - 1))`` (Hesterberg 2015, The American Statistician 69:371, "expanded
    percentile interval"). For two replicates this is practically zero, so that the interval is their range.
    """
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))


@lru_cache
def resampling_weights(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap samples of `n` values as weights that sum to one.

    Returns
    -------
    weights
        Samples x `n`: the share of each value in the sample.
    probabilities
        Probability of each sample; equal ones where samples are drawn.
    """
    if n <= EXACT_LIMIT:
        samples = list(combinations_with_replacement(range(n), n))
        counts = np.array([np.bincount(sample, minlength=n) for sample in samples])
        ways = np.array([factorial(n) / np.prod([factorial(int(count)) for count in row]) for row in counts])
        return counts / n, ways / n**n
    generator = np.random.default_rng([seed, n])
    counts = generator.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    return counts / n, np.full(N_RESAMPLES, 1 / N_RESAMPLES)


def bootstrap_intervals(values: np.ndarray, level: float = LEVEL, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of each row by the expanded percentile bootstrap.

    Parameters
    ----------
    values
        Rows x replicates, finite.
    level
        Nominal coverage, in (0, 1).
    seed
        Seeds the resampling above :data:`EXACT_LIMIT` replicates; below, nothing is random.

    Returns
    -------
    low, high
        One value a row; NaN for fewer than two replicates, from which no interval can be had.
    """
    values = np.sort(np.asarray(values, dtype=float), axis=1)
    rows, n = values.shape
    low, high = np.full(rows, np.nan), np.full(rows, np.nan)
    if n < 2:
        return low, high
    weights, probabilities = resampling_weights(n, seed)
    tail = expanded_tail(n, level)
    block = max(1, 4_000_000 // len(weights))
    for start in range(0, rows, block):
        part = values[start : start + block]
        # Resampling around the centre keeps rounding errors relative to the spread, not to the mean.
        centre = part.mean(axis=1, keepdims=True)
        means = (part - centre) @ weights.T
        order = np.argsort(means, axis=1, kind="stable")
        means = np.take_along_axis(means, order, axis=1)
        cumulative = np.cumsum(probabilities[order], axis=1)
        first = np.minimum(np.sum(cumulative < tail, axis=1), means.shape[1] - 1)
        survival = np.cumsum(probabilities[order][:, ::-1], axis=1)
        last = means.shape[1] - 1 - np.minimum(np.sum(survival < tail, axis=1), means.shape[1] - 1)
        index = np.arange(len(part))
        low[start : start + block] = centre[:, 0] + means[index, first]
        high[start : start + block] = centre[:, 0] + means[index, last]
    # The mean of n sorted values lies within their range; rounding must not push a bound out of it.
    return np.clip(low, values[:, 0], values[:, -1]), np.clip(high, values[:, 0], values[:, -1])


def interval_note(n: int) -> str:
    """How the interval over `n` replicates came about, in words for tables."""
    if n == 0:
        return "no value"
    if n == 1:
        return "one replicate: no interval"
    if n == 2:
        return "two replicates: their range"
    return "bootstrap, all samples enumerated" if n <= EXACT_LIMIT else f"bootstrap, {N_RESAMPLES} samples"
