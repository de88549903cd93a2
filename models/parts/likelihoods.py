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


LARGEST_TABULATED = 7
"""Counts up to here read their rising factorials from a table."""


def rising_factorial_tables(theta: torch.Tensor, derivative: bool = False) -> list[torch.Tensor]:
    """lgamma(x + theta) - lgamma(theta), and its derivative by theta, for x = 0 to LARGEST_TABULATED, as columns."""
    steps = theta[:, None] + torch.arange(LARGEST_TABULATED, device=theta.device)
    return [functional.pad(terms(steps).cumsum(1), (1, 0)) for terms in (torch.log, torch.reciprocal)[: 1 + derivative]]


def log_rising_factorial_at(
    theta: torch.Tensor, columns: torch.Tensor, x: torch.Tensor, derivative: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """lgamma(x + theta) - lgamma(theta) = sum of log(theta + k) for k < x, and its derivative by theta; no autograd.

    Parameters
    ----------
    theta
        Positive, n_features.
    columns
        int64, one an entry: feature of the entry.
    x
        Counts, one an entry. Most are small, so that the sums come from a table of n_features x
        (LARGEST_TABULATED + 1); what counts beyond it add comes from asymptotic series, in float64.
    derivative
        Whether the derivative is wanted; it is ``None`` otherwise.
    """
    largest, theta = LARGEST_TABULATED, theta.detach()
    position = columns * (largest + 1) + x.clamp_max(largest).long()
    # A count that is no integer (none should be) would be read wrongly: send it to the exact branch too.
    beyond = torch.nonzero((x > largest) | (x != x.floor())).ravel()
    x_beyond, theta_beyond = x[beyond].double(), theta[columns[beyond]].double()
    asymptotic = bool((x_beyond > largest).all())
    results = []
    functions = ((torch.lgamma, _log_gamma_series), (torch.digamma, _digamma_series))
    for table, (exact, series) in zip(rising_factorial_tables(theta, derivative), functions):
        value = table.view(-1).index_select(0, position)
        if asymptotic:
            value[beyond] += (series(x_beyond + theta_beyond) - series(largest + theta_beyond)).to(value.dtype)
        else:
            value[beyond] = (exact(x_beyond + theta_beyond) - exact(theta_beyond)).to(value.dtype)
        results.append(value)
    return results[0], results[1] if derivative else None


def _log_gamma_series(z: torch.Tensor) -> torch.Tensor:
    """lgamma(z) less log(2 pi) / 2 by Stirling's series; wrong by less than 1e-9 from z = 7 on."""
    inverse = 1 / z
    square = inverse * inverse
    return (z - 0.5) * torch.log(z) - z + inverse * (1 / 12 - square * (1 / 360 - square / 1260))


def _digamma_series(z: torch.Tensor) -> torch.Tensor:
    """digamma(z) by the derivative of that series; wrong by less than 1e-9 from z = 7 on."""
    inverse = 1 / z
    square = inverse * inverse
    return torch.log(z) - 0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square / 252))


class _LogRisingFactorial(torch.autograd.Function):
    """:func:`log_rising_factorial_at` with its gradient."""

    @staticmethod
    def forward(context, theta: torch.Tensor, counts: SparseRows, needs: bool) -> torch.Tensor:
        value, derivative = log_rising_factorial_at(theta, counts.columns, counts.values, needs)
        if needs:
            context.save_for_backward(derivative)
        context.counts = counts
        return value

    @staticmethod
    def backward(context, gradient: torch.Tensor):
        (derivative,), counts = context.saved_tensors, context.counts
        by_theta = torch.zeros(counts.n_features, dtype=gradient.dtype, device=gradient.device)
        return by_theta.index_add_(0, counts.columns, gradient * derivative), None, None


def log_rising_factorial(dispersion: torch.Tensor, counts: SparseRows) -> torch.Tensor:
    """lgamma(x + theta) - lgamma(theta) at the entries; `dispersion` is n_features or n_rows x n_features."""
    if dispersion.ndim == 1:
        return _LogRisingFactorial.apply(dispersion, counts, torch.is_grad_enabled())
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


def bernoulli_log_likelihood(counts: SparseRows, logits: torch.Tensor) -> torch.Tensor:
    """Log likelihood of each row under Bernoulli(sigmoid(`logits`)), every stored entry a one: n_rows."""
    return -functional.softplus(logits).sum(1) + counts.sum_rows(at_nonzeros(logits, counts))
