"""Every composed model: contract, above chance, reproducible; and what is particular to each paper."""

import functools
import importlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.datasets.simulate import SimulationParameters, simulate  # noqa: E402
from benchmarks.designs import DesignSpec, make_design  # noqa: E402

# Fewer epochs and larger steps than the papers': enough for easy data, and quick.
QUICK = {
    "models.multivi_native:MultiVINative": {
        "epochs": 40,
        "learning_rate": 2e-3,
        "batch_size": 64,
        "kl_warmup_epochs": 20,
    },
    "models.cobolt:Cobolt": {"epochs": 30},
    "models.scmm:ScMM": {"epochs": 30, "learning_rate": 2e-3, "batch_size": 64, "kl_warmup_epochs": 15},
    # From a PCA: from the origin the representations alone need a hundred epochs.
    "models.multidgd:MultiDGD": {"epochs": 30, "learning_rate": 1e-3, "batch_size": 64, "initialisation": "pca"},
    "models.scmvp:ScMVP": {"epochs": 20, "batch_size": 64},
    "models.portal:Portal": {"n_iterations": 200, "batch_size": 64},
    "models.davae:DAVAE": {"epochs": 100, "batch_size": 128},
    "models.scalex:SCALEX": {"n_iterations": 400, "learning_rate": 1e-3},
}


def make(path, **overrides):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)(**{**QUICK[path], **overrides})


@functools.cache
def design(modalities=("rna", "atac"), unpaired=0.0, n_cells=400):
    parameters = SimulationParameters(
        modalities=modalities, n_cells=n_cells, n_genes=250, n_peaks=500, n_proteins=20, n_types=7, type_separation=1.6
    )
    spec = DesignSpec("simulated", modalities, n_cells=n_cells, unpaired_fraction=unpaired)
    return make_design(simulate(parameters, seed=3), spec)


def neighbour_accuracy(embedding, labels):
    """Share of cells whose 10 nearest neighbours' commonest label is theirs."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=11).fit(embedding).kneighbors(embedding, return_distance=False)[:, 1:]
    codes = np.unique(labels, return_inverse=True)[1]
    return np.mean([np.bincount(codes[row]).argmax() == code for row, code in zip(neighbours, codes)])


def modalities_of(path):
    return ("rna", "protein") if path == "models.scalex:SCALEX" else ("rna", "atac")


@pytest.mark.parametrize("path", QUICK)
def test_labels_of_neighbours_are_far_above_chance(path):
    visible, truth = design(modalities_of(path))
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    model = make(path)
    model.fit(visible, 0, "cpu")
    embedding = model.embed()
    assert embedding.shape[0] == visible.n_obs and embedding.dtype == np.float32 and np.isfinite(embedding).all()
    chance = neighbour_accuracy(np.random.default_rng(0).normal(size=embedding.shape), labels)
    assert neighbour_accuracy(embedding, labels) > chance + 0.25
    assert model.epochs and len(model.loss_history["loss"]) == model.epochs


@pytest.mark.parametrize("path", QUICK)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(path):
    visible, _ = design(modalities_of(path), n_cells=120)
    short = {"n_iterations": 40} if "portal" in path else {"n_iterations": 20} if "scalex" in path else {"epochs": 2}
    embeddings = []
    for seed in (5, 5, 6):
        model = make(path, **short)
        model.fit(visible, seed, "cpu")
        embeddings.append(model.embed())
    assert np.array_equal(embeddings[0], embeddings[1]) and not np.array_equal(embeddings[0], embeddings[2])


@pytest.mark.parametrize("path", QUICK)
def test_declarations_are_complete_and_the_planner_needs_no_torch(path):
    import subprocess
    import sys

    model = make(path)
    declaration = model.declaration
    assert set(declaration.origins) == set(declaration.defaults)
    assert declaration.paper and declaration.kind == "composed"
    if path == next(iter(QUICK)):
        modules = ", ".join(entry.partition(":")[0] for entry in QUICK)
        code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "path", [path for path in QUICK if "scmm" not in path and "scmvp" not in path and "scalex" not in path]
)
def test_unpaired_cells_get_finite_embeddings_near_their_other_half(path):
    visible, truth = design(unpaired=0.5)
    model = make(path)
    model.fit(visible, 0, "cpu")
    embedding = model.embed()
    assert np.isfinite(embedding).all()
    cell, group = truth.obs["cell"].to_numpy(), truth.obs["group"].astype(str).to_numpy()
    rna = {cell[i]: i for i in np.flatnonzero(group == "rna")}
    atac = {cell[i]: i for i in np.flatnonzero(group == "atac")}
    ranks = []
    for name, i in rna.items():
        distances = ((embedding - embedding[i]) ** 2).sum(1)
        ranks.append((distances < distances[atac[name]]).sum() / len(embedding))
    # Chance is 0.5; its standard error over 200 cells is 0.02.
    assert np.mean(ranks) < 0.47


def fitted(path, unpaired=0.0, **overrides):
    visible, _ = design(unpaired=unpaired, n_cells=120)
    model = make(path, **overrides)
    model.fit(visible, 0, "cpu")
    return model, visible


def test_cobolt_posterior_of_a_paired_cell_is_the_product_of_the_experts():
    model, visible = fitted("models.cobolt:Cobolt", unpaired=0.5, epochs=2)
    network, batch = model.network, model.data.minibatch(torch.arange(visible.n_obs))
    with torch.no_grad():
        experts = network.experts(batch)
        mean, variance = network.posterior(batch, experts, ("rna", "atac"))
    paired = batch.mask("rna") & batch.mask("atac")
    precision = 1 / network.prior_variance + 1 / experts["rna"][1] + 1 / experts["atac"][1]
    weighted = network.prior_mean / network.prior_variance
    weighted = weighted + experts["rna"][0] / experts["rna"][1] + experts["atac"][0] / experts["atac"][1]
    torch.testing.assert_close(variance[paired], (1 / precision)[paired])
    torch.testing.assert_close(mean[paired], (weighted / precision)[paired], rtol=1e-4, atol=1e-5)


def test_cobolt_corrects_single_modality_latents_only():
    corrected, visible = fitted("models.cobolt:Cobolt", unpaired=0.5, epochs=4)
    raw, _ = fitted("models.cobolt:Cobolt", unpaired=0.5, epochs=4, correction=False)
    with_trees, without = corrected.embed(), raw.embed()
    paired = visible.complete
    assert np.array_equal(with_trees[paired], without[paired])
    assert not np.allclose(with_trees[~paired], without[~paired])
    np.testing.assert_allclose(with_trees.mean(1), 0, atol=1e-5)


def test_cobolt_steps_once_for_each_subset_and_sees_every_cell_that_has_it():
    from models.networks.cobolt import SubsetTrainer

    model, visible = fitted("models.cobolt:Cobolt", unpaired=0.5, epochs=1, batch_size=50)
    trainer = SubsetTrainer(model.network, model.data, model.plan(), 0, model.progress)
    seen: dict[tuple, list] = {}
    for batch in trainer._batches(np.arange(visible.n_obs)):
        assert all(len(batch.where[name]) == batch.size for name in batch.counts)
        seen.setdefault(tuple(batch.counts), []).append(batch.positions.numpy())
    assert list(seen) == [("rna",), ("atac",), ("rna", "atac")]
    for subset, parts in seen.items():
        expected = np.flatnonzero(np.all([visible.has(name) for name in subset], axis=0))
        assert np.array_equal(np.concatenate(parts), expected) and len(parts) == -(-len(expected) // 50)


def test_cobolt_loss_is_the_multinomial_and_the_divergence_from_the_dirichlet_like_prior():
    model, visible = fitted("models.cobolt:Cobolt", epochs=1)
    network, batch = model.network, model.data.minibatch(torch.arange(visible.n_obs))
    torch.manual_seed(0)
    with torch.no_grad():
        losses = network.losses(batch, 0.3)
    torch.manual_seed(0)
    with torch.no_grad():
        mean, variance = network.posterior(batch, network.experts(batch), network.modalities)
        normal = torch.distributions.Normal
        posterior, prior = normal(mean, variance.sqrt()), normal(network.prior_mean, network.prior_variance.sqrt())
        divergence = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
        z = mean + variance.sqrt() * torch.randn_like(mean)
        reconstruction = 0.0
        for name, decoder in network.decoders.items():
            logits = (torch.softmax(z, 1) @ decoder.loadings) * (1 + decoder.slopes[batch.batch])
            share = torch.log_softmax(logits + decoder.intercepts[batch.batch], 1)
            # As released: without the multinomial coefficient.
            reconstruction = reconstruction - (batch.counts[name].dense() * share).sum(1).mean()
    torch.testing.assert_close(losses["kl"], divergence, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["reconstruction"], reconstruction, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(losses["loss"], reconstruction + 0.3 * divergence, rtol=1e-4, atol=1e-2)


def test_scmm_embedding_is_the_mean_of_the_experts_and_it_generates_across():
    model, visible = fitted("models.scmm:ScMM", epochs=2)
    network, batch = model.network, model.data.minibatch(torch.arange(visible.n_obs))
    with torch.no_grad():
        rna, atac = (network.posterior(batch, name)[0] for name in ("rna", "atac"))
        reconstruction = network.losses(batch, 0.0)["reconstruction"]
    np.testing.assert_allclose(model.embed(), ((rna + atac) / 2).numpy(), rtol=1e-5, atol=1e-6)
    assert torch.isfinite(reconstruction)
    generated = model.generate("rna", "atac")
    assert generated.mean.shape == visible.counts["atac"].shape and (generated.mean >= 0).all()
    # At one depth for all, or at each cell's own.
    totals = model.data.matrices["atac"].totals.numpy()
    own = model.generate("rna", "atac", own_depth=True)
    np.testing.assert_allclose(
        own.mean, generated.mean * (totals / np.sort(totals)[(len(totals) - 1) // 2])[:, None], rtol=1e-4
    )


def test_scmm_probability_of_a_nonzero_count_is_that_of_its_likelihood():
    model, visible = fitted("models.scmm:ScMM", epochs=2)
    decoder, batch = model.network.decoders["atac"], model.data.minibatch(torch.arange(12))
    z, counts = torch.randn(12, 10), batch.counts["atac"]
    with torch.no_grad():
        total, logits, gate = decoder(z)
        zero = torch.distributions.NegativeBinomial(total * counts.totals[:, None] / 1e4, logits=logits)
        expected = (1 - torch.sigmoid(gate)) * (1 - zero.log_prob(torch.zeros(())).exp())
        torch.testing.assert_close(decoder.nonzero(z, counts.totals), expected, rtol=1e-4, atol=1e-6)


def test_scmm_traversal_moves_one_dimension_from_the_middle_of_the_prior():
    model, visible = fitted("models.scmm:ScMM", epochs=2)
    walk = model.traverse(3, "rna")
    assert walk.shape == (21, visible.counts["rna"].shape[1])
    decoder, totals = model.network.decoders["rna"], model.data.matrices["rna"].totals.median()[None]
    z = torch.zeros(1, model.hyperparameters["n_latent"])
    with torch.no_grad():
        middle = decoder.mean(z, totals).numpy()[0]
        z[0, 3] = -5.0
        first = decoder.mean(z, totals).numpy()[0]
    # Steps of half a prior scale from -5: the eleventh is the middle, where all dimensions meet.
    np.testing.assert_allclose(walk[10], middle, rtol=1e-4)
    np.testing.assert_allclose(walk[0], first, rtol=1e-4)
    from scipy.stats import spearmanr

    correlations = model.associations("rna")
    assert correlations.shape == (10, visible.counts["rna"].shape[1])
    for feature in (0, 17, 101):
        assert correlations[3, feature] == pytest.approx(spearmanr(np.arange(21), walk[:, feature]).statistic, abs=1e-6)
    np.testing.assert_allclose(model.traverse(7, "rna")[10], middle, rtol=1e-4)
    assert not np.allclose(walk[0], middle)
    assert model.traverse(0, "atac", np.array([1.0, 2.0])).shape == (2, visible.counts["atac"].shape[1])


def test_scmm_cross_modal_generation_tells_cells_apart():
    visible, _ = design()
    model = make("models.scmm:ScMM")
    model.fit(visible, 0, "cpu")
    generated = np.log1p(model.generate("atac", "rna").mean)
    observed = np.log1p(visible.counts["rna"].toarray())
    generated, observed = generated - generated.mean(0), observed - observed.mean(0)
    own = (generated * observed).sum(1).mean()
    others = [(generated * np.roll(observed, shift, axis=0)).sum(1).mean() for shift in range(1, 40)]
    assert own > max(others)


def test_scmm_likelihoods_are_those_of_torch_distributions():
    model, visible = fitted("models.scmm:ScMM", epochs=1)
    batch = model.data.minibatch(torch.arange(visible.n_obs))
    z = torch.randn(visible.n_obs, model.hyperparameters["n_latent"], generator=torch.Generator().manual_seed(0))
    for name, decoder in model.network.decoders.items():
        counts = batch.counts[name]
        with torch.no_grad():
            total, logits, gate = decoder(z)
            total = total * counts.totals[:, None] / 10_000 + 1e-8
            log_density = torch.distributions.NegativeBinomial(total, logits=logits).log_prob(counts.dense())
            if gate is not None:
                zero = (torch.sigmoid(gate) + torch.sigmoid(-gate) * log_density.exp()).log()
                nonzero = torch.nn.functional.logsigmoid(-gate) + log_density
                log_density = torch.where(counts.dense() == 0, zero, nonzero)
            found = decoder.log_likelihood(counts, z)
        torch.testing.assert_close(found, log_density.sum(1), rtol=1e-4, atol=1e-2)
    assert model.network.decoders["rna"].gate is None and model.network.decoders["atac"].gate is not None


def test_scmvp_variants_and_components():
    for channels in ("rna", "atac"):
        model, visible = fitted("models.scmvp:ScMVP", epochs=6, channels=channels, n_latent=4)
        assert model.embed().shape == (visible.n_obs, 4)
    components = model.components()
    assert components.shape == (visible.n_obs,) and components.max() < visible.uns["n_cell_types"]


def test_multidgd_representations_step_once_an_epoch_and_new_cells_are_inferred():
    model, visible = fitted("models.multidgd:MultiDGD", unpaired=0.5, epochs=1, initialisation="origin")
    single = np.flatnonzero(~visible.complete)
    paired = np.flatnonzero(visible.complete)
    embedding = model.embed()
    # Adam's first step has the size of the learning rate; zero gradients cannot be.
    assert np.abs(embedding[paired]).max() == pytest.approx(1e-2, rel=1e-3)
    means = model.network.basal_mixture.means.detach().numpy()
    distances = np.abs(embedding[single][:, None] - means[None]).max(2).min(1)
    assert distances.max() <= 10 * 1e-2 + 1e-5
    assert model.components().shape == (visible.n_obs,)


def test_multivi_predicts_the_mean_of_the_proteins_background_not_its_median():
    visible, _ = design(("rna", "protein"), 0.5, 120)
    model = make("models.multivi_native:MultiVINative", epochs=2, prediction_samples=400)
    model.fit(visible, 0, "cpu")
    layer, predictions = model.network.protein_decoder.background_log_deviation, []
    for deviation in (1e-6, 1.0):
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.fill_(np.log(deviation))
        predictions.append(model.predict("protein"))
    still, wide = predictions
    assert wide.mean.mean() / still.mean.mean() == pytest.approx(np.exp(0.5), rel=0.03)
    assert (wide.deviation > still.deviation).mean() > 0.99


def test_multidgd_predictions_and_gene_to_peak():
    model, visible = fitted("models.multidgd:MultiDGD", unpaired=0.5, epochs=3)
    rna, atac = model.predict("rna"), model.predict("atac")
    depth = float(model.data.matrices["rna"].totals.median())
    np.testing.assert_allclose(rna.mean.sum(1), depth, rtol=1e-3)
    assert (atac.mean >= 0).all() and (atac.mean <= 1).all()
    association = model.gene_to_peak(int(np.asarray(visible.counts["rna"].sum(0)).argmax()))
    assert association.shape == (visible.counts["atac"].shape[1],) and np.abs(association).max() > 0


def test_multidgd_gene_to_peak_is_the_fall_of_accessibility_along_a_finite_difference_of_silencing():
    import copy

    model, visible = fitted("models.multidgd:MultiDGD", unpaired=0.5, epochs=10)
    counts = visible.counts["rna"].toarray()
    # A gene that some cells lack, so that it matters which cells are averaged.
    gene = int(np.argmin(np.abs((counts > 0).mean(0) - 0.6)))
    expressing = counts[:, gene] > 0
    cells = torch.from_numpy(visible.rows["rna"][expressing])
    totals = torch.from_numpy(counts.sum(1)[expressing]).double()
    exact = copy.deepcopy(model.network).double()
    with torch.no_grad():
        basal, dispersion = exact.basal[cells], exact.branches["rna"].dispersion[gene]
        covariate = None if exact.covariate is None else exact.covariate[cells]

        def loss(z):
            mean = exact.branches["rna"](exact.decode(z, covariate))[:, gene] * totals
            zero = torch.distributions.NegativeBinomial(dispersion, logits=torch.log(mean / dispersion))
            return -zero.log_prob(torch.zeros(len(mean)).double())

        step = torch.eye(basal.shape[1]).double() * 1e-6
        slope = torch.stack([(loss(basal + along) - loss(basal - along)) / 2e-6 for along in step], 1)
        # Adam's first step is the learning rate, whatever the size of the slope.
        silenced = basal - 0.01 * slope.sign()
        assert (loss(silenced) < loss(basal)).all()
        before, after = (exact.branches["atac"](exact.decode(z, covariate)) for z in (basal, silenced))
        expected = (before - after).mean(0).numpy()
    largest = np.abs(expected).max()
    np.testing.assert_allclose(model.gene_to_peak(gene), expected, rtol=1e-3, atol=1e-3 * largest)


def test_multidgd_predicts_a_missing_modality_better_than_a_constant():
    visible, truth = design(unpaired=0.5)
    # Without the penalty of the weights, which in so short a training keeps the cells alike.
    model = make("models.multidgd:MultiDGD", learning_rate=2e-3, sparsity=0.0)
    model.fit(visible, 0, "cpu")
    for modality in ("rna", "atac"):
        prediction = model.predict(modality)
        assert np.array_equal(prediction.rows, np.flatnonzero(~visible.has(modality)))
        assert np.array_equal(prediction.rows, truth.rows[modality])
    # Mean log likelihood under a Poisson, which is highest at the true mean, of counts at the depth that is predicted.
    depth = float(model.data.matrices["rna"].totals.median())
    withheld, paired = truth.counts["rna"].toarray(), visible.counts["rna"].toarray()
    paired = paired[np.isin(visible.rows["rna"], np.flatnonzero(visible.complete))]
    withheld, paired = (counts / counts.sum(1, keepdims=True) * depth for counts in (withheld, paired))
    predicted, constant = (np.maximum(mean, 1e-3) for mean in (model.predict("rna").mean, paired.mean(0)))
    assert (withheld * np.log(predicted) - predicted).mean() > (withheld * np.log(constant) - constant).mean()
    # Under a Bernoulli; the constant is the predictions' own mean, since their level is too high: simulated cut sites
    # come in pairs, so that there are more zeros than a negative binomial with r > 1 has at their mean.
    opened, predicted = truth.counts["atac"].toarray() > 0, np.clip(model.predict("atac").mean, 1e-3, 1 - 1e-3)
    constant = np.broadcast_to(predicted.mean(0), predicted.shape)
    scores = [np.log(np.where(opened, open_, 1 - open_)).mean() for open_ in (predicted, constant)]
    assert scores[0] > scores[1] + 5e-4


def with_batches(visible, names):
    """The design with `names` as batches, one an observation."""
    from benchmarks.formats import Multimodal

    obs = visible.obs.assign(batch=list(names))
    return Multimodal(obs, visible.counts, visible.var, visible.rows, visible.uns)


def test_multidgd_loss_is_the_sum_over_cells_with_the_priors_once_a_cell():
    visible, _ = design(n_cells=120)
    visible = with_batches(visible, ["a", "b"] * 60)
    for prior_per_cell in (True, False):
        model = make("models.multidgd:MultiDGD", epochs=1, prior_per_cell=prior_per_cell, sparsity=0.5)
        model.fit(visible, 0, "cpu")
        network, batch = model.network, model.data.minibatch(torch.arange(40))
        with torch.no_grad():
            losses = network.losses(batch, 1.0)
            basal, covariate = network.basal[:40], network.covariate[:40]
            hidden = network.shared(torch.cat((basal, covariate), 1))
            expected = 0.0
            for name, branch in network.branches.items():
                r, counts = 1 + branch.log_excess_dispersion.exp(), batch.counts[name]
                mean = branch(hidden) * counts.totals[:, None]
                density = torch.distributions.NegativeBinomial(r, probs=mean / (mean + r)).log_prob(counts.dense())
                expected = expected - density.sum()
            normal = torch.distributions.Normal
            mixture = network.basal_mixture
            deviation = (-0.5 * mixture.negative_log_variances).exp()
            densities = normal(mixture.means, deviation).log_prob(basal[:, None]).sum(2)
            expected = expected - torch.logsumexp(densities + torch.log_softmax(mixture.weight_logits, 0), 1).sum()
            other = network.covariate_mixture
            label, deviation = batch.batch, (-0.5 * other.negative_log_variances).exp()
            # As released: the supervised density counts once a class, of which there are two.
            expected = expected - 2 * normal(other.means[label], deviation[label]).log_prob(covariate).sum()
            prior = mixture.log_prior() + other.log_prior()
            expected = expected - prior * (40 if prior_per_cell else 40 / 120)
            weights = [value for name, value in network.named_parameters() if name.endswith("weight")]
            assert len(weights) == 2 + 2 * 3
            expected = expected + 0.5 * sum(value.abs().sum() for value in weights)
        torch.testing.assert_close(losses["loss"], expected, rtol=1e-4, atol=0.1)


def test_multidgd_does_not_tell_held_out_cells_their_batch():
    visible, _ = design(n_cells=120)
    visible = with_batches(visible, ["a", "b"] * 60)
    model = make("models.multidgd:MultiDGD", epochs=1, validation_fraction=0.25)
    model.fit(visible, 0, "cpu")
    start = np.abs(model.network.covariate.detach().numpy()).max(1)
    # One step of Adam from zero is at most the learning rate; the classes' means are elsewhere.
    held_out = start <= 1e-2 + 1e-6
    assert held_out.sum() == 30


def test_a_held_out_multidgd_cell_alone_in_its_mini_batch_learns():
    visible, _ = design(n_cells=120)
    visible = with_batches(visible, ["a", "b"] * 60)
    model = make(
        "models.multidgd:MultiDGD", epochs=1, validation_fraction=11 / 120, batch_size=10, initialisation="origin"
    )
    model.fit(visible, 0, "cpu")
    assert (np.abs(model.embed()).max(1) > 0).all()
    assert not model.network._placed.all() and (~model.network._placed).sum() == 11


def test_multidgd_has_no_component_for_a_batch_without_a_cell_to_train_on():
    from benchmarks.errors import InputError

    visible, _ = design(unpaired=0.5, n_cells=200)
    batch = np.where(visible.complete, np.array(["a", "b"])[np.arange(visible.n_obs) % 2], "c")
    model = make("models.multidgd:MultiDGD", epochs=2)
    model.fit(with_batches(visible, batch), 0, "cpu")
    assert len(model.network.covariate_mixture.means) == 2 and model.batch_names == ["a", "b"]
    assert np.isfinite(model.embed()).all()
    # The unseen class gets a component of its own when it is placed with labels.
    assert len(model.place(with_batches(visible, batch), "supervised").basal) == visible.n_obs
    single = make("models.multidgd:MultiDGD", epochs=1)
    single.fit(with_batches(visible, np.where(visible.complete, "a", "c")), 0, "cpu")
    assert single.network.covariate is None
    with pytest.raises(InputError, match="one batch"):
        single.place(visible, "supervised")


def test_multidgd_places_new_cells_and_unseen_batches():
    from benchmarks.errors import InputError

    visible, truth = design(n_cells=400)
    rng = np.random.default_rng(0)
    batch = np.array(["a", "b", "c"])[rng.integers(3, size=400)]
    # A batch is a shift of the counts of a third of the genes, so that there is something to learn.
    genes = visible.counts["rna"].toarray()
    for k, name in enumerate(("a", "b", "c")):
        genes[np.ix_(batch == name, np.arange(k, genes.shape[1], 3))] *= 4
    import scipy.sparse as sp

    from benchmarks.formats import Multimodal

    counts = {**visible.counts, "rna": sp.csr_matrix(genes.astype(np.float32))}
    shifted = with_batches(Multimodal(visible.obs, counts, visible.var, visible.rows, visible.uns), batch)
    seen, new = np.flatnonzero(batch != "c"), np.flatnonzero(batch == "c")
    model = make("models.multidgd:MultiDGD", epochs=40)
    model.fit(shifted.subset(seen), 0, "cpu")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    cells = shifted.subset(new)
    naive, supervised = model.place(cells), model.place(cells, "supervised")
    labels = truth.obs["cell_type"].astype(str).to_numpy()[new]
    for placed in (naive, supervised):
        assert placed.basal.shape == (len(new), 20) and placed.covariate.shape == (len(new), 2)
        assert np.isfinite(placed.basal).all() and np.isfinite(placed.reconstruction).all()
        assert neighbour_accuracy(placed.basal, labels) > np.bincount(
            np.unique(labels, return_inverse=True)[1]
        ).max() / len(labels)
    # Naive cells stay within ten steps of a seen class, supervised ones gather around a component of their own.
    means = model.network.covariate_mixture.means.detach().numpy()
    nearest = np.abs(naive.covariate[:, None] - means).max(2).min(1)
    assert nearest.max() <= 10 * 1e-2 + 1e-4
    assert np.abs(supervised.covariate[:, None] - means).max(2).min(1).min() > 10 * 1e-2
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    # Seen classes keep their labels; one modality is enough; what cannot be is said.
    again = model.place(shifted.subset(seen[:20]), "supervised")
    codes = np.unique(batch[seen[:20]], return_inverse=True)[1]
    assert np.abs(again.covariate - means[codes]).max() <= 10 * 1e-2 + 1e-4
    only = Multimodal(
        cells.obs, {"rna": cells.counts["rna"]}, {"rna": cells.var["rna"]}, {"rna": cells.rows["rna"]}, cells.uns
    )
    assert model.place(only).basal.shape == (len(new), 20)
    with pytest.raises(InputError, match="naive"):
        model.place(cells, "labels")
    nameless = Multimodal(cells.obs.drop(columns="batch"), cells.counts, cells.var, cells.rows, cells.uns)
    np.testing.assert_array_equal(model.place(nameless).basal, naive.basal)
    with pytest.raises(InputError, match="batch"):
        model.place(nameless, "supervised")
    with pytest.raises(InputError, match="one at a time"):
        model.place(with_batches(cells, ["d", "e"] * (len(new) // 2) + ["d"] * (len(new) % 2)), "supervised")


def test_scmvp_loss_is_the_weighted_sum_of_its_terms():
    model, _ = fitted("models.scmvp:ScMVP", epochs=1, weight_rna=2.0, weight_atac=0.5, weight_consistency=0.25)
    network, batch = model.network, model.data.minibatch(torch.arange(20))

    def terms(**weights):
        network.weights = {"rna": 0.0, "atac": 0.0, "consistency": 0.0, **weights}
        torch.manual_seed(0)
        with torch.no_grad():
            return network.losses(batch, 0.5)

    assert network.weights == {"rna": 2.0, "atac": 0.5, "consistency": 0.25}
    rna, atac = (terms(**{name: 1.0})["reconstruction"] for name in ("rna", "atac"))
    whole = terms(rna=2.0, atac=0.5, consistency=0.25)
    torch.testing.assert_close(whole["reconstruction"], 2.0 * rna + 0.5 * atac)
    expected = whole["reconstruction"] + 0.5 * (whole["kl"] + 0.25 * whole["consistency"])
    torch.testing.assert_close(whole["loss"], expected)
    assert rna > 0 and atac > 0 and whole["consistency"] > 0


def test_shared_space_normalises_by_the_total_of_all_genes():
    from models.parts.gene_activity import region_gene_overlap, shared_space
    from models.parts.transforms import log_normalised, standardised

    visible, _ = design(n_cells=120)
    overlap = region_gene_overlap(visible.var["atac"], visible.var["rna"])
    kept = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
    assert 50 <= len(kept) < visible.counts["rna"].shape[1]
    rna, _, way = shared_space(visible, 0)
    assert way == "gene activity"
    np.testing.assert_allclose(rna, standardised(log_normalised(visible.counts["rna"])[:, kept]), rtol=1e-5)


def test_davae_as_released_has_the_terms_of_the_release():
    model, visible = fitted("models.davae:DAVAE", epochs=1, released=True, inputs="counts_per_million")
    x = model.data.x
    assert model.data.n_domains == 2 and x.min() == 0
    depth = torch.expm1(x[: len(visible.rows["rna"])].double()).sum(1)
    assert depth.max() <= 1e6 * (1 + 1e-4), "log counts per million of all genes, of which these are some"
    torch.manual_seed(0)
    rows, decoded = x[:30], x[:30] + torch.randn(30, x.shape[1]) * 0.5 + 0.1
    residual = (rows - decoded).numpy().astype(float)
    term = 0.5 * x.shape[1] * ((residual**2).mean() / residual.var() + np.log(residual.var()) / residual.var())
    assert model.network.reconstruction(rows, decoded).item() == pytest.approx(term, rel=1e-4)
    with torch.no_grad():
        assert (model.network.decoder(torch.randn(4, model.network.decoder[0].layers[0].in_features)) >= 0).all()
    from benchmarks.errors import InputError

    with pytest.raises(InputError, match="counts_per_million"):
        fitted("models.davae:DAVAE", epochs=1, inputs="counts")


def test_portal_and_davae_say_when_there_is_no_gene_activity():
    visible, _ = design(n_cells=120)
    import pandas as pd

    from benchmarks.formats import Multimodal

    var = {name: pd.DataFrame(index=visible.var[name].index) for name in visible.modalities}
    bare = Multimodal(visible.obs, visible.counts, var, visible.rows, visible.uns)
    from benchmarks.errors import InputError

    with pytest.raises(InputError, match="coordinates"):
        make("models.davae:DAVAE", epochs=1, inputs="counts_per_million").fit(bare, 0, "cpu")
    for path, short in (("models.portal:Portal", {"n_iterations": 40}), ("models.davae:DAVAE", {"epochs": 2})):
        model = make(path, **short)
        model.fit(bare, 0, "cpu")
        assert any("canonical correlation" in text for text in model.warnings)
        assert np.isfinite(model.embed()).all()


def test_totalvi_trains():
    pytest.importorskip("scvi")
    from models.totalvi_scvi import TotalVI

    visible, truth = design(("rna", "protein"))
    model = TotalVI(max_epochs=8)
    model.fit(visible, 0, "cpu")
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    chance = neighbour_accuracy(np.random.default_rng(0).normal(size=(visible.n_obs, 20)), labels)
    assert neighbour_accuracy(model.embed(), labels) > chance + 0.25
