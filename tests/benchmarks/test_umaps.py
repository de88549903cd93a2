"""UMAPs: which runs, which observations, and the same picture twice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import Embedding, Multimodal, write_embedding, write_h5mu
from benchmarks.umaps import COLUMNS, choose_runs, compute_umaps, layout, not_drawn


def run_rows(**fixed) -> list[dict]:
    """One row of a run table."""
    row = {"dataset": "d", "design": "x", "n_cells": 100, "unpaired_fraction": 0.0, "replicate": 0, "model": "pca", "variant": "pca", "seed": 0, "status": "ok", "embedding": "e", "truth": "t"}  # fmt: skip
    return [{**row, **fixed}]


def test_first_replicate_and_seed_of_the_largest_and_the_smallest_size():
    rows = [
        row
        for size in (50, 70, 100)
        for replicate in (0, 1)
        for seed in (0, 1)
        for row in run_rows(n_cells=size, replicate=replicate, seed=seed)
    ]
    rows += run_rows(model="wnn", variant="wnn", status="failed")
    chosen = choose_runs(pd.DataFrame(rows))
    assert chosen[["n_cells", "replicate", "seed", "model"]].values.tolist() == [
        [50, 0, 0, "pca"],
        [100, 0, 0, "pca"],
    ]
    # The largest size comes first where there is place for one design only; a size's own first seed where seed 0 failed.
    runs = pd.DataFrame(rows)
    assert choose_runs(runs, 1)["n_cells"].tolist() == [100]
    runs.loc[(runs["n_cells"] == 50) & (runs["seed"] == 0), "status"] = "failed"
    assert choose_runs(runs)[["n_cells", "seed"]].values.tolist() == [[50, 1], [100, 0]]


def test_the_smallest_size_is_drawn_at_the_lowest_fraction_alone():
    rows = [
        row
        for size in (50, 100)
        for fraction in (0.25, 0.75)
        for row in run_rows(n_cells=size, unpaired_fraction=fraction)
    ]
    drawn = choose_runs(pd.DataFrame(rows))[["n_cells", "unpaired_fraction"]].values.tolist()
    assert drawn == [[50, 0.25], [100, 0.25], [100, 0.75]]
    # Of two, what more cells do is shown rather than another fraction.
    assert choose_runs(pd.DataFrame(rows), 2)["n_cells"].tolist() == [50, 100]


def test_designs_for_which_there_is_no_place_are_named():
    rows = [row for size in (50, 1000) for model in "xy" for row in run_rows(n_cells=size, model=model, variant=model)]
    runs = pd.DataFrame(rows)
    assert not_drawn(runs, choose_runs(runs)) == not_drawn(runs, choose_runs(runs, 4)) == ()
    assert not_drawn(runs, choose_runs(runs, 3)) == ("d, 50 cells, 0 % unpaired (2 embeddings)",)


def test_few_pictures_show_fractions_far_apart_and_whole_designs():
    fractions = [0.0, 0.25, 0.5, 0.75, 1.0]
    rows = [
        row
        for dataset in "ab"
        for fraction in fractions
        for model in "xy"
        for row in run_rows(dataset=dataset, unpaired_fraction=fraction, model=model, variant=model)
    ]
    runs = pd.DataFrame(rows)
    assert len(choose_runs(runs, None)) == 20
    chosen = choose_runs(runs, 8)
    assert chosen.groupby("dataset")["unpaired_fraction"].unique().map(list).tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert chosen.groupby(["dataset", "unpaired_fraction"]).size().eq(2).all()
    assert sorted(choose_runs(runs, 12)["unpaired_fraction"].unique()) == [0.0, 0.5, 1.0]
    assert len(choose_runs(runs, 1)) == 2
    assert choose_runs(runs.assign(status="failed"), 8).empty


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_few_observations_are_laid_out_by_principal_components(n):
    values = np.random.default_rng(0).normal(size=(n, 4))
    xy = layout(values)
    assert xy.shape == (n, 2) and xy.dtype == np.float32
    if n > 2:
        assert np.var(xy[:, 0]) >= np.var(xy[:, 1])
        assert np.allclose(xy.mean(axis=0), 0, atol=1e-6)


def test_a_constant_or_one_dimensional_embedding_is_laid_out():
    assert np.all(layout(np.ones((50, 3))) == 0)
    assert np.isfinite(layout(np.arange(5.0)[:, None])).all()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with one truth and two embeddings of three clusters."""
    folder = tmp_path_factory.mktemp("results")
    generator = np.random.default_rng(0)
    n = 240
    labels = np.array(["<b>", "B", None], dtype=object)[np.arange(n) % 3]
    obs = pd.DataFrame(
        {"cell_type": labels, "batch": np.where(np.arange(n) < 100, "s1", "s2"), "group": "paired"},
        index=[f"o{i}" for i in range(n)],
    )
    write_h5mu(folder / "truth.h5mu", Multimodal(obs, {}, {}))
    for name in ("a", "b"):
        centres = generator.normal(0, 20, size=(3, 5))
        write_embedding(
            folder / f"{name}.h5ad",
            Embedding(centres[np.arange(n) % 3] + generator.normal(size=(n, 5)), obs.index.to_numpy()),
        )
    runs = pd.DataFrame(
        [
            row
            for name in ("a", "b")
            for row in run_rows(model=name, variant=name, embedding=f"{name}.h5ad", truth="truth.h5mu")
        ]
    )
    return folder, runs


@pytest.mark.slow
def test_pictures_of_a_study(results):
    folder, runs = results
    table = compute_umaps(runs, folder, max_observations=150)
    assert tuple(table.columns) == COLUMNS
    assert table.groupby("variant").size().tolist() == [150, 150]
    assert set(table["n_observations"]) == {240} and set(table["seed"]) == {0}
    first, second = (table[table["variant"] == name].reset_index(drop=True) for name in ("a", "b"))
    for name in ("cell_type", "batch", "group"):
        pd.testing.assert_series_equal(first[name], second[name])
    assert set(first["cell_type"].dropna()) == {"<b>", "B"} and first["cell_type"].isna().any()
    # Three clusters far apart stay apart: every point is nearer to its own centre than to the others'.
    xy, kind = first[["x", "y"]].to_numpy(), first["cell_type"].fillna("none").to_numpy()
    centres = {name: xy[kind == name].mean(axis=0) for name in set(kind)}
    nearest = [min(centres, key=lambda name: np.linalg.norm(point - centres[name])) for point in xy]
    assert np.mean(np.array(nearest) == kind) > 0.98
    pd.testing.assert_frame_equal(table, compute_umaps(runs, folder, max_observations=150))


def test_no_run_no_rows(results):
    folder, runs = results
    table = compute_umaps(runs.assign(status="failed"), folder)
    assert table.empty and tuple(table.columns) == COLUMNS
