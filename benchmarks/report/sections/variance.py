"""How much scores vary, how much of it the subsample and the training seed contribute, and whether cells help."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.report.section import Section, codes, numbers, render
from benchmarks.report.study import Study


def section(study: Study) -> Section:
    """Split and trend of the variance of the main metrics; drawn by ``variance.js``."""
    table, trends = study.variance, study.variance_trends
    known = table[table["variance"].notna() | table["seed_variance"].notna()]
    if known.empty:
        # One sentence instead of a table without numbers: the usual case is a study of one subsample and one seed.
        notes = sorted(set(table["note"]) - {""})
        return Section("variance", "Variance", render("variance.html.j2", empty=True, notes=notes))
    present = [name for name in study.main_metrics if name in set(known["metric"])]
    trends = trends[trends["metric"].isin(present)]
    notes, note = codes([*known["note"], *trends["note"]])
    rows: dict[str, Any] = {
        "condition": study.condition_numbers(known).tolist(),
        "variant": study.variant_numbers(known).tolist(),
        "metric": [present.index(name) for name in known["metric"]],
        "share": numbers(known["subsample_share"], 3),
        "share_low": numbers(known["share_low"], 3),
        "share_high": numbers(known["share_high"], 3),
        "subsamples": known["n_subsamples"].astype(int).tolist(),
        "values": known["n_values"].astype(int).tolist(),
        "note": note[: len(known)],
    }
    # Standard deviations, because they have the unit of the score.
    for name, column in (("sd", "variance"), ("subsample", "subsample_variance"), ("seed", "seed_variance")):
        rows[name] = numbers(np.sqrt(known[column]), 4)
    along = {
        "dataset": trends["dataset"].astype(str).tolist(), "fraction": numbers(trends["unpaired_fraction"], 12),
        "variant": study.variant_numbers(trends).tolist(), "metric": [present.index(name) for name in trends["metric"]],
        "slope": numbers(trends["slope"], 3), "low": numbers(trends["slope_low"], 3), "high": numbers(trends["slope_high"], 3),
        "trend": trends["trend"].tolist(), "note": note[len(known) :],
    }  # fmt: skip
    data = {"metrics": present, "notes": notes, "rows": rows, "trends": along}
    return Section("variance", "Variance", render("variance.html.j2", empty=False), data, "variance.js")
