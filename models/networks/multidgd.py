"""multiDGD's network: representations as parameters, a branched decoder, mixtures with priors."""

from __future__ import annotations

import math

import torch
from torch import nn

from models.parts.counts import Minibatch
from models.parts.layers import Perceptron
from models.parts.likelihoods import log_likelihood, negative_binomial
from models.parts.priors import GaussianMixtureWithPriors


class BranchDecoder(nn.Module):
    """Hidden state -> fractions of a cell's counts in one modality, by softmax.

    Two hidden layers, the last one as wide as the square root of the features where that is more. The dispersion
    is one plus an exponential, so at least one, and two at the start (both as released).
    """

    def __init__(self, width: int, n_features: int) -> None:
        super().__init__()
        last = max(width, round(math.sqrt(n_features)))
        self.hidden = Perceptron(width, (width, last), activation=nn.ReLU)
        self.output = nn.Linear(last, n_features)
        self.log_excess_dispersion = nn.Parameter(torch.zeros(n_features))

    @property
    def dispersion(self) -> torch.Tensor:
        """Inverse dispersion r of each feature, above one: n_features."""
        return 1 + torch.exp(self.log_excess_dispersion)

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
    sparsity
        Weight of the sum of the absolute values of the decoder's weights, added to the loss of each mini-batch.
    prior_per_cell
        Whether the priors of the mixtures count once a cell (release) or once in all (equation 9).
    covariate_concentration
        Dirichlet alpha of the covariate mixture's weights.
    latent_rate, covariate_rate, betas, latent_decay
        Adam of the representations and mixtures; the covariate mixture has a rate of its own.
    candidates
        Components drawn from the prior, of which the best becomes that of an unseen class.
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
        sparsity: float = 1.0,
        prior_per_cell: bool = True,
        covariate_concentration: float = 2.0,
        latent_rate: float = 1e-2,
        covariate_rate: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.7),
        latent_decay: float = 1e-4,
        candidates: int = 20,
    ) -> None:
        super().__init__()
        self.modalities, self.n_observations = tuple(n_features), n_observations
        self.sparsity, self.prior_per_cell, self.candidates = sparsity, prior_per_cell, candidates
        self.latent_options = {"lr": latent_rate, "betas": betas, "weight_decay": latent_decay}
        self.basal_mixture = GaussianMixtureWithPriors(
            n_components, n_latent, radius, sharpness, concentration=concentration
        )
        self.basal = nn.Parameter(torch.zeros(n_observations, n_latent))
        self.covariate_mixture = self.covariate = None
        if n_batches > 1:
            self.covariate_mixture = GaussianMixtureWithPriors(
                n_batches, n_covariate, radius, sharpness, concentration=covariate_concentration
            )
            self.covariate = nn.Parameter(torch.zeros(n_observations, n_covariate))
            # Which still stand where `place` put them; a buffer, so that a checkpoint has it.
            self.register_buffer("_placed", torch.zeros(n_observations, dtype=torch.bool))
        n_in = n_latent + (n_covariate if n_batches > 1 else 0)
        self.shared = Perceptron(n_in, (width, width), activation=nn.ReLU)
        self.branches = nn.ModuleDict({name: BranchDecoder(width, size) for name, size in n_features.items()})
        self._representations = [self.basal] + ([] if self.covariate is None else [self.covariate])
        self._mixtures = [{"params": list(self.basal_mixture.parameters())}]
        if self.covariate_mixture is not None:
            self._mixtures.append({"params": list(self.covariate_mixture.parameters()), "lr": covariate_rate})
        self._decoder_weights = [
            value
            for part in (self.shared, self.branches)
            for name, value in part.named_parameters()
            if name.endswith("weight")
        ]
        self.optimisers: list[torch.optim.Optimizer] = []

    @torch.no_grad()
    def place(self, batch: torch.Tensor, basal: torch.Tensor | None) -> None:
        """Start covariate representations at the mean of their class, basal ones at `basal` (zero if ``None``).

        Those of held-out cells are taken back to zero before their first step: their classes are not to be known.
        """
        if self.covariate is not None:
            self.covariate.copy_(self.covariate_mixture.means[batch.cpu()])
            self._placed.fill_(True)
        if basal is not None:
            self.basal.copy_(basal)

    def start(self) -> None:
        """Make the optimisers of the representations (stepped once an epoch) and of the mixtures (each step)."""
        self.optimisers = [
            torch.optim.Adam(self._representations, **self.latent_options),
            torch.optim.Adam(self._mixtures, **self.latent_options),
        ]

    def own_parameters(self) -> list[nn.Parameter]:
        """What the trainer's optimiser leaves alone."""
        return self._representations + [value for group in self._mixtures for value in group["params"]]

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
            values = -log_likelihood(counts, negative_binomial(counts, mean, branch.dispersion))
            loss = loss + batch.spread(name, values)
        return loss

    def label_density(self, covariate: torch.Tensor, label: torch.Tensor, mixture=None) -> torch.Tensor:
        """Log density of covariate representations under the component of their `label` (equation 10): n_rows.

        Times the number of classes, as released.
        """
        mixture = self.covariate_mixture if mixture is None else mixture
        return len(mixture.means) * mixture.label_log_density(covariate, label)

    def objective(self, batch: Minibatch, supervised: bool) -> dict[str, torch.Tensor]:
        """-log p(x, z, phi, theta) (equation 11): ``loss`` is the sum over the cells, the others are a cell's mean.

        A sum, since a representation gathers gradients over an epoch: with a mean, cells of a last, smaller
        mini-batch would weigh more than others.
        """
        basal = self.basal[batch.positions]
        covariate = None if self.covariate is None else self.covariate[batch.positions]
        reconstruction = self.reconstruction(batch, basal, covariate).sum()
        latent = -self.basal_mixture.log_density(basal).sum()
        prior = -self.basal_mixture.log_prior()
        if covariate is not None:
            mixture = self.covariate_mixture
            density = self.label_density(covariate, batch.batch) if supervised else mixture.log_density(covariate)
            latent = latent - density.sum()
            prior = prior - mixture.log_prior()
        share = batch.size if self.prior_per_cell else batch.size / self.n_observations
        return {
            "loss": reconstruction + latent + share * prior,
            "reconstruction": reconstruction / batch.size,
            "latent": latent / batch.size,
        }

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """The objective and the decoder's sparsity; there is no KL term to weigh."""
        losses = self.objective(batch, supervised=True)
        if self.sparsity:
            losses["loss"] = losses["loss"] + self.sparsity * sum(value.abs().sum() for value in self._decoder_weights)
        return losses

    def validation_losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """The objective of held-out cells, whose representations alone learn, without covariate labels."""
        if self.covariate is not None:
            with torch.no_grad():
                self.covariate[batch.positions[self._placed[batch.positions]]] = 0
                self._placed[batch.positions] = False
        losses = self.objective(batch, supervised=False)
        for value, gradient in zip(self._representations, torch.autograd.grad(losses["loss"], self._representations)):
            value.grad = gradient if value.grad is None else value.grad + gradient
        return {name: value.detach() for name, value in losses.items()}

    def embed(self, batch: Minibatch) -> torch.Tensor:
        """Basal representations: size x n_latent."""
        return self.basal[batch.positions].detach()

    def infer(
        self,
        data,
        positions: torch.Tensor,
        n_steps: int,
        labels: torch.Tensor | None = None,
        mixture: GaussianMixtureWithPriors | None = None,
        size: int = 256,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Find representations of new cells: the best component first, then `n_steps` steps of Adam.

        Only the modalities that a cell has enter (missing-modality prediction). Decoder and mixtures are fixed, but
        for the components that `mixture` has beyond the trained covariate mixture.

        Parameters
        ----------
        data
            The counts; need not be those of the training.
        positions
            int64: the cells.
        n_steps
            Steps of the representations; a step is taken after a pass over all cells.
        labels
            int64, one a position: covariate class, for supervised inference; ``None`` for naive inference.
        mixture
            Covariate mixture with components for unseen classes, from :meth:`extended`.
        size
            Cells a mini-batch.

        Returns
        -------
        tuple
            Basal (n_cells x n_latent) and covariate (n_cells x n_covariate, or ``None``) representations.
        """
        mixture = self.covariate_mixture if mixture is None else mixture
        parts = [(data.minibatch(part), here) for part, here in _parts(positions, size)]
        basal = torch.zeros(len(positions), self.basal.shape[1], device=positions.device)
        covariate = None if self.covariate is None else torch.zeros(len(positions), self.covariate.shape[1]).to(basal)
        for batch, here in parts:
            label = None if labels is None else labels[here]
            basal[here], found = self._best_components(batch, mixture, label)
            if covariate is not None:
                covariate[here] = found
        free = [value.requires_grad_() for value in (basal, covariate) if value is not None]
        optimiser, own = torch.optim.Adam(free, **self.latent_options), None
        if mixture is not self.covariate_mixture:
            own = torch.optim.Adam(mixture.parameters(), **{**self.latent_options, "weight_decay": 0.0})
            n_seen = len(self.covariate_mixture.means)
        for _ in range(n_steps):
            for value in free:
                value.grad = torch.zeros_like(value)
            for batch, here in parts:
                loss = self.reconstruction(batch, basal[here], None if covariate is None else covariate[here]).sum()
                loss = loss - self.basal_mixture.log_density(basal[here]).sum()
                if covariate is not None:
                    label = None if labels is None else labels[here]
                    loss = loss - self._covariate_density(covariate[here], label, mixture).sum()
                wanted = free + ([] if own is None else list(mixture.parameters()))
                gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
                for value, gradient in zip(free, gradients):
                    value.grad += gradient
                if own is not None:
                    for value, gradient in zip(mixture.parameters(), gradients[len(free) :]):
                        if gradient is not None:
                            gradient[:n_seen] = 0
                        value.grad = gradient
                    own.step()
            optimiser.step()
        return basal.detach(), None if covariate is None else covariate.detach()

    def _covariate_density(self, covariate, label, mixture) -> torch.Tensor:
        return mixture.log_density(covariate) if label is None else self.label_density(covariate, label, mixture)

    @torch.no_grad()
    def _best_components(self, batch: Minibatch, mixture, label) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Means of the components that give each cell the highest density; the covariate's is that of its `label`."""
        classes = [None] if mixture is None else list(mixture.means.detach())
        best = torch.full((batch.size,), math.inf, device=batch.positions.device)
        basal = torch.zeros(batch.size, self.basal.shape[1], device=best.device)
        covariate = None if mixture is None else torch.zeros(batch.size, mixture.means.shape[1], device=best.device)
        for component in self.basal_mixture.means.detach():
            here = component.expand(batch.size, -1)
            for index, other in enumerate(classes):
                there = None if other is None else other.expand(batch.size, -1)
                loss = self.reconstruction(batch, here, there) - self.basal_mixture.log_density(here)
                if there is not None and label is None:
                    loss = loss - mixture.log_density(there)
                elif there is not None:
                    loss = torch.where(label == index, loss, math.inf)
                better = loss < best
                best = torch.where(better, loss, best)
                basal[better] = component
                if there is not None:
                    covariate[better] = other
        return basal, covariate

    @torch.no_grad()
    def extended(self, data, positions: torch.Tensor, size: int = 256) -> GaussianMixtureWithPriors:
        """The covariate mixture with one more component, for the cells at `positions`, of an unseen class.

        Of ``candidates`` components drawn from the prior, the one that is the best for most of the cells.
        """
        seen = self.covariate_mixture
        candidates, mixture = (
            GaussianMixtureWithPriors(
                number, seen.means.shape[1], seen.radius, seen.sharpness, concentration=seen.concentration
            ).to(positions.device)
            for number in (self.candidates, len(seen.means) + 1)
        )
        votes = torch.zeros(self.candidates, device=positions.device)
        for part, _ in _parts(positions, size):
            chosen = self._best_components(data.minibatch(part), candidates, None)[1]
            votes += torch.bincount(torch.cdist(chosen, candidates.means).argmin(1), minlength=self.candidates)
        for name in ("means", "negative_log_variances", "weight_logits"):
            old = getattr(seen, name)
            getattr(mixture, name)[: len(old)] = old
        mixture.means[-1] = candidates.means[votes.argmax()]
        # The deviation of the seen components at their start, not that of one more.
        mixture.negative_log_variances[-1] = seen.centre
        return mixture


def _parts(positions: torch.Tensor, size: int):
    """Mini-batches of `positions` with where they stand in it."""
    for start in range(0, len(positions), size):
        yield positions[start : start + size], slice(start, start + size)
