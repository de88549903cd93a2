"""The page of claims: complete, in words, escaped."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.claims import registry
from benchmarks.report.sections import claims as section_module
from benchmarks.report.study import Study
from tests.benchmarks.claims.conftest import METRICS, table

HOSTILE = "</script><img src=x onerror=alert(1)>"


def claims_file(tmp_path, than="[B]"):
    path = tmp_path / "claims.yaml"
    path.write_text(
        f"""
papers: {{p: "Paper <b>one</b>"}}
models: {{A: [a], B: [b], C: [c]}}
claims:
  - {{id: up, paper: p, place: Figure 1, says: "A beats B {HOSTILE}", stated: 1 < 2, metrics: [good], test: {{kind: better_than, models: [A], than: {than}}}}}
  - {{id: down, paper: p, place: Figure 2, says: B beats A, metrics: [good], test: {{kind: better_than, models: [B], than: [A]}}}}
  - {{id: none, paper: p, place: Figure 3, says: C beats A, metrics: [good], test: {{kind: better_than, models: [C], than: [A]}}}}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = claims_file(tmp_path)
    monkeypatch.setattr(section_module, "load_claims", lambda: registry.load_claims(path))
    scores = table(lambda model, n, f, r: {"a": 0.7, "b": 0.5}[model] + 0.01 * np.sin(3 * r + ord(model)))
    scores["dataset"] = HOSTILE
    runs = scores.drop(columns=["metric", "value"]).assign(collapsed=False, duplicate_fraction=0.0)
    return section_module.section(Study(scores, runs, metrics=METRICS))


def test_every_verdict_stands_in_words_beside_a_sign(page):
    for words in ("✓</span> supported", "✗</span> contradicted", "○</span> not testable here"):
        assert page.html.count(words) == 1
    assert "c is not in the study" in page.html
    assert page.html.count("<tr id=") == 3


def test_claims_that_are_not_testable_are_folded_into_one_list(page):
    shown, folded = page.html.split("<details>")
    assert shown.count("<tr id=") == 2 and folded.count("<tr id=") == 1
    assert "1 not testable here: missing model (1)" in folded and "C beats A" in folded
    assert folded.count("<summary>") == 1 and folded.rstrip().endswith("</details>")


def test_effects_stand_with_their_interval(page):
    effects = re.findall(r"<td>([+−]0[.]2\d*) [(](\S+) to (\S+)[)]", page.html)
    assert [effect[0][0] for effect in effects] == ["+", "−"]
    for effect, low, high in effects:
        low, effect, high = (float(text.replace("−", "-")) for text in (low, effect, high))
        assert low <= effect <= high


def test_names_and_claims_are_escaped(page):
    assert "<img" not in page.html and "<b>one" not in page.html
    assert "&lt;img src=x" in page.html and "1 &lt; 2" in page.html


def test_a_study_of_nothing_has_the_page_too(fictitious_empty_study):
    html = section_module.section(fictitious_empty_study).html
    assert "not testable here" in html and "✓</span> supported" not in html


@pytest.fixture
def fictitious_empty_study():
    scores = table(lambda *arguments: 0.0).iloc[:0]
    runs = scores.drop(columns=["metric", "value"]).assign(collapsed=False, duplicate_fraction=0.0)
    return Study(scores, runs, metrics=METRICS)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"effect": 0.05, "low": 0.01, "high": 0.1, "scale": "difference"}, "+0.05 (0.01 to 0.1)"),
        ({"effect": -0.05, "low": -0.1, "high": 0.01, "scale": "difference"}, "−0.05 (−0.1 to 0.01)"),
        ({"effect": 2.0, "low": 1.5, "high": 3.0, "scale": "ratio"}, "×2 (1.5 to 3)"),
        ({"effect": 1.0, "low": 0.55, "high": 1.0, "scale": "share"}, "100 % (55 to 100)"),
        ({"effect": 0.7, "low": np.nan, "high": np.nan, "scale": "level"}, "0.7 (no interval)"),
        ({"effect": np.nan, "low": np.nan, "high": np.nan, "scale": "level"}, "–"),
    ],
)
def test_effects_in_words(row, expected):
    assert section_module.effect_text(row) == expected
