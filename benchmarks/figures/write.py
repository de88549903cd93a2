"""Drawing a study's figures and writing them as PDF and PNG, the same bytes for the same tables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

from benchmarks.errors import InputError
from benchmarks.figures.registry import PaperFigure, figure, figures_of
from benchmarks.figures.style import RC
from benchmarks.figures.values import require_scores
from benchmarks.formats import atomic_path
from benchmarks.report.study import Study, read_study

METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
"""What would change from day to day or from machine to machine is left out of the files."""


def draw_parts(declared: PaperFigure, study: Study) -> dict[str, Figure]:
    """The figure of each part of `study`, in the shared style; parts in which nothing ran are left out.

    Raises
    ------
    InputError
        If nothing ran in any part.
    """
    require_scores(study)
    result = {}
    with matplotlib.rc_context(RC):
        for part, table in declared.split(study).items():
            if (table.runs["status"] == "ok").any():
                result[part] = declared.draw(table)
                _settle(result[part])
    if not result:
        raise InputError(f"study {study.name!r}: nothing ran in the data sets of Figure {declared.number}")
    return result


def _settle(drawn: Figure) -> None:
    """Lay a figure out for good: each drawing would move it a little on, and PDF and PNG would differ."""
    FigureCanvasAgg(drawn)
    for _ in range(2):
        drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    _round_places(drawn)


def _round_places(drawn: FigureBase) -> None:
    """Round the corners of all subfigures: the layout leaves noise around zero, and PDF knows 0 and -0."""
    for part in drawn.subfigs:
        box = part.bbox_relative
        box.p0, box.p1 = np.round(box.p0, 9) + 0.0, np.round(box.p1, 9) + 0.0
        _round_places(part)


def save(drawn: Figure, stem: str | os.PathLike) -> list[Path]:
    """Write `drawn` as ``<stem>.pdf`` and ``<stem>.png``; return the paths."""
    paths = []
    with matplotlib.rc_context(RC):
        for ending, metadata in METADATA.items():
            path = Path(f"{stem}.{ending}")
            # Closed here: when writing fails, matplotlib leaves a file open that it opened.
            with atomic_path(path) as temporary, open(temporary, "wb") as stream:
                drawn.savefig(stream, format=ending, metadata=metadata)
            paths.append(path)
    return paths


def write_figures(
    study_folder: str | os.PathLike,
    output: str | os.PathLike,
    names: Sequence[str] = (),
    skipped: list[str] | None = None,
) -> list[Path]:
    """Draw the figures of the study in `study_folder` (its tables as :func:`read_study` wants them).

    Parameters
    ----------
    names
        Figures to draw, from any study that has their metrics; by default those of the study's name.
    skipped
        Where given, a figure for which nothing ran is left out, and why is appended here, in place of an error.

    Returns
    -------
    list of pathlib.Path
        Files written: ``<output>/<figure>[.<part>].pdf`` and ``.png``.

    Raises
    ------
    InputError
        If tables are missing, nothing ran, or a name is unknown.
    """
    study = read_study(study_folder)
    if skipped is None:
        require_scores(study)
    chosen = [(name, figure(name)) for name in names] or [(name, figure(name)) for name in figures_of(study.name)]
    paths: list[Path] = []
    for name, declared in chosen:
        try:
            parts = draw_parts(declared, study)
        except InputError as error:
            if skipped is None:
                raise
            skipped.append(f"{name}: {error}")
            continue
        for part, drawn in parts.items():
            # A label of a data set becomes part of a file's name: nothing but letters that every file system takes.
            suffix = re.sub(r"[^A-Za-z0-9_+-]+", "-", part)[:80]
            stem = Path(output) / (f"{name}.{suffix}" if suffix else name)
            paths += save(drawn, stem)
    return paths
