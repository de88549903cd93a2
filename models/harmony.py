"""Harmony (harmonypy) on joint PCA: linear integration of modalities, then clusters aligned between batches."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.formats import Multimodal
from models.base import NotAvailableError
from models.pca import JointPCA


class HarmonyPCA(JointPCA):
    """Joint PCA of :class:`models.pca.JointPCA`, its coordinates corrected for the batch by Harmony.

    Harmony alternates soft k-means that favours clusters of mixed batches with a linear correction of each cluster's
    batches. Modalities are joined by the PCA alone, unless ``correct_groups`` has Harmony treat an observation's set of
    modalities as a second batch variable.
    """

    declaration = dataclasses.replace(
        JointPCA.declaration,
        name="harmony",
        title="Harmony",
        summary="Joint PCA of all modalities, batches then aligned by Harmony.",
        kind="wrapped",
        paper="Korsunsky et al. 2019, Fast, sensitive and accurate integration of single-cell data with Harmony, 10.1038/s41592-019-0619-0",
        licence="GPL-3.0",
        batches=True,
        defaults={**JointPCA.declaration.defaults, "theta": 2.0, "max_iterations": 10, "correct_groups": False},
        origins={
            **JointPCA.declaration.origins,
            "theta": "Korsunsky et al. 2019 and harmonypy (theta = 2)",
            "max_iterations": "harmonypy 2.1.0 (max_iter_harmony)",
            "correct_groups": "ours: Harmony is presented for batches; the modalities are joined by the PCA",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import harmonypy.

        Raises
        ------
        NotAvailableError
            If it is not installed.
        """
        try:
            import harmonypy  # noqa: F401
        except ImportError as error:
            raise NotAvailableError("harmonypy is not installed; pip install --no-deps harmonypy==2.1.0") from error

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Joint PCA, then Harmony over ``batch`` (and ``group``)."""
        self.load_packages()
        import harmonypy

        super().fit(design, seed, device)
        settings = self.hyperparameters
        variables = ["batch", "group"] if settings["correct_groups"] else ["batch"]
        labels = design.obs[variables].astype(str)
        variables = [name for name in variables if labels[name].nunique() > 1]
        if not variables:
            self.warnings.append("one batch: nothing for Harmony to correct, the embedding is that of joint PCA")
            return
        corrected = harmonypy.run_harmony(
            np.ascontiguousarray(self._embedding),
            labels,
            variables,
            theta=settings["theta"],
            max_iter_harmony=settings["max_iterations"],
            random_state=int(seed),
            ncores=1,
            verbose=False,
        )
        values = np.asarray(corrected.Z_corr, dtype=float)
        # harmonypy before 2 returns components x cells.
        self._embedding = values if values.shape[0] == design.n_obs else values.T
        objective = [float(value) for value in corrected.objective_harmony]
        self.loss_history = {"objective": objective}
        self.epochs = max(len(objective) - 1, 0)
