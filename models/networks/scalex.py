"""SCALEX's network: a batch-free encoder and a decoder that is one layer with batch-specific normalisation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from models.parts.dense import DenseRows
from models.parts.encoders import GaussianEncoder, sample_gaussian
from models.parts.layers import DomainBatchNorm
from models.parts.priors import gaussian_divergence


class SCALEXNetwork(nn.Module):
    """SCALEX (Xiong et al. 2022, figure 1).

    Parameters
    ----------
    n_features, n_domains, n_latent, width
        Sizes; domains are batches.
    kl_scale
        Weight of the KL term (beta).
    """

    def __init__(
        self, n_features: int, n_domains: int, n_latent: int = 10, width: int = 1024, kl_scale: float = 0.5
    ) -> None:
        super().__init__()
        self.kl_scale = kl_scale
        self.encoder = GaussianEncoder(
            n_features, n_latent, (width,), sparse=False, normalisation="batch", activation=nn.ReLU
        )
        self.output = nn.Linear(n_latent, n_features)
        self.normalisation = DomainBatchNorm(n_features, n_domains)

    def decode(self, z: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """Logits of the features, n_rows x n_features."""
        return self.normalisation(self.output(z), domain)

    def losses(self, batch: DenseRows, kl_weight: float) -> dict[str, torch.Tensor]:
        """Binary cross-entropy of the features in [0, 1], summed over them, and KL."""
        mean, variance = self.encoder(batch.x)
        logits = self.decode(sample_gaussian(mean, variance), batch.domain)
        reconstruction = functional.binary_cross_entropy_with_logits(logits, batch.x) * batch.x.shape[1]
        divergence = gaussian_divergence(mean, variance).mean()
        return {"loss": reconstruction + self.kl_scale * divergence, "reconstruction": reconstruction, "kl": divergence}

    def embed(self, batch: DenseRows) -> torch.Tensor:
        """Posterior mean."""
        return self.encoder(batch.x)[0]
