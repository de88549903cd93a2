"""Local inverse Simpson's index of Korsunsky et al. 2019 (Harmony), for several labellings at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOLERANCE = 1e-5
MAX_STEPS = 50
_ROWS = 4096


def neighbour_probabilities(distances: np.ndarray, perplexity: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of each observation's neighbours: ``p_j ~ exp(-beta d_j)`` with beta set for the perplexity.

    The search for beta (start 1, doubling or halving, then bisection, at most 50 steps, stop when the entropy is
    within 1e-5 of ``log(perplexity)``) follows the published algorithm step by step: its stopping rule is part of
    the score's definition at the 1e-5 level.

    Parameters
    ----------
    distances
        Observations x neighbours, Euclidean (not squared), without the observation itself; NaN: no neighbour.
    perplexity
        Effective number of neighbours, greater than 1.

    Returns
    -------
    probabilities
        Observations x neighbours, rows add up to 1.
    entropy
        Entropy of each row in nats.
    """
    distances = np.asarray(distances, dtype=np.float64)
    present = ~np.isnan(distances)
    distances = np.where(present, distances, 0.0)
    n = len(distances)
    target = np.log(perplexity)
    beta = np.ones(n)
    low = np.full(n, -np.inf)
    high = np.full(n, np.inf)
    probabilities = np.zeros_like(distances)
    entropy = np.zeros(n)

    def evaluate(rows: np.ndarray) -> None:
        chosen = distances[rows]
        weights = np.exp(-chosen * beta[rows, None]) * present[rows]
        total = weights.sum(axis=1)
        safe = np.where(total > 0, total, 1.0)
        entropy[rows] = np.where(total > 0, np.log(safe) + beta[rows] * (chosen * weights).sum(axis=1) / safe, 0.0)
        probabilities[rows] = weights / safe[:, None]

    active = np.arange(n)
    evaluate(active)
    for _ in range(MAX_STEPS):
        excess = entropy[active] - target
        open_ = np.abs(excess) > TOLERANCE
        active, excess = active[open_], excess[open_]
        if not len(active):
            break
        above = excess > 0
        low[active[above]] = beta[active[above]]
        high[active[~above]] = beta[active[~above]]
        current = beta[active]
        up = np.where(np.isinf(high[active]), current * 2, (current + high[active]) / 2)
        down = np.where(np.isinf(low[active]), current / 2, (current + low[active]) / 2)
        beta[active] = np.where(above, up, down)
        evaluate(active)
    return probabilities, entropy


def lisi(
    indices: np.ndarray, distances: np.ndarray, labellings: Sequence[np.ndarray], perplexity: float
) -> list[np.ndarray]:
    """LISI of each observation for each labelling: the effective number of labels around it.

    ``LISI_i = 1 / sum_l (sum_{j in N(i), label_j = l} p_j)^2``

    Parameters
    ----------
    indices, distances
        Observations x neighbours, without the observation itself; an index below 0 marks a missing neighbour
        (observations with fewer neighbours than wanted have LISI 1, as in scib's graph form).
    labellings
        Each int codes 0..L-1, one an observation.
    perplexity
        Effective number of neighbours.

    Returns
    -------
    list of ndarray
        One array of n values in [1, L] a labelling.
    """
    n, k = indices.shape
    results = [np.ones(n) for _ in labellings]
    if perplexity <= 1:
        perplexity = 1.0 + 1e-9
    for start in range(0, n, _ROWS):
        block = slice(start, min(start + _ROWS, n))
        chosen = indices[block]
        complete = (chosen >= 0).all(axis=1)
        probabilities, _ = neighbour_probabilities(np.where(chosen >= 0, distances[block], np.nan), perplexity)
        for result, codes in zip(results, labellings):
            n_labels = int(codes.max()) + 1
            flat = np.arange(len(chosen))[:, None] * n_labels + codes[np.maximum(chosen, 0)]
            shares = np.bincount(flat.ravel(), weights=probabilities.ravel(), minlength=len(chosen) * n_labels)
            simpson = np.square(shares.reshape(len(chosen), n_labels)).sum(axis=1)
            result[block] = np.where(complete & (simpson > 0), 1.0 / np.where(simpson > 0, simpson, 1.0), 1.0)
    return results
