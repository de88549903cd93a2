"""All models by all metrics, for one condition at a time."""

from __future__ import annotations

from benchmarks.report.section import Section, render
from benchmarks.report.study import Study


def section(study: Study) -> Section:
    """A sortable, coloured table, drawn by ``overview.js`` from the shared data."""
    return Section("overview", "Overview", render("overview.html.j2"), data={}, script="overview.js")
