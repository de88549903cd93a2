"""Adversaries: classifiers and discriminators that a model learns to fool."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from models.parts.layers import Perceptron


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context, x: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient: torch.Tensor):
        return -context.strength * gradient, None


def reverse_gradient(x: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """`x` unchanged; its gradient is multiplied by -`strength` (Ganin et al. 2016)."""
    return _Reverse.apply(x, strength)


class DomainClassifier(nn.Module):
    """Predicts the domain (batch, modality) of latent codes.

    Parameters
    ----------
    n_latent, n_domains
        Sizes.
    widths
        Hidden widths; MultiVI has (32, 32), DAVAE (16,).
    dropout
        Share of units dropped in training.
    """

    def __init__(self, n_latent: int, n_domains: int, widths: tuple[int, ...] = (32, 32), dropout: float = 0.1) -> None:
        super().__init__()
        self.n_domains = n_domains
        self.hidden = Perceptron(n_latent, widths, normalisation="batch", dropout=dropout)
        self.output = nn.Linear(widths[-1], n_domains)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Logits, n_rows x n_domains."""
        return self.output(self.hidden(z))

    def loss(self, z: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the true domains: a scalar."""
        return functional.cross_entropy(self(z), domain)

    def fooling_loss(self, z: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy against equal weight on every *other* domain (MultiVI's adversarial term): a scalar."""
        log_probability = functional.log_softmax(self(z), dim=1)
        true = log_probability.gather(1, domain[:, None])[:, 0]
        return -((log_probability.sum(1) - true) / (self.n_domains - 1)).mean()


class ThresholdedDiscriminator(nn.Module):
    """Scores whether a vector is real or translated; scores beyond the margin carry no gradient (Portal).

    Cells that only one domain has get extreme scores; clamping them keeps the game from forcing them together.
    """

    def __init__(self, n_in: int, width: int = 512, margin: float = 5.0) -> None:
        super().__init__()
        self.margin = margin
        self.hidden = Perceptron(n_in, (width, width))
        self.score = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor, thresholded: bool = True) -> torch.Tensor:
        """Scores, n_rows, positive for real."""
        bound = self.margin if thresholded else 50.0
        return self.score(self.hidden(x))[:, 0].clamp(-bound, bound)
