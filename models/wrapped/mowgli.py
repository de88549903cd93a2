"""Mowgli: non-negative matrix factorisation of all modalities with an optimal transport loss."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import annotated, keep_losses, prepare

_RELEASE = "mowgli 0.4.0, MowgliModel"
_TRAIN = "mowgli 0.4.0, MowgliModel.train"
_NAMES = {"rna": "rna", "atac": "atac", "protein": "adt"}


class Mowgli(IntegrationModel):
    """The released class ``mowgli.models.MowgliModel``, on log-normalised RNA, TF-IDF of ATAC and log-ratios of protein.

    Columns have to be non-negative, so the log-ratios are those to the protein's geometric mean, as in muon. The
    ground costs between features are dense: features of each modality are limited to the most variable ones.
    """

    declaration = Declaration(
        name="mowgli",
        title="Mowgli",
        summary="Integrative non-negative matrix factorisation with an optimal transport loss, for paired cells.",
        kind="wrapped",
        paper="Huizing et al. 2023, Nature Communications, doi:10.1038/s41467-023-43019-2",
        licence="GPL-3.0",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        environment="numpy1-packages",
        gpu=True,
        defaults={
            "latent_dim": 50,
            "w_regularization": 1e-3,
            "eps": 5e-2,
            "max_iter": 100,
            "max_iter_inner": 1000,
            "n_top_genes": 2500,
            "n_top_peaks": 5000,
        },
        origins={
            "latent_dim": _RELEASE,
            "w_regularization": _RELEASE,
            "eps": _RELEASE,
            "max_iter": _TRAIN,
            "max_iter_inner": _TRAIN,
            "n_top_genes": "Huizing et al. 2023, Methods, number of highly variable genes",
            "n_top_peaks": "ours: the most often open peaks; the ground cost has the square of their number",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import mowgli."""
        import mowgli.models  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Alternate between dictionary and embedding until the loss changes little."""
        import mudata
        from mowgli.models import MowgliModel

        settings = self.hyperparameters
        prepare(seed)
        tables = {}
        for modality in design.modalities:
            values = self._values(design.counts[modality], modality)
            table = annotated(design, modality, np.zeros((design.n_obs, len(design.var[modality])), np.float32))
            table = table[:, : values.shape[1]].copy()
            table.X = values
            table.var["highly_variable"] = True
            tables[_NAMES[modality]] = table
        model = MowgliModel(
            latent_dim=settings["latent_dim"], w_regularization=settings["w_regularization"], eps=settings["eps"]
        )
        data = mudata.MuData(tables)
        model.train(data, max_iter=settings["max_iter"], max_iter_inner=settings["max_iter_inner"], device=device)
        # Two losses an iteration: after the dictionary and after the embedding.
        keep_losses(self, train=model.losses)
        self.epochs = -(-len(model.losses) // 2)
        self._embedding = np.asarray(data.obsm["W_OT"], dtype=np.float32)

    def _values(self, counts, modality: str) -> np.ndarray:
        """Dense non-negative values of the features chosen, cells x features."""
        from models.preprocessing import highly_variable, log_normalise, tf_idf

        if modality == "protein":
            dense = counts.toarray()
            return np.log1p(dense / np.exp(np.log1p(dense).mean(axis=0)))
        if modality == "rna":
            values = log_normalise(counts)
            return values[:, highly_variable(values, self.hyperparameters["n_top_genes"])].toarray()
        frequent = np.argsort(-counts.getnnz(axis=0), kind="stable")[: self.hyperparameters["n_top_peaks"]]
        return tf_idf(counts)[:, np.sort(frequent)].toarray()

    def embed(self) -> np.ndarray:
        """Embedding W, observations x ``latent_dim``; rows sum to one."""
        return self._embedding
