"""Normalisations that several models share: from counts to continuous values, and to principal components."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal


def log_normalise(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Counts scaled to the median library size, then ``log(1 + x)``.

    Parameters
    ----------
    counts
        Cells x features, non-negative.

    Returns
    -------
    sp.csr_matrix
        Same shape and sparsity, float64. Cells without counts stay zero.
    """
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    target = np.median(totals[totals > 0]) if np.any(totals > 0) else 1.0
    scaled = sp.diags(target / np.maximum(totals, 1.0)) @ counts.astype(np.float64)
    return sp.csr_matrix(scaled).log1p()


def tf_idf(counts: sp.csr_matrix, scale: float = 1e4) -> sp.csr_matrix:
    """TF-IDF of binarised accessibility: ``log(1 + TF * IDF * scale)`` (Stuart et al. 2019, 10.1016/j.cell.2019.05.031).

    TF is one over the number of open features of the cell, IDF the number of cells over that of cells in which the
    feature is open. Counts are binarised first, because cut sites come in pairs and levels differ between protocols.

    Parameters
    ----------
    counts
        Cells x features, non-negative.
    scale
        Factor before the logarithm.

    Returns
    -------
    sp.csr_matrix
        Same shape, float64.
    """
    binary = sp.csr_matrix(counts, dtype=np.float64, copy=True)
    binary.eliminate_zeros()
    binary.data[:] = 1.0
    per_cell = np.maximum(np.asarray(binary.sum(axis=1)).ravel(), 1.0)
    per_feature = np.maximum(np.asarray(binary.sum(axis=0)).ravel(), 1.0)
    weighted = sp.diags(1.0 / per_cell) @ binary @ sp.diags(binary.shape[0] / per_feature)
    return sp.csr_matrix(weighted * scale).log1p()


def centred_log_ratio(counts: sp.csr_matrix) -> np.ndarray:
    """Centred log-ratio of each cell over its proteins (Stoeckius et al. 2017, 10.1038/nmeth.4380).

    ``log(1 + x)`` minus its mean over the cell's proteins: the logarithm of a count relative to the geometric mean.

    Parameters
    ----------
    counts
        Cells x proteins, non-negative.

    Returns
    -------
    np.ndarray
        Dense float64 of the same shape.
    """
    logs = np.log1p(np.asarray(counts.todense(), dtype=np.float64))
    return logs - logs.mean(axis=1, keepdims=True)


def highly_variable(values: sp.csr_matrix, n_features: int, n_bins: int = 20) -> np.ndarray:
    """Positions of the most variable features, increasing, by dispersion relative to features of similar mean.

    The dispersion (variance over mean) of each feature is standardised within 20 bins of equally many features
    sorted by mean (after Satija et al. 2015, 10.1038/nbt.3192, who cut the range of means into equal intervals).

    Parameters
    ----------
    values
        Cells x features, normalised and non-negative.
    n_features
        How many to choose; all features if there are no more than that.
    n_bins
        Number of bins.
    """
    if values.shape[1] <= n_features:
        return np.arange(values.shape[1])
    mean = np.asarray(values.mean(axis=0)).ravel()
    variance = np.asarray(values.multiply(values).mean(axis=0)).ravel() - mean**2
    dispersion = np.log(np.maximum(variance, 1e-12) / np.maximum(mean, 1e-12))
    score = np.empty(len(mean))
    for members in np.array_split(np.argsort(mean, kind="stable"), n_bins):
        spread = dispersion[members].std()
        score[members] = (dispersion[members] - dispersion[members].mean()) / (spread if spread > 0 else 1.0)
    score[mean <= 0] = -np.inf
    return np.sort(np.argsort(-score, kind="stable")[:n_features])


def principal_components(
    values: sp.csr_matrix | np.ndarray, n_components: int, seed: int, centre: bool = True
) -> np.ndarray:
    """Scores on the leading principal components (or, uncentred, singular vectors); sparse input stays sparse.

    Parameters
    ----------
    values
        Cells x features.
    n_components
        How many; fewer come back if the matrix has fewer dimensions.
    seed
        Seeds the start vector of the iteration; the result depends on it by rounding only.
    centre
        Whether features are centred first (PCA) or not (LSI).

    Returns
    -------
    np.ndarray
        Cells x components, float64, by decreasing variance; of each component the largest score is positive.
    """
    from scipy.sparse.linalg import LinearOperator, svds

    n_cells, n_features = values.shape
    n_components = min(n_components, min(n_cells, n_features) - int(centre))
    if n_components < 1:
        return np.zeros((n_cells, 0))
    mean = np.asarray(values.mean(axis=0)).ravel() if centre else np.zeros(n_features)
    if min(n_cells, n_features) <= max(3 * n_components, 64):
        dense = np.asarray(values.todense()) if sp.issparse(values) else np.asarray(values)
        left, singular, _ = np.linalg.svd(dense - mean, full_matrices=False)
        left, singular = left[:, :n_components], singular[:n_components]
    else:
        operator = LinearOperator(
            values.shape,
            matvec=lambda x: values @ np.ravel(x) - mean @ np.ravel(x),
            rmatvec=lambda y: values.T @ np.ravel(y) - mean * np.ravel(y).sum(),
            dtype=np.float64,
        )
        start = np.random.default_rng(seed).uniform(-1, 1, min(values.shape))
        left, singular, _ = svds(operator, k=n_components, v0=start)
        order = np.argsort(-singular, kind="stable")
        left, singular = left[:, order], singular[order]
    scores = left * singular
    largest = np.abs(scores).argmax(axis=0)
    return scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)


def latent_semantic_indexing(
    counts: sp.csr_matrix, n_components: int, seed: int, depth_correlation: float = 0.5
) -> np.ndarray:
    """LSI of accessibility: singular vectors of the TF-IDF, the first one dropped where it only measures depth.

    Parameters
    ----------
    counts
        Cells x peaks.
    n_components
        How many components to return (after a drop).
    seed
        See :func:`principal_components`.
    depth_correlation
        The first component is dropped if its absolute correlation with the logarithm of the number of open peaks
        is at least this (Stuart et al. 2021, 10.1038/s41592-021-01282-5, look at the same correlation).

    Returns
    -------
    np.ndarray
        Cells x components, float64, centred.
    """
    scores = principal_components(tf_idf(counts), n_components + 1, seed, centre=False)
    depth = np.log1p(np.asarray(counts.getnnz(axis=1), dtype=np.float64))
    varies = scores.shape[1] > 1 and depth.std() > 0 and scores[:, 0].std() > 0
    if varies and abs(np.corrcoef(scores[:, 0], depth)[0, 1]) >= depth_correlation:
        scores = scores[:, 1:]
    scores = scores[:, :n_components]
    return scores - scores.mean(axis=0)


def block_components(design: Multimodal, modality: str, n_components: int, n_top_genes: int, seed: int) -> np.ndarray:
    """Leading components of one modality over all observations that have it.

    RNA: PCA of log-normalised, highly variable genes. ATAC: LSI. Protein: PCA of centred log-ratios.

    Returns
    -------
    np.ndarray
        Observations with the modality x components, float64, centred.
    """
    counts = design.counts[modality]
    if modality == "atac":
        return latent_semantic_indexing(counts, n_components, seed)
    if modality == "protein":
        return principal_components(centred_log_ratio(counts), n_components, seed)
    values = log_normalise(counts)
    return principal_components(values[:, highly_variable(values, n_top_genes)], n_components, seed)
