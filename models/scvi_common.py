"""What the wrappers of scvi-tools share: quiet start, seeds and kernels, progress, arguments of the trainer."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any, Callable

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import IntegrationModel

LOSSES = {
    "train": "train_loss",
    "validation": "validation_loss",
    "validation_reconstruction": "reconstruction_loss_validation",
}
"""Name in the run record -> scvi-tools' name of the metric."""


def load() -> None:
    """Import scvi-tools; its notices about hardware and future versions are of no use in a log."""
    warnings.filterwarnings("ignore")
    import scvi  # noqa: F401

    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)


def prepare(seed: int) -> None:
    """Seed every generator and keep to the threads that the runner allows (which also chooses the kernels)."""
    load()
    import scvi
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    scvi.settings.seed = int(seed)
    scvi.settings.dl_num_workers = 0


def trainer_arguments(report: Callable[..., None], device: str, losses: dict[str, str] | None = None) -> dict[str, Any]:
    """Keyword arguments of ``train`` that are the same for all of scvi-tools' models.

    Parameters
    ----------
    report
        :meth:`IntegrationModel.progress`; called once an epoch.
    device
        ``cpu`` or ``cuda``.
    losses
        Name in the run record -> scvi-tools' name; default :data:`LOSSES`.
    """
    import lightning.pytorch

    names = LOSSES if losses is None else losses

    class Progress(lightning.pytorch.Callback):
        """Hands each epoch's losses to the model under test."""

        def on_train_epoch_end(self, trainer, module) -> None:
            metrics = trainer.callback_metrics
            values = {name: float(metrics[key]) for name, key in names.items() if key in metrics}
            report(trainer.current_epoch + 1, trainer.max_epochs, **values)

    return {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "callbacks": [Progress()],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }


def annotated_counts(design: Multimodal, modality: str):
    """One modality that every observation has, as an AnnData with the batch in ``obs``."""
    import anndata

    counts: sp.csr_matrix = design.counts[modality]
    return anndata.AnnData(counts.copy(), obs=design.obs[["batch"]].astype(str), var=design.var[modality][[]].copy())


def note_early_stop(model: IntegrationModel, max_epochs: int) -> None:
    """Say in the run record that the training ended before `max_epochs`."""
    if model.epochs is not None and model.epochs < max_epochs:
        model.warnings.append(f"stopped early after {model.epochs} of {max_epochs} epochs")


def latent(model, batch_size: int) -> np.ndarray:
    """Means of the posterior, float32, observations x latent."""
    return np.asarray(model.get_latent_representation(batch_size=batch_size), dtype=np.float32)
