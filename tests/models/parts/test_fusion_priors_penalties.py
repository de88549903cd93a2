"""Fusion rules, priors and penalties against closed forms, torch.distributions and sampling."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Laplace, MixtureSameFamily, Normal, kl_divergence

from models.parts import adversary, fusion, penalties, priors
from models.parts.attention import MaskAttention, SelfAttention
from models.parts.encoders import sample_laplace
from models.parts.layers import DomainBatchNorm


@pytest.fixture
def gaussians():
    torch.manual_seed(0)
    return [(torch.randn(6, 3), torch.rand(6, 3) + 0.1) for _ in range(3)]


def test_product_of_experts_of_hand_computed_numbers():
    """N(0, 1) x N(2, 1/3): precision 1 + 3 = 4, mean 3 * 2 / 4 = 1.5."""
    mean, variance = torch.tensor([[2.0]]), torch.tensor([[1 / 3]])
    arguments = [mean], [variance], [torch.tensor([True])], torch.zeros(1), torch.ones(1)
    result = fusion.product_of_experts(*arguments)
    assert result[0].item() == pytest.approx(1.5) and result[1].item() == pytest.approx(0.25)
    absent = fusion.product_of_experts([mean], [variance], [torch.tensor([False])], torch.zeros(1), torch.ones(1))
    assert absent[0].item() == 0 and absent[1].item() == 1


def test_product_of_experts_is_proportional_to_the_product_of_densities(gaussians):
    (m1, v1), (m2, v2), _ = gaussians
    masks = [torch.ones(6, dtype=torch.bool)] * 2
    mean, variance = fusion.product_of_experts([m1, m2], [v1, v2], masks, torch.zeros(3), torch.ones(3))
    x = torch.linspace(-3, 3, 5)[:, None, None].expand(5, 6, 3)
    product = sum(Normal(m, v.sqrt()).log_prob(x) for m, v in ((m1, v1), (m2, v2), (torch.zeros(3), torch.ones(3))))
    difference = product - Normal(mean, variance.sqrt()).log_prob(x)
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=1e-4, atol=1e-3)


def test_masked_weights_skip_what_is_missing_and_sum_to_one():
    masks = [torch.tensor([True, True]), torch.tensor([True, False]), torch.tensor([False, True])]
    weights = fusion.masked_weights(torch.tensor([[0.0, math.log(3), 9.0]]).expand(2, -1), masks)
    torch.testing.assert_close(weights[0], torch.tensor([0.25, 0.75, 0.0]))
    assert weights[1, 1] == 0 and weights.sum(1).tolist() == pytest.approx([1, 1])


def test_mean_of_present_averages_what_is_there():
    values = [torch.tensor([[2.0], [4.0]]), torch.tensor([[6.0], [8.0]])]
    masks = [torch.tensor([True, True]), torch.tensor([True, False])]
    assert fusion.mean_of_present(values, masks).tolist() == [[4.0], [4.0]]


def test_divergences_equal_torch(gaussians):
    (m1, v1), (m2, v2), _ = gaussians
    expected = kl_divergence(Normal(m1, v1.sqrt()), Normal(m2, v2.sqrt())).sum(1)
    torch.testing.assert_close(priors.gaussian_divergence(m1, v1, m2, v2), expected)
    laplace = kl_divergence(Laplace(m1, v1), Laplace(m2, v2)).sum(1)
    torch.testing.assert_close(priors.laplace_divergence(m1, v1, m2, v2), laplace)


def test_dirichlet_approximation_matches_moments_of_log_ratios():
    """Against samples: softmax of the Gaussian has the Dirichlet's mean and nearly its variance at alpha = 5."""
    mean, variance = priors.dirichlet_by_laplace(10, 5.0)
    assert mean.abs().max() < 1e-6
    torch.manual_seed(0)
    softmax = torch.softmax(mean + variance.sqrt() * torch.randn(200_000, 10), dim=1)
    exact = torch.distributions.Dirichlet(torch.full((10,), 5.0))
    torch.testing.assert_close(softmax.mean(0), exact.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(softmax.var(0), exact.variance, rtol=0.15, atol=0)


def mixture_of_four():
    """A mixture prior of four components in three dimensions, none like another."""
    torch.manual_seed(1)
    prior = priors.GaussianMixturePrior(4, 3)
    with torch.no_grad():
        prior.weight_logits.normal_()
        prior.means.normal_()
        prior.log_variances.normal_()
    return prior


def test_mixture_density_equals_torch_and_responsibilities_sum_to_one(gaussians):
    prior = mixture_of_four()
    components = Independent(Normal(prior.means, (prior.log_variances / 2).exp()), 1)
    reference = MixtureSameFamily(torch.distributions.Categorical(logits=prior.weight_logits), components)
    z = gaussians[0][0]
    torch.testing.assert_close(torch.logsumexp(prior.component_log_density(z), 1), reference.log_prob(z))
    torch.testing.assert_close(prior.responsibilities(z).sum(1), torch.ones(6))


def test_mixture_divergence_with_one_component_is_the_gaussian_one(gaussians):
    mean, variance = gaussians[0]
    prior = priors.GaussianMixturePrior(1, 3)
    with torch.no_grad():
        prior.means.fill_(0.5)
        prior.log_variances.fill_(math.log(2.0))
    expected = priors.gaussian_divergence(mean, variance, 0.5, 2.0)
    torch.testing.assert_close(prior.divergence(mean, variance, torch.ones(6, 1)), expected)


def test_mixture_divergence_is_that_of_the_components_and_of_the_categorical(gaussians):
    mean, variance = gaussians[0]
    prior = mixture_of_four()
    posterior = torch.distributions.Categorical(logits=torch.randn(6, 4))
    expected = kl_divergence(posterior, torch.distributions.Categorical(logits=prior.weight_logits))
    for component in range(4):
        of_component = Normal(prior.means[component], (prior.log_variances[component] / 2).exp())
        expected = expected + posterior.probs[:, component] * kl_divergence(
            Normal(mean, variance.sqrt()), of_component
        ).sum(1)
    torch.testing.assert_close(prior.divergence(mean, variance, posterior.probs), expected, rtol=1e-5, atol=1e-5)


def test_mixture_initialisation_finds_separated_clusters():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(center, 0.1, size=(40, 2)) for center in (-3, 0, 3)])
    prior = priors.GaussianMixturePrior(3, 2)
    prior.initialise(z, seed=0)
    assert np.sort(prior.means.detach().numpy()[:, 0]) == pytest.approx([-3, 0, 3], abs=0.1)


def test_multidgd_mixture_equals_torch_with_hand_computed_priors(gaussians):
    torch.manual_seed(2)
    mixture = priors.GaussianMixtureWithPriors(4, 3, radius=2.0, sharpness=5.0, concentration=1.5)
    assert (mixture.means.norm(dim=1) <= 2).all()
    # Components as narrow as 0.2 * 2 / 4 = 0.1 are hard on float32: widen them.
    with torch.no_grad():
        mixture.negative_log_variances.fill_(0.3)
    components = Independent(Normal(mixture.means, (-mixture.negative_log_variances / 2).exp()), 1)
    reference = MixtureSameFamily(torch.distributions.Categorical(logits=mixture.weight_logits), components)
    z = gaussians[0][0]
    torch.testing.assert_close(mixture.log_density(z), reference.log_prob(z), rtol=1e-4, atol=1e-4)
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(
        mixture.label_log_density(z, label),
        components.log_prob(z[:, None])[torch.arange(6), label],
        rtol=1e-4,
        atol=1e-4,
    )
    norms = mixture.means.norm(dim=1)
    volume = math.log(4 / 3 * math.pi * 2**3)
    softball = (-torch.log1p(torch.exp(5 * (norms / 2 - 1))) - volume).sum()
    dirichlet = torch.distributions.Dirichlet(torch.full((4,), 1.5)).log_prob(torch.softmax(mixture.weight_logits, 0))
    variances = Normal(-2 * math.log(0.1), 1.0).log_prob(mixture.negative_log_variances).sum()
    assert mixture.log_prior().item() == pytest.approx((softball + dirichlet + variances).item(), rel=1e-4)


def test_jeffreys_is_symmetric_zero_at_equality_and_summed_over_pairs(gaussians):
    (m1, v1), (m2, v2), (m3, v3) = gaussians
    torch.testing.assert_close(penalties.jeffreys(m1, v1, m2, v2), penalties.jeffreys(m2, v2, m1, v1))
    assert penalties.jeffreys(m1, v1, m1, v1).abs().max() < 1e-6
    both = priors.gaussian_divergence(m1, v1, m2, v2) + priors.gaussian_divergence(m2, v2, m1, v1)
    torch.testing.assert_close(penalties.jeffreys(m1, v1, m2, v2), both)
    masks = [torch.tensor([1, 1, 1, 1, 0, 0]).bool(), torch.tensor([1, 1, 0, 0, 1, 0]).bool(), torch.ones(6).bool()]
    total = penalties.pairwise(penalties.jeffreys, gaussians, masks)
    assert total[5] == 0
    torch.testing.assert_close(total[2], penalties.jeffreys(m1, v1, m3, v3)[2])
    torch.testing.assert_close(total[4], penalties.jeffreys(m2, v2, m3, v3)[4])
    torch.testing.assert_close(
        total[0],
        (penalties.jeffreys(m1, v1, m2, v2) + penalties.jeffreys(m1, v1, m3, v3) + penalties.jeffreys(m2, v2, m3, v3))[
            0
        ],
    )


def test_maximum_mean_discrepancy_of_two_points_by_hand_and_its_ordering():
    x, y = torch.zeros(1, 1), torch.full((1, 1), 2.0)
    assert penalties.maximum_mean_discrepancy(x, y, (1.0,)).item() == pytest.approx(2 - 2 * math.exp(-2))
    torch.manual_seed(0)
    a, b = torch.randn(200, 2), torch.randn(200, 2)
    assert penalties.maximum_mean_discrepancy(a, b) < penalties.maximum_mean_discrepancy(a, b + 1) / 5


def test_portal_penalties_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert penalties.cosine_correspondence(x, x * 3).item() == pytest.approx(0, abs=1e-6)
    assert penalties.cosine_correspondence(x, -x).item() == pytest.approx(2)
    assert penalties.latent_alignment(x, x + 2).item() == pytest.approx(4)


def test_reversed_gradient_and_fooling_loss():
    x = torch.tensor([2.0], requires_grad=True)
    (adversary.reverse_gradient(x, 3.0) * 5).sum().backward()
    assert x.grad.item() == -15
    torch.manual_seed(0)
    classifier = adversary.DomainClassifier(3, 3).eval()
    z, domain = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    log_probability = torch.log_softmax(classifier(z), dim=1)
    target = (1 - torch.nn.functional.one_hot(domain, 3).float()) / 2
    expected = -(log_probability * target).sum(1).mean()
    torch.testing.assert_close(classifier.fooling_loss(z, domain), expected)


def test_thresholded_scores_carry_no_gradient_beyond_the_margin():
    discriminator = adversary.ThresholdedDiscriminator(2, 4, margin=5.0)
    with torch.no_grad():
        discriminator.score.bias.fill_(40.0)
    x = torch.randn(3, 2, requires_grad=True)
    discriminator(x).sum().backward()
    assert x.grad.abs().max() == 0 and (discriminator(x) == 5).all() and (discriminator(x, thresholded=False) > 5).all()


def test_laplace_samples_have_the_right_moments():
    torch.manual_seed(0)
    samples = sample_laplace(torch.full((200_000, 1), 1.5), torch.full((200_000, 1), 0.5))
    assert samples.mean().item() == pytest.approx(1.5, abs=0.01)
    assert samples.var().item() == pytest.approx(2 * 0.5**2, rel=0.03)


def test_attention_blocks_equal_plain_formulas():
    torch.manual_seed(0)
    hidden = torch.randn(5, 16)
    block = SelfAttention(16, 4).eval()
    h = torch.relu(block.batch_norm(hidden))
    # A head's 4 features are its sequence, of one dimension each: the scale 1 / sqrt(d_k) is one.
    query, key, value = (layer(h).view(5, 4, 4, 1) for layer in (block.query, block.key, block.value))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value).reshape(5, 16)
    torch.testing.assert_close(block(hidden), block.layer_norm(h + block.output(attended)), rtol=1e-4, atol=1e-5)


def test_a_head_of_self_attention_sees_its_own_values_alone():
    torch.manual_seed(0)
    block, hidden = SelfAttention(16, 4).eval(), torch.randn(5, 16)
    block.output, block.layer_norm = torch.nn.Identity(), torch.nn.Identity()
    before = block(hidden)
    with torch.no_grad():
        block.value.bias[8:12] += 1.0
    moved = (block(hidden) - before).abs().amax(0) > 1e-6
    assert moved.tolist() == [8 <= feature < 12 for feature in range(16)]


def test_mask_attention_weighs_the_hidden_layer():
    torch.manual_seed(0)
    hidden = torch.randn(5, 16)
    mask = MaskAttention(16).eval()
    weights = torch.softmax(mask.mask(hidden), 1)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    assert torch.equal(mask(hidden), torch.relu(mask.batch_norm(mask.layer_norm(hidden))) * (weights * 16))
    gate = MaskAttention(16, competing=False).eval()
    weights = 1 / (1 + torch.exp(-gate.mask(hidden)))
    torch.testing.assert_close(gate(hidden), torch.relu(gate.batch_norm(gate.layer_norm(hidden))) * weights)


def test_domain_batch_norm_normalises_each_domain_by_itself():
    norm = DomainBatchNorm(2, 2).train()
    x = torch.cat((torch.randn(50, 2), torch.randn(50, 2) * 4 + 7))
    domain = torch.arange(100) // 50
    out = norm(x, domain)
    for index in (0, 1):
        assert out[domain == index].mean(0).abs().max() < 1e-5
        assert (out[domain == index].std(0, unbiased=False) - 1).abs().max() < 1e-3
