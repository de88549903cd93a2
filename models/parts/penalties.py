"""Penalties that pull the modalities' latent representations together."""

from __future__ import annotations

import torch
from torch.nn import functional

from models.parts.priors import gaussian_divergence


def jeffreys(
    mean: torch.Tensor, variance: torch.Tensor, other_mean: torch.Tensor, other_variance: torch.Tensor
) -> torch.Tensor:
    """Symmetric KL divergence of two diagonal Gaussians, summed over the dimensions: n_rows.

    The logarithms of the two divergences cancel: ``((v + d^2) / w + (w + d^2) / v) / 2 - 1`` a dimension, with the
    variances v and w and the distance d of the means.
    """
    square = (mean - other_mean).square()
    ratios = (variance + square) / other_variance + (other_variance + square) / variance
    return 0.5 * ratios.sum(1) - mean.shape[1]


def pairwise(penalty, parameters: list[tuple[torch.Tensor, ...]], masks: list[torch.Tensor]) -> torch.Tensor:
    """Sum of `penalty` over all pairs of modalities, zero where a cell lacks one of the two: n_rows."""
    total = torch.zeros(len(masks[0]), device=masks[0].device)
    for first in range(len(parameters)):
        for second in range(first + 1, len(parameters)):
            both = torch.nonzero(masks[first] & masks[second]).ravel()
            if len(both) == len(total):
                total = total + penalty(*parameters[first], *parameters[second])
            elif len(both):
                left = [value[both] for value in parameters[first]]
                right = [value[both] for value in parameters[second]]
                total = total.index_add(0, both, penalty(*left, *right))
    return total


def maximum_mean_discrepancy(
    x: torch.Tensor, y: torch.Tensor, bandwidths: tuple[float, ...] | None = None
) -> torch.Tensor:
    """Squared maximum mean discrepancy of two samples (n x d and m x d) with a sum of Gaussian kernels: a scalar.

    Biased estimate ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`` (Gretton et al. 2012), non-negative.
    `bandwidths` are squared; left out, they are 0.5, 1 and 2 times the median squared distance.
    """
    joint = torch.cat((x, y))
    squares = torch.cdist(joint, joint).square()
    if bandwidths is None:
        median = squares.detach().median().clamp_min(1e-6)
        kernel = sum(torch.exp(-squares / (2 * factor * median)) for factor in (0.5, 1.0, 2.0))
    else:
        kernel = sum(torch.exp(-squares / (2 * bandwidth)) for bandwidth in bandwidths)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def latent_distance(mean: torch.Tensor, other_mean: torch.Tensor) -> torch.Tensor:
    """Euclidean distance of two modalities' means: n_rows. scvi-tools' MULTIVI calls this "MMD"."""
    return torch.linalg.norm(mean - other_mean, dim=1)


def cosine_correspondence(x: torch.Tensor, translated: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine similarity of rows and their translations (Portal): a scalar in [0, 2]."""
    return (1 - functional.cosine_similarity(x, translated, dim=1)).mean()


def latent_alignment(z: torch.Tensor, returned: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of codes and of the codes of their translations (Portal's latent consistency): a scalar."""
    return (z - returned).square().mean()


def cycle_consistency(
    mean: torch.Tensor, variance: torch.Tensor, imputed_mean: torch.Tensor, imputed_variance: torch.Tensor
) -> torch.Tensor:
    """KL(q(z | x, y) || q(z | imputed)) (scMVP, Eq. 15): n_rows."""
    return gaussian_divergence(mean, variance, imputed_mean, imputed_variance)
