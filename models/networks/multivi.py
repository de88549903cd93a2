"""MultiVI's network: an encoder and a decoder for each modality around one averaged posterior."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from models.parts.adversary import DomainClassifier
from models.parts.counts import Minibatch, SparseRows
from models.parts.encoders import GaussianEncoder, sample_gaussian
from models.parts.fusion import masked_weights, weighted_average
from models.parts.layers import Perceptron
from models.parts.likelihoods import (
    log_likelihood,
    negative_binomial,
    negative_binomial_mixture_log_likelihood,
)
from models.parts.output_losses import factored_bernoulli_loss, zero_inflated_negative_binomial_loss
from models.parts.penalties import jeffreys, latent_distance, maximum_mean_discrepancy, pairwise
from models.parts.priors import gaussian_divergence


class LibraryEncoder(nn.Module):
    """Counts -> one scaling factor a cell: log library size of RNA, or l in (0, 1) of accessibility."""

    def __init__(self, n_features: int, width: int, n_layers: int, bounded: bool) -> None:
        super().__init__()
        self.hidden = Perceptron(n_features, (width,) * n_layers, "layer", nn.LeakyReLU, sparse=True)
        self.output = nn.Linear(width, 1)
        self.bounded = bounded

    def forward(self, counts: SparseRows) -> torch.Tensor:
        """n_rows."""
        output = self.output(self.hidden(counts))[:, 0]
        return torch.sigmoid(output) if self.bounded else functional.leaky_relu(output)


class ExpressionDecoder(nn.Module):
    """z -> gene frequencies rho, and logits of zero inflation."""

    def __init__(
        self, n_latent: int, n_genes: int, width: int, n_layers: int, n_covariates: int, inflated: bool
    ) -> None:
        super().__init__()
        self.hidden = Perceptron(n_latent, (width,) * n_layers, "layer", nn.ReLU, n_covariates=n_covariates)
        self.scale = nn.Linear(width, n_genes)
        self.gate = nn.Linear(width, n_genes) if inflated else None
        self.log_dispersion = nn.Parameter(torch.randn(n_genes))

    def forward(self, z: torch.Tensor, covariates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Frequencies (rows sum to one) and gate logits or ``None``, n_rows x n_genes."""
        hidden = self.hidden(z, covariates)
        return torch.softmax(self.scale(hidden), dim=1), None if self.gate is None else self.gate(hidden)

    def loss(
        self,
        counts: SparseRows,
        z: torch.Tensor,
        covariates: torch.Tensor,
        log_library: torch.Tensor,
        row_weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """-log NB(x | exp(library) rho, theta), zero-inflated where there is a gate.

        Its weighted sum over the rows, and n_rows (without gradient).
        """
        if self.gate is not None:
            hidden = self.hidden(z, covariates)
            return zero_inflated_negative_binomial_loss(
                counts, hidden, self.scale, self.gate, self.log_dispersion, log_library, row_weights
            )
        mean = torch.exp(log_library)[:, None] * self(z, covariates)[0]
        rows = -log_likelihood(counts, negative_binomial(counts, mean, torch.exp(self.log_dispersion)))
        return (rows * row_weights).sum(), rows.detach()


class AccessibilityDecoder(nn.Module):
    """z -> probability p that a region is open; region factors r."""

    def __init__(self, n_latent: int, n_regions: int, width: int, n_layers: int, n_covariates: int) -> None:
        super().__init__()
        self.hidden = Perceptron(n_latent, (width,) * n_layers, "layer", nn.LeakyReLU, n_covariates=n_covariates)
        self.output = nn.Linear(width, n_regions)
        self.region_logits = nn.Parameter(torch.zeros(n_regions))

    def forward(self, z: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """p r, n_rows x n_regions."""
        return torch.sigmoid(self.output(self.hidden(z, covariates))) * torch.sigmoid(self.region_logits)

    def loss(
        self,
        counts: SparseRows,
        z: torch.Tensor,
        covariates: torch.Tensor,
        factor: torch.Tensor,
        row_weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """-log Ber(x | p l r): its weighted sum over the rows, and n_rows (without gradient)."""
        hidden = self.hidden(z, covariates)
        return factored_bernoulli_loss(counts, hidden, self.output, factor, self.region_logits, row_weights)


class ProteinDecoder(nn.Module):
    """z -> background and foreground means and their mixing (as in totalVI)."""

    def __init__(
        self, n_latent: int, n_proteins: int, width: int, n_layers: int, n_covariates: int, dropout: float
    ) -> None:
        super().__init__()
        hidden = {"normalisation": "layer", "dropout": dropout, "n_covariates": n_covariates, "deep_covariates": True}
        n_joined = width + n_latent + n_covariates
        self.background = Perceptron(n_latent, (width,) * n_layers, **hidden)
        self.background_mean = nn.Linear(n_joined, n_proteins)
        self.background_log_deviation = nn.Linear(n_joined, n_proteins)
        self.foreground = Perceptron(n_latent, (width,) * n_layers, **hidden)
        self.foreground_factor = nn.Linear(n_joined, n_proteins)
        self.mixing = Perceptron(n_latent, (width,) * n_layers, **hidden)
        self.mixing_logits = nn.Linear(n_joined, n_proteins)
        self.log_dispersion = nn.Parameter(2 * torch.rand(n_proteins))

    def forward(
        self, z: torch.Tensor, covariates: torch.Tensor, sample: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Background mean, foreground mean, logit of the background, n_rows x n_proteins.

        The log background is drawn from its Gaussian if `sample`, else it is the mean of that Gaussian.
        """
        joined = torch.cat((self.background(z, covariates), z, covariates), dim=1)
        log_background = self.background_mean(joined)
        if sample:
            deviation = torch.exp(self.background_log_deviation(joined))
            log_background = log_background + deviation * torch.randn_like(log_background)
        background = torch.exp(log_background)
        joined = torch.cat((self.foreground(z, covariates), z, covariates), dim=1)
        foreground = background * (functional.relu(self.foreground_factor(joined)) + 1 + 1e-8)
        joined = torch.cat((self.mixing(z, covariates), z, covariates), dim=1)
        return background, foreground, self.mixing_logits(joined)

    def loss(self, counts: SparseRows, z: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """-log of the NB mixture: n_rows."""
        background, foreground, logits = self(z, covariates)
        dispersion = torch.exp(self.log_dispersion)
        return -negative_binomial_mixture_log_likelihood(counts, background, foreground, dispersion, logits)


class MultiVINetwork(nn.Module):
    """Encoders, fusion, decoders and penalty of MultiVI (Ashuach et al. 2023, figure 1 and Methods).

    Parameters
    ----------
    n_features
        Modality -> number of features.
    n_batches
        Batches, a covariate of the decoders.
    n_observations
        Observations of the design (for fusion weights of each cell).
    domain
        int64, n_observations: what the adversary tells apart; ``None`` for no adversary.
    width, n_latent, n_layers, dropout
        Sizes; the width is min(128, sqrt(regions, or genes)) and n_latent sqrt(width) if ``None``.
    fusion
        ``equal``, ``universal`` or ``cell`` weights of the modalities.
    penalty
        ``jeffreys``, ``latent_distance`` (what scvi-tools calls MMD), ``mmd`` (the kernel statistic) or ``none``.
    gene_likelihood
        ``zinb`` or ``nb``.
    released_jeffreys
        Whether the standard deviation stands where the variance belongs in the Jeffreys penalty, as in
        scvi-tools 1.4.2, which takes the square root twice.

    Raises
    ------
    ValueError
        If `fusion`, `penalty` or `gene_likelihood` is none of these.
    """

    FUSIONS = ("equal", "universal", "cell")
    PENALTIES = ("jeffreys", "latent_distance", "mmd", "none")
    LIKELIHOODS = ("zinb", "nb")

    def __init__(
        self,
        n_features: dict[str, int],
        n_batches: int,
        n_observations: int,
        domain: torch.Tensor | None = None,
        width: int | None = None,
        n_latent: int | None = None,
        n_layers: int = 2,
        dropout: float = 0.1,
        fusion: str = "equal",
        penalty: str = "jeffreys",
        gene_likelihood: str = "zinb",
        released_jeffreys: bool = True,
        adversary_widths: tuple[int, ...] = (32, 32),
        adversary_dropout: float = 0.1,
        adversary_learning_rate: float = 1e-3,
        adversary_epsilon: float = 0.01,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("fusion", fusion, self.FUSIONS),
            ("penalty", penalty, self.PENALTIES),
            ("gene_likelihood", gene_likelihood, self.LIKELIHOODS),
        ):
            # The branches below end in an else, which would take a misspelt name for their last one.
            if value not in known:
                raise ValueError(f"{name} is {value!r}; known: {', '.join(known)}")
        self.modalities = tuple(n_features)
        width = width or min(128, int((n_features.get("atac") or n_features["rna"]) ** 0.5))
        n_latent = n_latent or int(width**0.5)
        n_covariates = n_batches if n_batches > 1 else 0
        self.fusion, self.penalty, self.released_jeffreys = fusion, penalty, released_jeffreys
        widths = (width,) * n_layers
        self.encoders = nn.ModuleDict(
            {
                name: GaussianEncoder(
                    size, n_latent, widths, normalisation="layer", activation=nn.LeakyReLU, dropout=dropout
                )
                for name, size in n_features.items()
            }
        )
        if "rna" in n_features:
            self.rna_library = LibraryEncoder(n_features["rna"], width, n_layers, bounded=False)
            inflated = gene_likelihood == "zinb"
            self.rna_decoder = ExpressionDecoder(n_latent, n_features["rna"], width, n_layers, n_covariates, inflated)
        if "atac" in n_features:
            self.atac_library = LibraryEncoder(n_features["atac"], width, n_layers, bounded=True)
            self.atac_decoder = AccessibilityDecoder(n_latent, n_features["atac"], width, n_layers, n_covariates)
        if "protein" in n_features:
            self.protein_decoder = ProteinDecoder(
                n_latent, n_features["protein"], width, n_layers, n_covariates, dropout
            )
        shape = (n_observations, len(n_features)) if fusion == "cell" else (1, len(n_features))
        self.fusion_logits = nn.Parameter(torch.ones(shape), requires_grad=fusion != "equal")
        self.register_buffer("domain", domain)
        self.adversary = None
        if domain is not None:
            self.adversary = DomainClassifier(n_latent, int(domain.max()) + 1, adversary_widths, adversary_dropout)
        self.second_options = {"lr": adversary_learning_rate, "eps": adversary_epsilon}
        self._z: torch.Tensor | None = None

    def posteriors(self, batch: Minibatch) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Modality -> mean and variance of q(z_m | x_m), spread over the mini-batch (zeros where missing)."""
        return {
            name: tuple(batch.spread(name, value) for value in self.encoders[name](batch.counts[name]))
            for name in self.modalities
        }

    def fuse(
        self, batch: Minibatch, posteriors: dict[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of the joint posterior: the weighted average over the modalities of each cell."""
        if self.fusion == "equal" and all(len(batch.where[name]) == batch.size for name in self.modalities):
            # The same as below where nothing is missing, in a third of the operations.
            share = 1 / len(self.modalities)
            mean, variance = (sum(values) for values in zip(*posteriors.values()))
            return mean * share, variance * share**0.5
        logits = (
            self.fusion_logits[batch.positions] if self.fusion == "cell" else self.fusion_logits.expand(batch.size, -1)
        )
        weights = masked_weights(logits, [batch.mask(name) for name in self.modalities])
        means, variances = zip(*(posteriors[name] for name in self.modalities))
        return weighted_average(list(means), list(variances), weights)

    def modality_penalty(
        self, batch: Minibatch, posteriors: dict[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """Penalty between the modalities' posteriors: its mean over the mini-batch, a scalar.

        ``latent_distance`` is the *sum* over the cells of the mini-batch, added to every cell, as released.
        """
        if self.penalty == "none" or len(self.modalities) == 1:
            return torch.zeros((), device=batch.positions.device)
        masks = [batch.mask(name) for name in self.modalities]
        parameters = [posteriors[name] for name in self.modalities]
        if self.penalty == "jeffreys":
            if self.released_jeffreys:
                parameters = [(mean, torch.sqrt(variance)) for mean, variance in parameters]
            return pairwise(jeffreys, parameters, masks).mean()
        means = [(mean,) for mean, _ in parameters]
        if self.penalty == "latent_distance":
            return pairwise(latent_distance, means, masks).sum()
        total = torch.zeros((), device=batch.positions.device)
        for first in range(len(means)):
            for second in range(first + 1, len(means)):
                x, y = means[first][0][masks[first]], means[second][0][masks[second]]
                if len(x) and len(y):
                    total = total + maximum_mean_discrepancy(x, y)
        return total

    def reconstruction(self, batch: Minibatch, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Modality -> negative log likelihood, summed over the cells that have it and divided by the batch size."""
        losses = {}
        for name in self.modalities:
            counts, rows = batch.counts[name], batch.where[name]
            if not counts.n_rows:
                continue
            z_rows, covariates = (
                (z, batch.batch_one_hot) if len(rows) == batch.size else (z[rows], batch.batch_one_hot[rows])
            )
            weights = torch.full((counts.n_rows,), 1 / batch.size, device=z.device)
            if name == "rna":
                losses[name], _ = self.rna_decoder.loss(counts, z_rows, covariates, self.rna_library(counts), weights)
            elif name == "atac":
                losses[name], _ = self.atac_decoder.loss(counts, z_rows, covariates, self.atac_library(counts), weights)
            else:
                losses[name] = self.protein_decoder.loss(counts, z_rows, covariates).sum() / batch.size
        return losses

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """-ELBO with warmed-up KL, plus the modality penalty, plus the adversarial term."""
        posteriors = self.posteriors(batch)
        mean, variance = self.fuse(batch, posteriors)
        z = sample_gaussian(mean, variance)
        reconstruction = self.reconstruction(batch, z)
        total = sum(reconstruction.values())
        divergence = gaussian_divergence(mean, variance).mean()
        penalty = self.modality_penalty(batch, posteriors)
        loss = total + kl_weight * divergence + penalty
        if self.adversary is not None and self.training:
            loss = loss + self.adversary.fooling_loss(z, self.domain[batch.positions])
            self._z = z.detach()
        return {"loss": loss, "reconstruction": total, "kl": divergence, "penalty": penalty}

    def second_parameters(self) -> list[nn.Parameter]:
        """Parameters of the adversary, which has an optimiser of its own."""
        return [] if self.adversary is None else list(self.adversary.parameters())

    def second_loss(self, batch: Minibatch) -> torch.Tensor:
        """The adversary's own loss, on the codes of the step before it."""
        return self.adversary.loss(self._z, self.domain[batch.positions])

    def embed(self, batch: Minibatch) -> torch.Tensor:
        """Mean of the joint posterior: size x n_latent."""
        return self.fuse(batch, self.posteriors(batch))[0]
