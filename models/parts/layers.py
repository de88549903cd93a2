"""Fully connected layers with the normalisations that the papers use."""

from __future__ import annotations

from typing import Callable

import torch
from torch import nn

from models.parts.counts import SparseRows
from models.parts.sparse_linear import SparseLinear


class Perceptron(nn.Module):
    """Hidden layers: linear, normalisation, activation, dropout, repeated.

    Parameters
    ----------
    n_in
        Input features.
    widths
        Width of each hidden layer.
    normalisation
        ``layer`` (without learned scale, as scvi-tools has it), ``batch`` or ``none``.
    activation
        Makes the activation module.
    dropout
        Share of units dropped in training, 0 to 1.
    sparse
        Whether the input is :class:`SparseRows`; the first layer is then a :class:`SparseLinear`.
    n_covariates
        Columns (one-hot batches) appended to the input of the first layer; dense input only.
    deep_covariates
        Whether they are appended to the input of every layer.
    """

    def __init__(
        self,
        n_in: int,
        widths: tuple[int, ...],
        normalisation: str = "none",
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        sparse: bool = False,
        n_covariates: int = 0,
        deep_covariates: bool = False,
    ) -> None:
        super().__init__()
        if normalisation not in ("layer", "batch", "none"):
            raise ValueError(f"unknown normalisation {normalisation!r}; known: layer, batch, none")
        self.sparse, self.n_out, self.deep_covariates = sparse, widths[-1], deep_covariates
        layers: list[nn.Module] = []
        for index, width in enumerate(widths):
            if index == 0:
                layers.append(SparseLinear(n_in, width) if sparse else nn.Linear(n_in + n_covariates, width))
            else:
                layers.append(nn.Linear(widths[index - 1] + n_covariates * deep_covariates, width))
            if normalisation == "layer":
                layers.append(nn.LayerNorm(width, elementwise_affine=False))
            elif normalisation == "batch":
                layers.append(RobustBatchNorm(width))
            layers.append(activation())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor | SparseRows, covariates: torch.Tensor | None = None) -> torch.Tensor:
        """n_rows x widths[-1]."""
        appended = covariates is not None and covariates.shape[1] > 0
        for index, layer in enumerate(self.layers):
            if appended and isinstance(layer, nn.Linear) and (index == 0 or self.deep_covariates):
                x = torch.cat((x, covariates), dim=1)
            x = layer(x)
        return x


class RobustBatchNorm(nn.BatchNorm1d):
    """Batch normalisation that falls back to its running statistics for a batch of fewer than two rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        if self.training and len(x) < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)


class DomainBatchNorm(nn.Module):
    """Batch normalisation with statistics, scale and shift of its own for each domain (SCALEX).

    Parameters
    ----------
    n_features
        Columns.
    n_domains
        Number of domains.
    """

    def __init__(self, n_features: int, n_domains: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RobustBatchNorm(n_features) for _ in range(n_domains))

    def forward(self, x: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """Same shape; `domain` is int64, n_rows."""
        if len(self.norms) == 1:
            return self.norms[0](x)
        out = torch.zeros_like(x)
        for index, norm in enumerate(self.norms):
            rows = torch.nonzero(domain == index).ravel()
            if len(rows):
                out = out.index_copy(0, rows, norm(x[rows]))
        return out
