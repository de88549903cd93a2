"""Every malformed registry of data sets or models is refused with file, key and remedy, and nothing is written."""

from __future__ import annotations

import pytest

from tests.bad_input.command import content, problem, run
from tests.bad_input.registry_cases import ENTRIES, VARIANT, registry_cases, variant_cases
from tests.bad_input.study_cases import Case, dumped
from workflow.__main__ import main

STUDY = {
    "study": "s", "results_dir": "results", "datasets": ["made"], "models": ["pca"], "datasets_file": "datasets.yaml",
    "models_file": "models.yaml",
}  # fmt: skip
CASES: dict[tuple[str, str], list[Case]] = {}
for file, made in (("datasets.yaml", registry_cases()), ("models.yaml", variant_cases())):
    for case in made:
        CASES.setdefault((file, case.name.rsplit("-", 1)[0]), []).append(case)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a study and good registries."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_bytes(dumped(STUDY))
    (tmp_path / "datasets.yaml").write_bytes(dumped(ENTRIES))
    (tmp_path / "models.yaml").write_bytes(dumped({"v": VARIANT}))
    return tmp_path


def test_the_good_registries_are_good(folder):
    outcome = run(main, ["validate", "--configfile", "study.yaml"])
    assert outcome.status == 0, outcome.error


@pytest.mark.parametrize("file, group", CASES)
def test_malformed_registries_are_refused(folder, file, group):
    faults = []
    for case in CASES[file, group]:
        (folder / file).write_bytes(case.text)
        before = content(folder)
        outcome = run(main, ["validate", "--configfile", "study.yaml"])
        found = problem(outcome, [f"{file}: "], [case.key.split(".")[-1]])
        if found or content(folder) != before:
            faults.append(f"{case.name}: {found or 'something was written'}")
    assert faults == []
