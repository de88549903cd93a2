"""``docs/models.md`` is what the declarations say today, and holds every fact of each of them."""

from __future__ import annotations

import pytest

from benchmarks.errors import InputError
from models import document, registry
from models.__main__ import main


def test_the_page_is_current(root):
    assert (root / "docs" / "models.md").read_text(encoding="utf-8") == document.markdown(), "run: make docs"


def test_the_command_writes_it(tmp_path):
    assert main(["document", "--output", str(tmp_path / "models.md")]) == 0
    assert (tmp_path / "models.md").read_text(encoding="utf-8") == document.markdown()


@pytest.mark.parametrize("name", registry.names())
def test_every_declaration_is_there(name):
    text, declared = document.markdown(), registry.declaration(name)
    (row,) = [line for line in text.splitlines() if line.startswith(f"| [`{name}`]")]
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert cells[1:4] == [declared.title, declared.kind, ", ".join("+".join(names) for names in declared.modality_sets)]
    assert [cell == "yes" for cell in cells[5:9]] == [
        declared.batches, declared.predicts, declared.uncertainty, declared.gpu,
    ]  # fmt: skip
    assert cells[4] == ("no" if not declared.unpaired else "not alone" if declared.needs_paired else "yes")
    assert cells[9] == f"`{declared.environment}`" and cells[10] == declared.licence
    section = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
    assert declared.summary in section
    for hyperparameter in declared.defaults:
        assert f"| `{hyperparameter}` | `" in section


@pytest.mark.parametrize("text", ["A 2020, 10.1000/x-1", "A 2020, doi:10.1000/x-1", "A 2020, doi: 10.1000/x-1"])
def test_a_doi_becomes_a_link(text):
    assert document._linked(f"{text}; B") == "A 2020, [10.1000/x-1](https://doi.org/10.1000/x-1); B"


def test_what_cannot_be_run_has_evidence():
    entries = document.unavailable()
    assert entries
    for name, entry in entries.items():
        assert all(str(value).strip() for value in entry.values()), name
        assert "10." in entry["paper"], name


GOOD = {"title": "T", "paper": "P", "reason": "R", "error": "E", "tried": "W", "date": "2026-01-01"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[a]", "holds a list"),
        ("a: {title: T}", "a: give"),
        ("a: text", "a: give"),
        (f"pca: {GOOD}", "a model of the registry"),
        (f"a: {GOOD | {'date': 'today'}}", "write it as YYYY-MM-DD"),
        (f"a: {GOOD | {'note': 'x'}}", "'note'"),
    ],
)
def test_bad_entries_are_refused(tmp_path, content, message):
    path = tmp_path / "unavailable.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        document.unavailable(path)


def test_an_entry_is_shown(monkeypatch):
    monkeypatch.setattr(document, "unavailable", lambda: {"tool": GOOD | {"error": "first|second\nthird\n"}})
    assert "### T (`tool`)\n\nP\n\nR\n\n    first|second\n    third\n\nTried (2026-01-01): W" in document.markdown()
