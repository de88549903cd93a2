"""A data set that was replaced between two runs: noticed by its checksum, whatever its date says."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml

from benchmarks.__main__ import main as benchmarks_main
from benchmarks.datasets.registry import load_registry
from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.documents import load_yaml
from benchmarks.errors import InputError
from benchmarks.formats import SCHEMA_VERSION, read_json, write_h5mu, write_json, write_text
from tests.faults import tiny
from workflow import sources
from workflow.__main__ import main as workflow_main
from workflow.configuration import load_study
from workflow.planning import make_plan

SIZES = {"n_cells": 120, "n_genes": 40, "n_peaks": 50, "n_proteins": 5, "n_types": 3, "n_factors": 4,
         "trajectories": []}  # fmt: skip


def write_data(path, seed: int) -> None:
    write_h5mu(path, simulate(SimulationParameters.from_mapping(SIZES, "test"), seed))


@pytest.fixture
def folder(tmp_path):
    """A study of a file, whose data set has been prepared and whose results are there by name."""
    write_data(tmp_path / "mine.h5mu", 0)
    entry = {"format": "h5mu", "path": "mine.h5mu", "modalities": ["rna", "atac", "protein"], "labels": "cell_type"}
    registry = tmp_path / "datasets.yaml"
    registry.write_text(yaml.safe_dump({"mine": entry}), encoding="utf-8")
    tiny.write_study(
        tmp_path, tiny.STUDY, datasets=["mine"], datasets_file=str(registry), data_dir=str(tmp_path),
        results_dir=str(tmp_path / "results"),
    )  # fmt: skip
    plan, shared = plan_of(tmp_path), tmp_path / "results" / "shared"
    (dataset,) = plan.datasets
    prepared = shared / "datasets" / dataset.key
    arguments = ["prepare", "--registry", str(registry), "--dataset", "mine", "--data-dir", str(tmp_path)]
    assert (
        benchmarks_main(
            [*arguments, "--output", str(prepared / "data.h5mu"), "--summary", str(prepared / "summary.json")]
        )
        == 0
    )
    for name in (f"designs/{dataset.key}/d/visible.h5mu", f"runs/{dataset.key}/d/r/seed0/record.json",
                 f"scores/0/{dataset.key}/d/r/seed0/scores.tsv", "designs/other.00000000/d/visible.h5mu"):  # fmt: skip
        write_text(shared / name, "x")
    for study, text in (("tiny", dataset.key), ("uses_it_too", dataset.key), ("does_not", "other.00000000")):
        write_json(tmp_path / "results" / study / "plan.json", {"schema_version": SCHEMA_VERSION, "uses": text})
        write_text(tmp_path / "results" / study / "scores.parquet", "x")
    return tmp_path


def plan_of(folder):
    study = folder / "study.yaml"
    return make_plan(load_study(load_yaml(study), [study]))


def check(folder) -> None:
    sources.check_unchanged(plan_of(folder), folder / "results")


def replace(folder, seed: int = 1) -> None:
    """Another content of the same date."""
    facts = (folder / "mine.h5mu").stat()
    write_data(folder / "mine.h5mu", seed)
    os.utime(folder / "mine.h5mu", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_another_content_is_noticed_and_the_former_one_is_welcome_back(folder):
    check(folder)
    replace(folder)
    for _ in range(2):
        with pytest.raises(
            InputError,
            match=r"mine: .*mine\.h5mu is not the file .*SHA-256 [0-9a-f]{64}, was [0-9a-f]{64}.*forget-data",
        ):
            check(folder)  # fmt: skip
    replace(folder, seed=0)
    check(folder)


def test_the_same_content_of_another_date_is_the_same(folder):
    os.utime(folder / "mine.h5mu")
    check(folder)
    shutil.copy(folder / "mine.h5mu", folder / "copy")
    os.replace(folder / "copy", folder / "mine.h5mu")
    check(folder)


def test_what_has_not_changed_is_not_read_again(folder, monkeypatch):
    check(folder)
    monkeypatch.setattr(sources, "file_sha256", lambda path: pytest.fail("read again"))
    check(folder)


def test_a_file_dated_in_the_future_is_named(folder):
    os.utime(folder / "mine.h5mu", (2**32, 2**32))
    with pytest.raises(InputError, match=r"mine\.h5mu is dated in the future.*touch"):
        check(folder)


def test_forgetting_removes_what_was_made_from_it_and_nothing_else(folder, capsys):
    arguments = ["forget-data", "--configfile", str(folder / "study.yaml")]
    assert workflow_main(arguments) == 0 and "no data set has other files" in capsys.readouterr().out
    results = folder / "results"
    (prepared,) = (results / "shared" / "datasets").iterdir()
    assert (prepared / "data.h5mu").exists()
    replace(folder)
    assert workflow_main(arguments) == 0 and prepared.name in capsys.readouterr().out
    left = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    assert left == {
        "tiny/plan.json", "uses_it_too/plan.json", "does_not/plan.json", "does_not/scores.parquet",
        "shared/designs/other.00000000/d/visible.h5mu",
    }  # fmt: skip
    check(folder)


def test_the_summary_names_the_sources(folder):
    (summary,) = (folder / "results").rglob("summary.json")
    (source,) = read_json(summary)["sources"]
    assert source["name"] == "mine.h5mu" and len(source["sha256"]) == 64
    assert load_registry(folder / "datasets.yaml")["mine"].format == "h5mu"


@pytest.mark.end_to_end
@pytest.mark.slow
def test_the_workflow_refuses_and_touches_nothing(folder):
    replace(folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")}
    refused = tiny.run(folder)
    assert refused.returncode != 0 and "Traceback" not in refused.stdout
    assert "mine.h5mu is not the file that the results were made from" in refused.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")} == before
