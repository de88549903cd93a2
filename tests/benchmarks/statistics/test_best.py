"""Which model may be best: by hand, under nulls, and with gaps that are there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.statistics.best import best, budgets, p_not_best, probability_best


def test_probability_by_hand():
    draws = np.array([[0.3, 0.2, 0.1], [0.2, 0.2, 0.1], [0.1, np.nan, 0.9], [0.0, 0.1, 0.2]])
    probabilities = np.array([0.5, 0.25, 0.2, 0.05])
    # The third sample does not count; the second is a tie of two.
    assert probability_best(draws, probabilities, False) == pytest.approx(np.array([0.625, 0.125, 0.05]) / 0.8)
    assert probability_best(draws, probabilities, True) == pytest.approx(np.array([0.05, 0, 0.75]) / 0.8)
    assert np.isnan(probability_best(draws, np.zeros(4), False)).all()


def test_p_by_hand():
    # Eight replicates that all agree: 2 of 256 sign patterns, times two other models.
    values = np.array([0.9, 0.5, 0.1]) + np.zeros((8, 3))
    assert p_not_best(values, False) == pytest.approx([1.0, 2 * 2 / 256, 2 * 2 / 256])
    assert p_not_best(values, True) == pytest.approx([2 * 2 / 256, 2 * 2 / 256, 1.0])
    # Equal models rule nobody out, and a model without values has no p-value.
    assert p_not_best(np.ones((8, 2)), False).tolist() == [1.0, 1.0]
    assert np.isnan(p_not_best(np.column_stack([values[:, :2], np.full(8, np.nan)]), False)).tolist() == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(("replicates", "models"), [(8, 4), (10, 10), (14, 3)])
def test_the_best_model_is_kept_as_often_as_said(replicates, models):
    """300 studies of equal models: each of them is a best one and may be ruled out in 5 % of the studies.

    The binomial standard error of 0.05 is 0.0126; three of them above it are allowed.
    """
    generator = np.random.default_rng(replicates)
    out = np.mean([p_not_best(generator.normal(size=(replicates, models)), False) <= 0.05 for _ in range(300)], axis=0)
    assert out.max() <= 0.05 + 3 * 0.0126


def test_gaps_that_are_there_are_found():
    generator = np.random.default_rng(0)
    p = [p_not_best(np.array([0.0, 1.0, 1.2, 3.0]) + generator.normal(0, 0.3, (9, 4)), False) for _ in range(50)]
    assert (np.array(p)[:, 0] <= 0.05).mean() > 0.95 and (np.array(p)[:, 3] > 0.05).all()


def test_five_replicates_rule_out_nothing():
    assert (p_not_best(np.array([0.0, 1.0]) + np.zeros((5, 2)), False) > 0.05).all()


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_invariances(seed, factor, shift):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(7, 4))
    p = p_not_best(values, False)
    assert p_not_best(factor * values[generator.permutation(7)] + shift, False) == pytest.approx(p)
    order = generator.permutation(4)
    assert p_not_best(values[:, order], False) == pytest.approx(p[order])
    assert p_not_best(-values, True) == pytest.approx(p)
    chance = probability_best(values, np.full(7, 1 / 7), False)
    assert chance.sum() == pytest.approx(1) and (chance >= 0).all()


def test_budgets():
    assert budgets(np.array([500.0, 1000.0, 2000.0])).tolist() == [700, 3000, 4000]


def crossing_scores(make, replicates=8, noise=0.003, sizes=(500, 1000, 2000, 4000)):
    """``flat`` is best below 1,000 cells or so, ``steep`` above; ``low`` never."""
    generator = np.random.default_rng(2)
    truths = {"flat": lambda n: 0.6 + 0 * n, "steep": lambda n: 0.8 - 6.3 * n**-0.5, "low": lambda n: 0.3 + 0 * n}
    parts = []
    for n in sizes:
        rows = [
            (model, "nmi_leiden", replicate, truth(float(n)) + generator.normal(0, noise))
            for model, truth in truths.items()
            for replicate in range(replicates)
        ]
        parts.append(make.scores(rows, n_cells=n, design=f"n{n}"))
    return pd.concat(parts, ignore_index=True)


def test_the_best_model_changes_with_the_budget(make):
    table = best(crossing_scores(make), None, make.metrics)
    at = {n: part.set_index("model") for n, part in table.groupby("n_cells")}
    assert sorted(at) == [500, 700, 1000, 2000, 3000, 4000, 5000, 7000, 8000]
    assert at[700]["source"].unique() == ["curve"] and at[8000]["source"].unique() == ["extrapolated curve"]
    assert at[500]["source"].unique() == ["measured"]
    for n, winner in ((500, "flat"), (700, "flat"), (2000, "steep"), (3000, "steep")):
        assert at[n]["may_be_best"].to_dict() == {name: name == winner for name in ("flat", "steep", "low")}
        assert at[n].loc[winner, "probability_best"] > 0.99 and at[n]["resolved"].all()
    # At the crossing (992 cells) neither is ruled out.
    assert (
        at[1000]["may_be_best"].to_dict() == {"flat": True, "steep": True, "low": False}
        and not at[1000]["resolved"].any()
    )
    assert at[3000].loc["steep", "value"] == pytest.approx(0.8 - 6.3 * 3000**-0.5, abs=0.01)
    assert (at[3000]["low"] <= at[3000]["value"]).all() and (at[3000]["value"] <= at[3000]["high"]).all()


def test_no_test_rules_out_a_model_on_an_extrapolated_curve(make):
    table = best(crossing_scores(make), None, make.metrics)
    beyond = table[table["n_cells"] > 4000]
    assert len(beyond) == 9 and beyond["p_not_best"].isna().all()
    assert beyond["may_be_best"].all() and not beyond["resolved"].any()
    # The share of the bootstrap samples stays: it promises nothing.
    assert (beyond.loc[beyond["model"] == "steep", "probability_best"] > 0.99).all()


def test_each_curve_is_extrapolated_beyond_its_own_sizes(make):
    """``steep`` has no value at 4,000 cells: at 3,000 its curve is extrapolated, and that of the others is not."""
    scores = crossing_scores(make)
    lacks = (scores["model"] == "steep") & (scores["n_cells"] == 4000)
    scores.loc[lacks, ["value", "status"]] = np.nan, "missing"
    table = best(scores, None, make.metrics)
    at = table[table["n_cells"] == 3000].set_index("model")
    assert at["source"].to_dict() == {"flat": "curve", "low": "curve", "steep": "extrapolated curve"}
    assert np.isnan(at.loc["steep", "p_not_best"]) and at.loc["low", "p_not_best"] <= 0.05
    assert at["may_be_best"].to_dict() == {"flat": True, "low": False, "steep": True} and not at["resolved"].any()
    # One with its own last size at 2,000 does not hide the others' smaller sizes either.
    assert set(table.loc[table["n_cells"] == 700, "source"]) == {"curve"}


def test_one_replicate_says_nothing(make):
    table = best(crossing_scores(make, 1), None, make.metrics)
    assert table["probability_best"].isna().all() and table["may_be_best"].all() and not table["resolved"].any()


def test_two_sizes_have_no_budgets(make):
    table = best(crossing_scores(make, sizes=(500, 1000)), None, make.metrics)
    assert set(table["source"]) == {"measured"}


def test_order_of_rows_does_not_matter(make):
    scores = crossing_scores(make)
    pd.testing.assert_frame_equal(
        best(scores, None, make.metrics), best(scores.sample(frac=1, random_state=1), None, make.metrics)
    )
