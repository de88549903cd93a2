"""Fusion: from the distributions of the single modalities to one for the cell."""

from __future__ import annotations

import torch


def product_of_experts(
    means: list[torch.Tensor],
    variances: list[torch.Tensor],
    masks: list[torch.Tensor],
    prior_mean: torch.Tensor,
    prior_variance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Product of the Gaussian prior and the Gaussian experts that are present (Wu and Goodman 2018).

    Parameters
    ----------
    means, variances
        One an expert, n_rows x n_latent.
    masks
        One an expert, boolean, n_rows: whether the cell has the modality.
    prior_mean, prior_variance
        n_latent: the prior expert.

    Returns
    -------
    tuple
        Mean and variance, n_rows x n_latent: precisions add, means are weighted by precisions.
    """
    precision = (1 / prior_variance).expand_as(means[0]).clone()
    weighted = (prior_mean / prior_variance).expand_as(means[0]).clone()
    for mean, variance, mask in zip(means, variances, masks):
        expert = torch.where(mask[:, None], 1 / variance.clamp_min(1e-12), torch.zeros_like(variance))
        precision = precision + expert
        weighted = weighted + expert * mean
    return weighted / precision, 1 / precision


def masked_weights(logits: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
    """Softmax of `logits` (n_rows x n_modalities) over the modalities that a cell has; zero for the others."""
    mask = torch.stack(masks, dim=1)
    return torch.softmax(logits.masked_fill(~mask, float("-inf")), dim=1)


def weighted_average(
    means: list[torch.Tensor], variances: list[torch.Tensor], weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Average of the modalities' parameters with `weights` w (n_rows x n_modalities): MultiVI's joint posterior.

    Returns
    -------
    tuple
        Mean ``sum w m``, and variance ``sum sqrt(w) v`` (so does scvi-tools 1.4.2; the paper leaves the variance open).
    """
    mean = sum(weights[:, [index]] * value for index, value in enumerate(means))
    # The square root has an infinite slope at the weight of a missing modality, zero.
    roots = torch.sqrt(weights.clamp_min(1e-12))
    variance = sum(roots[:, [index]] * value for index, value in enumerate(variances))
    return mean, variance


def mean_of_present(values: list[torch.Tensor], masks: list[torch.Tensor]) -> torch.Tensor:
    """Mean over the modalities that a cell has: the mean of an equally weighted mixture of experts."""
    mask = torch.stack(masks, dim=1).to(values[0].dtype)
    stacked = torch.stack(values, dim=1)
    return (stacked * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
