"""Collecting: every run and every metric has its row, whatever became of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.collect import collect
from benchmarks.errors import InputError
from benchmarks.formats import SCHEMA_VERSION, SCORE_COLUMNS, RunRecord, write_json, write_record, write_table

METRICS = ["nmi_leiden", "rank_distance"]


def make_results(folder):
    """A study of three runs: one that went well, one that failed, one that is not applicable."""
    runs = []
    for variant, status in (("pca", "ok"), ("mofa", "failed"), ("wnn", None)):
        entry = {
            "study": "s", "dataset": "d", "design": "nall-u0-r0-x", "n_cells": None, "unpaired_fraction": 0.0, "replicate": 0,
            "model": variant, "variant": variant, "kind": "wrapped", "seed": 0, "not_applicable": None if status else "takes paired cells only",
            "dataset_summary": "summary.json", "visible": "v", "truth": "t", "embedding": "e", "prediction": "p",
            "record": f"{variant}.json", "scores": f"{variant}.tsv", "seconds": f"{variant}.seconds.json",
        }  # fmt: skip
        runs.append(entry)
        if status:
            reason = "" if status == "ok" else "ValueError: no"
            write_record(
                folder / entry["record"], RunRecord(variant, variant, status, reason, wall_seconds=2.5, warnings=["w"])
            )
            values = [0.1 + 0.2, 1.0] if status == "ok" else [np.nan, np.nan]
            row_status = ["ok", "ok"] if status == "ok" else ["missing", "missing"]
            table = pd.DataFrame({"metric": METRICS, "value": values, "status": row_status, "reason": [reason] * 2})
            write_table(folder / entry["scores"], table)
            diagnostics = {"collapsed": False, "duplicate_fraction": 0.0, "reason": ""} if status == "ok" else {}
            write_json(folder / entry["seconds"], {"seconds": {"nmi_leiden": 0.5}, "diagnostics": diagnostics})
    write_json(folder / "summary.json", {"n_cells": 321})
    return {"schema_version": SCHEMA_VERSION, "metrics": METRICS, "runs": runs}


def test_every_run_and_metric_has_a_row(tmp_path):
    scores, runs, seconds = collect(make_results(tmp_path), tmp_path)
    assert list(scores.columns) == list(SCORE_COLUMNS)
    assert len(scores) == 6 and len(runs) == 3 and len(seconds) == 2
    assert scores.groupby("variant")["status"].first().to_dict() == {
        "pca": "ok",
        "mofa": "missing",
        "wnn": "not_applicable",
    }
    assert scores["value"].notna().tolist() == [True, True, False, False, False, False]
    assert scores["value"].iloc[0] == 0.1 + 0.2
    assert set(scores.loc[scores["variant"] != "pca", "reason"]) == {"ValueError: no", "takes paired cells only"}
    assert set(scores["n_cells"]) == {321}, "a design of all cells has the size of its data set"
    assert runs.set_index("variant")["status"].to_dict() == {"pca": "ok", "mofa": "failed", "wnn": "not_applicable"}
    assert not runs["collapsed"].any() and runs["collapsed"].dtype == bool


def test_cells_to_test_on_are_not_counted(tmp_path):
    plan = make_results(tmp_path)
    for entry in plan["runs"]:
        entry["test_fraction"] = 0.1
    plan["runs"][0]["n_cells"] = 200  # a stated number leaves them out already
    scores, runs, _ = collect(plan, tmp_path)
    assert runs["n_cells"].tolist() == [200, 289, 289], "321 cells, of which round(32.1) are for testing"
    assert set(scores["n_cells"]) == {200, 289}


def test_missing_scores_are_a_fault_and_named(tmp_path):
    plan = make_results(tmp_path)
    (tmp_path / "pca.tsv").unlink()
    with pytest.raises(InputError, match=r"pca\.tsv: scores are missing"):
        collect(plan, tmp_path)


def test_a_plan_of_another_version_is_refused(tmp_path):
    plan = {**make_results(tmp_path), "schema_version": 99}
    with pytest.raises(InputError, match="schema version 99"):
        collect(plan, tmp_path)
