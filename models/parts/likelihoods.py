"""Likelihoods of counts that evaluate lgamma and log terms of the data at nonzero counts only.

Each count distribution is written as two pieces: ``log_zero``, the log probability of a zero for every cell
and feature (dense), and ``excess``, log p(x) - log p(0) at the nonzero counts. The log likelihood of a cell
is then ``sum(log_zero) + sum(excess)``, and zero inflation needs no more than the two pieces.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from models.parts.counts import SparseRows

EPSILON = 1e-8
"""Added inside logarithms, as scvi-tools does."""


class _AtNonzeros(torch.autograd.Function):
    """Values of a dense matrix at the nonzero counts; the backward pass writes each position once."""

    @staticmethod
    def forward(context, dense: torch.Tensor, counts: SparseRows) -> torch.Tensor:
        context.counts, context.shape = counts, dense.shape
        return dense.reshape(-1)[counts.flat]

    @staticmethod
    def backward(context, gradient: torch.Tensor):
        dense = torch.zeros(context.shape[0] * context.shape[1], dtype=gradient.dtype, device=gradient.device)
        # Positions are distinct: a plain write, not the slow accumulating one.
        dense[context.counts.flat] = gradient
        return dense.view(context.shape), None


def at_nonzeros(dense: torch.Tensor, counts: SparseRows) -> torch.Tensor:
    """Values of `dense` (n_rows x n_features, n_features or n_rows x 1) at the entries of `counts`."""
    if dense.ndim == 1:
        return dense[counts.columns]
    if dense.shape[1] == 1 and counts.n_features != 1:
        return dense[:, 0][counts.row_of]
    return _AtNonzeros.apply(dense, counts)


class _LogRisingFactorial(torch.autograd.Function):
    """lgamma(x + theta) - lgamma(theta) = sum of log(theta + k) for k < x, for one theta a feature.

    Counts are small integers, so the sums are read from a table of n_features x (LARGEST + 1); only counts
    beyond it meet lgamma and digamma.
    """

    LARGEST = 7

    @staticmethod
    def forward(context, theta: torch.Tensor, counts: SparseRows) -> torch.Tensor:
        x, columns, largest = counts.values, counts.columns, _LogRisingFactorial.LARGEST
        steps = theta.detach()[:, None] + torch.arange(largest, device=theta.device)
        table = functional.pad(torch.log(steps).cumsum(1), (1, 0)).reshape(-1)
        index = x.clamp_max(largest).long()
        position = index.add_(columns, alpha=largest + 1)
        # A count that is no integer (none should be) would be read wrongly: send it to the exact branch too.
        beyond = torch.nonzero((x > largest) | (x != x.floor())).ravel()
        value = table[position]
        at = theta[columns[beyond]]
        value[beyond] = torch.lgamma(x[beyond] + at) - torch.lgamma(at)
        context.save_for_backward(theta, position, beyond)
        context.counts = counts
        return value

    @staticmethod
    def backward(context, gradient: torch.Tensor):
        theta, position, beyond = context.saved_tensors
        counts, largest = context.counts, _LogRisingFactorial.LARGEST
        steps = theta[:, None] + torch.arange(largest, device=theta.device)
        table = functional.pad((1 / steps).cumsum(1), (1, 0))
        within = gradient.clone()
        within[beyond] = 0
        weights = torch.zeros(table.numel(), dtype=gradient.dtype, device=theta.device).index_add_(0, position, within)
        result = (weights.view_as(table) * table).sum(1)
        columns = counts.columns[beyond]
        exact = torch.digamma(counts.values[beyond] + theta[columns]) - torch.digamma(theta[columns])
        return result.index_add(0, columns, gradient[beyond] * exact), None


def log_rising_factorial(dispersion: torch.Tensor, counts: SparseRows) -> torch.Tensor:
    """lgamma(x + theta) - lgamma(theta) at the entries; `dispersion` is n_features or n_rows x n_features."""
    if dispersion.ndim == 1:
        return _LogRisingFactorial.apply(dispersion, counts)
    theta = at_nonzeros(dispersion, counts)
    return torch.lgamma(counts.values + theta) - torch.lgamma(theta)


def poisson(counts: SparseRows, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Poisson with `mean` (n_rows x n_features, positive): log_zero and excess, the latter without -log x!."""
    return -mean, counts.values * torch.log(at_nonzeros(mean, counts) + EPSILON)


def negative_binomial(
    counts: SparseRows, mean: torch.Tensor, dispersion: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """NB with `mean` mu and inverse `dispersion` theta (variance mu + mu^2 / theta): log_zero and excess.

    Parameters
    ----------
    mean
        Positive, n_rows x n_features.
    dispersion
        Positive, n_features or n_rows x n_features.

    Returns
    -------
    tuple
        ``theta (log theta - log(theta + mu))`` dense, and at nonzeros
        ``x (log mu - log(theta + mu)) + lgamma(x + theta) - lgamma(theta)``; -log x! is left out.
    """
    log_sum = torch.log(dispersion + mean + EPSILON)
    log_zero = dispersion * (torch.log(dispersion + EPSILON) - log_sum)
    excess = counts.values * (torch.log(at_nonzeros(mean, counts) + EPSILON) - at_nonzeros(log_sum, counts))
    return log_zero, excess + log_rising_factorial(dispersion, counts)


def negative_binomial_logits(
    counts: SparseRows, total_count: torch.Tensor, logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """NB in the parametrisation of scMM: `total_count` r > 0 and success `logits`; both n_rows x n_features.

    log_zero is ``r log(1 - p)``; excess is ``x log p + lgamma(x + r) - lgamma(r)``, without -log x!.
    """
    excess = counts.values * functional.logsigmoid(at_nonzeros(logits, counts))
    excess = excess + log_rising_factorial(total_count, counts)
    return -total_count * functional.softplus(logits), excess


def log_likelihood(counts: SparseRows, pieces: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Log likelihood of each row, log factorials included: n_rows."""
    log_zero, excess = pieces
    return log_zero.sum(1) + counts.sum_rows(excess) - counts.log_factorials


def zero_inflated_log_likelihood(
    counts: SparseRows, pieces: tuple[torch.Tensor, torch.Tensor], gate_logits: torch.Tensor
) -> torch.Tensor:
    """Log likelihood of each row when a zero is also drawn with probability sigmoid(`gate_logits`): n_rows.

    log p(0) = log(g + (1 - g) p0) = softplus(log p0 - pi) - softplus(-pi) with g = sigmoid(pi), and
    log p(x > 0) = log(1 - g) + log p0 + excess.
    """
    log_zero, excess = pieces
    inflated = log_zero - gate_logits
    softplus = functional.softplus(inflated)
    dense = softplus - functional.softplus(-gate_logits)
    excess = excess + at_nonzeros(inflated - softplus, counts)
    return dense.sum(1) + counts.sum_rows(excess) - counts.log_factorials


def negative_binomial_mixture_log_likelihood(
    counts: SparseRows,
    background: torch.Tensor,
    foreground: torch.Tensor,
    dispersion: torch.Tensor,
    background_logits: torch.Tensor,
) -> torch.Tensor:
    """Log likelihood of each row under a mixture of two NB with one dispersion (totalVI's proteins): n_rows.

    Parameters
    ----------
    background, foreground
        Means, n_rows x n_features.
    dispersion
        Positive, n_features.
    background_logits
        n_rows x n_features; logit of the probability of the background component.

    Notes
    -----
    lgamma terms do not depend on the component, so they leave the log-sum-exp and stay at nonzeros. Proteins
    are few and rarely zero, hence the rest is dense.
    """
    x = counts.dense()
    log_theta = torch.log(dispersion + EPSILON)
    components = []
    for mean in (background, foreground):
        log_sum = torch.log(dispersion + mean + EPSILON)
        components.append(dispersion * (log_theta - log_sum) + x * (torch.log(mean + EPSILON) - log_sum))
    mixed = torch.logaddexp(components[0], components[1] - background_logits) - functional.softplus(-background_logits)
    return mixed.sum(1) + counts.sum_rows(log_rising_factorial(dispersion, counts)) - counts.log_factorials


def multinomial_log_likelihood(counts: SparseRows, logits: torch.Tensor) -> torch.Tensor:
    """Log likelihood of each row under a multinomial with softmax(`logits`), without the coefficient: n_rows."""
    log_normaliser = torch.logsumexp(logits, dim=1)
    return counts.sum_rows(counts.values * at_nonzeros(logits, counts)) - counts.totals * log_normaliser


class _FactoredBernoulli(torch.autograd.Function):
    """Bernoulli(sigmoid(logits) l r) with a linear output layer, chunk by chunk of features.

    Output, loss and the gradients of the layer are computed while a chunk is in the processor's cache; with
    q = sigmoid(a) l r the gradient of -log likelihood by a is w (1 - sigmoid(a)), where w is q / (1 - q) at
    zeros and -1 at ones, and w also carries the gradients of l and r.
    """

    @staticmethod
    def forward(context, hidden, weight, bias, cell_factor, region_logits, row_weights, counts, chunk):
        n_rows, n_features = counts.n_rows, counts.n_features
        needs = any(context.needs_input_grad)
        row_loss = torch.zeros(n_rows, device=hidden.device)
        cell_gradient = torch.zeros(n_rows, device=hidden.device)
        if needs:
            hidden_gradient = torch.zeros_like(hidden)
            weight_gradient, bias_gradient = torch.empty_like(weight), torch.empty_like(bias)
            region_gradient = torch.empty_like(region_logits)
        rows_by_feature, _, feature_offsets = counts.by_feature
        boundaries = feature_offsets[[*range(0, n_features, chunk), n_features]].tolist()
        columns_by_feature = torch.repeat_interleave(
            torch.arange(n_features, device=hidden.device), feature_offsets.diff(), output_size=len(rows_by_feature)
        )
        region = torch.sigmoid(region_logits)
        for index, start in enumerate(range(0, n_features, chunk)):
            stop = min(start + chunk, n_features)
            logits = torch.addmm(bias[start:stop], hidden, weight[start:stop].t())
            probability = torch.sigmoid_(logits)
            q = (probability * cell_factor[:, None]).mul_(region[start:stop])
            inside = slice(boundaries[index], boundaries[index + 1])
            rows, columns = rows_by_feature[inside], columns_by_feature[inside] - start
            flat = rows * (stop - start) + columns
            odds = q.div_(1 - q)
            row_loss += torch.log1p(odds).sum(1)
            # Ones were counted as zeros, -log(1 - q) = log(1 + odds); -log q is that minus log odds. The floor
            # is that of torch's BCELoss.
            row_loss.index_add_(0, rows, -torch.log(odds.view(-1)[flat]).clamp_min(-100))
            if needs:
                odds.view(-1)[flat] = -1.0
                odds.mul_(row_weights[:, None])
                cell_gradient += odds.sum(1)
                region_gradient[start:stop] = odds.sum(0) * (1 - region[start:stop])
                logit_gradient = odds.mul_(probability.neg_().add_(1))
                torch.mm(logit_gradient.t(), hidden, out=weight_gradient[start:stop])
                bias_gradient[start:stop] = logit_gradient.sum(0)
                hidden_gradient.addmm_(logit_gradient, weight[start:stop])
        if needs:
            cell_gradient /= cell_factor
            context.save_for_backward(hidden_gradient, weight_gradient, bias_gradient, cell_gradient, region_gradient)
        context.mark_non_differentiable(row_loss)
        return (row_loss * row_weights).sum(), row_loss

    @staticmethod
    def backward(context, gradient, _):
        hidden, weight, bias, cell, region = context.saved_tensors
        # Training multiplies the loss by nothing: spare the passes over the gradients then.
        if gradient.device.type != "cpu" or gradient.item() != 1.0:
            hidden, weight, bias, cell, region = (part * gradient for part in (hidden, weight, bias, cell, region))
        return hidden, weight, bias, cell, region, None, None, None


def factored_bernoulli_loss(
    counts: SparseRows,
    hidden: torch.Tensor,
    output: torch.nn.Linear,
    cell_factor: torch.Tensor,
    region_logits: torch.Tensor,
    row_weights: torch.Tensor,
    chunk: int = 2048,
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
        Features handled at a time.

    Returns
    -------
    tuple
        The weighted sum over the rows (differentiable), and the loss of each row (not differentiable).
    """
    return _FactoredBernoulli.apply(
        hidden, output.weight, output.bias, cell_factor, region_logits, row_weights, counts, chunk
    )


def bernoulli_log_likelihood(counts: SparseRows, logits: torch.Tensor) -> torch.Tensor:
    """Log likelihood of each row under Bernoulli(sigmoid(`logits`)), every stored entry a one: n_rows."""
    return -functional.softplus(logits).sum(1) + counts.sum_rows(at_nonzeros(logits, counts))
