"""Runs that were not available are trained again once their environment has changed, and rest until then."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
import yaml

from benchmarks.documents import load_yaml
from benchmarks.formats import RunRecord, read_record, write_record, write_text
from models import environments, registry
from workflow import retry
from workflow.configuration import load_study
from workflow.planning import make_plan


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of a model in an environment of its own (not built), and the folder of its results."""
    files = tmp_path / "envs"
    files.mkdir()
    for name in ("main", "elsewhere"):
        (files / f"{name}.yaml").write_text("dependencies: [python=3.11]\n")
        (files / f"{name}.lock").write_text("numpy==2.4.6\n")
    monkeypatch.setattr(environments, "ENVIRONMENTS", files)
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "built"))
    declared = dataclasses.replace(registry.declaration("pca"), environment="elsewhere")
    monkeypatch.setattr(registry.model_class("pca"), "declaration", declared)
    path = tmp_path / "study.yaml"
    content = {
        "study": "s", "results_dir": str(tmp_path / "results"), "datasets": ["simulated_tiny"], "models": ["random", "pca"],
        "designs": {"n_cells": [50]},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def plan_of(study):
    from workflow import planning

    planning._lock_digest.cache_clear()
    return make_plan(load_study(load_yaml(study), [study]))


def record_of(plan, name, results):
    (run,) = [run for run in plan.runs if run.variant.name == name]
    return results / "shared" / "runs" / run.key / "record.json"


def build(tmp_path):
    python = tmp_path / "built" / "elsewhere" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (python.parent.parent / environments.STAMP).write_text(environments.lock_digest("elsewhere"))


def not_available(plan, results):
    path = record_of(plan, "pca", results)
    versions = {"environment_installed": environments.locate("elsewhere").installed}
    write_record(path, RunRecord("pca", "pca", "not_available", "it is not here", versions=versions))
    write_text(path.with_name("embedding.h5ad"), "x")
    write_text(results / "s" / "scores.parquet", "x")
    return path


def test_a_built_environment_brings_its_runs_back(study, tmp_path, capsys):
    results, plan = tmp_path / "results", plan_of(study)
    path = not_available(plan, results)
    other = record_of(plan, "random", results)
    write_record(other, RunRecord("random", "random", "not_available", "missing", versions={
        "environment_installed": environments.locate("main").installed}))  # fmt: skip
    assert retry.revive(plan, results) == 0 and path.exists()

    build(tmp_path)
    assert retry.revive(plan, results, dry_run=True) == 1
    assert path.exists() and "would be trained again: pca" in capsys.readouterr().err
    assert retry.revive(plan, results) == 1
    assert not path.exists() and not path.with_name("embedding.h5ad").exists() and other.exists()
    assert not (results / "s" / "scores.parquet").exists()

    # Still lacking something there: the record says what was installed, and nothing is tried until that changes.
    not_available(plan, results)
    assert retry.revive(plan, results) == 0
    packages = tmp_path / "built" / "elsewhere" / "lib" / "python3.11" / "site-packages" / "new-1.0.dist-info"
    packages.mkdir(parents=True)
    assert retry.revive(plan, results) == 1


def test_a_deployment_method_brings_the_runs_back(study, tmp_path, monkeypatch):
    results, plan = tmp_path / "results", plan_of(study)
    not_available(plan, results)
    monkeypatch.setenv(environments.VARIABLE, environments.ACTIVE)
    assert retry.revive(plan, results) == 1
    not_available(plan, results)
    assert retry.revive(plan, results) == 0


@pytest.mark.parametrize("status", ["ok", "failed", "timeout"])
def test_other_outcomes_are_left_alone(study, tmp_path, status):
    results, plan = tmp_path / "results", plan_of(study)
    build(tmp_path)
    path = record_of(plan, "pca", results)
    write_record(path, RunRecord("pca", "pca", status, "" if status == "ok" else 'of a "not_available" kind'))
    assert retry.revive(plan, results) == 0 and path.exists()


def test_another_lock_is_another_run_and_the_main_lock_is_not(study, tmp_path):
    before = {run.variant.name: run.key for run in plan_of(study).runs}
    (tmp_path / "envs" / "main.lock").write_text("numpy==2.4.7\n")
    assert {run.variant.name: run.key for run in plan_of(study).runs} == before
    (tmp_path / "envs" / "elsewhere.lock").write_text("numpy==2.4.7\n")
    after = {run.variant.name: run.key for run in plan_of(study).runs}
    assert after["random"] == before["random"] and after["pca"] != before["pca"]


@pytest.mark.end_to_end
@pytest.mark.slow
def test_the_workflow_trains_them_by_itself(root, tmp_path):
    """Not available, then the environment appears: the ordinary command trains that run, and the third finds nothing to do.

    The model's environment is R's, and what R has is told by a stand-in for Rscript.
    """
    from models.environments import ENVIRONMENTS

    apt = [line.split() for line in environments.requirements(ENVIRONMENTS / "seurat.apt")]
    assert apt
    command = tmp_path / "bin" / "Rscript"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho base\n")
    command.chmod(0o755)
    (model,) = [name for name in registry.names() if registry.declaration(name).environment == "seurat"][:1]
    content = {
        "study": "tiny", "datasets": ["simulated_tiny"], "designs": {"n_cells": [120]}, "models": ["random", model],
        "metrics": ["nmi_leiden"], "umaps": {"max_embeddings": 0}, "limits": {"wall_minutes": 2, "memory_mb": 4000},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(tmp_path),
             "--configfile", str(tmp_path / "study.yaml"), "--cores", "1", *arguments],
            capture_output=True, text=True, timeout=600, env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def record():
        (path,) = (tmp_path / "results" / "shared" / "runs").glob(f"*/*/{model}.*/*/record.json")
        return read_record(path)

    run()
    assert record().status == "not_available" and apt[0][0] in record().reason
    assert "Nothing to be done" in run()
    # R has the package now, as far as its libraries tell; that the model then fails on the stand-in is another outcome.
    command.write_text("#!/bin/sh\n" + "".join(f"echo {package}\n" for _, package in apt))
    assert f"trained again: {model}" in run("--dry-run") and record().status == "not_available"
    assert f"trained again: {model}" in run()
    assert record().versions["environment_installed"] == environments_seen(command)
    assert "Nothing to be done" in run()


def environments_seen(command) -> str:
    """What :func:`environments.locate` says with `command` as Rscript, in a process of its own."""
    code = "from models import environments; print(environments.locate('seurat').installed)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}, cwd=environments.ROOT,
    )  # fmt: skip
    return done.stdout.strip()
