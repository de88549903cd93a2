"""Labels by labels of neighbours in other modalities: which runs, the shares by hand, and the metric that they are behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.collect import IDENTITY
from benchmarks.formats import Embedding, Multimodal, read_table, write_embedding, write_h5mu, write_table
from benchmarks.label_agreement import COLUMNS, METRIC, choose_runs, compute_label_agreement
from benchmarks.metrics.context import Context
from benchmarks.metrics.registry import METRICS


def tables(rows: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs with these values in place of the usual ones, and a score of the metric for each."""
    usual = {
        "study": "s", "dataset": "d", "design": "x", "n_cells": 100, "unpaired_fraction": 0.0, "replicate": 0, "model": "pca",
        "variant": "pca", "seed": 0, "status": "ok", "collapsed": False, "duplicate_fraction": 0.0, "embedding": "e", "truth": "t",
    }  # fmt: skip
    runs = pd.DataFrame([{**usual, **row} for row in rows])
    scores = runs[list(IDENTITY)].assign(metric=METRIC, value=0.5, status="ok", reason="")
    scores.loc[runs["status"] != "ok", ["value", "status"]] = [np.nan, "missing"]
    return runs, scores


def test_first_replicate_and_seed_with_a_value_at_the_largest_size_and_the_lowest_fraction():
    runs, scores = tables(
        [
            {"n_cells": size, "unpaired_fraction": fraction, "replicate": replicate, "seed": seed, "variant": variant,
             "design": f"{size} {fraction} {replicate}"}
            for size in (50, 100) for fraction in (0.25, 0.75) for replicate in (0, 1) for seed in (0, 1) for variant in "ab"
        ]
    )  # fmt: skip
    chosen = choose_runs(runs, scores)
    shown = ["variant", "n_cells", "unpaired_fraction", "replicate", "seed"]
    assert chosen[shown].values.tolist() == [["a", 100, 0.25, 0, 0], ["b", 100, 0.25, 0, 0]]
    # A run that failed, a degenerate one, and one whose score has no value are not representative; the next one is.
    at = (runs["variant"] == "b") & (runs["n_cells"] == 100) & (runs["unpaired_fraction"] == 0.25)
    worse = runs.copy()
    worse.loc[at & (runs["replicate"] == 0) & (runs["seed"] == 0), "status"] = "failed"
    worse.loc[at & (runs["replicate"] == 0) & (runs["seed"] == 1), "collapsed"] = True
    fewer = scores.copy()
    fewer.loc[at & (runs["replicate"] == 1) & (runs["seed"] == 0), ["value", "status"]] = [np.nan, "not_applicable"]
    chosen = choose_runs(worse, fewer)
    assert chosen[shown].values.tolist() == [["a", 100, 0.25, 0, 0], ["b", 100, 0.25, 1, 1]]
    # Without any in that condition a model is left out rather than shown in another one.
    assert choose_runs(worse.assign(status=worse["status"].mask(at, "failed")), fewer)["variant"].tolist() == ["a"]


def test_paired_cells_alone_have_no_value_and_another_fraction_is_shown():
    runs, scores = tables([{"unpaired_fraction": fraction, "design": str(fraction)} for fraction in (0.0, 0.5)])
    scores.loc[scores["unpaired_fraction"] == 0, ["value", "status"]] = [np.nan, "not_applicable"]
    assert choose_runs(runs, scores)["unpaired_fraction"].tolist() == [0.5]


def test_nothing_to_choose_from():
    runs, scores = tables([{}])
    assert choose_runs(runs, scores.assign(metric="nmi_leiden")).empty
    bare = runs.assign(status="not_applicable").drop(columns=["collapsed", "duplicate_fraction"])
    assert choose_runs(bare, scores.assign(status="not_applicable")).empty
    table = compute_label_agreement(bare, scores, ".")
    assert table.empty and tuple(table.columns) == COLUMNS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with one truth, an embedding near it and one at random, and the tables of their study."""
    folder = tmp_path_factory.mktemp("results")
    generator = np.random.default_rng(0)
    group = np.repeat(["rna", "atac", "paired"], [150, 130, 60])
    label = generator.choice(["B", "T", "<NK>"], len(group)).astype(object)
    label[group == "paired"] = "only paired"
    label[[0, 200]] = None
    obs = pd.DataFrame({"cell_type": label, "group": group}, index=[f"o{i}" for i in range(len(group))])
    write_h5mu(folder / "t.h5mu", Multimodal(obs, {}, {}))
    places = pd.Series(label).map({"B": 0, "T": 2, "<NK>": 9}).fillna(5).to_numpy()
    for name, spread in (("near", 1.0), ("far", 100.0)):
        values = np.column_stack([places, np.zeros(len(group))]) + generator.normal(0, spread, (len(group), 2))
        write_embedding(folder / f"{name}.h5ad", Embedding(values.astype(np.float32), obs.index.to_numpy()))
    runs, scores = tables(
        [{"variant": name, "embedding": f"{name}.h5ad", "truth": "t.h5mu"} for name in ("near", "far")]
    )
    return folder, runs, scores, obs


def embedded(folder, name: str) -> np.ndarray:
    from benchmarks.formats import read_embedding

    return np.asarray(read_embedding(folder / f"{name}.h5ad").values, dtype=float)


@pytest.mark.parametrize("name", ["near", "far"])
def test_shares_by_hand_and_the_mean_is_the_metric(results, name):
    folder, runs, scores, obs = results
    table = compute_label_agreement(runs, scores, folder, threads=1)
    assert tuple(table.columns) == COLUMNS
    found = table[table["variant"] == name].pivot(index="label", columns="neighbour_label", values="share")
    values, label, group = embedded(folder, name), obs["cell_type"].to_numpy(), obs["group"].to_numpy()
    names = ["<NK>", "B", "T"]
    counts = pd.DataFrame(0.0, index=names, columns=names)
    for own, other in (("rna", "atac"), ("atac", "rna")):
        targets = np.flatnonzero((group == other) & pd.notna(label))
        for query in np.flatnonzero((group == own) & pd.notna(label)):
            distances = np.linalg.norm(values[targets] - values[query], axis=1)
            for neighbour in targets[np.argsort(distances)[:50]]:
                counts.loc[label[query], label[neighbour]] += 1
    # A label of paired cells alone has no row; as a neighbour nothing has it.
    assert list(found.index) == names and (found["only paired"] == 0).all()
    shares = counts.div(counts.sum(axis=1), axis=0)
    np.testing.assert_allclose(found[names].to_numpy(), shares.to_numpy(), rtol=1e-12)
    context = Context(values, Multimodal(obs, {}, {}), threads=1)
    weights = counts.sum(axis=1) / counts.to_numpy().sum()
    assert METRICS[METRIC].compute(context) == pytest.approx((np.diag(found[names]) * weights).sum())


def test_the_command_writes_the_table_the_same_bytes_each_time(results, tmp_path):
    folder, runs, scores, _ = results
    for study in ("a", "b"):
        write_table(tmp_path / study / "runs.parquet", runs)
        write_table(tmp_path / study / "scores.parquet", scores)
        assert main(["label-agreement", "--study-dir", str(tmp_path / study), "--results-dir", str(folder)]) == 0
    first, second = (tmp_path / study / "label_agreement.parquet" for study in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    pd.testing.assert_frame_equal(read_table(first), compute_label_agreement(runs, scores, folder, threads=1))
