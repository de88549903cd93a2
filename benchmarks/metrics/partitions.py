"""Partitions of an embedding: Leiden and Louvain over resolutions, k-means. Deterministic for a given seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

RESOLUTIONS = tuple(round(0.2 * step, 1) for step in range(1, 11))
"""Resolutions among which the one with the largest NMI is chosen: scib's default, 0.2 to 2.0."""

ITERATIONS = 2


def graph_partitions(
    graph: sp.csr_matrix, method: str, resolutions: Sequence[float] = RESOLUTIONS, seed: int = 0
) -> list[np.ndarray]:
    """Partition a weighted graph by modularity, once a resolution.

    Parameters
    ----------
    graph
        Symmetric n x n weights.
    method
        ``leiden`` (Traag et al. 2019, two iterations, as scanpy advises) or ``louvain`` (Blondel et al. 2008).
    resolutions
        Resolution parameters of the modularity.
    seed
        Each resolution starts from this seed, so that its result does not depend on the others.

    Returns
    -------
    list of ndarray
        One int64 code a node, for each resolution.
    """
    import random

    import igraph

    upper = sp.triu(graph, k=1).tocoo()
    edges = np.column_stack([upper.row, upper.col]).astype(np.int64)
    network = igraph.Graph(n=graph.shape[0], edges=edges, directed=False)
    weights = upper.data.tolist()
    partitions = []
    try:
        for resolution in resolutions:
            igraph.set_random_number_generator(random.Random(seed))
            if method == "leiden":
                found = network.community_leiden(
                    objective_function="modularity", weights=weights, resolution=resolution, n_iterations=ITERATIONS
                )
            elif method == "louvain":
                found = network.community_multilevel(weights=weights, resolution=resolution)
            else:
                raise ValueError(f"unknown method {method!r}")
            partitions.append(np.asarray(found.membership, dtype=np.int64))
    finally:
        igraph.set_random_number_generator(random)
    return partitions


def k_means(
    values: np.ndarray, n_clusters: int, seed: int = 0, starts: int = 10, steps: int = 300, threads: int = 1
) -> tuple[np.ndarray, float]:
    """Lloyd's k-means with k-means++ starts; the best of several starts.

    Parameters
    ----------
    values
        n x dimensions.
    n_clusters
        Number of clusters; cut to n.
    seed
        Seed of the starts, each of which has a generator of its own.
    starts
        Number of starts (scikit-learn's former default of 10, with which the papers' tools ran).
    steps
        Most steps a start; it ends earlier when no observation changes its cluster.
    threads
        Starts that run at the same time.

    Returns
    -------
    codes
        int64, cluster of each observation.
    inertia
        Sum of squared distances to the cluster centres.
    """
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    values = np.asarray(values, dtype=np.float64)
    values = values - values.mean(axis=0)
    n_clusters = min(n_clusters, len(values))

    def start(number: int) -> tuple[np.ndarray, float]:
        centres = plus_plus(values, n_clusters, np.random.default_rng([seed, number]))
        return lloyd(values, centres, steps)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(max(1, threads)) as pool:
        results = list(pool.map(start, range(starts)))
    return results[int(np.argmin([inertia for _, inertia in results]))]


def plus_plus(values: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy k-means++ starting centres (Arthur and Vassilvitskii 2007): the best of 2 + log(k) draws a centre."""
    trials = 2 + int(np.log(n_clusters))
    norms = np.einsum("ij,ij->i", values, values)
    chosen = [int(rng.integers(len(values)))]
    closest = _squared(values, norms, values[chosen])[:, 0]
    for _ in range(1, n_clusters):
        total = np.cumsum(closest)
        if total[-1] > 0:
            candidates = np.searchsorted(total, rng.random(trials) * total[-1], side="right").clip(max=len(values) - 1)
        else:
            candidates = rng.integers(len(values), size=trials)
        distances = np.minimum(_squared(values, norms, values[candidates]), closest[:, None])
        winner = int(np.argmin(distances.sum(axis=0)))
        chosen.append(int(candidates[winner]))
        closest = distances[:, winner]
    return values[chosen]


def lloyd(values: np.ndarray, centres: np.ndarray, steps: int = 300) -> tuple[np.ndarray, float]:
    """Lloyd's iterations from given centres; an empty cluster takes the observation farthest from its centre."""
    norms = np.einsum("ij,ij->i", values, values)
    centres = centres.copy()
    n_clusters = len(centres)
    codes = np.full(len(values), -1)
    for _ in range(steps):
        distances = _squared(values, norms, centres)
        fresh = np.argmin(distances, axis=1)
        if np.array_equal(fresh, codes):
            break
        codes = fresh
        sizes = np.bincount(codes, minlength=n_clusters)
        for cluster in np.flatnonzero(sizes == 0):
            # Clusters never run out of donors: there are no more clusters than observations.
            farthest = int(np.argmax(np.where(sizes[codes] > 1, distances[np.arange(len(values)), codes], -1.0)))
            sizes[codes[farthest]] -= 1
            codes[farthest] = cluster
            sizes[cluster] = 1
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(n_clusters))
        centres = np.add.reduceat(values[order], starts, axis=0) / sizes[:, None]
    difference = values - centres[codes]
    return codes.astype(np.int64), float(np.einsum("ij,ij->", difference, difference))


def _squared(values: np.ndarray, norms: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squared = values @ (-2.0 * centres.T)
    squared += norms[:, None]
    squared += np.einsum("ij,ij->i", centres, centres)[None, :]
    return np.maximum(squared, 0.0, out=squared)


def partition_in_parallel(graph: sp.csr_matrix, method: str, seed: int, threads: int) -> list[np.ndarray]:
    """:func:`graph_partitions` over :data:`RESOLUTIONS`, spread over processes where that pays.

    Each resolution is seeded by itself, so the result is the same for any number of processes. The helpers are
    plain interpreters that read arrays from files (no fork: the caller may hold running threads).
    """
    if threads < 2 or graph.nnz < PARALLEL_EDGES:
        return graph_partitions(graph, method, RESOLUTIONS, seed)
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="partitions_") as folder:
        sp.save_npz(Path(folder) / "graph.npz", sp.triu(graph, k=1).tocsr(), compressed=False)
        helpers = []
        for helper in range(1, threads):
            share = [str(resolution) for resolution in RESOLUTIONS[helper::threads]]
            command = [
                sys.executable,
                "-m",
                "benchmarks.metrics.partitions",
                folder,
                str(helper),
                method,
                str(seed),
                *share,
            ]
            root = Path(__file__).resolve().parents[2]
            helpers.append(subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        found: dict[float, np.ndarray] = {}
        try:
            own = RESOLUTIONS[0::threads]
            found.update(zip(own, graph_partitions(graph, method, own, seed)))
        finally:
            errors = [process.communicate()[1] for process in helpers]
        for helper, process in enumerate(helpers, start=1):
            if process.returncode:
                raise RuntimeError(f"partition helper failed: {errors[helper - 1].decode(errors='replace')[-2000:]}")
            share = RESOLUTIONS[helper::threads]
            found.update(zip(share, np.load(Path(folder) / f"{helper}.npy")))
    return [found[resolution] for resolution in RESOLUTIONS]


PARALLEL_EDGES = 400_000
"""Stored entries of the graph from which starting helper processes pays (about 20,000 observations)."""


def _helper(arguments: Sequence[str]) -> None:
    folder, helper, method, seed, *resolutions = arguments
    graph = sp.load_npz(f"{folder}/graph.npz")
    found = graph_partitions(graph, method, [float(text) for text in resolutions], int(seed))
    np.save(f"{folder}/{helper}.npy", np.array(found, dtype=np.int64))


if __name__ == "__main__":
    import sys

    _helper(sys.argv[1:])
