"""The three strategies of the MultiVI paper, each a call of ``models/r/seurat.R``.

Ashuach et al. 2023, Methods, "RNA-based Seurat integration" and "WNN-based Seurat integration". Cells fall into three
data sets by what was measured: both modalities, RNA alone, chromatin alone.

==================================================================  ==========================================
paper                                                               code
==================================================================  ==========================================
normalised, scaled, 50 principal components of each data set        ``expression_object`` (R)
gene activity scores of the cells with chromatin alone              ``activity.activity_without_rna``
FindIntegrationAnchors, IntegrateData, scaled, PCA                  ``run_gene_level`` (R)
imputed expression: FindTransferAnchors, TransferData               ``imputed_object`` (R)
sctransform and PCA, TF-IDF and SVD, multimodal neighbours          ``run_wnn`` (R)
50 supervised principal components                                  ``supervised_pca`` (R)
transfer anchors and IntegrateEmbeddings of the other cells         ``mapped_query`` (R)
==================================================================  ==========================================
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel

_PAPER = "Hao et al. 2021, 10.1016/j.cell.2021.04.048; strategies of Ashuach et al. 2023, 10.1038/s41592-023-01909-9"
_METHODS = "Ashuach et al. 2023, Methods"
_TUTORIAL = "Seurat's default"

_GENE_LEVEL_DEFAULTS = {
    "n_components": 50,
    "n_variable_features": 2000,
    "n_anchor_dimensions": 30,
    "links_per_gene": 10,
}

_ORIGINS = {
    "n_components": _METHODS,
    "n_variable_features": _TUTORIAL,
    "n_anchor_dimensions": _TUTORIAL,
    "links_per_gene": "ours; used only where genes have no coordinates",
    "n_supervised": _METHODS,
    "n_protein_components": "Seurat's vignette on RNA and protein (18 of 25 proteins)",
    "n_neighbors": _TUTORIAL,
    "normalisation": f"{_METHODS}; sctransform or log",
}


def _declaration(defaults: dict, **changes) -> Declaration:
    return Declaration(
        kind="r",
        paper=_PAPER,
        licence="MIT (Seurat)",
        unpaired=True,
        environment="seurat",
        defaults=defaults,
        origins={name: _ORIGINS[name] for name in defaults},
        **changes,
    )


class SeuratModel(IntegrationModel):
    """What the three have in common: carry the counts to R, run, read the embedding.

    Batches are not corrected: the paper's data sets are the kinds of cells. Two runs with one seed give the same
    bytes. Cells are few where Seurat's defaults are made for many: a number of dimensions or of neighbours above what
    there is is lowered to that, and the run record's warnings say so; where Seurat still stops, the run is recorded as
    failed with its message.
    """

    strategy: ClassVar[str]

    def __init__(self, **hyperparameters) -> None:
        super().__init__(**hyperparameters)
        self.versions: dict[str, str] = {}

    @classmethod
    def load_packages(cls) -> None:
        """Ask R for its Seurat."""
        from models.seurat.exchange import check_seurat

        check_seurat()

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Run the strategy in R.

        Raises
        ------
        NotApplicableError
            If gene activity is needed, and can neither be had from coordinates nor learned.
        RuntimeError
            If R stops; the message is Seurat's.
        """
        from models.seurat.activity import activity_without_rna
        from models.seurat.exchange import run_script, write_counts, write_observations, write_settings

        with tempfile.TemporaryDirectory(prefix="seurat-") as name:
            folder = Path(name)
            names = design.obs.index
            write_observations(folder, design.obs)
            for modality in design.modalities:
                write_counts(
                    folder, modality, design.counts[modality], design.var[modality].index, names[design.rows[modality]]
                )
            if "atac" in design.modalities:
                activity = activity_without_rna(design, self.hyperparameters.get("links_per_gene", 10))
                if activity is not None:
                    write_counts(folder, "activity", activity.counts, activity.genes, names[activity.rows])
                    if activity.way != "coordinates":
                        self.warnings.append(
                            f"no gene activity from coordinates (missing, or too few regions at genes): {activity.way}"
                        )
            settings = {name: value for name, value in self.hyperparameters.items() if name != "links_per_gene"}
            write_settings(folder, {"strategy": self.strategy, "seed": int(seed), **settings})
            answer = run_script("seurat.R", folder, names)
        self.versions = answer.versions
        self.warnings += answer.notes
        self._embedding = answer.embedding

    def embed(self) -> np.ndarray:
        """Components, observations x ``n_components`` (fewer where there are fewer cells or genes)."""
        return self._embedding.astype(np.float32)


class SeuratGeneActivity(SeuratModel):
    """Cells with chromatin alone enter as gene activity; then RNA integration and PCA.

    Multi-omic cells enter with their expression alone. With paired cells only there is nothing to integrate, and the
    embedding is PCA of RNA.
    """

    strategy = "gene_activity"
    declaration = _declaration(
        _GENE_LEVEL_DEFAULTS,
        name="seurat-gene-activity",
        title="Seurat, gene activity",
        summary="Integration of expression and gene activity over anchors, then PCA.",
        modality_sets=(("rna", "atac"),),
        needs_paired=False,
    )


class SeuratImputed(SeuratModel):
    """As gene activity; but the cells with chromatin alone enter with expression that Seurat imputes for them."""

    strategy = "imputed"
    declaration = _declaration(
        _GENE_LEVEL_DEFAULTS,
        name="seurat-imputed",
        title="Seurat, imputed",
        summary="Expression imputed by transfer anchors for cells without RNA, then integration over anchors and PCA.",
        modality_sets=(("rna", "atac"),),
        needs_paired=False,
    )


class SeuratWNN(SeuratModel):
    """Supervised PCA of the multi-omic cells' weighted nearest neighbour graph; the other cells are mapped into it.

    Cells with RNA are mapped by their expression, cells with chromatin and no RNA by gene activity, both into the
    genes' supervised components (transfer anchors, IntegrateEmbeddings). Cells with proteins alone have no genes: they
    find their anchors in supervised components of the proteins, and are given the average supervised coordinates
    of these anchors (TransferData); the paper has no such cells, this part is ours.
    """

    strategy = "wnn"
    declaration = _declaration(
        {
            "n_components": 50,
            "n_supervised": 50,
            "n_protein_components": 18,
            "n_neighbors": 20,
            "n_variable_features": 3000,
            "normalisation": "sctransform",
            "links_per_gene": 10,
        },
        name="seurat-wnn",
        title="Seurat, WNN",
        summary="Supervised PCA of the weighted nearest neighbour graph; single-modality cells mapped by anchors.",
        choices={"normalisation": ("sctransform", "log")},
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("rna", "atac", "protein")),
        needs_paired=True,
    )
