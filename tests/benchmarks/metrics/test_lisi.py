"""LISI against hand-made neighbourhoods and a direct transcription of Harmony's formula."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metrics.lisi import lisi, neighbour_probabilities


def reference_lisi(distances, codes, perplexity, tolerance=1e-5):
    """LISI of one observation, scalar and step by step as in the paper's appendix (independent of the module)."""
    beta, low, high = 1.0, -np.inf, np.inf
    for _ in range(51):
        weights = [np.exp(-beta * d) for d in distances]
        total = sum(weights)
        probabilities = [w / total for w in weights]
        entropy = -sum(p * np.log(p) for p in probabilities if p > 0)
        if abs(entropy - np.log(perplexity)) <= tolerance:
            break
        if entropy > np.log(perplexity):
            low = beta
            beta = beta * 2 if np.isinf(high) else (beta + high) / 2
        else:
            high = beta
            beta = beta / 2 if np.isinf(low) else (beta + low) / 2
    return 1 / sum(sum(p for p, c in zip(probabilities, codes) if c == value) ** 2 for value in set(codes))


def test_equal_to_the_formula():
    rng = np.random.default_rng(0)
    n, k = 40, 30
    indices = np.array([rng.permutation(n)[:k] for _ in range(n)])
    distances = np.sort(rng.gamma(2.0, size=(n, k)), axis=1)
    codes = rng.integers(0, 4, n)
    (found,) = lisi(indices, distances, [codes], 10)
    expected = [reference_lisi(distances[i], codes[indices[i]].tolist(), 10) for i in range(n)]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_by_hand_for_equal_distances():
    # All neighbours alike: p = 1/4 each; labels 2 : 1 : 1 give 1 / (1/4 + 1/16 + 1/16) = 8/3.
    indices = np.tile([1, 2, 3, 4], (5, 1))
    distances = np.ones((5, 4))
    codes = np.array([0, 0, 0, 1, 2])
    (found,) = lisi(indices, distances, [codes], 3)
    np.testing.assert_allclose(found, 8 / 3)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_perplexity_is_reached_at_any_scale(scale):
    distances = np.sort(np.random.default_rng(1).random((20, 50)), axis=1) * scale
    probabilities, entropy = neighbour_probabilities(distances, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.exp(entropy), 10, rtol=1e-4)


def test_several_labellings_and_missing_neighbours():
    indices = np.array([[1, 2], [0, 2], [0, -1]])
    distances = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, np.inf]])
    one, all_same = lisi(indices, distances, [np.array([0, 1, 2]), np.zeros(3, int)], 2)
    np.testing.assert_allclose(one, [2, 2, 1])
    np.testing.assert_allclose(all_same, 1)
