"""The shipped studies: each is valid, each paper's experiment has a full and a small form, the stated counts are right."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.claims.judgement import MINIMUM
from benchmarks.documents import load_yaml
from benchmarks.figures.multidgd_benchmark import ALL_FEATURES
from benchmarks.figures.papers import names_of
from benchmarks.figures.unpairing import MOST_FRACTIONS
from benchmarks.label_agreement import METRIC as LABEL_AGREEMENT
from benchmarks.statistics.exchange import fit_surface
from benchmarks.umaps import choose_runs
from workflow.configuration import Study, load_study
from workflow.planning import make_plan

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem: path for path in sorted((ROOT / "config" / "studies").glob("*.yaml"))}
PAPERS = (
    "brombacher_sample_size",
    "multivi_unpairing",
    "multivi_mixing",
    "multivi_studies",
    "multivi_trimodal",
    "scmvp_latent_dimensions",
    "scmvp_scaling",
    "scmvp_clustering",
    "multidgd_benchmark",
)
SMALL_FILES = {
    f"{name}.h5mu"
    for name in (
        "snare_mouse_cortex",
        "scicar_a549",
        "pbmc10k_cite",
        "teaseq_rna_protein",
        "bmmc_multiome",
        "bmmc_cite",
    )
}


def study(name: str, data_dir: Path) -> Study:
    return load_study({**load_yaml(FILES[name]), "data_dir": str(data_dir)}, [FILES[name]], check_output=False)


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """The data folder of a study: that of the small real files, or none of them for a full form, planned without files."""
    monkeypatch.chdir(ROOT)
    return tmp_path if request.node.callspec.params["name"] in PAPERS else request.getfixturevalue("data_dir")


def test_every_experiment_has_a_full_and_a_small_form():
    assert {name.removesuffix("_small") for name in FILES if name.endswith("_small")} == set(PAPERS)
    assert set(PAPERS) < set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_study_is_valid_and_its_models_have_something_to_do(name, folder):
    loaded = study(name, folder)
    assert loaded.name == name and loaded.description
    plan = make_plan(loaded)
    idle = {variant.name for variant in loaded.variants} - {run.variant.name for run in plan.trained}
    assert not idle, f"not applicable to any design: {idle}"
    trained = {run.design.label for run in plan.trained if run.variant.name not in ("random", "oracle", "collapsed")}
    assert trained == {design.label for design in plan.designs}
    # Scores are scaled between the controls; a study of costs needs none but a reference.
    assert "random" in {variant.name for variant in loaded.variants}


@pytest.mark.parametrize("name", [name for name in FILES if name not in PAPERS])
def test_a_small_study_names_simulated_data_or_small_files_alone(name, folder):
    for item in study(name, folder).datasets:
        if item.entry.format == "simulated":
            assert item.entry.n_cells_available() <= 2000
        else:
            assert set(item.entry.path.values()) <= SMALL_FILES


@pytest.mark.parametrize("name", PAPERS)
def test_the_small_form_asks_what_the_full_form_asks(name):
    full, small = load_yaml(FILES[name]), load_yaml(FILES[f"{name}_small"])
    # In small studies the native MultiVI stands for the package, scMM diverges too little for its remedy, and scMIDAS takes
    # minutes a training.
    replaced = {
        "multivi-native" if model == "multivi" else model.replace("multivi-", "multivi-native-")
        for model in full["models"]
        if model.startswith("multivi") and not model.startswith("multivi-native")
    }
    missing = {model for model in full["models"] if not model.startswith("multivi")} - set(small["models"])
    assert replaced <= set(small["models"]) and missing <= {"scmm-low-rate", "scmidas", "scmomat"}
    # The 10x PBMC of the full form have no labels.
    unlabelled = {"nmi_leiden"} if name == "multivi_unpairing" else set()
    assert set(full["metrics"]) == set(small["metrics"]) - unlabelled
    assert full.get("predict", False) == small.get("predict", False)
    keys = {"groups", "sources", "hide_batch", "test_fraction", "unpaired_fraction"}

    def used(content):
        parts = [content.get("designs", {}), *(item for item in content["datasets"] if isinstance(item, dict))]
        return {key for part in parts for key in part if key in keys}

    assert used(full) == used(small)
    assert all(len(load_yaml(FILES[name])["description"]) > 80 for name in (name, f"{name}_small"))


@pytest.mark.parametrize("name", PAPERS)
def test_a_full_form_has_the_blocks_from_which_a_claim_can_follow(name, folder):
    runs = pd.DataFrame(make_plan(study(name, folder)).to_mapping()["runs"])
    for label, part in runs.groupby("dataset"):
        replicates, seeds = part["replicate"].nunique(), part["seed"].nunique()
        # As in benchmarks/claims/evidence.py: seeds are blocks where there is one replicate.
        assert (replicates if replicates > 1 else seeds) >= MINIMUM, label
        # The claims about time are over subsamples, so that seeds would be averaged.
        assert name != "scmvp_scaling" or replicates >= MINIMUM, label


@pytest.mark.parametrize("name", ["multidgd_benchmark", "multidgd_benchmark_small"])
def test_filtered_and_all_features_are_of_the_same_cells(name, request, tmp_path, monkeypatch):
    """Test cells are drawn by position in a file: the pair that the figure compares has to be of one file and one draw."""
    monkeypatch.chdir(ROOT)
    loaded = study(name, request.getfixturevalue("data_dir") if name.endswith("_small") else tmp_path)
    designs = {design.label: design for design in make_plan(loaded).designs}
    wide = [label for label in designs if label.endswith(ALL_FEATURES)]
    assert wide
    for label in wide:
        pair = designs[label], designs[label.removesuffix(ALL_FEATURES)]
        assert len({design.dataset.key for design in pair}) == 1
        every, filtered = (dataclasses.asdict(design.spec) for design in pair)
        assert "rna" in filtered.pop("features") and "rna" not in every.pop("features")
        assert every == filtered and every["test_fraction"] > 0


def test_the_full_unpairing_study_is_a_grid_from_which_an_exchange_is_fitted(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    loaded = study("multivi_unpairing", tmp_path)
    (item,) = loaded.datasets
    specs = [design.spec for design in make_plan(loaded).designs if design.spec.replicate == 0]
    sizes = np.array([spec.n_cells or item.entry.n_cells_available(loaded.data_dir) for spec in specs], dtype=float)
    fractions = np.array([spec.unpaired_fraction for spec in specs])
    assert sizes.max() == 12_012  # the paper's, and smaller ones
    assert len(specs) == len(np.unique(sizes)) * len(np.unique(fractions))
    # Of a score to which every unpaired cell counts as a paired one; the grid has to tell sizes from fractions.
    values = np.log(sizes) + np.random.default_rng(0).normal(0, 0.01, (5, len(sizes)))
    assert fit_surface(sizes, fractions, values).worth(3000.0, 3000.0, lower=False)[0] == pytest.approx(1, abs=0.1)


def test_the_full_scaling_study_goes_from_1_000_to_100_000_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    loaded = study("scmvp_scaling", tmp_path)
    cells = {item.label: item.entry.n_cells_available(loaded.data_dir) for item in loaded.datasets}
    sizes = {design.spec.n_cells or cells[design.label] for design in make_plan(loaded).designs}
    assert (min(sizes), max(sizes)) == (1000, 100_000)


LAID_OUT = {
    "brombacher_4_5": lambda part: {(size, 0.0) for size in (part["n_cells"].min(), part["n_cells"].max())},
    "multivi_2": lambda part: far_apart(part[part["n_cells"] == part["n_cells"].max()]),
    "multivi_s3": lambda part: {(part["n_cells"].max(), part["unpaired_fraction"].min())},
    "multivi_3_s4": lambda part: {(part["n_cells"].max(), 0.0)},
    "multivi_6": lambda part: {(part["n_cells"].max(), 0.0)} if part["unpaired_fraction"].max() == 0 else set(),
    "scmvp_3abc": lambda part: {(part["n_cells"].max(), 0.0)},
}
"""Figures with UMAPs: (cells, unpaired fraction) of the designs that they show of the runs on one data set."""


def far_apart(runs: pd.DataFrame) -> set:
    """Lowest and highest unpaired fraction and those between them, as many as the figure has columns."""
    fractions = sorted(runs.loc[runs["unpaired_fraction"] > 0, "unpaired_fraction"].unique())
    steps = np.linspace(0, len(fractions) - 1, min(MOST_FRACTIONS, len(fractions))).round().astype(int)
    return {(runs["n_cells"].max(), fractions[step]) for step in steps}


@pytest.mark.parametrize("name", [f"{name}{form}" for name in PAPERS for form in ("", "_small")])
def test_all_models_are_laid_out_in_the_designs_that_the_figures_show(name, request, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    loaded = study(name, request.getfixturevalue("data_dir") if name.endswith("_small") else tmp_path)
    runs = pd.DataFrame(make_plan(loaded).to_mapping()["runs"])
    runs = runs.assign(status=np.where(runs["not_applicable"].astype(bool), "not_applicable", "ok"))
    runs["n_cells"] = runs["n_cells"].fillna(1e9)  # all that there are
    drawn = choose_runs(runs, loaded.umaps["max_embeddings"])
    assert (runs["status"] == "ok").any()
    for figure in LAID_OUT.keys() & set(names_of(name)):
        for dataset, part in runs[runs["status"] == "ok"].groupby("dataset"):
            for size, fraction in LAID_OUT[figure](part):
                wanted = part[(part["n_cells"] == size) & (part["unpaired_fraction"] == fraction)]
                found = drawn[(drawn["dataset"] == dataset) & (drawn["n_cells"] == size)]
                found = found[found["unpaired_fraction"] == fraction]
                assert set(wanted["variant"]) == set(found["variant"]), f"{figure}: {dataset}, {size:g}, {fraction}"


@pytest.fixture(scope="module")
def stated() -> dict[str, list[int]]:
    """Study -> data sets, designs, trainings, not applicable, jobs, as the README states them."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$",
        (ROOT / "config" / "studies" / "README.md").read_text(encoding="utf-8"),
        flags=re.M,
    )
    return {name: [int(value.replace(",", "")) for value in values] for name, *values in rows}


@pytest.mark.parametrize("name", FILES)
def test_the_stated_counts_are_those_of_the_plan(name, folder, stated):
    plan = make_plan(study(name, folder))
    rules = (ROOT / "workflow" / "rules" / "study.smk").read_text(encoding="utf-8")
    of_the_study = len(re.findall(r"^rule ", rules, flags=re.M)) + 1  # and the target rule
    # One rule is only for studies with the metric whose table it makes.
    of_the_study -= LABEL_AGREEMENT not in plan.study.metrics
    counts = [len(plan.datasets), len(plan.designs), len(plan.trained), len(plan.runs) - len(plan.trained)]
    jobs = (
        counts[0] + len({design.key for design in plan.designs}) + 2 * len({r.key for r in plan.trained}) + of_the_study
    )
    assert stated[name] == [*counts, jobs], f"config/studies/README.md: the row of {name} should be {[*counts, jobs]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_a_full_study_passes_a_dry_run_with_the_stated_number_of_jobs(name, folder, tmp_path, stated):
    command = [
        sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(tmp_path), "--configfile", str(FILES[name]), "--cores", "1", "--config", f"data_dir={folder}",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-2000:]
    found = re.findall(r"^total\s+(\d+)", result.stdout + result.stderr, flags=re.M)
    assert found and {int(value) for value in found} == {stated[name][-1]}
