"""Dense transforms: values of the plain formulas, in little more memory than one dense matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from models.parts import transforms
from models.parts.transforms import principal_components, standardised, tf_idf


def by_the_formula(matrix, largest=10.0):
    dense = np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)
    deviation = dense.std(axis=0)
    return np.clip((dense - dense.mean(axis=0)) / np.where(deviation > 0, deviation, 1), -largest, largest)


def accessibility(n_cells, n_regions, seed=0):
    return tf_idf(sp.random(n_cells, n_regions, density=0.1, random_state=seed, dtype=np.float32, format="csr"))


@pytest.mark.parametrize("block_bytes", [1 << 22, 1 << 10, 1])
@pytest.mark.parametrize("shape", [(300, 1), (300, 2), (300, 3), (7, 500), (400, 133), (1, 5)])
def test_standardised_has_the_bytes_of_the_formula(monkeypatch, block_bytes, shape):
    """However many columns are worked on at a time, and whatever the matrix is stored as."""
    monkeypatch.setattr(transforms, "_BLOCK_BYTES", block_bytes)
    sparse = accessibility(*shape)
    dense = sparse.toarray()
    for matrix in (sparse, sparse.tocsc(), dense, np.asfortranarray(dense), dense.astype(np.float64)):
        before = matrix.copy()
        found, expected = standardised(matrix), by_the_formula(matrix)
        assert found.dtype == np.float32 and found.flags.c_contiguous == expected.flags.c_contiguous
        np.testing.assert_array_equal(found, expected)
        assert (matrix != before).sum() == 0, "it changed its argument"


def peak_bytes(function) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_standardised_needs_little_more_than_the_matrix_that_it_returns():
    matrix = accessibility(600, 6000)
    assert peak_bytes(lambda: standardised(matrix)) < 1.5 * 600 * 6000 * 4


def test_components_of_a_matrix_that_may_be_lost_are_the_same_and_need_no_copy():
    matrix = standardised(accessibility(400, 6000))
    kept = matrix.copy()
    expected = principal_components(matrix, 20, seed=1)
    np.testing.assert_array_equal(matrix, kept)
    assert peak_bytes(lambda: principal_components(kept, 20, seed=1, overwrite=True)) < 0.5 * matrix.nbytes
    np.testing.assert_array_equal(principal_components(matrix, 20, seed=1, overwrite=True), expected)


def test_common_space_of_many_regions_needs_little_more_than_one_dense_matrix(make):
    """Accessibility is by far the largest: what Portal and DAVAE hold where genes have no coordinates."""
    from benchmarks.formats import Multimodal
    from models.parts.gene_activity import shared_space

    design, _ = make(("rna", "atac"), 0.0, 400)
    atac = sp.random(design.n_obs, 12_000, density=0.05, random_state=0, dtype=np.float32, format="csr")
    atac.data[:] = 1
    import pandas as pd

    wide = Multimodal(
        design.obs,
        {"rna": design.counts["rna"], "atac": atac},
        {"rna": design.var["rna"], "atac": pd.DataFrame(index=[f"r{i}" for i in range(atac.shape[1])])},
    )
    assert peak_bytes(lambda: shared_space(wide, 0)) < 1.6 * design.n_obs * atac.shape[1] * 4
