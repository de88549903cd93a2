"""SCALEX by its authors (scalex), for CITE-seq as the composed model has it."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import prepare, restore_numpy_names

_RELEASE = "scalex 1.0.4, function SCALEX"


class SCALEXPackage(IntegrationModel):
    """The released function ``scalex.SCALEX``.

    SCALEX knows one matrix: genes and proteins stand side by side, log-normalised within their modality, and the
    function is told that they are; it scales them itself. Its filter of cells with few features is thereby off,
    because every observation of the design has to get an embedding.
    """

    declaration = Declaration(
        name="scalex-package",
        title="SCALEX (scalex)",
        summary="The authors' variational autoencoder with a batch-free encoder, on genes and proteins side by side.",
        kind="wrapped",
        paper="Xiong et al. 2022, Nature Communications, doi:10.1038/s41467-022-33758-z",
        licence="MIT",
        modality_sets=(("rna", "protein"),),
        batches=True,
        environment="torch-packages",
        gpu=True,
        defaults={"max_iteration": 30_000, "batch_size": 64, "lr": 2e-4, "evaluate": False},
        origins={
            "max_iteration": _RELEASE,
            "batch_size": _RELEASE,
            "lr": _RELEASE,
            "evaluate": f"{_RELEASE}: the cells are encoded with batch normalisation in training mode (eval=False)",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scalex and what its function imports when it is called; it still says ``np.Inf``."""
        restore_numpy_names()
        import scalex.data
        import scalex.net.vae  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train until the loss has stalled, and encode."""
        self.load_packages()
        import anndata
        import scipy.sparse as sp
        from scalex.function import SCALEX

        from models.parts.transforms import log_normalised

        prepare(seed)
        values = sp.hstack([log_normalised(design.counts[name]) for name in ("rna", "protein")]).tocsr()
        # Names by position: the package orders the cells by batch.
        names = np.array([f"cell{position}" for position in range(design.n_obs)], dtype=object)
        batch = design.obs["batch"].astype(str).to_numpy()
        whole = anndata.AnnData(values)
        whole.obs_names = names
        known = np.unique(batch).tolist()
        several = {"data_list": [whole[batch == name].copy() for name in known], "batch_categories": known}
        result = SCALEX(
            **(several if len(known) > 1 else {"data_list": whole}),
            processed=True,
            min_features=0,
            min_cells=0,
            max_iteration=self.hyperparameters["max_iteration"],
            batch_size=self.hyperparameters["batch_size"],
            lr=self.hyperparameters["lr"],
            eval=self.hyperparameters["evaluate"],
            seed=seed,
            outdir="scalex",
            ignore_umap=True,
            show=False,
            num_workers=0,
        )
        found = dict(zip(result.obs_names.astype(str), np.asarray(result.obsm["latent"])))
        self._embedding = np.stack([found[name] for name in names]).astype(np.float32)

    def embed(self) -> np.ndarray:
        """Means of the posterior, observations x 10."""
        return self._embedding
