"""totalVI (Gayoso et al. 2021) as scvi-tools ships it.

Wrapped, not composed: the package is maintained, its protein likelihood is already here in
``models.networks.multivi.ProteinDecoder``, and what is left (a prior of the background for each protein, fitted
by a mixture, and its minibatch mask) would be a copy of the package's own code rather than of the paper.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel, NotAvailableError

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
            "max_epochs": _RELEASE,
            "learning_rate": _RELEASE,
            "batch_size": _RELEASE,
            "patience": "scvi-tools 1.4.2, Trainer: early stopping",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on paired RNA and protein."""
        try:
            import anndata
            import lightning
            import scvi
        except ImportError as error:
            raise NotAvailableError(f"{error.name} is not installed; pip install scvi-tools==1.4.2") from error

        scvi.settings.seed = int(seed)
        data = anndata.AnnData(design.counts["rna"].copy(), obs=design.obs[["batch"]].astype(str))
        # Dense: with several batches the package fits a mixture to the proteins, and that refuses sparse input.
        data.obsm["protein"] = design.counts["protein"].toarray()
        scvi.model.TOTALVI.setup_anndata(data, protein_expression_obsm_key="protein", batch_key="batch")
        self._model = scvi.model.TOTALVI(data, n_latent=self.hyperparameters["n_latent"])
        report = self.progress

        class Progress(lightning.pytorch.Callback):
            """Hands each epoch's losses to the model under test."""

            def on_train_epoch_end(self, trainer, module) -> None:
                names = {"loss": "train_loss", "validation_loss": "validation_loss"}
                metrics = trainer.callback_metrics
                losses = {name: float(metrics[key]) for name, key in names.items() if key in metrics}
                report(trainer.current_epoch + 1, trainer.max_epochs, **losses)

        self._model.train(
            max_epochs=self.hyperparameters["max_epochs"],
            lr=self.hyperparameters["learning_rate"],
            batch_size=self.hyperparameters["batch_size"],
            early_stopping=True,
            early_stopping_patience=self.hyperparameters["patience"],
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            callbacks=[Progress()],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )

    def embed(self) -> np.ndarray:
        """Posterior means, observations x latent."""
        return np.asarray(self._model.get_latent_representation(), dtype=np.float32)
