"""A linear layer whose input is sparse: neither its forward nor its backward pass touches a zero."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from models.parts.counts import SparseRows


class _SparseProduct(torch.autograd.Function):
    """X W for sparse X (n_rows x n_features) and dense W (n_features x n_out); gradient X'g, by feature."""

    @staticmethod
    def forward(context, weight: torch.Tensor, rows: SparseRows) -> torch.Tensor:
        context.rows = rows
        # Detached: embedding_bag prepares for a gradient of its own wherever its weight needs one.
        return functional.embedding_bag(
            rows.columns, weight.detach(), rows.offsets[:-1], mode="sum", per_sample_weights=rows.values
        )

    @staticmethod
    def backward(context, gradient: torch.Tensor):
        order = context.rows.by_feature
        gradient = functional.embedding_bag(
            order.rows, gradient.contiguous(), order.offsets[:-1], mode="sum", per_sample_weights=order.values
        )
        return gradient, None


class SparseLinear(nn.Module):
    """``y = x W + b`` for sparse rows x; initialised as :class:`torch.nn.Linear` is.

    Parameters
    ----------
    n_features, n_out
        Sizes. The weight is stored n_features x n_out (the transpose of torch's), so that a feature is a row.
    bias
        Whether b is there.
    """

    def __init__(self, n_features: int, n_out: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(n_features, 1))
        self.weight = nn.Parameter(torch.empty(n_features, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound)) if bias else None

    def forward(self, rows: SparseRows | torch.Tensor) -> torch.Tensor:
        """n_rows x n_out; a dense input (imputed counts) is taken too."""
        product = rows @ self.weight if isinstance(rows, torch.Tensor) else _SparseProduct.apply(self.weight, rows)
        return product if self.bias is None else product + self.bias
