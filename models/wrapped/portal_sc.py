"""Portal by its authors (portal-sc), on the joint principal components that the composed model uses too."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import mean_of_codes, prepare, restore_numpy_names

_RELEASE = "portal-sc 1.0.4, Model"


class PortalPackage(IntegrationModel):
    """The released class ``portal.model.Model``.

    Its own preprocessing intersects indices in a way that pandas 2 does not know, so that the joint principal
    components are made by :func:`models.parts.gene_activity.shared_space`: gene activity where there are
    coordinates, else canonical correlation on the paired cells. The pairing of cells is not used in training.
    """

    declaration = Declaration(
        name="portal-sc",
        title="Portal (portal-sc)",
        summary="The authors' adversarial domain translation between RNA and ATAC on joint principal components.",
        kind="wrapped",
        paper="Zhao et al. 2022, Nature Computational Science, doi:10.1038/s43588-022-00251-y",
        licence="MIT",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        environment="torch-packages",
        gpu=True,
        defaults={"training_steps": 2000, "batch_size": 500, "npcs": 30, "n_latent": 20, "lambdacos": 20.0},
        origins={name: _RELEASE for name in ("training_steps", "batch_size", "npcs", "n_latent", "lambdacos")},
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import portal, which was written for a NumPy that still had ``np.NaN``."""
        restore_numpy_names()
        import portal.model  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Joint components, then the adversarial game."""
        self.load_packages()
        import torch
        from portal.model import Model

        from models.parts.gene_activity import shared_space
        from models.parts.transforms import principal_components

        settings = self.hyperparameters
        prepare(seed)
        rna, atac, way = shared_space(design, seed, settings["npcs"])
        joint = np.concatenate((rna, atac))
        if way == "gene activity":
            joint = principal_components(joint, settings["npcs"], seed)
        else:
            self.warnings.append(f"no gene activity (coordinates missing): RNA and ATAC meet by {way} on paired cells")
        folder = {name: f"portal_{name}" for name in ("model", "data", "result")}
        model = Model(
            batch_size=settings["batch_size"],
            training_steps=settings["training_steps"],
            seed=seed,
            npcs=joint.shape[1],
            n_latent=settings["n_latent"],
            lambdacos=settings["lambdacos"],
            **{f"{name}_path": path for name, path in folder.items()},
        )
        model.device = torch.device(device)
        torch.backends.cudnn.benchmark = False
        model.emb_A, model.emb_B = np.split(joint, [len(rna)])
        model.train()
        model.eval()
        sys.stdout.flush()
        self._embedding = mean_of_codes(design, dict(zip(("rna", "atac"), np.split(model.latent, [len(rna)]))))

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has, observations x ``n_latent``."""
        return self._embedding
