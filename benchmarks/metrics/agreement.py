"""Agreement of two partitions: contingency table, adjusted Rand index, normalised mutual information, F1."""

from __future__ import annotations

import numpy as np


def contingency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Contingency table (float64) of two vectors of codes 0, 1, ... of equal length."""
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    flat = np.bincount(first.astype(np.int64) * columns + second, minlength=rows * columns)
    return flat.reshape(rows, columns).astype(np.float64)


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index in [-0.5, 1]: 1 for equal partitions, 0 expected by chance (Hubert and Arabie 1985, eq. 5).

    Two partitions that are both trivial in the same way (one cluster each, or all singletons) agree: 1.
    """
    table = contingency(first, second)
    n = table.sum()
    both = (table * (table - 1)).sum() / 2
    rows = table.sum(axis=1)
    columns = table.sum(axis=0)
    in_rows = (rows * (rows - 1)).sum() / 2
    in_columns = (columns * (columns - 1)).sum() / 2
    pairs = n * (n - 1) / 2
    expected = in_rows * in_columns / pairs if pairs else 0.0
    largest = (in_rows + in_columns) / 2
    if largest == expected:
        return 1.0
    return float((both - expected) / (largest - expected))


def normalised_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information over the arithmetic mean of the entropies, in [0, 1] (the mean that scib uses).

    Two partitions of one cluster each agree: 1, as in scikit-learn.
    """
    table = contingency(first, second)
    n = table.sum()
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if np.count_nonzero(rows) == 1 and np.count_nonzero(columns) == 1:
        return 1.0
    row, column = np.nonzero(table)
    share = table[row, column] / n
    information = float(np.sum(share * (np.log(share) - np.log(rows[row] / n) - np.log(columns[column] / n))))
    mean = (_entropy(rows / n) + _entropy(columns / n)) / 2
    if information <= 0 or mean <= 0:
        return 0.0
    return float(min(1.0, information / mean))


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))


def best_f1(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """For each label the largest F1 score over the clusters, in [0, 1]: how well one cluster captures the label."""
    table = contingency(labels, clusters)
    # F1 = 2 TP / (2 TP + FP + FN) = 2 TP / (cells of the label + cells of the cluster).
    return (2 * table / (table.sum(axis=1)[:, None] + table.sum(axis=0)[None, :]).clip(min=1)).max(axis=1)
