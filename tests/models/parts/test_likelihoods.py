"""Likelihoods against scvi-tools, torch.distributions and finite differences."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from models.parts import likelihoods
from models.parts.counts import CountMatrix

N_ROWS, N_FEATURES = 7, 23


@pytest.fixture(params=[0, 1])
def counts(request):
    rng = np.random.default_rng(request.param)
    dense = rng.negative_binomial(0.4, 0.05, size=(N_ROWS, N_FEATURES)).astype(np.float32)
    dense[2] = 0
    return CountMatrix(sp.csr_matrix(dense), "cpu").rows(torch.arange(N_ROWS))


@pytest.fixture
def parameters():
    torch.manual_seed(3)
    return {
        "mean": torch.rand(N_ROWS, N_FEATURES) * 5 + 0.01,
        "dispersion": torch.rand(N_FEATURES) * 3 + 0.1,
        "logits": torch.randn(N_ROWS, N_FEATURES),
    }


def test_negative_binomial_equals_scvi(counts, parameters):
    from scvi.distributions import NegativeBinomial

    expected = NegativeBinomial(mu=parameters["mean"], theta=parameters["dispersion"]).log_prob(counts.dense()).sum(1)
    pieces = likelihoods.negative_binomial(counts, parameters["mean"], parameters["dispersion"])
    torch.testing.assert_close(likelihoods.log_likelihood(counts, pieces), expected, rtol=1e-5, atol=1e-4)


def test_zero_inflated_negative_binomial_equals_scvi(counts, parameters):
    from scvi.distributions import ZeroInflatedNegativeBinomial

    reference = ZeroInflatedNegativeBinomial(
        mu=parameters["mean"], theta=parameters["dispersion"], zi_logits=parameters["logits"]
    )
    expected = reference.log_prob(counts.dense()).sum(1)
    pieces = likelihoods.negative_binomial(counts, parameters["mean"], parameters["dispersion"])
    ours = likelihoods.zero_inflated_log_likelihood(counts, pieces, parameters["logits"])
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)


def test_negative_binomial_with_logits_equals_torch(counts, parameters):
    total = parameters["mean"]
    reference = torch.distributions.NegativeBinomial(total_count=total, logits=parameters["logits"])
    pieces = likelihoods.negative_binomial_logits(counts, total, parameters["logits"])
    expected = reference.log_prob(counts.dense()).sum(1)
    torch.testing.assert_close(likelihoods.log_likelihood(counts, pieces), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("fraction", [0.0, 0.37])
def test_poisson_and_zero_inflated_poisson_equal_torch_in_double_precision(counts, parameters, fraction):
    """With a `fraction` nonzero values are no integers: scMVP's accessibility is TF-IDF."""
    dense = counts.dense()
    dense = dense + fraction * (dense > 0)
    counts = CountMatrix(sp.csr_matrix(dense.numpy()), "cpu").rows(torch.arange(N_ROWS))
    x, logits = dense.double(), parameters["logits"].double()
    # Without its check for integers torch has a gamma function in the place of the factorial, too.
    log_probability = torch.distributions.Poisson(parameters["mean"].double(), validate_args=False).log_prob(x)
    pieces, close = likelihoods.poisson(counts, parameters["mean"]), {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(likelihoods.log_likelihood(counts, pieces).double(), log_probability.sum(1), **close)
    gate = torch.sigmoid(logits)
    mixture = torch.where(
        x == 0, torch.log(gate + (1 - gate) * log_probability.exp()), torch.log1p(-gate) + log_probability
    )
    ours = likelihoods.zero_inflated_log_likelihood(counts, pieces, parameters["logits"])
    torch.testing.assert_close(ours.double(), mixture.sum(1), **close)


def test_protein_mixture_equals_scvi(counts, parameters):
    from scvi.distributions import NegativeBinomialMixture

    foreground = parameters["mean"] * 4
    reference = NegativeBinomialMixture(
        mu1=parameters["mean"], mu2=foreground, theta1=parameters["dispersion"], mixture_logits=parameters["logits"]
    )
    ours = likelihoods.negative_binomial_mixture_log_likelihood(
        counts, parameters["mean"], foreground, parameters["dispersion"], parameters["logits"]
    )
    torch.testing.assert_close(ours, reference.log_prob(counts.dense()).sum(1), rtol=1e-5, atol=1e-4)


def test_multinomial_equals_torch_without_its_coefficient(counts, parameters):
    """The coefficient does not depend on the logits; the code leaves it out (as Cobolt's release does)."""
    ours = likelihoods.multinomial_log_likelihood(counts, parameters["logits"]).double()
    for x, logits, found in zip(counts.dense().double(), parameters["logits"].double(), ours):
        coefficient = torch.lgamma(x.sum() + 1) - torch.lgamma(x + 1).sum()
        expected = torch.distributions.Multinomial(int(x.sum()), logits=logits).log_prob(x) - coefficient
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_bernoulli_equals_torch(counts, parameters):
    reference = torch.distributions.Bernoulli(logits=parameters["logits"]).log_prob((counts.dense() > 0).float()).sum(1)
    torch.testing.assert_close(
        likelihoods.bernoulli_log_likelihood(counts, parameters["logits"]), reference, rtol=1e-5, atol=1e-5
    )


def test_gradients_at_nonzeros_equal_the_dense_ones(counts, parameters):
    from scvi.distributions import ZeroInflatedNegativeBinomial

    mean = parameters["mean"].requires_grad_()
    dispersion = parameters["dispersion"].requires_grad_()
    logits = parameters["logits"].requires_grad_()
    reference = ZeroInflatedNegativeBinomial(mu=mean, theta=dispersion, zi_logits=logits).log_prob(counts.dense()).sum()
    pieces = likelihoods.negative_binomial(counts, mean, dispersion)
    ours = likelihoods.zero_inflated_log_likelihood(counts, pieces, logits).sum()
    inputs = [mean, dispersion, logits]
    for mine, theirs in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(reference, inputs)):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_rising_factorials_and_derivatives_equal_those_of_lgamma_in_double_precision(fraction):
    """Counts in the table, beyond it, and (with a `fraction`) such as no count should be."""
    theta = torch.tensor([1e-4, 0.03, 1.0, 40.0, 3e4])
    x = torch.tensor([1.0, 2.0, 7.0, 8.0, 9.0, 30.0, 400.0, 20000.0]) + fraction
    columns = torch.arange(5).repeat_interleave(len(x))
    x = x.repeat(5)
    value, derivative = likelihoods.log_rising_factorial_at(theta, columns, x, derivative=True)
    at = theta[columns].double()
    torch.testing.assert_close(value.double(), torch.lgamma(x + at) - torch.lgamma(at), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(derivative.double(), torch.digamma(x + at) - torch.digamma(at), rtol=1e-5, atol=1e-7)


def test_a_likelihood_sums_to_one_over_all_counts():
    """Hand check that the pieces are normalised: sum of p(x) over x = 0..400 is one."""
    matrix = CountMatrix(sp.csr_matrix(np.arange(401, dtype=np.float32)[:, None]), "cpu")
    rows = matrix.rows(torch.arange(401))
    mean, dispersion, gate = torch.full((401, 1), 4.0), torch.tensor([0.7]), torch.full((401, 1), -0.3)
    pieces = likelihoods.negative_binomial(rows, mean, dispersion)
    assert likelihoods.log_likelihood(rows, pieces).exp().sum().item() == pytest.approx(1, abs=1e-4)
    inflated = likelihoods.zero_inflated_log_likelihood(rows, pieces, gate)
    assert inflated.exp().sum().item() == pytest.approx(1, abs=1e-4)
