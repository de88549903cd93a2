"""DAVAE by its authors (scbean): a domain-adversarial autoencoder on RNA and gene activity."""

from __future__ import annotations

import os
import sys
import types

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.wrapped.common import keep_losses, mean_of_codes

_RELEASE = "scbean 0.5.6, fit_integration"
_PREPARATION = "scbean 0.5.6, davae_preprocessing"
_WEIGHT = f"{_PREPARATION}: 1 for the first data set, else 0; ATAC is first in the authors' multimodal script"
_LEAST_GENES = 50


class DAVAEPackage(IntegrationModel):
    """The released classes ``scbean.model.davae.DACVAE`` and ``DAVAE``, run as ``fit_integration`` does.

    A domain is a modality of a batch; encoder and decoder of the default mode see it. Common features are log counts
    per million of genes and of gene activity. Where the data set has no coordinates they are the canonical variates
    of the paired cells (:func:`models.parts.gene_activity.shared_space`), shifted to start at 0, as the released
    decoder ends in a softplus. The pairing of cells is not used in training.

    On gene activity the release stays low, by the seed: docs/fidelity_scmvp_portal_davae_scalex.md (DAVAE).
    """

    declaration = Declaration(
        name="scbean-davae",
        title="DAVAE (scbean)",
        summary="The authors' domain-adversarial variational autoencoder of RNA and gene activity.",
        kind="wrapped",
        paper="Hu, Zhong and Shang 2022, Briefings in Bioinformatics, doi:10.1093/bib/bbab400",
        licence="MIT",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        batches=True,
        environment="tensorflow-packages",
        defaults={
            "mode": "DACVAE",
            "widths": (128, 64, 32),
            "n_latent": 5,
            "epochs": 20,
            "batch_size": 128,
            "domain_lambda": 1.0,
            "weight_rna": 0.0,
            "weight_atac": 1.0,
            "n_top_genes": 2000,
        },
        origins={
            **{name: _RELEASE for name in ("mode", "epochs", "batch_size", "domain_lambda")},
            **{name: f"{_RELEASE} (hidden_layers)" for name in ("widths", "n_latent")},
            **{name: _WEIGHT for name in ("weight_rna", "weight_atac")},
            "n_top_genes": _PREPARATION,
        },
        choices={"mode": ("DACVAE", "DAVAE")},
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import DAVAE's module alone, by Keras 2: the package's own imports are other models and plotting."""
        # Both are read when tensorflow is imported.
        os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="2")
        import tensorflow

        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        if "scbean" not in sys.modules:
            _without_initialisation("scbean")
        import scbean.model.davae as released

        adam = tensorflow.keras.optimizers.legacy.Adam
        # Written for TensorFlow 2.4, whose Adam is today's legacy one and called its rate lr.
        released.optimizers = types.SimpleNamespace(Adam=lambda lr: adam(learning_rate=lr))

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Common features, then what the released function does: shuffle, build, compile, train, encode."""
        self.load_packages()
        import scbean.model.davae as released
        import tensorflow
        from sklearn.utils import shuffle

        settings = self.hyperparameters
        tensorflow.keras.utils.set_random_seed(seed)
        rna, atac = self._common_features(design, seed)
        values = np.concatenate((rna, atac)).astype(np.float32)
        batches = design.obs["batch"].astype(str).to_numpy()
        keys = [f"{name}:{batch}" for name in ("rna", "atac") for batch in batches[design.rows[name]]]
        names, codes = np.unique(keys, return_inverse=True)
        domains = np.eye(len(names), dtype=np.float32)[codes]
        weights = np.repeat([settings["weight_rna"], settings["weight_atac"]], [len(rna), len(atac)])
        layers = [*settings["widths"], settings["n_latent"]]
        network = getattr(released, settings["mode"])(values.shape[1], len(names), settings["domain_lambda"], layers)
        network.build()
        network.compile()
        shuffled = shuffle(values, domains, weights.astype(np.float32), random_state=0)
        history = network.train(*shuffled, batch_size=settings["batch_size"], epochs=settings["epochs"])
        keep_losses(self, train=history.history["loss"])
        latent = np.split(network.get_output(values, domains)[0], [len(rna)])
        self._embedding = mean_of_codes(design, dict(zip(("rna", "atac"), latent)))

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has, observations x ``n_latent``."""
        return self._embedding

    def _common_features(self, design: Multimodal, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells with RNA and cells with ATAC over the same features: dense and not negative."""
        from models.parts.gene_activity import region_gene_overlap, shared_space
        from models.parts.transforms import log_normalised
        from models.preprocessing import highly_variable

        genes, regions = design.var["rna"], design.var["atac"]
        if all("chrom" in table.columns for table in (genes, regions)):
            overlap = region_gene_overlap(regions, genes)
            shared = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
            if len(shared) >= _LEAST_GENES:
                activity = (design.counts["atac"] @ overlap[:, shared]).tocsr()
                values = [log_normalised(design.counts["rna"], 1e6)[:, shared], log_normalised(activity, 1e6)]
                n_genes = self.hyperparameters["n_top_genes"]
                # Genes that vary in both come before those that vary in one.
                votes = sum(np.isin(np.arange(len(shared)), highly_variable(block, n_genes)) for block in values)
                chosen = np.sort(np.argsort(-votes.astype(int), kind="stable")[:n_genes])
                return values[0][:, chosen].toarray(), values[1][:, chosen].toarray()
        rna, atac, way = shared_space(design, seed)
        self.warnings.append(
            f"no gene activity (coordinates missing): RNA and ATAC meet by {way} on paired cells, shifted to start at 0"
        )
        least = np.minimum(rna.min(axis=0), atac.min(axis=0))
        return rna - least, atac - least


def _without_initialisation(package: str) -> None:
    """Let modules of an installed package be imported without running its ``__init__`` files."""
    import importlib.util

    places = list(importlib.util.find_spec(package).submodule_search_locations)
    for name, folder in ((package, ""), (f"{package}.model", "model"), (f"{package}.tools", "tools")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [os.path.join(place, folder) for place in places]
    # DAVAE imports the tools and uses none.
    sys.modules[f"{package}.tools.utils"] = sys.modules[f"{package}.tools"].utils = types.ModuleType("utils")
