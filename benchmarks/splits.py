"""Which cells of a data set are in a design: a random subsample and, where asked for, a fixed set of test cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.errors import InputError

if TYPE_CHECKING:
    from benchmarks.designs import DesignSpec


def ranks(labels: pd.Series, generator: np.random.Generator, stratified: bool) -> np.ndarray:
    """Random rank of every cell, such that the first n cells are a sample for any n.

    Parameters
    ----------
    labels
        Cell types; unlabelled cells count as one type.
    generator
        Source of the order.
    stratified
        Whether every prefix keeps the proportions of the types: cells are ranked within their type, and these
        ranks compared relative to the type's size.

    Returns
    -------
    numpy.ndarray
        int64, a permutation of 0 ... n - 1, one a cell.
    """
    total = len(labels)
    rank = np.empty(total, dtype=np.int64)
    rank[generator.permutation(total)] = np.arange(total)
    if not stratified:
        return rank
    codes = pd.factorize(labels.astype(object), use_na_sentinel=False)[0]
    order = np.lexsort((rank, codes))
    sizes = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    within = np.empty(total)
    within[order] = (np.arange(total) - starts[codes[order]] + 0.5) / sizes[codes[order]]
    rank = np.empty(total, dtype=np.int64)
    rank[np.lexsort((np.arange(total), codes, within))] = np.arange(total)
    return rank


def n_test_cells(n_cells: int, test_fraction: float) -> int:
    """Number of test cells of a data set of `n_cells`: ``round(test_fraction * n_cells)``, halves upwards."""
    return int(np.floor(test_fraction * n_cells + 0.5))


def choose_test(labels: pd.Series, spec: "DesignSpec") -> np.ndarray:
    """Positions of the test cells, increasing: ``round(test_fraction * n)`` cells of the data set.

    Stratified by cell type (Schuster et al. 2024, Methods, Data splits). They depend on seed and replicate alone, so
    that models trained on samples of different sizes are tested on the same cells. None without `test_fraction`.
    """
    if not spec.test_fraction:
        return np.zeros(0, dtype=np.int64)
    count = n_test_cells(len(labels), spec.test_fraction)
    return np.flatnonzero(ranks(labels, spec.generator("test"), stratified=True) < count)


def choose_cells(labels: pd.Series, spec: "DesignSpec") -> np.ndarray:
    """Positions of the cells of a design, increasing: ``n_cells`` to train on, and the test cells if there are any.

    Uniform sampling ranks all cells at random. Stratified sampling keeps the proportions of the cell types. Both
    nest in ``n_cells``.

    Raises
    ------
    InputError
        If the data set has fewer cells than asked for.
    """
    total = len(labels)
    test = choose_test(labels, spec)
    rest = np.setdiff1d(np.arange(total), test, assume_unique=True)
    wanted = len(rest) if spec.n_cells is None else spec.n_cells
    if wanted > len(rest):
        there = f"{len(rest)} there" if not len(test) else f"{len(rest)} there beside {len(test)} test cells"
        raise InputError(f"data set {spec.dataset!r}: n_cells {wanted} asked for, {there}; lower n_cells")
    rank = ranks(labels.iloc[rest], spec.generator("subsample"), spec.sampling == "stratified")
    return np.sort(np.concatenate([rest[rank < wanted], test]))
