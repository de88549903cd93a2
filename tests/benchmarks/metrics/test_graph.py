"""The neighbourhood graph against scanpy, networkx and hand-made graphs."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.metrics import graph as module
from benchmarks.metrics.distances import pairwise_pass
from benchmarks.metrics.graph import directed_graph, fuzzy_weights, largest_component_shares, nearest_along_graph


@pytest.fixture(scope="module")
def neighbours():
    values = np.random.default_rng(0).normal(size=(300, 6))
    found = pairwise_pass(values, 14, threads=1)
    return values, found.indices, found.distances


def test_weights_with_duplicates_are_finite():
    values = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 20, axis=0)
    found = pairwise_pass(values, 14, threads=1)
    weights = fuzzy_weights(found.indices, found.distances, 15)
    assert np.isfinite(weights.data).all()
    assert weights.data.min() > 0
    assert weights.data.max() <= 1


def test_component_shares_by_hand():
    # Type 0: a path 0-1 and a lone 2; type 1: 3-4, which meets 2 only through another type.
    edges = np.array([[0, 1], [3, 4], [2, 3]])
    ones = np.ones(3)
    graph = sp.csr_matrix(
        (np.r_[ones, ones], (np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]])), shape=(5, 5)
    )
    np.testing.assert_allclose(largest_component_shares(graph, np.array([0, 0, 0, 1, 1])), [2 / 3, 1])
    one_way = sp.csr_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(5, 5))
    np.testing.assert_allclose(largest_component_shares(one_way, np.array([0, 0, 0, 1, 1])), [1 / 3, 1 / 2])


@pytest.mark.parametrize("compiled_from", [0, 10**9])
def test_shortest_paths_equal_networkx(neighbours, compiled_from, monkeypatch):
    monkeypatch.setattr(module, "COMPILED_FROM", compiled_from)
    _, indices, distances = neighbours
    graph = fuzzy_weights(indices, distances, 15)
    found, lengths = nearest_along_graph(graph, 90, threads=2)
    network = networkx.from_scipy_sparse_array(graph)
    for start in (0, 17, 299):
        reference = networkx.single_source_dijkstra_path_length(network, start)
        del reference[start]
        expected = sorted(reference.items(), key=lambda item: (item[1], item[0]))[:90]
        np.testing.assert_allclose(lengths[start], [length for _, length in expected], rtol=1e-12)
        np.testing.assert_array_equal(found[start], [node for node, _ in expected])


@pytest.mark.parametrize("compiled_from", [0, 10**9])
def test_unreachable_nodes_are_marked(compiled_from, monkeypatch):
    monkeypatch.setattr(module, "COMPILED_FROM", compiled_from)
    graph = directed_graph(np.array([[1], [0], [3], [2], [2]])).astype(float)
    found, lengths = nearest_along_graph(graph, 3)
    np.testing.assert_array_equal(found[0], [1, -1, -1])
    np.testing.assert_array_equal(lengths[0], [1, np.inf, np.inf])
    np.testing.assert_array_equal(found[4], [2, 3, -1])


def test_both_searches_agree_where_the_first_bound_is_too_short(monkeypatch):
    # 300 nodes close together, then a long sparse path: later sources need longer searches than the first ones.
    rng = np.random.default_rng(3)
    values = np.r_[rng.normal(size=(300, 2)), np.column_stack([np.arange(10, 310), np.zeros(300)])]
    found = pairwise_pass(values, 14, threads=1)
    weights = directed_graph(found.indices, found.distances + 0.1)
    graph = weights.maximum(weights.T).tocsr()
    results = []
    for compiled_from in (0, 10**9):
        monkeypatch.setattr(module, "COMPILED_FROM", compiled_from)
        results.append(nearest_along_graph(graph, 90))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
