"""multiDGD (Schuster, Dann, Krogh and Teichmann 2024), composed here: a generative decoder without an encoder.

======================================================  ====================================================
paper                                                   code
======================================================  ====================================================
Z as parameters, from zero, one step an epoch (Box 1)   ``MultiDGDNetwork.basal``, ``epoch_end``
p(z) = sum pi_k N(mu_k, Sigma_k), eq. 4, 6              ``GaussianMixtureWithPriors.log_density``
softball, Dirichlet and Gaussian priors, eq. 7, 8       ``GaussianMixtureWithPriors.log_prior``
covariate representations, supervised, eq. 10           ``label_log_density``
shared and modality-specific decoders, softmax          ``shared``, ``BranchDecoder``
x ~ NB(s y, r), eq. 3, 5                                ``reconstruction``: ``negative_binomial``
objective, eq. 11                                       ``objective``
validation learns its representations only              ``validation_losses``
new cells: best component, then 10 steps                ``infer``
missing modality: likelihood of the observed one        ``infer``, ``MultiDGD.predict``
clustering by component                                 ``MultiDGD.components``
gene-to-peak association by silencing a gene            ``MultiDGD.gene_to_peak``
======================================================  ====================================================

Trained on the paired cells; cells with a single modality are then inferred as new cells (the paper's test).
Covariates of new cells are inferred without their labels ("naive"). The number of components is the number of
cell types that the design gives as a hint. The release adds the mixture's prior to every cell; the paper's
equation 9, followed here, adds it once.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration
from models.parts.composed import ComposedModel, common_plan

_METHODS = "Schuster et al. 2024, Methods, Initialization and default parameters"
_TRAINING = "Schuster et al. 2024, Methods, Training"


class MultiDGD(ComposedModel):
    """multiDGD composed of parts."""

    declaration = Declaration(
        name="multidgd",
        title="multiDGD",
        summary="Encoder-less generative decoder: representations as parameters under a Gaussian mixture.",
        kind="composed",
        paper="Schuster et al. 2024, Nature Communications, doi:10.1038/s41467-024-53340-z",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=True,
        batches=True,
        predicts=True,
        gpu=True,
        defaults={
            "n_latent": 20,
            "n_covariate": 2,
            "n_components": None,
            "width": 100,
            "radius": 2.0,
            "sharpness": 5.0,
            "concentration": 1.0,
            "initialisation": "pca",
            "epochs": 1000,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,
            "first_stop": 50,
            "patience": 10,
            "validation_fraction": 0.1,
            "inference_steps": 10,
        },
        origins={
            "n_latent": _METHODS,
            "n_covariate": _METHODS,
            "n_components": "Schuster et al. 2024, Methods, GMM: the number of cell types",
            "width": _METHODS,
            "radius": _METHODS,
            "sharpness": _METHODS,
            "concentration": _METHODS,
            "initialisation": f"{_METHODS}: origin is their default, a PCA (pca) an option; from the origin small designs collapse",
            "epochs": _TRAINING,
            "batch_size": _TRAINING,
            "learning_rate": _TRAINING,
            "weight_decay": _TRAINING,
            "first_stop": _TRAINING,
            "patience": _TRAINING,
            "validation_fraction": "not stated; as MultiVI",
            "inference_steps": "Schuster et al. 2024, Methods, Testing and prediction",
        },
    )

    def build(self, data, design: Multimodal):
        """The network, sized by the data."""
        from models.networks.multidgd import MultiDGDNetwork

        names = ("n_latent", "n_covariate", "width", "radius", "sharpness", "concentration")
        chosen = {name: self.hyperparameters[name] for name in names}
        n_components = self.hyperparameters["n_components"] or int(design.uns.get("n_cell_types", 1))
        network = MultiDGDNetwork(data.n_features, data.n_observations, n_components, data.n_batches, **chosen)
        network.place(data.batch, self._start(design) if self.hyperparameters["initialisation"] == "pca" else None)
        return network

    def _start(self, design: Multimodal):
        """PCA of both modalities of the paired cells, at half the softball's radius; zeros for other cells."""
        import torch

        from models.parts.transforms import log_normalised, principal_components, standardised, tf_idf

        paired = np.flatnonzero(design.complete)
        views = [
            standardised(log_normalised(design.padded("rna")[paired])),
            standardised(tf_idf(design.padded("atac")[paired])),
        ]
        scores = [principal_components(view, self.hyperparameters["n_latent"], self.seed) for view in views]
        # Each view's first component at unit variance, so that neither drowns the other.
        joint = np.concatenate([score / score[:, 0].std() for score in scores], axis=1)
        joint = principal_components(joint, self.hyperparameters["n_latent"], self.seed)
        joint *= self.hyperparameters["radius"] / 2 / np.linalg.norm(joint, axis=1).mean()
        start = np.zeros((design.n_obs, self.hyperparameters["n_latent"]), np.float32)
        start[paired, : joint.shape[1]] = joint
        return torch.from_numpy(start)

    def eligible(self, design: Multimodal) -> np.ndarray:
        """The paired cells; also starts the network's own optimisers, which need its parameters on the device."""
        self.network.start()
        return np.flatnonzero(np.all([design.has(name) for name in self.data.modalities], axis=0))

    def plan(self):
        """Adam with betas (0.5, 0.7); early stopping on the held-out loss."""
        fixed = {"optimiser": "adam", "betas": (0.5, 0.7), "kl_warmup_epochs": 0, "monitor": "reconstruction"}
        return common_plan(self.hyperparameters, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on the paired cells, then infer the others."""
        import torch

        super().fit(design, seed, device)
        others = np.setdiff1d(np.arange(design.n_obs), self.eligible(design))
        if len(others):
            positions = torch.from_numpy(others).to(self.data.device)
            self.network.infer(self.data, positions, self.hyperparameters["inference_steps"])

    def components(self) -> np.ndarray:
        """Component with the highest density at each representation."""
        return self.network.basal_mixture.component_log_density(self.network.basal).argmax(1).detach().cpu().numpy()

    def predict(self, modality: str) -> Prediction:
        """Expected counts at the median depth (RNA); probability of a nonzero count (accessibility)."""
        import torch

        rows = self.lacking(modality)
        branch, depth = self.network.branches[modality], self.data.matrices[modality].totals.median()
        parts = [np.zeros((0, self.data.n_features[modality]), np.float32)]
        with torch.no_grad():
            for positions in torch.from_numpy(rows).to(self.data.device).split(512):
                covariate = None if self.network.covariate is None else self.network.covariate[positions]
                mean = branch(self.network.decode(self.network.basal[positions], covariate)) * depth
                if modality == "atac":
                    dispersion = torch.exp(branch.log_dispersion)
                    mean = 1 - (dispersion / (dispersion + mean)) ** dispersion
                parts.append(mean.cpu().numpy())
        return Prediction(np.concatenate(parts), rows)

    def gene_to_peak(self, gene: int) -> np.ndarray:
        """Association of every peak with `gene` (its position): mean fall of its fraction when the gene is silenced.

        In cells that express the gene, the gradient of -log NB(0 | gene) moves the representation one step of Adam's
        size, and the decoded accessibility before and after is compared (Methods, in silico perturbation).

        Returns
        -------
        numpy.ndarray
            float32, peaks; positive where silencing closes the peak.
        """
        import torch

        from models.networks.multidgd import LATENT_OPTIONS

        network, rate = self.network, LATENT_OPTIONS["lr"]
        column = self.design.counts["rna"].tocsc()[:, gene]
        cells = self.design.rows["rna"][column.nonzero()[0]]
        total = torch.zeros(self.data.n_features["atac"], device=self.data.device)
        for positions in torch.from_numpy(cells).to(self.data.device).split(256):
            basal = network.basal[positions].detach().requires_grad_()
            covariate = None if network.covariate is None else network.covariate[positions].detach()
            totals = self.data.minibatch(positions).counts["rna"].totals
            branch = network.branches["rna"]
            mean = branch(network.decode(basal, covariate))[:, gene] * totals
            dispersion = torch.exp(branch.log_dispersion[gene])
            loss = (dispersion * torch.log1p(mean / dispersion)).sum()
            gradient = torch.autograd.grad(loss, basal)[0]
            with torch.no_grad():
                silenced = basal - rate * gradient / (gradient.abs() + 1e-8)
                before = network.branches["atac"](network.decode(basal, covariate))
                total += (before - network.branches["atac"](network.decode(silenced, covariate))).sum(0)
        return (total / max(len(cells), 1)).cpu().numpy()
