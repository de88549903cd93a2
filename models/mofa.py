"""MOFA+ (mofapy2): Bayesian group factor analysis, with missing views left missing."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from typing import Callable

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, DivergedError, IntegrationModel
from models.preprocessing import centred_log_ratio, highly_variable, log_normalise, tf_idf


class MOFA(IntegrationModel):
    """MOFA+ on continuous views: factors shared by all modalities, weights sparse, absent views marked as NaN.

    The views are log-normalised RNA (highly variable genes), TF-IDF of binarised ATAC (the peaks open in most
    cells) and CLR protein, each with a Gaussian likelihood, as MOFA+'s authors and muon do for single cells. An
    observation that lacks a view has NaN there, which the variational updates leave out.

    One group for all observations: MOFA+'s groups are centred separately, which removes any difference of means
    between batches together with differences in composition, and the method is not presented as a batch correction.
    The package's entry point is called directly: muon's wrapper does the same and writes its result to a shared file.
    """

    declaration = Declaration(
        name="mofa",
        title="MOFA+",
        summary="Bayesian group factor analysis of all modalities; missing views are native.",
        kind="wrapped",
        paper="Argelaguet et al. 2020, MOFA+, 10.1186/s13059-020-02015-1",
        licence="LGPL-3.0",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=True,
        defaults={
            "n_factors": 10,
            "n_iterations": 1000,
            "convergence_mode": "fast",
            "n_top_genes": 2000,
            "n_top_peaks": 2000,
            "scale_views": False,
        },
        origins={
            "n_factors": "muon.tl.mofa",
            "n_iterations": "muon.tl.mofa",
            "convergence_mode": "muon.tl.mofa and mofapy2",
            "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes",
            "n_top_peaks": "ours: as n_top_genes; mofapy2 works on dense views, and its time is proportional to their width",
            "scale_views": "muon.tl.mofa",
        },
        choices={"convergence_mode": ("fast", "medium", "slow")},
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import mofapy2."""
        import mofapy2.run.entry_point  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train until the lower bound has converged or ``n_iterations`` are done."""
        from mofapy2.run.entry_point import entry_point

        settings = self.hyperparameters
        views = {}
        for modality in design.modalities:
            values = self._view(design.counts[modality], modality)
            view = np.full((design.n_obs, values.shape[1]), np.nan)
            view[design.rows[modality]] = values
            views[modality] = view
        model = entry_point()
        model.set_data_options(scale_views=settings["scale_views"], scale_groups=False, center_groups=True)
        model.set_data_matrix(
            [[view] for view in views.values()],
            likelihoods=["gaussian"] * len(views),
            views_names=list(views),
            groups_names=["all"],
            samples_names=[design.obs.index.tolist()],
            features_names=[[f"{name}_{column}" for column in range(view.shape[1])] for name, view in views.items()],
        )
        model.set_model_options(
            factors=settings["n_factors"], spikeslab_weights=True, ard_weights=True, ard_factors=True
        )
        model.set_train_options(
            iter=settings["n_iterations"],
            convergence_mode=settings["convergence_mode"],
            seed=seed,
            quiet=False,
            verbose=False,
        )
        model.build()
        # The package takes log(0) for inclusion probabilities of exactly 0 or 1, and replaces the NaN that follows.
        report = _Iterations(lambda iteration, bound: self.progress(iteration, settings["n_iterations"], elbo=bound))
        with np.errstate(divide="ignore", invalid="ignore"), contextlib.redirect_stdout(report):
            model.run()
        bound = np.asarray(model.model.getTrainingStats()["elbo"], dtype=float)
        self.epochs = max(len(bound) - 1, 0)
        # The bound is computed every fifth iteration; the others are NaN by the package's convention.
        self.loss_history = {"elbo": [float(value) for value in bound[~np.isnan(bound)]]}
        self._embedding = np.asarray(model.model.nodes["Z"].getExpectation(), dtype=float)
        if not np.isfinite(self._embedding).all() or not np.isfinite(self.loss_history["elbo"]).all():
            raise DivergedError("the factors or the lower bound are not finite")

    def _view(self, counts, modality: str) -> np.ndarray:
        """Dense continuous values of one modality, features chosen."""
        if modality == "protein":
            return centred_log_ratio(counts)
        if modality == "rna":
            values = log_normalise(counts)
            return np.asarray(values[:, highly_variable(values, self.hyperparameters["n_top_genes"])].todense())
        frequent = np.argsort(-counts.getnnz(axis=0), kind="stable")[: self.hyperparameters["n_top_peaks"]]
        return np.asarray(tf_idf(counts)[:, np.sort(frequent)].todense())

    def embed(self) -> np.ndarray:
        """Posterior means of the factors, observations x ``n_factors``."""
        return self._embedding.astype(np.float32)


class _Iterations(io.TextIOBase):
    """Standard output of the package: a line about an iteration is handed on as progress, the others are printed."""

    _LINE = re.compile(r"Iteration (\d+): time=[\d.]+, ELBO=(\S+?),")

    def __init__(self, report: Callable[[int, float], None]) -> None:
        self._report, self._rest = report, ""

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of text; whole lines are handed on."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            found = self._LINE.match(line)
            if found:
                self._report(int(found[1]), float(found[2]))
            elif line.strip():
                print(line, file=sys.stderr)
        return len(text)
