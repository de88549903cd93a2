"""The losses of the composed networks and their fusion, against torch.distributions and hand computations."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.distributions import Bernoulli, Categorical, Laplace, NegativeBinomial, Normal, kl_divergence  # noqa: E402
from torch.nn.functional import cosine_similarity, logsigmoid, mse_loss  # noqa: E402

from models.parts.counts import CountMatrix, DesignCounts  # noqa: E402

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def doubled(module):
    """A copy in double precision, so that rounding of the reference hides nothing; it takes dense rows."""
    return copy.deepcopy(module).double().eval()


def zero_inflated(log_density, counts, gate):
    """Log density of a mixture with a point mass at zero, of probability sigmoid(gate)."""
    zero = torch.log(torch.sigmoid(gate) + torch.sigmoid(-gate) * log_density.exp())
    return torch.where(counts == 0, zero, logsigmoid(-gate) + log_density)


def test_scalex_loss_is_the_cross_entropy_summed_over_features_and_half_the_divergence(make):
    from models.scalex import SCALEX

    visible, _ = make(("rna", "protein"))
    model = SCALEX(n_iterations=6, width=16)
    model.fit(visible, 0, "cpu")
    network, batch = model.network, model.data.minibatch(torch.arange(40))
    assert batch.x.min() >= 0 and batch.x.max() <= 1 and len(batch.domain.unique()) == 2
    with torch.no_grad():
        for norm in network.normalisation.norms:
            # A few steps leave both domains' scales at one, and an exchange of them unseen.
            norm.weight.normal_()
            norm.bias.normal_()
        torch.manual_seed(0)
        losses = network.losses(batch, 1.0)
        torch.manual_seed(0)
        noise, exact, x = torch.randn(40, 10), doubled(network), batch.x.double()
        mean, variance = exact.encoder(x)
        output = exact.output(mean + variance.sqrt() * noise)
        logits = torch.stack([exact.normalisation.norms[d](row[None])[0] for d, row in zip(batch.domain, output)])
        # Values between 0 and 1 are no draws of a Bernoulli: its log probability is the cross-entropy all the same.
        reconstruction = -Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(1).mean()
        divergence = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(losses["reconstruction"].double(), reconstruction, **CLOSE)
    torch.testing.assert_close(losses["kl"].double(), divergence, **CLOSE)
    torch.testing.assert_close(losses["loss"].double(), reconstruction + 0.5 * divergence, **CLOSE)


def test_portal_losses_are_those_of_the_paper_in_the_warm_up_and_after_it():
    from models.networks.portal import DomainPairs
    from models.portal import Portal

    torch.manual_seed(0)
    network = Portal(n_latent=3, width=8).build(DomainPairs(torch.zeros(1, 5), torch.zeros(1, 5), 1), None)
    with torch.no_grad():
        for name, value in network.named_parameters():
            # Scores on both sides of both bounds, and terms of like size, of which none drowns in the sum.
            value.normal_(std=2.0 if name.startswith("discriminators") else 0.3)
    exact, largest = doubled(network), 0.0
    (encode_1, encode_2), (generate_1, generate_2) = exact.encoders, exact.generators

    def score(domain, x, bound=float("inf")):
        discriminator = exact.discriminators[domain - 1]
        return discriminator.score(discriminator.hidden(x))[:, 0].clamp(-bound, bound)

    for step in range(9):
        # As many cells in either domain in training; here not, so that an exchange of domains cannot go unseen.
        batch = DomainPairs(torch.randn(12, 5) * 3, torch.randn(9, 5) * 3, 21)
        losses, discriminators = network.losses(batch, 1.0), network.second_loss(batch)
        bound = 50.0 if step < 6 else 5.0
        with torch.no_grad():
            x, y = batch.first.double(), batch.second.double()
            z_x, z_y = encode_1(x), encode_2(y)
            x_as_y, y_as_x = generate_2(z_x), generate_1(z_y)
            largest = max(largest, score(1, x).abs().max(), score(2, x_as_y).abs().max())
            terms = {
                "autoencoder": mse_loss(generate_1(z_x), x) + mse_loss(generate_2(z_y), y),
                "alignment": mse_loss(encode_2(x_as_y), z_x) + mse_loss(encode_1(y_as_x), z_y),
                "cosine": 2 - cosine_similarity(x, x_as_y).mean() - cosine_similarity(y, y_as_x).mean(),
                "adversarial": -logsigmoid(score(1, y_as_x, bound)).mean() - logsigmoid(score(2, x_as_y, bound)).mean(),
            }
            second = -logsigmoid(score(1, x, bound)).mean() - logsigmoid(score(2, y, bound)).mean()
            second -= logsigmoid(-score(1, y_as_x, bound)).mean() + logsigmoid(-score(2, x_as_y, bound)).mean()
        for name, value in terms.items():
            torch.testing.assert_close(losses[name].double(), value, **CLOSE)
        weighted = 10 * terms["autoencoder"] + 10 * terms["alignment"] + 20 * terms["cosine"] + terms["adversarial"]
        assert min(terms.values()) > 1e-3 * weighted
        torch.testing.assert_close(losses["loss"].double(), weighted, **CLOSE)
        torch.testing.assert_close(discriminators.double(), second, **CLOSE)
    assert largest > 50
    discriminators.backward()
    learning = {name.partition(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert learning == {"discriminators"}


@pytest.mark.parametrize("unpaired", [0.0, 0.5])
def test_scmm_objective_is_the_average_over_the_experts_that_a_cell_has(make, unpaired):
    from models.networks.scmm import ScMMNetwork

    visible, _ = make(("rna", "atac"), unpaired)
    data = DesignCounts(visible, ("rna", "atac"), "cpu")
    torch.manual_seed(1)
    network = ScMMNetwork(data.n_features, {"rna": 8, "atac": 6}, n_latent=3).eval()
    batch, exact = data.minibatch(torch.arange(visible.n_obs)), doubled(network)
    counts = {name: torch.from_numpy(visible.padded(name).toarray()).double() for name in data.modalities}
    has = {name: torch.from_numpy(visible.has(name)) for name in data.modalities}
    with torch.no_grad():
        torch.manual_seed(0)
        within_and_across, divergences = [], []
        for expert in data.modalities:
            x = counts[expert][has[expert]]
            posterior = Laplace(*exact.encoders[expert](x / x.sum(1, keepdim=True) * 10_000))
            drawn = torch.zeros(visible.n_obs, 3).double()
            drawn[has[expert]] = posterior.icdf(torch.rand(len(x), 3).double())
            density = torch.zeros(visible.n_obs).double()
            for target in data.modalities:
                y = counts[target]
                total, logits, gate = exact.decoders[target](drawn)
                # + 1e-8, as in the code: cells without the modality have a total of zero (and do not count).
                of_count = NegativeBinomial(total * y.sum(1, keepdim=True) / 10_000 + 1e-8, logits=logits).log_prob(y)
                of_count = of_count if gate is None else zero_inflated(of_count, y, gate)
                density += torch.where(has[target], of_count.sum(1), 0.0)
            divergence = torch.full((visible.n_obs,), torch.nan).double()
            divergence[has[expert]] = kl_divergence(posterior, Laplace(0.0, 1.0)).sum(1)
            within_and_across.append(torch.where(has[expert], density, torch.nan))
            divergences.append(divergence)
        # 1 / M a cell, M the experts that it has; then the mean over the cells.
        reconstruction = -torch.stack(within_and_across).nanmean(0).mean()
        divergence = torch.stack(divergences).nanmean(0).mean()
        for weight in (0.0, 0.3, 1.0):
            torch.manual_seed(0)
            losses = network.losses(batch, weight)
            torch.testing.assert_close(losses["reconstruction"].double(), reconstruction, **CLOSE)
            torch.testing.assert_close(losses["kl"].double(), divergence, **CLOSE)
            torch.testing.assert_close(losses["loss"].double(), reconstruction + weight * divergence, **CLOSE)


def cluster_weighted(decoder, z, responsibilities, counts):
    """Fractions, gate logits, and log likelihood a row of a decoder in double precision (equations 3 to 13)."""
    cluster, width = torch.softmax(decoder.cluster(responsibilities), 1), decoder.cluster.out_features
    hidden = decoder.attention(decoder.first(z)) * cluster * width
    fractions = torch.softmax(decoder.scale(hidden), 1)
    mean = fractions * counts.sum(1, keepdim=True)
    if decoder.gate is None:
        theta = decoder.log_dispersion.exp()
        log_density = NegativeBinomial(theta, logits=torch.log(mean / theta)).log_prob(counts)
        return fractions, None, log_density.sum(1)
    gate = decoder.gate(hidden)
    # TF-IDF is no count: the Poisson with a gamma function where the factorial stands.
    log_density = torch.distributions.Poisson(mean, validate_args=False).log_prob(counts)
    return fractions, gate, zero_inflated(log_density, counts, gate).sum(1)


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_scmvp_decoder_gives_the_fractions_and_the_likelihood_of_its_modality(make, modality):
    from models.networks.scmvp import ClusterWeightedDecoder
    from models.parts.transforms import tf_idf

    matrix = make(("rna", "atac"))[0].counts[modality][:20]
    matrix = tf_idf(matrix) if modality == "atac" else matrix
    torch.manual_seed(0)
    decoder = ClusterWeightedDecoder(modality, 3, 4, matrix.shape[1], width=16, n_heads=4).eval()
    z, responsibilities = torch.randn(20, 3), torch.softmax(torch.randn(20, 4), 1)
    counts = CountMatrix(matrix, "cpu").rows(torch.arange(20))
    with torch.no_grad():
        fractions, gate = decoder(z, responsibilities)
        found = decoder.log_likelihood(counts, fractions, gate)
        expected = cluster_weighted(
            doubled(decoder), z.double(), responsibilities.double(), torch.from_numpy(matrix.toarray()).double()
        )
    torch.testing.assert_close(fractions.double(), expected[0], **CLOSE)
    assert (gate is None) == (modality == "rna")
    if gate is not None:
        torch.testing.assert_close(gate.double(), expected[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.double(), expected[2], **CLOSE)


def test_scmvp_loss_is_the_elbo_under_the_mixture_and_the_consistency_of_every_single_encoder(make):
    from models.scmvp import ScMVP

    model = ScMVP(epochs=1, n_latent=3, n_components=4, width=16, n_heads=4)
    model.fit(make(("rna", "atac"))[0], 0, "cpu")
    network, batch = model.network, model.data.minibatch(torch.arange(30))
    with torch.no_grad():
        for value in network.prior.parameters():
            value.normal_()  # before it is fitted the mixture's components are nearly one
        torch.manual_seed(0)
        losses = network.losses(batch, 0.5)
        torch.manual_seed(0)
        noise, exact = torch.randn(30, 3), doubled(network)
        counts = {name: batch.counts[name].dense().double() for name in model.data.modalities}
        joined = torch.cat([exact.channels[name](counts[name].log1p()) for name in ("rna", "atac")], 1)
        mean, variance = exact.head(joined)
        joint, z = Normal(mean, variance.sqrt()), mean + variance.sqrt() * noise
        prior, means = exact.prior, exact.prior.means
        deviations, weights = (prior.log_variances / 2).exp(), Categorical(logits=prior.weight_logits)
        log_joint = weights.logits + Normal(means, deviations).log_prob(z[:, None]).sum(2)
        clusters = Categorical(logits=log_joint)
        of_component = kl_divergence(Normal(mean[:, None], variance.sqrt()[:, None]), Normal(means, deviations)).sum(2)
        divergence = (clusters.probs * of_component).sum(1) + kl_divergence(clusters, weights)
        consistency, reconstructions = 0.0, {}
        for name in ("rna", "atac"):
            decoded = cluster_weighted(exact.decoders[name], z, clusters.probs, counts[name])
            reconstructions[name] = -decoded[2].mean()
            imputed = decoded[0] * counts[name].sum(1, keepdim=True)
            for x in (imputed, counts[name]):
                single = exact.cycle_heads[name](exact.cycle_channels[name](x.log1p()))
                consistency += kl_divergence(joint, Normal(single[0], single[1].sqrt())).sum(1).mean()
    # The weights of the release.
    reconstruction = 3 * reconstructions["rna"] + 0.1 * reconstructions["atac"]
    torch.testing.assert_close(losses["reconstruction"].double(), reconstruction, **CLOSE)
    torch.testing.assert_close(losses["kl"].double(), divergence.mean(), **CLOSE)
    torch.testing.assert_close(losses["consistency"].double(), consistency, **CLOSE)
    loss = reconstruction + 0.5 * (divergence.mean() + 0.1 * consistency)
    torch.testing.assert_close(losses["loss"].double(), loss, **CLOSE)


def test_davae_loss_is_the_gaussian_likelihood_the_divergence_and_the_reversed_domain_loss(make):
    from models.davae import DAVAE

    model = DAVAE(epochs=1, widths=(16, 8), kl_scale=2.0, domain_scale=0.5)
    model.fit(make(("rna", "atac"))[0], 0, "cpu")
    # Cells of both modalities; RNA stands first.
    network, batch = model.network, model.data.minibatch(torch.arange(0, model.data.n_observations, 3))
    network.zero_grad()  # training leaves its last gradients
    torch.manual_seed(0)
    losses = network.losses(batch, 1.0)
    losses["loss"].backward()
    torch.manual_seed(0)
    noise, exact, x = torch.randn(batch.size, 10), doubled(network), batch.x.double()
    mean, variance = exact.encoder(x)
    z = mean + variance.sqrt() * noise
    residual, width = x - exact.decoder(z), x.shape[1]
    # -log likelihood of a row at the mean square of the residuals, without its constant.
    density = Normal(0.0, residual.square().mean().sqrt()).log_prob(residual).sum(1).mean()
    reconstruction = -density - 0.5 * width * (1 + np.log(2 * np.pi))
    divergence = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0)).sum(1).mean()
    domain = -Categorical(logits=exact.classifier(z)).log_prob(batch.domain).mean()
    assert len(batch.domain.unique()) == model.data.n_domains == 4
    for name, value in (("reconstruction", reconstruction), ("kl", divergence), ("domain", domain)):
        torch.testing.assert_close(losses[name].double(), value, **CLOSE)
    loss = reconstruction + 2 * divergence + 0.5 * width * domain
    torch.testing.assert_close(losses["loss"].double(), loss, **CLOSE)
    # The classifier learns the domains, and the encoder to hide them.
    hidden = reconstruction + 2 * divergence - 0.5 * width * domain
    for part, objective in (("encoder", hidden), ("classifier", loss)):
        wanted = torch.autograd.grad(objective, list(getattr(exact, part).parameters()), retain_graph=True)
        for value, gradient in zip(getattr(network, part).parameters(), wanted):
            torch.testing.assert_close(
                value.grad.double(), gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())
            )


@pytest.mark.parametrize("name", ["portal", "davae"])
def test_codes_of_a_cell_are_averaged_over_the_modalities_that_it_has(make, name):
    from models.davae import DAVAE
    from models.parts.gene_activity import shared_space
    from models.portal import Portal

    visible, _ = make(("rna", "atac"), 0.5)
    # Fewer observations with RNA than with ATAC: where one modality's rows end, the other's must not.
    left_out = np.flatnonzero(~visible.has("atac"))[:12]
    visible = visible.subset(np.setdiff1d(np.arange(visible.n_obs), left_out))
    assert len(visible.rows["rna"]) == len(visible.rows["atac"]) - 12 and visible.complete.any()
    model = Portal(n_iterations=20, batch_size=32, width=16) if name == "portal" else DAVAE(epochs=1, widths=(16, 8))
    model.fit(visible, 0, "cpu")
    network = model.network
    rna, atac = (torch.from_numpy(part).float() for part in shared_space(visible, 0)[:2])
    with torch.no_grad():
        if name == "portal":
            codes = network.encoders[0](rna), network.encoders[1](atac)
        else:
            codes = network.encoder(rna)[0], network.encoder(atac)[0]
    of_cells = [[] for _ in range(visible.n_obs)]
    for modality, values in zip(("rna", "atac"), codes):
        for cell, value in zip(visible.rows[modality], values.numpy()):
            of_cells[cell].append(value)
    assert {len(values) for values in of_cells} == {1, 2}
    expected = np.stack([np.mean(values, axis=0) for values in of_cells])
    np.testing.assert_allclose(model.embed(), expected, rtol=1e-5, atol=1e-6)
