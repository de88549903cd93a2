"""The table: statuses, reasons, hard cases, determinism over threads."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import InputError
from benchmarks.formats import Embedding, Multimodal, RunRecord
from benchmarks.metrics.context import Context
from benchmarks.metrics.registry import METRICS, find
from benchmarks.metrics.score import COLUMNS, chosen_names, details, sampling_error, score, score_missing


def scored(values, truth, **options) -> pd.DataFrame:
    table, seconds = score(Context(values, truth, threads=1, **options))
    assert list(table.columns) == list(COLUMNS)
    assert set(seconds) == set(METRICS)
    assert not table["metric"].duplicated().any()
    assert set(table["status"]) <= {"ok", "not_applicable", "failed", "missing"}
    ok = table["status"] == "ok"
    assert np.isfinite(table.loc[ok, "value"]).all()
    assert table.loc[~ok, "value"].isna().all()
    assert (table.loc[~ok, "reason"].str.len() > 10).all()
    for name, value in zip(table.loc[ok, "metric"], table.loc[ok, "value"]):
        low, high = find(name).range
        assert low - 1e-9 <= value <= high + 1e-9, name
        if find(name).scalable:
            assert 0 <= find(name).scaled(value) <= 1
    return table.set_index("metric")


def replaced(truth: Multimodal, **columns) -> Multimodal:
    return Multimodal(truth.obs.assign(**columns), {}, {})


def test_every_metric_has_a_row(world):
    table = scored(world.values, world.truth)
    rows = {find(name).name for name in table.index}
    assert rows == set(METRICS)
    for name in (
        "nmi_leiden",
        "asw_batch",
        "ilisi",
        "rank_distance",
        "rank_distance_rna_to_atac",
        "trajectory_conservation_line",
    ):
        assert table.loc[name, "status"] == "ok", name
    assert table.loc["nmi_components", "status"] == "not_applicable"
    assert "asw_cell_type" in table.loc["composite_bio_conservation", "reason"]
    assert "trajectory_conservation" in table.loc["composite_bio_conservation", "reason"]


def test_same_bytes_for_any_number_of_threads(world):
    one, _ = score(Context(world.values, world.truth, threads=1))
    for threads in (2, 3):
        again, _ = score(Context(world.values, world.truth, threads=threads))
        assert one["value"].to_numpy().tobytes() == again["value"].to_numpy().tobytes()
        pd.testing.assert_frame_equal(one, again)


def test_float32_and_float64_agree(world):
    one, _ = score(Context(world.values, world.truth, threads=1), ["asw_cell_type", "nmi_leiden", "rank_distance"])
    two, _ = score(
        Context(world.values.astype(np.float64), world.truth, threads=1),
        ["asw_cell_type", "nmi_leiden", "rank_distance"],
    )
    pd.testing.assert_frame_equal(one, two)


def test_selection_and_unknown_names(world):
    table, seconds = score(Context(world.values, world.truth, threads=1), ["rank_distance", "nmi_leiden"])
    assert list(table["metric"]) == [
        "nmi_leiden",
        "rank_distance",
        "rank_distance_atac_to_rna",
        "rank_distance_rna_to_atac",
    ]
    assert list(seconds) == ["nmi_leiden", "rank_distance"]
    with pytest.raises(InputError, match="did you mean 'nmi_leiden'"):
        chosen_names(["nmi_leidn"])
    with pytest.raises(InputError, match="unknown metric"):
        find("nonsense")


@pytest.mark.parametrize("bad, word", [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_bad_values_fail_with_the_reason(world, bad, word):
    values = world.values.copy()
    values[3, 1] = bad
    table = scored(values, world.truth)
    reads = [name for name in METRICS if "embedding" in METRICS[name].needs]
    assert (table.loc[reads, "status"] == "failed").all()
    assert table.loc[reads, "reason"].str.contains(f"{word} values in 1 of").all()
    assert (table.loc[["composite_overall"], "status"] == "failed").all()
    assert (table.loc[["wall_seconds"], "status"] == "not_applicable").all()


def test_no_dimensions_and_too_few_observations(world):
    table = scored(world.values[:, :0], world.truth)
    assert "no dimensions" in table.loc["nmi_leiden", "reason"]
    table = scored(world.values[:2], Context(world.values, world.truth).subset(np.arange(2)).truth)
    assert "at least 3" in table.loc["nmi_leiden", "reason"]


def test_embedding_and_truth_must_fit(world):
    with pytest.raises(ValueError, match="observations"):
        Context(world.values[:-1], world.truth)
    with pytest.raises(ValueError, match="two axes"):
        Context(world.values[:, 0], world.truth)
    with pytest.raises(ValueError, match="components"):
        Context(world.values, world.truth, components=np.zeros(3))


def test_one_cell_type(world):
    table = scored(world.values, replaced(world.truth, cell_type="only"))
    for name in ("nmi_leiden", "asw_cell_type", "clisi", "isolated_label_f1", "label_knn_accuracy"):
        assert table.loc[name, "status"] == "not_applicable", name
        assert "only one cell type" in table.loc[name, "reason"]
    for name in ("asw_batch", "ilisi", "rank_distance", "graph_connectivity", "kbet_per_label"):
        assert table.loc[name, "status"] == "ok", name


def test_one_batch(world):
    table = scored(world.values, replaced(world.truth, batch="only", site="only"))
    for name in ("asw_batch", "asw_site", "ilisi", "kbet", "kbet_per_label", "bras", "pcr_batch", "one_minus_asw"):
        assert table.loc[name, "status"] == "not_applicable", name
    assert (table.loc[["nmi_leiden", "graph_connectivity", "composite_bio_conservation"], "status"] == "ok").all()
    # Graph connectivity alone is no removal of batches, and bio-conservation alone nothing overall.
    assert table.loc["composite_batch_removal", "status"] == "not_applicable"
    assert "kbet_per_label" in table.loc["composite_batch_removal", "reason"]
    assert table.loc["composite_overall", "reason"] == "no value without composite_batch_removal"


def test_no_batch_and_no_label_columns(world):
    truth = Multimodal(world.truth.obs[["cell", "group"]], {}, {})
    table = scored(world.values, truth)
    assert table.loc["nmi_leiden", "reason"] == "the data set has no cell type annotation"
    assert table.loc["ilisi", "reason"] == "the data set has no batch annotation"
    assert table.loc["rank_distance", "status"] == "ok"


def test_a_type_with_one_cell(world):
    labels = world.labels.copy()
    labels[0] = "lonely"
    table = scored(world.values, replaced(world.truth, cell_type=labels))
    assert (table.loc[["nmi_leiden", "asw_cell_type", "asw_batch", "graph_connectivity"], "status"] == "ok").all()


def test_duplicated_points(world):
    # Each point four times over: ties everywhere, 75 % of the observations repeat another one.
    base = np.flatnonzero(np.arange(len(world.values)) % 4 == 0)
    values = world.values[np.repeat(base, 4)[: len(world.values)]]
    table = scored(values, Multimodal(world.truth.obs.iloc[: len(values)], {}, {}))
    assert table.loc["degenerate", "value"] == 1
    assert (table.loc[["nmi_leiden", "asw_cell_type", "ilisi", "ilisi_graph", "rank_distance"], "status"] == "ok").all()


def test_constant_embedding_is_flagged_and_at_chance(world):
    constant = scored(np.ones_like(world.values), world.truth)
    assert constant.loc["degenerate", "value"] == 1
    assert constant.loc["asw_cell_type", "value"] == 0.5
    assert constant.loc["asw_batch", "value"] == 1.0
    assert constant.loc["rank_distance_fraction", "value"] == pytest.approx(0.5, abs=0.002)
    assert constant.loc["foscttm", "value"] == pytest.approx(0.5, abs=1e-9)
    assert constant.loc["top_k_match_1", "value"] == 0
    share = pd.Series(world.labels).value_counts(normalize=True)
    assert constant.loc["label_knn_accuracy", "value"] < share.max() + 0.1


def test_no_cell_split_and_all_cells_split(make):
    paired = make(unpaired=0.0)
    table = scored(paired.values, paired.truth)
    assert "no cell was split" in table.loc["rank_distance", "reason"]
    assert table.loc["modality_enrichment", "status"] == "not_applicable"
    assert table.loc["cross_modality_label_agreement", "status"] == "not_applicable"
    apart = make(unpaired=1.0)
    table = scored(apart.values, apart.truth)
    names = ["rank_distance", "modality_enrichment", "cross_modality_label_agreement", "foscttm"]
    assert (table.loc[names, "status"] == "ok").all()
    assert table.loc["modality_enrichment", "value"] == table.loc["modality_enrichment_single", "value"]


def test_three_modalities(make):
    made = make(n_cells=90, unpaired=0.0)
    obs = pd.concat([made.truth.obs.assign(group=name) for name in ("rna", "atac", "protein")])
    obs.index = [f"o{i}" for i in range(len(obs))]
    exact = scored(np.tile(made.values, (3, 1)), Multimodal(obs, {}, {}))
    assert exact.loc["degenerate", "value"] == 0, "halves on one point are a perfect pairing"
    assert exact.loc["foscttm", "value"] == 0
    noise = np.random.default_rng(0).normal(size=(len(obs), made.values.shape[1])) * 0.1
    table = scored(np.tile(made.values, (3, 1)) + noise, Multimodal(obs, {}, {}))
    directions = [name for name in table.index if name.startswith("rank_distance_fraction_")]
    assert len(directions) == 6
    assert table.loc["rank_distance_fraction", "value"] == pytest.approx(table.loc[directions, "value"].mean())
    assert table.loc["rank_distance_fraction", "value"] < 0.05


def test_fewer_cells_than_neighbours(make):
    made = make(n_cells=8, types=2, batches=2, unpaired=0.5)
    table = scored(made.values, made.truth)
    assert (table.loc[["nmi_leiden", "asw_cell_type", "ilisi", "label_knn_accuracy"], "status"] == "ok").all()
    assert table.loc[["ilisi_graph", "kbet"], "reason"].str.contains("more than half").all()


def test_missing_labels_are_left_out_before_anything_else(world):
    rng = np.random.default_rng(0)
    missing = rng.random(len(world.labels)) < 0.3
    labels = world.labels.astype(object)
    labels[missing] = np.nan
    with_gaps = scored(world.values, replaced(world.truth, cell_type=labels))
    keep = np.flatnonzero(~missing)
    without = scored(world.values[keep], Context(world.values, world.truth).subset(keep).truth)
    names = ["nmi_leiden", "ari_louvain", "nmi_kmeans", "asw_cell_type", "asw_batch", "bras", "clisi", "clisi_graph"]
    names += [
        "label_knn_accuracy",
        "graph_connectivity",
        "isolated_label_f1",
        "kbet_per_label",
        "cross_modality_label_agreement",
    ]
    np.testing.assert_allclose(
        with_gaps.loc[names, "value"].astype(float), without.loc[names, "value"].astype(float), atol=1e-12
    )
    # What needs no labels still uses all observations.
    whole = scored(world.values, world.truth)
    for name in ("ilisi", "kbet", "rank_distance", "modality_enrichment", "one_minus_asw"):
        assert with_gaps.loc[name, "value"] == pytest.approx(whole.loc[name, "value"], abs=1e-12)


def test_a_run_that_failed_is_missing_but_its_cost_is_known(world):
    record = RunRecord(
        "m", "v", "diverged", "the loss became NaN at epoch 7", wall_seconds=2.0, n_observations=len(world.values)
    )
    for table, seconds in (
        score_missing(record),
        score(
            Context(
                Embedding(world.values[:, :0], np.arange(len(world.values)).astype(str)), world.truth, record=record
            )
        ),
    ):
        table = table.set_index("metric")
        assert set(seconds) == set(METRICS)
        assert table.loc["nmi_leiden", "status"] == "missing"
        assert table.loc["nmi_leiden", "reason"] == "diverged: the loss became NaN at epoch 7"
        assert table.loc["wall_seconds", "value"] == 2.0
        assert (table.loc[["gpu_seconds", "cells_per_second"], "status"] == "not_applicable").all()


def test_costs_by_hand(world):
    record = RunRecord("m", "v", "ok", wall_seconds=4.0, cpu_seconds=7.5, peak_rss_mb=512.0, n_observations=100)
    table = scored(world.values, world.truth, record=record)
    assert table.loc["wall_seconds", "value"] == 4.0
    assert table.loc["cpu_seconds", "value"] == 7.5
    assert table.loc["peak_rss_mb", "value"] == 512.0
    assert len(world.values) > world.truth.obs["cell"].nunique() == 300
    assert table.loc["cells_per_second", "value"] == 75.0
    assert table.loc["peak_device_mb", "status"] == "not_applicable"


def test_a_fault_of_ours_is_raised(world, monkeypatch):
    import dataclasses

    def broken(context):
        raise KeyError("oops")

    monkeypatch.setitem(METRICS, "kbet", dataclasses.replace(METRICS["kbet"], compute=broken))
    with pytest.raises(RuntimeError, match="metric 'kbet' stopped with KeyError"):
        score(Context(world.values, world.truth, threads=1), ["kbet"])


def test_components_of_the_model(world):
    codes = world.context.covariate("cell_type").codes
    names = np.arange(len(codes)).astype(str)
    table, _ = score(
        Context(Embedding(world.values, names, codes * 3 + 7), world.truth, threads=1),
        ["nmi_components", "ari_components"],
    )
    assert (table["value"] == 1).all()


def test_details_of_an_embedding(world):
    tables = details(world.context)
    assert set(tables) == {"rank_distance", "cross_modality_labels"}
    ranks = tables["rank_distance"]
    assert set(ranks["direction"]) == {"rna_to_atac", "atac_to_rna"}
    median = ranks[(ranks["direction"] == "rna_to_atac") & (ranks["quantile"] == 0.5)]["rank"].item()
    assert median == METRICS["rank_distance_median"].compute(world.context)["rna_to_atac"]
    shares = tables["cross_modality_labels"].groupby("label")["share"].sum()
    np.testing.assert_allclose(shares, 1)
    assert details(Context(np.full_like(world.values, np.nan), world.truth)) == {}


def test_exact_embeddings_have_no_sampling_error(world):
    assert sampling_error(world.context) == {"neighbour_recall": 1.0, "sampled_rows": float(len(world.values))}


def test_scaling():
    lower = METRICS["foscttm"]
    assert [lower.scaled(value) for value in (0.0, 0.25, 0.5, 0.9)] == [1.0, 0.5, 0.0, 0.0]
    enrichment = METRICS["modality_enrichment"]
    assert [enrichment.scaled(value) for value in (1.0, 2.0, 0.5, 0.0)] == [1.0, 0.5, 0.5, 0.0]
    assert METRICS["pcr_batch"].scaled(0.2) == pytest.approx(0.8)
    assert METRICS["ari_leiden"].scaled(-0.1) == 0.0
    assert math.isnan(METRICS["nmi_leiden"].scaled(math.nan))
    assert not METRICS["wall_seconds"].scalable
    with pytest.raises(ValueError, match="no scale"):
        METRICS["wall_seconds"].scaled(1.0)
