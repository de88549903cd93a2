"""The losses of :mod:`models.parts.output_losses` on the processor: fast products, and loops compiled by numba."""

from __future__ import annotations

import torch

from models.parts import loss_kernels
from models.parts.counts import SparseRows
from models.parts.likelihoods import rising_factorial_tables
from models.parts.products import by_onednn, product, product_over_rows


def chunk_size(n_rows: int) -> int:
    """Features handled at a time: so many that their logits, 0.5 MiB, stay in a processor's caches.

    All of them where oneDNN multiplies, each product of which has a cost of its own.
    """
    return max(64, 2 ** (21 if by_onednn() else 17) // max(n_rows, 1))


def factored_bernoulli(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    factor: torch.Tensor,
    region: torch.Tensor,
    row_weights: torch.Tensor,
    counts: SparseRows,
    chunk: int,
    needs: bool,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Loss of each row; gradients by hidden, weight, bias, log factor and region logits, none unless `needs`.

    `region` is r, n_features, and `factor` l, below one; the gradients are those of the weighted sum of the losses.
    """
    order, n_features = counts.by_feature, counts.n_features
    row_loss, by_factor = torch.zeros(2, counts.n_rows, dtype=torch.float64).unbind()
    by_bias, by_region = torch.empty_like(bias), torch.empty_like(region)
    hidden_t = hidden.t().contiguous()
    by_weight = torch.empty_like(weight) if chunk < n_features else None
    by_hidden = torch.zeros_like(hidden_t)
    for start in range(0, n_features, chunk):
        part = slice(start, min(start + chunk, n_features))
        logits = product(weight[part], hidden)
        loss_kernels.factored_bernoulli(
            logits.numpy(),
            bias[part].numpy(),
            region[part].numpy(),
            order.offsets[start : part.stop + 1].numpy(),
            order.rows.numpy(),
            factor.numpy(),
            row_weights.numpy(),
            row_loss.numpy(),
            by_factor.numpy(),
            by_bias[part].numpy(),
            by_region[part].numpy(),
        )
        if needs:
            made = product(logits, hidden_t, out=None if by_weight is None else by_weight[part])
            by_hidden += product_over_rows(weight[part], logits)
    row_loss = row_loss.to(hidden.dtype)
    if not needs:
        return row_loss, ()
    by_weight = made if by_weight is None else by_weight
    by_factor = by_factor.to(hidden.dtype).mul_(row_weights)
    return row_loss, (by_hidden.t(), by_weight, by_bias, by_factor, by_region.mul_(1 - region))


def zero_inflated_negative_binomial(
    hidden: torch.Tensor,
    scale_weight: torch.Tensor,
    scale_bias: torch.Tensor,
    gate_weight: torch.Tensor,
    gate_bias: torch.Tensor,
    theta: torch.Tensor,
    library: torch.Tensor,
    row_weights: torch.Tensor,
    counts: SparseRows,
    needs: bool,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Loss of each row; gradients by hidden, the two layers, log dispersion and log library, none unless `needs`."""
    order = counts.by_feature
    gate, ratios = product(gate_weight, hidden), product(scale_weight, hidden)
    by_scale = torch.empty_like(ratios)
    rising, rising_derivative = rising_factorial_tables(theta, derivative=True)
    row_loss, by_library = torch.zeros(2, counts.n_rows, dtype=torch.float64).unbind()
    by_gate_bias, by_scale_bias, by_dispersion = torch.empty(3, counts.n_features).unbind()
    totals = torch.from_numpy(loss_kernels.exponentials(ratios.numpy(), scale_bias.detach().numpy()))
    loss_kernels.zero_inflated_negative_binomial(
        gate.numpy(),
        gate_bias.detach().numpy(),
        ratios.numpy(),
        (library / totals).numpy(),
        theta.numpy(),
        order.offsets.numpy(),
        order.rows.numpy(),
        order.values.numpy(),
        rising.numpy(),
        rising_derivative.numpy(),
        row_weights.numpy(),
        by_scale.numpy(),
        row_loss.numpy(),
        by_library.numpy(),
        by_gate_bias.numpy(),
        by_dispersion.numpy(),
    )
    row_loss = row_loss.to(hidden.dtype).add_(counts.log_factorials)
    if not needs:
        return row_loss, ()
    loss_kernels.through_softmax(
        by_scale.numpy(),
        ratios.numpy(),
        totals.numpy(),
        by_library.numpy(),
        row_weights.numpy(),
        by_scale_bias.numpy(),
    )
    hidden_t = hidden.t().contiguous()
    by_hidden = product_over_rows(scale_weight, by_scale)
    by_hidden += product_over_rows(gate_weight, gate)
    return row_loss, (
        by_hidden.t(),
        product(by_scale, hidden_t),
        by_scale_bias,
        product(gate, hidden_t),
        by_gate_bias,
        by_dispersion,
        -by_library.to(hidden.dtype) * row_weights,
    )
