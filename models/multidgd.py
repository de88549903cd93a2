"""multiDGD (Schuster, Dann, Krogh and Teichmann 2024), composed here: a generative decoder without an encoder.

======================================================  ====================================================
paper                                                   code
======================================================  ====================================================
Z as parameters, from zero, one step an epoch (Box 1)   ``MultiDGDNetwork.basal``, ``epoch_end``
p(z) = sum pi_k N(mu_k, Sigma_k), eq. 4, 6              ``GaussianMixtureWithPriors.log_density``
softball, Dirichlet and Gaussian priors, eq. 7, 8       ``GaussianMixtureWithPriors.log_prior``
covariate representations, supervised, eq. 10           ``label_density``
shared and modality-specific decoders, softmax          ``shared``, ``BranchDecoder``
x ~ NB(s y, r), eq. 3, 5                                ``reconstruction``: ``negative_binomial``
objective, eq. 11                                       ``objective``
validation learns its representations only              ``validation_losses``
new cells: best component, then 10 steps                ``infer``, ``MultiDGD.place``
missing modality: likelihood of the observed one        ``infer``, ``MultiDGD.predict``
unseen covariate, naive                                 ``MultiDGD.place``
unseen covariate, supervised: one more component        ``extended``, ``MultiDGD.place(..., "supervised")``
clustering by component                                 ``MultiDGD.components``
gene-to-peak association by silencing a gene            ``MultiDGD.gene_to_peak``
======================================================  ====================================================

Where the release differs from the paper, the release is followed, since without the first of these the model does
not work from the origin (docs/fidelity_cobolt_scmm_multidgd.md): the priors of the mixtures are added to the loss of
every cell (equation 9: once); the absolute values of the decoder's weights are added to the loss; dispersions are
one plus an exponential; the covariate mixture has a tenth of the learning rate and a Dirichlet alpha of two, and its
supervised density counts once a class; the prior of the deviations lies at 0.2 radius / K, where equation 8 read as
covariances has its root. Not followed: one variance a component of the covariate mixture (here one a
dimension), deviations rounded to two decimals, and the rule of early stopping (release: once the held-out loss is
above all of the last ten; here: ten epochs without a new lowest).

Trained on the paired cells; cells with a single modality are then inferred as new cells (the paper's test), without
their covariate labels. The number of components is the number of cell types that the design gives as a hint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, may_learn_from
from models.parts.composed import ComposedModel, common_plan

_METHODS = "Schuster et al. 2024, Methods, Initialization and default parameters"
_TRAINING = "Schuster et al. 2024, Methods, Training"


@dataclass(frozen=True)
class Placed:
    """New cells under a trained model.

    Attributes
    ----------
    basal
        float32, cells x n_latent: the embedding.
    covariate
        float32, cells x n_covariate; ``None`` for a model without covariate.
    reconstruction
        float32, cells: -log NB of the counts that they have (equation 5).
    """

    basal: np.ndarray
    covariate: np.ndarray | None
    reconstruction: np.ndarray


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
        embeds_new_cells=True,
        gpu=True,
        version=4,
        defaults={
            "n_latent": 20,
            "n_covariate": 2,
            "n_components": None,
            "width": 100,
            "radius": 2.0,
            "sharpness": 5.0,
            "concentration": 1.0,
            "sparsity": 1.0,
            "prior_per_cell": True,
            "covariate_concentration": 2.0,
            "initialisation": "origin",
            "epochs": 1000,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "latent_rate": 1e-2,
            "covariate_rate": 1e-3,
            "betas": (0.5, 0.7),
            "latent_decay": 1e-4,
            "weight_decay": 1e-4,
            "first_stop": 50,
            "patience": 10,
            "validation_fraction": 0.1,
            "inference_steps": 10,
            "candidates": 20,
        },
        origins={
            "n_latent": _METHODS,
            "n_covariate": _METHODS,
            "n_components": "Schuster et al. 2024, Methods, GMM: the number of cell types",
            "width": _METHODS,
            "radius": _METHODS,
            "sharpness": _METHODS,
            "concentration": _METHODS,
            "sparsity": "released training loop (get_l_regularization); not in the paper",
            "prior_per_cell": "released mixture; equation 9 has it once in all (false)",
            "covariate_concentration": "released mixture",
            "initialisation": f"{_METHODS}: origin, or a PCA (pca)",
            "epochs": _TRAINING,
            "batch_size": _TRAINING,
            "learning_rate": _TRAINING,
            "latent_rate": f"{_TRAINING}: of representations and mixtures",
            "covariate_rate": "released: a tenth of the others, for the covariate mixture",
            "betas": _TRAINING,
            "latent_decay": "released training loop",
            "weight_decay": _TRAINING,
            "first_stop": _TRAINING,
            "patience": _TRAINING,
            "validation_fraction": "Schuster et al. 2024, Methods: 10 % of all cells, stratified by cell type (here uniform)",
            "inference_steps": "Schuster et al. 2024, Methods, Testing and prediction",
            "candidates": "released: components drawn from the prior, of which the best is an unseen class's",
        },
        choices={"initialisation": ("origin", "pca")},
    )

    def build(self, data, design: Multimodal):
        """The network, sized by the data."""
        import torch

        from models.networks.multidgd import MultiDGDNetwork

        names = (
            "n_latent",
            "n_covariate",
            "width",
            "radius",
            "sharpness",
            "concentration",
            "sparsity",
            "prior_per_cell",
            "covariate_concentration",
            "latent_rate",
            "covariate_rate",
            "latent_decay",
            "candidates",
        )
        chosen = {name: self.hyperparameters[name] for name in names}
        chosen["betas"] = tuple(self.hyperparameters["betas"])
        n_components = self.hyperparameters["n_components"] or int(design.uns.get("n_cell_types") or 1)
        # Classes are the batches of the cells to train on: a class without any would keep components that nobody learned.
        batches = design.obs["batch"].astype(str).to_numpy()
        self.batch_names = sorted(set(batches[self._trainable(design)]))
        codes = np.searchsorted(self.batch_names, batches)
        codes[~np.isin(batches, self.batch_names)] = 0  # never used: these cells are placed without labels
        data.batch = torch.from_numpy(codes.astype(np.int64)).to(data.device)
        network = MultiDGDNetwork(data.n_features, data.n_observations, n_components, len(self.batch_names), **chosen)
        network.place(data.batch, self._start(design) if self.hyperparameters["initialisation"] == "pca" else None)
        return network

    def _start(self, design: Multimodal):
        """PCA of both modalities of the paired cells, at half the softball's radius; zeros for other cells."""
        import torch

        from models.parts.transforms import log_normalised, principal_components, standardised, tf_idf

        paired = self._trainable(design)
        views = [log_normalised(design.padded("rna")[paired]), tf_idf(design.padded("atac")[paired])]
        # One after the other: both dense at once are twice the memory.
        scores = [
            principal_components(standardised(view), self.hyperparameters["n_latent"], self.seed, overwrite=True)
            for view in views
        ]
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
        return self._trainable(design)

    def _trainable(self, design: Multimodal) -> np.ndarray:
        complete = np.all([design.has(name) for name in self.data.modalities], axis=0)
        return np.flatnonzero(complete & may_learn_from(design))

    def plan(self):
        """Adam with betas (0.5, 0.7); early stopping on the held-out loss."""
        fixed = {"optimiser": "adam", "kl_warmup_epochs": 0, "monitor": "reconstruction"}
        hyperparameters = {**self.hyperparameters, "betas": tuple(self.hyperparameters["betas"])}
        return common_plan(hyperparameters, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on the paired cells, then infer the others."""
        import torch

        super().fit(design, seed, device)
        others = np.setdiff1d(np.arange(design.n_obs), self.eligible(design))
        if len(others):
            positions = torch.from_numpy(others).to(self.data.device)
            basal, covariate = self.network.infer(self.data, positions, self.hyperparameters["inference_steps"])
            with torch.no_grad():
                self.network.basal[positions] = basal
                if covariate is not None:
                    self.network.covariate[positions] = covariate

    def place(self, design: Multimodal, covariates: str = "naive") -> "Placed":
        """Representations of new cells under the trained model.

        Parameters
        ----------
        design
            New cells with the training design's features in its order, and any of its modalities; ``obs["batch"]``
            is read for supervised placing alone.
        covariates
            ``naive``: classes of the covariate are not used, and a cell of an unseen class gets the best of the seen
            ones. ``supervised``: cells of seen classes keep theirs, and one component is learned for a class that
            was not seen; nothing else of the model changes.

        Raises
        ------
        InputError
            If features differ, `covariates` is neither, more than one class is unseen (Methods: "limited to one"), or
            placing is supervised and the cells have no ``batch`` or the model no covariate space.
        """
        import torch

        from models.parts.counts import DesignCounts
        from models.parts.trainer import seeded

        if covariates not in ("naive", "supervised"):
            raise InputError(f"covariates is {covariates!r}; give 'naive' or 'supervised'")
        for name in self.data.modalities:
            if name in design.counts and design.counts[name].shape[1] != self.data.n_features[name]:
                raise InputError(
                    f"new cells have {design.counts[name].shape[1]} {name} features, the model was trained on "
                    f"{self.data.n_features[name]}; give the features of the training design, in its order"
                )
        if covariates == "supervised" and self.network.covariate is None:
            raise InputError("the model was trained on one batch and knows no covariate: give covariates='naive'")
        if covariates == "supervised" and "batch" not in design.obs:
            raise InputError("new cells have no obs['batch'], which supervised placing reads: give covariates='naive'")
        data = DesignCounts(self._with_all_modalities(design), self.data.modalities, str(self.data.device))
        positions = torch.arange(design.n_obs, device=self.data.device)
        labels, mixture, known = None, None, list(self.batch_names)
        with seeded(self.seed, self.data.device):
            if covariates == "supervised":
                unseen = [name for name in data.batch_names if name not in known]
                if len(unseen) > 1:
                    raise InputError(f"{len(unseen)} unseen batches ({', '.join(unseen)}); place them one at a time")
                codes = np.array([(known + unseen).index(name) for name in data.batch_names])
                labels = torch.from_numpy(codes).to(self.data.device)[data.batch]
                if unseen:
                    mixture = self.network.extended(data, positions[labels == len(known)])
            steps = self.hyperparameters["inference_steps"]
            basal, covariate = self.network.infer(data, positions, steps, labels, mixture)
            batches = [data.minibatch(part) for part in positions.split(512)]
            with torch.no_grad():
                losses = [
                    self.network.reconstruction(
                        batch, basal[batch.positions], None if covariate is None else covariate[batch.positions]
                    )
                    for batch in batches
                ]
        arrays = [None if value is None else value.cpu().numpy() for value in (basal, covariate, torch.cat(losses))]
        return Placed(*arrays)

    def _with_all_modalities(self, design: Multimodal) -> Multimodal:
        """The design, with no observations of those modalities of the training that it lacks."""
        counts, var, rows = dict(design.counts), dict(design.var), dict(design.rows)
        for name in self.data.modalities:
            if name not in counts:
                counts[name] = sp.csr_matrix((0, self.data.n_features[name]), dtype=np.float32)
                var[name], rows[name] = self.design.var[name], np.zeros(0, dtype=np.int64)
        obs = design.obs if "batch" in design.obs else design.obs.assign(batch="unknown")
        return Multimodal(obs, counts, var, rows, design.uns)

    def components(self) -> np.ndarray:
        """Component with the highest density at each representation."""
        return self.network.basal_mixture.component_log_density(self.network.basal).argmax(1).detach().cpu().numpy()

    def predict(self, modality: str) -> Prediction:
        """Expected counts (RNA) or probability of a nonzero count (accessibility), at the cell's own or the median depth.

        The median is of the cells that were learned from; test cells have their own depth.
        """
        import torch

        rows = self.lacking(modality)
        learned = self.data.minibatch(self.learned_with(modality)).counts[modality].totals
        branch, depth = self.network.branches[modality], learned.median()
        parts = [np.zeros((0, self.data.n_features[modality]), np.float32)]
        with torch.no_grad():
            for positions in torch.from_numpy(rows).to(self.data.device).split(512):
                covariate = None if self.network.covariate is None else self.network.covariate[positions]
                scale, own = depth.expand(len(positions), 1).clone(), self.data.minibatch(positions)
                scale[own.where[modality]] = own.counts[modality].totals[:, None]
                mean = branch(self.network.decode(self.network.basal[positions], covariate)) * scale
                if modality == "atac":
                    dispersion = branch.dispersion
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

        network, rate = self.network, self.hyperparameters["latent_rate"]
        column = self.design.counts["rna"].tocsc()[:, gene]
        cells = self.design.rows["rna"][column.nonzero()[0]]
        total = torch.zeros(self.data.n_features["atac"], device=self.data.device)
        for positions in torch.from_numpy(cells).to(self.data.device).split(256):
            basal = network.basal[positions].detach().requires_grad_()
            covariate = None if network.covariate is None else network.covariate[positions].detach()
            totals = self.data.minibatch(positions).counts["rna"].totals
            branch = network.branches["rna"]
            mean = branch(network.decode(basal, covariate))[:, gene] * totals
            dispersion = branch.dispersion[gene]
            loss = (dispersion * torch.log1p(mean / dispersion)).sum()
            gradient = torch.autograd.grad(loss, basal)[0]
            with torch.no_grad():
                silenced = basal - rate * gradient / (gradient.abs() + 1e-8)
                before = network.branches["atac"](network.decode(basal, covariate))
                total += (before - network.branches["atac"](network.decode(silenced, covariate))).sum(0)
        return (total / max(len(cells), 1)).cpu().numpy()
