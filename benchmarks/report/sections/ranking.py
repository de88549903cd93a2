"""Models ranked by composite scores, as far as the replicates can tell them apart."""

from __future__ import annotations

import numpy as np

from benchmarks.report.section import Section, numbers, render
from benchmarks.report.study import Study
from benchmarks.statistics.compare import ALPHA
from benchmarks.statistics.ranking import CONSERVATION, CONSERVATION_WEIGHT, INTEGRATION


def section(study: Study) -> Section:
    """Composites with intervals, rank ranges, coverage, and why a model is not ranked."""
    table = study.ranking
    groups = [group for group in (*CONSERVATION, *INTEGRATION) if group in table and table[group].notna().any()]
    if table.empty:
        return Section(
            "ranking", "Ranking", render("ranking.html.j2", empty=True, alpha=ALPHA, weight=CONSERVATION_WEIGHT)
        )
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
    html = render("ranking.html.j2", empty=False, alpha=ALPHA, weight=CONSERVATION_WEIGHT)
    return Section("ranking", "Ranking", html, {"rows": rows, "groups": groups, "alpha": ALPHA}, "ranking.js")
