"""What the papers claim, and whether this study bears it out."""

from __future__ import annotations

import math
from typing import Any, Mapping

import pandas as pd

from benchmarks.claims.evaluate import evaluate
from benchmarks.claims.judgement import ALPHA, CONTRADICTED, LEVEL, MINIMUM, NOT_TESTABLE, SUPPORTED
from benchmarks.claims.registry import load_claims
from benchmarks.report.section import Section, number, render
from benchmarks.report.study import Study

SIGNS = {SUPPORTED: "✓", CONTRADICTED: "✗", NOT_TESTABLE: "○"}
"""A sign beside the words of each verdict, so that colour is never needed."""

CLASSES = {SUPPORTED: "supported", CONTRADICTED: "contradicted", NOT_TESTABLE: "open"}
"""Class in the style sheet."""


def section(study: Study) -> Section:
    """A table a paper of the claims that are decided, and all others, folded, in one list."""
    table = evaluate(load_claims(), study.scores, study.runs, study.metrics)
    decided = table["verdict"] != NOT_TESTABLE
    papers, folded = _by_paper(table[decided]), _by_paper(table[~decided])
    counts = table["verdict"].value_counts()
    html = render(
        "claims.html.j2",
        papers=papers,
        folded=folded,
        causes=[(cause, int(count)) for cause, count in table.loc[~decided, "cause"].value_counts().items()],
        counts=[(name, int(counts.get(name, 0))) for name in SIGNS],
        total=len(table),
        alpha=ALPHA,
        level=LEVEL,
        minimum=MINIMUM,
    )
    return Section("claims", "Claims", html)


def _by_paper(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table of claims under their papers."""
    return [
        {"title": paper, "rows": [_row(row) for row in part.to_dict("records")]}
        for paper, part in table.groupby("paper", sort=False)
    ]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of one claim."""
    return {
        **{name: row[name] for name in ("claim", "place", "says", "stated", "reading", "verdict", "metrics", "reason", "cause")},
        "sign": SIGNS[row["verdict"]], "class": CLASSES[row["verdict"]], "effect": effect_text(row), "part": row["decided_by"],
        "evidence": f"{row['n_blocks']} {row['over']}" if row["n_blocks"] else "", "datasets": row["datasets"], "implementations": row["implementations"],
    }  # fmt: skip


def effect_text(row: Mapping[str, Any]) -> str:
    """Effect and interval in words; ``–`` for none."""
    if not math.isfinite(row["effect"]):
        return "–"
    form = {"difference": "{}", "level": "{}", "exponent": "{}", "ratio": "×{}", "share": "{} %"}[row["scale"]]
    values = [100 * row[name] if row["scale"] == "share" else row[name] for name in ("effect", "low", "high")]
    effect, low, high = (number(value).replace("-", "−") for value in values)
    sign = "+" if row["scale"] == "difference" and row["effect"] > 0 else ""
    interval = f" ({low} to {high})" if math.isfinite(row["low"]) else " (no interval)"
    return sign + form.format(effect) + interval
