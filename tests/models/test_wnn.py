"""WNN against a loop over the paper's equations and against muon; spectral embedding and SPCA against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from models.wnn import (
    WeightedNearestNeighbours,
    modality_weights,
    nearest_neighbours,
    spectral_embedding,
    supervised_axes,
    unit_rows,
    weighted_graph,
)

K = 10


@pytest.fixture(scope="module")
def representations():
    """Three views of 120 cells: one tells three groups apart, one a continuous position, one is noise."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 120)
    clear = rng.normal(0, 0.5, (120, 6)) + 2 * np.eye(6)[groups]
    mixed = rng.normal(0, 1.0, (120, 5)) + 1.5 * np.eye(5)[groups // 2]
    noise = rng.normal(0, 1.0, (120, 4))
    return [unit_rows(values) for values in (clear, mixed, noise)]


def by_the_book(representations, k, epsilon=1e-4):
    """Hao et al. 2021, cell by cell: weights, nearest distances, bandwidths and all pairwise similarities."""
    n, n_modalities = len(representations[0]), len(representations)
    distance = [np.array([[np.linalg.norm(x[i] - x[j]) for j in range(n)] for i in range(n)]) for x in representations]
    neighbours = [[[j for j in np.argsort(d[i], kind="stable") if j != i][:k] for i in range(n)] for d in distance]
    nearest = np.array([[d[i][near[i][0]] for d, near in zip(distance, neighbours)] for i in range(n)])
    sigma, weights = np.zeros((n, n_modalities)), np.zeros((n, n_modalities))
    for m in range(n_modalities):
        for i in range(n):
            mine = set(neighbours[m][i])
            jaccard = {
                j: len(mine & set(neighbours[m][j])) / len(mine | set(neighbours[m][j])) for j in range(n) if j != i
            }
            some = sorted((j for j in jaccard if jaccard[j] > 0), key=lambda j: (jaccard[j], -distance[m][i][j]))[:k]
            sigma[i, m] = np.mean([distance[m][i][j] for j in some])
    for i in range(n):
        ratios = []
        for m in range(n_modalities):
            theta = []
            for other in range(n_modalities):
                predicted = representations[m][neighbours[other][i]].mean(axis=0)
                gap = np.linalg.norm(representations[m][i] - predicted) - nearest[i, m]
                theta.append(np.exp(-max(gap, 0) / (sigma[i, m] - nearest[i, m])))
            ratios.append(theta[m] / (max(theta[o] for o in range(n_modalities) if o != m) + epsilon))
        weights[i] = np.exp(ratios) / np.exp(ratios).sum()
    return weights, nearest, sigma, distance


@pytest.mark.parametrize("views", [(0, 1), (0, 2), (0, 1, 2)])
def test_weights_follow_the_equations(representations, views):
    chosen = [representations[view] for view in views]
    weights, nearest, sigma, _ = by_the_book(chosen, K)
    ours = modality_weights(chosen, K)
    np.testing.assert_allclose(ours.nearest, nearest, atol=1e-6)
    np.testing.assert_allclose(ours.bandwidth, sigma, atol=1e-6)
    np.testing.assert_allclose(ours.weights, weights, atol=1e-6)


def test_informative_modality_weighs_more(representations):
    weights = modality_weights([representations[0], representations[2]], K).weights
    assert weights[:, 0].mean() > 0.6


def test_graph_follows_the_equations(representations):
    chosen = representations[:2]
    weights, nearest, sigma, distance = by_the_book(chosen, K)
    n, candidates = len(weights), 15
    similarity = np.zeros((n, n))
    for i in range(n):
        pool = {j for d in distance for j in [j for j in np.argsort(d[i], kind="stable") if j != i][:candidates]}
        for j in pool:
            similarity[i, j] = sum(
                weights[i, m] * np.exp(-max(distance[m][i, j] - nearest[i, m], 0) / (sigma[i, m] - nearest[i, m]))
                for m in range(2)
            )
        keep = np.argsort(-similarity[i], kind="stable")[:K]
        similarity[i, np.setdiff1d(np.arange(n), keep)] = 0
    graph = weighted_graph(chosen, modality_weights(chosen, K), K, candidates)
    np.testing.assert_allclose(graph.toarray(), (similarity + similarity.T) / 2, atol=1e-6)


class WeightsAreDone(Exception):
    """Raised in place of muon's last steps, which only compile and search."""


def test_weights_agree_with_muon(representations, monkeypatch):
    """muon's weights, its approximate searches replaced by exact ones (they only cost time and accuracy here)."""
    import warnings

    import anndata
    import mudata
    import muon._core.preproc as preproc
    from scipy.spatial.distance import cdist

    def exact(values, n_neighbors, metric, metric_kwds, random_state, angular, low_memory):
        if callable(metric):
            metric_function = metric.py_func
            arguments = list(metric_kwds.values())
            n = len(values)
            distances = np.array(
                [[metric_function(np.array([i]), np.array([j]), *arguments) for j in range(n)] for i in range(n)]
            )
        else:
            distances = cdist(values, values, metric)
        order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
        return order, np.take_along_axis(distances, order, axis=1), None

    def plain_jaccard(first, _, second, __):
        first, second = set(first), set(second)
        return 1 - len(first & second) / len(first | second)

    monkeypatch.setattr(preproc, "nearest_neighbors", exact)
    monkeypatch.setattr(preproc, "_sparse_jaccard", plain_jaccard)
    monkeypatch.setattr(preproc, "_euclidean", lambda a, b: np.linalg.norm(a - b))

    def stop(*_):
        raise WeightsAreDone

    monkeypatch.setattr(preproc, "_sparse_csr_fast_knn", stop)
    chosen = representations[:2]
    modalities = {}
    for name, values in zip(("a", "b"), chosen):
        data = anndata.AnnData(values.copy())
        indices, distances = nearest_neighbours(values, values, K, skip_self=True)
        pointers = np.arange(0, indices.size + 1, K)
        data.obsp["distances"] = sp.csr_matrix(
            (distances.ravel(), indices.ravel(), pointers), shape=(len(values), len(values))
        )
        data.uns["neighbors"] = {"distances_key": "distances", "params": {"n_neighbors": K}}
        modalities[name] = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        muon_data = mudata.MuData(modalities)
        with pytest.raises(WeightsAreDone):
            preproc.neighbors(muon_data, n_bandwidth_neighbors=K, n_multineighbors=30)
    theirs = muon_data.obs[["a:mod_weight", "b:mod_weight"]].to_numpy()
    ours = modality_weights(chosen, K).weights
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_neighbours_are_exact_in_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    query, target = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    indices, distances = nearest_neighbours(query, target, 7)
    full = np.sqrt(((query[:, None] - target[None]) ** 2).sum(axis=2))
    np.testing.assert_array_equal(indices, np.argsort(full, axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :7])
    own, _ = nearest_neighbours(target, target, 60, skip_self=True)
    assert own.shape == (50, 49) and not np.any(own == np.arange(50)[:, None])


def test_spectral_embedding_matches_dense_algebra(representations):
    graph = weighted_graph(representations[:2], modality_weights(representations[:2], K), K, 40)
    coordinates = spectral_embedding(graph, 4, 0.1, 0)
    dense = graph.toarray()
    dense = dense + 0.1 * dense.sum(axis=1).mean() / len(dense)
    walk = dense / dense.sum(axis=1, keepdims=True)
    eigenvalues = np.sort(np.linalg.eigvals(walk).real)[::-1][1:5]
    np.testing.assert_allclose(walk @ coordinates, coordinates * eigenvalues, atol=1e-8)
    stationary = dense.sum(axis=1) / dense.sum()
    np.testing.assert_allclose((stationary[:, None] * coordinates**2).sum(axis=0), eigenvalues**2, atol=1e-8)


def test_disconnected_cells_do_not_take_over():
    """Two large groups and three stray cells: the first coordinate is about the groups, not about the stray cells."""
    blocks = [np.ones((40, 40)), np.ones((40, 40)), np.ones((3, 3))]
    graph = sp.csr_matrix(sp.block_diag([block - np.eye(len(block)) for block in blocks]))
    first = spectral_embedding(graph, 1, 0.1, 0)[:, 0]
    assert np.ptp(first[:40]) < 1e-6 and np.ptp(first[40:80]) < 1e-6
    assert abs(first[0] - first[40]) > 1.5


def test_supervised_axes_find_what_the_graph_knows():
    """Of five components, the one with the least variance tells the groups of the graph apart: SPCA ranks it first."""
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 2, 100)
    values = rng.normal(0, [5, 4, 3, 2, 0.1], (100, 5))
    values[:, 4] += 1.0 * groups
    graph = sp.csr_matrix((groups[:, None] == groups[None]).astype(float))
    axes = supervised_axes(values[:, [4, 3]] / 10, graph, 1)
    assert abs(axes[0, 0]) > abs(axes[1, 0])
    full = supervised_axes(values, graph, 5)
    np.testing.assert_allclose(full.T @ full, np.eye(5), atol=1e-10)
    centred = values - values.mean(axis=0)
    dependence = [axis @ centred.T @ graph @ centred @ axis for axis in full.T]
    assert np.all(np.diff(dependence) <= 1e-8)


def test_order_of_observations_does_not_matter(make):
    design, _ = make(("rna", "atac"), 0.5, 160)
    order = np.random.default_rng(0).permutation(design.n_obs)
    a, b = WeightedNearestNeighbours(n_latent=3), WeightedNearestNeighbours(n_latent=3)
    a.fit(design, 0, "cpu")
    b.fit(design.subset(order), 0, "cpu")
    np.testing.assert_allclose(np.abs(a.embed()[order]), np.abs(b.embed()), atol=1e-2)


def test_two_modalities_of_three(make):
    """An observation with two of three modalities is projected through both."""
    design, _ = make(("rna", "atac", "protein"), 0.0, 120)
    rows = dict(design.rows)
    without = np.arange(20)
    rows["protein"] = np.arange(20, 120)
    counts = dict(design.counts)
    counts["protein"] = counts["protein"][20:]
    partial = type(design)(design.obs, counts, design.var, rows, design.uns)
    model = WeightedNearestNeighbours(n_latent=3)
    model.fit(partial, 0, "cpu")
    values = model.embed()
    assert np.isfinite(values).all() and len(np.unique(values[without], axis=0)) == 20


def test_too_few_complete_observations(make):
    design, _ = make(("rna", "atac"), 0.8, 60)
    with pytest.raises(ValueError, match="more than 21 complete observations for its graph; the design has 12"):
        WeightedNearestNeighbours().fit(design, 0, "cpu")
