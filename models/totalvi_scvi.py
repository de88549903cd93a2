"""totalVI (Gayoso et al. 2021) as scvi-tools ships it.

Wrapped, not composed: the package is maintained, its protein likelihood is already here in
``models.networks.multivi.ProteinDecoder``, and what is left (a prior of the background for each protein, fitted
by a mixture, and its minibatch mask) would be a copy of the package's own code rather than of the paper.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models import scvi_common
from models.base import Declaration, IntegrationModel

_RELEASE = "scvi-tools 1.4.2, TOTALVI.train"


class TotalVI(IntegrationModel):
    """scvi-tools' TOTALVI."""

    declaration = Declaration(
        name="totalvi",
        title="totalVI",
        summary="Variational autoencoder of RNA and surface proteins with foreground and background.",
        kind="wrapped",
        paper="Gayoso et al. 2021, Nature Methods, doi:10.1038/s41592-020-01050-x",
        licence="BSD-3-Clause",
        modality_sets=(("rna", "protein"),),
        unpaired=False,
        batches=True,
        gpu=True,
        defaults={"n_latent": 20, "max_epochs": 400, "learning_rate": 4e-3, "batch_size": 256, "patience": 45},
        origins={
            "n_latent": "scvi-tools 1.4.2, TOTALVI",
            "max_epochs": f"{_RELEASE}: for up to 20,000 cells; beyond, the package would train fewer",
            "learning_rate": _RELEASE,
            "batch_size": _RELEASE,
            "patience": "scvi-tools 1.4.2, Trainer: early stopping",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scvi-tools."""
        scvi_common.load()

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on paired RNA and protein."""
        scvi_common.prepare(seed)
        import scvi

        data = scvi_common.annotated_counts(design, "rna")
        # Dense: with more than 10 proteins the package fits a mixture to them, and that refuses sparse input.
        data.obsm["protein"] = design.counts["protein"].toarray()
        scvi.model.TOTALVI.setup_anndata(data, protein_expression_obsm_key="protein", batch_key="batch")
        self._model = scvi.model.TOTALVI(data, n_latent=self.hyperparameters["n_latent"])
        if self._model._use_adversarial_classifier:
            self.warnings.append(
                "a protein has no count in one batch: scvi-tools takes it for missing there and adds a classifier of batches"
            )
        losses = {"loss": "train_loss", "validation_loss": "validation_loss"}
        self._model.train(
            max_epochs=self.hyperparameters["max_epochs"],
            lr=self.hyperparameters["learning_rate"],
            batch_size=self.hyperparameters["batch_size"],
            early_stopping=True,
            early_stopping_patience=self.hyperparameters["patience"],
            **scvi_common.trainer_arguments(self.progress, device, losses),
        )
        scvi_common.note_early_stop(self, self.hyperparameters["max_epochs"])

    def embed(self) -> np.ndarray:
        """Posterior means, observations x latent."""
        return scvi_common.latent(self._model, self.hyperparameters["batch_size"])
