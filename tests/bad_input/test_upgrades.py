"""Results carry a schema version; those of another one are refused with the remedy, and stay as they are."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest

import benchmarks.datasets.prepare
import benchmarks.designs
import benchmarks.formats
import benchmarks.provenance
import workflow.planning
from benchmarks.__main__ import main as benchmarks_main
from benchmarks.formats import (
    SCHEMA_VERSION,
    Embedding,
    RunRecord,
    write_embedding,
    write_json,
    write_record,
    write_table,
)
from benchmarks.provenance import provenance
from models import registry
from tests.bad_input.command import content, problem, run
from tests.bad_input.data_files import ENTRIES, write_files
from tests.bad_input.study_cases import dumped
from tests.benchmarks.report.conftest import fictitious_tables
from workflow.__main__ import main as workflow_main

REMEDY = "choose a new results_dir or delete the file"
OLDER = SCHEMA_VERSION - 1


def write_results(folder) -> None:
    """A study's results as the present code writes them, far enough for every command to have something to read."""
    write_files(folder / "data")
    (folder / "datasets.yaml").write_bytes(dumped({"odd": ENTRIES["h5mu"]}))
    study = {
        "study": "s",
        "datasets": ["odd"],
        "models": ["random"],
        "datasets_file": "datasets.yaml",
        "data_dir": "data",
    }
    (folder / "study.yaml").write_bytes(dumped(study))
    for arguments in (
        ["prepare", "--registry", "datasets.yaml", "--dataset", "odd", "--data-dir", "data", "--output", "results/data.h5mu", "--summary", "results/summary.json"],
        ["design", "--dataset", "results/data.h5mu", "--visible", "results/v.h5mu", "--truth", "results/t.h5mu", "--spec",
         '{"dataset": "odd", "modalities": ["rna", "atac"]}'],
    ):  # fmt: skip
        outcome = run(benchmarks_main, arguments)
        assert outcome.status == 0, outcome.error
    outcome = run(workflow_main, ["plan", "--configfile", "study.yaml", "--output", "results/s/plan.json"])
    assert outcome.status == 0, outcome.error
    names = np.array([f"obs_{number:07d}" for number in range(30)])
    write_embedding(folder / "results" / "e.h5ad", Embedding(np.zeros((30, 2), np.float32), names))
    write_record(
        folder / "results" / "r.json",
        RunRecord("random", "random", "ok", schema_version=benchmarks.formats.SCHEMA_VERSION),
    )
    plan = json.loads((folder / "results" / "s" / "plan.json").read_text())
    write_json(folder / "results" / "s" / "provenance.json", provenance(plan))
    scores, runs = fictitious_tables(("odd",), (500,), (0.0,), 2)
    for name, table in (("scores", scores), ("runs", runs)):
        write_table(folder / "results" / "s" / f"{name}.parquet", table)


@pytest.fixture
def older(tmp_path, monkeypatch):
    """Results as an older version would have written them."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        for module in (
            benchmarks.formats,
            benchmarks.designs,
            benchmarks.datasets.prepare,
            benchmarks.provenance,
            workflow.planning,
        ):
            patch.setattr(module, "SCHEMA_VERSION", OLDER)
        write_results(tmp_path)
    return tmp_path


def score(**changes: str) -> list[str]:
    files = {
        "embedding": "results/e.h5ad",
        "record": "results/r.json",
        "visible": "results/v.h5mu",
        "truth": "results/t.h5mu",
        **changes,
    }
    return [
        "score",
        *(word for key, path in files.items() for word in (f"--{key}", path)),
        "--scores",
        "out.tsv",
        "--seconds",
        "out.json",
    ]


DESIGN = [
    "design",
    "--dataset",
    "results/data.h5mu",
    "--visible",
    "v",
    "--truth",
    "t",
    "--spec",
    '{"dataset": "odd", "modalities": ["rna"]}',
]
READERS = {
    "design": (benchmarks_main, DESIGN, "data.h5mu"),
    "score": (benchmarks_main, score(), "e.h5ad"),
    "collect": (benchmarks_main, ["collect", "--plan", "results/s/plan.json", "--results-dir", "results", "--output-dir", "out"], "plan"),
    "statistics": (benchmarks_main, ["statistics", "--study-dir", "results/s"], "plan.json"),
    "umaps": (benchmarks_main, ["umaps", "--study-dir", "results/s", "--results-dir", "results"], "plan.json"),
    "label agreement": (benchmarks_main, ["label-agreement", "--study-dir", "results/s", "--results-dir", "results"], "plan.json"),
    "report": (benchmarks_main, ["report", "--study-dir", "results/s", "--output", "out.html"], "plan.json"),
    "figures": (benchmarks_main, ["figures", "--study-folder", "results/s", "--output", "out"], "plan.json"),
    "plan again": (workflow_main, ["validate", "--configfile", "study.yaml"], "study.yaml: results_dir: results/s/plan.json"),
}  # fmt: skip


def test_every_command_refuses_older_results_and_leaves_them(older):
    before = content(older)
    for name, (main, arguments, place) in READERS.items():
        found = problem(run(main, arguments), [place], [f"schema version {OLDER}", f"reads {SCHEMA_VERSION}", REMEDY])
        assert found is None, f"{name}: {found}"
        assert content(older) == before, name
    # Each file alone is enough: of a mixture, the older part is refused.
    (older / "results" / "s" / "plan.json").unlink()
    outcome = run(benchmarks_main, READERS["report"][1])
    assert problem(outcome, ["provenance.json"], [REMEDY]) is None


def test_the_same_study_under_another_name_or_folder_is_planned(older):
    for change in ("study=t", "results_dir=elsewhere"):
        outcome = run(workflow_main, ["validate", "--configfile", "study.yaml", "--config", change])
        assert outcome.status == 0, outcome.error


def test_every_file_names_the_version_and_the_present_one_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path)
    for name in ("summary.json", "r.json", "s/plan.json", "s/provenance.json"):
        assert json.loads((tmp_path / "results" / name).read_text())["schema_version"] == SCHEMA_VERSION, name
    for name in ("data.h5mu", "v.h5mu", "t.h5mu"):
        with h5py.File(tmp_path / "results" / name) as file:
            assert file.attrs["encoder-version"] == str(SCHEMA_VERSION)
    with h5py.File(tmp_path / "results" / "e.h5ad") as file:
        assert int(file["uns/schema_version"][()]) == SCHEMA_VERSION
    assert run(benchmarks_main, DESIGN).status == 0
    assert run(workflow_main, ["validate", "--configfile", "study.yaml"]).status == 0


def test_the_changelog_says_what_changes_scores(root):
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "**scores**" in text.split("## ")[0], "the head says what the marker means"
    assert f"schema version {SCHEMA_VERSION}" in text
    entries = [entry for entry in re.split(r"^- ", text, flags=re.M) if entry.startswith("**scores**")]
    changed = {name for name in registry.names() if registry.declaration(name).version > 1}
    assert changed
    assert {name for name in changed if not any(re.search(rf"\b{name}\b", entry) for entry in entries)} == set()
