"""scMVP's network: attention channels for RNA and ATAC around a Gaussian-mixture latent space."""

from __future__ import annotations

import torch
from torch import nn

from models.base import DivergedError
from models.parts.attention import MaskAttention, SelfAttention
from models.parts.counts import Minibatch, SparseRows
from models.parts.encoders import sample_gaussian
from models.parts.likelihoods import log_likelihood, negative_binomial, poisson, zero_inflated_log_likelihood
from models.parts.penalties import cycle_consistency
from models.parts.priors import GaussianMixturePrior
from models.parts.sparse_linear import SparseLinear


class Channel(nn.Module):
    """One modality -> 128 attended features: mask attention for RNA, self-attention for ATAC."""

    def __init__(self, modality: str, n_features: int, width: int, n_heads: int) -> None:
        super().__init__()
        self.first = SparseLinear(n_features, width)
        rna = modality == "rna"
        self.attention = MaskAttention(width, competing=False) if rna else SelfAttention(width, n_heads)

    def forward(self, x: SparseRows | torch.Tensor) -> torch.Tensor:
        """n_rows x width."""
        return self.attention(self.first(x))


class PosteriorHead(nn.Module):
    """Features -> one shared linear layer, normalised -> mean and variance, linear ("linear layers" in the paper)."""

    def __init__(self, n_in: int, width: int, n_latent: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(n_in, width), nn.LayerNorm(width))
        self.mean, self.log_variance = nn.Linear(width, n_latent), nn.Linear(width, n_latent)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance, n_rows x n_latent."""
        shared = self.shared(features)
        return self.mean(shared), torch.exp(self.log_variance(shared).clamp(-10, 10))


class ClusterWeightedDecoder(nn.Module):
    """z and p(c | z) -> fractions of a cell's signal, and zero-inflation logits for ATAC (equations 10 and 13)."""

    def __init__(
        self, modality: str, n_latent: int, n_components: int, n_features: int, width: int, n_heads: int
    ) -> None:
        super().__init__()
        self.first = nn.Linear(n_latent, width)
        self.attention = MaskAttention(width) if modality == "rna" else SelfAttention(width, n_heads)
        self.cluster = nn.Linear(n_components, width)
        self.scale = nn.Linear(width, n_features)
        self.gate = nn.Linear(width, n_features) if modality == "atac" else None
        self.log_dispersion = nn.Parameter(torch.randn(n_features)) if modality == "rna" else None

    def forward(self, z: torch.Tensor, responsibilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Fractions (rows sum to one) and gate logits or ``None``, n_rows x n_features."""
        # A softmax over the width averages 1 / width: scale it so that the weights average one.
        weights = torch.softmax(self.cluster(responsibilities), dim=1) * self.cluster.out_features
        hidden = self.attention(self.first(z)) * weights
        return torch.softmax(self.scale(hidden), dim=1), None if self.gate is None else self.gate(hidden)

    def log_likelihood(self, counts: SparseRows, fractions: torch.Tensor, gate: torch.Tensor | None) -> torch.Tensor:
        """NB of RNA counts, ZIP of TF-IDF accessibility, at the cell's total: n_rows."""
        mean = fractions * counts.totals[:, None]
        if gate is None:
            return log_likelihood(counts, negative_binomial(counts, mean, torch.exp(self.log_dispersion)))
        return zero_inflated_log_likelihood(counts, poisson(counts, mean), gate)


class ScMVPNetwork(nn.Module):
    """scMVP (Li et al. 2022, figure 1a).

    Parameters
    ----------
    n_features
        Modality -> number of features; one modality alone makes the ``rna-only`` or ``atac-only`` variant.
    n_components
        Components of the mixture prior.
    n_latent, width, n_heads
        Sizes.
    initialise_after
        Epoch after which the mixture is fitted to the codes.
    weights
        Modality -> weight of its likelihood; ``consistency`` -> weight of the consistency terms.
    data
        Counts to fit it to.
    seed
        Of that fit.
    """

    def __init__(
        self,
        n_features: dict[str, int],
        n_components: int,
        n_latent: int = 10,
        width: int = 128,
        n_heads: int = 8,
        initialise_after: int = 5,
        weights: dict[str, float] | None = None,
        data=None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.modalities = tuple(n_features)
        self.prior = GaussianMixturePrior(n_components, n_latent)
        self.channels = nn.ModuleDict({name: Channel(name, size, width, n_heads) for name, size in n_features.items()})
        self.head = PosteriorHead(width * len(n_features), width, n_latent)
        # The cycle encoders have channels and heads of their own (Methods: "two single-channel encoders").
        self.cycle_channels = nn.ModuleDict(
            {name: Channel(name, size, width, n_heads) for name, size in n_features.items()}
        )
        self.cycle_heads = nn.ModuleDict({name: PosteriorHead(width, width, n_latent) for name in n_features})
        self.decoders = nn.ModuleDict(
            {
                name: ClusterWeightedDecoder(name, n_latent, n_components, size, width, n_heads)
                for name, size in n_features.items()
            }
        )
        self.initialise_after, self.data, self.seed = initialise_after, data, seed
        self.weights = {"rna": 1.0, "atac": 1.0, "consistency": 1.0, **(weights or {})}

    def posterior(self, batch: Minibatch) -> tuple[torch.Tensor, torch.Tensor]:
        """q(z | x, y): mean and variance."""
        features = [self.channels[name](batch.counts[name].log1p()) for name in self.modalities]
        return self.head(torch.cat(features, dim=1))

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """-ELBO with the mixture prior, and the clustering consistency of imputed and of raw single modalities."""
        mean, variance = self.posterior(batch)
        z = sample_gaussian(mean, variance)
        responsibilities = self.prior.responsibilities(z)
        divergence = self.prior.divergence(mean, variance, responsibilities).mean()
        reconstruction = consistency = torch.zeros((), device=z.device)
        for name in self.modalities:
            counts, decoder = batch.counts[name], self.decoders[name]
            fractions, gate = decoder(z, responsibilities)
            reconstruction = (
                reconstruction - self.weights[name] * decoder.log_likelihood(counts, fractions, gate).mean()
            )
            imputed = torch.log1p(fractions * counts.totals[:, None])
            for x in (imputed, counts.log1p()):
                single = self.cycle_heads[name](self.cycle_channels[name](x))
                consistency = consistency + cycle_consistency(mean, variance, *single).mean()
        loss = reconstruction + kl_weight * (divergence + self.weights["consistency"] * consistency)
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence, "consistency": consistency}

    def epoch_end(self, epoch: int) -> None:
        """Fit the mixture to the codes once, when they say something."""
        if epoch == self.initialise_after:
            from models.parts.encoders import embed_in_order

            self.eval()
            codes = embed_in_order(self.data, self.embed)
            if not torch.isfinite(codes).all():
                raise DivergedError(f"codes are not finite after epoch {epoch}")
            self.prior.initialise(codes.cpu().numpy(), self.seed)

    def embed(self, batch: Minibatch) -> torch.Tensor:
        """Posterior mean."""
        return self.posterior(batch)[0]
