"""Configuration: good studies load, and every bad one gets a message with file, key, value and remedy."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from benchmarks.documents import load_yaml
from benchmarks.errors import InputError
from models import registry
from workflow.configuration import DESIGN_DEFAULTS, _number_of_designs, load_study, load_variants
from workflow.planning import check_sources, make_plan, metrics_key

GOOD = {"study": "s", "datasets": ["simulated_tiny"], "models": ["random", "pca"]}


def load(tmp_path: Path, **changes):
    """Load a study file with changes; ``key=None`` with a leading ``-`` in `changes` is not needed here."""
    content = {
        key: value
        for key, value in {**GOOD, "results_dir": str(tmp_path / "results"), **changes}.items()
        if value != "REMOVE"
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_study(load_yaml(file), [file])


def test_shipped_studies_load(root, monkeypatch):
    monkeypatch.chdir(root)
    files = [root / "config" / "config.yaml", *sorted((root / "config" / "studies").glob("*.yaml"))]
    assert len(files) >= 2
    for file in files:
        study = load_yaml(file)
        if file.stem == "config":
            assert make_plan(load_study(study, [file])).runs


def test_every_configuration_key_is_documented(root):
    schema = yaml.safe_load((root / "workflow" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))
    text = (root / "config" / "README.md").read_text(encoding="utf-8")
    keys = set(schema["properties"])
    for part in ("designs", "limits", "umaps"):
        keys |= set(schema["properties"][part]["properties"])
    keys |= set(schema["$defs"]["filter"]["properties"])
    assert not [key for key in keys if f"`{key}`" not in text]


BAD = [
    ({"study": "REMOVE"}, ["study", "missing"]),
    ({"study": "No Good"}, ["study", "'No Good'", "lower-case"]),
    ({"study": "shared"}, ["study", "reserved"]),
    ({"models": []}, ["models", "empty"]),
    ({"models": ["pcaa"]}, ["models[0]", "'pcaa'", "did you mean 'pca'"]),
    ({"models": ["pca", "pca"]}, ["models", "twice"]),
    ({"models": "pca"}, ["models", "not a list"]),
    ({"datasets": ["simulated_tiyn"]}, ["datasets[0]", "did you mean 'simulated_tiny'"]),
    ({"datasets": ["simulated_tiny", {"name": "simulated_tiny"}]}, ["datasets[1]", "listed twice"]),
    ({"datasets": [{"name": "simulated_tiny", "cells": [5]}]}, ["datasets[0].cells", "unknown key"]),
    ({"datasets": [{"n_cells": [5]}]}, ["datasets[0]", "name", "missing"]),
    ({"designs": {"n_cells": [10**7]}}, ["designs.n_cells", "10000000", "lower"]),
    ({"designs": {"n_cells": ["many"]}}, ["designs.n_cells[0]", "'many'"]),
    ({"designs": {"unpaired_fraction": [1.5]}}, ["designs.unpaired_fraction[0]", "1.5", "above 1"]),
    ({"designs": {"unpaired_fraction": [-0.5]}}, ["designs.unpaired_fraction[0]", "-0.5", "below 0"]),
    ({"designs": {"replicates": 0}}, ["designs.replicates", "below 1"]),
    ({"designs": {"replicates": True}}, ["designs.replicates", "whole number"]),
    ({"designs": {"n_cells": [50, 100], "replicates": [3, 0]}}, ["designs.replicates[1]", "below 1"]),
    ({"designs": {"n_cells": [50, 100], "replicates": [3]}}, ["designs.replicates", "[3] has 1 numbers for the 2"]),
    (
        {"designs": {"n_paired": [50], "n_unpaired": [9], "replicates": [3]}},
        ["designs.replicates", "goes with n_cells"],
    ),
    ({"designs": {"modalities": ["rna", "methylation"]}}, ["designs.modalities", "'methylation'"]),
    ({"designs": {"modalities": ["rna"], "unpaired_fraction": [0.5]}}, ["designs.unpaired_fraction", "needs two"]),
    (
        {"designs": {"features": {"atac": {"top_fracton": 0.5}}}},
        ["designs.features.atac.top_fracton", "did you mean 'top_fraction'"],
    ),
    ({"designs": {"held_out": [["type", "x"]]}}, ["designs.held_out", "'x'"]),
    ({"designs": {"groups": {}}}, ["designs.groups"]),
    ({"designs": {"groups": {"rna+x": 1}}}, ["designs.groups", "'rna+x'", "rna, atac, protein"]),
    ({"designs": {"groups": {"rna": 0}}}, ["designs.groups.rna", "not above 0"]),
    ({"designs": {"groups": {"rna": 1}, "unpaired_fraction": [0, 0.5]}}, ["designs.groups", "give one of them"]),
    ({"designs": {"sources": {"by": "batch"}}}, ["designs.sources", "modalities", "missing"]),
    ({"designs": {"sources": {"by": "plate", "modalities": {"a": ["rna"]}}}}, ["designs.sources.by", "'plate'"]),
    (
        {"datasets": ["simulated", {"name": "simulated_tiny", "label": "A b"}]},
        ["datasets[1].label", "lower-case"],
    ),
    ({"datasets": [{"name": "simulated_tiny", "label": "x"}] * 2}, ["datasets[1]", "'x' is listed twice", "label"]),
    ({"designs": {"n_paired": [5]}}, ["designs.n_paired", "add it"]),
    ({"designs": {"n_paired": [0], "n_unpaired": [1]}}, ["designs.n_paired", "larger"]),
    ({"designs": {"n_paired": [5], "n_unpaired": [5], "n_cells": [10]}}, ["designs.n_paired", "leave n_cells out"]),
    ({"designs": {"n_paired": [150], "n_unpaired": [150]}}, ["designs.n_paired", "300", "200"]),
    ({"designs": {"test_fraction": 1}}, ["designs.test_fraction", "above 0.9"]),
    ({"designs": {"test_fraction": 0.1, "n_cells": [190]}}, ["designs.n_cells", "190", "180", "20 test cells"]),
    ({"designs": {"hide_batch": "yes"}}, ["designs.hide_batch", "'yes'"]),
    ({"gpu_jobs_per_device": 0}, ["gpu_jobs_per_device", "below 1"]),
    ({"deterministic": "yes"}, ["deterministic", "'yes'"]),
    ({"designs": {"replicate": 3}}, ["designs.replicate", "did you mean 'replicates'"]),
    ({"hyperparameters": {"pca": {"latent": 3}}}, ["hyperparameters.pca.latent", "unknown hyperparameter"]),
    ({"hyperparameters": {"pca": {"n_latent": "many"}}}, ["hyperparameters.pca.n_latent", "'many'", "a whole number"]),
    ({"hyperparameters": {"wnn": {}}}, ["hyperparameters.wnn", "not among"]),
    ({"training_seeds": [-1]}, ["training_seeds[0]", "-1"]),
    ({"metrics": ["nmi"]}, ["metrics[0]", "'nmi'"]),
    ({"device": "gpu"}, ["device", "'gpu'"]),
    ({"threads": 0}, ["threads", "below 1"]),
    ({"limits": {"wall_minutes": 0}}, ["limits.wall_minutes", "0"]),
    ({"limits": {"memory": 5}}, ["limits.memory", "did you mean 'memory_mb'"]),
    ({"data_dir": "no/such/folder"}, ["data_dir", "'no/such/folder'"]),
    ({"datasets_file": "none.yaml"}, ["none.yaml"]),
    ({"models_file": "none.yaml"}, ["none.yaml", "no such file"]),
    ({"colour": "blue"}, ["colour", "unknown key"]),
]


@pytest.mark.parametrize(("changes", "parts"), BAD, ids=[str(changes)[:50] for changes, _ in BAD])
def test_bad_studies_name_file_key_value_and_remedy(tmp_path, changes, parts):
    with pytest.raises(InputError) as error:
        load(tmp_path, **changes)
    message = str(error.value)
    for part in parts:
        assert part in message, message
    assert ".yaml" in message or "--config" in message
    assert not (tmp_path / "results").exists()


def test_all_problems_are_reported_at_once(tmp_path):
    with pytest.raises(InputError) as error:
        load(tmp_path, models=["pcaa"], metrics=["nope"], hyperparameters={"wnn": {}})
    assert len(str(error.value).splitlines()) == 3


def test_a_value_from_the_command_line_is_named_as_such(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    with pytest.raises(InputError, match="command line"):
        load_study({**GOOD, "device": "gpu"}, [file])


def test_switches_are_spelt_as_in_yaml_on_the_command_line_too(tmp_path):
    """Snakemake turns ``predict=True`` into true and hands ``predict=true`` over as text."""
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert load_study({**GOOD, "predict": "true"}, [file]).predict is True
    assert load_study({**GOOD, "deterministic": "false"}, [file]).deterministic is False
    with pytest.raises(InputError, match="'yes' is not true or false"):
        load_study({**GOOD, "predict": "yes"}, [file])
    file.write_text(yaml.safe_dump({**GOOD, "predict": "true"}), encoding="utf-8")
    with pytest.raises(InputError, match="'true' is not true or false"):
        load_study({**GOOD, "predict": "true"}, [file])


def test_sizes_can_have_different_numbers_of_replicates(tmp_path):
    """Each size has as many designs as its place in the list says, at every fraction, and they are counted so."""
    designs = {"n_cells": [50, "all"], "unpaired_fraction": [0.0, 0.5], "replicates": [3, 1]}
    plan = make_plan(load(tmp_path, designs=designs, models=["random"]))
    found = Counter((item.spec.n_cells, item.spec.unpaired_fraction) for item in plan.designs)
    assert found == {(50, 0.0): 3, (50, 0.5): 3, (None, 0.0): 1, (None, 0.5): 1}
    assert _number_of_designs({**DESIGN_DEFAULTS, **designs}) == len(plan.designs) == 8


def test_numbers_in_lists_on_the_command_line_are_numbers(tmp_path):
    """Snakemake hands the elements of ``training_seeds=[0,37]`` over as text."""
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert load_study({**GOOD, "training_seeds": ["0", "37"]}, [file]).training_seeds == (0, 37)
    variants = load_study({**GOOD, "models": ["random", "pca"]}, [file]).variants
    assert [variant.name for variant in variants] == ["random", "pca"]
    with pytest.raises(InputError, match="'x' is not a whole number"):
        load_study({**GOOD, "training_seeds": ["0", "x"]}, [file])
    file.write_text(yaml.safe_dump({**GOOD, "training_seeds": ["0"]}), encoding="utf-8")
    with pytest.raises(InputError, match="'0' is not a whole number"):
        load_study({**GOOD, "training_seeds": ["0"]}, [file])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("study: [", "not valid YAML"),
        ("- a\n- b\n", "not a mapping"),
        ("study: a\nstudy: b\n", "given twice"),
        ("study: !!python/object/apply:os.system ['touch x']\n", "not valid YAML"),
        ("a: &a [*a]\n", ""),
    ],
)
def test_malformed_yaml_is_refused(tmp_path, text, part):
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_study(load_yaml(file), [file])
    assert "bad.yaml" in str(error.value) and part in str(error.value)
    assert not Path("x").exists()


def test_unwritable_results_folder(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="not a folder"):
        load(tmp_path, results_dir=str(tmp_path / "file" / "results"))


def test_missing_data_files_are_named_before_any_job_starts(tmp_path):
    with pytest.raises(InputError, match=r"datasets\[0\]: .*bmmc_multiome.*data_dir=FOLDER"):
        load(tmp_path, datasets=["bmmc_multiome"])
    # A data set whose size is declared can be planned (and dry-run) without its file, but not run.
    registry = tmp_path / "datasets.yaml"
    entry = {"format": "h5mu", "path": "absent.h5mu", "modalities": ["rna", "atac"], "n_cells": 100}
    registry.write_text(yaml.safe_dump({"absent": entry}), encoding="utf-8")
    plan = make_plan(load(tmp_path, datasets=["absent"], datasets_file=str(registry)))
    assert len(plan.runs) == 2
    with pytest.raises(InputError, match=r"datasets\.yaml: absent.*absent\.h5mu.*data_dir"):
        check_sources(plan)
    check_sources(make_plan(load(tmp_path)))


def test_variants_are_checked(tmp_path):
    cases = {
        "pca: {model: pca}": "a model's own",
        "x: {model: pcaa}": "did you mean 'pca'",
        "x: {model: pca, hyperparameters: {latents: 3}}": "unknown hyperparameter",
        "x: {model: multivi, modalities: [protein]}": "takes",
        "X Y: {model: pca}": "X Y",
        "x: {hyperparameters: {}}": "missing",
    }
    for text, part in cases.items():
        file = tmp_path / "models.yaml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as error:
            load_variants(file)
        assert part in str(error.value) and "models.yaml" in str(error.value)


def test_snakemake_prints_the_message_without_a_traceback(root, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**GOOD, "models": ["pcaa"]}), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", str(root / "Snakefile"), "--directory", str(tmp_path), "--configfile", str(file), "--cores", "1"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "study.yaml: models[0]: unknown model 'pcaa' (did you mean 'pca'?)" in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


def test_dry_run_of_the_demo_is_quick_to_plan(root, tmp_path):
    """Guards the planner against heavy imports; the measured time is in docs/performance.md."""
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "import workflow.planning, models.registry as r; [r.declaration(n) for n in r.names()]; import benchmarks.metrics.registry",
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=root, timeout=120, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert result.returncode == 0, result.stderr[-2000:]
    loaded = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines()}
    heavy = {
        "torch",
        "scanpy",
        "scvi",
        "anndata",
        "mudata",
        "muon",
        "sklearn",
        "matplotlib",
        "igraph",
        "umap",
        "numba",
        "jax",
    }
    assert not heavy & loaded


def test_plan_marks_what_is_not_applicable_and_shares_paths_between_studies(tmp_path):
    designs = {"n_cells": [50], "unpaired_fraction": [0.0, 0.5]}
    first = make_plan(load(tmp_path, designs=designs))
    second = make_plan(load(tmp_path, designs=designs, study="t", models=["pca"], hyperparameters={}))
    assert {run.key for run in second.runs} < {run.key for run in first.runs}
    changed = make_plan(load(tmp_path, designs=designs, hyperparameters={"pca": {"n_latent": 3}}))
    moved = {run.key for run in first.runs} - {run.key for run in changed.runs}
    assert {key.split("/")[2].split(".")[0] for key in moved} == {"pca"}
    assert first.metrics_key != metrics_key(("nmi_leiden",))


def test_another_version_of_a_model_is_another_plan(tmp_path, monkeypatch):
    """The configuration is the same, and tables made of the runs before would be of a model that is no more."""
    study = load(tmp_path)
    before = make_plan(study)
    assert make_plan(study).digest == before.digest
    newer = dataclasses.replace(registry.declaration("pca"), version=99)
    known = registry.declaration
    monkeypatch.setattr(registry, "declaration", lambda name: newer if name == "pca" else known(name))
    after = make_plan(study)
    assert {run.key for run in before.runs} != {run.key for run in after.runs} and before.digest != after.digest


def test_ten_thousand_runs_have_ten_thousand_folders(tmp_path):
    designs = {"n_cells": list(range(10, 110)), "replicates": 10, "unpaired_fraction": [0.0]}
    plan = make_plan(
        load(tmp_path, designs=designs, models=["random", "collapsed", "oracle", "pca", "wnn"], training_seeds=[0, 1])
    )
    assert len(plan.runs) == 10_000
    assert len({run.key for run in plan.runs}) == 10_000


def test_other_kernels_are_other_runs_of_the_models_that_use_a_gpu(tmp_path):
    def keys(**changes):
        study = load(tmp_path, models=["random", "multivi-native"], **changes)
        return {run.variant.name: run.key for run in make_plan(study).runs}

    before, after = keys(), keys(deterministic=False)
    assert after["random"] == before["random"] and after["multivi-native"] != before["multivi-native"]
    assert keys(device="cpu", deterministic=False) == keys(device="cpu")
    assert keys(gpu_jobs_per_device=4) == before


SINGLE = {"sources": {"by": "batch", "modalities": {"s1d1": ["rna"]}, "others": ["protein"]}}


@pytest.mark.parametrize(
    ("designs", "reasons"),
    [
        # rna-pca takes RNA of every cell, mofa some complete cells, multivi none, lda-atac ATAC alone.
        (
            {"groups": {"rna+atac": 1, "rna+protein": 1}},
            {"rna-pca": None, "mofa": "needs some", "multivi-native": None},
        ),
        ({"groups": {"paired": 1, "protein": 1}}, {"rna-pca": "protein alone", "mofa": None, "scvi": "protein alone"}),
        ({"groups": {"rna+atac": 1, "paired": 1}}, {"scmm": None, "cobolt": None, "protein-pca": "rna+atac alone"}),
        (SINGLE, {"oracle": None, "cobolt": "needs some", "portal": "protein alone", "multivi-native": None}),
        # Halves with protein alone have nothing for a model of RNA and ATAC.
        (
            {"unpaired_fraction": [0.5]},
            {"multidgd": "protein alone", "scmm": "paired cells only", "multivi-native": None},
        ),
        ({"unpaired_fraction": [0.5], "modalities": ["rna", "atac"]}, {"multidgd": None, "portal": None}),
        ({"test_fraction": 0.1}, {"multidgd": None, "multivi-native": None, "random": None, "mofa": "trained on"}),
    ],
)
def test_what_a_design_gives_to_a_cell_decides_which_models_can_run(tmp_path, designs, reasons):
    plan = make_plan(load(tmp_path, designs=designs, models=list(reasons)))
    for run in plan.runs:
        wanted = reasons[run.variant.name]
        if wanted is None:
            assert run.not_applicable is None, run.not_applicable
        else:
            assert wanted in run.not_applicable


def test_labels_tell_designs_of_one_data_set_apart(tmp_path):
    datasets = [
        {"name": "simulated_tiny", "label": "complete"},
        {"name": "simulated_tiny", "label": "again"},
        {"name": "simulated_tiny", "label": "hidden", "hide_batch": True},
    ]
    plan = make_plan(load(tmp_path, datasets=datasets))
    assert len(plan.datasets) == 1 and len(plan.designs) == 3 and len(plan.runs) == 6
    # Equal designs share their files under both labels.
    assert len({design.key for design in plan.designs}) == 2
    rows = plan.to_mapping()["runs"]
    assert {row["dataset"] for row in rows} == {"complete", "again", "hidden"}
    assert len({row["dataset_summary"] for row in rows}) == 1


def test_paired_and_unpaired_numbers_are_sizes_and_fractions(tmp_path):
    plan = make_plan(load(tmp_path, designs={"n_paired": [0, 50], "n_unpaired": [0, 50, 150]}))
    found = [(design.spec.n_cells, design.spec.unpaired_fraction) for design in plan.designs]
    assert found == [(50, 1.0), (150, 1.0), (50, 0.0), (100, 0.5), (200, 0.75)]
    other = make_plan(load(tmp_path, designs={"n_cells": [100], "unpaired_fraction": [0.5]}))
    assert {design.key for design in other.designs} < {design.key for design in plan.designs}
