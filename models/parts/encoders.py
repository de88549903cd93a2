"""Encoders: from the counts of one modality to the parameters of a distribution over the latent space."""

from __future__ import annotations

from typing import Callable

import torch
from torch import nn
from torch.nn import functional

from models.parts.counts import SparseRows
from models.parts.layers import Perceptron


class GaussianEncoder(nn.Module):
    """Counts -> mean and variance of a diagonal Gaussian, variance = exp(linear).

    Parameters
    ----------
    n_features, n_latent
        Sizes.
    widths
        Hidden widths.
    sparse
        Whether the input is sparse.
    **layers
        Passed to :class:`Perceptron`.
    """

    def __init__(self, n_features: int, n_latent: int, widths: tuple[int, ...], sparse: bool = True, **layers) -> None:
        super().__init__()
        self.hidden = Perceptron(n_features, widths, sparse=sparse, **layers)
        self.mean = nn.Linear(widths[-1], n_latent)
        self.log_variance = nn.Linear(widths[-1], n_latent)

    def forward(self, x: SparseRows | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance, each n_rows x n_latent."""
        hidden = self.hidden(x)
        return self.mean(hidden), torch.exp(self.log_variance(hidden))


class LaplaceEncoder(nn.Module):
    """Counts -> location and scale of independent Laplace distributions (scMM).

    The scale is softmax(linear) times n_latent, as in Shi et al. 2019 and scMM: scales are positive and average
    to one over the dimensions.
    """

    def __init__(self, n_features: int, n_latent: int, widths: tuple[int, ...], **layers) -> None:
        super().__init__()
        self.hidden = Perceptron(n_features, widths, sparse=True, **layers)
        self.location = nn.Linear(widths[-1], n_latent)
        self.scale = nn.Linear(widths[-1], n_latent)

    def forward(self, x: SparseRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Location and scale, each n_rows x n_latent."""
        hidden = self.hidden(x)
        weights = self.scale(hidden).clamp(-12, 12)
        return self.location(hidden), functional.softmax(weights, dim=1) * weights.shape[1] + 1e-6


def sample_gaussian(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """A differentiable sample (reparameterisation), of the shape of `mean`."""
    return mean + torch.sqrt(variance) * torch.randn_like(mean)


def sample_laplace(location: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """A differentiable sample of a Laplace distribution, of the shape of `location`."""
    uniform = torch.rand_like(location) - 0.5
    magnitude = torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-7))
    return location - scale * uniform.sign() * magnitude


def embed_in_order(data, encode: Callable) -> torch.Tensor:
    """Apply `encode` (mini-batch -> rows) to all observations in order, without gradients; concatenated."""
    with torch.no_grad():
        return torch.cat([encode(batch) for batch in data.in_order()])
