"""Topic models of accessibility in cisTopic's manner: latent Dirichlet allocation, alone or beside RNA components."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components

_DEFAULTS = {"n_topics": 20, "alpha": 50.0, "beta": 0.1, "n_iterations": 150, "tolerance": 1e-5}
_ORIGINS = {
    "n_topics": "ours, within the 2 to 50 that cisTopic's vignettes try (it chooses by likelihood)",
    "alpha": "cisTopic: Dirichlet parameter of topics, divided by the number of topics (Griffiths and Steyvers 2004)",
    "beta": "cisTopic: Dirichlet parameter of regions",
    "n_iterations": "cisTopic's vignettes: 150 iterations of its sampler; here passes of variational Bayes over all cells, ended earlier by tolerance",
    "tolerance": "ours: relative fall of the perplexity over ten passes below which they end",
}


class TopicModel(IntegrationModel):
    """Latent Dirichlet allocation: cells are documents, open peaks their words, topics sets of co-accessible regions.

    ``theta_c ~ Dirichlet(alpha / T)`` a cell, ``phi_t ~ Dirichlet(beta)`` a topic; every open peak of cell c is drawn from
    ``sum_t theta_ct phi_t``. cisTopic samples (collapsed Gibbs); here variational Bayes fits the same model with the same
    Dirichlet parameters (:class:`models.parts.latent_dirichlet.LatentDirichletAllocation`). The embedding is the mean
    of ``theta_c``, standardised within the cell (cisTopic's "Z-score").
    """

    declaration = Declaration(
        name="lda-atac",
        title="LDA topics of ATAC",
        summary="Latent Dirichlet allocation of binarised peaks in cisTopic's manner; no other modality.",
        kind="composed",
        paper="Bravo González-Blas et al. 2019, cisTopic: cis-regulatory topic modeling on single-cell ATAC-seq data, 10.1038/s41592-019-0367-1",
        modality_sets=(("atac",),),
        needs_paired=False,
        defaults=_DEFAULTS,
        origins=_ORIGINS,
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Fit the topics; the perplexity of the cells is reported every tenth pass."""
        self._embedding = self._standardised_topics(design, seed)

    def _standardised_topics(self, design: Multimodal, seed: int) -> np.ndarray:
        """Topic proportions, mean 0 and variance 1 within each cell; cells x topics."""
        from models.parts.latent_dirichlet import LatentDirichletAllocation

        settings = self.hyperparameters
        peaks = sp.csr_matrix(design.counts["atac"], dtype=np.float64, copy=True)
        peaks.eliminate_zeros()
        peaks.data[:] = 1.0
        alpha, generator = settings["alpha"] / settings["n_topics"], np.random.default_rng(seed)
        model = LatentDirichletAllocation(peaks, settings["n_topics"], alpha, settings["beta"], generator)
        model.fit(settings["n_iterations"], settings["tolerance"], self.progress)
        self.proportions = model.proportions()
        centred = self.proportions - self.proportions.mean(axis=1, keepdims=True)
        return centred / np.maximum(self.proportions.std(axis=1, keepdims=True), 1e-12)

    def embed(self) -> np.ndarray:
        """Standardised topic proportions, observations x ``n_topics``."""
        return self._embedding.astype(np.float32)


class TopicsAndRNA(TopicModel):
    """The topics of :class:`TopicModel` beside RNA components, both scaled to total variance 1."""

    declaration = Declaration(
        name="lda-atac-rna-pca",
        title="LDA topics of ATAC and RNA PCA",
        summary="Topics of ATAC in cisTopic's manner and principal components of RNA side by side, scaled to equal variance.",
        kind="composed",
        paper="Bravo González-Blas et al. 2019, cisTopic: cis-regulatory topic modeling on single-cell ATAC-seq data, 10.1038/s41592-019-0367-1",
        modality_sets=(("rna", "atac"),),
        defaults={**_DEFAULTS, "n_components": 30, "n_top_genes": 2000},
        origins={**_ORIGINS, "n_components": "as rna-pca", "n_top_genes": "as rna-pca"},
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Topics, components, and both side by side."""
        settings = self.hyperparameters
        topics = self._standardised_topics(design, seed)
        components = block_components(design, "rna", settings["n_components"], settings["n_top_genes"], seed)
        blocks = [block - block.mean(axis=0) for block in (components, topics)]
        self._embedding = np.hstack([block / np.sqrt(max(block.var(axis=0).sum(), 1e-300)) for block in blocks])
