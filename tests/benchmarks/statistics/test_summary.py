"""Aggregation over replicates: nothing missing becomes a number, and nothing is dropped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.statistics.summary import flags, replicate_means, summarise, summarise_cost


def row(make, rows, runs=None, model="pca"):
    """The summary of one model."""
    table = summarise(make.scores(rows), runs, make.metrics)
    assert len(table[table["model"] == model]) == 1
    return table[table["model"] == model].iloc[0]


def test_by_hand(make):
    result = row(make, [("pca", "nmi_leiden", replicate, value) for replicate, value in enumerate([0.2, 0.4, 0.9])])
    assert result["mean"] == pytest.approx(0.5)
    assert result["median"] == pytest.approx(0.4)
    assert result["sd"] == pytest.approx(np.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert (result["low"], result["high"]) == (pytest.approx(0.2), pytest.approx(0.9))
    assert (result["n_planned"], result["n_ok"], result["n_replicates"]) == (3, 3, 3)
    assert (result["group"], result["direction"]) == ("bio_conservation", "higher")


def test_a_missing_score_is_missing(make):
    result = row(
        make, [("pca", "nmi_leiden", 0, 0.5), ("pca", "nmi_leiden", 1, np.nan, "missing", "timeout: more than 600 s")]
    )
    assert result["mean"] == 0.5
    assert (result["n_planned"], result["n_ok"], result["n_missing"], result["n_replicates"]) == (2, 1, 1, 1)
    assert result["reason"] == "timeout: more than 600 s"
    assert np.isnan(result["sd"]) and np.isnan(result["low"]) and "one replicate" in result["interval"]


def test_a_model_without_any_score_keeps_its_row(make):
    result = row(
        make,
        [("pca", "nmi_leiden", 0, np.nan, "not_applicable", "takes paired cells only"), ("wnn", "nmi_leiden", 0, 0.5)],
    )
    assert np.isnan(result["mean"]) and result["n_not_applicable"] == 1 and result["n_replicates"] == 0
    assert result["reason"] == "takes paired cells only"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_a_failure(make, value):
    result = row(make, [("pca", "nmi_leiden", 0, 0.5), ("pca", "nmi_leiden", 1, value)])
    assert result["mean"] == 0.5 and result["n_failed"] == 1 and result["reason"] == "the value is not finite"


def test_a_value_beside_a_failure_does_not_count(make):
    result = row(make, [("pca", "nmi_leiden", 0, 0.5), ("pca", "nmi_leiden", 1, 0.0, "failed", "broken")])
    assert result["mean"] == 0.5 and result["n_failed"] == 1


def test_an_unknown_status_is_a_failure(make):
    assert row(make, [("pca", "nmi_leiden", 0, 0.3, "odd", "?")])["n_failed"] == 1


def test_seeds_are_averaged_within_a_replicate(make):
    rows = [
        ("pca", "nmi_leiden", 0, 0.0, "ok", "", 0),
        ("pca", "nmi_leiden", 0, 1.0, "ok", "", 1),
        ("pca", "nmi_leiden", 1, 0.8, "ok", "", 0),
    ]
    result = row(make, rows)
    assert result["mean"] == pytest.approx(0.65) and result["n_replicates"] == 2 and result["n_ok"] == 3


def test_scaled_mean_and_bounds(make):
    rows = [
        (model, "nmi_leiden", replicate, value)
        for replicate in range(2)
        for model, value in (("random", 0.1), ("oracle", 0.9))
    ]
    result = row(make, [*rows, ("pca", "nmi_leiden", 0, 0.3), ("pca", "nmi_leiden", 1, 0.5)])
    assert result["scaled"] == pytest.approx(0.375)
    assert (result["scaled_low"], result["scaled_high"]) == (pytest.approx(0.25), pytest.approx(0.5))
    assert (result["random"], result["oracle"]) == (pytest.approx(0.1), pytest.approx(0.9))


def test_order_of_rows_does_not_matter(make):
    scores = make.study({"pca": 0.5, "wnn": 0.6}, 4, metrics=("nmi_leiden", "rank_distance_fraction"))
    first = summarise(scores, None, make.metrics)
    second = summarise(scores.sample(frac=1, random_state=0), None, make.metrics)
    pd.testing.assert_frame_equal(first, second)


def test_two_designs_in_one_condition_are_refused(make):
    scores = make.scores([("pca", "nmi_leiden", 0, 0.5), ("pca", "nmi_leiden", 0, 0.7)])
    with pytest.raises(ValueError, match="two scores"):
        replicate_means(scores)


def test_flags(make):
    rows = [(model, "nmi_leiden", replicate, 0.5) for model in ("pca", "wnn", "mofa", "good") for replicate in range(2)]
    scores = make.scores(rows)
    runs = make.runs(scores)
    runs.loc[(runs["model"] == "pca") & (runs["replicate"] == 1), "collapsed"] = True
    runs.loc[runs["model"] == "wnn", "duplicate_fraction"] = 0.9
    runs["flag_reason"] = ""
    runs.loc[runs["model"] == "mofa", "flag_reason"] = "the diagnostics say so"
    assert len(flags(runs)) == 5
    table = summarise(scores, runs, make.metrics).set_index("model")
    assert table.loc["pca", "flag_reason"] == "1 of 2 runs: collapsed embedding"
    assert table.loc["wnn", "flag_reason"] == "2 of 2 runs: 90% of the observations are duplicates"
    assert table.loc["mofa", "flag_reason"] == "2 of 2 runs: the diagnostics say so"
    assert not table.loc["good", "flagged"] and table["flagged"].sum() == 3
    assert table.loc["pca", "mean"] == 0.5


def test_missing_flag_columns_of_a_failed_run_are_no_flag(make):
    scores = make.scores([("pca", "nmi_leiden", 0, np.nan, "missing", "failed: x")])
    runs = make.runs(scores, status="failed", collapsed=None, duplicate_fraction=np.nan)
    assert flags(runs).empty


def test_cost(make):
    scores = make.scores([("pca", "nmi_leiden", replicate, 0.5) for replicate in range(3)])
    runs = make.runs(scores, wall_seconds=[1.0, 2.0, 50.0], peak_rss_mb=100.0, epochs=[None, None, None])
    runs.loc[2, "status"] = "timeout"
    table = summarise_cost(runs).set_index("metric")
    assert table.loc["wall_seconds", "mean"] == pytest.approx(1.5) and table.loc["wall_seconds", "n_replicates"] == 2
    assert table.loc["peak_rss_mb", "sd"] == 0 and "epochs" not in table.index
