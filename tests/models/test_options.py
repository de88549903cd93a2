"""Options of the composed models: none is ignored, and a wrong one trains nothing."""

from __future__ import annotations

import pytest

from benchmarks.errors import InputError
from models import document, registry
from workflow.configuration import load_variants

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("penalty", "Jeffreys"), ("penalty", "None"), ("fusion", "average"), ("gene_likelihood", "poisson")],
)
def test_the_network_takes_no_unknown_name_for_its_last_branch(name, wrong):
    from models.networks.multivi import MultiVINetwork

    with pytest.raises(ValueError, match=f"{name} is '{wrong}'; known: "):
        MultiVINetwork({"rna": 9, "atac": 9}, 1, 5, **{name: wrong})


def test_what_is_declared_is_what_the_network_knows():
    from models.networks.multivi import MultiVINetwork

    choices = registry.declaration("multivi-native").choices
    known = {"fusion": MultiVINetwork.FUSIONS, "penalty": MultiVINetwork.PENALTIES}
    assert choices == {**known, "gene_likelihood": MultiVINetwork.LIKELIHOODS}


def test_a_variant_with_a_wrong_text_is_refused_with_file_and_key(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text("v:\n  model: scmvp\n  description: d\n  hyperparameters:\n    channels: RNA\n")
    with pytest.raises(InputError) as caught:
        load_variants(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: v.hyperparameters.channels: model 'scmvp'") and "\n" not in text
    assert "'RNA'; give one of 'both', 'rna', 'atac'" in text


def test_the_page_of_the_models_shows_the_choices():
    assert '| `penalty` | `"jeffreys"` (or `"latent_distance"`, `"mmd"`, `"none"`) |' in document.markdown()


@pytest.mark.parametrize("rate", [None, 3e-4])
def test_portals_learning_rate_is_that_of_all_its_networks(make, monkeypatch, rate):
    """The discriminators' optimiser had a rate of its own, at the default the same one."""
    from models.parts.trainer import Trainer

    model = registry.model_class("portal")(**({} if rate is None else {"learning_rate": rate}), n_iterations=20)
    trained = []
    monkeypatch.setattr(Trainer, "fit", lambda self: trained.append(self))
    model.fit(make(("rna", "atac"), 0.0)[0], 0, "cpu")
    (trainer,) = trained
    rates = [group["lr"] for optimiser in (trainer.optimiser, trainer.second) for group in optimiser.param_groups]
    assert rates == [1e-3 if rate is None else rate] * 2
    assert trainer.second.param_groups[0]["eps"] == 1e-8 and trainer.second.param_groups[0]["weight_decay"] == 0


OTHERS = {
    "multivi-native": {
        "adversary_widths": (16,),
        "adversary_dropout": 0.5,
        "adversary_learning_rate": 0.1,
        "adversary_epsilon": 1e-8,
    },
    "cobolt": {
        "tree_rate": 0.1,
        "tree_iterations": 10,
        "tree_depth": 2,
        "tree_min_samples_leaf": 20,
        "tree_l2": 50.0,
    },
    "davae": {
        "encoder_dropout": 0.5,
        "decoder_dropout": 0.5,
        "classifier_widths": (8,),
        "classifier_dropout": 0.5,
    },
    "multidgd": {
        "latent_rate": 0.05,
        "covariate_rate": 0.05,
        "betas": (0.9, 0.99),
        "latent_decay": 0.5,
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_constant_of_the_releases_is_an_option_that_changes_the_embedding(make, name):
    visible = make(("rna", "atac"), 0.5, n_cells=200)[0]

    def embedding(**changes):
        model = registry.model_class(name)(epochs=4, learning_rate=1e-3, **changes)
        model.fit(visible, 0, "cpu")
        return model.embed()

    usual = embedding()
    ignored = [key for key, value in OTHERS[name].items() if (embedding(**{key: value}) == usual).all()]
    assert not ignored


def test_multidgds_other_constants_reach_its_network(make):
    """Batches of equal size say nothing of the mixture's weights, and candidates are drawn for unseen batches alone."""
    model = registry.model_class("multidgd")(epochs=1, covariate_concentration=5.0, candidates=7)
    model.fit(make(("rna", "atac"), 0.5, n_cells=200)[0], 0, "cpu")
    assert model.network.covariate_mixture.concentration == 5.0 and model.network.candidates == 7
