"""The contract, run on every model of the registry: a new model is tested by being registered."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.errors import InputError
from models import registry
from models.base import Declaration, DivergedError, IntegrationModel

SHORT = {"max_epochs": 2, "n_epochs": 2, "epochs": 2, "n_iterations": 30}
"""Settings by which a training is cut short, whichever of them a model has."""


def short_settings(declaration: Declaration) -> dict:
    return {name: value for name, value in SHORT.items() if name in declaration.defaults}


def fitted(name: str, design, truth, seed: int = 0) -> IntegrationModel:
    model_type = registry.model_class(name)
    model = model_type(**short_settings(model_type.declaration))
    if model_type.declaration.needs_truth:
        model.truth = truth
    model.fit(design, seed, "cpu")
    return model


def cases(unpaired: bool) -> list:
    """(model, modalities): the smallest and the largest set of each model, for unpaired data of at least two."""
    found = []
    for name in registry.names():
        declaration = registry.declaration(name)
        if declaration.environment != "main" or (unpaired and not declaration.unpaired):
            continue
        sets = [names for names in declaration.modality_sets if len(names) > 1 or not unpaired]
        chosen = {min(sets, key=len), max(sets, key=len)} if sets else set()
        found += [pytest.param(name, names, id=f"{name}-{'+'.join(names)}") for names in sorted(chosen)]
    return found


@pytest.mark.parametrize("name", registry.names())
def test_declaration_is_complete(name):
    declaration = registry.declaration(name)
    assert declaration.name == name and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert declaration.title and declaration.summary.endswith(".") and declaration.licence
    assert declaration.kind in ("control", "composed", "wrapped", "r")
    assert declaration.kind == "control" or re.search(r"10\.\d{4,}/", declaration.paper), "paper with DOI"
    assert set(declaration.origins) == set(declaration.defaults), "every default says where it comes from"
    assert all(declaration.origins.values())
    assert declaration.modality_sets
    assert all(
        list(names) == sorted(names, key=("rna", "atac", "protein").index) for names in declaration.modality_sets
    )
    assert declaration.predicts or not declaration.uncertainty
    assert declaration.needs_truth == (name == "oracle")
    json.dumps(dataclasses.asdict(declaration))


@pytest.mark.parametrize("name", registry.names())
def test_unknown_hyperparameter_is_refused(name):
    with pytest.raises(InputError, match="no hyperparameter 'no_such_thing'"):
        registry.model_class(name)(no_such_thing=1)


FREE_TEXTS: dict[tuple[str, str], str] = {}
"""(Model, hyperparameter) -> why a text may be anything, for those without declared choices."""


@pytest.mark.parametrize("name", registry.names())
def test_texts_have_declared_choices_and_others_are_refused(name):
    declaration = registry.declaration(name)
    texts = {key for key, value in declaration.defaults.items() if isinstance(value, str)}
    free = {key for model, key in FREE_TEXTS if model == name}
    assert free <= texts and not free & set(declaration.choices)
    assert set(declaration.choices) == texts - free, "declare the choices, or say in FREE_TEXTS why there are none"
    for key, choices in declaration.choices.items():
        assert declaration.defaults[key] in choices and len(set(choices)) == len(choices) > 1
        for choice in choices:
            assert declaration.hyperparameters({key: choice})[key] == choice
            for wrong in {choice.upper(), choice.title(), f"{choice} ", ""} - set(choices):
                with pytest.raises(InputError, match=f"model '{name}': hyperparameter '{key}' is ") as caught:
                    registry.model_class(name)(**{key: wrong})
                assert repr(wrong) in str(caught.value) and all(repr(known) in str(caught.value) for known in choices)


@pytest.mark.parametrize(("name", "modalities"), cases(unpaired=False))
def test_paired(make, name, modalities):
    check_embedding(name, *make(modalities, 0.0, 60))


@pytest.mark.parametrize(("name", "modalities"), cases(unpaired=True))
def test_unpaired(make, name, modalities):
    design, truth = make(modalities, 0.5, 60)
    check_embedding(name, design, truth)


def check_embedding(name, design, truth):
    """Finite float32 of the right shape; the design untouched; the same seed the same bytes, another seed not an error."""
    before = {modality: matrix.copy() for modality, matrix in design.counts.items()}
    obs = design.obs.copy()
    model = fitted(name, design, truth, seed=5)
    values = model.embed()
    assert values.dtype == np.float32 and values.ndim == 2
    assert values.shape[0] == design.n_obs and values.shape[1] >= 1
    assert np.isfinite(values).all()
    assert values.std(axis=0).max() > 0
    for modality, matrix in before.items():
        assert (design.counts[modality] != matrix).nnz == 0, "the model changed the design"
    assert design.obs.equals(obs), "the model changed the design"
    json.dumps(model.loss_history)
    assert fitted(name, design, truth, seed=5).embed().tobytes() == values.tobytes(), "same seed, other bytes"
    components = model.components()
    assert components is None or components.shape == (design.n_obs,)
    if model.declaration.predicts:
        for modality in design.modalities:
            if not design.has(modality).all():
                check_prediction(model, design, truth, modality)


def check_prediction(model, design, truth, modality):
    prediction = model.predict(modality)
    np.testing.assert_array_equal(np.sort(prediction.rows), np.flatnonzero(~design.has(modality)))
    assert prediction.mean.shape == (len(prediction.rows), len(design.var[modality]))
    assert prediction.mean.dtype == np.float32
    assert np.isfinite(prediction.mean).all() and (prediction.mean >= 0).all()
    if modality == "atac":
        assert (prediction.mean <= 1).all()
    if model.declaration.uncertainty:
        assert prediction.deviation.shape == prediction.mean.shape
        assert (prediction.deviation >= 0).all() and prediction.deviation.max() > 0


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in registry.names()
        if registry.declaration(name).kind != "control" and registry.declaration(name).environment == "main"
    ],
)
def test_observations_keep_their_order(make, name):
    """Neighbours in the embedding share a label far more often than chance: rows belong to the right observations."""
    declaration = registry.declaration(name)
    names = max(declaration.modality_sets, key=len)
    design, truth = make(names, 0.0, 240, 2.0)
    model_type = registry.model_class(name)
    settings = {key: 20 if "epochs" in key else 100 for key in short_settings(declaration)}
    if "lr" in declaration.defaults:
        settings["lr"] = 1e-2
    if "batch_size" in declaration.defaults:
        settings["batch_size"] = 32
    model = model_type(**settings)
    model.fit(design, 0, "cpu")
    assert label_accuracy(model.embed(), truth.obs["cell_type"].astype(str).to_numpy()) > 0.65


def label_accuracy(values: np.ndarray, labels: np.ndarray, k: int = 10) -> float:
    """Share of observations whose label is the commonest among their k nearest others."""
    distances = ((values[:, None].astype(float) - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    near = labels[np.argsort(distances, axis=1, kind="stable")[:, :k]]
    guesses = [max(sorted(set(row)), key=list(row).count) for row in near]
    return float(np.mean(np.array(guesses) == labels))


def test_planner_imports_stay_light():
    """The planner reads every declaration; that must not import a framework."""
    heavy = ["torch", "scvi", "scanpy", "anndata", "muon", "mofapy2", "sklearn", "matplotlib", "igraph", "numba"]
    code = (
        "import sys; from models import registry; [registry.declaration(name) for name in registry.names()]; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestDeclaration:
    declaration = Declaration(
        name="x",
        title="X",
        summary="X.",
        kind="composed",
        modality_sets=(("rna", "atac"), ("rna", "atac", "protein"), ("rna",)),
        defaults={"n": 10, "rate": 0.1, "switch": True, "how": "fast", "free": None, "layers": [10, 5]},
        choices={"how": ("fast", "slow")},
    )

    def test_largest_fitting_set(self):
        assert self.declaration.modalities_for(("rna", "atac", "protein")) == ("rna", "atac", "protein")
        assert self.declaration.modalities_for(("rna", "protein")) == ("rna",)
        assert self.declaration.modalities_for(("atac", "protein")) is None

    def test_reasons(self):
        assert "takes rna+atac or" in self.declaration.reason_not_applicable(("protein",), 0.0)
        assert self.declaration.reason_not_applicable(("rna", "atac"), 0.0) is None
        assert self.declaration.reason_not_applicable(("rna", "atac"), 0.1) == "takes paired cells only"
        unpaired = dataclasses.replace(self.declaration, unpaired=True)
        assert unpaired.reason_not_applicable(("rna", "atac"), 1.0) == "needs some paired cells"
        assert unpaired.reason_not_applicable(("rna", "atac"), 0.99) is None

    @pytest.mark.parametrize(
        "good",
        [
            {"n": 3},
            {"rate": 1},
            {"rate": 0.5},
            {"switch": False},
            {"free": 3},
            {"free": "x"},
            {"layers": (3,)},
            {"how": "slow"},
        ],
    )
    def test_good_values(self, good):
        merged = self.declaration.hyperparameters(good)
        assert merged == {**self.declaration.defaults, **good}

    @pytest.mark.parametrize(
        "bad", [{"n": 3.5}, {"n": True}, {"rate": "0.1"}, {"switch": 1}, {"how": 3}, {"how": "Slow"}, {"layers": 3}]
    )
    def test_bad_values(self, bad):
        with pytest.raises(InputError, match=f"hyperparameter '{next(iter(bad))}' is .*; give "):
            self.declaration.hyperparameters(bad)

    def test_close_name_is_suggested(self):
        with pytest.raises(InputError, match="did you mean 'rate'"):
            self.declaration.hyperparameters({"rat": 1.0})


def test_progress_records_and_stops(capsys):
    model = registry.model_class("random")()
    for epoch in range(1, 101):
        model.progress(epoch, 100, train=1 / epoch, validation=2 / epoch)
    assert model.epochs == 100 and len(model.loss_history["validation"]) == 100
    log = capsys.readouterr().err
    assert 20 <= log.count("\n") <= 22 and "epoch 100/100" in log and "left" in log
    with pytest.raises(DivergedError, match="epoch 101"):
        model.progress(101, 200, train=float("inf"))
