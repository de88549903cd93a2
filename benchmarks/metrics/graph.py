"""The neighbourhood graph: UMAP's fuzzy weights, connected components, nearest nodes along the graph."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

_STEPS = 64
_TOLERANCE = 1e-5
_SMALLEST_SCALE = 1e-3


def fuzzy_weights(indices: np.ndarray, distances: np.ndarray, n_neighbors: int) -> sp.csr_matrix:
    """Symmetric connectivities in (0, 1] from nearest neighbours, as UMAP and scanpy define them.

    McInnes, Healy and Melville 2018, algorithms 2 and 3: with rho the distance to the nearest distinct neighbour
    and sigma such that ``sum_j exp(-max(0, d_j - rho) / sigma) = log2(n_neighbors)``, directed weights are
    ``w_ij = exp(-max(0, d_ij - rho_i) / sigma_i)`` and ``W = w + w' - w * w'`` entry by entry. In scanpy's count
    `n_neighbors` includes the observation itself, so 15 means 14 others.

    Parameters
    ----------
    indices, distances
        n x (n_neighbors - 1): the others, nearest first.
    n_neighbors
        Number of neighbours with the observation itself.

    Returns
    -------
    scipy.sparse.csr_matrix
        n x n, float64, symmetric, zero diagonal.
    """
    n, k = indices.shape
    if k == 0:
        return sp.csr_matrix((n, n), dtype=np.float64)
    distances = np.asarray(distances, dtype=np.float64)
    positive = distances > 0
    rho = np.where(positive.any(axis=1), np.where(positive, distances, np.inf).min(axis=1), 0.0)
    rho[~np.isfinite(rho)] = 0.0
    excess = np.maximum(distances - rho[:, None], 0.0)
    target = np.log2(max(2, n_neighbors))
    low, high, middle = np.zeros(n), np.full(n, np.inf), np.ones(n)
    active = np.arange(n)
    for _ in range(_STEPS):
        total = np.exp(-excess[active] / middle[active, None]).sum(axis=1)
        open_ = np.abs(total - target) >= _TOLERANCE
        active, total = active[open_], total[open_]
        if not len(active):
            break
        above = total > target
        high[active[above]] = middle[active[above]]
        low[active[~above]] = middle[active[~above]]
        unbounded = np.isinf(high[active])
        middle[active] = np.where(unbounded, middle[active] * 2, (low[active] + high[active]) / 2)
    # The observation itself is one of the n_neighbors in the means (distance 0).
    own_mean = distances.sum(axis=1) / (k + 1)
    floor = np.where(rho > 0, _SMALLEST_SCALE * own_mean, _SMALLEST_SCALE * distances.sum() / (n * (k + 1)))
    sigma = np.maximum(middle, floor)
    weights = np.where(excess > 0, np.exp(-excess / np.where(sigma > 0, sigma, 1.0)[:, None]), 1.0)
    # Entries that underflow stay in the graph with the smallest weight: the neighbours are real.
    weights = np.maximum(weights, np.finfo(np.float64).tiny)
    directed = directed_graph(indices, weights)
    transposed = directed.T.tocsr()
    union = (directed + transposed - directed.multiply(transposed)).tocsr()
    union.sort_indices()
    return union


def directed_graph(indices: np.ndarray, weights: np.ndarray | None = None) -> sp.csr_matrix:
    """n x n CSR with one entry (1, or its weight) from each observation to each of its neighbours."""
    n, k = indices.shape
    data = np.ones(n * k) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    graph = sp.csr_matrix((data, indices.ravel().astype(np.int64), np.arange(n + 1, dtype=np.int64) * k), shape=(n, n))
    graph.sort_indices()
    return graph


def largest_component_shares(graph: sp.csr_matrix, codes: np.ndarray, connection: str = "strong") -> np.ndarray:
    """For each label the share of its cells in the largest connected component of the graph among these cells.

    Parameters
    ----------
    graph
        n x n; entries between different labels are ignored.
    codes
        int labels 0..L-1.
    connection
        ``strong`` or ``weak``; the same for a symmetric graph.
    """
    from scipy.sparse.csgraph import connected_components

    edges = graph.tocoo()
    same = codes[edges.row] == codes[edges.col]
    inner = sp.csr_matrix((np.ones(np.count_nonzero(same)), (edges.row[same], edges.col[same])), shape=graph.shape)
    _, component = connected_components(inner, directed=True, connection=connection)
    sizes = np.bincount(component)
    n_labels = int(codes.max()) + 1
    largest = np.zeros(n_labels)
    np.maximum.at(largest, codes, sizes[component])
    return largest / np.bincount(codes, minlength=n_labels)


COMPILED_FROM = 3_000
"""Nodes from which the compiled search is used; below, scipy's is as fast as compiling would take."""


def nearest_along_graph(graph: sp.csr_matrix, k: int, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nodes with the shortest paths from each node (edge lengths = entries), without the node itself.

    Nodes at equal length are ordered by their number.

    Returns
    -------
    indices
        n x k int32, nearest first; -1 where fewer are reachable.
    lengths
        n x k float64 path lengths; inf where fewer are reachable.
    """
    graph = graph.tocsr()
    n = graph.shape[0]
    indices = np.full((n, k), -1, dtype=np.int32)
    lengths = np.full((n, k), np.inf)
    if n > COMPILED_FROM:
        _compiled_search(graph, threads, indices, lengths)
    else:
        _scipy_search(graph, indices, lengths)
    return indices, lengths


def _compiled_search(graph: sp.csr_matrix, threads: int, indices: np.ndarray, lengths: np.ndarray) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from benchmarks.metrics._compiled import shortest_paths

    arguments = (graph.indptr.astype(np.int64), graph.indices.astype(np.int32), graph.data.astype(np.float64))
    bounds = np.linspace(0, graph.shape[0], max(1, threads) * 4 + 1).astype(np.int64)

    def work(piece: int) -> None:
        shortest_paths(*arguments, bounds[piece], bounds[piece + 1], indices, lengths)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(work, range(len(bounds) - 1)))


def _scipy_search(graph: sp.csr_matrix, indices: np.ndarray, lengths: np.ndarray) -> None:
    """Searches of bounded length; the bound is learnt from the first sources, who fall short are searched again."""
    from scipy.sparse.csgraph import dijkstra

    n, k = indices.shape
    limit = np.inf
    pending = np.arange(n)
    while len(pending):
        short = []
        for start in range(0, len(pending), 256):
            sources = pending[start : start + 256]
            found = dijkstra(graph, indices=sources, limit=limit)
            found[np.arange(len(sources)), sources] = np.inf
            row, node = np.divmod(np.flatnonzero(np.isfinite(found)), n)
            length = found[row, node]
            order = np.lexsort((node, length, row))
            row, node, length = row[order], node[order], length[order]
            counts = np.bincount(row, minlength=len(sources))
            slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            if np.isfinite(limit):
                complete = counts >= k
                short.append(sources[~complete])
            else:
                complete = np.ones(len(sources), dtype=bool)
            keep = (slot < k) & complete[row]
            indices[sources[row[keep]], slot[keep]] = node[keep]
            lengths[sources[row[keep]], slot[keep]] = length[keep]
            if start == 0 and np.isinf(limit) and len(sources) < len(pending) == n:
                farthest = lengths[sources, k - 1]
                if np.isfinite(farthest).any():
                    limit = 1.1 * farthest[np.isfinite(farthest)].max()
        pending = np.concatenate(short) if short else np.zeros(0, dtype=np.int64)
        limit = np.inf
