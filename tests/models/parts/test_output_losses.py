"""Losses fused with their output layers, against plain computations with autograd."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from models.parts import output_losses
from models.parts.counts import CountMatrix

N_ROWS, N_FEATURES = 7, 23


@pytest.fixture(params=[0, 1])
def counts(request):
    rng = np.random.default_rng(request.param)
    dense = rng.negative_binomial(0.4, 0.05, size=(N_ROWS, N_FEATURES)).astype(np.float32)
    dense[2] = 0
    return CountMatrix(sp.csr_matrix(dense), "cpu").rows(torch.arange(N_ROWS))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("chunk", [5, N_FEATURES, 1000])
def test_factored_bernoulli_equals_the_plain_computation_with_its_gradients(counts, chunk, compiled):
    torch.manual_seed(5)
    hidden = torch.randn(N_ROWS, 4, requires_grad=True)
    output = torch.nn.Linear(4, N_FEATURES)
    factor_logits = torch.randn(N_ROWS, requires_grad=True)
    region = torch.randn(N_FEATURES, requires_grad=True)
    weights = torch.rand(N_ROWS)
    inputs = [hidden, output.weight, output.bias, factor_logits, region]

    q = torch.sigmoid(output(hidden)) * torch.sigmoid(factor_logits)[:, None] * torch.sigmoid(region)
    plain = torch.nn.functional.binary_cross_entropy(q, (counts.dense() > 0).float(), reduction="none").sum(1)
    expected = torch.autograd.grad((plain * weights).sum() * 2, inputs)

    ours, rows = output_losses.factored_bernoulli_loss(
        counts, hidden, output, torch.sigmoid(factor_logits), region, weights, chunk, compiled
    )
    torch.testing.assert_close(rows, plain, rtol=1e-5, atol=1e-5)
    assert ours.item() == pytest.approx((plain * weights).sum().item(), rel=1e-5)
    for mine, theirs in zip(torch.autograd.grad(ours * 2, inputs), expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("gate_shift", [0, -5, -30, 30])
def test_zero_inflated_negative_binomial_equals_scvi_with_its_gradients(counts, gate_shift, compiled):
    """`gate_shift` -30 takes torch's branch without ratios; there and at 30 the inflation decides nothing, or all."""
    from scvi.distributions import ZeroInflatedNegativeBinomial

    torch.manual_seed(5)
    hidden = torch.randn(N_ROWS, 4, requires_grad=True)
    scale, gate = torch.nn.Linear(4, N_FEATURES), torch.nn.Linear(4, N_FEATURES)
    with torch.no_grad():
        gate.bias += gate_shift
    log_dispersion = torch.randn(N_FEATURES, requires_grad=True)
    log_library = (torch.randn(N_ROWS) + 5).requires_grad_()
    weights = torch.rand(N_ROWS)
    inputs = [hidden, scale.weight, scale.bias, gate.weight, gate.bias, log_dispersion, log_library]

    exact = [value.detach().double().requires_grad_() for value in inputs]
    linear = torch.nn.functional.linear
    mean = torch.exp(exact[6])[:, None] * torch.softmax(linear(*exact[:3]), 1)
    reference = ZeroInflatedNegativeBinomial(
        mu=mean, theta=torch.exp(exact[5]), zi_logits=linear(exact[0], *exact[3:5])
    )
    plain = -reference.log_prob(counts.dense().double()).sum(1)
    expected = torch.autograd.grad((plain * weights).sum() * 2, exact)

    arguments = (counts, hidden, scale, gate, log_dispersion, log_library, weights, compiled)
    ours, rows = output_losses.zero_inflated_negative_binomial_loss(*arguments)
    torch.testing.assert_close(rows.double(), plain, rtol=1e-5, atol=1e-5)
    assert ours.item() == pytest.approx((plain * weights).sum().item(), rel=1e-5)
    for mine, theirs in zip(torch.autograd.grad(ours * 2, inputs), expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        value, _ = output_losses.zero_inflated_negative_binomial_loss(*arguments)
    assert value.item() == pytest.approx(ours.item(), rel=1e-6)


def test_compiled_losses_do_not_hide_what_is_not_a_number(counts):
    """The trainer notices by the loss that a training diverges."""
    torch.manual_seed(5)
    hidden, weights = torch.randn(N_ROWS, 4), torch.rand(N_ROWS)
    hidden[3, 1] = float("nan")
    output, gate = torch.nn.Linear(4, N_FEATURES), torch.nn.Linear(4, N_FEATURES)
    factor, region = torch.rand(N_ROWS), torch.randn(N_FEATURES)
    for rows in (
        output_losses.factored_bernoulli_loss(counts, hidden, output, factor, region, weights, compiled=True)[1],
        output_losses.zero_inflated_negative_binomial_loss(
            counts, hidden, output, gate, region, torch.ones(N_ROWS), weights, compiled=True
        )[1],
    ):
        assert rows.isnan().tolist() == [row == 3 for row in range(N_ROWS)]


@pytest.mark.parametrize("size", [1, 200])
def test_compiled_losses_stay_finite_at_extreme_logits(counts, size):
    """Beyond +-80 a logit counts as that; plain float32 has probabilities of zero and one there."""
    torch.manual_seed(5)
    hidden, weights = torch.randn(N_ROWS, 4) * size, torch.rand(N_ROWS)
    hidden.requires_grad_()
    output, gate = torch.nn.Linear(4, N_FEATURES), torch.nn.Linear(4, N_FEATURES)
    factor, region = torch.rand(N_ROWS).requires_grad_(), torch.randn(N_FEATURES, requires_grad=True)
    bernoulli, _ = output_losses.factored_bernoulli_loss(counts, hidden, output, factor, region, weights, compiled=True)
    library = torch.ones(N_ROWS, requires_grad=True)
    binomial, _ = output_losses.zero_inflated_negative_binomial_loss(
        counts, hidden, output, gate, region, library, weights, compiled=True
    )
    gradients = torch.autograd.grad(bernoulli + binomial, [hidden, factor, region, library, *output.parameters()])
    assert all(value.isfinite().all() for value in (bernoulli, binomial, *gradients))
