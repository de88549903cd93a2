"""Pamona: partial Gromov-Wasserstein manifold alignment of two modalities."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components
from models.wrapped.common import mean_of_codes, prepare

_RELEASE = "pamona 0.1.0, Pamona"


class Pamona(IntegrationModel):
    """The released class ``pamona.Pamona.Pamona`` on the leading components of each modality.

    It aligns two sets of cells by the geometry within each; that cells are paired tells it their number alone.
    Both matrices of distances are dense, so memory grows with the square of the number of cells.
    """

    declaration = Declaration(
        name="pamona",
        title="Pamona",
        summary="Partial Gromov-Wasserstein alignment of the manifolds of two modalities.",
        kind="wrapped",
        paper="Cao et al. 2022, Bioinformatics, doi:10.1093/bioinformatics/btab594",
        licence="MIT",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein")),
        unpaired=True,
        needs_paired=False,
        environment="torch-packages",
        defaults={
            "n_components": 50,
            "n_top_genes": 2000,
            "output_dim": 30,
            "n_neighbors": 10,
            "epsilon": 1e-3,
            "trade_off": 1.0,
            "max_iter": 1000,
        },
        origins={
            "n_components": "ours: as many as in other models here",
            "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes",
            "output_dim": _RELEASE,
            "n_neighbors": _RELEASE,
            "epsilon": _RELEASE,
            "trade_off": f"{_RELEASE} (Lambda)",
            "max_iter": _RELEASE,
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import pamona."""
        import pamona.Pamona  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Components of each modality, then the alignment."""
        from pamona.Pamona import Pamona as Released

        settings = self.hyperparameters
        prepare(seed)
        first, second = design.modalities
        blocks = [
            block_components(design, name, settings["n_components"], settings["n_top_genes"], seed)
            for name in (first, second)
        ]
        shared = int(design.complete.sum()) or min(len(block) for block in blocks)
        model = Released(
            n_shared=[shared],
            output_dim=settings["output_dim"],
            n_neighbors=settings["n_neighbors"],
            epsilon=settings["epsilon"],
            Lambda=settings["trade_off"],
            max_iter=settings["max_iter"],
            manual_seed=seed,
        )
        aligned, _ = model.run_Pamona(blocks)
        self._embedding = mean_of_codes(design, dict(zip((first, second), map(np.asarray, aligned))))

    def embed(self) -> np.ndarray:
        """Mean of the positions of the modalities that a cell has, observations x ``output_dim``."""
        return self._embedding
