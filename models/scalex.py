"""SCALEX (Xiong et al. 2022), composed here: online integration by a domain-specific decoder, for CITE-seq.

=======================================================  ============================================
paper                                                    code
=======================================================  ============================================
batch-free encoder, 1,024 units, 10 latent dimensions    ``SCALEXNetwork.encoder``
decoder: one layer, domain-specific batch normalisation  ``output``, ``DomainBatchNorm``
binary cross-entropy on values scaled to [0, 1]          ``losses["reconstruction"]``
KL with weight 0.5                                       ``losses``
=======================================================  ============================================

SCALEX knows one matrix: genes and proteins stand side by side, log-normalised and each scaled by its maximum. How
Brombacher et al. 2022 gave it CITE-seq, their text does not say. Scaling is over all cells, as in releases since 1.0.3
(1.0.0, of the paper's year, scaled within each batch). Two differences from the release: cells are encoded with the
running statistics of the batch normalisation (its ``eval=True``; its default encodes in training mode, where
a code depends on the other cells of a random mini-batch), and the last, smaller mini-batch of an epoch is kept.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration
from models.parts.composed import ComposedModel, common_plan

_RELEASE = "SCALEX 1.0.4, defaults of the released function"


class SCALEX(ComposedModel):
    """SCALEX composed of parts."""

    declaration = Declaration(
        name="scalex",
        title="SCALEX",
        summary="Variational autoencoder with a batch-free encoder and domain-specific batch normalisation.",
        kind="composed",
        paper="Xiong et al. 2022, Nature Communications, doi:10.1038/s41467-022-33758-z",
        modality_sets=(("rna", "protein"),),
        unpaired=False,
        batches=True,
        gpu=True,
        version=2,
        defaults={
            "n_latent": 10,
            "width": 1024,
            "kl_scale": 0.5,
            "n_iterations": 30_000,
            "batch_size": 64,
            "learning_rate": 2e-4,
            "weight_decay": 5e-4,
            "patience": 10,
        },
        origins={
            name: _RELEASE
            for name in (
                "n_latent",
                "width",
                "kl_scale",
                "n_iterations",
                "batch_size",
                "learning_rate",
                "weight_decay",
                "patience",
            )
        },
    )

    def build(self, data, design: Multimodal):
        """The network."""
        from models.networks.scalex import SCALEXNetwork

        chosen = {name: self.hyperparameters[name] for name in ("n_latent", "width", "kl_scale")}
        return SCALEXNetwork(data.x.shape[1], data.n_domains, **chosen)

    def plan(self):
        """Adam until the training loss has stalled for `patience` epochs, `n_iterations` steps at most."""
        per_epoch = -(-self.data.n_observations // self.hyperparameters["batch_size"])
        hyperparameters = {**self.hyperparameters, "epochs": -(-self.hyperparameters["n_iterations"] // per_epoch)}
        fixed = {"optimiser": "adam", "validation_fraction": 0.0, "monitor": "loss", "kl_warmup_epochs": 0}
        # The release goes back to its best checkpoint when it stops early.
        return common_plan(hyperparameters, restore_best=True, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Scale the features, then train."""
        import torch

        from models.parts.dense import DenseRows
        from models.parts.trainer import Trainer, seeded
        from models.parts.transforms import log_normalised

        self.design, self.seed, self.device = design, int(seed), device
        parts = []
        for name in ("rna", "protein"):
            values = log_normalised(design.counts[name]).toarray()
            parts.append(values / np.maximum(values.max(axis=0), 1e-6))
        names, domain = np.unique(design.obs["batch"].astype(str).to_numpy(), return_inverse=True)
        x = torch.from_numpy(np.concatenate(parts, axis=1)).float().to(device)
        self.data = DenseRows(x, torch.from_numpy(domain.astype(np.int64)).to(device), len(names))
        with seeded(self.seed, device):
            self.network = self.build(self.data, design).to(device)
        Trainer(self.network, self.data, self.plan(), self.seed, self.progress, self.checkpoint).fit()
