"""The models integrate: better than chance on labels, and the halves of a cell end up near each other."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.designs import DesignSpec, make_design
from models import registry

SETTINGS = {
    "pca": {},
    "wnn": {},
    "mofa": {"n_iterations": 60},
    # The paper's learning rate wants hundreds of epochs; a tenfold rate shows in fewer that the training works.
    "multivi": {"max_epochs": 60, "lr": 1e-3, "batch_size": 64, "n_epochs_kl_warmup": 20, "n_latent": 10},
}


@pytest.fixture(scope="module")
def design():
    """400 simulated cells of RNA and ATAC, 40 % of them split: (visible, truth)."""
    parameters = SimulationParameters(n_cells=400, n_genes=400, n_peaks=800, n_proteins=10)
    return make_design(simulate(parameters, 1), DesignSpec("simulated", ("rna", "atac"), unpaired_fraction=0.4))


def accuracy(values: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    folds = KFold(5, shuffle=True, random_state=0)
    return float((cross_val_predict(KNeighborsClassifier(10), values, labels, cv=folds) == labels).mean())


def rank_fraction(values: np.ndarray, truth) -> float:
    """Mean share of the other modality's observations that are nearer than the other half; 0.5 by chance."""
    cells, groups = truth.obs["cell"].astype(str).to_numpy(), truth.obs["group"].to_numpy()
    rna, atac = np.flatnonzero(groups == "rna"), np.flatnonzero(groups == "atac")
    atac = atac[np.argsort(cells[atac])]
    rna = rna[np.argsort(cells[rna])]
    assert np.array_equal(cells[rna], cells[atac])
    distances = ((values[rna][:, None].astype(float) - values[atac][None]) ** 2).sum(axis=2)
    own = np.diag(distances)
    return float(((distances < own[:, None]).mean() + (distances < own[None]).mean()) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_beats_chance(design, name):
    visible, truth = design
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    chance = registry.model_class("random")()
    chance.fit(visible, 0, "cpu")
    model = registry.model_class(name)(**SETTINGS[name])
    model.fit(visible, 0, "cpu")
    values = model.embed()
    assert accuracy(values, labels) > accuracy(chance.embed(), labels) + 0.2
    assert rank_fraction(values, truth) < 0.35
    assert 0.4 < rank_fraction(chance.embed(), truth) < 0.6
    if name == "multivi":
        check_predictions(model, visible, truth)
        assert model.epochs == 60
        assert set(model.loss_history) == {"train", "validation", "validation_reconstruction"}
        assert all(len(losses) == 60 for losses in model.loss_history.values())
        assert model.loss_history["train"][-1] < model.loss_history["train"][0]


def check_predictions(model, visible, truth) -> None:
    """Predicted means follow the withheld counts over features, at the right level."""
    for modality in ("rna", "atac"):
        prediction = model.predict(modality)
        np.testing.assert_array_equal(prediction.rows, truth.rows[modality])
        counts = truth.counts[modality].toarray()
        counts = (counts > 0).astype(float) if modality == "atac" else counts
        assert np.corrcoef(prediction.mean.mean(axis=0), counts.mean(axis=0))[0, 1] > 0.6
        assert 0.5 < prediction.mean.mean() / counts.mean() < 2


def test_multivi_stops_when_the_loss_explodes(make):
    from models.base import DivergedError

    visible, _ = make(("rna", "atac"), 0.0, 60)
    model = registry.model_class("multivi")(max_epochs=40, lr=1e12)
    # scvi-tools itself may refuse NaN parameters (ValueError) before the epoch's loss is looked at.
    with pytest.raises((DivergedError, ValueError)):
        model.fit(visible, 0, "cpu")
