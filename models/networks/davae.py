"""DAVAE's network: one variational autoencoder for all domains, and a domain classifier behind a gradient reversal."""

from __future__ import annotations

import torch
from torch import nn

from models.parts.adversary import DomainClassifier, reverse_gradient
from models.parts.dense import DenseRows
from models.parts.encoders import GaussianEncoder, sample_gaussian
from models.parts.layers import Perceptron
from models.parts.priors import gaussian_divergence


class DAVAENetwork(nn.Module):
    """DAVAE (Hu et al. 2022).

    Parameters
    ----------
    n_features, n_domains, n_latent
        Sizes.
    widths
        Hidden widths of the encoder; the decoder has them in reverse.
    encoder_dropout, decoder_dropout, classifier_dropout
        Shares of units dropped in training.
    classifier_widths
        Hidden widths of the domain classifier.
    kl_scale
        Weight of the KL term.
    domain_scale
        Weight of the classifier's cross-entropy, a multiple of the number of features.
    positive
        Whether the decoder's output is, for inputs that are not standardised.
    released
        The release's Gaussian term and layers (Keras' start and batch normalisation), to compare with it.
    """

    def __init__(
        self,
        n_features: int,
        n_domains: int,
        n_latent: int = 10,
        widths: tuple[int, ...] = (128, 64, 32),
        encoder_dropout: float = 0.01,
        decoder_dropout: float = 0.05,
        classifier_widths: tuple[int, ...] = (16,),
        classifier_dropout: float = 0.05,
        kl_scale: float = 1.0,
        domain_scale: float = 1.0,
        positive: bool = False,
        released: bool = False,
    ) -> None:
        super().__init__()
        self.n_features, self.kl_scale, self.domain_scale = n_features, kl_scale, domain_scale
        self.released = released
        layers = {"normalisation": "batch", "activation": nn.ReLU}
        self.encoder = GaussianEncoder(n_features, n_latent, widths, sparse=False, dropout=encoder_dropout, **layers)
        hidden = Perceptron(n_latent, widths[::-1], dropout=decoder_dropout, **layers)
        output = [nn.Softplus()] if positive else []
        self.decoder = nn.Sequential(hidden, nn.Linear(widths[0], n_features), *output)
        self.classifier = DomainClassifier(n_latent, n_domains, classifier_widths, dropout=classifier_dropout)
        if released:
            self.apply(_as_in_keras)

    def losses(self, batch: DenseRows, kl_weight: float) -> dict[str, torch.Tensor]:
        """Gaussian -log likelihood at the residuals' own variance, KL, and the reversed domain loss."""
        mean, variance = self.encoder(batch.x)
        z = sample_gaussian(mean, variance)
        reconstruction = self.reconstruction(batch.x, self.decoder(z))
        divergence = gaussian_divergence(mean, variance).mean()
        domain = self.classifier.loss(reverse_gradient(z), batch.domain)
        loss = reconstruction + kl_weight * self.kl_scale * divergence + self.domain_scale * self.n_features * domain
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence, "domain": domain}

    def reconstruction(self, x: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        """Gaussian -log likelihood a row, without its constant, at the variance of the mini-batch's residuals: a scalar.

        At its maximum-likelihood value v it is D/2 log v. The release has D/2 (mean squared error + log v) / v.
        """
        residual = x - decoded
        error = residual.square().mean()
        if not self.released:
            return 0.5 * self.n_features * torch.log(error + 1e-8)
        variance = residual.var(correction=0)
        return 0.5 * self.n_features * (error + torch.log(variance)) / variance

    def embed(self, batch: DenseRows) -> torch.Tensor:
        """Posterior mean."""
        return self.encoder(batch.x)[0]


def _as_in_keras(layer: nn.Module) -> None:
    """Keras' start of a linear layer (Glorot, no bias), and its batch normalisation's constants."""
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm1d):
        layer.momentum, layer.eps = 0.01, 1e-3
