"""Attention blocks of scMVP: a mask for the RNA channel, multi-head self-attention for the ATAC channel."""

from __future__ import annotations

import torch
from torch import nn

from models.parts.layers import RobustBatchNorm


class MaskAttention(nn.Module):
    """``relu(BatchNorm(LayerNorm(h))) * mask(W h)``: the hidden layer weighted by an attention mask of itself.

    Parameters
    ----------
    width
        Width of the hidden layer.
    competing
        Whether the mask is a softmax (scMVP's decoder, formula 13), times the width so that its mean is one, or a
        sigmoid (its encoder, of which the paper prints no function; as in the release).
    """

    def __init__(self, width: int, competing: bool = True) -> None:
        super().__init__()
        self.layer_norm, self.batch_norm = nn.LayerNorm(width), RobustBatchNorm(width)
        self.mask, self.competing = nn.Linear(width, width), competing

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """n_rows x width."""
        mask = self.mask(hidden)
        mask = torch.softmax(mask, dim=1) * hidden.shape[1] if self.competing else torch.sigmoid(mask)
        return torch.relu(self.batch_norm(self.layer_norm(hidden))) * mask


class SelfAttention(nn.Module):
    """``LayerNorm(h + MultiHead(h, h, h))`` within a cell (scMVP, formulas 10 to 12).

    The hidden layer is cut into heads, and a head's features attend to each other: softmax of the outer product of its
    queries and keys, times its values. A key has one dimension, so d_k is 1, as in the release. No head sees another's
    values before the output layer.

    Parameters
    ----------
    width
        Width of the hidden layer (heads x dimensions of a head; 8 x 16 in the paper).
    n_heads
        Number of heads.
    """

    def __init__(self, width: int, n_heads: int = 8) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"width {width} is not a multiple of {n_heads} heads")
        self.n_heads, self.head_width = n_heads, width // n_heads
        self.batch_norm, self.layer_norm = RobustBatchNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """n_rows x width."""
        hidden = torch.relu(self.batch_norm(hidden))
        shape = (len(hidden), self.n_heads, self.head_width, 1)
        query, key, value = (layer(hidden).view(shape) for layer in (self.query, self.key, self.value))
        attention = torch.softmax(query @ key.transpose(2, 3), dim=3)
        return self.layer_norm(hidden + self.output((attention @ value).reshape(len(hidden), -1)))
