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
    kl_scale
        Weight of the KL term.
    domain_scale
        Weight of the classifier's cross-entropy, a multiple of the number of features.
    """

    def __init__(
        self,
        n_features: int,
        n_domains: int,
        n_latent: int = 10,
        widths: tuple[int, ...] = (128, 64, 32),
        kl_scale: float = 1.0,
        domain_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.n_features, self.kl_scale, self.domain_scale = n_features, kl_scale, domain_scale
        layers = {"normalisation": "batch", "activation": nn.ReLU}
        self.encoder = GaussianEncoder(n_features, n_latent, widths, sparse=False, dropout=0.01, **layers)
        hidden = Perceptron(n_latent, widths[::-1], dropout=0.05, **layers)
        self.decoder = nn.Sequential(hidden, nn.Linear(widths[0], n_features))
        self.classifier = DomainClassifier(n_latent, n_domains, (16,), dropout=0.05)

    def losses(self, batch: DenseRows, kl_weight: float) -> dict[str, torch.Tensor]:
        """Gaussian -log likelihood at the residuals' own variance, KL, and the reversed domain loss."""
        mean, variance = self.encoder(batch.x)
        z = sample_gaussian(mean, variance)
        residual = (batch.x - self.decoder(z)).square().mean()
        # With the variance at its maximum-likelihood value, the Gaussian's -log likelihood is D/2 log(variance).
        reconstruction = 0.5 * self.n_features * torch.log(residual + 1e-8)
        divergence = gaussian_divergence(mean, variance).mean()
        domain = self.classifier.loss(reverse_gradient(z), batch.domain)
        loss = reconstruction + kl_weight * self.kl_scale * divergence + self.domain_scale * self.n_features * domain
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence, "domain": domain}

    def embed(self, batch: DenseRows) -> torch.Tensor:
        """Posterior mean."""
        return self.encoder(batch.x)[0]
