"""The commands of ``python -m workflow`` and ``python -m benchmarks``, called in process."""

from __future__ import annotations

import json

import pytest
import yaml

from benchmarks.__main__ import main as benchmarks_main
from benchmarks.documents import load_yaml
from benchmarks.formats import RunRecord, write_record, write_text
from workflow.__main__ import main as workflow_main
from workflow.configuration import load_study
from workflow.planning import make_plan


@pytest.fixture
def study_file(tmp_path):
    content = {
        "study": "s", "results_dir": str(tmp_path / "results"), "datasets": ["simulated_tiny"], "models": ["random", "pca"],
        "designs": {"n_cells": [50]},
    }  # fmt: skip
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_validate_says_what_would_run(study_file, capsys):
    assert workflow_main(["validate", "--configfile", str(study_file)]) == 0
    assert "1 data sets, 1 designs, 2 runs to train, 0 not applicable" in capsys.readouterr().out


def test_bad_input_is_one_message_and_status_two(study_file, capsys):
    assert workflow_main(["validate", "--configfile", str(study_file), "--config", "device=gpu"]) == 2
    error = capsys.readouterr().err
    assert "device: 'gpu'" in error and "Traceback" not in error
    assert workflow_main(["validate", "--configfile", str(study_file), "--config", "device"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_plan_from_json_equals_plan_from_file(study_file, tmp_path):
    assert workflow_main(["plan", "--configfile", str(study_file), "--output", str(tmp_path / "a.json")]) == 0
    text = json.dumps(load_yaml(study_file))
    assert workflow_main(["plan", "--config-json", text, "--output", str(tmp_path / "b.json")]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_retry_failed_removes_the_outputs_of_failed_runs_alone(study_file, tmp_path, capsys):
    plan = make_plan(load_study(load_yaml(study_file), [study_file]))
    folders = {run.variant.name: tmp_path / "results" / "shared" / "runs" / run.key for run in plan.runs}
    for name, status in (("random", "ok"), ("pca", "timeout")):
        write_record(
            folders[name] / "record.json", RunRecord(name, name, status, "" if status == "ok" else "took too long")
        )
        write_text(folders[name] / "embedding.h5ad", "x")
        write_text(folders[name] / "train.log", "x")
    assert workflow_main(["retry-failed", "--configfile", str(study_file)]) == 0
    assert "1 of 2 runs will be trained again" in capsys.readouterr().out
    assert (folders["random"] / "record.json").exists() and (folders["random"] / "embedding.h5ad").exists()
    assert not (folders["pca"] / "record.json").exists() and not (folders["pca"] / "embedding.h5ad").exists()


def test_stages_report_bad_input_without_a_traceback(tmp_path, capsys):
    arguments = [
        "design",
        "--dataset",
        str(tmp_path / "none.h5mu"),
        "--spec",
        '{"dataset": "d", "modalities": ["rna"]}',
    ]
    assert benchmarks_main([*arguments, "--visible", str(tmp_path / "v"), "--truth", str(tmp_path / "t")]) == 2
    assert "none.h5mu: no such file" in capsys.readouterr().err
    arguments[4] = '{"dataset": "d", "modalities": ["rna"], "cells": 5}'
    assert benchmarks_main([*arguments, "--visible", str(tmp_path / "v"), "--truth", str(tmp_path / "t")]) == 2
    assert "unknown key 'cells'" in capsys.readouterr().err
