"""UnionCom: unsupervised topological alignment of two modalities."""

from __future__ import annotations

import sys
import types

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components
from models.wrapped.common import mean_of_codes, prepare

_RELEASE = "unioncom 0.4.0, UnionCom"


class UnionCom(IntegrationModel):
    """The released class ``unioncom.UnionCom.UnionCom`` on the leading components of each modality.

    It matches two sets of cells by the geodesic distances within each; the pairing of cells is not used. Matrices
    of distances and of matches are dense, so memory grows with the square of the number of cells.
    """

    declaration = Declaration(
        name="unioncom",
        title="UnionCom",
        summary="Topological alignment of two modalities by matching their geodesic distances.",
        kind="wrapped",
        paper="Cao et al. 2020, Bioinformatics, doi:10.1093/bioinformatics/btaa443",
        licence="MIT",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein")),
        unpaired=True,
        needs_paired=False,
        environment="numpy1-packages",
        gpu=True,
        defaults={
            "n_components": 50,
            "n_top_genes": 2000,
            "output_dim": 32,
            "n_epochs_match": 2000,
            "n_epochs_projection": 100,
            "epsilon": 0.01,
            "lr": 0.001,
            "batch_size": 100,
            "beta": 1.0,
            "rho": 10.0,
        },
        origins={
            "n_components": "ours: as many as in other models here",
            "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes",
            "output_dim": _RELEASE,
            "n_epochs_match": f"{_RELEASE} (epoch_pd)",
            "n_epochs_projection": f"{_RELEASE} (epoch_DNN)",
            "epsilon": _RELEASE,
            "lr": _RELEASE,
            "batch_size": _RELEASE,
            "beta": _RELEASE,
            "rho": _RELEASE,
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import unioncom; it imports torchvision for a class that it does not use, which an empty module replaces."""
        if "torchvision" not in sys.modules:
            stand_in = types.ModuleType("torchvision")
            stand_in.models = types.ModuleType("torchvision.models")
            sys.modules["torchvision"] = stand_in
        import unioncom.UnionCom  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Components of each modality, the matching, then the projection."""
        self.load_packages()
        from unioncom.UnionCom import UnionCom as Released

        settings = self.hyperparameters
        prepare(seed)
        first, second = design.modalities
        blocks = [
            block_components(design, name, settings["n_components"], settings["n_top_genes"], seed)
            for name in (first, second)
        ]
        model = Released(
            epoch_pd=settings["n_epochs_match"],
            epoch_DNN=settings["n_epochs_projection"],
            epsilon=settings["epsilon"],
            lr=settings["lr"],
            batch_size=settings["batch_size"],
            beta=settings["beta"],
            rho=settings["rho"],
            output_dim=settings["output_dim"],
            manual_seed=seed,
        )
        aligned = model.fit_transform(dataset=blocks)
        self._embedding = mean_of_codes(design, dict(zip((first, second), map(np.asarray, aligned))))

    def embed(self) -> np.ndarray:
        """Mean of the positions of the modalities that a cell has, observations x ``output_dim``."""
        return self._embedding
