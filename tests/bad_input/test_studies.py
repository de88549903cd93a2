"""Every malformed study is refused with file, key and remedy, at once, and nothing is written."""

from __future__ import annotations

from itertools import groupby

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bad_input.command import content, problem, run
from tests.bad_input.study_cases import GOOD, KEYS, MODELS, REGISTRY, Case, cases, changed, dumped, readme_keys
from workflow.__main__ import main

CASES = {key: list(group) for key, group in groupby(cases(), key=lambda case: case.key or case.kind)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the files that the good study names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "datasets.yaml").write_bytes(dumped(REGISTRY))
    (tmp_path / "models.yaml").write_bytes(dumped(MODELS))
    return tmp_path


def outcome_of(folder, text: bytes):
    (folder / "study.yaml").write_bytes(text)
    return run(main, ["validate", "--configfile", "study.yaml"])


def fault(folder, case: Case) -> str | None:
    """What is wrong with the way in which a case is refused."""
    outcome = outcome_of(folder, case.text)
    last = case.key.split(".")[-1].split("[")[0]
    found = problem(outcome, ["study.yaml: ", "datasets.yaml: "], (last, *case.says))
    return found and f"{case.name}: {found}"


def test_the_good_study_is_good(folder):
    outcome = outcome_of(folder, dumped(GOOD))
    assert outcome.status == 0, outcome.error
    assert "16 designs, 32 runs to train" in outcome.output


def test_every_documented_key_is_mutated(root):
    """A key that config/README.md documents gets its malformed values here."""
    mutated = {part.split("[")[0] for path in KEYS for part in path.split(".")}
    assert readme_keys(root) - mutated == set()
    assert len(readme_keys(root)) > 35


@pytest.mark.parametrize("key", CASES)
def test_malformed_studies_are_refused(folder, key):
    before = content(folder)
    assert [text for case in CASES[key] if (text := fault(folder, case))] == []
    (folder / "study.yaml").unlink()
    assert content(folder) == before


def test_a_study_of_too_many_runs_is_refused_before_they_are_counted_out(folder):
    huge = {"n_paired": list(range(2, 600)), "n_unpaired": list(range(600)), "replicates": 1000}
    for case in (
        Case("sizes", "", dumped({**GOOD, "designs": huge}), "datasets"),
        Case(
            "seeds",
            "",
            dumped({**changed(GOOD, "designs.replicates", 1000), "training_seeds": list(range(300))}),
            "datasets",
        ),
    ):
        assert fault(folder, case) is None
        assert "more than 1000000" in outcome_of(folder, case.text).error


# --- made by hypothesis -----------------------------------------------------------------------------------

SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["all", "rna", "pca", "tiny"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def check_any(folder, text: bytes) -> None:
    """Whatever the file holds: a plan, or a message; nothing else comes out, and nothing is written."""
    (folder / "study.yaml").write_bytes(text)
    before = content(folder)
    outcome = outcome_of(folder, text)
    assert content(folder) == before
    if outcome.status == 0:
        assert "runs to train" in outcome.output
    else:
        assert problem(outcome, [".yaml: "]) is None, text


@SETTINGS
@given(st.sampled_from(sorted(KEYS)), VALUES)
def test_any_value_of_any_key_gives_a_plan_or_a_message(folder, key, value):
    if key in ("datasets_file", "models_file"):
        value = "datasets.yaml" if isinstance(value, str) else value
    check_any(folder, yaml.safe_dump(changed(GOOD, key, value)).encode("utf-8", "surrogatepass"))


@SETTINGS
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(GOOD)), st.text(max_size=10)), VALUES, max_size=6))
def test_any_mapping_gives_a_plan_or_a_message(folder, mapping):
    check_any(folder, dumped(mapping))


@SETTINGS
@given(st.integers(0, len(dumped(GOOD)) - 1), st.integers(0, 40), st.binary(max_size=6))
def test_damaged_bytes_give_a_plan_or_a_message(folder, start, length, inserted):
    text = dumped(GOOD)
    check_any(folder, text[:start] + inserted + text[start + length :])


@SETTINGS
@given(st.binary(max_size=200))
def test_any_bytes_give_a_message(folder, text):
    check_any(folder, text)


@SETTINGS
@given(st.text(alphabet="{}[]:,-&*!|>'\"%@` \n\tab1?#~", max_size=60))
def test_anything_like_yaml_gives_a_message(folder, text):
    check_any(folder, text.encode())
