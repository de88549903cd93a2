"""Every malformed data file is refused with the file and the remedy, its links and claims are not followed, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.__main__ import main as benchmarks_main
from tests.bad_input.command import content, problem, run
from tests.bad_input.data_cases import DataCase, data_cases
from tests.bad_input.data_files import ENTRIES, FILES, write_files
from tests.bad_input.study_cases import dumped
from workflow.__main__ import main as workflow_main

CASES: dict[tuple[str, str], list[DataCase]] = {}
for case in data_cases():
    CASES.setdefault((case.kind, case.entry), []).append(case)


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    """The good files in every format."""
    folder = tmp_path_factory.mktemp("bad input") / "good"
    write_files(folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a study that has one data set, ``odd``."""
    monkeypatch.chdir(tmp_path)
    study = {"study": "s", "datasets": ["odd"], "models": ["pca"], "datasets_file": "datasets.yaml", "data_dir": "case"}
    (tmp_path / "study.yaml").write_bytes(dumped(study))
    return tmp_path


def renew(folder: Path, good: Path) -> Path:
    """Fresh good files in ``case``."""
    shutil.rmtree(folder / "case", ignore_errors=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    shutil.copytree(good, folder / "case")
    return folder / "case"


def prepare(folder: Path, entry: dict):
    (folder / "datasets.yaml").write_bytes(dumped({"odd": entry}))
    return run(
        benchmarks_main,
        ["prepare", "--registry", "datasets.yaml", "--dataset", "odd", "--data-dir", "case", "--output", "out/data.h5mu",
         "--summary", "out/summary.json"],
    )  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_the_good_files_are_good(folder, good, name):
    renew(folder, good)
    outcome = prepare(folder, ENTRIES[name])
    assert outcome.status == 0, outcome.error
    assert run(workflow_main, ["validate", "--configfile", "study.yaml"]).status == 0


def fault(folder: Path, good: Path, case: DataCase) -> str | None:
    """What is wrong with the way in which a case is refused: planned, then prepared."""
    case.change(renew(folder, good))
    before = {name: value for name, value in content(folder).items() if name != "datasets.yaml"}
    outcome = prepare(folder, {**ENTRIES[case.entry], **case.keys})
    places = ["case/", "datasets.yaml: odd", "'odd'"]
    after = {name: value for name, value in content(folder).items() if name not in ("datasets.yaml", "out")}
    if case.refused:
        found = problem(outcome, places, case.says)
        if after != before:
            found = f"something was written: {sorted(set(after) - set(before))}"
    else:
        found = None if outcome.status in (0, 2) else f"exit status {outcome.status}: {outcome.error}"
    # The planner opens files to count their cells: it may not notice the fault, but it must not fall over it.
    planned = run(workflow_main, ["validate", "--configfile", "study.yaml"])
    if planned.status != 0:
        found = found or problem(planned, places)
    return found and f"{case.name}: {found}"


@pytest.mark.parametrize("kind, entry", CASES)
def test_malformed_data_are_refused(folder, good, kind, entry):
    assert [text for case in CASES[kind, entry] if (text := fault(folder, good, case))] == []
    assert not (folder / "x").exists() and not (folder.parent / "x").exists()


@pytest.mark.parametrize("file", ["a.h5mu", "tenx.h5", "typed.h5ad"])
@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_of_hdf5_give_data_or_a_message(folder, good, file, data):
    path = renew(folder, good) / file
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    outcome = prepare(folder, ENTRIES[FILES[file]])
    assert outcome.status == 0 or problem(outcome, ["case/", "datasets.yaml: odd", "'odd'"]) is None, outcome


@pytest.mark.parametrize("file", ["dense.tsv", "cells.tsv", "triplet/matrix.mtx", "triplet/features.tsv", "labels.tsv"])
@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_text_gives_data_or_a_message(folder, good, file, data):
    path = renew(folder, good) / file
    text = path.read_text()
    start, length = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 30))
    path.write_bytes((text[:start] + data.draw(st.text(max_size=6)) + text[start + length :]).encode("utf-8"))
    outcome = prepare(folder, ENTRIES[FILES[file]])
    assert outcome.status == 0 or problem(outcome, ["case/", "datasets.yaml: odd", "'odd'"]) is None, outcome
