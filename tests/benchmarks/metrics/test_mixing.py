"""Mixing metrics by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import NotApplicable, enough
from benchmarks.metrics.mixing import (
    cross_modality_counts,
    enrichment,
    kbet_acceptance,
    kbet_per_label,
    neighbourhood_size,
    scaled_clisi,
    scaled_enrichment,
    scaled_ilisi,
)
from benchmarks.metrics.registry import METRICS


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
        k = neighbourhood_size(np.bincount(codes).mean())
        if cells.sum() <= 2 * k or len(names) < 2:
            continue
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


def test_scaled_enrichment_ends_at_the_separation_that_the_design_allows():
    for shares in ([0.5, 0.5], [0.9, 0.1], [0.98, 0.01, 0.01]):
        ceiling = 1 / np.square(shares).sum()
        assert scaled_enrichment(ceiling, np.array(shares)) == pytest.approx(0.0)
        assert scaled_enrichment(1.0, np.array(shares)) == 1.0
        assert scaled_enrichment((1 + ceiling) / 2, np.array(shares)) == pytest.approx(0.5)
        assert [scaled_enrichment(value, np.array(shares)) for value in (0.0, 0.4)] == [0.0, 0.4]


def apart(group: list[str], distance: float, **columns) -> Context:
    """A context whose `group` lies `distance` from the others, with random positions within."""
    values = np.random.default_rng(0).normal(size=(len(group), 3))
    values[:, 0] += distance * (np.array(group) == group[0])
    obs = pd.DataFrame({"cell": np.arange(len(group)).astype(str), "group": group, **columns})
    return Context(values, Multimodal(obs, {}, {}), threads=1)


def test_modality_mixing_is_zero_for_groups_apart_whatever_their_shares():
    for n_rna in (60, 120, 300):
        context = apart(["rna"] * n_rna + ["atac"] * 60, 1000.0)
        assert METRICS["modality_mixing"].compute(context) == pytest.approx(0.0, abs=1e-12)
        mixed = apart(["rna"] * n_rna + ["atac"] * 60, 0.0)
        assert METRICS["modality_mixing"].compute(mixed) > 0.85


def test_a_neighbourhood_may_be_half_of_a_population():
    enough(50, 100, "others")
    with pytest.raises(NotApplicable, match="the 50 nearest are more than half of the 99 others"):
        enough(50, 99, "others")


@pytest.mark.parametrize(
    "name, smallest",
    [("modality_enrichment", 101), ("modality_enrichment_single", 101), ("modality_mixing", 101), ("kbet", 99),
     ("ilisi_graph", 181), ("clisi_graph", 181)],
)  # fmt: skip
def test_populations_that_a_neighbourhood_covers_have_no_value(name, smallest):
    def context(n):
        group = ["rna"] * (n // 2) + ["atac"] * (n - n // 2)
        return apart(group, 1000.0, batch=group, cell_type=group)

    assert np.isfinite(METRICS[name].compute(context(smallest)))
    for n in (40, smallest - 1):
        with pytest.raises(NotApplicable, match="more than half"):
            METRICS[name].compute(context(n))


def test_lisi_of_the_embedding_tells_small_embeddings_apart():
    group = ["one", "two"] * 24
    mixed, separate = (METRICS["ilisi"].compute(apart(group, distance, batch=group)) for distance in (0.0, 1000.0))
    assert mixed > 0.7
    assert separate == pytest.approx(0.0, abs=1e-6)


def test_cross_modality_agreement_searches_no_modality_that_fifty_cells_are_half_of():
    def context(n_rna, n_atac):
        group = ["rna"] * n_rna + ["atac"] * n_atac
        return apart(group, 0.0, cell_type=["a", "b"] * (len(group) // 2))

    with pytest.raises(NotApplicable, match="half of the 99 cells"):
        cross_modality_counts(context(99, 99))
    assert len(cross_modality_counts(context(100, 40))[2]) == 40
    assert len(cross_modality_counts(context(100, 100))[2]) == 200


def test_kbet_within_types_leaves_small_types_out():
    def context(sizes):
        cell_type = [name for name, size in sizes.items() for _ in range(size)]
        batch = np.array(["one", "two"])[np.arange(len(cell_type)) % 2]
        values = np.random.default_rng(0).normal(size=(len(cell_type), 3))
        values[:, 0] += 1000.0 * (batch == "two")
        obs = pd.DataFrame({"cell_type": cell_type, "batch": batch})
        return Context(values, Multimodal(obs, {}, {}), threads=1)

    # 10 of 10 others: every neighbourhood is the type itself and would pass.
    assert kbet_per_label(context({"large": 60, "small": 11})) == kbet_per_label(context({"large": 60})) == 0.0
    with pytest.raises(NotApplicable, match="21 cells"):
        kbet_per_label(context({"small": 20}))
