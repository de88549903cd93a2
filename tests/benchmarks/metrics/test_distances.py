"""The pass over pairwise distances against scipy, scikit-learn and hand-made ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_samples

from benchmarks.metrics import distances
from benchmarks.metrics.distances import (
    Partners,
    cosine_segment_sums,
    group_neighbours,
    pairwise_pass,
    silhouettes_from_sums,
)


def cloud(n, d, seed=0, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


@pytest.mark.parametrize("n, d, k", [(3, 1, 2), (40, 3, 10), (700, 20, 91), (700, 2, 5)])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_neighbours_equal_brute_force(n, d, k, shift):
    values = cloud(n, d, shift=shift)
    squared = cdist(values, values)
    np.fill_diagonal(squared, np.inf)
    found = pairwise_pass(values, k, threads=1)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(squared, order, axis=1), rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 60),
    d=st.integers(1, 4),
    k=st.integers(1, 70),
    grid=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_neighbour_distances_with_ties_equal_sorted_distances(n, d, k, grid, seed):
    values = np.random.default_rng(seed).integers(0, grid, (n, d)).astype(float)
    expected = np.sort(np.where(np.eye(n, dtype=bool), np.inf, cdist(values, values)), axis=1)[:, : min(k, n - 1)]
    found = pairwise_pass(values, k, threads=1)
    np.testing.assert_allclose(found.distances, expected, atol=1e-12)
    rows = np.arange(n)[:, None]
    assert np.all(found.indices != rows)
    np.testing.assert_allclose(
        np.linalg.norm(values[found.indices] - values[:, None], axis=2), found.distances, atol=1e-12
    )
    assert all(len(set(row)) == len(row) for row in found.indices.tolist())


def test_constant_embedding_gives_each_row_other_neighbours():
    found = pairwise_pass(np.ones((200, 3)), 10, np.zeros(200, int), threads=1)
    assert np.all(found.distances == 0)
    assert np.all(found.segment_sums == 0)
    assert len({tuple(sorted(row)) for row in found.indices.tolist()}) > 150
    # Nobody is everybody's neighbour.
    assert np.bincount(found.indices.ravel(), minlength=200).max() <= 20


def test_ranks_by_hand():
    # On a line: 0, 1, 3, 7. From 0 the others are at 1, 3, 7; from 7 at 4, 6, 7.
    values = np.array([[0.0], [1.0], [3.0], [7.0]])
    pairs = Partners(np.array([0, 0, 3, 1]), np.array([1, 3, 0, 2]))
    groups = np.array([0, 0, 1, 1])
    found = pairwise_pass(values, 3, None, groups, pairs, threads=1)
    np.testing.assert_array_equal(found.ranks, [1, 3, 3, 2])
    np.testing.assert_array_equal(found.group_ranks, [1, 2, 2, 1])


def test_ties_count_half():
    # Both others of the middle point are at distance 1: the expected rank is 1.5.
    values = np.array([[0.0], [1.0], [2.0]])
    found = pairwise_pass(values, 2, None, None, Partners(np.array([1, 1, 0]), np.array([0, 2, 2])), threads=1)
    np.testing.assert_array_equal(found.ranks, [1.5, 1.5, 2.0])
    constant = pairwise_pass(np.zeros((11, 2)), 2, None, None, Partners(np.array([0]), np.array([7])), threads=1)
    np.testing.assert_array_equal(constant.ranks, [5.5])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 50), grid=st.integers(1, 5), seed=st.integers(0, 2**32 - 1), copies=st.integers(1, 3))
def test_ranks_equal_counting(n, grid, seed, copies):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, grid, (n, 2)).astype(float) / 3
    groups = rng.integers(0, 3, n)
    groups[:3] = 0, 1, 2
    rows = np.repeat(rng.permutation(n)[: n // 2], copies)
    partners = (rows + 1 + rng.integers(0, n - 1, len(rows))) % n
    found = pairwise_pass(values, 3, None, groups, Partners(rows, partners), threads=1)
    for position, (row, partner) in enumerate(zip(rows, partners)):
        squared = np.square(values - values[row]).sum(axis=1)
        others = np.arange(n) != row
        for result, chosen in ((found.ranks, others), (found.group_ranks, others & (groups == groups[partner]))):
            closer = np.count_nonzero(chosen & (squared < squared[partner] - 1e-9))
            equal = np.count_nonzero(chosen & (np.abs(squared - squared[partner]) <= 1e-9)) - 1
            assert result[position] == closer + 1 + equal / 2


def test_segment_sums_with_groups_and_subset_of_rows():
    values = cloud(300, 5)
    rng = np.random.default_rng(1)
    segments, groups = rng.integers(0, 7, 300), rng.integers(0, 3, 300)
    rows = np.sort(rng.choice(300, 50, replace=False))
    found = pairwise_pass(values, 4, segments, groups, None, rows, threads=1)
    expected = cdist(values[rows], values) @ np.eye(7)[segments]
    np.testing.assert_allclose(found.segment_sums, expected, rtol=1e-10)
    np.testing.assert_array_equal(found.segment_sizes, np.bincount(segments, minlength=7))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_silhouettes_equal_scikit_learn(metric):
    values = cloud(400, 6)
    values[:40] = values[40:80]
    labels = np.random.default_rng(2).integers(0, 9, 400)
    labels[5] = 9  # a cluster of one
    if metric == "euclidean":
        sums = pairwise_pass(values, 5, labels, threads=1).segment_sums
    else:
        values[7] = 0.0  # a zero vector
        sums = cosine_segment_sums(values, np.arange(400), labels, 10)
    widths = silhouettes_from_sums(sums, np.bincount(labels), labels)
    np.testing.assert_allclose(widths, silhouette_samples(values, labels, metric=metric), atol=1e-9)


def test_silhouette_mean_other_by_hand():
    # Points 0, 1 | 4 | 10 in clusters 0, 0, 1, 2. For the first: a = 1, mean distance to the others (4 + 10) / 2 = 7.
    values = np.array([[0.0], [1.0], [4.0], [10.0]])
    own = np.array([0, 0, 1, 2])
    sums = pairwise_pass(values, 2, own, threads=1).segment_sums
    widths = silhouettes_from_sums(sums, np.bincount(own), own, "mean_other")
    np.testing.assert_allclose(widths, [6 / 7, (6 - 1) / 6, 0.0, 0.0])
    with pytest.raises(ValueError, match="unknown between"):
        silhouettes_from_sums(sums, np.bincount(own), own, "median")


def test_result_does_not_depend_on_threads_or_blocks(monkeypatch):
    values = cloud(500, 10).astype(np.float32)
    segments = np.arange(500) % 6
    pairs = Partners(np.arange(250), np.arange(250) + 250)
    reference = pairwise_pass(values, 20, segments, segments % 2, pairs, threads=1)
    for threads in (2, 3):
        again = pairwise_pass(values, 20, segments, segments % 2, pairs, threads=threads)
        for name in ("indices", "distances", "segment_sums", "ranks", "group_ranks"):
            assert getattr(reference, name).tobytes() == getattr(again, name).tobytes(), name
    monkeypatch.setattr(distances, "BLOCK_VALUES", 5000)
    small = pairwise_pass(values, 20, segments, segments % 2, pairs, threads=2)
    np.testing.assert_array_equal(reference.indices, small.indices)
    np.testing.assert_array_equal(reference.ranks, small.ranks)
    np.testing.assert_allclose(reference.segment_sums, small.segment_sums, rtol=1e-12)


def test_mass_ties_stay_within_memory(monkeypatch):
    monkeypatch.setattr(distances, "_DIRECT_VALUES", 1000)
    values = np.repeat(cloud(4, 3), 100, axis=0)
    found = pairwise_pass(values, 30, threads=1)
    assert np.all(found.distances == 0)
    assert np.all(found.indices // 100 == np.arange(400)[:, None] // 100)


def test_group_neighbours_equal_brute_force():
    values = cloud(300, 4)
    queries, targets = np.arange(0, 300, 3), np.setdiff1d(np.arange(300), np.arange(0, 300, 3))
    expected = targets[np.argsort(cdist(values[queries], values[targets]), axis=1)[:, :20]]
    np.testing.assert_array_equal(group_neighbours(values, queries, targets, 20, threads=2), expected)
    assert group_neighbours(values, queries[:2], targets[:3], 20, threads=1).shape == (2, 3)


def test_a_neighbour_list_of_everybody():
    values = cloud(12, 2)
    found = pairwise_pass(values, 100, threads=1)
    assert found.indices.shape == (12, 11)
    assert pairwise_pass(values[:1], 5, threads=1).indices.shape == (1, 0)
