"""Transforms of counts before a model sees them: log-normalisation, TF-IDF, centred log ratio, PCA."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

_BLOCK_BYTES = 1 << 22
"""Size of the column blocks in which a dense matrix is worked on: what is needed beside it."""


def log_normalised(counts: sp.csr_matrix, target: float = 10_000.0) -> sp.csr_matrix:
    """log(1 + x / row sum * target), CSR float32; empty rows stay empty."""
    counts = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    factors = np.divide(target, totals, out=np.zeros_like(totals), where=totals > 0)
    counts.data = np.log1p(counts.data * np.repeat(factors, np.diff(counts.indptr)))
    return counts


def tf_idf(counts: sp.csr_matrix, scale: float = 10_000.0) -> sp.csr_matrix:
    """log(1 + scale x TF x IDF) of binarised accessibility, CSR float32.

    TF is 1 / open regions of the cell, IDF is cells / cells in which the region is open (Cusanovich et al. 2015,
    in the form of Stuart et al. 2021).
    """
    binary = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    binary.eliminate_zeros()
    binary.data[:] = 1
    per_cell = np.maximum(np.asarray(binary.sum(axis=1)).ravel(), 1)
    per_region = np.maximum(np.asarray(binary.sum(axis=0)).ravel(), 1)
    frequency = scale / np.repeat(per_cell, np.diff(binary.indptr)) * (len(per_cell) / per_region)[binary.indices]
    binary.data = np.log1p(frequency).astype(np.float32)
    return binary


def centred_log_ratio(counts: sp.csr_matrix) -> np.ndarray:
    """log(1 + x) minus its mean over the cell's features: dense float32, cells x features."""
    logged = np.log1p(counts.toarray().astype(np.float32))
    return logged - logged.mean(axis=1, keepdims=True)


def standardised(matrix: sp.spmatrix | np.ndarray, largest: float = 10.0) -> np.ndarray:
    """Columns to mean zero and unit variance, clipped at `largest` standard deviations: dense float32.

    A new matrix: at 10,000 cells and 30,000 regions it has 1.2 GB, so the work is done in it, some columns at a time.
    """
    dense = (
        matrix.astype(np.float32, copy=False).toarray() if sp.issparse(matrix) else np.array(matrix, dtype=np.float32)
    )
    n_blocks = 1 + dense.nbytes // _BLOCK_BYTES
    # Never a single column of several: NumPy adds up a column alone in another order than one among others.
    n_blocks = min(n_blocks, max(1, dense.shape[1] // 2))
    for block in np.array_split(dense, n_blocks, axis=1):
        deviation = block.std(axis=0)
        block -= block.mean(axis=0)
        block /= np.where(deviation > 0, deviation, 1)
        np.clip(block, -largest, largest, out=block)
    return dense


def principal_components(matrix: np.ndarray, n_components: int, seed: int, overwrite: bool = False) -> np.ndarray:
    """Scores of the leading principal components, float32, rows x n_components (fewer if there are fewer).

    With `overwrite` the values are the same and `matrix` is lost, which spares two copies of it.
    """
    from sklearn.decomposition import PCA

    n_components = min(n_components, min(matrix.shape) - 1)
    pca = PCA(n_components=n_components, svd_solver="randomized", random_state=seed, copy=not overwrite)
    return pca.fit_transform(matrix).astype(np.float32)
