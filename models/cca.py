"""Canonical correlation analysis of two modalities, trained on paired cells, applied to all."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components


class CanonicalCorrelation(IntegrationModel):
    """Canonical variates of the modalities' components; posterior means of the shared variable.

    1. Each modality is reduced to components (:func:`models.preprocessing.block_components`), over all observations
       that have it.
    2. :func:`canonical_correlation` of the paired cells gives weights ``A_1, A_2`` and correlations ``r_1 >= r_2 >= ...``;
       ``u = A_1' x_1`` and ``v = A_2' x_2`` have variance 1 and ``corr(u_k, v_k) = r_k``.
    3. An observation is embedded by the mean of the shared variable given what it has, under the model whose maximum
       likelihood solution CCA is (Bach and Jordan 2005, technical report 688, Berkeley, section 4, with
       ``M = P^1/2``): ``sqrt(r) u`` or ``sqrt(r) v`` with one modality, ``sqrt(r) / (1 + r) (u + v)`` with both.
       Components without correlation between the modalities thereby shrink to zero, and scales match.

    Batches are not corrected.
    """

    declaration = Declaration(
        name="cca",
        title="CCA",
        summary="Canonical correlation of the modalities' components on paired cells; single modalities by projection.",
        kind="composed",
        paper="Hotelling 1936, Relations between two sets of variates, 10.1093/biomet/28.3-4.321",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein")),
        unpaired=True,
        needs_paired=True,
        defaults={"n_latent": 20, "n_block_components": 30, "n_top_genes": 2000, "shrinkage": 0.1},
        origins={
            "n_latent": "ours: Seurat's CCA of batches uses 20 to 30",
            "n_block_components": "as joint PCA",
            "n_top_genes": "as joint PCA",
            "shrinkage": "ours: keeps a few hundred pairs from correlating noise; 0 is Hotelling's CCA",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Correlate on the paired cells, project all.

        Raises
        ------
        ValueError
            If there are fewer than 3 paired cells.
        """
        settings = self.hyperparameters
        paired = np.flatnonzero(design.complete)
        if len(paired) < 3:
            raise ValueError(f"CCA needs at least 3 paired cells; the design has {len(paired)}")
        blocks, training = [], []
        for modality in design.modalities:
            scores = block_components(design, modality, settings["n_block_components"], settings["n_top_genes"], seed)
            here = scores[np.searchsorted(design.rows[modality], paired)]
            blocks.append(scores - here.mean(axis=0))
            training.append(here - here.mean(axis=0))
        first, second, correlations = canonical_correlation(*training, settings["shrinkage"])
        rank = min(settings["n_latent"], len(correlations))
        self.correlations = correlations[:rank]
        sums, counts = np.zeros((design.n_obs, rank)), np.zeros((design.n_obs, 1))
        for modality, block, weights in zip(design.modalities, blocks, (first, second)):
            sums[design.rows[modality]] += block @ weights[:, :rank]
            counts[design.rows[modality]] += 1
        self._embedding = np.sqrt(self.correlations) * sums / np.where(counts > 1, 1 + self.correlations, 1.0)

    def embed(self) -> np.ndarray:
        """Posterior means, observations x ``n_latent`` (fewer if a modality has fewer components)."""
        return self._embedding.astype(np.float32)


def canonical_correlation(
    first: np.ndarray, second: np.ndarray, shrinkage: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical weights and correlations of two centred blocks.

    The joint covariance is shrunk towards independent components of equal variance: ``(1 - s) C_m + s mean(diag C_m) I``
    within a block and ``(1 - s) C_12`` between them. With the singular value decomposition
    ``C_1^-1/2 C_12 C_2^-1/2 = L diag(r) R'`` of these: ``A_1 = C_1^-1/2 L``, ``A_2 = C_2^-1/2 R``.

    Parameters
    ----------
    first, second
        Cells x components, centred.
    shrinkage
        s, in [0, 1).

    Returns
    -------
    tuple
        Weights of the first block, of the second (components x variates), and the correlations, decreasing, in [0, 1].
    """
    roots = []
    for block in (first, second):
        covariance = block.T @ block / len(block)
        level = np.trace(covariance) / len(covariance)
        covariance = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
        values, vectors = np.linalg.eigh(covariance)
        # Directions without variance (fewer cells than components) have no correlation with anything.
        inverse = np.where(values > 1e-10 * values.max(), 1 / np.sqrt(np.maximum(values, 1e-300)), 0.0)
        roots.append((vectors * inverse) @ vectors.T)
    cross = (1 - shrinkage) * (first.T @ second) / len(first)
    left, correlations, right = np.linalg.svd(roots[0] @ cross @ roots[1], full_matrices=False)
    weights = roots[0] @ left
    largest = np.abs(weights).argmax(axis=0)
    signs = np.where(weights[largest, np.arange(weights.shape[1])] < 0, -1.0, 1.0)
    return weights * signs, roots[1] @ right.T * signs, np.clip(correlations, 0, 1)
