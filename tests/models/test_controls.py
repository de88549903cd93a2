"""The controls: chance, collapse, and an upper bound on labels, pairs and trajectories at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.stats import spearmanr

from models import registry
from models.wnn import nearest_neighbours


def embedding(name, design, truth, seed=0, **settings):
    model = registry.model_class(name)(**settings)
    model.truth = truth
    model.fit(design, seed, "cpu")
    return model.embed()


def test_random_is_standard_normal(make):
    values = embedding("random", *make(("rna", "atac"), 0.0, 2000), n_latent=5)
    assert values.shape == (2000, 5)
    assert np.abs(values.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(np.cov(values.T), np.eye(5), atol=0.1)


def test_random_ignores_the_data(make):
    a, truth = make(("rna", "atac"), 0.0, 60)
    b, _ = make(("rna", "atac"), 0.0, 60, 2.0)
    np.testing.assert_array_equal(embedding("random", a, truth), embedding("random", b, truth))
    assert not np.array_equal(embedding("random", a, truth, seed=1), embedding("random", a, truth, seed=2))


def test_collapsed_noise_is_a_ten_thousandth(make):
    values = embedding("collapsed", *make(("rna", "atac"), 0.0, 500)).astype(float)
    spread = np.sqrt(values.var(axis=0).sum())
    assert spread / np.linalg.norm(values.mean(axis=0)) == pytest.approx(1e-4, rel=0.05)
    assert len(np.unique(values, axis=0)) > 450


def test_oracle_separates_types(make):
    design, truth = make(("rna", "atac"), 0.5, 240)
    values = embedding("oracle", design, truth).astype(float)
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    from sklearn.metrics import silhouette_score

    assert silhouette_score(values, labels) > 0.75
    indices, _ = nearest_neighbours(values, values, 15, skip_self=True)
    assert (labels[indices] == labels[:, None]).mean() > 0.97


def test_oracle_halves_are_nearest_but_not_equal(make):
    design, truth = make(("rna", "atac"), 0.8, 240)
    values = embedding("oracle", design, truth).astype(float)
    cells = truth.obs["cell"].astype(str).to_numpy()
    rna, atac = (np.flatnonzero((truth.obs["group"] == name).to_numpy()) for name in ("rna", "atac"))
    indices, distances = nearest_neighbours(values[rna], values[atac], 1)
    assert (cells[rna] == cells[atac[indices[:, 0]]]).mean() > 0.99
    assert distances.min() > 0


def test_oracle_follows_the_trajectory(make):
    """Shortest paths in the neighbour graph of the trajectory's cells order them by pseudotime."""
    import scipy.sparse as sp

    design, truth = make(("rna", "atac"), 0.0, 240)
    values = embedding("oracle", design, truth).astype(float)
    time = truth.obs["pseudotime_main"].to_numpy(dtype=float)
    on = np.flatnonzero(np.isfinite(time))
    indices, distances = nearest_neighbours(values[on], values[on], 15, skip_self=True)
    graph = sp.csr_matrix(
        (distances.ravel(), indices.ravel(), np.arange(0, indices.size + 1, 15)), shape=(len(on), len(on))
    )
    assert connected_components(graph, directed=False)[0] == 1
    path = shortest_path(graph, directed=False, indices=int(np.argmin(time[on])))
    assert spearmanr(path, time[on]).statistic > 0.95


def test_oracle_knows_no_batch_nor_modality(make):
    design, truth = make(("rna", "atac"), 0.5, 240)
    values = embedding("oracle", design, truth).astype(float)
    types = truth.obs["cell_type"].astype(str).to_numpy()
    for column in ("batch", "group"):
        groups = truth.obs[column].astype(str).to_numpy()
        for name in np.unique(types):
            within = values[types == name]
            means = [within[groups[types == name] == group].mean(axis=0) for group in np.unique(groups)]
            assert np.linalg.norm(means[0] - means[1]) < 0.12


def test_oracle_takes_missing_labels(make):
    """Unlabelled cells have a place of their own, near none of the types."""
    import copy

    design, truth = make(("rna", "atac"), 0.0, 240)
    truth = copy.deepcopy(truth)
    labels = truth.obs["cell_type"].astype(object)
    labels.iloc[::4] = None
    truth.obs["cell_type"] = labels
    values = embedding("oracle", design, truth).astype(float)
    missing = labels.isna().to_numpy()
    centre = values[missing].mean(axis=0)
    assert np.linalg.norm(values[missing] - centre, axis=1).max() < 0.3
    assert np.linalg.norm(values[~missing] - centre, axis=1).min() > 0.9
