"""The flag for degenerate embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metrics.diagnostics import diagnostics


def normal(n=300, d=10, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [1.0, -3.0, 1e6])
@pytest.mark.parametrize("noise", [1e-4, 1e-5, 0.0])
def test_constant_plus_noise_is_collapsed(dtype, constant, noise):
    values = (constant * (1 + noise * normal())).astype(dtype)
    found = diagnostics(values)
    assert found["collapsed"]
    assert found["degenerate"]
    assert "collapsed" in found["reason"]


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_small_and_large_embeddings_are_not_flagged(scale, offset):
    found = diagnostics(((normal() + offset) * scale).astype(np.float64))
    assert not found["degenerate"]
    assert found["reason"] == ""


def test_all_zero_is_collapsed():
    assert diagnostics(np.zeros((10, 3), dtype=np.float32))["collapsed"]


def test_duplicates():
    values = normal(300)
    assert diagnostics(values[np.arange(300) // 2])["duplicate_fraction"] == 0.5
    assert not diagnostics(values[np.arange(300) // 2])["degenerate"]
    filled = diagnostics(values[np.arange(300) // 10])
    assert filled["degenerate"]
    assert not filled["collapsed"]
    assert "90% of the observations are duplicates" in filled["reason"]
    assert diagnostics(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 3.0]]))["duplicate_fraction"] == pytest.approx(1 / 3)


def test_halves_of_one_cell_on_one_point_are_no_duplicates():
    values, cells = normal(100)[np.arange(300) // 3], np.arange(300) // 3
    assert diagnostics(values)["degenerate"]
    paired = diagnostics(values, cells)
    assert (paired["degenerate"], paired["duplicate_fraction"]) == (False, 0.0)
    # Points that other cells share are: three cells of three halves each on one point.
    shared = diagnostics(values[np.arange(300) // 9 * 9], cells)
    assert shared["degenerate"]
    assert shared["duplicate_fraction"] == pytest.approx(0.66)
    # Unknown cells are cells of their own.
    assert diagnostics(values, np.full(300, -1))["duplicate_fraction"] == pytest.approx(2 / 3)


def test_bad_and_empty():
    assert not diagnostics(np.array([[np.nan, 1.0]]))["finite"]
    assert diagnostics(np.zeros((5, 0)))["reason"] == "the embedding is empty"
