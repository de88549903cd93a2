"""scvi-tools' models of a single modality: SCVI of RNA, PEAKVI of ATAC."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from benchmarks.formats import Multimodal
from models import scvi_common
from models.base import Declaration, IntegrationModel

_SCVI = "scvi-tools 1.4.2, SCVI"
_PEAKVI = "scvi-tools 1.4.2, PEAKVI.train; Ashuach et al. 2022"


class _SingleModalityModel(IntegrationModel):
    """A model of scvi-tools that takes one AnnData with a batch key."""

    modality: str

    @classmethod
    def load_packages(cls) -> None:
        """Import scvi-tools."""
        scvi_common.load()

    @abstractmethod
    def _package_class(self):
        """The class of scvi-tools."""

    def _train_arguments(self) -> dict:
        """What only this class's ``train`` takes."""
        return {}

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on the one modality, all of whose observations have it."""
        scvi_common.prepare(seed)
        settings, package = self.hyperparameters, self._package_class()
        data = scvi_common.annotated_counts(design, self.modality)
        package.setup_anndata(data, batch_key="batch")
        self._model = package(data, n_latent=settings["n_latent"], n_hidden=settings["n_hidden"])
        self._model.train(
            max_epochs=settings["max_epochs"],
            batch_size=settings["batch_size"],
            early_stopping=settings["early_stopping"],
            early_stopping_patience=settings["patience"],
            check_val_every_n_epoch=1,
            **self._train_arguments(),
            **scvi_common.trainer_arguments(self.progress, device),
        )
        scvi_common.note_early_stop(self, settings["max_epochs"])

    def embed(self) -> np.ndarray:
        """Posterior means, observations x latent."""
        return scvi_common.latent(self._model, self.hyperparameters["batch_size"])


class SCVI(_SingleModalityModel):
    """SCVI: a variational autoencoder of counts with a zero-inflated negative binomial likelihood."""

    modality = "rna"
    declaration = Declaration(
        name="scvi",
        title="scVI",
        summary="Variational autoencoder of RNA counts alone, zero-inflated negative binomial.",
        kind="wrapped",
        paper="Lopez et al. 2018, Deep generative modeling for single-cell transcriptomics, doi:10.1038/s41592-018-0229-2",
        modality_sets=(("rna",),),
        needs_paired=False,
        batches=True,
        gpu=True,
        defaults={
            "n_latent": 10,
            "n_hidden": 128,
            "max_epochs": 400,
            "lr": 1e-3,
            "batch_size": 128,
            "early_stopping": True,
            "patience": 45,
        },
        origins={
            "n_latent": _SCVI,
            "n_hidden": _SCVI,
            "max_epochs": "scvi-tools 1.4.2, for up to 20,000 cells; beyond, the package would train fewer",
            "lr": "scvi-tools 1.4.2, TrainingPlan",
            "batch_size": "scvi-tools 1.4.2, SCVI.train",
            "early_stopping": "ours: the package has it off; on as in PEAKVI, TOTALVI and MULTIVI",
            "patience": "scvi-tools 1.4.2, Trainer",
        },
    )

    def _package_class(self):
        import scvi

        return scvi.model.SCVI

    def _train_arguments(self) -> dict:
        return {"plan_kwargs": {"lr": self.hyperparameters["lr"]}}


class PeakVI(_SingleModalityModel):
    """PEAKVI: a variational autoencoder of binary accessibility with cell and region factors."""

    modality = "atac"
    declaration = Declaration(
        name="peakvi",
        title="PeakVI",
        summary="Variational autoencoder of chromatin accessibility alone, Bernoulli with cell and region factors.",
        kind="wrapped",
        paper="Ashuach et al. 2022, PeakVI: a deep generative model for single-cell chromatin accessibility analysis, doi:10.1016/j.crmeth.2022.100182",
        modality_sets=(("atac",),),
        needs_paired=False,
        batches=True,
        gpu=True,
        defaults={
            "n_latent": None,
            "n_hidden": None,
            "max_epochs": 500,
            "lr": 1e-4,
            "weight_decay": 1e-3,
            "n_epochs_kl_warmup": 50,
            "batch_size": 128,
            "early_stopping": True,
            "patience": 50,
        },
        origins={
            "n_latent": "scvi-tools 1.4.2: null stands for the square root of n_hidden",
            "n_hidden": "scvi-tools 1.4.2: null stands for the square root of the number of peaks",
            "max_epochs": _PEAKVI,
            "lr": _PEAKVI,
            "weight_decay": _PEAKVI,
            "n_epochs_kl_warmup": _PEAKVI,
            "batch_size": _PEAKVI,
            "early_stopping": _PEAKVI,
            "patience": _PEAKVI,
        },
    )

    def _package_class(self):
        import scvi

        return scvi.model.PEAKVI

    def _train_arguments(self) -> dict:
        return {name: self.hyperparameters[name] for name in ("lr", "weight_decay", "n_epochs_kl_warmup")}
