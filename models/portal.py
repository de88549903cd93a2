"""Portal (Zhao et al. 2022), composed here: adversarial domain translation between RNA and ATAC.

=======================================================  ============================================
paper                                                    code
=======================================================  ============================================
joint PCA of both modalities, 30 components              ``Portal.fit``
encoders E_1, E_2, generators G_1, G_2                   ``PortalNetwork.encoders``, ``generators``
discriminators with thresholded scores, margin 5         ``ThresholdedDiscriminator``
autoencoder loss, weight 10                              ``losses["autoencoder"]``
latent alignment loss, weight 10                         ``latent_alignment``
cosine similarity loss, weight 20                        ``cosine_correspondence``
mean of a cell's two codes (Brombacher et al. 2022)      ``Portal.embed``
=======================================================  ============================================

Portal needs common features: gene activity, from coordinates. In data without gene coordinates the paired
cells give the correspondence instead (``gene_activity.shared_space``), which the run record says in a warning; without
either the run is not applicable.
In a step the generators learn before the discriminators; the release has it the other way round.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration
from models.parts.composed import ComposedModel, common_plan

_PAPER = "Zhao et al. 2022, Methods, and the released class"


class Portal(ComposedModel):
    """Portal composed of parts."""

    declaration = Declaration(
        name="portal",
        title="Portal",
        summary="Adversarial domain translation with thresholded discriminators on joint principal components.",
        kind="composed",
        paper="Zhao et al. 2022, Nature Computational Science, doi:10.1038/s43588-022-00251-y",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        batches=False,
        gpu=True,
        version=2,
        defaults={
            "n_components": 30,
            "n_latent": 20,
            "width": 512,
            "weight_autoencoder": 10.0,
            "weight_alignment": 10.0,
            "weight_cosine": 20.0,
            "weight_adversarial": 1.0,
            "margin": 5.0,
            "n_iterations": 2000,
            "batch_size": 500,
            "learning_rate": 1e-3,
        },
        origins={
            name: _PAPER
            for name in (
                "n_components",
                "n_latent",
                "width",
                "weight_autoencoder",
                "weight_alignment",
                "weight_cosine",
                "weight_adversarial",
                "margin",
                "n_iterations",
                "batch_size",
                "learning_rate",
            )
        },
    )

    def build(self, data, design: Multimodal):
        """The network."""
        from models.networks.portal import PortalNetwork

        weights = {
            name: self.hyperparameters[f"weight_{name}"]
            for name in ("autoencoder", "alignment", "cosine", "adversarial")
        }
        chosen = {name: self.hyperparameters[name] for name in ("n_latent", "width", "margin", "learning_rate")}
        return PortalNetwork(data.first.shape[1], weights=weights, **chosen)

    def plan(self):
        """Adam for `n_iterations` steps of `batch_size` cells of each domain; an epoch is 20 steps."""
        hyperparameters = {**self.hyperparameters, "epochs": max(1, self.hyperparameters["n_iterations"] // 20)}
        fixed = {
            "optimiser": "adam",
            "weight_decay": 0.0,
            "validation_fraction": 0.0,
            "patience": None,
            "kl_warmup_epochs": 0,
        }
        return common_plan(hyperparameters, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Joint PCA, then the adversarial game."""
        import torch

        from models.networks.portal import DomainPairs
        from models.parts.gene_activity import shared_space
        from models.parts.trainer import Trainer, seeded
        from models.parts.transforms import principal_components

        self.design, self.seed, self.device = design, int(seed), device
        rna, atac, way = shared_space(design, self.seed, self.hyperparameters["n_components"])
        if way != "gene activity":
            self.warnings.append(f"no gene activity (coordinates missing): RNA and ATAC meet by {way} on paired cells")
        joint = np.concatenate((rna, atac))
        if way == "gene activity":
            joint = principal_components(joint, self.hyperparameters["n_components"], self.seed)
        first, second = (torch.from_numpy(part).float().to(device) for part in np.split(joint, [len(rna)]))
        self.data = DomainPairs(first, second, 20 * self.hyperparameters["batch_size"])
        with seeded(self.seed, device):
            self.network = self.build(self.data, design).to(device)
        Trainer(self.network, self.data, self.plan(), self.seed, self.progress, self.checkpoint).fit()

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has."""
        import torch

        total, count = (
            np.zeros((self.design.n_obs, self.hyperparameters["n_latent"]), np.float32),
            np.zeros(self.design.n_obs),
        )
        with torch.no_grad():
            for name, encoder, x in zip(("rna", "atac"), self.network.encoders, (self.data.first, self.data.second)):
                total[self.design.rows[name]] += encoder(x).cpu().numpy()
                count[self.design.rows[name]] += 1
        return (total / np.maximum(count, 1)[:, None]).astype(np.float32)
