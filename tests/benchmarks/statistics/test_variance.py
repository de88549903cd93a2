"""Variance components by hand, under simulation, and where they cannot be had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.formats import read_table, write_table
from benchmarks.statistics.variance import split, trend, variance_split, variance_trends


def test_by_hand():
    # Means 1.5 and 3.5; within (0.5 + 0.5) / 2 = 0.5; between 2 (1 + 1) / 1 = 4; (4 - 0.5) / 2 = 1.75.
    result = split([[1.0, 2.0], [3.0, 4.0]])
    assert (result["seed_variance"], result["subsample_variance"]) == (pytest.approx(0.5), pytest.approx(1.75))
    assert (result["variance"], result["subsample_share"]) == (pytest.approx(2.25), pytest.approx(1.75 / 2.25))
    # Chi-squared with 2 degrees of freedom: -2 ln(0.025) and -2 ln(0.975).
    assert result["seed_low"] == pytest.approx(1.0 / (-2 * np.log(0.025)))
    assert result["seed_high"] == pytest.approx(1.0 / (-2 * np.log(0.975)))


def test_unequal_numbers_of_seeds_by_hand():
    # k0 = (4 - (1 + 9) / 4) / 1 = 1.5; within 2 / 2 = 1; between 1 * 4.5^2 + 3 * 1.5^2 = 27 about the mean 5.5.
    result = split([[10.0], [3.0, 4.0, 5.0]])
    assert result["seed_variance"] == pytest.approx(1.0)
    assert result["subsample_variance"] == pytest.approx((27 - 1) / 1.5)


def test_never_negative():
    result = split([[0.0, 1.0], [0.5, 0.5]])
    assert result["subsample_variance"] == 0 and result["subsample_share"] == 0 and result["share_low"] == 0


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-9, 0.7])
def test_equal_scores_have_no_variance_at_all(value):
    result = split([[value] * 3] * 5)
    assert (result["variance"], result["subsample_variance"], result["seed_variance"]) == (0.0, 0.0, 0.0)
    assert result["note"] == "all scores are identical" and np.isnan(result["subsample_share"])


def test_a_model_without_chance():
    result = split([[0.1] * 3, [0.3] * 3, [0.7] * 3])
    assert result["seed_variance"] == 0.0 and result["note"] == "seeds give identical scores"
    assert result["subsample_share"] == 1 and result["subsample_variance"] == pytest.approx(
        np.var([0.1, 0.3, 0.7], ddof=1)
    )


def test_what_cannot_be_told_apart():
    one_seed = split([[0.1], [0.2], [0.6]])
    assert "cannot be told apart" in one_seed["note"] and one_seed["variance"] == pytest.approx(0.07)
    assert np.isnan([one_seed["seed_variance"], one_seed["subsample_variance"]]).all()
    one_subsample = split([[0.1, 0.3]])
    assert one_subsample["note"].startswith("one subsample") and one_subsample["seed_variance"] == pytest.approx(0.02)
    assert np.isnan(one_subsample["subsample_variance"])
    assert split([[0.5]])["note"] == "one value: no variance"


def test_coverage_and_mean():
    """600 studies, 6 subsamples x 3 seeds, variances 4 and 1: nominal 0.95, standard error 0.009, both sides of it."""
    generator = np.random.default_rng(0)
    results = [split(list(generator.normal(0, 2, (6, 1)) + generator.normal(0, 1, (6, 3)))) for _ in range(600)]
    seed = np.mean([result["seed_low"] <= 1 <= result["seed_high"] for result in results])
    share = np.mean([result["share_low"] <= 0.8 <= result["share_high"] for result in results])
    assert seed == pytest.approx(0.95, abs=3 * 0.009) and share == pytest.approx(0.95, abs=3 * 0.009)
    # Unbiased: 4 with a standard error of 0.12, by (16 + 1 / 3)... of a mean square with 5 degrees of freedom.
    assert np.mean([result["subsample_variance"] for result in results]) == pytest.approx(4, abs=0.5)


@given(
    st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=4), min_size=1, max_size=5),
    st.floats(0.5, 2),
    st.floats(-5, 5),
)
@settings(max_examples=60, deadline=None)
def test_properties(groups, factor, shift):
    result = split(groups)
    for name in ("variance", "subsample_variance", "seed_variance"):
        assert np.isnan(result[name]) or result[name] >= 0
    if np.isfinite(result["subsample_share"]):
        assert -1e-12 <= result["share_low"] <= result["share_high"] <= 1 + 1e-12
        moved = split([factor * np.array(group) + shift for group in groups])
        assert moved["variance"] == pytest.approx(factor**2 * result["variance"], rel=1e-6, abs=1e-8)


def test_trend_by_hand():
    # Variance exactly proportional to 1 / n.
    sizes = np.array([100.0, 400.0, 1600.0])
    values = np.array([-1.0, 0.0, 1.0, 2.0])[:, None] / np.sqrt(sizes)
    result = trend(sizes, values)
    assert result["slope"] == pytest.approx(-1) and result["slope_high"] < 0 and result["trend"] == "falls"
    assert trend(sizes, values[:, ::-1])["trend"] == "rises"


def test_trends_that_cannot_be_had():
    values = np.random.default_rng(0).normal(size=(6, 3))
    sizes = np.array([100.0, 200.0, 300.0])
    assert trend(sizes, values[:3])["note"].startswith("3 replicates")
    assert trend(sizes[:1], values[:, :1])["note"] == "one size"
    zero = values.copy()
    zero[:, 1] = 0.3
    assert "exactly 0" in trend(sizes, zero)["note"]
    missing = values.copy()
    missing[0, 0] = np.nan
    assert np.isfinite(trend(sizes, missing)["slope"])


def test_sizes_with_few_replicates_are_left_out_of_a_trend():
    sizes = np.array([100.0, 400.0, 1600.0])
    values = np.array([-1.0, 0.0, 1.0, 2.0])[:, None] / np.sqrt(sizes)
    wide = np.column_stack([values, [5.0, np.nan, np.nan, 1.0]])
    result = trend(np.append(sizes, 6400.0), wide)
    assert result["slope"] == pytest.approx(-1) and "6,400 cells" in result["note"]


def test_a_trend_that_is_not_there_is_rarely_found():
    """300 studies of ten replicates and five sizes without a trend: the 5 % of the interval, standard error 0.0126.

    The jackknife of a log-variance is slightly liberal at ten replicates, so that 0.1 is the bound here.
    """
    generator = np.random.default_rng(1)
    sizes = np.array([500.0, 1000, 2500, 5000, 10000])
    found = np.mean([trend(sizes, generator.normal(size=(10, 5)))["trend"] != "unresolved" for _ in range(300)])
    assert found <= 0.1
    falls = [trend(sizes, generator.normal(size=(10, 5)) / np.sqrt(sizes))["trend"] for _ in range(100)]
    assert falls.count("falls") > 60 and falls.count("rises") == 0


def test_tables(make):
    generator = np.random.default_rng(0)
    parts = []
    for n in (100, 200, 400):
        rows = [
            ("pca", "nmi_leiden", replicate, generator.normal() / np.sqrt(n), "ok", "", seed)
            for replicate in range(5)
            for seed in range(2)
        ] + [("pca", "asw_batch", 0, np.nan, "failed", "broken")]
        parts.append(make.scores(rows, n_cells=n, design=f"n{n}"))
    scores = pd.concat(parts, ignore_index=True)
    table = variance_split(scores)
    assert (
        table["n_cells"].tolist() == [100, 200, 400]
        and (table["n_values"] == 10).all()
        and (table["n_subsamples"] == 5).all()
    )
    first = scores[(scores["n_cells"] == 100) & (scores["status"] == "ok")]
    expected = split([part["value"].to_numpy() for _, part in first.groupby("replicate")])
    assert table["subsample_variance"][0] == expected["subsample_variance"]
    pd.testing.assert_frame_equal(table, variance_split(scores.sample(frac=1, random_state=0)))
    trends = variance_trends(scores)
    assert len(trends) == 1 and trends["n_sizes"][0] == 3
    pd.testing.assert_frame_equal(trends, variance_trends(scores.sample(frac=1, random_state=0)))


def test_flagged_runs_are_left_out(make, tmp_path):
    """Of one subsample the second seed collapsed: its score is no variance of training, in the command's tables either."""
    rows = [("pca", "nmi_leiden", replicate, 0.5 + 0.01 * replicate + 0.001 * seed, "ok", "", seed) for replicate in range(5) for seed in range(2)]  # fmt: skip
    scores = pd.concat([make.scores(rows, n_cells=n, design=f"n{n}") for n in (100, 200, 400)], ignore_index=True)
    lost = scores["n_cells"].eq(400) & scores["replicate"].eq(3) & scores["seed"].eq(1)
    scores.loc[lost, "value"] = 0.0
    runs = make.runs(scores, cpu_seconds=1.0, peak_rss_mb=1.0)
    runs.loc[runs.merge(scores.loc[lost, ["n_cells", "replicate", "seed"]], how="left", indicator=True)["_merge"] == "both", "collapsed"] = True  # fmt: skip
    table = variance_split(scores, runs).set_index("n_cells")
    assert table["n_values"].tolist() == [10, 10, 9] and (table["seed_variance"] < 1e-6).all()
    assert variance_split(scores).set_index("n_cells").loc[400, "seed_variance"] > 0.01
    pd.testing.assert_frame_equal(variance_trends(scores, runs), variance_trends(scores[~lost]))
    assert abs(variance_trends(scores, runs)["slope"][0] - variance_trends(scores)["slope"][0]) > 1e-3

    for name, content in (("scores", scores), ("runs", runs)):
        write_table(tmp_path / f"{name}.parquet", content)
    assert main(["statistics", "--study-dir", str(tmp_path)]) == 0
    assert read_table(tmp_path / "variance.parquet")["n_values"].tolist() == [10, 10, 9]
    expected = variance_trends(scores, runs)["slope"][0]
    assert read_table(tmp_path / "variance_trends.parquet")["slope"][0] == pytest.approx(expected)
