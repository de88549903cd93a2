"""Multigrate: a product of experts over modalities, conditioned on batches, for paired data and mosaics."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, IntegrationModel
from models.scvi_common import note_early_stop, prepare, trainer_arguments
from models.wrapped.common import parts

_RELEASE = "multigrate 1.0.1, MultiVAE"
_TRAIN = "multigrate 1.0.1, MultiVAE.train"
_MOSAIC = "the authors' tutorial of trimodal integration (integration loss between groups, on the marginals)"


class Multigrate(IntegrationModel):
    """The released class ``multigrate.model.MultiVAE``.

    RNA enters as counts with a negative binomial loss, ATAC log-normalised and protein as log-ratios to the
    protein's geometric mean, both with a squared loss, as in the authors' tutorials. The package takes a modality
    whose values sum to zero for missing; log-ratios within a cell would all do that, so they are taken within a
    protein. Groups are the sets of modalities; the loss that aligns them counts only where there are several.
    """

    declaration = Declaration(
        name="multigrate",
        title="Multigrate",
        summary="Product of experts over modalities, conditioned on batches, with an alignment loss between groups.",
        kind="wrapped",
        paper="Lotfollahi et al. 2022, bioRxiv, doi:10.1101/2022.03.16.484643",
        licence="BSD-3-Clause",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=True,
        batches=True,
        predicts=True,
        environment="torch-packages",
        gpu=True,
        defaults={
            "z_dim": 16,
            "kl_weight": 1e-5,
            "integration_weight": 3000.0,
            "modality_alignment": "MMD",
            "alignment_type": "marginal",
            "max_epochs": 200,
            "lr": 5e-4,
            "batch_size": 256,
            "early_stopping_patience": 10,
        },
        origins={
            "z_dim": _RELEASE,
            "kl_weight": _RELEASE,
            "integration_weight": _MOSAIC,
            "modality_alignment": _MOSAIC,
            "alignment_type": _MOSAIC,
            "max_epochs": _TRAIN,
            "lr": _TRAIN,
            "batch_size": _TRAIN,
            "early_stopping_patience": _TRAIN,
        },
        choices={"modality_alignment": ("MMD", "Jeffreys"), "alignment_type": ("latent", "marginal", "both")},
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import multigrate."""
        import multigrate  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Lay the mosaic out, register batch and group, train until the validation loss stalls."""
        import multigrate

        settings = self.hyperparameters
        prepare(seed)
        self.design = design
        patterns: dict[tuple[str, ...], np.ndarray] = {}
        for part in parts(design):
            known = patterns.get(part.modalities, np.zeros(0, dtype=np.int64))
            patterns[part.modalities] = np.sort(np.concatenate((known, part.positions)))
        values = {name: self._values(design, name) for name in design.modalities}
        tables = [
            [
                self._table(design, values[name], name, positions) if name in modalities else None
                for modalities, positions in patterns.items()
            ]
            for name in design.modalities
        ]
        data = multigrate.data.organize_multimodal_anndatas(tables)
        self.order = np.concatenate(list(patterns.values()))
        data.obs["group"] = data.obs["group"].astype(str).astype("category")
        # The package refuses groups to align where the weight of that is zero.
        mosaic = len(patterns) > 1 and settings["integration_weight"] > 0
        multigrate.model.MultiVAE.setup_anndata(
            data,
            categorical_covariate_keys=["group", "batch"] if mosaic else ["batch"],
            rna_indices_end=len(design.var["rna"]),
        )
        alignment = {
            "integrate_on": "group",
            "modality_alignment": settings["modality_alignment"],
            "alignment_type": settings["alignment_type"],
        }
        self.model = multigrate.model.MultiVAE(
            data,
            losses=["nb" if name == "rna" else "mse" for name in design.modalities],
            z_dim=settings["z_dim"],
            loss_coefs={"kl": settings["kl_weight"], "integ": settings["integration_weight"] if mosaic else 0},
            **(alignment if mosaic else {}),
        )
        self.model.train(
            max_epochs=settings["max_epochs"],
            lr=settings["lr"],
            batch_size=settings["batch_size"],
            early_stopping_patience=settings["early_stopping_patience"],
            **trainer_arguments(self.progress, device),
        )
        note_early_stop(self, settings["max_epochs"])

    @staticmethod
    def _values(design: Multimodal, modality: str):
        """One modality as the model takes it, observations with the modality x features."""
        from models.parts.transforms import log_normalised

        counts = design.counts[modality]
        if modality == "rna":
            return counts
        if modality == "atac":
            return log_normalised(counts)
        logged = np.log1p(counts.toarray())
        return np.log1p(counts.toarray() / np.exp(logged.mean(axis=0))).astype(np.float32)

    @staticmethod
    def _table(design: Multimodal, values, modality: str, positions: np.ndarray):
        import anndata
        import scipy.sparse as sp

        chosen = values[np.searchsorted(design.rows[modality], positions)]
        obs = design.obs.iloc[positions][["batch"]].astype(str)
        table = anndata.AnnData(chosen.toarray() if sp.issparse(chosen) else chosen, obs=obs)
        table.var_names = [f"{modality}{i}" for i in range(chosen.shape[1])]
        return table

    def embed(self) -> np.ndarray:
        """Joint codes as the package gives them (one draw from the posterior), observations x ``z_dim``."""
        self.model.get_model_output(batch_size=self.hyperparameters["batch_size"])
        found = np.asarray(self.model.adata.obsm["X_multigrate"], dtype=np.float32)
        embedding = np.zeros_like(found)
        embedding[self.order] = found
        return embedding

    def predict(self, modality: str) -> Prediction:
        """Decoded values at the scale of counts (RNA, protein) or as a probability (ATAC)."""
        self.model.impute(batch_size=self.hyperparameters["batch_size"])
        index = self.design.modalities.index(modality)
        decoded = np.zeros((self.design.n_obs, len(self.design.var[modality])), dtype=np.float32)
        decoded[self.order] = np.asarray(self.model.adata.obsm[f"imputed_modality_{index}"]).reshape(decoded.shape)
        rows = np.flatnonzero(~self.design.has(modality))
        counts, mean = self.design.counts[modality], np.maximum(decoded[rows], 0)
        if modality == "protein":
            mean = np.expm1(mean) * np.exp(np.log1p(counts.toarray()).mean(axis=0))
        elif modality == "rna":
            level = np.median(np.asarray(counts.sum(axis=1)))
            mean = mean / np.maximum(mean.sum(axis=1, keepdims=True), 1e-12) * level
        else:
            # The inverse of the normalisation gives expected counts; of these, the probability of any.
            mean = -np.expm1(-np.expm1(mean) / 10_000 * np.median(np.asarray(counts.sum(axis=1))))
        return Prediction(mean.astype(np.float32), rows)
