"""Structure metrics by hand and against scipy, scikit-learn and scib."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context
from benchmarks.metrics.registry import METRICS
from benchmarks.metrics.score import score
from benchmarks.metrics.structure import (
    average_ranks,
    explained_by_batch,
    log_normalise,
    principal_components,
    spearman,
    vote_accuracy,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=40), st.integers(0, 2**32 - 1))
def test_ranks_and_spearman_equal_scipy(first, seed):
    first = np.array(first, dtype=float)
    second = np.random.default_rng(seed).integers(0, 4, len(first)).astype(float)
    np.testing.assert_allclose(average_ranks(first), rankdata(first))
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    else:
        assert np.isnan(spearman(first, second))


def test_votes_by_hand():
    codes = np.array([0, 0, 1, 1])
    indices = np.array([[1, 2, 3], [0, 2, 3], [3, 0, 1], [0, 1, 2]])
    every = np.ones(indices.shape, dtype=bool)
    # Three voters: 1 of own against 2 of the other type for each cell: all wrong.
    assert vote_accuracy(indices, every, codes, 3) == 0.0
    # Two voters tie (own first for cells 0, 1, 2; cell 3 sees type 0 twice).
    assert vote_accuracy(indices, every, codes, 2) == 0.75
    # The first neighbour of cell 0 is a half of the same cell: it does not vote.
    allowed = every.copy()
    allowed[0, 0] = False
    assert vote_accuracy(indices, allowed, codes, 1) == 0.5


def test_halves_of_a_cell_do_not_vote_for_each_other():
    # Pairs of halves on a circle of single-cell types: only the other half has the same label.
    angle = np.repeat(np.linspace(0, 2 * np.pi, 20, endpoint=False), 2) + np.tile([0, 1e-3], 20)
    cell = np.repeat(np.arange(20), 2)
    obs = pd.DataFrame({"cell": cell.astype(str), "group": ["rna", "atac"] * 20, "cell_type": cell.astype(str)})
    values = np.column_stack([np.cos(angle), np.sin(angle)])
    assert METRICS["label_knn_accuracy"].compute(Context(values, Multimodal(obs, {}, {}), threads=1)) == 0.0


def test_principal_components_equal_scikit_learn():
    matrix = sp.random(80, 40, density=0.3, random_state=0, format="csr")
    ours = principal_components(matrix, 10)
    theirs = PCA(10, svd_solver="full").fit_transform(matrix.toarray())
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)


def test_log_normalise_by_hand():
    found = log_normalise(sp.csr_matrix(np.array([[1.0, 3.0], [0.0, 0.0]])), 100).toarray()
    np.testing.assert_allclose(found, [[np.log(26), np.log(76)], [0, 0]])


def test_explained_variance_equals_regression_on_components():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 200)
    values = rng.normal(size=(200, 6)) + rng.normal(size=(4, 6))[codes]
    scores = PCA().fit_transform(values)
    indicators = np.eye(4)[codes]
    r2 = [LinearRegression().fit(indicators, score_).score(indicators, score_) for score_ in scores.T]
    variance = scores.var(axis=0)
    assert explained_by_batch(values, codes) == pytest.approx(np.dot(r2, variance) / variance.sum(), abs=1e-12)
    assert explained_by_batch(np.ones((5, 2)), np.array([0, 0, 1, 1, 1])) == 0.0


@pytest.fixture(scope="module")
def batch_design():
    """Counts of 100 genes with a batch effect, an embedding that keeps it and one that has lost it."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 2, 300)
    rate = rng.gamma(1.0, size=100) * np.exp(0.5 * rng.normal(size=(2, 100)))[batch]
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    obs = pd.DataFrame(
        {"cell_type": "a", "batch": batch.astype(str), "group": "rna"}, index=[f"o{i}" for i in range(300)]
    )
    var = {"rna": pd.DataFrame(index=[f"g{i}" for i in range(100)])}
    truth = Multimodal(obs, {}, {})
    return truth, Multimodal(obs, {"rna": counts}, var), batch


def test_pcr_comparison_equals_scib(batch_design):
    scib = pytest.importorskip("scib")
    import anndata

    truth, visible, batch = batch_design
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 5)) + 0.3 * batch[:, None]
    table, _ = score(Context(values, truth, visible=visible, threads=1), ["pcr_comparison"])
    before = anndata.AnnData(log_normalise(visible.counts["rna"]).toarray(), obs=truth.obs.copy())
    after = anndata.AnnData(values.copy(), obs=truth.obs.copy(), obsm={"X_emb": values})
    theirs = scib.me.pcr_comparison(before, after, "batch", embed="X_emb", n_comps=50)
    assert 0.05 < theirs < 0.95
    # scib searches its 50 components with a stopping tolerance of its own.
    assert table["value"].item() == pytest.approx(theirs, abs=1e-5)


def test_pcr_comparison_at_its_ends(batch_design):
    truth, visible, batch = batch_design
    rng = np.random.default_rng(1)
    gone = score(Context(rng.normal(size=(300, 5)), truth, visible=visible, threads=1), ["pcr_comparison"])[0][
        "value"
    ].item()
    assert gone > 0.9
    worse = rng.normal(size=(300, 5)) + 10 * batch[:, None]
    assert score(Context(worse, truth, visible=visible, threads=1), ["pcr_comparison"])[0]["value"].item() == 0.0
    missing, _ = score(Context(worse, truth, threads=1), ["pcr_comparison"])
    assert "visible counts" in missing["reason"].item()


def test_no_reference_pseudotime(batch_design):
    truth, _, _ = batch_design
    table, _ = score(
        Context(np.random.default_rng(0).normal(size=(300, 2)), truth, threads=1), ["trajectory_conservation"]
    )
    assert table["reason"].item() == "the data set has no reference pseudotime"
    few = Multimodal(truth.obs.assign(pseudotime_a=[0.1] * 5 + [np.nan] * 295), {}, {})
    table, _ = score(
        Context(np.random.default_rng(0).normal(size=(300, 2)), few, threads=1), ["trajectory_conservation"]
    )
    assert "fewer than 10 cells" in table["reason"].item()
