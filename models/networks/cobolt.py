"""Cobolt's network: independent encoders, a product of experts, linear topic decoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from torch import nn

from models.parts.counts import Minibatch
from models.parts.encoders import GaussianEncoder, sample_gaussian
from models.parts.fusion import product_of_experts
from models.parts.likelihoods import multinomial_log_likelihood
from models.parts.priors import dirichlet_by_laplace, gaussian_divergence
from models.parts.trainer import Trainer


class TopicDecoder(nn.Module):
    """softmax(z) -> multinomial logits by a linear map, with an intercept and a slope for each batch.

    Logits are ``(softmax(z) B) * (1 + slope_d) + intercept_d`` for data set d, each row of slopes and intercepts
    as long as there are features.
    """

    def __init__(self, n_latent: int, n_features: int, n_batches: int, intercepts: bool, slopes: bool) -> None:
        super().__init__()
        self.loadings = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_latent, n_features)))
        self.intercepts = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_batches, n_features))) if intercepts else None
        )
        self.slopes = nn.Parameter(torch.rand(n_batches, n_features)) if slopes else None

    def forward(self, z: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Logits, n_rows x n_features; `batch` is int64, n_rows."""
        logits = torch.softmax(z, dim=1) @ self.loadings
        # A one-hot product, not an index: the backward pass of an index adds rows one by one.
        width = (self.slopes if self.slopes is not None else self.intercepts).shape[0] if self._adjusts else 0
        one_hot = nn.functional.one_hot(batch, width).to(z.dtype) if width else None
        if self.slopes is not None:
            logits = logits * (1 + one_hot @ self.slopes)
        if self.intercepts is not None:
            logits = logits + one_hot @ self.intercepts
        return logits

    @property
    def _adjusts(self) -> bool:
        return self.slopes is not None or self.intercepts is not None


class CoboltNetwork(nn.Module):
    """Cobolt (Gong et al. 2021): topics shared by the modalities.

    Parameters
    ----------
    n_features
        Modality -> number of features.
    n_batches
        Data sets, for the decoders' effects.
    n_latent, widths
        Sizes.
    concentration
        Of the Dirichlet prior; 50 / n_latent if ``None``.
    intercepts, slopes
        Whether the decoders have these effects of a batch.
    """

    def __init__(
        self,
        n_features: dict[str, int],
        n_batches: int,
        n_latent: int = 10,
        widths: tuple[int, ...] = (128, 64),
        concentration: float | None = None,
        intercepts: bool = True,
        slopes: bool = True,
    ) -> None:
        super().__init__()
        self.modalities = tuple(n_features)
        self.encoders = nn.ModuleDict(
            {
                name: GaussianEncoder(size, n_latent, widths, normalisation="batch", activation=nn.LeakyReLU)
                for name, size in n_features.items()
            }
        )
        self.decoders = nn.ModuleDict(
            {name: TopicDecoder(n_latent, size, n_batches, intercepts, slopes) for name, size in n_features.items()}
        )
        mean, variance = dirichlet_by_laplace(n_latent, concentration or 50 / n_latent)
        self.register_buffer("prior_mean", mean)
        self.register_buffer("prior_variance", variance)
        self.subsets = [
            subset for size in range(1, len(self.modalities) + 1) for subset in combinations(self.modalities, size)
        ]

    def experts(
        self, batch: Minibatch, subset: tuple[str, ...] | None = None
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Modality of `subset` -> mean and variance of its expert, spread over the mini-batch (zeros where missing)."""
        experts = {}
        for name in subset or self.modalities:
            mean, variance = self.encoders[name](batch.counts[name].log1p())
            experts[name] = (batch.spread(name, mean), batch.spread(name, variance))
        return experts

    def posterior(
        self, batch: Minibatch, experts: dict[str, tuple[torch.Tensor, torch.Tensor]], subset: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Product of the prior and the experts of `subset` that each cell has."""
        means, variances = zip(*(experts[name] for name in subset))
        masks = [batch.mask(name) for name in subset]
        return product_of_experts(list(means), list(variances), masks, self.prior_mean, self.prior_variance)

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """-ELBO a cell of one subset of modalities: those that are in the mini-batch, which every cell has."""
        subset = tuple(name for name in self.modalities if name in batch.counts)
        mean, variance = self.posterior(batch, self.experts(batch, subset), subset)
        z = sample_gaussian(mean, variance)
        divergence = gaussian_divergence(mean, variance, self.prior_mean, self.prior_variance).mean()
        reconstruction = torch.zeros((), device=z.device)
        for name in subset:
            logits = self.decoders[name](z, batch.batch)
            reconstruction = reconstruction - multinomial_log_likelihood(batch.counts[name], logits).mean()
        return {"loss": reconstruction + kl_weight * divergence, "reconstruction": reconstruction, "kl": divergence}

    def embed(self, batch: Minibatch, subset: tuple[str, ...] | None = None) -> torch.Tensor:
        """Mean of the posterior given the modalities of `subset` (all if ``None``) that each cell has."""
        subset = subset or self.modalities
        return self.posterior(batch, self.experts(batch, subset), subset)[0]


class SubsetTrainer(Trainer):
    """Steps of each subset of modalities in turn, one at a time, as released: an epoch passes over every subset.

    With one step for the sum over the subsets a cell is seen as often, but the steps are three times fewer, and
    embeddings of 500 cells are clearly worse after the release's number of epochs.
    """

    def _batches(self, positions: np.ndarray) -> Iterator[Minibatch]:
        for subset in self.module.subsets:
            has = torch.stack([self.data.has(name) for name in subset]).all(0).cpu().numpy()
            for batch in super()._batches(positions[has[positions]]):
                counts, where = ({name: part[name] for name in subset} for part in (batch.counts, batch.where))
                yield dataclasses.replace(batch, counts=counts, where=where)
