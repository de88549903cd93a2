"""MIDAS (scmidas): mosaic integration with self-supervised alignment of modalities and disentangled batch effects."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, IntegrationModel
from models.wrapped.common import annotated, parts, prepare

_RELEASE = "scmidas 0.3.0, default configuration"
_NAMES = {"rna": "rna", "atac": "atac", "protein": "adt"}


class MIDAS(IntegrationModel):
    """The released class ``scmidas.MIDAS``.

    A batch of the package is a set of cells measured together: here the cells of one batch that have the same
    modalities. ATAC is binarised and encoded by chromosome as in the paper, where the peaks lie on several.
    """

    declaration = Declaration(
        name="scmidas",
        title="MIDAS (scmidas)",
        summary="Mosaic integration: biological and technical variables disentangled, modalities aligned.",
        kind="wrapped",
        paper="He et al. 2024, Nature Biotechnology, doi:10.1038/s41587-023-02040-y",
        licence="MIT",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=True,
        batches=True,
        predicts=True,
        environment="torch-packages",
        gpu=True,
        defaults={"dim_c": 32, "dim_u": 2, "max_epochs": 1000, "batch_size": 256, "lr": 1e-4},
        origins={
            "dim_c": _RELEASE,
            "dim_u": _RELEASE,
            "max_epochs": "scmidas 0.3.0, integrate: 1000 to 2000 epochs for real data; the fewer",
            "batch_size": "scmidas 0.3.0, MIDAS",
            "lr": f"{_RELEASE} (lr_net, lr_dsc)",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scmidas."""
        import scmidas  # noqa: F401

        for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Register the mosaic and train for `max_epochs`."""
        import lightning.pytorch
        import mudata
        import scmidas
        from scmidas.config import load_config

        settings = self.hyperparameters
        prepare(seed)
        lightning.pytorch.seed_everything(seed, verbose=False)
        self.design = design
        part_of = np.empty(design.n_obs, dtype=object)
        for part in parts(design):
            part_of[part.positions] = part.name
        tables, chunks, self.peaks = {}, {}, None
        for modality in design.modalities:
            table = annotated(design, modality)
            table.obs["part"] = part_of[design.rows[modality]].astype(str)
            table.var_names = [f"{modality}{i}" for i in range(table.n_vars)]
            if modality == "atac":
                self.peaks, chunks["atac"] = _by_chromosome(design.var["atac"])
                table = table[:, self.peaks].copy()
            tables[_NAMES[modality]] = table
        data = mudata.MuData(tables)
        scmidas.MIDAS.setup_mudata(data, batch_key="part", dims_x=chunks)
        configuration = load_config() | {
            "dim_c": settings["dim_c"],
            "dim_u": settings["dim_u"],
            "lr_net": settings["lr"],
            "lr_dsc": settings["lr"],
            "num_workers": 0,
            "persistent_workers": False,
            "pin_memory": False,
        }
        if len(chunks.get("atac", ())) < 2:
            for name in ("dims_before_enc_atac", "dims_after_dec_atac"):
                configuration.pop(name)
        self.data = data
        self.model = scmidas.MIDAS(
            data,
            save_model_path="scmidas",
            configs=configuration,
            batch_size=settings["batch_size"],
            n_save=settings["max_epochs"] + 1,
        )
        self.model.train(
            max_epochs=settings["max_epochs"],
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_progress(self.progress)],
        )
        self.model.to(device)

    def embed(self) -> np.ndarray:
        """Biological variable c, observations x ``dim_c``."""
        return self._aligned(self.model.get_latent_representation())

    def predict(self, modality: str) -> Prediction:
        """Imputed counts, or probability of an open peak."""
        mean = self._aligned(self.model.get_imputed_values(modality=_NAMES[modality]))
        rows = np.flatnonzero(~self.design.has(modality))
        mean = mean[rows]
        if modality == "atac":
            ordered, mean = mean, np.empty_like(mean)
            mean[:, self.peaks] = np.clip(ordered, 0, 1)
        return Prediction(np.maximum(mean, 0), rows)

    def _aligned(self, values: np.ndarray) -> np.ndarray:
        """Rows in the order of the design: MuData orders the observations its own way."""
        order = pd.Index(self.data.obs_names.astype(str)).get_indexer(self.design.obs.index.astype(str))
        return np.asarray(values, dtype=np.float32)[order]


def _by_chromosome(var: pd.DataFrame) -> tuple[np.ndarray, list[int]]:
    """Positions of the peaks in the order of their chromosomes, and the number of peaks on each."""
    if "chrom" not in var.columns:
        return np.arange(len(var)), [len(var)]
    chromosome = var["chrom"].astype(str).to_numpy()
    order = np.argsort(chromosome, kind="stable")
    return order, np.unique(chromosome, return_counts=True)[1].tolist()


def _progress(report):
    """A callback that reports the losses that the package logs, once an epoch."""
    import lightning.pytorch

    class Progress(lightning.pytorch.Callback):
        """Hands each epoch's losses to the model under test."""

        def on_train_epoch_end(self, trainer, module) -> None:
            logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
            losses = {
                name.split("/")[-1].removesuffix("_epoch"): value
                for name, value in logged.items()
                if "loss" in name and not name.endswith("_step")
            }
            report(trainer.current_epoch + 1, trainer.max_epochs, **losses)

    return Progress()
