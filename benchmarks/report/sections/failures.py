"""What has no result, and why."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.report.section import Section, number, render
from benchmarks.report.study import Study
from benchmarks.statistics.keys import with_clean_status

LIMIT = 300
"""Most rows of a table; the rest is counted, with a pointer to the table file."""


def section(study: Study) -> Section:
    """Runs that failed, runs that do not apply, metrics without a value, and flagged embeddings, each with reasons."""
    runs = study.runs.assign(label=study.labels(study.runs))
    failed = runs[~runs["status"].isin(["ok", "not_applicable"])]
    not_applicable = runs[runs["status"] == "not_applicable"]
    scores = with_clean_status(study.scores)
    planned = runs.loc[runs["status"] == "ok", ["dataset", "design", "model", "variant", "seed"]].drop_duplicates()
    scores = scores[scores["status"] != "ok"].merge(planned, on=list(planned.columns))
    scores = scores.assign(label=study.labels(scores)) if len(scores) else scores.assign(label=[])
    flagged = (
        study.flagged.assign(label=study.labels(study.flagged))
        if len(study.flagged)
        else study.flagged.assign(label=[])
    )
    html = render(
        "failures.html.j2",
        tables=[
            _table("failed", "Runs without a result", failed, ["label", "status", "reason"], "runs", "Every planned run gave an embedding."),
            _table("not-applicable", "Models that do not apply", not_applicable, ["label", "reason"], "runs", "Every model applies to every design."),
            _table("flagged", "Flagged embeddings", flagged, ["label", "flag_reason"], "runs", "No embedding is collapsed or filled with duplicates."),
            _table("metrics", "Metrics without a value", scores, ["metric", "status", "reason", "label"], "scores", "Every metric has a value for every embedding.", join="label"),
        ],
    )  # fmt: skip
    return Section("failures", "Failures", html)


def _table(
    key: str, title: str, rows: pd.DataFrame, by: list[str], unit: str, none: str, join: str | None = None
) -> dict[str, Any]:
    """Rows grouped by model and reason, with how many there are and in which conditions."""
    groups = []
    columns = [name for name in by if name != join]
    if len(rows):
        rows = rows.assign(**{name: rows[name].fillna("").astype(str) for name in by})
        for key_values, part in rows.groupby(columns, sort=True):
            cells = dict(zip(columns, key_values))
            if join:
                cells[join] = ", ".join(sorted(part[join].unique()))
            groups.append({"cells": [cells[name] for name in by], "n": len(part), "where": _where(part)})
    groups.sort(key=lambda group: -group["n"])
    titles = {"label": "Model", "status": "Status", "reason": "Reason", "flag_reason": "Reason", "metric": "Metric"}
    return {
        "key": key, "title": title, "columns": [titles[name] for name in by], "rows": groups[:LIMIT], "left_out": max(0, len(groups) - LIMIT),
        "unit": unit, "total": len(rows), "none": none, "status_column": by.index("status") if "status" in by else -1,
    }  # fmt: skip


def _where(rows: pd.DataFrame) -> str:
    """In which data sets, sizes, fractions and replicates, in words."""
    sizes = sorted(rows["n_cells"].dropna().unique())
    fractions = sorted(rows["unpaired_fraction"].dropna().unique())
    replicates = sorted(rows["replicate"].unique())
    parts = [
        ", ".join(sorted(rows["dataset"].astype(str).unique())),
        f"{', '.join(number(size) for size in sizes)} cells",
        f"{', '.join(f'{100 * fraction:g}' for fraction in fractions)} % unpaired",
        f"replicate{'s' if len(replicates) > 1 else ''} {', '.join(str(replicate) for replicate in replicates)}",
    ]
    return " · ".join(parts)
