"""Cobolt (Gong, Zhou and Purdom 2021), composed here: a multimodal topic model with a product of experts.

====================================================  ======================================================
paper                                                 code
====================================================  ======================================================
q(z | x_m), encoders with batch normalisation         ``CoboltNetwork.encoders`` (``GaussianEncoder``)
product of experts, the prior among them              ``posterior``: ``product_of_experts``
Dirichlet prior by Laplace's approximation            ``dirichlet_by_laplace``
x_m ~ Multinomial(softmax(softmax(z) B (1+s_d)+b_d))  ``TopicDecoder``, ``multinomial_log_likelihood``
ELBO of each subset of modalities, a step each        ``losses``, ``SubsetTrainer``
correction of single-modality latents by XGBoost      ``Cobolt.embed``: histogram gradient boosting
====================================================  ======================================================

Gradient-boosted trees are scikit-learn's with XGBoost's defaults. Embeddings use the running statistics of the batch
normalisation; the release those of the 128 cells that are embedded together. Each row of the embedding is centred, since softmax(z) ignores its mean.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration
from models.parts.composed import ComposedModel, common_plan

_RELEASE = "Cobolt, default of the released class"
_TREES = "XGBoost's default, with which the release's trees grow"
_FEWEST_PAIRED = 50
"""Paired cells below which the trees have nothing to learn and latents are left uncorrected."""


class Cobolt(ComposedModel):
    """Cobolt composed of parts."""

    declaration = Declaration(
        name="cobolt",
        title="Cobolt",
        summary="Multimodal topic model: product of experts, Dirichlet-like prior, multinomial likelihoods.",
        kind="composed",
        paper="Gong, Zhou and Purdom 2021, Genome Biology, doi:10.1186/s13059-021-02556-z",
        modality_sets=(("rna", "atac", "protein"), ("rna", "atac"), ("rna", "protein")),
        unpaired=True,
        needs_paired=True,
        batches=True,
        gpu=True,
        version=3,
        defaults={
            "n_latent": 10,
            "widths": (128, 64),
            "concentration": None,
            "intercepts": True,
            "slopes": True,
            "correction": True,
            "tree_rate": 0.3,
            "tree_iterations": 100,
            "tree_depth": 6,
            "tree_min_samples_leaf": 1,
            "tree_l2": 1.0,
            "epochs": 100,
            "batch_size": 128,
            "learning_rate": 0.005,
            "kl_warmup_epochs": 30,
        },
        origins={
            "n_latent": "Gong et al. 2021, Methods",
            "widths": _RELEASE,
            "concentration": f"{_RELEASE}: 50 / n_latent",
            "intercepts": _RELEASE,
            "slopes": _RELEASE,
            "correction": "Gong et al. 2021, Methods",
            "tree_rate": _TREES,
            "tree_iterations": _TREES,
            "tree_depth": _TREES,
            "tree_min_samples_leaf": _TREES,
            "tree_l2": _TREES,
            "epochs": _RELEASE,
            "batch_size": _RELEASE,
            "learning_rate": _RELEASE,
            "kl_warmup_epochs": f"{_RELEASE} (annealing)",
        },
    )

    def build(self, data, design: Multimodal):
        """The network, sized by the data."""
        from models.networks.cobolt import CoboltNetwork

        names = ("n_latent", "concentration", "intercepts", "slopes")
        chosen = {name: self.hyperparameters[name] for name in names}
        return CoboltNetwork(data.n_features, data.n_batches, widths=tuple(self.hyperparameters["widths"]), **chosen)

    def plan(self):
        """Adam, KL annealing, all observations, no early stopping."""
        fixed = {"optimiser": "adam", "weight_decay": 0.0, "validation_fraction": 0.0, "patience": None}
        return common_plan(self.hyperparameters, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Build the network and train it, subset by subset."""
        from models.networks.cobolt import SubsetTrainer
        from models.parts.counts import DesignCounts
        from models.parts.trainer import seeded

        self.design, self.seed, self.device = design, int(seed), device
        self.data = DesignCounts(design, self.modalities(design), device)
        with seeded(self.seed, device):
            self.network = self.build(self.data, design).to(device)
        SubsetTrainer(self.network, self.data, self.plan(), self.seed, self.progress, self.checkpoint).fit()

    def embed(self) -> np.ndarray:
        """Posterior means; those of cells that lack a modality mapped onto the joint ones by boosted trees."""
        embedding = super().embed()
        if self.hyperparameters["correction"]:
            embedding = self._corrected(embedding)
        return embedding - embedding.mean(axis=1, keepdims=True)

    def _corrected(self, embedding: np.ndarray) -> np.ndarray:
        from models.parts.encoders import embed_in_order

        has = np.stack([self.design.has(name) for name in self.data.modalities])
        paired = np.flatnonzero(has.all(axis=0))
        corrected = embedding.copy()
        for pattern in np.unique(has, axis=1).T:
            if pattern.all() or not pattern.any():
                continue
            cells = np.flatnonzero((has == pattern[:, None]).all(axis=0))
            if len(paired) < _FEWEST_PAIRED:
                self.warnings.append(f"{len(paired)} paired cells: latents of single modalities are not corrected")
                break
            subset = tuple(name for name, present in zip(self.data.modalities, pattern) if present)
            single = (
                embed_in_order(self.data, lambda batch, subset=subset: self.network.embed(batch, subset)).cpu().numpy()
            )
            for dimension in range(embedding.shape[1]):
                trees = self._trees().fit(single[paired], embedding[paired, dimension])
                corrected[cells, dimension] = trees.predict(single[cells])
        return corrected

    def _trees(self):
        from sklearn.ensemble import HistGradientBoostingRegressor

        chosen = self.hyperparameters
        return HistGradientBoostingRegressor(
            learning_rate=chosen["tree_rate"],
            max_iter=chosen["tree_iterations"],
            max_depth=chosen["tree_depth"],
            max_leaf_nodes=None,
            min_samples_leaf=chosen["tree_min_samples_leaf"],
            l2_regularization=chosen["tree_l2"],
            early_stopping=False,
            random_state=self.seed,
        )
