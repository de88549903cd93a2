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
