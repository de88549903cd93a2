"""Count losses computed together with the output layer that feeds them, and with gradients in closed form.

Autograd would keep a dozen matrices of cells x features alive for each of these and walk over them several
times. Here the matrices lie features x cells, as the products with the layers' weights run fastest that way, every
step works in place, and the gradients are formed in the forward pass, while their pieces are at hand. On the processor
compiled loops do the same (:mod:`models.parts.compiled_losses`); the operations of torch here are for other devices.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from models.parts import compiled_losses
from models.parts.counts import SparseRows
from models.parts.likelihoods import EPSILON, log_rising_factorial_at

_BELOW_ONE = 1 - 2**-24
"""Largest float32 below one."""


def _log_sum(ratios: torch.Tensor) -> torch.Tensor:
    """Sum over the first axis of log(`ratios`), which lie in [2^-31, 1]; overwrites them.

    Four of them are multiplied before a logarithm is taken, which costs ten times as much as a product.
    """
    quarter = len(ratios) // 4
    halves = ratios[: 2 * quarter].mul_(ratios[2 * quarter : 4 * quarter])
    total = torch.log_(halves[:quarter].mul_(halves[quarter:])).sum(0)
    return total if len(ratios) == 4 * quarter else total.add_(torch.log(ratios[4 * quarter :]).sum(0))


def _scaled_by(gradient: torch.Tensor, parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """`parts` times the incoming scalar `gradient`; training multiplies its loss by nothing, then as they are."""
    if gradient.device.type == "cpu" and gradient.item() == 1.0:
        return parts
    return tuple(part * gradient for part in parts)


def _on_processor(hidden: torch.Tensor) -> bool:
    return hidden.device.type == "cpu" and hidden.dtype == torch.float32


def _factored_bernoulli(hidden, weight, bias, factor, region, row_weights, counts, chunk, needs):
    """:func:`models.parts.compiled_losses.factored_bernoulli` on any device."""
    n_rows, n_features = counts.n_rows, counts.n_features
    order = counts.by_feature
    boundaries = order.offsets[torch.arange(0, n_features + chunk, chunk).clamp_max_(n_features)].tolist()
    region = region[:, None]
    hidden_t, weighted = hidden.t().contiguous(), hidden * row_weights[:, None]
    row_loss = hidden.new_zeros(n_rows)
    log_odds = torch.empty_like(order.values)
    first, second, third = hidden.new_empty(3, min(chunk, n_features), n_rows)
    if needs:
        by_factor, by_hidden = torch.zeros_like(row_loss), torch.zeros_like(hidden_t)
        by_weight, by_bias, by_region = torch.empty_like(weight), torch.empty_like(bias), torch.empty_like(bias)
    for index, start in enumerate(range(0, n_features, chunk)):
        stop = min(start + chunk, n_features)
        size, inside = stop - start, slice(boundaries[index], boundaries[index + 1])
        probability = torch.addmm(bias[start:stop, None], weight[start:stop], hidden_t, out=first[:size])
        torch.sigmoid_(probability)
        odds = torch.mul(probability, region[start:stop], out=second[:size]).mul_(factor)
        complement = torch.sub(1, odds, out=third[:size])
        odds.div_(complement)
        # Ones are counted as zeros first, -log(1 - q); -log q is that minus the log odds.
        row_loss -= _log_sum(complement)
        ones = order.flat[inside] - start * n_rows
        torch.index_select(odds.view(-1), 0, ones, out=log_odds[inside])
        if needs:
            odds.view(-1).index_fill_(0, ones, -1.0)
            by_factor += odds.sum(0)
            torch.mv(odds, row_weights, out=by_region[start:stop])
            gradient = torch.addcmul(odds, odds, probability, value=-1, out=probability)
            torch.mm(gradient, weighted, out=by_weight[start:stop])
            torch.mv(gradient, row_weights, out=by_bias[start:stop])
            by_hidden.addmm_(weight[start:stop].t(), gradient)
    # The floor is that of torch's BCELoss.
    row_loss.index_add_(0, order.rows, log_odds.log_().clamp_min_(-100), alpha=-1)
    if not needs:
        return row_loss, ()
    by_region *= 1 - region[:, 0]
    return row_loss, (by_hidden.t() * row_weights[:, None], by_weight, by_bias, by_factor * row_weights, by_region)


class _FactoredBernoulli(torch.autograd.Function):
    """Bernoulli(sigmoid(logits) l r) with a linear output layer, chunk by chunk of features.

    With p = sigmoid(a) and q = p l r, the gradient of -log likelihood by a is w (1 - p), where w is q / (1 - q)
    at zeros and -1 at ones; w / l and w (1 - r) are the gradients by l and by the logit of r.
    """

    @staticmethod
    def forward(context, hidden, weight, bias, cell_factor, region_logits, row_weights, counts, chunk, needs, compiled):
        # Never one, so that no logarithm of zero is taken; q is then below one as well.
        factor, region = cell_factor.clamp_max(_BELOW_ONE), torch.sigmoid(region_logits)
        way = compiled_losses.factored_bernoulli if compiled else _factored_bernoulli
        row_loss, gradients = way(hidden, weight, bias, factor, region, row_weights, counts, chunk, needs)
        if needs:
            by_hidden, by_weight, by_bias, by_log_factor, by_region = gradients
            context.save_for_backward(by_hidden, by_weight, by_bias, by_log_factor / factor, by_region)
        context.mark_non_differentiable(row_loss)
        return (row_loss * row_weights).sum(), row_loss

    @staticmethod
    def backward(context, gradient, _):
        return *_scaled_by(gradient, context.saved_tensors), None, None, None, None, None


def factored_bernoulli_loss(
    counts: SparseRows,
    hidden: torch.Tensor,
    output: torch.nn.Linear,
    cell_factor: torch.Tensor,
    region_logits: torch.Tensor,
    row_weights: torch.Tensor,
    chunk: int | None = None,
    compiled: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log likelihood of accessibility, Bernoulli(p_cj l_c r_j) (PeakVI, MultiVI), output layer included.

    Parameters
    ----------
    counts
        Accessibility; every stored entry counts as open.
    hidden
        Last hidden layer of the decoder, n_rows x width; p = sigmoid(output(hidden)).
    output
        Linear layer to the features.
    cell_factor
        l, in (0, 1), n_rows.
    region_logits
        r = sigmoid(region_logits), n_features.
    row_weights
        Weight of each row in the loss, n_rows (1 / batch size for a mean).
    chunk
        Features handled at a time; left out, as many as a processor's caches hold.
    compiled
        Whether the loops compiled for the processor are used; left out, for float32 there.

    Returns
    -------
    tuple
        The weighted sum over the rows (differentiable), and the loss of each row (not differentiable).
    """
    compiled = _on_processor(hidden) if compiled is None else compiled
    if chunk is None and compiled:
        chunk = compiled_losses.chunk_size(counts.n_rows)
    elif chunk is None:
        chunk = max(64, (2**17 if hidden.device.type == "cpu" else 2**25) // max(counts.n_rows, 1))
    return _FactoredBernoulli.apply(
        hidden,
        output.weight,
        output.bias,
        cell_factor,
        region_logits,
        row_weights,
        counts,
        chunk,
        torch.is_grad_enabled(),
        compiled,
    )


def _zero_inflated_negative_binomial(
    hidden, scale_weight, scale_bias, gate_weight, gate_bias, theta, library, row_weights, counts, needs
):
    """:func:`models.parts.compiled_losses.zero_inflated_negative_binomial` on any device."""
    order, x = counts.by_feature, counts.by_feature.values
    flat, columns = order.flat, order.columns
    divisor = theta + EPSILON
    hidden_t = hidden.t().contiguous()
    gate = torch.addmm(gate_bias[:, None], gate_weight, hidden_t)
    t = torch.addmm(scale_bias[:, None], scale_weight, hidden_t)
    t = torch.softmax(t, 0).mul_(library).mul_((1 / divisor)[:, None])
    log_ratio = torch.log1p(t)
    b = torch.addcmul(gate, theta[:, None], log_ratio)
    b_at, t_at, log_ratio_at = (value.view(-1).index_select(0, flat) for value in (b, t, log_ratio))
    a = torch.sigmoid(gate)
    if gate.numel() and gate.amin() >= -20:
        torch.sigmoid_(b)
        row_loss = -_log_sum(torch.div(a, b, out=gate))
    else:
        # The ratio, or a product of ratios, would underflow.
        row_loss = (functional.softplus(-gate) - functional.softplus(-b)).sum(0)
        torch.sigmoid_(b)
    divisor_at = divisor[columns]
    mean_at = t_at * divisor_at
    rising, rising_derivative = log_rising_factorial_at(theta, columns, x, derivative=needs)
    excess = torch.log((mean_at + EPSILON) / divisor_at).sub_(log_ratio_at).mul_(x)
    row_loss.index_add_(0, order.rows, excess.add_(rising).sub_(functional.softplus(b_at)), alpha=-1)
    row_loss += counts.log_factorials
    if not needs:
        return row_loss, ()
    negative, weighted = -row_weights, hidden * -row_weights[:, None]
    b.view(-1).index_fill_(0, flat, 0.0)
    by_gate = torch.sub(b, a, out=a)
    not_inflated = torch.sub(1, b, out=b)
    k = torch.div(t, torch.add(t, 1, out=gate), out=gate)
    k_at = k.view(-1).index_select(0, flat)
    k.mul_(not_inflated)
    by_theta = theta / divisor * torch.mv(k, row_weights) - torch.mv(log_ratio.mul_(not_inflated), row_weights)
    of_entries = (rising_derivative - x * (1 - k_at) / divisor_at) * row_weights[order.rows]
    by_theta.index_add_(0, columns, of_entries)
    by_log_mean = k.mul_(-theta[:, None])
    by_log_mean.view(-1).index_add_(0, flat, x * (mean_at / (mean_at + EPSILON) - k_at))
    by_library = by_log_mean.sum(0)
    # Through the softmax; its frequencies are t theta / library.
    by_scale = by_log_mean.addcmul_(t.mul_(divisor[:, None]), by_library / library, value=-1)
    by_hidden = torch.mm(scale_weight.t(), by_scale).addmm_(gate_weight.t(), by_gate)
    return row_loss, (
        by_hidden.t() * negative[:, None],
        torch.mm(by_scale, weighted),
        torch.mv(by_scale, negative),
        torch.mm(by_gate, weighted),
        torch.mv(by_gate, negative),
        by_theta * -theta,
        by_library * negative,
    )


class _ZeroInflatedNegativeBinomial(torch.autograd.Function):
    """Zero-inflated NB with the two output layers for the gene frequencies and for the inflation.

    With t = mu / theta, k = t / (1 + t), the log probability of an NB zero is -theta log(1 + t), its gradient by
    log mu is -theta k and by theta k - log(1 + t). A drawn zero is an NB zero with probability 1 - b, where
    b = sigmoid(gate + theta log(1 + t)); a nonzero count is none of the inflation's, b = 0. Hence with
    a = sigmoid(gate) the gradient of the log likelihood by the gate is b - a, whatever the count, and those by
    mu and theta are the NB's, times 1 - b at zeros. (theta is theta + 1e-8 where it divides.)
    """

    @staticmethod
    def forward(
        context,
        hidden,
        scale_weight,
        scale_bias,
        gate_weight,
        gate_bias,
        log_dispersion,
        log_library,
        row_weights,
        counts,
        needs,
        compiled,
    ):
        theta, library = torch.exp(log_dispersion), torch.exp(log_library)
        way = compiled_losses.zero_inflated_negative_binomial if compiled else _zero_inflated_negative_binomial
        layers = (scale_weight, scale_bias, gate_weight, gate_bias)
        row_loss, gradients = way(hidden, *layers, theta, library, row_weights, counts, needs)
        context.save_for_backward(*gradients)
        context.mark_non_differentiable(row_loss)
        return (row_loss * row_weights).sum(), row_loss

    @staticmethod
    def backward(context, gradient, _):
        return *_scaled_by(gradient, context.saved_tensors), None, None, None, None


def zero_inflated_negative_binomial_loss(
    counts: SparseRows,
    hidden: torch.Tensor,
    scale: torch.nn.Linear,
    gate: torch.nn.Linear,
    log_dispersion: torch.Tensor,
    log_library: torch.Tensor,
    row_weights: torch.Tensor,
    compiled: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log likelihood of expression, zero-inflated NB (scVI, MultiVI), output layers included.

    Parameters
    ----------
    counts
        Expression.
    hidden
        Last hidden layer of the decoder, n_rows x width.
    scale
        Linear layer to the logits of the gene frequencies rho; mu = library softmax(scale(hidden)).
    gate
        Linear layer to the logits of the inflation.
    log_dispersion
        log theta, n_features.
    log_library
        log library size, n_rows.
    row_weights
        Weight of each row in the loss, n_rows.
    compiled
        Whether the loops compiled for the processor are used; left out, for float32 there.

    Returns
    -------
    tuple
        The weighted sum over the rows (differentiable), and the loss of each row (not differentiable).
    """
    return _ZeroInflatedNegativeBinomial.apply(
        hidden,
        scale.weight,
        scale.bias,
        gate.weight,
        gate.bias,
        log_dispersion,
        log_library,
        row_weights,
        counts,
        torch.is_grad_enabled(),
        _on_processor(hidden) if compiled is None else compiled,
    )
