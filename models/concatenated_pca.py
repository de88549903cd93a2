"""PCA of all features side by side: integration by concatenation, without balancing the modalities."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import log_normalise, principal_components


class ConcatenatedPCA(IntegrationModel):
    """Every modality log-normalised to its own median depth, all features side by side, one PCA.

    No selection of features, no components of single modalities, and above all no balance: the modality with more
    features and more variance decides. That is what joint PCA (``pca``) mends, so the two show what balancing is worth.
    Batches are not corrected.
    """

    declaration = Declaration(
        name="concatenated-pca",
        title="Concatenated PCA",
        summary="One PCA of all log-normalised features side by side, modalities not balanced.",
        kind="composed",
        paper="Pearson 1901, On lines and planes of closest fit to systems of points in space, 10.1080/14786440109462720",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        defaults={"n_latent": 30},
        origins={"n_latent": "as joint PCA"},
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Normalise, concatenate, decompose."""
        values = sp.hstack([log_normalise(design.counts[modality]) for modality in design.modalities], format="csr")
        self._embedding = principal_components(values, self.hyperparameters["n_latent"], seed)

    def embed(self) -> np.ndarray:
        """Component scores, observations x ``n_latent``."""
        return self._embedding.astype(np.float32)
