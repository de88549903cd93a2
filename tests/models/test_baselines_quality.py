"""On 500 simulated cells the baselines and the wrappers of scvi-tools are above chance: labels, pairs, predictions."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.designs import DesignSpec, make_design
from models import registry
from models.runner import choose_modalities

FAST = {"batch_size": 64, "max_epochs": 60, "n_epochs_kl_warmup": 20, "lr": 1e-3}
"""The packages' learning rates want hundreds of epochs; a higher one shows in fewer that the training works."""

PAIRED = {
    "rna-pca": {},
    "atac-lsi": {},
    "protein-pca": {},
    "concatenated-pca": {},
    "lda-atac": {},
    "lda-atac-rna-pca": {},
    "scai": {"n_iterations": 100},
    "scvi": {"max_epochs": 60},
    "peakvi": FAST,
}
UNPAIRED = {
    "harmony": {},
    "cca": {},
    "knn-imputer": {},
    "random-forest-imputer": {},
    "multivi-scarches": {**FAST, "max_epochs": 30},
}


@pytest.fixture(scope="module")
def designs():
    """Of one simulated data set: (visible, truth), all cells paired, and with 40 % of the cells of two modalities split."""
    data = simulate(SimulationParameters(n_cells=500, n_genes=400, n_peaks=800, n_proteins=15), 1)
    return {
        "paired": make_design(data, DesignSpec("simulated", ("rna", "atac", "protein"))),
        "unpaired": make_design(data, DesignSpec("simulated", ("rna", "atac"), unpaired_fraction=0.4)),
    }


def accuracy(values: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    folds = KFold(5, shuffle=True, random_state=0)
    return float((cross_val_predict(KNeighborsClassifier(10), values, labels, cv=folds) == labels).mean())


def chance(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the accuracy over five permutations of the labels."""
    generator = np.random.default_rng(0)
    levels = [accuracy(values, generator.permutation(labels)) for _ in range(5)]
    return float(np.mean(levels)), float(np.std(levels, ddof=1))


def fitted(name: str, settings: dict, visible):
    if name == "harmony" and importlib.util.find_spec("harmonypy") is None:
        pytest.skip("harmonypy is not installed")
    model = registry.model_class(name)(**settings)
    model.fit(choose_modalities(visible, model.declaration.modalities_for(visible.modalities)), 0, "cpu")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PAIRED))
def test_labels_of_paired_cells(designs, name):
    visible, truth = designs["paired"]
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    values = fitted(name, PAIRED[name], visible).embed()
    level, spread = chance(values, labels)
    assert accuracy(values, labels) > level + max(0.1, 5 * spread)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNPAIRED))
def test_labels_and_pairs_of_unpaired_cells(designs, name):
    visible, truth = designs["unpaired"]
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    model = fitted(name, UNPAIRED[name], visible)
    values = model.embed()
    level, spread = chance(values, labels)
    assert accuracy(values, labels) > level + max(0.1, 5 * spread)
    assert rank_fraction(values, truth) < 0.4
    if model.declaration.predicts:
        check_predictions(model, visible, truth)


def rank_fraction(values: np.ndarray, truth) -> float:
    """Mean share of the other modality's observations that are nearer than the other half; 0.5 by chance."""
    cells, groups = truth.obs["cell"].astype(str).to_numpy(), truth.obs["group"].to_numpy()
    halves = [np.flatnonzero(groups == name) for name in ("rna", "atac")]
    rna, atac = (rows[np.argsort(cells[rows])] for rows in halves)
    assert np.array_equal(cells[rna], cells[atac])
    distances = ((values[rna][:, None].astype(float) - values[atac][None]) ** 2).sum(axis=2)
    own = np.diag(distances)
    return float(((distances < own[:, None]).mean() + (distances < own[None]).mean()) / 2)


def check_predictions(model, visible, truth) -> None:
    """Cell by cell, the prediction is nearer to the withheld counts than the visible mean is, and of the right level."""
    for modality in ("rna", "atac"):
        prediction = model.predict(modality)
        np.testing.assert_array_equal(prediction.rows, truth.rows[modality])
        withheld, known = (data.counts[modality].toarray() for data in (truth, visible))
        if modality == "atac":
            withheld, known = (withheld > 0).astype(float), (known > 0).astype(float)
        assert 0.8 < prediction.mean.mean() / withheld.mean() < 1.25
        residual = withheld - known.mean(axis=0)
        shift = prediction.mean - known.mean(axis=0)
        assert np.corrcoef(shift.ravel(), residual.ravel())[0, 1] > 0.03
