"""Normalisations by hand, and components against numpy's own decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from models.preprocessing import (
    block_components,
    centred_log_ratio,
    highly_variable,
    latent_semantic_indexing,
    log_normalise,
    principal_components,
    tf_idf,
)


def csr(values):
    return sp.csr_matrix(np.asarray(values, dtype=np.float32))


def test_log_normalise_by_hand():
    values = log_normalise(csr([[1, 1], [4, 0], [0, 0], [1, 5]])).toarray()
    # Library sizes 2, 4 and 6, median 4; the empty cell does not count and stays empty.
    np.testing.assert_allclose(values, np.log1p([[2, 2], [4, 0], [0, 0], [4 / 6, 20 / 6]]))


def test_tf_idf_by_hand():
    values = tf_idf(csr([[2, 0, 4], [0, 0, 6]]), scale=10).toarray()
    np.testing.assert_allclose(values, np.log1p([[10 / 2 * 2, 0, 10 / 2 * 1], [0, 0, 10 * 1]]))


def test_tf_idf_binarises_and_keeps_its_input():
    counts = csr([[2, 0, 4], [0, 8, 6]])
    np.testing.assert_array_equal(tf_idf(counts).toarray(), tf_idf(csr([[1, 0, 1], [0, 1, 1]])).toarray())
    np.testing.assert_array_equal(counts.toarray(), [[2, 0, 4], [0, 8, 6]])


def test_centred_log_ratio_by_hand():
    values = centred_log_ratio(csr([[0, np.e - 1, np.e**2 - 1]]))
    np.testing.assert_allclose(values, [[-1, 0, 1]], atol=1e-6)


def test_highly_variable_finds_the_planted_genes():
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(1, 0.5, 400))
    counts = rng.poisson(np.tile(rate, (300, 1)))
    planted = rng.choice(400, 20, replace=False)
    counts[:, planted] = rng.poisson(rate[planted] * np.exp(rng.normal(0, 1, (300, 20))))
    chosen = highly_variable(log_normalise(csr(counts)), 40)
    assert len(chosen) == 40 and np.all(np.diff(chosen) > 0)
    assert len(set(planted) & set(chosen)) >= 18
    np.testing.assert_array_equal(highly_variable(csr(counts), 400), np.arange(400))


@pytest.mark.parametrize("shape", [(200, 150), (40, 150), (200, 20), (10, 5)])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_principal_components_match_a_dense_decomposition(shape, centre, sparse):
    rng = np.random.default_rng(1)
    dense = rng.poisson(rng.gamma(0.5, 1, shape)).astype(float)
    scores = principal_components(sp.csr_matrix(dense) if sparse else dense, 5, 0, centre)
    reference = dense - dense.mean(axis=0) if centre else dense
    left, singular, _ = np.linalg.svd(reference, full_matrices=False)
    n = min(5, min(shape) - int(centre))
    assert scores.shape == (shape[0], n)
    np.testing.assert_allclose(np.abs(scores), np.abs(left * singular)[:, :n], atol=1e-6)
    assert np.all(scores[np.abs(scores).argmax(axis=0), np.arange(n)] > 0)


def test_lsi_drops_depth_only_where_it_is_depth():
    rng = np.random.default_rng(2)
    depth = np.exp(rng.normal(0, 1, 200))
    groups = rng.integers(0, 2, 200)
    rate = np.where(np.arange(300) < 150, 1 + 4 * groups[:, None], 5 - 4 * groups[:, None]) * 0.03
    deep = csr(rng.random((200, 300)) < 1 - np.exp(-rate * depth[:, None]))
    scores = latent_semantic_indexing(deep, 5, 0)
    assert scores.shape == (200, 5)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-10)
    assert abs(np.corrcoef(scores[:, 0], groups)[0, 1]) > 0.8, "the first component left is biology"
    kept = latent_semantic_indexing(deep, 5, 0, depth_correlation=1.1)
    np.testing.assert_allclose(kept[:, 1:], latent_semantic_indexing(deep, 4, 0), atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_degenerate_counts_stay_finite(n_cells, n_features, top, seed):
    """Empty cells, empty features, constant features, fewer features than components."""
    import pandas as pd

    from benchmarks.formats import Multimodal

    counts = np.random.default_rng(seed).integers(0, top + 1, (n_cells, n_features))
    for modality in ("rna", "atac", "protein"):
        obs = pd.DataFrame({"batch": "b"}, index=[f"o{i}" for i in range(n_cells)])
        data = Multimodal(obs, {modality: csr(counts)}, {modality: pd.DataFrame(index=range(n_features))})
        scores = block_components(data, modality, 5, 2000, 0)
        assert scores.shape[0] == n_cells and scores.shape[1] <= 5
        assert np.isfinite(scores).all()
