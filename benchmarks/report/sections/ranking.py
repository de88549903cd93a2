"""Models ranked by composite scores, as far as the replicates can tell them apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report.section import Section, numbers, render
from benchmarks.report.shared import metric_title
from benchmarks.report.study import Study
from benchmarks.statistics.compare import ALPHA
from benchmarks.statistics.critical_difference import MISSING_LIMIT
from benchmarks.statistics.ranking import CONSERVATION, CONSERVATION_WEIGHT, INTEGRATION


def section(study: Study) -> Section:
    """Composites with intervals, rank ranges, coverage, why a model is not ranked, and mean ranks over data sets."""
    table = study.ranking
    groups = [group for group in (*CONSERVATION, *INTEGRATION) if group in table and table[group].notna().any()]
    html = render(
        "ranking.html.j2",
        empty=table.empty,
        alpha=ALPHA,
        weight=CONSERVATION_WEIGHT,
        limit=MISSING_LIMIT,
        mean_ranks=mean_ranks(study),
    )
    if table.empty:
        return Section("ranking", "Ranking", html)
    rows = {
        "condition": study.condition_numbers(table).tolist(),
        "variant": study.variant_numbers(table).tolist(),
        "reason": table["reason"].tolist(),
        "used": table["metrics_used"].tolist(),
        "left_out": table["metrics_left_out"].tolist(),
        "flagged": np.asarray(table["flagged"], dtype=bool).tolist(),
    }
    for name in (
        "overall",
        "overall_low",
        "overall_high",
        *groups,
        "position",
        "rank_low",
        "rank_high",
        "coverage",
        "n_replicates",
        "n_planned",
        "smallest_p",
    ):
        rows[name] = numbers(table[name], 4)
    return Section("ranking", "Ranking", html, {"rows": rows, "groups": groups, "alpha": ALPHA}, "ranking.js")


def mean_ranks(study: Study) -> list[dict[str, Any]]:
    """Mean ranks as tables of models by metrics, best models first, with the tests; empty if there are none.

    Returns
    -------
    list of dict
        One for the data sets to which the same models apply, with ``datasets`` (their names); ``columns``: one a
        metric, with ``title``, ``p`` and ``difference`` (texts) and ``blocks``; ``rows``: one a model, with ``label``
        and ``cells``, each ``None`` (not ranked) or ``mean``, ``ranks`` (the range in words), ``letters`` (models with
        one in common are not told apart) and ``first`` (whether the critical difference leaves the first rank open to
        it and not to all); ``left_out``: models and the metrics on which they are.
    """
    table = study.mean_ranks
    if table.empty:
        return []
    table = table.assign(label=study.labels(table))
    return [_mean_ranks(study, part) for _, part in table.groupby("datasets", sort=True)]


def _mean_ranks(study: Study, table: pd.DataFrame) -> dict[str, Any]:
    """One of :func:`mean_ranks`."""
    names = [name for name in study.main_metrics if name in set(table["metric"])]
    columns, cells, left_out = [], {}, {}
    for name in names:
        own = table[table["metric"] == name]
        head = own.iloc[0]
        not_all = bool((own["rank_low"] > 1).any())
        columns.append(
            {
                "title": metric_title(study.metrics, name), "p": p_text(head["friedman_p"]),
                "difference": f"{head['critical_difference']:.2f}", "blocks": int(head["n_blocks"]),
            }
        )  # fmt: skip
        if head["left_out"]:
            left_out.setdefault(head["left_out"], []).append(columns[-1]["title"])
        for row in own.itertuples(index=False):
            ranks = f"{row.rank_low}" if row.rank_low == row.rank_high else f"{row.rank_low} – {row.rank_high}"
            first = not_all and row.rank_low == 1
            letters = "".join(chr(ord("a") + int(bar) - 1) for bar in row.cliques.split(", "))
            cells[row.label, name] = {
                "mean": f"{row.mean_rank:.2f}",
                "ranks": ranks,
                "letters": letters,
                "first": first,
            }
    order = table.groupby("label", sort=True)["mean_rank"].mean().sort_values(kind="stable").index
    rows = [{"label": label, "cells": [cells.get((label, name)) for name in names]} for label in order]
    said = [
        f"{models} ({'all metrics' if len(titles) == len(names) else ', '.join(titles)})"
        for models, titles in left_out.items()
    ]
    return {"datasets": table["datasets"].iloc[0], "columns": columns, "rows": rows, "left_out": said}


def p_text(p: float) -> str:
    """A p-value for people; ``–`` where there is no test."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
