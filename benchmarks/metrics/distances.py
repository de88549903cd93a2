"""One pass over all pairwise distances: nearest neighbours, sums of distances by segment, ranks of given partners.

Blocks of rows are compared with all columns by one matrix product each; nothing of size n x n is ever held.
Neighbours and ranks are exact: the product (whose rounding error is bounded) only preselects, what it leaves
in doubt is decided by distances computed from coordinate differences. Rows are independent of each other and
each block runs on one thread, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BLOCK_VALUES = 1 << 20
"""Distances in a block (8 MB): small enough for the cache, large enough to hide the interpreter."""

TIE_TOLERANCE = 1e-12
"""Squared distances that differ by less than this share of themselves are equal (they differ by rounding alone)."""

_CHUNKS_PER_NEIGHBOUR = 4
_DIRECT_VALUES = 1 << 22


@dataclass(frozen=True)
class Partners:
    """Pairs (row, partner) whose rank is wanted.

    Attributes
    ----------
    rows, partners
        int64 positions of equal length; a row may occur several times.
    """

    rows: np.ndarray
    partners: np.ndarray


@dataclass(frozen=True)
class PairwisePass:
    """What one pass over the distances gives; `rows` is short for the rows that were asked for.

    Attributes
    ----------
    rows
        int64 positions of the rows.
    indices
        int32, rows x k: the nearest other observations, nearest first.
    distances
        float64, rows x k: their Euclidean distances.
    segment_sums
        float64, rows x segments: sum of Euclidean distances to the observations of each segment (self: 0).
    segment_sizes
        int64, observations in each segment.
    ranks
        float64, one a pair of partners: rank of the partner among all other observations, 1 the nearest.
        Ties count half (the expected rank when equal distances are ordered at random).
    group_ranks
        float64, one a pair: the same among the observations of the partner's group alone.
    group_sizes
        int64, observations in each group.
    """

    rows: np.ndarray
    indices: np.ndarray
    distances: np.ndarray
    segment_sums: np.ndarray
    segment_sizes: np.ndarray
    ranks: np.ndarray
    group_ranks: np.ndarray
    group_sizes: np.ndarray


def thread_count(threads: int | None = None) -> int:
    """Threads to use: `threads`, else ``OMP_NUM_THREADS``, else the number of usable cores."""
    if threads is None:
        text = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(text) if text.isdigit() and int(text) > 0 else len(os.sched_getaffinity(0))
    return max(1, threads)


def centred(values: np.ndarray) -> np.ndarray:
    """Float64 copy of `values` with column means zero: distances stay, rounding errors shrink."""
    values = np.array(values, dtype=np.float64, order="C")
    if len(values):
        values -= values.mean(axis=0)
    return values


def tie_order(n: int) -> np.ndarray:
    """A fixed random permutation of 0..n-1 that orders equal distances.

    Observation j comes before j' in the list of i if ``(order[j] - order[i]) mod n`` is smaller. Ordering ties by
    position instead would give a constant embedding the neighbours of the file's order, which follows cell types
    in many data sets.
    """
    return np.random.default_rng(20230615).permutation(n)


def pairwise_pass(
    values: np.ndarray,
    k: int,
    segments: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    partners: Partners | None = None,
    rows: np.ndarray | None = None,
    threads: int | None = None,
) -> PairwisePass:
    """Compare `rows` with all observations once.

    Parameters
    ----------
    values
        Observations x dimensions, finite.
    k
        Neighbours wanted, without the observation itself; cut to n - 1.
    segments
        int, one an observation: codes 0..S-1 by which distances are summed; left out, no sums are made.
    groups
        int, one an observation: codes 0..G-1 for `group_ranks`; left out, one group.
    partners
        Pairs whose rank is wanted; their rows have to be among `rows`.
    rows
        Increasing positions of the rows; left out, all.
    threads
        Number of threads; see :func:`thread_count`.

    Returns
    -------
    PairwisePass
    """
    from threadpoolctl import threadpool_limits

    values = centred(values)
    n, dimensions = values.shape
    rows = np.arange(n) if rows is None else np.asarray(rows, dtype=np.int64)
    k = max(0, min(k, n - 1))
    with_sums = segments is not None
    segments = np.zeros(n, dtype=np.int64) if segments is None else np.asarray(segments, dtype=np.int64)
    groups = np.zeros(n, dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    partners = Partners(np.zeros(0, np.int64), np.zeros(0, np.int64)) if partners is None else partners

    n_segments = int(segments.max(initial=-1)) + 1
    n_groups = int(groups.max(initial=-1)) + 1
    # Columns ordered by group and segment make every sum and count a slice of contiguous memory.
    order = np.lexsort((segments, groups))
    position = np.empty(n, dtype=np.int64)
    position[order] = np.arange(n)
    combined = groups[order] * max(1, n_segments) + segments[order]
    starts = np.flatnonzero(np.r_[True, np.diff(combined) != 0]) if n else np.zeros(0, np.int64)
    start_segment = segments[order][starts]
    group_bounds = np.searchsorted(groups[order], np.arange(n_groups + 1))
    group_pieces = np.searchsorted(groups[order][starts], np.arange(n_groups + 1))

    norms = np.einsum("ij,ij->i", values, values)
    left = np.hstack([values, np.ones((n, 1)), norms[:, None]])
    right = np.ascontiguousarray(np.hstack([-2.0 * values, norms[:, None], np.ones((n, 1))])[order].T)
    # Bound of the rounding error of one entry of the product (dimensions + 2 terms, each below the norms' sum).
    margins = 4.0 * (dimensions + 4) * np.finfo(np.float64).eps * (norms + norms.max(initial=0.0))
    tie = tie_order(n)

    indices = np.empty((len(rows), k), dtype=np.int32)
    squared = np.empty((len(rows), k), dtype=np.float64)
    sums = np.zeros((len(rows), n_segments if with_sums else 0), dtype=np.float64)
    ranks = np.full(len(partners.rows), np.nan)
    group_ranks = np.full(len(partners.rows), np.nan)
    by_row = np.argsort(partners.rows, kind="stable")
    sorted_partner_rows = partners.rows[by_row]

    def work(start: int, stop: int) -> None:
        block = rows[start:stop]
        height = len(block)
        inside = np.arange(height)
        product = left[block] @ right
        product[inside, position[block]] = np.inf
        margin = margins[block]
        if k:
            _nearest(values, block, product, margin, order, tie, k, indices[start:stop], squared[start:stop])
        first, last = np.searchsorted(sorted_partner_rows, [block[0], block[-1] + 1])
        if last > first:
            wanted = by_row[first:last]
            _ranks(values, block, product, margin, order, groups, group_bounds, partners, wanted, ranks, group_ranks)
        if with_sums:
            product[inside, position[block]] = 0.0
            if k and np.any(squared[start:stop, 0] <= 2 * margin):
                # Duplicates: their distance is exactly zero, not the square root of a rounding error.
                product[product <= margin[:, None]] = 0.0
            np.maximum(product, 0.0, out=product)
            np.sqrt(product, out=product)
            pieces = np.add.reduceat(product, starts, axis=1)
            if n_groups == 1:
                sums[start:stop, start_segment] = pieces
            else:
                for first, last in pairwise(group_pieces):
                    # Within a group each segment occurs once, so that no addition is lost.
                    sums[start:stop, start_segment[first:last]] += pieces[:, first:last]

    height = int(max(1, min(1024, BLOCK_VALUES // max(1, n))))
    bounds = [(start, min(start + height, len(rows))) for start in range(0, len(rows), height)]
    threads = thread_count(threads)
    with threadpool_limits(1, "blas"):
        if threads == 1 or len(bounds) < 2:
            for start, stop in bounds:
                work(start, stop)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda bound: work(*bound), bounds))
    np.sqrt(squared, out=squared)
    return PairwisePass(
        rows,
        indices,
        squared,
        sums,
        np.bincount(segments, minlength=n_segments) if with_sums else np.zeros(0, np.int64),
        ranks,
        group_ranks,
        np.bincount(groups, minlength=n_groups),
    )


def _nearest(
    values: np.ndarray,
    block: np.ndarray,
    product: np.ndarray,
    margin: np.ndarray,
    order: np.ndarray,
    tie: np.ndarray,
    k: int,
    indices: np.ndarray,
    squared: np.ndarray,
) -> None:
    """Fill the `k` nearest of each row of a block, exactly.

    The columns are cut into w groups of c; the k-th smallest of the w minima bounds the k-th smallest distance from
    above, so that one comparison leaves a little more than k candidates a row, without sorting n values.
    """
    height, n = product.shape
    chunk = max(1, n // (_CHUNKS_PER_NEIGHBOUR * k))
    width = n // chunk
    minima = product[:, : width * chunk].reshape(height, chunk, width).min(axis=1) if chunk > 1 else product
    bound = np.partition(minima, k - 1, axis=1)[:, k - 1]
    mask = product <= (bound + 2.0 * margin)[:, None]
    flat = np.flatnonzero(mask)
    if len(flat) > _DIRECT_VALUES and height > 1:
        # Mass ties (duplicates, a constant embedding): go on in smaller pieces to bound the memory.
        for piece in np.array_split(np.arange(height), min(height, 1 + len(flat) // _DIRECT_VALUES)):
            if len(piece):
                low, high = piece[0], piece[-1] + 1
                _nearest(
                    values,
                    block[low:high],
                    product[low:high],
                    margin[low:high],
                    order,
                    tie,
                    k,
                    indices[low:high],
                    squared[low:high],
                )
        return
    row, column = np.divmod(flat, n)
    candidate = order[column]
    difference = values[block[row]]
    difference -= values[candidate]
    exact = np.einsum("ij,ij->i", difference, difference)
    counts = np.bincount(row, minlength=height)
    longest = int(counts.max())
    slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((height, longest), np.inf)
    padded[row, slot] = exact
    names = np.zeros((height, longest), dtype=np.int64)
    names[row, slot] = candidate
    best = np.argsort(padded, axis=1)
    padded = np.take_along_axis(padded, best, axis=1)
    names = np.take_along_axis(names, best, axis=1)
    upto = min(k + 1, longest)
    for tied in np.flatnonzero(np.any(np.diff(padded[:, :upto], axis=1) == 0, axis=1)):
        own = names[tied, : counts[tied]]
        again = np.lexsort(((tie[own] - tie[block[tied]]) % n, padded[tied, : counts[tied]]))
        names[tied, : counts[tied]] = own[again]
    indices[:] = names[:, :k]
    squared[:] = padded[:, :k]


def _ranks(
    values: np.ndarray,
    block: np.ndarray,
    product: np.ndarray,
    margin: np.ndarray,
    order: np.ndarray,
    groups: np.ndarray,
    group_bounds: np.ndarray,
    partners: Partners,
    wanted: np.ndarray,
    ranks: np.ndarray,
    group_ranks: np.ndarray,
) -> None:
    """Fill the ranks of the pairs `wanted`, whose rows lie in the block."""
    local = np.searchsorted(block, partners.rows[wanted])
    difference = values[partners.rows[wanted]] - values[partners.partners[wanted]]
    exact = np.einsum("ij,ij->i", difference, difference)
    occurrence = np.arange(len(local)) - np.searchsorted(local, local)
    for turn in range(int(occurrence.max()) + 1):
        now = occurrence == turn
        here, pairs, threshold = local[now], wanted[now], exact[now]
        whole = len(here) == len(block)
        distances = product if whole else product[here]
        doubt = margin[here] + TIE_TOLERANCE * threshold
        closer = _counts(distances < (threshold - doubt)[:, None], group_bounds)
        within = _counts(distances <= (threshold + doubt)[:, None], group_bounds)
        partner_group = groups[partners.partners[pairs]]
        rank = closer.sum(axis=1) + 1.0
        group_rank = closer[np.arange(len(here)), partner_group] + 1.0
        # One observation within the margin is the partner itself; more than one have to be told apart exactly.
        for doubtful in np.flatnonzero(within.sum(axis=1) - closer.sum(axis=1) != 1):
            row, partner = block[here[doubtful]], partners.partners[pairs[doubtful]]
            apart = values - values[row]
            direct = np.einsum("ij,ij->i", apart, apart)
            direct[row] = np.inf
            low, high = direct[partner] * (1 - TIE_TOLERANCE), direct[partner] * (1 + TIE_TOLERANCE)
            for store, chosen in ((rank, slice(None)), (group_rank, groups == groups[partner])):
                selected = direct[chosen]
                ahead, not_behind = np.count_nonzero(selected < low), np.count_nonzero(selected <= high)
                store[doubtful] = 0.5 + 0.5 * (ahead + not_behind)
        ranks[pairs] = rank
        group_ranks[pairs] = group_rank


def _counts(mask: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Number of true values a row in each slice of columns; rows x slices."""
    counts = np.empty((len(mask), len(bounds) - 1), dtype=np.int64)
    for piece in range(len(bounds) - 1):
        packed = np.packbits(mask[:, bounds[piece] : bounds[piece + 1]], axis=1)
        counts[:, piece] = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    return counts


def cosine_segment_sums(values: np.ndarray, rows: np.ndarray, segments: np.ndarray, n_segments: int) -> np.ndarray:
    """Sum of cosine distances from each row to the observations of each segment; rows x segments.

    The cosine distance is linear in each direction, so the sum over a segment is ``size - u . sum(u)``: no pass over
    pairs is needed. A zero vector has cosine distance 1 to everything (and 0 to itself), as in scikit-learn.
    """
    values = np.asarray(values, dtype=np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))
    unit = values / np.where(norms > 0, norms, 1.0)[:, None]
    totals = np.zeros((n_segments, values.shape[1]))
    np.add.at(totals, segments, unit)
    sums = np.bincount(segments, minlength=n_segments)[None, :] - unit[rows] @ totals.T
    zero = np.flatnonzero(norms[rows] == 0)
    sums[zero, segments[rows[zero]]] -= 1.0
    return np.maximum(sums, 0.0)


def group_neighbours(
    values: np.ndarray, queries: np.ndarray, targets: np.ndarray, k: int, threads: int | None = None
) -> np.ndarray:
    """Positions of the `k` exact nearest `targets` of each of the `queries` (disjoint sets); queries x k, nearest first."""
    from threadpoolctl import threadpool_limits

    values = centred(values)
    k = min(k, len(targets))
    result = np.empty((len(queries), k), dtype=np.int64)
    norms = np.einsum("ij,ij->i", values, values)
    left = np.hstack([values, np.ones((len(values), 1)), norms[:, None]])
    right = np.ascontiguousarray(np.hstack([-2.0 * values, norms[:, None], np.ones((len(values), 1))])[targets].T)
    margins = 4.0 * (values.shape[1] + 4) * np.finfo(np.float64).eps * (norms + norms.max(initial=0.0))
    tie = tie_order(len(values))
    height = int(max(1, min(1024, BLOCK_VALUES // max(1, len(targets)))))

    def work(start: int) -> None:
        block = queries[start : start + height]
        scratch = np.empty((len(block), k), dtype=np.float64)
        names = np.empty((len(block), k), dtype=np.int64)
        _nearest(values, block, left[block] @ right, margins[block], targets, tie, k, names, scratch)
        result[start : start + height] = names

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(thread_count(threads)) as pool:
        list(pool.map(work, range(0, len(queries), height)))
    return result


def silhouettes_from_sums(sums: np.ndarray, sizes: np.ndarray, own: np.ndarray, between: str = "nearest") -> np.ndarray:
    """Silhouette widths from the sums of distances to each cluster.

    Parameters
    ----------
    sums
        Rows x clusters: sum of distances to all observations of each cluster (self: 0).
    sizes
        Observations in each cluster; empty clusters are ignored.
    own
        Cluster of each row.
    between
        ``nearest``: mean distance to the nearest other cluster (Rousseeuw 1987); ``mean_other``: mean distance to
        all observations of other clusters (BRAS, Rautenstrauch and Ohler 2025).

    Returns
    -------
    ndarray
        Widths in [-1, 1]; 0 for an observation alone in its cluster and where both distances are 0.
    """
    rows = np.arange(len(own))
    inner_sum = sums[rows, own]
    own_size = sizes[own]
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.where(own_size > 1, inner_sum / np.maximum(own_size - 1, 1), 0.0)
        if between == "nearest":
            means = np.where(sizes[None, :] > 0, sums / sizes[None, :], np.inf)
            means[rows, own] = np.inf
            outer = means.min(axis=1)
        elif between == "mean_other":
            outer = (sums.sum(axis=1) - inner_sum) / (sizes.sum() - own_size)
        else:
            raise ValueError(f"unknown between {between!r}")
        width = (outer - inner) / np.maximum(outer, inner)
    width = np.where(own_size > 1, width, 0.0)
    return np.nan_to_num(width, nan=0.0, posinf=0.0, neginf=0.0)


def collapse(sums: np.ndarray, codes: Sequence[int] | np.ndarray, n_codes: int) -> np.ndarray:
    """Add up columns of `sums` with equal code (negative: left out); rows x n_codes."""
    codes = np.asarray(codes)
    result = np.zeros((len(sums), n_codes))
    for column, code in enumerate(codes):
        if code >= 0:
            result[:, code] += sums[:, column]
    return result
