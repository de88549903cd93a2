"""Sparse rows, mini-batches and the sparse linear layer against dense computations."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from benchmarks.formats import Multimodal
from models.parts.counts import CountMatrix, DesignCounts
from models.parts.sparse_linear import SparseLinear


def matrix(seed=0, shape=(9, 14)):
    return sp.csr_matrix(np.random.default_rng(seed).poisson(0.5, size=shape).astype(np.float32))


def test_rows_equal_the_dense_matrix_in_any_order():
    counts = matrix()
    positions = torch.tensor([4, 0, 8])
    rows = CountMatrix(counts, "cpu").rows(positions)
    assert np.array_equal(rows.dense().numpy(), counts.toarray()[positions.numpy()])
    assert np.array_equal(rows.totals.numpy(), counts.toarray()[positions.numpy()].sum(1))
    expected = torch.lgamma(rows.dense() + 1).sum(1)
    torch.testing.assert_close(rows.log_factorials, expected)


def test_entries_by_feature_give_the_dense_matrix_of_rows_cut_here_or_changed_since():
    positions = torch.tensor([4, 0, 8])
    rows = CountMatrix(matrix(), "cpu").rows(positions)
    for these in (rows, rows.with_values(rows.values * 3)):
        order = these.by_feature
        dense = torch.zeros(14, 3)
        dense[order.columns, order.rows] = order.values
        assert torch.equal(dense.t(), these.dense())
        assert torch.equal(dense.view(-1)[order.flat], order.values)
        assert torch.equal(order.offsets.diff(), torch.bincount(order.columns, minlength=14))


def test_counting_sort_keeps_the_order_of_the_rows():
    rows = CountMatrix(matrix(), "cpu").rows(torch.arange(9))
    expected = matrix().tocsc()
    assert np.array_equal(rows.by_feature.rows.numpy(), expected.indices)
    assert np.array_equal(rows.by_feature.values.numpy(), expected.data)
    assert np.array_equal(rows.by_feature.offsets.numpy(), expected.indptr)


def test_stored_zeros_are_dropped():
    counts = matrix()
    counts.data[0] = 0
    rows = CountMatrix(counts, "cpu").rows(torch.arange(9))
    assert (rows.values > 0).all()


def test_scaled_rows_sum_to_the_target_and_empty_rows_stay_empty():
    counts = matrix()
    counts[3] = 0
    rows = CountMatrix(counts, "cpu").rows(torch.arange(9)).scaled(100.0)
    sums = rows.dense().sum(1)
    assert sums[3] == 0
    torch.testing.assert_close(sums[torch.arange(9) != 3], torch.full((8,), 100.0))


def test_sparse_linear_equals_dense_linear_with_its_gradients():
    rows = CountMatrix(matrix(), "cpu").rows(torch.tensor([1, 5, 2]))
    layer = SparseLinear(14, 4)
    weight = layer.weight.detach().clone().requires_grad_()
    bias = layer.bias.detach().clone().requires_grad_()
    expected = rows.dense() @ weight + bias
    torch.testing.assert_close(layer(rows), expected)
    torch.testing.assert_close(layer(rows.dense()), expected)
    upstream = torch.randn(3, 4)
    layer(rows).backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(layer.bias.grad, bias.grad)


def test_minibatch_holds_only_the_rows_that_have_a_modality():
    rna, atac = matrix(1, (4, 6)), matrix(2, (3, 5))
    obs = pd.DataFrame({"batch": ["a", "b", "a", "b", "a"]}, index=list("vwxyz"))
    var = {"rna": pd.DataFrame(index=range(6)), "atac": pd.DataFrame(index=range(5))}
    rows = {"rna": np.array([0, 1, 3, 4]), "atac": np.array([0, 2, 4])}
    data = DesignCounts(Multimodal(obs, {"rna": rna, "atac": atac}, var, rows), ("rna", "atac"), "cpu")
    batch = data.minibatch(torch.tensor([4, 2, 1]))
    assert batch.where["rna"].tolist() == [0, 2] and batch.where["atac"].tolist() == [0, 1]
    assert np.array_equal(batch.counts["rna"].dense().numpy(), rna.toarray()[[3, 1]])
    assert np.array_equal(batch.counts["atac"].dense().numpy(), atac.toarray()[[2, 1]])
    assert batch.batch_one_hot.tolist() == [[1, 0], [1, 0], [0, 1]]
    spread = batch.spread("rna", torch.tensor([[1.0], [2.0]]))
    assert spread.tolist() == [[1.0], [0.0], [2.0]]
