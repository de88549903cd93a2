"""Paired comparisons: exact p-values, error rates, and what counts as a block."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.statistics.compare import EXACT_FLIPS, compare, holm, sign_flip_test, sign_flips, smallest_p


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0], 1.0),
        ([1.0, 1.0, 1.0], 2 / 8),
        ([1.0, 2.0, -3.0], 1.0),
        # Sums of the 8 flips of (3, 2, -1) are 4, 6, 0, 2 and their negatives: 4 of 8 reach |4|.
        ([3.0, 2.0, -1.0], 4 / 8),
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2 / 32),
    ],
)
def test_p_values_by_hand(differences, expected):
    assert sign_flip_test(np.array([differences])) == pytest.approx([expected])


def test_no_blocks_no_p_value():
    assert np.isnan(sign_flip_test(np.empty((1, 0)))).all() and np.isnan(smallest_p(0))


def test_against_scipy():
    values = np.random.default_rng(3).normal(0.4, 1, size=(20, 9))
    expected = [
        stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue for row in values
    ]
    assert np.allclose(sign_flip_test(values), expected, atol=1e-12)


def test_drawn_flips_are_near_the_exact_test():
    values = np.random.default_rng(4).normal(0.3, 1, size=(5, EXACT_FLIPS + 2))
    assert len(sign_flips(EXACT_FLIPS)) == 2 ** (EXACT_FLIPS - 1)
    expected = [
        stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue for row in values
    ]
    assert np.allclose(sign_flip_test(values), expected, atol=0.015)


# A tenth of the smallest numbers that there are is 0.
DIFFERENCES = st.floats(-10, 10).filter(lambda value: value == 0 or abs(value) > 1e-200)


@given(st.lists(DIFFERENCES, min_size=2, max_size=7), st.floats(0.1, 10), st.randoms())
@settings(max_examples=60, deadline=None)
def test_invariances(differences, factor, random):
    p = sign_flip_test(np.array([differences]))[0]
    assert smallest_p(len(differences)) <= p <= 1
    shuffled = list(differences)
    random.shuffle(shuffled)
    for other in (shuffled, [-value for value in differences], [factor * value for value in differences]):
        assert sign_flip_test(np.array([other]))[0] == pytest.approx(p)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([np.nan, 0.02]) == pytest.approx([np.nan, 0.02], nan_ok=True)
    assert len(holm([])) == 0


def test_error_rate_of_one_test_is_nominal():
    for n, nominal in ((6, 2 / 64 * 1), (8, 0.05), (10, 0.05)):
        values = np.random.default_rng(n).standard_t(3, size=(4000, n))
        attainable = np.floor(nominal * 2 ** (n - 1)) / 2 ** (n - 1)
        rate = np.mean(sign_flip_test(values) <= nominal + 1e-12)
        assert rate == pytest.approx(attainable, abs=4 * np.sqrt(attainable / 4000))


def test_family_wise_error_rate_under_a_simulated_null(make):
    tables = []
    for study in range(120):
        tables.append(make.study({"a": 0.5, "b": 0.5, "c": 0.5, "e": 0.5}, 8, seed=study).assign(study=f"s{study}"))
    result = compare(pd.concat(tables), None, make.metrics)
    assert len(result) == 120 * 6
    wrong = result.groupby("study")["better"].agg(lambda column: (column != "unresolved").any())
    assert wrong.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)


@pytest.mark.parametrize(("name", "better"), [("nmi_leiden", "b"), ("rank_distance_fraction", "b")])
def test_a_real_gap_is_found_in_either_direction(make, name, better):
    result = compare(make.study({"a": 0.4, "b": 0.6}, 8, metrics=(name,)), None, make.metrics)
    row = result.iloc[0]
    assert (row["model_a"], row["model_b"], row["n_blocks"]) == ("a", "b", 8)
    assert row["better"] == better and row["p"] == pytest.approx(2 / 2**8)
    assert abs(row["difference"]) == pytest.approx(0.2, abs=0.02) and row["low"] <= row["difference"] <= row["high"]


def test_five_replicates_resolve_nothing(make):
    row = compare(make.study({"a": 0.1, "b": 0.9}, 5), None, make.metrics).iloc[0]
    assert row["better"] == "unresolved" and row["smallest_p"] == pytest.approx(0.0625)


def test_target_metrics_compare_the_distance(make):
    rows = [
        (model, "modality_enrichment", replicate, value)
        for replicate in range(8)
        for model, value in (("a", 1.2), ("b", 0.95))
    ]
    row = compare(make.scores(rows), None, make.metrics).iloc[0]
    assert row["better"] == "b" and row["difference"] == pytest.approx(0.15)


def test_only_shared_subsamples_count(make):
    rows = [("a", "nmi_leiden", r, 0.5) for r in range(4)] + [("b", "nmi_leiden", r, 0.5 + r) for r in range(2, 6)]
    row = compare(make.scores(rows), None, make.metrics).iloc[0]
    assert row["n_blocks"] == 2 and row["difference"] == pytest.approx(-2.5)


def test_models_that_share_no_subsample(make):
    row = compare(make.scores([("a", "nmi_leiden", 0, 0.5), ("b", "nmi_leiden", 1, 0.5)]), None, make.metrics).iloc[0]
    assert row["n_blocks"] == 0 and np.isnan(row["p"]) and row["better"] == "unresolved"


def test_a_flagged_run_loses_its_own_replicate_alone(make):
    rows = [("a", "nmi_leiden", r, 0.5) for r in range(3)] + [("c", "nmi_leiden", r, 0.5 + 0.1 * r) for r in range(3)]
    scores = make.scores(rows)
    runs = make.runs(scores)
    runs.loc[(runs["model"] == "c") & (runs["replicate"] == 0), "collapsed"] = True
    row = compare(scores, runs, make.metrics).iloc[0]
    assert row["n_blocks"] == 2 and row["difference"] == pytest.approx(-0.15)
    runs.loc[runs["model"] == "c", "collapsed"] = True
    assert compare(scores, runs, make.metrics).empty


def test_a_flagged_seed_is_left_out_of_its_replicate(make):
    rows = [("a", "nmi_leiden", 0, 0.5, "ok", "", seed) for seed in range(2)]
    scores = make.scores(
        rows + [("c", "nmi_leiden", 0, value, "ok", "", seed) for seed, value in enumerate((0.9, 0.3))]
    )
    runs = make.runs(scores)
    runs.loc[(runs["model"] == "c") & (runs["seed"] == 0), "collapsed"] = True
    assert compare(scores, runs, make.metrics)["difference"].tolist() == [pytest.approx(0.2)]


def test_nested_sizes_are_one_block(make):
    small = make.study({"a": 0.4, "b": 0.6}, 6, seed=1)
    large = make.study({"a": 0.5, "b": 0.7}, 6, seed=2).assign(n_cells=200)
    row = compare(pd.concat([small, large]), None, make.metrics, by=("study",)).iloc[0]
    assert row["n_blocks"] == 6 and row["difference"] == pytest.approx(-0.2, abs=0.02)


def test_blocks_by_hand(make):
    rows = [
        ("a", "nmi_leiden", 0, 1.0),
        ("b", "nmi_leiden", 0, 0.0),
        ("a", "nmi_leiden", 1, 0.0),
        ("b", "nmi_leiden", 1, 0.5),
    ]
    first = make.scores(rows)
    second = make.scores([("a", "nmi_leiden", 0, 4.0), ("b", "nmi_leiden", 0, 1.0)], n_cells=200)
    row = compare(pd.concat([first, second]), None, make.metrics, by=("study", "dataset")).iloc[0]
    # Block 0: mean of 1 and 3; block 1: -0.5.
    assert row["n_blocks"] == 2 and row["difference"] == pytest.approx((2.0 - 0.5) / 2)
