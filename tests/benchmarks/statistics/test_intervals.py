"""Bootstrap intervals: hand-computed cases, coverage and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.statistics.intervals import (
    EXACT_LIMIT,
    bootstrap_intervals,
    expanded_tail,
    interval_note,
    resampling_weights,
)


def test_samples_of_two_values_by_hand():
    weights, probabilities = resampling_weights(2)
    assert {tuple(row): p for row, p in zip(weights.tolist(), probabilities)} == {
        (1, 0): 0.25,
        (0.5, 0.5): 0.5,
        (0, 1): 0.25,
    }


@pytest.mark.parametrize("n", range(2, EXACT_LIMIT + 1))
def test_enumerated_samples_have_the_moments_of_the_bootstrap(n):
    weights, probabilities = resampling_weights(n)
    values = np.random.default_rng(n).normal(size=n)
    means = weights @ values
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities @ means == pytest.approx(values.mean())
    assert probabilities @ (means - values.mean()) ** 2 == pytest.approx(values.var() / n)


def test_two_replicates_give_their_range():
    low, high = bootstrap_intervals(np.array([[3.0, 1.0]]))
    assert (low[0], high[0]) == (1.0, 3.0)


def test_three_replicates_by_hand():
    # Smallest bootstrap mean of (0, 1, 5): all three draws 0, probability 1/27 = 0.037. The tail is
    # Phi(sqrt(3/2) * t(0.025; 2)) = Phi(-5.27), far below, so the interval is the range.
    assert expanded_tail(3) < 1 / 27
    low, high = bootstrap_intervals(np.array([[5.0, 0.0, 1.0]]))
    assert (low[0], high[0]) == (0.0, 5.0)


def test_five_replicates_by_hand():
    # Tail Phi(sqrt(5/4) * -2.776) = Phi(-3.104) = 0.00095. For 0, 0, 0, 0, 1 the number of ones among five draws is
    # binomial(5, 0.2): P(5) = 0.00032 < tail <= P(>= 4) = 0.00672, so the upper bound is 4/5; P(0) = 0.33 gives 0.
    assert expanded_tail(5) == pytest.approx(0.00095, abs=2e-5)
    low, high = bootstrap_intervals(np.array([[0.0, 0.0, 1.0, 0.0, 0.0]]))
    assert low[0] == pytest.approx(0.0, abs=1e-12)
    assert high[0] == pytest.approx(0.8)


@pytest.mark.parametrize("n", [0, 1])
def test_no_interval_from_fewer_than_two(n):
    low, high = bootstrap_intervals(np.ones((3, n)))
    assert np.isnan(low).all() and np.isnan(high).all()
    assert "no" in interval_note(n)


@pytest.mark.parametrize(("n", "least", "most"), [(5, 0.86, 0.97), (10, 0.91, 0.97), (20, 0.92, 0.97)])
def test_coverage_of_a_normal_mean(n, least, most):
    values = np.random.default_rng(7).normal(size=(3000, n))
    low, high = bootstrap_intervals(values)
    assert least <= np.mean((low <= 0) & (high >= 0)) <= most


values_strategy = st.lists(st.floats(-100, 100), min_size=2, max_size=EXACT_LIMIT)


@given(values_strategy, st.floats(-50, 50), st.floats(0.1, 20), st.randoms())
@settings(max_examples=60, deadline=None)
def test_invariances(values, shift, factor, random):
    low, high = (bound[0] for bound in bootstrap_intervals(np.array([values])))
    assert min(values) <= low <= np.mean(values) + 1e-9 and np.mean(values) - 1e-9 <= high <= max(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert [bound[0] for bound in bootstrap_intervals(np.array([shuffled]))] == [low, high]
    moved = [bound[0] for bound in bootstrap_intervals(factor * np.array([values]) + shift)]
    assert np.allclose(moved, [factor * low + shift, factor * high + shift], atol=1e-6)
    turned = [bound[0] for bound in bootstrap_intervals(-np.array([values]))]
    assert np.allclose(turned, [-high, -low], atol=1e-6)


def test_drawn_samples_are_the_same_every_time_and_in_any_order():
    values = np.random.default_rng(0).normal(size=(4, 12))
    first = bootstrap_intervals(values)
    assert np.array_equal(first, bootstrap_intervals(values[:, ::-1]))
    assert np.all(first[0] < values.mean(axis=1)) and np.all(values.mean(axis=1) < first[1])
