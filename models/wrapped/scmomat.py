"""scMoMaT: matrix tri-factorisation of a mosaic of batches and modalities."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import counts_of, keep_losses, parts, prepare

_RELEASE = "scmomat 0.2.2, scmomat_model"


class ScMoMaT(IntegrationModel):
    """The released class ``scmomat.scmomat_model``, first stage.

    A batch of the package is a set of cells measured together: here the cells of one batch that have the same
    modalities. Matrices are dense. The second stage (retraining on given cell types to find markers) needs labels.
    """

    declaration = Declaration(
        name="scmomat",
        title="scMoMaT",
        summary="Matrix tri-factorisation with shared feature factors over a mosaic of batches and modalities.",
        kind="wrapped",
        paper="Zhang et al. 2023, Nature Communications, doi:10.1038/s41467-023-36066-2",
        licence="MIT",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=False,
        batches=True,
        environment="torch-packages",
        gpu=True,
        defaults={"n_factors": 30, "n_iterations": 4000, "lamb": 0.001, "lr": 1e-2, "batch_fraction": 0.1},
        origins={
            "n_factors": _RELEASE,
            "n_iterations": f"{_RELEASE}.train_func",
            "lamb": _RELEASE,
            "lr": _RELEASE,
            "batch_fraction": f"{_RELEASE} (batch_size), raised where a tenth of the smallest batch is no cell",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scmomat."""
        import scmomat  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Quantile-normalise (RNA, protein) or binarise (ATAC) each batch, then factorise."""
        import scmomat
        import torch

        settings = self.hyperparameters
        prepare(seed)
        mosaic = parts(design)
        counts: dict = {"nbatches": len(mosaic)}
        for modality in design.modalities:
            kind = {"rna": "RNA", "atac": "ATAC", "protein": "protein"}[modality]
            counts[modality] = [
                scmomat.preprocess(counts_of(design, modality, part.positions).toarray(), modality=kind, log=True)
                if modality in part.modalities
                else None
                for part in mosaic
            ]
        # A mini-batch is a share of each batch and of each modality's features, rounded down: never nothing.
        sizes = [len(part.positions) for part in mosaic] + [matrix.shape[1] for matrix in design.counts.values()]
        fraction = max(settings["batch_fraction"], min(1.0, 1.0001 / min(sizes)))
        model = scmomat.scmomat_model(
            counts,
            K=settings["n_factors"],
            batch_size=fraction,
            interval=max(1, settings["n_iterations"] // 20),
            lr=settings["lr"],
            lamb=settings["lamb"],
            seed=seed,
            device=torch.device(device),
        )
        losses = model.train_func(T=settings["n_iterations"])
        # The package tells the loss twenty times only.
        keep_losses(self, train=losses)
        self.epochs = settings["n_iterations"]
        factors = model.extract_cell_factors()
        self._embedding = np.zeros((design.n_obs, settings["n_factors"]), np.float32)
        for part, values in zip(mosaic, factors):
            self._embedding[part.positions] = values

    def embed(self) -> np.ndarray:
        """Cell factors (softmax), observations x ``n_factors``."""
        return self._embedding
