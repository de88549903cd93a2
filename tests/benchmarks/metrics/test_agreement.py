"""ARI, NMI and F1 against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score

from benchmarks.metrics.agreement import adjusted_rand_index, best_f1, normalised_mutual_information


@settings(max_examples=100, deadline=None)
@given(n=st.integers(2, 80), first=st.integers(1, 8), second=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_equal_to_scikit_learn(n, first, second, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, first, n), rng.integers(0, second, n)
    assert adjusted_rand_index(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert normalised_mutual_information(a, b) == pytest.approx(normalized_mutual_info_score(a, b), abs=1e-12)
    permuted = rng.permutation(first)[a]
    assert adjusted_rand_index(permuted, b) == pytest.approx(adjusted_rand_index(a, b), abs=1e-12)
    assert normalised_mutual_information(permuted, b) == pytest.approx(normalised_mutual_information(a, b), abs=1e-12)


def test_by_hand():
    # Hubert and Arabie's index for {ab|cd} and {abc|d}: index 1, rows 2, columns 3, pairs 6, expected 1, maximum 2.5.
    a, b = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert adjusted_rand_index(a, b) == pytest.approx((1 - 1) / (2.5 - 1))
    assert adjusted_rand_index(a, a) == 1.0
    assert normalised_mutual_information(a, np.zeros(4, int)) == 0.0
    information = 0.5 * np.log(0.5 / (0.5 * 0.75)) + 0.25 * np.log(0.25 / (0.5 * 0.75)) + 0.25 * np.log(0.25 / 0.125)
    mean = (np.log(2) - 0.75 * np.log(0.75) - 0.25 * np.log(0.25)) / 2
    assert normalised_mutual_information(a, b) == pytest.approx(information / mean)


def test_best_f1_equals_scikit_learn():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 5, 200), rng.integers(0, 7, 200)
    expected = [max(f1_score(labels == label, clusters == cluster) for cluster in range(7)) for label in range(5)]
    np.testing.assert_allclose(best_f1(labels, clusters), expected)
