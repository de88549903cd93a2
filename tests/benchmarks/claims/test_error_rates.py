"""With nothing to find, claims are supported or contradicted no more often than stated."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims.judgement import ALPHA, above, judge, within
from benchmarks.claims.kinds.variance_falls import pseudo_values

TRIALS = 1000


def rate_limit(alpha=ALPHA, trials=TRIALS):
    """Four standard errors above the stated rate: a right test fails this about once in 30,000."""
    return alpha + 4 * np.sqrt(alpha * (1 - alpha) / trials)


@pytest.mark.parametrize("n", [5, 6, 10])
@pytest.mark.parametrize("parts", [1, 3])
def test_null_data_do_not_support_or_contradict_beyond_the_stated_rate(n, parts):
    generator = np.random.default_rng([n, parts])
    verdicts = [judge([above("part", generator.normal(size=n)) for _ in range(parts)]).verdict for _ in range(TRIALS)]
    assert np.mean([verdict == "supported" for verdict in verdicts]) <= rate_limit()
    assert np.mean([verdict == "contradicted" for verdict in verdicts]) <= rate_limit()


def test_one_untrue_part_keeps_a_claim_from_support():
    """The others may be as clear as they like."""
    generator = np.random.default_rng(5)
    supported = [
        judge([above("clear", generator.normal(9, 1, 8)), above("null", generator.normal(size=8))]).verdict
        == "supported"
        for _ in range(TRIALS)
    ]
    assert np.mean(supported) <= rate_limit()


@pytest.mark.parametrize("n", [5, 8])
def test_models_exactly_a_margin_apart_are_not_called_alike_beyond_the_stated_rate(n):
    generator = np.random.default_rng(n)
    verdicts = [judge([within("pair", generator.normal(0.5, 0.2, n), 0.5)]).verdict for _ in range(TRIALS)]
    assert np.mean([verdict == "supported" for verdict in verdicts]) <= rate_limit()
    assert np.mean([verdict == "contradicted" for verdict in verdicts]) <= rate_limit()


def test_a_variance_that_does_not_change_is_not_called_falling_beyond_the_stated_rate():
    generator = np.random.default_rng(1)
    sizes = np.array([500.0, 1000.0, 2000.0])
    verdicts = [
        judge([above("slope", -pseudo_values(sizes, generator.normal(size=(10, 3))))]).verdict for _ in range(TRIALS)
    ]
    assert np.mean([verdict == "supported" for verdict in verdicts]) <= rate_limit()


def test_a_clear_difference_is_found():
    """The tests above would pass if nothing were ever supported."""
    generator = np.random.default_rng(2)
    found = [judge([above("part", generator.normal(2, 1, 8))]).verdict == "supported" for _ in range(200)]
    assert np.mean(found) > 0.9


def test_five_equal_signs_are_the_least_that_decide():
    assert above("five", [1, 2, 3, 4, 5]).p_for == pytest.approx(1 / 32)
    assert np.isnan(above("four", [1, 2, 3, 4]).p_for)
    assert judge([above("five", [1, 2, 3, 4, 5])]).verdict == "supported"


def test_order_of_blocks_does_not_matter():
    values = np.random.default_rng(0).normal(0.3, 1, 20)
    assert above("part", values) == above("part", values[::-1])
