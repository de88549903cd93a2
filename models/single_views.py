"""Linear embeddings of one modality alone: what a second modality has to improve upon."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components

_COMPONENTS = "usual number of components in single-cell workflows (scanpy's tutorials use 30 to 50)"


class _SingleView(IntegrationModel):
    """The leading components of one modality (:func:`models.preprocessing.block_components`), as they are."""

    modality: str

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Compute the components over all observations, which all have the modality."""
        settings = self.hyperparameters
        n_top_genes = settings.get("n_top_genes", 0)
        self._embedding = block_components(design, self.modality, settings["n_latent"], n_top_genes, seed)

    def embed(self) -> np.ndarray:
        """Component scores, observations x ``n_latent`` (fewer if the data have fewer dimensions)."""
        return self._embedding.astype(np.float32)


class RNAPrincipalComponents(_SingleView):
    """PCA of log-normalised, highly variable genes."""

    modality = "rna"
    declaration = Declaration(
        name="rna-pca",
        title="RNA PCA",
        summary="Principal components of log-normalised, highly variable genes; no other modality.",
        kind="composed",
        paper="Satija et al. 2015, Spatial reconstruction of single-cell gene expression data, 10.1038/nbt.3192",
        modality_sets=(("rna",),),
        needs_paired=False,
        defaults={"n_latent": 30, "n_top_genes": 2000},
        origins={"n_latent": _COMPONENTS, "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes"},
    )


class ATACLatentSemanticIndexing(_SingleView):
    """LSI: singular vectors of TF-IDF of binarised peaks, the first dropped where it measures depth."""

    modality = "atac"
    declaration = Declaration(
        name="atac-lsi",
        title="ATAC LSI",
        summary="Latent semantic indexing of peaks; no other modality.",
        kind="composed",
        paper="Cusanovich et al. 2015, Multiplex single-cell profiling of chromatin accessibility, 10.1126/science.aab1601; TF-IDF of Stuart et al. 2019, 10.1016/j.cell.2019.05.031",
        modality_sets=(("atac",),),
        needs_paired=False,
        defaults={"n_latent": 30},
        origins={"n_latent": "as rna-pca; Signac's vignettes use components 2 to 30"},
    )


class ProteinPrincipalComponents(_SingleView):
    """PCA of centred log-ratios of protein counts."""

    modality = "protein"
    declaration = Declaration(
        name="protein-pca",
        title="Protein PCA",
        summary="Principal components of centred log-ratios of surface proteins; no other modality.",
        kind="composed",
        paper="Stoeckius et al. 2017, Simultaneous epitope and transcriptome measurement in single cells, 10.1038/nmeth.4380",
        modality_sets=(("protein",),),
        needs_paired=False,
        defaults={"n_latent": 18},
        origins={"n_latent": "Seurat's WNN vignette of CITE-seq uses 18 protein components"},
    )
