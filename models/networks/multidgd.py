"""multiDGD's network: representations as parameters, a branched decoder, mixtures with priors."""

from __future__ import annotations

import math

import torch
from torch import nn

from models.parts.counts import Minibatch
from models.parts.layers import Perceptron
from models.parts.likelihoods import log_likelihood, negative_binomial
from models.parts.priors import GaussianMixtureWithPriors

LATENT_OPTIONS = {"lr": 1e-2, "betas": (0.5, 0.7)}
"""Optimiser of representations and mixtures (Schuster et al. 2024, Methods, Training)."""


class BranchDecoder(nn.Module):
    """Hidden state -> fractions of a cell's counts in one modality, by softmax."""

    def __init__(self, width: int, n_features: int) -> None:
        super().__init__()
        last = max(width, int(math.sqrt(n_features)))
        self.hidden = nn.Sequential(nn.Linear(width, last), nn.ReLU())
        self.output = nn.Linear(last, n_features)
        self.log_dispersion = nn.Parameter(torch.full((n_features,), math.log(2.0)))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """n_rows x n_features; rows sum to one."""
        return torch.softmax(self.output(self.hidden(hidden)), dim=1)


class MultiDGDNetwork(nn.Module):
    """multiDGD (Schuster et al. 2024, figure 1): no encoder.

    Parameters
    ----------
    n_features
        Modality -> number of features.
    n_observations
        Representations.
    n_components
        Components of the basal mixture.
    n_batches
        Classes of the covariate; a single one has no covariate space.
    n_latent, n_covariate, width
        Sizes.
    radius, sharpness, concentration
        Priors of the basal mixture.
    """

    def __init__(
        self,
        n_features: dict[str, int],
        n_observations: int,
        n_components: int,
        n_batches: int,
        n_latent: int = 20,
        n_covariate: int = 2,
        width: int = 100,
        radius: float = 2.0,
        sharpness: float = 5.0,
        concentration: float = 1.0,
    ) -> None:
        super().__init__()
        self.modalities, self.n_observations = tuple(n_features), n_observations
        self.basal_mixture = GaussianMixtureWithPriors(
            n_components, n_latent, radius, sharpness, concentration=concentration
        )
        self.basal = nn.Parameter(torch.zeros(n_observations, n_latent))
        self.covariate_mixture = self.covariate = None
        if n_batches > 1:
            self.covariate_mixture = GaussianMixtureWithPriors(n_batches, n_covariate, radius, sharpness)
            self.covariate = nn.Parameter(torch.zeros(n_observations, n_covariate))
        n_in = n_latent + (n_covariate if n_batches > 1 else 0)
        self.shared = Perceptron(n_in, (width, width), activation=nn.ReLU)
        self.branches = nn.ModuleDict({name: BranchDecoder(width, size) for name, size in n_features.items()})
        representations = [self.basal] + ([] if self.covariate is None else [self.covariate])
        mixtures = list(self.basal_mixture.parameters())
        if self.covariate_mixture is not None:
            mixtures += list(self.covariate_mixture.parameters())
        self._representations, self._mixtures = representations, mixtures
        self.optimisers: list[torch.optim.Optimizer] = []

    @torch.no_grad()
    def place(self, batch: torch.Tensor, basal: torch.Tensor | None) -> None:
        """Start covariate representations at the mean of their class, basal ones at `basal` (zero if ``None``)."""
        if self.covariate is not None:
            self.covariate.copy_(self.covariate_mixture.means[batch.cpu()])
        if basal is not None:
            self.basal.copy_(basal)

    def start(self) -> None:
        """Make the optimisers of the representations (stepped once an epoch) and of the mixtures (each step)."""
        self.optimisers = [
            torch.optim.Adam(self._representations, **LATENT_OPTIONS),
            torch.optim.Adam(self._mixtures, **LATENT_OPTIONS),
        ]

    def own_parameters(self) -> list[nn.Parameter]:
        """What the trainer's optimiser leaves alone."""
        return self._representations + self._mixtures

    def step_end(self) -> None:
        """Step the mixtures; gradients of the representations go on accumulating until the epoch ends."""
        self.optimisers[1].step()
        self.optimisers[1].zero_grad(set_to_none=True)

    def epoch_end(self, epoch: int) -> None:
        """Step the representations."""
        self.optimisers[0].step()
        self.optimisers[0].zero_grad(set_to_none=True)

    def extra_state(self) -> list[dict]:
        """For checkpoints."""
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_extra_state(self, state: list[dict]) -> None:
        """From a checkpoint."""
        for optimiser, part in zip(self.optimisers, state):
            optimiser.load_state_dict(part)

    def decode(self, basal: torch.Tensor, covariate: torch.Tensor | None) -> torch.Tensor:
        """Shared hidden state, n_rows x width."""
        return self.shared(basal if covariate is None else torch.cat((basal, covariate), dim=1))

    def reconstruction(self, batch: Minibatch, basal: torch.Tensor, covariate: torch.Tensor | None) -> torch.Tensor:
        """-log NB of all modalities that each cell has (equation 5), per cell: size."""
        hidden = self.decode(basal, covariate)
        loss = torch.zeros(batch.size, device=basal.device)
        for name in self.modalities:
            counts, rows, branch = batch.counts[name], batch.where[name], self.branches[name]
            if not counts.n_rows:
                continue
            state = hidden if len(rows) == batch.size else hidden[rows]
            mean = branch(state) * counts.totals[:, None]
            values = -log_likelihood(counts, negative_binomial(counts, mean, torch.exp(branch.log_dispersion)))
            loss = loss + batch.spread(name, values)
        return loss

    def objective(self, batch: Minibatch, supervised: bool) -> dict[str, torch.Tensor]:
        """-log p(x, z, phi, theta) a cell, the priors of the mixtures shared out over the cells (equation 11)."""
        basal = self.basal[batch.positions]
        covariate = None if self.covariate is None else self.covariate[batch.positions]
        reconstruction = self.reconstruction(batch, basal, covariate).mean()
        latent = -self.basal_mixture.log_density(basal).mean()
        prior = -self.basal_mixture.log_prior() / self.n_observations
        if covariate is not None:
            mixture = self.covariate_mixture
            density = (
                mixture.label_log_density(covariate, batch.batch) if supervised else mixture.log_density(covariate)
            )
            latent = latent - density.mean()
            prior = prior - mixture.log_prior() / self.n_observations
        return {"loss": reconstruction + latent + prior, "reconstruction": reconstruction, "latent": latent}

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """The objective; there is no KL term to weigh."""
        return self.objective(batch, supervised=True)

    def validation_losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """The objective of held-out cells, whose representations alone learn, without covariate labels."""
        losses = self.objective(batch, supervised=False)
        for value, gradient in zip(self._representations, torch.autograd.grad(losses["loss"], self._representations)):
            value.grad = gradient if value.grad is None else value.grad + gradient
        return {name: value.detach() for name, value in losses.items()}

    def embed(self, batch: Minibatch) -> torch.Tensor:
        """Basal representations: size x n_latent."""
        return self.basal[batch.positions].detach()

    def infer(self, data, positions: torch.Tensor, n_steps: int, size: int = 256) -> None:
        """Find representations of new cells: the best component first, then `n_steps` steps of Adam.

        Only the modalities that a cell has enter (missing-modality prediction); decoder and mixtures are fixed.
        """
        components = self.basal_mixture.means.detach()
        covariates = [None] if self.covariate is None else list(self.covariate_mixture.means.detach())
        for part in positions.split(size):
            batch = data.minibatch(part)
            best_loss = torch.full((batch.size,), math.inf, device=part.device)
            basal = torch.zeros(batch.size, components.shape[1], device=part.device)
            covariate = (
                None if self.covariate is None else torch.zeros(batch.size, self.covariate.shape[1], device=part.device)
            )
            with torch.no_grad():
                for component in components:
                    for other in covariates:
                        here = component.expand(batch.size, -1)
                        there = None if other is None else other.expand(batch.size, -1)
                        loss = self.reconstruction(batch, here, there) - self.basal_mixture.log_density(here)
                        if there is not None:
                            loss = loss - self.covariate_mixture.log_density(there)
                        better = loss < best_loss
                        best_loss = torch.where(better, loss, best_loss)
                        basal[better] = component
                        if other is not None:
                            covariate[better] = other
            free = [value.requires_grad_() for value in (basal, covariate) if value is not None]
            optimiser = torch.optim.Adam(free, **LATENT_OPTIONS)
            for _ in range(n_steps):
                loss = self.reconstruction(batch, basal, covariate).sum() - self.basal_mixture.log_density(basal).sum()
                if covariate is not None:
                    loss = loss - self.covariate_mixture.log_density(covariate).sum()
                for value, gradient in zip(free, torch.autograd.grad(loss, free)):
                    value.grad = gradient
                optimiser.step()
            with torch.no_grad():
                self.basal[part] = basal
                if covariate is not None:
                    self.covariate[part] = covariate
