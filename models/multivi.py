"""MultiVI (scvi-tools): a variational autoencoder that averages the modalities' posteriors."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from benchmarks.formats import Multimodal, Prediction
from models import scvi_common
from models.base import Declaration, IntegrationModel


class MultiVI(IntegrationModel):
    """scvi-tools' MULTIVI with the settings of its paper.

    The design goes in as a MuData in which every modality holds all observations, all-zero where it is missing: that
    is the package's own mark of a missing modality (so an observed modality without a single count is taken as
    missing, too). ``batch`` is the batch key. Training stops early when the validation reconstruction loss has not
    improved for 50 epochs, a number that the package fixes.
    """

    declaration = Declaration(
        name="multivi",
        title="MultiVI",
        summary="Variational autoencoder with one encoder a modality, posteriors averaged and drawn together by a penalty.",
        kind="wrapped",
        paper="Ashuach et al. 2023, MultiVI: deep generative model for the integration of multimodal data, 10.1038/s41592-023-01909-9",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=False,
        batches=True,
        predicts=True,
        uncertainty=True,
        gpu=True,
        defaults={
            "max_epochs": 500,
            "early_stopping": True,
            "n_epochs_kl_warmup": 50,
            "lr": 1e-4,
            "weight_decay": 1e-3,
            "batch_size": 128,
            "train_size": 0.9,
            "n_latent": None,
            "n_hidden": None,
            "modality_weights": "equal",
            "modality_penalty": "Jeffreys",
            "n_prediction_samples": 15,
        },
        origins={
            "max_epochs": "Ashuach et al. 2023, Methods",
            "early_stopping": "Ashuach et al. 2023, Methods (50 epochs without improvement of the validation reconstruction loss)",
            "n_epochs_kl_warmup": "Ashuach et al. 2023, Methods",
            "lr": "Ashuach et al. 2023, Methods (AdamW)",
            "weight_decay": "Ashuach et al. 2023, Methods",
            "batch_size": "Ashuach et al. 2023, Methods",
            "train_size": "Ashuach et al. 2023, Methods",
            "n_latent": "scvi-tools 1.4.2: null stands for the square root of n_hidden",
            "n_hidden": "scvi-tools 1.4.2: null stands for the square root of the number of peaks (or genes), at most 128",
            "modality_weights": "scvi-tools 1.4.2",
            "modality_penalty": "scvi-tools 1.4.2; Ashuach et al. 2023 (symmetric KL)",
            "n_prediction_samples": "Ashuach et al. 2023, Methods, Estimating imputation uncertainty",
        },
        # The package takes any other text for "cell" weights.
        choices={
            "modality_weights": ("equal", "universal", "cell"),
            "modality_penalty": ("Jeffreys", "MMD", "None"),
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scvi-tools."""
        scvi_common.load()

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train; losses and epochs are reported through :meth:`progress`."""
        scvi_common.prepare(seed)
        self._design, self._seed = design, seed
        self._model = self._new_model(design)
        self._train(self._model, device)
        scvi_common.note_early_stop(self, self.hyperparameters["max_epochs"])

    def _data(self, design: Multimodal):
        """The design as a MuData in which every modality holds every observation."""
        data = design.to_mudata(fill_missing=True)
        if "protein" in data.mod:
            data.mod["protein"].X = data.mod["protein"].X.toarray()
        return data

    def _new_model(self, design: Multimodal, **more: Any):
        """An untrained MULTIVI of this design; `more` goes to the package."""
        import scvi

        settings, data = self.hyperparameters, self._data(design)
        layers = {"rna": "rna_layer", "atac": "atac_layer", "protein": "protein_layer"}
        scvi.model.MULTIVI.setup_mudata(
            data, batch_key="batch", modalities={layers[modality]: modality for modality in design.modalities}
        )
        n_features = {modality: len(design.var[modality]) for modality in design.modalities}
        return scvi.model.MULTIVI(
            data,
            n_genes=n_features["rna"],
            n_regions=n_features.get("atac", 0),
            modality_weights=settings["modality_weights"],
            modality_penalty=settings["modality_penalty"],
            n_hidden=settings["n_hidden"],
            n_latent=settings["n_latent"],
            **more,
        )

    def _train(self, model, device: str, report: Callable[..., None] | None = None, **changes: Any) -> None:
        """Train `model` by the hyperparameters, with `changes` to the package's arguments."""
        settings = self.hyperparameters
        names = ("max_epochs", "lr", "weight_decay", "batch_size", "train_size", "early_stopping", "n_epochs_kl_warmup")
        arguments = {name: settings[name] for name in names} | {"check_val_every_n_epoch": 1} | changes
        model.train(**arguments, **scvi_common.trainer_arguments(report or self.progress, device))

    def embed(self) -> np.ndarray:
        """Means of the joint posterior, observations x latent."""
        return scvi_common.latent(self._model, self.hyperparameters["batch_size"])

    def predict(self, modality: str) -> Prediction:
        """Mean and standard deviation over draws from the posterior, for the observations without `modality`.

        RNA: normalised expression times the median library size of the observations that have RNA. ATAC:
        accessibility times the region's factor times the mean cell factor of the observations that have ATAC, the
        probability that the likelihood gives to a non-zero count. Protein: expected counts, foreground and background.
        """
        import torch

        module, design = self._model.module, self._design
        module.eval()
        rows = np.flatnonzero(~design.has(modality))
        torch.manual_seed(self._seed)
        n_samples = self.hyperparameters["n_prediction_samples"]
        if modality == "rna":
            level = float(np.median(np.asarray(design.counts["rna"].sum(axis=1)).ravel()))
        elif modality == "atac":
            level = self._mean_cell_factor() * torch.sigmoid(module.region_factors).detach().cpu().numpy()
        means, deviations = [], []
        with torch.inference_mode():
            for tensors in self._model._make_data_loader(
                adata=self._model.adata, indices=rows, batch_size=self.hyperparameters["batch_size"]
            ):
                inference = module.inference(**module._get_inference_input(tensors))
                inputs = module._get_generative_input(tensors, inference)
                draws = []
                for _ in range(n_samples):
                    noise = torch.randn(inference["qz_m"].shape).to(inference["qz_m"].device)
                    inputs["z"] = inference["qz_m"] + inference["qz_v"].sqrt() * noise
                    generated = module.generative(**inputs)
                    if modality == "rna":
                        values = generated["px_scale"]
                    elif modality == "atac":
                        values = generated["p"]
                    else:
                        protein = generated["py_"]
                        background = torch.sigmoid(protein["mixing"])
                        values = background * protein["rate_back"] + (1 - background) * protein["rate_fore"]
                    draws.append(values.cpu().numpy())
                stacked = np.stack(draws) * (1.0 if modality == "protein" else level)
                means.append(stacked.mean(axis=0))
                deviations.append(stacked.std(axis=0, ddof=1) if n_samples > 1 else np.zeros_like(means[-1]))
        n_features = len(design.var[modality])
        empty = np.zeros((0, n_features), dtype=np.float32)
        mean = np.concatenate(means).astype(np.float32) if means else empty
        deviation = np.concatenate(deviations).astype(np.float32) if deviations else empty
        return Prediction(mean, rows, deviation)

    def _mean_cell_factor(self) -> float:
        """Mean over the observations with ATAC of the factor by which accessibility scales with depth."""
        import torch

        total, count = 0.0, 0
        with torch.inference_mode():
            for tensors in self._model._make_data_loader(
                adata=self._model.adata,
                indices=self._design.rows["atac"],
                batch_size=self.hyperparameters["batch_size"],
            ):
                factors = self._model.module.inference(**self._model.module._get_inference_input(tensors))[
                    "libsize_acc"
                ]
                total, count = total + float(factors.sum()), count + len(factors)
        return total / max(count, 1)
