"""Scores against the number of cells and against the unpaired fraction."""

from __future__ import annotations

from benchmarks.report.section import Section, render
from benchmarks.report.study import Study


def section(study: Study) -> Section:
    """One small chart a metric, drawn by ``curves.js`` from the shared data."""
    return Section("curves", "Curves", render("curves.html.j2"), data={}, script="curves.js")
