"""The page as a whole: sections, navigation, styles, scripts and data in one file."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import import_module
from typing import Any, Mapping

from benchmarks.formats import write_text
from benchmarks.report.section import Section, asset, embedded_json, render
from benchmarks.report.shared import shared_data
from benchmarks.report.study import Study, read_study

SECTIONS = (
    "study",
    "overview",
    "ranking",
    "variance",
    "curves",
    "advice",
    "figures",
    "claims",
    "embeddings",
    "cost",
    "failures",
    "provenance",
)
"""Modules of :mod:`benchmarks.report.sections` in the order of the page. A new section is a module and a name here; one with nothing to show is ``None``."""


def write_report(
    study_dir: str | os.PathLike, output: str | os.PathLike, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write the report of the study in `study_dir` as one HTML file.

    The file needs nothing else: styles, scripts and data are in it, and its content security policy forbids the
    browser to load anything or to run any script but its own.

    Parameters
    ----------
    study_dir
        Folder with ``scores``, ``runs`` (``.parquet`` or ``.tsv``) and optionally ``umaps`` and ``provenance.json``.
    output
        File to write, atomically.
    metrics
        Metric declarations; the registry where left out.

    Raises
    ------
    InputError
        If a table or a column is missing.
    """
    write_text(output, report_html(read_study(study_dir, metrics)))


def report_html(study: Study) -> str:
    """The page for `study` as text."""
    made = [import_module(f"benchmarks.report.sections.{name}").section(study) for name in SECTIONS]
    sections: list[Section] = [item for item in made if item is not None]
    script = "\n".join(
        asset(name)
        for name in (
            "core.js",
            "charts.js",
            *dict.fromkeys(item.script for item in sections if item.script),
            "start.js",
        )
    )
    style = asset("report.css")
    data = {
        "shared": shared_data(study),
        "sections": {item.key: item.data for item in sections if item.data is not None},
    }
    return str(
        render(
            "page.html.j2",
            study=study,
            sections=sections,
            script=_safe(script),
            style=_safe(style),
            script_hash=_hash(script),
            style_hash=_hash(style),
            data=_safe(embedded_json(data)),
        )
    )


def _safe(text: str):
    """Mark our own text as needing no escape; refuse what would end the element it stands in."""
    from markupsafe import Markup

    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError("an asset holds the end tag of the element that it is put into")
    return Markup(text)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
