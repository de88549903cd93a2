"""Mean ranks over blocks, against published and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.statistics.critical_difference import cliques, critical_difference, friedman, rank_over_blocks


def test_critical_difference_as_published():
    # Demsar 2006, table 5 and section 3.2.2: q = 2.569 for four classifiers, over 14 data sets 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(2, 6) == pytest.approx(1.960 * np.sqrt(1 / 6), rel=1e-3)
    assert critical_difference(10, 10) == pytest.approx(3.164 * np.sqrt(110 / 60), rel=1e-3)


def test_friedman_as_published():
    # Demsar 2006, section 3.2.2: mean ranks 3.143, 2.000, 2.893, 1.964 over 14 data sets; F = 3.69.
    chi = 12 * 14 / 20 * (3.143**2 + 2.0**2 + 2.893**2 + 1.964**2 - 25)
    assert 13 * chi / (14 * 3 - chi) == pytest.approx(3.69, abs=0.02)
    generator = np.random.default_rng(0)
    ranks = np.apply_along_axis(stats.rankdata, 1, generator.normal(size=(9, 5)) + np.arange(5) * 0.4)
    statistic, p = friedman(ranks)
    chi = stats.friedmanchisquare(*ranks.T).statistic
    assert statistic == pytest.approx(8 * chi / (9 * 4 - chi))
    assert p == pytest.approx(stats.f.sf(statistic, 4, 32))


def test_friedman_at_its_ends():
    assert friedman(np.tile([1.0, 2.0, 3.0], (6, 1))) == (np.inf, 0.0)
    assert friedman(np.full((6, 3), 2.0)) == (0.0, 1.0)


def test_error_rate_of_friedman():
    """1,000 null studies: the stated 5 %, with a binomial standard error of 0.007."""
    generator = np.random.default_rng(3)
    ranks = np.argsort(np.argsort(generator.normal(size=(1000, 10, 6)), axis=2), axis=2) + 1.0
    assert np.mean([friedman(own)[1] <= 0.05 for own in ranks]) == pytest.approx(0.05, abs=3 * 0.007)


def test_cliques_by_hand():
    assert cliques(np.array([1.0, 1.5, 2.6, 5.0]), 1.2) == [(0, 1), (1, 2), (3, 3)]
    assert cliques(np.array([1.0, 2.0, 3.0]), 5.0) == [(0, 2)]


def block_scores(make, models, replicates, noise=0.01, datasets=("a", "b"), metric="nmi_leiden"):
    """Scores over two data sets and two sizes."""
    generator = np.random.default_rng(1)
    parts = []
    for dataset in datasets:
        for n in (100, 200):
            rows = [
                (model, metric, replicate, mean + generator.normal(0, noise))
                for model, mean in models.items()
                for replicate in range(replicates)
            ]
            parts.append(make.scores(rows, dataset=dataset, n_cells=n, design=f"{dataset}{n}"))
    return pd.concat(parts, ignore_index=True)


def test_a_clear_order(make):
    scores = block_scores(make, {"good": 0.9, "fair": 0.6, "poor": 0.3}, 6)
    table = rank_over_blocks(scores, None, make.metrics)
    assert table["model"].tolist() == ["good", "fair", "poor"] and table["mean_rank"].tolist() == [1, 2, 3]
    # Sizes nest: the blocks are two data sets of six replicates, not twenty-four designs.
    assert (table["n_blocks"] == 12).all() and (table["friedman_p"] == 0).all()
    # The critical difference of 3 models over 12 blocks is 0.957: neighbours are apart.
    assert table[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert table["cliques"].tolist() == ["1", "2", "3"]
    lower = rank_over_blocks(
        block_scores(make, {"good": 0.1, "poor": 0.9}, 6, metric="rank_distance_fraction"), None, make.metrics
    )
    assert lower["model"].tolist() == ["good", "poor"]
    each = rank_over_blocks(scores, None, make.metrics, by=("study", "dataset"))
    assert len(each) == 6 and (each["n_blocks"] == 6).all()


def test_equal_models_share_all_ranks(make):
    table = rank_over_blocks(block_scores(make, {"a": 0.5, "b": 0.5, "c": 0.5}, 6, 0.1), None, make.metrics)
    assert (table["friedman_p"] > 0.05).all()
    assert (table["rank_low"] == 1).all() and (table["rank_high"] == 3).all() and (table["cliques"] == "1").all()


def test_an_incomplete_model_is_left_out_and_named(make):
    scores = block_scores(make, {"a": 0.5, "b": 0.6, "c": 0.7, "random": 0.1}, 6)
    lacks = (scores["model"] == "c") & (scores["n_cells"] == 200)
    scores.loc[lacks, ["status", "reason"]] = "missing", "timeout"
    table = rank_over_blocks(scores, None, make.metrics)
    assert table["model"].tolist() == ["b", "a"] and set(table["left_out"]) == {"c"}
    # A single missing score costs its condition alone.
    scores = block_scores(make, {"a": 0.5, "b": 0.6, "c": 0.7}, 6)
    one = scores.index[(scores["model"] == "c")][0]
    scores.loc[one, ["status", "reason"]] = "missing", "timeout"
    table = rank_over_blocks(scores, None, make.metrics)
    assert len(table) == 3 and (table["n_blocks"] == 12).all() and (table["left_out"] == "").all()


def test_data_sets_to_which_other_models_apply_are_ranked_apart(make):
    """Two Multiome data sets and one of CITE-seq: each kind keeps the models that take it alone."""
    both = {"a": 0.5, "b": 0.6}
    multiome = block_scores(make, {**both, "peaks": 0.7, "proteins": 0.8, "random": 0.1}, 6, datasets=("m", "n"))
    cite = block_scores(make, {**both, "peaks": 0.7, "proteins": 0.8, "random": 0.1}, 6, datasets=("c",))
    for scores, model in ((multiome, "proteins"), (cite, "peaks")):
        never = scores["model"] == model
        scores.loc[never, ["value", "status", "reason"]] = np.nan, "not_applicable", "why"
    table = rank_over_blocks(pd.concat([multiome, cite], ignore_index=True), None, make.metrics)
    ranked = {key: part["model"].tolist() for key, part in table.groupby("datasets")}
    assert ranked == {"m, n": ["peaks", "b", "a"], "c": ["proteins", "b", "a"]}
    assert dict(table.groupby("datasets")["n_blocks"].first()) == {"m, n": 12, "c": 6}
    assert (table["left_out"] == "").all()
    pd.testing.assert_frame_equal(
        rank_over_blocks(multiome, None, make.metrics),
        table[table["datasets"] == "m, n"].reset_index(drop=True),
    )


def test_a_model_that_failed_everywhere_is_named(make):
    scores = block_scores(make, {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.7, "random": 0.1}, 6)
    for model, status in (("c", "missing"), ("d", "not_applicable"), ("random", "missing")):
        scores.loc[scores["model"] == model, ["value", "status", "reason"]] = np.nan, status, "why"
    table = rank_over_blocks(scores, None, make.metrics)
    assert table["model"].tolist() == ["b", "a"] and set(table["left_out"]) == {"c"}


def test_order_of_rows_does_not_matter(make):
    scores = block_scores(make, {"a": 0.5, "b": 0.5, "c": 0.52}, 5, 0.05)
    pd.testing.assert_frame_equal(
        rank_over_blocks(scores, None, make.metrics),
        rank_over_blocks(scores.sample(frac=1, random_state=2), None, make.metrics),
    )
