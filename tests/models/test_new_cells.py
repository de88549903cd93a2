"""Models that place new cells: test cells teach them nothing, and are placed and reconstructed above chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.designs import DesignSpec, make_design
from benchmarks.formats import read_record, write_h5mu
from models import registry
from models.base import may_learn_from
from models.runner import TrainingJob, train
from tests.models.conftest import small_dataset

# Few, large steps, and without what keeps so small a model from fitting so few cells in time (sparsity, dropout).
QUICK = {
    "multidgd": {"epochs": 150, "learning_rate": 1e-3, "batch_size": 64, "initialisation": "pca", "sparsity": 0.0},
    "scmm": {"epochs": 150, "learning_rate": 3e-3, "batch_size": 64, "kl_warmup_epochs": 20},
    "multivi-native": {
        "epochs": 150,
        "learning_rate": 3e-3,
        "batch_size": 64,
        "kl_warmup_epochs": 20,
        "gene_likelihood": "nb",
        "dropout": 0.0,
    },
}
DECLARED = [
    name
    for name in registry.names()
    if registry.declaration(name).embeds_new_cells and registry.declaration(name).kind != "control"
]


def design(n_cells: int = 300):
    return make_design(small_dataset(n_cells, strength=1.5), DesignSpec("small", ("rna", "atac"), test_fraction=0.2))


def fitted(name: str, visible, **changes):
    model = registry.model_class(name)(**{**QUICK[name], **changes})
    model.fit(visible, 0, "cpu")
    return model


def test_every_model_that_declares_it_is_tested():
    assert set(DECLARED) == set(QUICK)


def test_all_cells_but_test_cells_may_be_learned_from():
    visible, _ = design()
    assert may_learn_from(visible).sum() == 240
    whole, _ = make_design(small_dataset(), DesignSpec("small", ("rna",)))
    assert may_learn_from(whole).all()


@pytest.mark.parametrize("name", DECLARED)
def test_counts_of_test_cells_change_nothing_that_is_learned(name):
    visible, _ = design(120)
    train = may_learn_from(visible)
    changed = {}
    for modality, counts in visible.counts.items():
        # Other counts in as many entries as before, so that nothing but the test cells' values differs.
        other = sp.csr_matrix(counts, dtype=np.float32, copy=True)
        row = np.repeat(np.arange(other.shape[0]), np.diff(other.indptr))
        other.data[~train[row]] *= np.random.default_rng(0).integers(2, 5, (~train[row]).sum())
        changed[modality] = other
    other = dataclasses.replace(visible, counts=changed)
    first, second = (fitted(name, data, epochs=3).embed() for data in (visible, other))
    assert np.array_equal(first[train], second[train])
    assert not np.array_equal(first[~train], second[~train])


@pytest.mark.parametrize("modality", ["rna", "atac"])
@pytest.mark.parametrize("name", [name for name in DECLARED if registry.declaration(name).unpaired])
def test_counts_of_test_cells_change_no_prediction_for_other_cells(name, modality):
    visible, _ = make_design(
        small_dataset(120, strength=1.5), DesignSpec("small", ("rna", "atac"), unpaired_fraction=0.5, test_fraction=0.2)
    )
    train = may_learn_from(visible)
    counts = dict(visible.counts)
    for each, matrix in counts.items():
        other = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
        row = np.repeat(np.arange(other.shape[0]), np.diff(other.indptr))
        of_test = ~train[visible.rows[each]][row]
        other.data[of_test] *= 3
        assert of_test.any()
        counts[each] = other
    first, second = (
        fitted(name, data, epochs=3).predict(modality)
        for data in (visible, dataclasses.replace(visible, counts=counts))
    )
    others = train[first.rows]
    assert others.any() and np.array_equal(first.mean[others], second.mean[others])
    assert not np.array_equal(first.mean[~others], second.mean[~others])


@pytest.mark.parametrize("name", DECLARED)
def test_test_cells_are_placed_and_reconstructed(name):
    visible, truth = design()
    model = fitted(name, visible)
    test = np.flatnonzero(~may_learn_from(visible))
    values, types = model.embed(), truth.obs["cell_type"].to_numpy()
    assert values.shape[0] == visible.n_obs and np.isfinite(values).all()
    train = np.flatnonzero(may_learn_from(visible))
    distances = ((values[test][:, None] - values[train][None]) ** 2).sum(-1)
    votes = types[train][np.argsort(distances, axis=1)[:, :5]]
    accuracy = np.mean([max(set(row), key=list(row).count) == kind for row, kind in zip(votes, types[test])])
    assert accuracy > 0.7, accuracy
    for modality in visible.modalities:
        prediction = model.predict(modality)
        assert np.array_equal(prediction.rows, test) and np.array_equal(truth.rows[modality], test)
        observed = truth.counts[modality].toarray()
        if modality == "atac":
            observed = (observed > 0).astype(float)
        # Better than the best constant of every feature, at the cell's own depth for RNA.
        learned = visible.counts[modality][train].toarray()
        if modality == "atac":
            constant = np.broadcast_to((learned > 0).mean(axis=0), observed.shape)
        else:
            constant = learned.sum(axis=0) / learned.sum() * observed.sum(axis=1, keepdims=True)
        error, by_constant = (np.square(guess - observed).mean() for guess in (prediction.mean, constant))
        assert error < by_constant, (modality, error, by_constant)


def test_a_model_that_places_no_new_cells_refuses_a_design_with_test_cells(tmp_path):
    visible, _ = design(60)
    write_h5mu(tmp_path / "visible.h5mu", visible)
    job = TrainingJob(
        design=tmp_path / "visible.h5mu",
        model="pca",
        variant="pca",
        embedding=tmp_path / "embedding.h5ad",
        prediction=tmp_path / "prediction.h5mu",
        record=tmp_path / "record.json",
        device="cpu",
        wall_seconds=60,
    )
    train(job)
    record = read_record(tmp_path / "record.json")
    assert record.status == "not_applicable" and "test cells" in record.reason
