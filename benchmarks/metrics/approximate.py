"""Approximate nearest neighbours for embeddings too large to compare all pairs (faiss, inverted lists)."""

from __future__ import annotations

import numpy as np

PROBES = 32
_TRAINING_PER_LIST = 50
_QUERIES = 1 << 16


def approximate_neighbours(values: np.ndarray, k: int, threads: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest others of each observation, from an inverted-file index.

    Observations are sorted into about ``2 sqrt(n)`` lists by a k-means quantiser; each query looks exactly through
    the :data:`PROBES` lists nearest to it. Training runs on one thread and queries are independent, so that the
    result does not depend on the number of threads.

    Returns
    -------
    indices
        int32, n x k; where a query found fewer, the last one found is repeated.
    distances
        float32, n x k Euclidean.
    """
    import faiss

    values = np.asarray(values, dtype=np.float64)
    values = np.ascontiguousarray(values - values.mean(axis=0), dtype=np.float32)
    n, dimensions = values.shape
    lists = int(2 * np.sqrt(n))
    quantiser = faiss.IndexFlatL2(dimensions)
    index = faiss.IndexIVFFlat(quantiser, dimensions, lists, faiss.METRIC_L2)
    index.cp.seed = 1234 + seed
    rng = np.random.default_rng([seed, 3])
    training = values[np.sort(rng.choice(n, min(n, lists * _TRAINING_PER_LIST), replace=False))]
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1)
        index.train(training)
        faiss.omp_set_num_threads(threads)
        index.add(values)
        index.nprobe = min(PROBES, lists)
        indices = np.empty((n, k), dtype=np.int32)
        distances = np.empty((n, k), dtype=np.float32)
        for start in range(0, n, _QUERIES):
            stop = min(start + _QUERIES, n)
            squared, found = index.search(values[start:stop], k + 1)
            own = np.arange(start, stop)[:, None]
            # The observation itself goes to the end, wherever duplicates have put it, and is cut off.
            order = np.argsort(found == own, axis=1, kind="stable")[:, :k]
            found = np.take_along_axis(found, order, axis=1)
            squared = np.take_along_axis(squared, order, axis=1)
            missing = found < 0
            if missing.any():
                last = np.maximum((~missing).sum(axis=1) - 1, 0)
                rows = np.arange(len(found))
                found = np.where(missing, found[rows, last][:, None], found)
                squared = np.where(missing, squared[rows, last][:, None], squared)
            indices[start:stop] = found
            distances[start:stop] = np.sqrt(np.maximum(squared, 0.0))
    finally:
        faiss.omp_set_num_threads(before)
    return indices, distances


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true neighbours that were found, in [0, 1]; both rows x k."""
    hits = sum(np.isin(one, other).sum() for one, other in zip(truth, found))
    return float(hits / truth.size)
