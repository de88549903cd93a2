"""Matrix products on the processor."""

from __future__ import annotations

from functools import cache

import torch


@cache
def by_onednn() -> bool:
    """Whether oneDNN multiplies: with AVX-512 it does so about twice as fast as MKL on an AMD processor.

    MKL, which ``torch.mm`` calls, uses AVX-512 on Intel's processors only. With AVX2 neither is faster.
    """
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """``left @ right.T``, float32 on the processor, without gradient.

    Parameters
    ----------
    left
        m x k, contiguous.
    right
        n x k, contiguous or the transpose of a contiguous matrix.
    out
        m x n, contiguous, to be written; a new matrix if left out.
    """
    if by_onednn() and left.numel() and right.numel():
        made = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        return made if out is None else out.copy_(made)
    return torch.mm(left, right.t(), out=out)


def product_over_rows(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left.T @ right``, float32 on the processor, without gradient; `left` k x m and `right` k x n, contiguous."""
    if by_onednn():
        return product(left.t().contiguous(), right.t())
    return torch.mm(left.t(), right)
