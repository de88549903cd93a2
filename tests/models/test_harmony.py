"""Harmony: a planted batch effect is taken out of joint PCA; without the package or without batches it says so."""

from __future__ import annotations

import builtins

import numpy as np
import pandas as pd
import pytest

from models.base import NotAvailableError
from models.harmony import HarmonyPCA
from models.pca import JointPCA


@pytest.fixture
def shifted(make):
    """Paired cells of which batch b2 has eight times the counts in a fifth of the genes and a third of the proteins."""
    design, truth = make(("rna", "protein"), 0.0, 240)
    second = (design.obs["batch"].astype(str) == "b2").to_numpy()
    scale = np.ones((design.n_obs, design.counts["rna"].shape[1]), dtype=np.float32)
    scale[np.ix_(second, np.arange(12))] = 8
    proteins = np.where(second[:, None] & (np.arange(12) < 4), 8, 1).astype(np.float32)
    counts = {
        "rna": design.counts["rna"].multiply(scale).tocsr(),
        "protein": design.counts["protein"].multiply(proteins).tocsr(),
    }
    return type(design)(design.obs, counts, design.var, uns=design.uns), truth, second


def separation(values: np.ndarray, second: np.ndarray) -> float:
    """Share of variance between the batches."""
    means = np.where(second[:, None], values[second].mean(axis=0), values[~second].mean(axis=0))
    return float(means.var(axis=0).sum() / values.var(axis=0).sum())


def same_type_nearest(values: np.ndarray, types: np.ndarray) -> float:
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((types[distances.argmin(axis=1)] == types).mean())


def test_batch_effect_is_removed_and_types_are_kept(shifted):
    pytest.importorskip("harmonypy")
    design, truth, second = shifted
    types = truth.obs["cell_type"].astype(str).to_numpy()
    before, after = JointPCA(n_latent=10), HarmonyPCA(n_latent=10)
    for model in (before, after):
        model.fit(design, 0, "cpu")
    assert separation(before.embed(), second) > 0.1
    assert separation(after.embed(), second) < 0.25 * separation(before.embed(), second)
    assert same_type_nearest(after.embed(), types) > same_type_nearest(before.embed(), types) - 0.05
    assert len(after.loss_history["objective"]) == after.epochs + 1


def test_one_batch_is_joint_pca(make):
    pytest.importorskip("harmonypy")
    design, _ = make(("rna", "protein"), 0.0, 90)
    obs = design.obs.assign(batch=pd.Categorical(["b1"] * design.n_obs))
    single = type(design)(obs, design.counts, design.var, uns=design.uns)
    model, reference = HarmonyPCA(), JointPCA()
    model.fit(single, 0, "cpu")
    reference.fit(single, 0, "cpu")
    np.testing.assert_array_equal(model.embed(), reference.embed())
    assert "one batch" in model.warnings[0]


def test_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without_harmony(name, *arguments, **options):
        if name == "harmonypy":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_harmony)
    with pytest.raises(NotAvailableError, match=r"pip install --no-deps harmonypy==2.1.0"):
        HarmonyPCA.load_packages()
