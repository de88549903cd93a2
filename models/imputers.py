"""Baselines of prediction: an absent modality is a weighted mean over the complete cells, by default of the nearest."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components

MODALITY_SETS = (("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein"))
BLOCK_DEFAULTS = {"n_latent": 30, "n_block_components": 30, "n_top_genes": 2000}
BLOCK_ORIGINS = {name: "as joint PCA" for name in BLOCK_DEFAULTS}


class Imputer(IntegrationModel):
    """What both imputers do with their weights.

    1. Each modality is reduced to components (:func:`models.preprocessing.block_components`) of total variance 1.
    2. An observation that lacks modalities gets weights ``w`` over the complete cells, non-negative and of sum 1, from
       the components that it has. Whatever it lacks is ``sum_j w_j y_j``, with standard deviation
       ``sqrt(sum_j w_j (y_j - mean)^2)``, where ``y_j`` is cell j's

       - RNA: counts over the cell's total, times the median total of the observations with RNA,
       - ATAC: 1 for an open peak, 0 for a closed one,
       - protein: counts.
    3. Embedding: PCA of all components side by side, absent ones imputed with the same weights, found on the complete
       cells and applied to all.
    """

    @abstractmethod
    def _weights(self, source: np.ndarray, query: np.ndarray, target: np.ndarray, seed: int) -> sp.csr_matrix:
        """Weights, queries x complete cells, rows of sum 1.

        `source` and `query` are the components that the queries have (complete cells and queries x components),
        `target` those that they lack (complete cells x components).
        """

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Find the weights of every incomplete observation, and the embedding.

        Raises
        ------
        ValueError
            If there are fewer than 3 complete cells.
        """
        settings = self.hyperparameters
        reference = np.flatnonzero(design.complete)
        if len(reference) < 3:
            raise ValueError(f"imputation needs at least 3 complete cells; the design has {len(reference)}")
        blocks = {}
        for modality in design.modalities:
            scores = block_components(design, modality, settings["n_block_components"], settings["n_top_genes"], seed)
            variance = scores.var(axis=0).sum()
            blocks[modality] = np.full((design.n_obs, scores.shape[1]), np.nan)
            blocks[modality][design.rows[modality]] = scores / np.sqrt(variance) if variance > 0 else scores
        self._design, self._reference = design, reference
        self._parts: list[tuple[np.ndarray, sp.csr_matrix]] = []
        patterns = np.stack([design.has(modality) for modality in design.modalities], axis=1)
        for pattern in np.unique(patterns[~design.complete], axis=0):
            members = np.flatnonzero((patterns == pattern).all(axis=1))
            known = np.hstack([blocks[m] for m, has in zip(design.modalities, pattern) if has])
            absent = [m for m, has in zip(design.modalities, pattern) if not has]
            target = np.hstack([blocks[m][reference] for m in absent])
            weights = self._weights(known[reference], known[members], target, seed)
            self._parts.append((members, weights))
            for modality in absent:
                blocks[modality][members] = weights @ blocks[modality][reference]
        values = np.hstack(list(blocks.values()))
        centred = values - values[reference].mean(axis=0)
        _, _, axes = np.linalg.svd(centred[reference], full_matrices=False)
        rank = min(settings["n_latent"], len(axes), len(reference) - 1)
        axes = axes[:rank].T
        largest = np.abs(axes).argmax(axis=0)
        self._embedding = centred @ (axes * np.where(axes[largest, np.arange(rank)] < 0, -1.0, 1.0))

    def embed(self) -> np.ndarray:
        """Component scores, observations x ``n_latent`` (fewer if there are fewer complete cells)."""
        return self._embedding.astype(np.float32)

    def predict(self, modality: str) -> Prediction:
        """Weighted mean and standard deviation over the complete cells; see the class."""
        design = self._design
        rows = np.flatnonzero(~design.has(modality))
        values = _prediction_targets(design, modality)[np.searchsorted(design.rows[modality], self._reference)]
        mean = np.zeros((len(rows), values.shape[1]))
        square = np.zeros_like(mean)
        for members, weights in self._parts:
            lacking = ~design.has(modality)[members]
            where = np.searchsorted(rows, members[lacking])
            mean[where] = (weights[lacking] @ values).toarray()
            square[where] = (weights[lacking] @ values.multiply(values).tocsr()).toarray()
        variance = square - mean**2
        # What is left of equal values is rounding, not a spread.
        deviation = np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0))
        mean = np.clip(mean, 0, 1) if modality == "atac" else mean
        return Prediction(mean.astype(np.float32), rows, deviation.astype(np.float32))


def _prediction_targets(design: Multimodal, modality: str) -> sp.csr_matrix:
    """What is averaged: see :class:`Imputer`; observations with the modality x features."""
    counts = sp.csr_matrix(design.counts[modality], dtype=np.float64, copy=True)
    if modality == "atac":
        counts.eliminate_zeros()
        counts.data[:] = 1.0
    if modality == "rna":
        totals = np.asarray(counts.sum(axis=1)).ravel()
        counts = sp.csr_matrix(sp.diags(np.median(totals) / np.maximum(totals, 1)) @ counts)
    return counts


class KNNImputer(Imputer):
    """The nearest complete cells in the components that an observation has, with equal weights."""

    declaration = Declaration(
        name="knn-imputer",
        title="kNN imputer",
        version=2,
        summary="Absent modalities are the mean over the nearest complete cells; joint PCA of the completed data.",
        kind="composed",
        paper="Cover and Hart 1967, Nearest neighbor pattern classification, 10.1109/TIT.1967.1053964",
        modality_sets=MODALITY_SETS,
        unpaired=True,
        predicts=True,
        uncertainty=True,
        defaults={**BLOCK_DEFAULTS, "n_neighbors": 15},
        origins={**BLOCK_ORIGINS, "n_neighbors": "ours: scanpy's usual number of neighbours"},
    )

    def _weights(self, source: np.ndarray, query: np.ndarray, target: np.ndarray, seed: int) -> sp.csr_matrix:
        from models.wnn import nearest_neighbours

        indices, _ = nearest_neighbours(query, source, self.hyperparameters["n_neighbors"])
        n_neighbors = indices.shape[1]
        starts = np.arange(0, indices.size + 1, n_neighbors)
        shape = (len(query), len(source))
        return sp.csr_matrix((np.full(indices.size, 1 / n_neighbors), indices.ravel(), starts), shape=shape)
