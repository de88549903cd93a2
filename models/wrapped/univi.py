"""UniVI: variational autoencoders of each modality with a mixture of experts and an alignment of their posteriors."""

from __future__ import annotations

import numpy as np

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import annotated, keep_losses, prepare

_QUICKSTART = "univi 1.2.1, quickstart of paired RNA and ATAC"
_LEAST_PAIRED = 20


class UniVI(IntegrationModel):
    """The released ``UniVIMultiModalVAE`` on the package's own transforms.

    Paired cells train the model; cells with one modality are then mapped by that modality's encoder, as the authors
    map single-modality data onto a reference. Widths, annealing and weights are those of the authors' quickstart.
    RNA enters as scaled log-counts, ATAC as scaled components of TF-IDF, protein as scaled log-ratios, so that what
    a decoder gives back are components and log-ratios, not counts: it does not predict here.
    """

    declaration = Declaration(
        name="univi",
        title="UniVI",
        summary="Variational autoencoders of each modality with a mixture of experts and aligned posteriors.",
        kind="wrapped",
        paper="Ashford et al. 2026, Genome Research, doi:10.1101/gr.281431.125",
        licence="MIT",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=True,
        environment="torch-packages",
        gpu=True,
        defaults={
            "n_top_genes": 2000,
            "n_components": 101,
            "latent_dim": 30,
            "beta": 1.25,
            "gamma": 4.35,
            "encoder_dropout": 0.1,
            "decoder_dropout": 0.05,
            "max_epochs": 400,
            "batch_size": 256,
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "patience": 50,
            "validation_fraction": 0.1,
        },
        origins={
            "n_top_genes": _QUICKSTART,
            "n_components": f"{_QUICKSTART}, the first one dropped",
            "latent_dim": _QUICKSTART,
            "beta": _QUICKSTART,
            "gamma": _QUICKSTART,
            "encoder_dropout": _QUICKSTART,
            "decoder_dropout": _QUICKSTART,
            "max_epochs": _QUICKSTART,
            "batch_size": _QUICKSTART,
            "lr": _QUICKSTART,
            "weight_decay": _QUICKSTART,
            "patience": _QUICKSTART,
            "validation_fraction": _QUICKSTART,
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import univi."""
        import univi  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Fit the transforms on all cells that have the modality, train on nine tenths of the paired ones."""
        from univi import ModalityConfig, TrainingConfig, UniVIConfig, UniVIMultiModalVAE, UniVITrainer
        from univi.workflows import make_loader

        settings = self.hyperparameters
        prepare(seed)
        paired = np.flatnonzero(design.complete)
        if len(paired) < _LEAST_PAIRED:
            raise InputError(f"univi trains on paired cells; the design has {len(paired)}, give it {_LEAST_PAIRED}")
        self.design, self.device = design, device
        self.data = {modality: self._transformed(design, modality, seed) for modality in design.modalities}
        shuffled = np.random.default_rng(seed).permutation(paired)
        n_validation = max(2, round(settings["validation_fraction"] * len(paired)))
        validation, training = (self._rows(part) for part in np.split(shuffled, [n_validation]))
        widths = {"rna": [512, 256, 128], "atac": [128, 64], "protein": [128, 64]}
        self.model = UniVIMultiModalVAE(
            UniVIConfig(
                latent_dim=settings["latent_dim"],
                beta=settings["beta"],
                gamma=settings["gamma"],
                encoder_dropout=settings["encoder_dropout"],
                decoder_dropout=settings["decoder_dropout"],
                kl_anneal_start=50,
                kl_anneal_end=85,
                align_anneal_start=75,
                align_anneal_end=110,
                modalities=[
                    ModalityConfig(name, table.n_vars, widths[name], widths[name][::-1], likelihood="gaussian")
                    for name, table in self.data.items()
                ],
            )
        )
        batch_size = min(settings["batch_size"], len(shuffled) - n_validation)
        trainer = UniVITrainer(
            self.model,
            train_loader=make_loader(training, batch_size=batch_size, shuffle=True, drop_last=True, seed=seed),
            val_loader=make_loader(validation, batch_size=1024),
            train_cfg=TrainingConfig(
                n_epochs=settings["max_epochs"],
                lr=settings["lr"],
                weight_decay=settings["weight_decay"],
                device=device,
                seed=seed,
                early_stopping=True,
                patience=settings["patience"],
                best_epoch_warmup=min(110, settings["max_epochs"] - 1),
            ),
        )
        history = trainer.fit()
        keep_losses(self, train=history["train_loss"], validation=history["val_loss"])

    def _transformed(self, design: Multimodal, modality: str, seed: int):
        """One modality as the encoders take it, by the package's transforms."""
        from univi import preprocessing

        settings, table = self.hyperparameters, annotated(design, modality)
        if modality == "rna":
            transform = preprocessing.RNAPreprocessor(settings["n_top_genes"], layer=None, scale=True)
        elif modality == "protein":
            transform = preprocessing.ADTPreprocessor(layer=None, scale=True)
        else:
            n_components = min(settings["n_components"], min(table.shape) - 1)
            transform = preprocessing.ATACPreprocessor(n_components, layer=None, drop_first=True, random_state=seed)
        return transform.fit_transform(table)

    def _rows(self, positions: np.ndarray) -> dict:
        """The transformed tables of the observations at `positions`, which have every modality."""
        rows = self.design.rows
        return {name: table[np.searchsorted(rows[name], positions)].copy() for name, table in self.data.items()}

    def embed(self) -> np.ndarray:
        """Fused posterior mean of the modalities that an observation has, observations x ``latent_dim``."""
        from univi.evaluation import encode_adata, encode_fused_adata_pair

        embedding = np.zeros((self.design.n_obs, self.hyperparameters["latent_dim"]), np.float32)
        for name, table in self.data.items():
            embedding[self.design.rows[name]] = encode_adata(self.model, table, modality=name, device=self.device)
        several = np.flatnonzero(self.design.complete)
        fused = encode_fused_adata_pair(self.model, self._rows(several), device=self.device, write_to_adatas=False)
        embedding[several] = fused["Z_fused"]
        return embedding
