"""Portal's network: two encoders, two generators, two thresholded discriminators on principal components."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from models.parts.adversary import ThresholdedDiscriminator
from models.parts.layers import Perceptron
from models.parts.penalties import cosine_correspondence, latent_alignment


class DomainPairs:
    """Mini-batches of two domains (RNA and ATAC) drawn independently of each other.

    Parameters
    ----------
    first, second
        float32, cells x components.
    steps
        Mini-batches an epoch; each has as many cells of either domain as there are positions in it.
    """

    def __init__(self, first: torch.Tensor, second: torch.Tensor, n_observations: int) -> None:
        self.first, self.second, self.n_observations = first, second, n_observations
        self.device, self.size = first.device, 0

    def minibatch(self, positions: torch.Tensor) -> "DomainPairs":
        """As many cells of each domain as there are positions, drawn with replacement."""
        rows = torch.randint(len(self.first), (len(positions),), device=self.device)
        others = torch.randint(len(self.second), (len(positions),), device=self.device)
        batch = DomainPairs(self.first[rows], self.second[others], self.n_observations)
        batch.size = len(positions)
        return batch


def _two_layers(n_in: int, width: int, n_out: int) -> nn.Sequential:
    layers = nn.Sequential(Perceptron(n_in, (width,)), nn.Linear(width, n_out))
    for value in layers.parameters():
        nn.init.normal_(value, std=0.1)
    return layers


class PortalNetwork(nn.Module):
    """Portal (Zhao et al. 2022, figure 1): domain translation through one latent space.

    Parameters
    ----------
    n_in, n_latent, width
        Sizes.
    weights
        Of the autoencoder, latent alignment, cosine and adversarial losses.
    margin
        Of the discriminators' threshold.
    learning_rate
        Of the discriminators' optimiser; the trainer has that of the encoders and generators.
    warmup_steps
        Steps in which scores are not thresholded.
    """

    def __init__(
        self,
        n_in: int,
        n_latent: int,
        width: int,
        weights: dict[str, float],
        margin: float,
        learning_rate: float = 1e-3,
        warmup_steps: int = 6,
    ) -> None:
        super().__init__()
        self.second_options = {"lr": learning_rate, "eps": 1e-8, "weight_decay": 0.0}
        self.encoders = nn.ModuleList(_two_layers(n_in, width, n_latent) for _ in range(2))
        self.generators = nn.ModuleList(_two_layers(n_latent, width, n_in) for _ in range(2))
        self.discriminators = nn.ModuleList(ThresholdedDiscriminator(n_in, width, margin) for _ in range(2))
        for value in self.discriminators.parameters():
            nn.init.normal_(value, std=0.1)
        self.weights, self.warmup_steps = weights, warmup_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self._translated: tuple[torch.Tensor, torch.Tensor] | None = None

    def losses(self, batch: DomainPairs, kl_weight: float) -> dict[str, torch.Tensor]:
        """The generators' loss; translations are kept for the discriminators."""
        real = (batch.first, batch.second)
        codes = [encoder(x) for encoder, x in zip(self.encoders, real)]
        translated = [self.generators[1](codes[0]), self.generators[0](codes[1])]
        autoencoding = sum((self.generators[index](codes[index]) - real[index]).square().mean() for index in (0, 1))
        cosine = sum(cosine_correspondence(real[index], translated[index]) for index in (0, 1))
        alignment = sum(latent_alignment(codes[index], self.encoders[1 - index](translated[index])) for index in (0, 1))
        thresholded = bool(self.step >= self.warmup_steps)
        # A translation from domain i is judged by the discriminator of the other one.
        adversarial = sum(
            functional.softplus(-self.discriminators[1 - index](translated[index], thresholded)).mean()
            for index in (0, 1)
        )
        terms = {"autoencoder": autoencoding, "alignment": alignment, "cosine": cosine, "adversarial": adversarial}
        self._translated = (translated[0].detach(), translated[1].detach())
        return {"loss": sum(self.weights[name] * value for name, value in terms.items()), **terms}

    def second_parameters(self) -> list[nn.Parameter]:
        """The discriminators'."""
        return list(self.discriminators.parameters())

    def second_loss(self, batch: DomainPairs) -> torch.Tensor:
        """The discriminators' logistic loss, on real cells and on the translations of this step."""
        real, thresholded = (batch.first, batch.second), bool(self.step >= self.warmup_steps)
        self.step += 1
        loss = 0.0
        for index in (0, 1):
            discriminator = self.discriminators[index]
            loss = loss + functional.softplus(-discriminator(real[index], thresholded)).mean()
            loss = loss + functional.softplus(discriminator(self._translated[1 - index], thresholded)).mean()
        return loss
