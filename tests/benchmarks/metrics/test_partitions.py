"""Leiden, Louvain and k-means: determinism, known communities, equality with scikit-learn's Lloyd."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from benchmarks.metrics import partitions
from benchmarks.metrics.agreement import adjusted_rand_index
from benchmarks.metrics.partitions import (
    RESOLUTIONS,
    graph_partitions,
    k_means,
    lloyd,
    partition_in_parallel,
    plus_plus,
)


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_finds_separate_communities_and_is_reproducible(world, method):
    graph = world.context.graph
    first = graph_partitions(graph, method, seed=3)
    again = graph_partitions(graph, method, seed=3)
    assert len(first) == len(RESOLUTIONS) == 10
    for one, other in zip(first, again):
        assert one.tobytes() == other.tobytes()
    labels = world.context.covariate("cell_type").codes
    assert max(adjusted_rand_index(labels, one) for one in first) > 0.8
    assert len(set(first[0])) <= len(set(first[-1]))


def test_one_resolution_does_not_depend_on_the_others(world):
    whole = graph_partitions(world.context.graph, "leiden")
    alone = graph_partitions(world.context.graph, "leiden", [1.0])
    np.testing.assert_array_equal(whole[RESOLUTIONS.index(1.0)], alone[0])


def test_helper_processes_give_the_same(world, monkeypatch):
    expected = partition_in_parallel(world.context.graph, "leiden", 0, 2)
    monkeypatch.setattr(partitions, "PARALLEL_EDGES", 1)
    found = partition_in_parallel(world.context.graph, "leiden", 0, 3)
    for one, other in zip(expected, found):
        np.testing.assert_array_equal(one, other)


def test_unknown_method_is_refused(world):
    with pytest.raises(ValueError, match="unknown method"):
        graph_partitions(world.context.graph, "walktrap")


def test_lloyd_equals_scikit_learn_from_the_same_start(world):
    values = world.values.astype(np.float64)
    start = values[:7]
    reference = KMeans(7, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(values)
    codes, inertia = lloyd(values, start)
    np.testing.assert_array_equal(codes, reference.labels_)
    assert inertia == pytest.approx(reference.inertia_, rel=1e-9)


def test_k_means_is_as_good_as_scikit_learn(world):
    reference = KMeans(5, n_init=10, random_state=0).fit(world.values.astype(np.float64))
    codes, inertia = k_means(world.values, 5, seed=1)
    assert inertia <= reference.inertia_ * 1.001
    assert k_means(world.values, 5, seed=1, threads=3)[0].tobytes() == codes.tobytes()


def test_k_means_with_duplicates_fills_every_cluster():
    values = np.repeat([[0.0], [1.0]], 10, axis=0)
    codes, inertia = k_means(values, 4)
    assert len(set(codes)) == 4
    assert inertia == pytest.approx(0)
    assert len(plus_plus(values, 4, np.random.default_rng(0))) == 4
