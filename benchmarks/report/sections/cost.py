"""Time and memory."""

from __future__ import annotations

from benchmarks.report.section import Section, render
from benchmarks.report.study import Study


def section(study: Study) -> Section:
    """Cost of each variant in one condition, and against the number of cells; drawn by ``cost.js``."""
    return Section("cost", "Cost", render("cost.html.j2", empty=study.cost.empty), data={}, script="cost.js")
