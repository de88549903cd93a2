"""With nothing to find, claims are supported or contradicted no more often than stated."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims.judgement import ALPHA, Finding, above, beyond, judge, within
from benchmarks.claims.kinds import fails
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


@pytest.mark.parametrize(("n", "parts"), [(6, 3), (8, 2)])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_parts_that_share_their_noise_do_not_contradict_beyond_the_stated_rate(n, parts, correlation):
    """Parts of a claim share a model; Simes' test is meant for that."""
    generator = np.random.default_rng([n, parts, int(100 * correlation)])
    shared, own = np.sqrt(correlation), np.sqrt(1 - correlation)
    contradicted = []
    for _ in range(TRIALS):
        common = shared * generator.normal(size=n)
        found = [above("part", common + own * generator.normal(size=n)) for _ in range(parts)]
        contradicted.append(judge(found).verdict == "contradicted")
    assert np.mean(contradicted) <= rate_limit()


@pytest.mark.parametrize("n", [5, 8, 12])
@pytest.mark.parametrize("ratio", [0.001, 0.05, 0.15, 0.25, 0.5, 2.5])
def test_models_exactly_a_margin_apart_are_not_called_alike_beyond_the_stated_rate(n, ratio):
    """`ratio` is the margin over the noise: the smaller it is, the more the other tail counts."""
    generator = np.random.default_rng([n, int(1000 * ratio)])
    verdicts = [
        judge([within("pair", generator.normal(0.2 * ratio, 0.2, n), 0.2 * ratio)]).verdict for _ in range(TRIALS)
    ]
    assert np.mean([verdict == "supported" for verdict in verdicts]) <= rate_limit()
    assert np.mean([verdict == "contradicted" for verdict in verdicts]) <= rate_limit()


@pytest.mark.parametrize("n", [5, 8])
def test_a_change_at_its_margin_is_not_called_a_dependence_beyond_the_stated_rate(n):
    generator = np.random.default_rng(n)
    for mean in (0.0, 0.5):
        verdicts = [judge([beyond("pair", generator.normal(mean, 0.5, n), 0.5)]).verdict for _ in range(TRIALS)]
        assert np.mean([verdict == "supported" for verdict in verdicts]) <= rate_limit()


def test_five_blocks_can_contradict():
    """All parts opposed, or one tail of an equivalence, at the smallest p-value of five blocks, 1/32."""
    down, up = [-1, -2, -3, -4, -5], [1, 2, 3, 4, 5]
    assert within("far", up, 0.5).p_against == pytest.approx(1 / 32)
    assert within("far", down, 0.5).p_against == pytest.approx(1 / 32)
    # The margin is 0.01 standard deviations: both tails count.
    assert within("tight", up, 0.0158).p_against == pytest.approx(2 / 32)
    for against, of, expected in ((3, 3, "contradicted"), (2, 3, "contradicted"), (1, 3, "not testable here"), (5, 8, "contradicted"), (4, 8, "not testable here")):  # fmt: skip
        parts = [above("part", down)] * against + [above("part", up)] * (of - against)
        assert judge(parts).verdict == expected, (against, of)
    # Among ten blocks one part of three suffices: 1/1024 is below 0.05 / 3.
    ten = [above("against", [-2 - value for value in range(10)])] + [above("for", range(1, 11))] * 2
    assert judge(ten).verdict == "contradicted"


def test_parts_without_a_value_count_in_the_correction():
    down = [-1, -2, -3, -4, -5]
    missing = Finding("part", cause="missing model", reason="none")
    assert judge([above("part", down), missing]).verdict == "not testable here"
    assert judge([above("part", down), above("part", down), missing]).verdict == "contradicted"


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("n_runs", [1, 4])
def test_shares_of_failed_runs_are_held_to_the_stated_rate(share, n_runs, monkeypatch):
    """Shares of runs at the claimed share, runs of one block alike in half of the blocks."""
    monkeypatch.setattr(fails, "DRAWS", 4000)
    generator = np.random.default_rng([n_runs, int(10 * share)])
    p = []
    for _ in range(TRIALS):
        runs = generator.random((8, n_runs)) < share
        alike = generator.random(8) < 0.5
        runs[alike] = runs[alike, :1]
        lower, upper = fails.bounds(runs.mean(axis=1))
        p.append((np.mean(lower <= share), np.mean(upper >= share)))
    assert (np.mean(np.array(p) <= ALPHA, axis=0) <= rate_limit()).all()


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
