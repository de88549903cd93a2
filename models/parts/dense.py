"""Dense rows with a domain each, for models whose input is not counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class DenseRows:
    """Rows of a dense matrix and the domain (batch, modality) of each; cuts mini-batches of itself.

    Attributes
    ----------
    x
        float32, rows x features.
    domain
        int64, rows.
    n_domains
        Number of domains.
    """

    x: torch.Tensor
    domain: torch.Tensor
    n_domains: int

    @property
    def n_observations(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def size(self) -> int:
        """Number of rows, as a mini-batch has it."""
        return len(self.x)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.x.device

    def minibatch(self, positions: torch.Tensor) -> "DenseRows":
        """The rows at `positions`."""
        return DenseRows(self.x[positions], self.domain[positions], self.n_domains)

    def in_order(self, size: int = 1024):
        """Iterate over all rows in their order, `size` at a time."""
        for positions in torch.arange(len(self.x), device=self.x.device).split(size):
            yield self.minibatch(positions)
