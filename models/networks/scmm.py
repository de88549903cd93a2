"""scMM's network: one variational autoencoder a modality, tied by a mixture of experts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from models.parts.counts import Minibatch, SparseRows
from models.parts.encoders import LaplaceEncoder, sample_laplace
from models.parts.fusion import mean_of_present
from models.parts.layers import Perceptron
from models.parts.likelihoods import log_likelihood, negative_binomial_logits, zero_inflated_log_likelihood
from models.parts.priors import laplace_divergence

SCALE = 10_000.0
"""Counts to which a cell is scaled before it is encoded, and by which the decoder's total counts are divided."""

LIMIT = 15.94
"""Largest logit of p: the release computes p first, which torch then keeps 1.2e-7 (float32) away from 0 and 1."""


class CountDecoder(nn.Module):
    """z -> total count r, logit of p and, for accessibility, logit of the zero inflation; all n_rows x n_features."""

    def __init__(self, n_latent: int, n_features: int, width: int, n_layers: int, inflated: bool) -> None:
        super().__init__()
        self.hidden = Perceptron(n_latent, (width,) * n_layers, "batch", nn.ReLU)
        self.log_total = nn.Linear(width, n_features)
        self.logits = nn.Linear(width, n_features)
        self.gate = nn.Linear(width, n_features) if inflated else None

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """r, logit p, gate logits."""
        hidden = self.hidden(z)
        gate = None if self.gate is None else self.gate(hidden)
        return torch.exp(self.log_total(hidden).clamp(-12, 12)), self.logits(hidden).clamp(-LIMIT, LIMIT), gate

    def log_likelihood(self, counts: SparseRows, z: torch.Tensor) -> torch.Tensor:
        """log p(x | z), with r scaled by the cell's total over 10,000: n_rows."""
        total, logits, gate = self(z)
        pieces = negative_binomial_logits(counts, total * counts.totals[:, None] / SCALE + 1e-8, logits)
        return log_likelihood(counts, pieces) if gate is None else zero_inflated_log_likelihood(counts, pieces, gate)

    def mean(self, z: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
        """Expected counts of cells with these `totals` (n_rows): n_rows x n_features."""
        total, logits, gate = self(z)
        mean = total * totals[:, None] / SCALE * torch.exp(logits)
        return mean if gate is None else mean * torch.sigmoid(-gate)

    def nonzero(self, z: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
        """Probability of a nonzero count in cells with these `totals` (n_rows): n_rows x n_features."""
        total, logits, gate = self(z)
        some = -torch.expm1(-total * totals[:, None] / SCALE * functional.softplus(logits))
        return some if gate is None else some * torch.sigmoid(-gate)


class ScMMNetwork(nn.Module):
    """scMM (Minoura et al. 2021): mixture of experts with Laplace posteriors and prior.

    Parameters
    ----------
    n_features
        Modality -> number of features.
    widths
        Modality -> hidden width.
    n_latent, n_layers
        Sizes.
    """

    def __init__(
        self, n_features: dict[str, int], widths: dict[str, int], n_latent: int = 10, n_layers: int = 1
    ) -> None:
        super().__init__()
        self.modalities = tuple(n_features)
        self.encoders = nn.ModuleDict(
            {
                name: LaplaceEncoder(size, n_latent, (widths[name],) * n_layers, normalisation="batch")
                for name, size in n_features.items()
            }
        )
        self.decoders = nn.ModuleDict(
            {
                name: CountDecoder(n_latent, size, widths[name], n_layers, inflated=name == "atac")
                for name, size in n_features.items()
            }
        )
        self.register_buffer("prior_location", torch.zeros(n_latent))
        self.register_buffer("prior_scale", torch.ones(n_latent))

    def posterior(self, batch: Minibatch, modality: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Location and scale of q(z | x_m): cells that have the modality x n_latent."""
        return self.encoders[modality](batch.counts[modality].scaled(SCALE))

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """Average over the experts of -log p(all modalities | z_expert) + KL: within and across modalities."""
        n_experts = sum(batch.mask(name).float() for name in self.modalities)
        reconstruction = divergence = torch.zeros((), device=batch.positions.device)
        for expert in self.modalities:
            location, scale = self.posterior(batch, expert)
            rows = batch.where[expert]
            share = 1 / n_experts / batch.size
            z = batch.spread(expert, sample_laplace(location, scale))
            divergences = laplace_divergence(location, scale, self.prior_location, self.prior_scale)
            divergence = divergence + (divergences * share[rows]).sum()
            has_expert = batch.mask(expert)
            for target in self.modalities:
                targets = batch.where[target]
                values = self.decoders[target].log_likelihood(batch.counts[target], z[targets])
                reconstruction = reconstruction - (values * (share * has_expert)[targets]).sum()
        return {"loss": reconstruction + kl_weight * divergence, "reconstruction": reconstruction, "kl": divergence}

    def embed(self, batch: Minibatch) -> torch.Tensor:
        """Mean of the mixture: the average of the locations of the modalities that a cell has."""
        locations = [batch.spread(name, self.posterior(batch, name)[0]) for name in self.modalities]
        return mean_of_present(locations, [batch.mask(name) for name in self.modalities])
