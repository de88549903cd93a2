"""Every composed model: contract, above chance, reproducible; and what is particular to each paper."""

import functools
import importlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.datasets.simulate import SimulationParameters, simulate  # noqa: E402
from benchmarks.designs import DesignSpec, make_design  # noqa: E402
from models.parts.encoders import embed_in_order  # noqa: E402

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
    "models.multidgd:MultiDGD": {"epochs": 30, "learning_rate": 1e-3, "batch_size": 64},
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
    assert model.traverse(0, "rna").shape == (20, visible.counts["rna"].shape[1])


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


def test_multidgd_predictions_and_gene_to_peak():
    model, visible = fitted("models.multidgd:MultiDGD", unpaired=0.5, epochs=3)
    rna, atac = model.predict("rna"), model.predict("atac")
    depth = float(model.data.matrices["rna"].totals.median())
    np.testing.assert_allclose(rna.mean.sum(1), depth, rtol=1e-3)
    assert (atac.mean >= 0).all() and (atac.mean <= 1).all()
    association = model.gene_to_peak(int(np.asarray(visible.counts["rna"].sum(0)).argmax()))
    assert association.shape == (visible.counts["atac"].shape[1],) and np.abs(association).max() > 0


def test_portal_and_davae_say_when_there_is_no_gene_activity():
    visible, _ = design(n_cells=120)
    import pandas as pd

    from benchmarks.formats import Multimodal

    var = {name: pd.DataFrame(index=visible.var[name].index) for name in visible.modalities}
    bare = Multimodal(visible.obs, visible.counts, var, visible.rows, visible.uns)
    for path, short in (("models.portal:Portal", {"n_iterations": 40}), ("models.davae:DAVAE", {"epochs": 2})):
        model = make(path, **short)
        model.fit(bare, 0, "cpu")
        assert any("canonical correlation" in text for text in model.warnings)
        assert np.isfinite(model.embed()).all()


def test_scalex_reconstruction_is_the_sum_over_features_of_the_binary_cross_entropy():
    visible, _ = design(("rna", "protein"), n_cells=120)
    model = make("models.scalex:SCALEX", n_iterations=10)
    model.fit(visible, 0, "cpu")
    assert model.data.x.min() >= 0 and model.data.x.max() <= 1
    codes = embed_in_order(model.data, model.network.embed)
    logits = model.network.decode(codes, model.data.domain)
    expected = (
        torch.nn.functional.binary_cross_entropy(torch.sigmoid(logits), model.data.x, reduction="none").sum(1).mean()
    )
    ours = torch.nn.functional.binary_cross_entropy_with_logits(logits, model.data.x) * model.data.x.shape[1]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


def test_totalvi_trains():
    pytest.importorskip("scvi")
    from models.totalvi_scvi import TotalVI

    visible, truth = design(("rna", "protein"))
    model = TotalVI(max_epochs=8)
    model.fit(visible, 0, "cpu")
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    chance = neighbour_accuracy(np.random.default_rng(0).normal(size=(visible.n_obs, 20)), labels)
    assert neighbour_accuracy(model.embed(), labels) > chance + 0.25
