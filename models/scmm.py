"""scMM (Minoura et al. 2021), composed here: a mixture-of-experts autoencoder with Laplace latents.

==========================================================  ===============================================
paper                                                       code
==========================================================  ===============================================
q(z | x_m) = Laplace, scales by softmax                     ``LaplaceEncoder``
mixture of experts q(z | x) = 1/M sum q(z | x_m)            ``ScMMNetwork.losses``, ``mean_of_present``
p(z) = Laplace(0, 1)                                        ``laplace_divergence``
RNA, protein: NB; accessibility: ZINB                       ``CountDecoder.log_likelihood``
within- and cross-modal reconstruction, KL warmed up        ``losses``, ``TrainingPlan.kl_warmup_epochs``
cross-modal generation                                      ``ScMM.generate``
latent traversal, correlations of features along it         ``ScMM.traverse``, ``ScMM.associations``
==========================================================  ===============================================

Brombacher et al. 2022 saw it diverge on CITE-seq above 2,500 cells, and cured that with a learning rate ten
times lower and batches of 200: the variant ``scmm-low-rate``. Training that diverges is recorded as such. The
release leaves out the last, incomplete mini-batch of an epoch; here it is trained on too. Generated counts are
expected ones at the mean of the posterior; the release draws samples, and its traversal ends half a step before 5.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, may_learn_from
from models.parts.composed import ComposedModel, common_plan

_RELEASE = "scMM, default of the released script"


class ScMM(ComposedModel):
    """scMM composed of parts."""

    declaration = Declaration(
        name="scmm",
        title="scMM",
        summary="Mixture-of-experts variational autoencoder with Laplace prior and cross-modal generation.",
        kind="composed",
        paper="Minoura et al. 2021, Cell Reports Methods, doi:10.1016/j.crmeth.2021.100071",
        modality_sets=(("rna", "atac"), ("rna", "protein")),
        unpaired=False,
        batches=False,
        predicts=True,
        embeds_new_cells=True,
        gpu=True,
        version=3,
        defaults={
            "n_latent": 10,
            "n_layers": 1,
            "width_rna": 100,
            "width_atac": 20,
            "width_protein": 20,
            "epochs": 100,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "kl_warmup_epochs": 50,
            "patience": 10,
            "validation_fraction": 0.2,
        },
        origins={
            "n_latent": _RELEASE,
            "n_layers": _RELEASE,
            "width_rna": _RELEASE,
            "width_atac": f"{_RELEASE} (for proteins and peaks alike)",
            "width_protein": _RELEASE,
            "epochs": "twice the warm-up; early stopping starts after the warm-up (released script)",
            "batch_size": "Brombacher et al. 2022, section 4: default used by scMM",
            "learning_rate": _RELEASE,
            "kl_warmup_epochs": f"{_RELEASE} (deterministic warm-up)",
            "patience": _RELEASE,
            "validation_fraction": _RELEASE,
        },
    )

    def build(self, data, design: Multimodal):
        """The network, sized by the data."""
        from models.networks.scmm import ScMMNetwork

        widths = {name: self.hyperparameters[f"width_{name}"] for name in data.modalities}
        return ScMMNetwork(data.n_features, widths, self.hyperparameters["n_latent"], self.hyperparameters["n_layers"])

    def plan(self):
        """AMSGrad, KL warm-up, early stopping on the held-out loss once the warm-up is over."""
        first = self.hyperparameters["kl_warmup_epochs"]
        fixed = {"optimiser": "adam", "amsgrad": True, "weight_decay": 0.0, "monitor": "loss", "first_stop": first}
        return common_plan(self.hyperparameters, **fixed)

    def generate(self, source: str, target: str, own_depth: bool = False) -> Prediction:
        """Cross-modal generation: expected counts of `target` from the `source` counts of every cell that has them.

        Parameters
        ----------
        source, target
            Modalities; the same one twice reconstructs it.
        own_depth
            Whether a cell that has `target` gets its own total of it, as in the release, in place of the median one.
        """
        import torch

        rows = np.flatnonzero(self.design.has(source))
        means = []
        with torch.no_grad():
            for positions in torch.from_numpy(rows).to(self.data.device).split(512):
                batch = self.data.minibatch(positions)
                location, totals = self.network.posterior(batch, source)[0], self._totals(batch, target, own_depth)
                means.append(self.network.decoders[target].mean(location, totals).cpu().numpy())
        return Prediction(np.concatenate(means), rows)

    def predict(self, modality: str) -> Prediction:
        """Expected counts of test cells, or probabilities of a nonzero count (accessibility), without deviations.

        At the mean of a cell's posterior, a mixture of both modalities, and at its own depth.
        """
        import torch

        rows, decoder = self.lacking(modality), self.network.decoders[modality]
        expected = decoder.nonzero if modality == "atac" else decoder.mean
        means = [np.zeros((0, self.data.n_features[modality]), np.float32)]
        with torch.no_grad():
            for positions in torch.from_numpy(rows).to(self.data.device).split(512):
                batch = self.data.minibatch(positions)
                totals = self._totals(batch, modality, own=True)
                means.append(expected(self.network.embed(batch), totals).cpu().numpy())
        return Prediction(np.concatenate(means), rows)

    def _totals(self, batch, modality: str, own: bool):
        """Median total of the training cells, or each cell's own where it has the modality: n_rows."""
        totals = self._typical_total(modality).repeat(batch.size)
        if own:
            totals[batch.where[modality]] = batch.counts[modality].totals
        return totals

    def _typical_total(self, modality: str):
        trained = may_learn_from(self.design)[self.design.rows[modality]]
        return self.data.matrices[modality].totals[np.flatnonzero(trained)].median()[None]

    def traverse(self, dimension: int, modality: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Latent traversal: expected counts along one dimension, from -5 to 5 prior scales, steps x features."""
        import torch

        steps = np.arange(-10, 11) * 0.5 if steps is None else np.asarray(steps)
        z = self.network.prior_location.repeat(len(steps), 1)
        z[:, dimension] += torch.from_numpy(steps).to(z) * self.network.prior_scale[dimension]
        totals = self._typical_total(modality).repeat(len(steps))
        with torch.no_grad():
            return self.network.decoders[modality].mean(z, totals).cpu().numpy()

    def associations(self, modality: str) -> np.ndarray:
        """Spearman correlations of each latent dimension with the features along its traversal, latent x features.

        Which features a dimension stands for (Brombacher et al. 2022, section 3); NaN where a feature does not move.
        """
        from scipy.stats import rankdata

        found = []
        for dimension in range(self.hyperparameters["n_latent"]):
            ranks = rankdata(self.traverse(dimension, modality), axis=0)
            steps = np.arange(len(ranks)) - (len(ranks) - 1) / 2
            ranks -= ranks.mean(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append(steps @ ranks / np.sqrt((steps @ steps) * np.square(ranks).sum(axis=0)))
        return np.stack(found)
