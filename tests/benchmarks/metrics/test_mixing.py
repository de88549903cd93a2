"""Mixing metrics by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from benchmarks.metrics.context import Context
from benchmarks.metrics.mixing import (
    cross_modality_counts,
    enrichment,
    kbet_acceptance,
    kbet_per_label,
    neighbourhood_size,
    scaled_clisi,
    scaled_ilisi,
)


def test_enrichment_by_hand():
    # Shares of own modality 1/2, 0, 1, 1/2: mean 1/2; by chance 1/4 + 1/4 = 1/2.
    codes = np.array([0, 0, 1, 1])
    indices = np.array([[1, 2], [2, 3], [3, 3], [0, 2]])
    assert enrichment(indices, codes) == 1.0
    # Three to one, complete separation: 1 / (9/16 + 1/16).
    codes = np.array([0, 0, 0, 1])
    assert enrichment(np.array([[1], [2], [0], [3]]), codes) == pytest.approx(1.6)


def test_lisi_scaling():
    assert scaled_ilisi(np.array([1.0, 1.0, 3.0]), 3) == 0.0
    assert scaled_ilisi(np.array([3.0, 3.0, 1.0]), 3) == 1.0
    assert scaled_clisi(np.array([1.0, 1.0, 3.0]), 3) == 1.0
    assert scaled_clisi(np.array([2.0]), 3) == 0.5


def test_kbet_by_scipy():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 100)
    neighbours = rng.integers(0, 3, (100, 20))
    neighbours[:40] = 0
    expected = np.bincount(codes) / 100 * 20
    passed = [chisquare(np.bincount(row, minlength=3), expected).pvalue >= 0.05 for row in neighbours]
    assert kbet_acceptance(neighbours, codes) == pytest.approx(np.mean(passed))


def test_kbet_per_label_by_brute_force(world):
    from sklearn.neighbors import NearestNeighbors

    scores = []
    for label in np.unique(world.labels):
        cells = world.labels == label
        names, codes = np.unique(world.batches[cells], return_inverse=True)
        if cells.sum() < 10 or len(names) < 2:
            continue
        k = neighbourhood_size(np.bincount(codes).mean())
        values = world.values[cells].astype(float)
        indices = NearestNeighbors(n_neighbors=k + 1).fit(values).kneighbors(values, return_distance=False)
        expected = np.bincount(codes) / len(codes) * (k + 1)
        scores.append(
            np.mean(
                [chisquare(np.bincount(codes[row], minlength=len(names)), expected).pvalue >= 0.05 for row in indices]
            )
        )
    assert len(scores) > 2
    assert kbet_per_label(world.context) == pytest.approx(np.mean(scores), abs=1e-12)


@pytest.mark.parametrize("size, k", [(4, 10), (39, 10), (44, 11), (200, 50), (5000, 70)])
def test_neighbourhood_size(size, k):
    assert neighbourhood_size(size) == k


def test_cross_modality_agreement_by_brute_force(world):
    from scipy.spatial.distance import cdist

    obs = world.truth.obs
    agreement = []
    for own, other in (("rna", "atac"), ("atac", "rna")):
        queries = np.flatnonzero(obs["group"] == own)
        targets = np.flatnonzero(obs["group"] == other)
        order = np.argsort(cdist(world.values[queries].astype(float), world.values[targets].astype(float)), axis=1)[
            :, :50
        ]
        agreement.append(np.mean(world.labels[targets[order]] == world.labels[queries][:, None], axis=1))
    table, names, found = cross_modality_counts(world.context)
    assert np.mean(found) == pytest.approx(np.mean(np.concatenate(agreement)), abs=1e-12)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert list(names) == sorted(set(world.labels))


def test_cross_modality_agreement_of_fewer_than_fifty_targets(make):
    made = make(n_cells=30, types=2, batches=1, isolated=False)
    _, _, found = cross_modality_counts(Context(made.values, made.truth, threads=1))
    assert np.all((found >= 0) & (found <= 1))
