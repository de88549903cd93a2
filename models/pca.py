"""Joint PCA of all modalities: the baseline that a model has to beat."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components


class JointPCA(IntegrationModel):
    """PCA of the modalities' own components side by side; single modalities by the posterior mean of the same model.

    1. Each modality m is reduced to a block ``Y_m`` of components (PCA of log-normalised RNA, LSI of TF-IDF ATAC
       without a component that measures depth, PCA of CLR protein), over all observations that have it, and scaled
       to total variance 1, so that no modality dominates by its unit.
    2. PCA of the blocks side by side, ``y = [y_1, ..., y_M]``, over the complete observations: mean ``mu``, loadings
       ``V`` (orthonormal columns), variances ``lambda``, and the mean ``sigma2`` of the variances left out.
    3. Every observation, complete or not, is embedded by probabilistic PCA's posterior mean (Tipping and Bishop
       1999, 10.1111/1467-9868.00196, equation 9) given the blocks ``o`` that it has: with
       ``y = mu + V z + noise``, ``z ~ N(0, diag(lambda - sigma2))`` and ``noise ~ N(0, sigma2)``,

           z = (V_o' V_o + sigma2 diag(1 / (lambda - sigma2)))^-1 V_o' (y_o - mu_o).

       For complete observations this is PCA up to a factor ``(lambda - sigma2) / lambda`` of each component; an
       observation with one modality is projected through that modality's own loadings, by least squares with the
       shrinkage that the variances call for, so its scale matches.

    Batches are not corrected.
    """

    declaration = Declaration(
        name="pca",
        title="Joint PCA",
        summary="PCA over the modalities' own principal components, scaled to equal variance; absent modalities by projection.",
        kind="composed",
        paper="Tipping and Bishop 1999, Probabilistic principal component analysis, 10.1111/1467-9868.00196",
        modality_sets=(
            ("rna",),
            ("atac",),
            ("protein",),
            ("rna", "atac"),
            ("rna", "protein"),
            ("atac", "protein"),
            ("rna", "atac", "protein"),
        ),
        unpaired=True,
        needs_paired=True,
        defaults={"n_latent": 30, "n_block_components": 30, "n_top_genes": 2000},
        origins={
            "n_latent": "usual number of components in single-cell workflows (scanpy's tutorials use 30 to 50)",
            "n_block_components": "as n_latent",
            "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Find blocks, loadings and the embedding; see the class."""
        blocks: dict[str, np.ndarray] = {}
        for modality in design.modalities:
            scores = block_components(
                design, modality, self.hyperparameters["n_block_components"], self.hyperparameters["n_top_genes"], seed
            )
            variance = scores.var(axis=0).sum()
            blocks[modality] = scores / np.sqrt(variance) if variance > 0 else scores
        width = sum(block.shape[1] for block in blocks.values())
        values = np.full((design.n_obs, width), np.nan)
        start = 0
        columns = {}
        for modality, block in blocks.items():
            columns[modality] = slice(start, start + block.shape[1])
            values[design.rows[modality], columns[modality]] = block
            start += block.shape[1]

        complete = values[design.complete]
        if len(complete) < 3:
            raise ValueError(f"joint PCA needs at least 3 complete observations; the design has {len(complete)}")
        mean = complete.mean(axis=0)
        _, singular, right = np.linalg.svd(complete - mean, full_matrices=False)
        rank = min(self.hyperparameters["n_latent"], width, len(complete) - 1)
        variances = singular**2 / len(complete)
        left_out = variances[rank:].sum() / max(width - rank, 1)
        # The floor keeps the prior proper where a component explains no more than noise does.
        floor = 1e-6 * variances[0]
        noise = max(left_out, floor)
        prior = np.maximum(variances[:rank] - noise, floor)
        loadings = right[:rank].T
        largest = np.abs(loadings).argmax(axis=0)
        loadings = loadings * np.where(loadings[largest, np.arange(rank)] < 0, -1.0, 1.0)

        self._embedding = np.zeros((design.n_obs, rank))
        patterns = np.stack([design.has(modality) for modality in design.modalities], axis=1)
        for pattern in np.unique(patterns, axis=0):
            members = np.flatnonzero((patterns == pattern).all(axis=1))
            present = [modality for modality, has in zip(design.modalities, pattern) if has]
            observed = np.concatenate([np.arange(width)[columns[modality]] for modality in present])
            part = loadings[observed]
            precision = part.T @ part + noise * np.diag(1.0 / prior)
            centred = values[np.ix_(members, observed)] - mean[observed]
            self._embedding[members] = np.linalg.solve(precision, part.T @ centred.T).T

    def embed(self) -> np.ndarray:
        """Posterior means, observations x ``n_latent`` (fewer if the data have fewer dimensions)."""
        return self._embedding.astype(np.float32)
