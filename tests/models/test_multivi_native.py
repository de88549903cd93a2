"""MultiVI native against scvi-tools' MULTIVI module, term by term on the same weights."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from benchmarks.formats import Multimodal  # noqa: E402
from models.multivi_native import MultiVINative  # noqa: E402
from models.networks.multivi import MultiVINetwork  # noqa: E402
from models.parts.counts import DesignCounts  # noqa: E402
from models.parts.priors import gaussian_divergence  # noqa: E402

N_OBS, SIZES = 40, {"rna": 30, "atac": 64, "protein": 6}


def small_design(modalities=("rna", "atac", "protein"), missing=True) -> Multimodal:
    rng = np.random.default_rng(0)
    counts, rows, var = {}, {}, {}
    lacks = {"rna": np.arange(0, 10), "atac": np.arange(10, 20), "protein": np.arange(15, 25)} if missing else {}
    for modality in modalities:
        have = np.setdiff1d(np.arange(N_OBS), lacks.get(modality, []))
        dense = rng.poisson(0.6 if modality != "protein" else 8, size=(len(have), SIZES[modality])).astype(np.float32)
        dense[:, 0] += 1  # scvi-tools takes an all-zero row for a missing one
        counts[modality], rows[modality] = sp.csr_matrix(dense), have
        var[modality] = pd.DataFrame(index=[f"{modality}{i}" for i in range(SIZES[modality])])
    obs = pd.DataFrame({"batch": np.where(np.arange(N_OBS) % 2, "b", "a")}, index=[f"c{i}" for i in range(N_OBS)])
    return Multimodal(obs, counts, var, rows)


def scvi_module(penalty="Jeffreys", weights="equal", gene_likelihood="zinb"):
    from scvi.module import MULTIVAE

    torch.manual_seed(0)
    module = MULTIVAE(
        n_input_regions=SIZES["atac"],
        n_input_genes=SIZES["rna"],
        n_input_proteins=SIZES["protein"],
        modality_weights=weights,
        modality_penalty=penalty,
        gene_likelihood=gene_likelihood,
        n_batch=2,
        n_obs=N_OBS,
        n_hidden=16,
        n_latent=5,
        n_cats_per_cov=[],
    )
    if weights != "equal":
        with torch.no_grad():
            module.mod_weights.copy_(torch.randn_like(module.mod_weights))
    with torch.no_grad():
        module.region_factors.copy_(torch.randn_like(module.region_factors))
    return module.eval()


def copy_linear(ours, theirs):
    from models.parts.sparse_linear import SparseLinear

    weight = theirs.weight.t() if isinstance(ours, SparseLinear) else theirs.weight
    assert ours.weight.shape == weight.shape
    ours.weight.data.copy_(weight.data)
    ours.bias.data.copy_(theirs.bias.data)


def linears(module):
    from models.parts.sparse_linear import SparseLinear

    return [layer for layer in module.modules() if isinstance(layer, (torch.nn.Linear, SparseLinear))]


def copy_weights(network, module):
    pairs = []
    for name, encoder in (("rna", "expression"), ("atac", "accessibility"), ("protein", "protein")):
        theirs = getattr(module, f"z_encoder_{encoder}")
        pairs += zip(linears(network.encoders[name].hidden), linears(theirs.encoder))
        pairs += [
            (network.encoders[name].mean, theirs.mean_encoder),
            (network.encoders[name].log_variance, theirs.var_encoder),
        ]
    pairs += zip(linears(network.rna_library), linears(module.l_encoder_expression))
    pairs += zip(linears(network.atac_library), linears(module.l_encoder_accessibility))
    expression, accessibility, protein = (
        module.z_decoder_expression,
        module.z_decoder_accessibility,
        module.z_decoder_pro,
    )
    pairs += zip(linears(network.rna_decoder.hidden), linears(expression.px_decoder))
    pairs.append((network.rna_decoder.scale, expression.px_scale_decoder[0]))
    if network.rna_decoder.gate is not None:
        pairs.append((network.rna_decoder.gate, expression.px_dropout_decoder))
    pairs += zip(linears(network.atac_decoder), linears(accessibility))
    ours = network.protein_decoder
    for mine, theirs in (
        (ours.background, protein.py_back_decoder),
        (ours.background_mean, protein.py_back_mean_log_alpha),
        (ours.background_log_deviation, protein.py_back_mean_log_beta),
        (ours.foreground, protein.py_fore_decoder),
        (ours.foreground_factor, protein.py_fore_scale_decoder),
        (ours.mixing, protein.sigmoid_decoder),
        (ours.mixing_logits, protein.py_background_decoder),
    ):
        pairs += zip(linears(mine), linears(theirs), strict=True)
    for mine, theirs in pairs:
        copy_linear(mine, theirs)
    network.rna_decoder.log_dispersion.data.copy_(module.px_r.data)
    network.atac_decoder.region_logits.data.copy_(module.region_factors.data)
    ours.log_dispersion.data.copy_(module.py_r.data)
    weights = module.mod_weights.data
    network.fusion_logits.data.copy_(weights if weights.ndim == 2 else weights[None])


def scvi_outputs(module, design, batch):
    """What scvi-tools infers and generates from the observations of `batch`, and its tensors of them."""
    from scvi import REGISTRY_KEYS

    keys = {"rna": REGISTRY_KEYS.X_KEY, "atac": REGISTRY_KEYS.ATAC_X_KEY, "protein": REGISTRY_KEYS.PROTEIN_EXP_KEY}
    positions = batch.positions
    tensors = {keys[name]: torch.from_numpy(design.padded(name).toarray())[positions] for name in design.modalities}
    tensors[REGISTRY_KEYS.BATCH_KEY] = batch.batch[:, None]
    tensors[REGISTRY_KEYS.INDICES_KEY] = positions[:, None]
    tensors[REGISTRY_KEYS.LABELS_KEY] = torch.zeros(len(positions), 1)
    inference = module.inference(**module._get_inference_input(tensors))
    return inference, module.generative(**module._get_generative_input(tensors, inference)), tensors


@pytest.mark.parametrize("weights", ["equal", "universal", "cell"])
@pytest.mark.parametrize("penalty", ["Jeffreys", "MMD", "None"])
def test_every_term_equals_scvi_on_the_same_weights(penalty, weights):
    module = scvi_module(penalty, weights)
    design = small_design()
    data = DesignCounts(design, design.modalities, "cpu")
    name = {"Jeffreys": "jeffreys", "MMD": "latent_distance", "None": "none"}[penalty]
    network = MultiVINetwork(data.n_features, 2, N_OBS, None, width=16, n_latent=5, fusion=weights, penalty=name).eval()
    copy_weights(network, module)
    batch = data.minibatch(torch.arange(N_OBS))

    with torch.no_grad():
        inference, generative, tensors = scvi_outputs(module, design, batch)
        theirs = module.loss(tensors, inference, generative, kl_weight=1.0)
        z = inference["z"]

        posteriors = network.posteriors(batch)
        mean, variance = network.fuse(batch, posteriors)
        library = network.rna_library(batch.counts["rna"])
        rna = batch.where["rna"]
        _, expression = network.rna_decoder.loss(
            batch.counts["rna"], z[rna], batch.batch_one_hot[rna], library, torch.ones(len(rna))
        )
        atac = batch.where["atac"]
        factor = network.atac_library(batch.counts["atac"])
        ones = torch.ones(len(atac))
        _, accessibility = network.atac_decoder.loss(
            batch.counts["atac"], z[atac], batch.batch_one_hot[atac], factor, ones
        )
        # The background of the proteins is drawn: give the draw of scvi-tools to both.
        py = generative["py_"]
        from models.parts.likelihoods import negative_binomial_mixture_log_likelihood

        protein = batch.where["protein"]
        decoder = network.protein_decoder
        background, foreground, logits = decoder(z[protein], batch.batch_one_hot[protein], sample=False)
        draw = py["rate_back"][protein]
        mixture = negative_binomial_mixture_log_likelihood(
            batch.counts["protein"], draw, draw * foreground / background, torch.exp(decoder.log_dispersion), logits
        )
        penalties = network.modality_penalty(batch, posteriors)

    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(mean, inference["qz_m"], **close)
    torch.testing.assert_close(variance, inference["qz_v"], **close)
    torch.testing.assert_close(library, inference["libsize_expr"][rna, 0], **close)
    torch.testing.assert_close(factor, inference["libsize_acc"][atac, 0], **close)
    losses = theirs.reconstruction_loss
    torch.testing.assert_close(expression, losses["reconstruction_loss_expression"][rna], **close)
    torch.testing.assert_close(accessibility, losses["reconstruction_loss_accessibility"][atac], **close)
    torch.testing.assert_close(torch.log(background), py["back_alpha"][protein], **close)
    torch.testing.assert_close(-mixture, losses["reconstruction_loss_protein"][protein], **close)
    torch.testing.assert_close(gaussian_divergence(mean, variance), theirs.kl_local["kl_divergence_z"], **close)
    expected = torch.as_tensor(theirs.kl_local["kl_divergence_paired"], dtype=torch.float32).mean()
    torch.testing.assert_close(penalties, expected, rtol=1e-4, atol=1e-4)
    total = (expression.sum() + accessibility.sum() - mixture.sum()) / N_OBS
    ours = total + gaussian_divergence(mean, variance).mean() + penalties
    torch.testing.assert_close(ours, theirs.loss, rtol=1e-5, atol=1e-3)


def test_the_adversary_equals_the_one_of_scvi():
    from scvi.train import AdversarialTrainingPlan

    from models.parts.adversary import DomainClassifier

    torch.manual_seed(0)
    plan = AdversarialTrainingPlan(scvi_module(), adversarial_classifier=True)
    ours = DomainClassifier(5, 2).eval()
    theirs = plan.adversarial_classifier.eval()
    for mine, other in zip(linears(ours), linears(theirs), strict=True):
        copy_linear(mine, other)
    z, domain = torch.randn(12, 5), torch.arange(12) % 2
    with torch.no_grad():
        # scvi-tools' batch normalisation has another epsilon; at fresh running statistics it scales by sqrt(1.00001 / 1.001).
        for norm in (layer for layer in ours.modules() if isinstance(layer, torch.nn.BatchNorm1d)):
            norm.eps = 0.001
        for true in (True, False):
            expected = plan.loss_adversarial_classifier(z, domain[:, None], true)
            mine = ours.loss(z, domain) if true else ours.fooling_loss(z, domain)
            torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)


def give_draws_of_scvi(monkeypatch, network, batch, inference, generative):
    """Let torch draw in `network.losses` the noise that scvi-tools has drawn: of z, then of the proteins' background."""
    background, rows = generative["py_"], batch.where["protein"]
    noise = [
        (inference["z"] - inference["qz_m"]) / inference["qz_v"].sqrt(),
        ((generative["log_pro_back_mean"] - background["back_alpha"]) / background["back_beta"])[rows],
    ]

    def drawn(like):
        assert noise[0].shape == like.shape
        return noise.pop(0)

    monkeypatch.setattr(torch, "randn_like", drawn)


@pytest.mark.parametrize("kl_weight", [0.3, 1.0])
@pytest.mark.parametrize(
    "penalty, weights, missing, gene_likelihood",
    [
        ("Jeffreys", "equal", True, "zinb"),
        ("Jeffreys", "equal", False, "nb"),
        ("MMD", "universal", True, "zinb"),
        ("None", "cell", True, "nb"),
    ],
)
def test_the_losses_equal_those_of_scvi_for_the_same_draws(
    monkeypatch, penalty, weights, missing, gene_likelihood, kl_weight
):
    module = scvi_module(penalty, weights, gene_likelihood)
    design = small_design(missing=missing)
    data = DesignCounts(design, design.modalities, "cpu")
    chosen = {"fusion": weights, "gene_likelihood": gene_likelihood}
    chosen["penalty"] = {"Jeffreys": "jeffreys", "MMD": "latent_distance", "None": "none"}[penalty]
    network = MultiVINetwork(data.n_features, 2, N_OBS, None, width=16, n_latent=5, **chosen).eval()
    copy_weights(network, module)
    # Not all cells, and not in their order: as in training.
    batch = data.minibatch(torch.randperm(N_OBS, generator=torch.Generator().manual_seed(0))[:25])
    with torch.no_grad():
        inference, generative, tensors = scvi_outputs(module, design, batch)
        theirs = module.loss(tensors, inference, generative, kl_weight=kl_weight)
        give_draws_of_scvi(monkeypatch, network, batch, inference, generative)
        losses = network.losses(batch, kl_weight)
    reconstruction = sum(values.mean() for values in theirs.reconstruction_loss.values())
    expected = {
        "loss": theirs.loss,
        "reconstruction": reconstruction,
        "kl": theirs.kl_local["kl_divergence_z"].mean(),
        "penalty": torch.as_tensor(theirs.kl_local["kl_divergence_paired"], dtype=torch.float32).mean(),
    }
    assert set(losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-5)


def scvi_adversary():
    """scvi-tools' adversarial training plan and our network of the same weights, the adversary's ones included."""
    from scvi.train import AdversarialTrainingPlan

    module = scvi_module()
    plan = AdversarialTrainingPlan(module, adversarial_classifier=True)
    domain = torch.from_numpy(np.random.default_rng(1).integers(0, 2, N_OBS))
    network = MultiVINetwork(SIZES, 2, N_OBS, domain, width=16, n_latent=5).eval()
    copy_weights(network, module)
    for mine, other in zip(linears(network.adversary), linears(plan.adversarial_classifier.eval()), strict=True):
        copy_linear(mine, other)
    for norm in (layer for layer in network.adversary.modules() if isinstance(layer, torch.nn.BatchNorm1d)):
        norm.eps = 0.001  # scvi-tools'
    return plan, network


def test_the_adversarial_terms_equal_those_of_scvi_on_the_codes_of_the_step(monkeypatch):
    plan, network = scvi_adversary()
    design = small_design()
    data = DesignCounts(design, design.modalities, "cpu")
    batch = data.minibatch(torch.randperm(N_OBS, generator=torch.Generator().manual_seed(0))[:25])
    domain = network.domain[batch.positions][:, None]
    with torch.no_grad():
        inference, generative, tensors = scvi_outputs(plan.module, design, batch)
        theirs = plan.module.loss(tensors, inference, generative, kl_weight=0.3).loss
        fooling, own = (plan.loss_adversarial_classifier(inference["z"], domain, true) for true in (False, True))
    assert (fooling - own).abs() > 1e-3
    # In training the classifier is to be fooled; the layers stay in evaluation mode, without drop-out.
    network.training = True
    give_draws_of_scvi(monkeypatch, network, batch, inference, generative)
    loss = network.losses(batch, 0.3)["loss"]
    # MULTIVI.train has scale_adversarial_loss = 1: the term's weight stays one.
    torch.testing.assert_close(loss.detach() - theirs, fooling, rtol=1e-3, atol=1e-3)
    second = network.second_loss(batch)
    torch.testing.assert_close(second.detach(), own, rtol=1e-5, atol=1e-6)
    second.backward()
    learning = {name.partition(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert learning == {"adversary"}


def test_equal_fusion_of_a_paired_cell_is_the_average_and_of_a_single_modality_that_modality():
    design = small_design(("rna", "atac"))
    data = DesignCounts(design, design.modalities, "cpu")
    network = MultiVINetwork(data.n_features, 2, N_OBS, None, width=8, n_latent=3).eval()
    batch = data.minibatch(torch.arange(N_OBS))
    with torch.no_grad():
        posteriors = network.posteriors(batch)
        mean, variance = network.fuse(batch, posteriors)
    rna, atac = posteriors["rna"], posteriors["atac"]
    paired = batch.mask("rna") & batch.mask("atac")
    torch.testing.assert_close(mean[paired], (rna[0] + atac[0])[paired] / 2)
    torch.testing.assert_close(variance[paired], (rna[1] + atac[1])[paired] * 0.5**0.5)
    torch.testing.assert_close(mean[~batch.mask("atac")], rna[0][~batch.mask("atac")])
    torch.testing.assert_close(variance[~batch.mask("rna")], atac[1][~batch.mask("rna")])


@pytest.mark.parametrize("penalty", ["jeffreys", "mmd", "latent_distance", "none"])
@pytest.mark.parametrize("fusion", ["equal", "universal", "cell"])
def test_all_variants_train_and_are_reproducible(penalty, fusion):
    design = small_design()
    embeddings = []
    for _ in range(2):
        model = MultiVINative(epochs=3, batch_size=16, penalty=penalty, fusion=fusion)
        model.fit(design, 7, "cpu")
        embeddings.append(model.embed())
    assert embeddings[0].dtype == np.float32 and embeddings[0].shape[0] == N_OBS
    assert np.array_equal(*embeddings)
    assert set(model.loss_history) >= {"loss", "reconstruction", "kl", "penalty", "validation_reconstruction"}


def test_predictions_have_the_shape_of_the_lacking_observations():
    design = small_design()
    model = MultiVINative(epochs=2, batch_size=16)
    model.fit(design, 0, "cpu")
    for modality in design.modalities:
        prediction = model.predict(modality)
        assert np.array_equal(prediction.rows, np.flatnonzero(~design.has(modality)))
        assert prediction.mean.shape == prediction.deviation.shape == (len(prediction.rows), SIZES[modality])
        assert (prediction.mean >= 0).all() and (prediction.deviation >= 0).all()
    assert model.predict("atac").mean.max() <= 1
