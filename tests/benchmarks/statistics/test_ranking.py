"""Ranking: composites by hand, ties without evidence, and who is not ranked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.documents import load_yaml
from benchmarks.statistics.ranking import rank, ranking_metrics

ALL = ("nmi_leiden", "rank_distance_fraction", "modality_enrichment", "asw_batch")


def by_model(table):
    return table.set_index("model")


def test_composites_by_hand(make):
    controls = [("random", "nmi_leiden", 0, 0.0), ("oracle", "nmi_leiden", 0, 1.0), ("random", "rank_distance_fraction", 0, 0.5), ("oracle", "rank_distance_fraction", 0, 0.0)]  # fmt: skip
    rows = [("pca", "nmi_leiden", 0, 0.6), ("pca", "rank_distance_fraction", 0, 0.1), ("pca", "modality_enrichment", 0, 2.0), ("pca", "asw_batch", 0, 0.9)]  # fmt: skip
    row = by_model(rank(make.scores([*controls, *rows]), None, make.metrics)).loc["pca"]
    assert row["bio_conservation"] == pytest.approx(0.6) and row["pairing"] == pytest.approx(0.8)
    assert row["mixing"] == pytest.approx(0.5) and row["batch_removal"] == pytest.approx(0.9)
    assert row["overall"] == pytest.approx(0.6 * 0.7 + 0.4 * 0.7)
    assert (row["rank_low"], row["rank_high"], row["position"], row["coverage"]) == (1, 1, 1, 1)


def test_below_chance_is_clipped_in_the_composite(make):
    rows = [("random", "nmi_leiden", 0, 0.5), ("oracle", "nmi_leiden", 0, 1.0), ("pca", "nmi_leiden", 0, 0.1)]
    assert by_model(rank(make.scores(rows), None, make.metrics)).loc["pca", "overall"] == 0


def test_ties_without_evidence(make):
    table = by_model(rank(make.study({"a": 0.5, "b": 0.5, "c": 0.9}, 4), None, make.metrics))
    for model in "abc":
        assert (table.loc[model, "rank_low"], table.loc[model, "rank_high"]) == (1, 3)
    assert table.loc["c", "position"] == 1


def test_ranks_with_evidence(make):
    table = by_model(rank(make.study({"a": 0.5, "b": 0.5, "c": 0.9}, 10), None, make.metrics))
    assert (table.loc["c", "rank_low"], table.loc["c", "rank_high"]) == (1, 1)
    for model in "ab":
        assert (table.loc[model, "rank_low"], table.loc[model, "rank_high"]) == (2, 3)


def test_no_rank_is_claimed_under_the_null(make):
    tables = [
        make.study({"a": 0.5, "b": 0.5, "c": 0.5}, 8, seed=seed).assign(study=f"s{seed:03d}") for seed in range(60)
    ]
    table = rank(pd.concat(tables), None, make.metrics)
    ranked = table[table["ranked"]]
    claimed = ranked.groupby("study").apply(
        lambda part: ((part["rank_low"] > 1) | (part["rank_high"] < 3)).any(), include_groups=False
    )
    assert claimed.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_controls_are_shown_but_not_ranked(make):
    table = by_model(rank(make.study({"a": 0.5}, 3), None, make.metrics))
    assert not table.loc["oracle", "ranked"] and table.loc["oracle", "reason"] == "control"
    assert table.loc["oracle", "overall"] == 1 and table.loc["random", "overall"] == 0
    assert np.isnan(table.loc["oracle", "position"])


def test_a_flagged_embedding_is_not_ranked(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 3)
    runs = make.runs(scores)
    runs.loc[(runs["model"] == "b") & (runs["replicate"] == 2), "collapsed"] = True
    table = by_model(rank(scores, runs, make.metrics))
    assert table.loc["b", "flagged"] and not table.loc["b", "ranked"] and "collapsed" in table.loc["b", "reason"]
    assert table.loc["a", "position"] == 1 and table.loc["a", "rank_high"] == 1


def test_a_failed_replicate_lowers_coverage_and_not_the_score(make):
    scores = make.study({"a": 0.5, "b": 0.5}, 4)
    lost = (scores["model"] == "b") & (scores["replicate"] == 1)
    scores.loc[lost, ["value", "status", "reason"]] = [np.nan, "missing", "diverged"]
    row = by_model(rank(scores, None, make.metrics)).loc["b"]
    assert (
        row["ranked"] and row["coverage"] == pytest.approx(0.75) and (row["n_replicates"], row["n_planned"]) == (3, 4)
    )
    kept = scores[(scores["model"] == "b") & (scores["status"] == "ok")]["value"].mean()
    assert row["overall"] == pytest.approx(kept)


def test_a_model_that_lacks_a_metric_is_not_ranked(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 3, metrics=("nmi_leiden", "rank_distance_fraction"))
    lost = (scores["model"] == "b") & (scores["metric"] == "rank_distance_fraction")
    scores.loc[lost, ["value", "status", "reason"]] = [np.nan, "failed", "broken"]
    row = by_model(rank(scores, None, make.metrics)).loc["b"]
    assert not row["ranked"] and "rank_distance_fraction" in row["reason"] and np.isnan(row["overall"])
    assert row["coverage"] == pytest.approx(0.5)


def test_a_metric_that_does_not_apply_to_one_is_left_out_for_all(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 3, metrics=("nmi_leiden", "rank_distance_fraction"))
    lost = (scores["model"] == "b") & (scores["metric"] == "rank_distance_fraction")
    scores.loc[lost, ["value", "status", "reason"]] = [np.nan, "not_applicable", "no halves"]
    table = by_model(rank(scores, None, make.metrics))
    assert table.loc["a", "ranked"] and table.loc["b", "ranked"]
    assert (
        table.loc["a", "metrics_used"] == "nmi_leiden"
        and table.loc["a", "metrics_left_out"] == "rank_distance_fraction"
    )


def test_a_model_that_does_not_apply_takes_no_metric_from_the_others(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 3, metrics=("nmi_leiden", "rank_distance_fraction"))
    scores.loc[scores["model"] == "b", ["value", "status", "reason"]] = [
        np.nan,
        "not_applicable",
        "takes paired cells only",
    ]
    table = by_model(rank(scores, None, make.metrics))
    assert table.loc["a", "metrics_used"] == "nmi_leiden, rank_distance_fraction"
    assert not table.loc["b", "ranked"] and table.loc["b", "reason"] == "not applicable: takes paired cells only"


def test_a_model_that_always_failed_says_why(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 2)
    scores.loc[scores["model"] == "b", ["value", "status", "reason"]] = [
        np.nan,
        "missing",
        "out_of_memory: more than 100 MB",
    ]
    row = by_model(rank(scores, None, make.metrics)).loc["b"]
    assert row["reason"] == "missing: out_of_memory: more than 100 MB" and row["coverage"] == 0


def test_without_controls_nothing_is_ranked(make):
    scores = make.study({"a": 0.5}, 2)
    table = rank(scores[~scores["model"].isin(["random", "oracle"])], None, make.metrics)
    assert not table["ranked"].any() and table["reason"].tolist() == ["no metric could be scaled"]


def test_names_of_models_do_not_matter(make):
    scores = make.study({"a": 0.3, "b": 0.5, "c": 0.9}, 10)
    names = {"a": "z", "b": "y", "c": "x"}
    renamed = scores.assign(model=scores["model"].replace(names), variant=scores["variant"].replace(names))
    first, second = by_model(rank(scores, None, make.metrics)), by_model(rank(renamed, None, make.metrics))
    for old, new in names.items():
        assert (
            first.loc[old, ["rank_low", "rank_high", "position"]].tolist()
            == second.loc[new, ["rank_low", "rank_high", "position"]].tolist()
        )
        assert first.loc[old, "overall"] == pytest.approx(second.loc[new, "overall"])


def test_conditions_are_ranked_apart(make):
    first = make.study({"a": 0.3, "b": 0.9}, 10)
    second = make.study({"a": 0.9, "b": 0.3}, 10).assign(unpaired_fraction=0.99)
    table = rank(pd.concat([first, second]), None, make.metrics).set_index(["unpaired_fraction", "model"])
    assert table.loc[(0.5, "b"), "rank_high"] == 1 and table.loc[(0.99, "a"), "rank_high"] == 1


def test_ranking_metrics(make):
    assert ranking_metrics(["asw_batch", "nmi_leiden", "rmse"], make.metrics) == ["nmi_leiden", "asw_batch"]
    metrics = {"b": make.metric("b"), "a": make.metric("a", "pairing"), "cost": make.metric("cost", "cost")}
    assert ranking_metrics(["b", "a", "cost", "unknown"], metrics) == ["a", "b"]


def test_a_concept_is_the_preferred_metric_that_was_measured(make):
    metrics = {name: make.metric(name) for name in ("nmi_leiden", "nmi_louvain", "nmi_kmeans", "ari_kmeans")}
    assert ranking_metrics(["nmi_kmeans", "nmi_louvain", "nmi_leiden"], metrics) == ["nmi_leiden"]
    assert ranking_metrics(["nmi_kmeans", "nmi_louvain"], metrics) == ["nmi_louvain"]
    assert ranking_metrics(["ari_kmeans", "nmi_kmeans"], metrics) == ["nmi_kmeans", "ari_kmeans"]


def test_a_study_is_ranked_by_the_clustering_that_it_has(make):
    scores = make.study({"a": 0.5, "b": 0.9}, 3, metrics=("nmi_leiden", "asw_batch"))
    scores["metric"] = scores["metric"].replace("nmi_leiden", "nmi_louvain")
    metrics = {**make.metrics, "nmi_louvain": make.metric("nmi_louvain")}
    table = by_model(rank(scores, None, metrics))
    assert table.loc["a", "metrics_used"] == "nmi_louvain, asw_batch"


def test_the_registry_knows_the_ranking_metrics():
    from benchmarks.metrics.registry import METRICS
    from benchmarks.statistics.ranking import CONSERVATION, INTEGRATION, RANKING_METRICS

    groups = [{METRICS[name].group for name in names} for names in RANKING_METRICS.values()]
    assert all(len(own) == 1 for own in groups)
    assert set().union(*groups) == {*CONSERVATION, *INTEGRATION}


STUDIES = sorted((Path(__file__).resolve().parents[3] / "config" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_measures_nmi_or_ari_is_ranked_by_it(path):
    from benchmarks.metrics.registry import METRICS

    measured = load_yaml(path).get("metrics", "all")
    measured = list(METRICS) if measured == "all" else measured
    chosen = ranking_metrics(measured, METRICS)
    for concept in ("nmi", "ari"):
        # Clusterings of a model's own components exist for that model alone, and rank nobody.
        own = [name for name in measured if name.startswith(f"{concept}_") and not name.endswith("_components")]
        assert sum(name.startswith(f"{concept}_") for name in chosen) == bool(own), (own, chosen)
