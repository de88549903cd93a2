"""Tiles: a matrix of medians, each written in its tile."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmarks.figures.style import ABSENT, empty_panel, panel_letter, short
from benchmarks.figures.values import title, values
from benchmarks.report.study import Study
from benchmarks.statistics.keys import declaration
from benchmarks.statistics.scaling import scale_by_declaration

MAP = "cividis"
"""Colour map: even in lightness, the same with any colour vision."""


def tiles(
    axes: Axes,
    medians: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    shades: np.ndarray | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    digits: int = 2,
):
    """Draw `medians` (rows x columns; NaN is an empty tile with a dash) and return the image.

    Parameters
    ----------
    shades
        What is coloured, if not the medians; same shape.
    limits
        Values at the ends of the colour map.
    """
    shades = medians if shades is None else shades
    image = axes.imshow(
        np.ma.masked_invalid(shades), cmap=MAP, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest"
    )
    axes.set_facecolor(ABSENT)
    span = (limits[1] - limits[0]) or 1.0
    for (i, j), value in np.ndenumerate(medians):
        text, ink = "–", "#777777"
        if np.isfinite(value):
            text = f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"  # no -0.00
            red, green, blue, _ = colormaps[MAP](np.clip((shades[i, j] - limits[0]) / span, 0, 1))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 and np.isfinite(shades[i, j])
            ink = "white" if dark else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=5.5, color=ink)
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=0.8))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [short(row, 26) for row in rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def score_tiles(
    container,
    letter: str,
    study: Study,
    labels: pd.Series,
    metrics: Sequence[str],
    parts: Sequence[tuple[str, Mapping[str, Any]]],
    aspect: float,
) -> np.ndarray:
    """A panel of medians (variants x metrics) for each part of a study, one below the other, scaled by declaration.

    Parameters
    ----------
    letter
        Of the uppermost panel.
    labels
        Labels of the variants, top to bottom.
    parts
        Title of each panel, and what its values have in common (``where`` of :func:`values`).
    aspect
        Height of the colour bar over its width.

    Returns
    -------
    numpy.ndarray
        The panels, top to bottom.
    """
    grid = container.subplots(len(parts), 1, squeeze=False, sharex=True)[:, 0]
    panel_letter(grid[0], letter)
    image = None
    for axes, (heading, where) in zip(grid, parts):
        medians, shades = _medians(study, labels, metrics, where)
        axes.set_title(heading, loc="left")
        if not np.isfinite(medians).any():
            empty_panel(axes, "no value")
            continue
        image = tiles(axes, medians, _rows(labels.tolist()), [_heading(study, metric) for metric in metrics], shades)
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    if image is not None:
        bar = container.colorbar(image, ax=list(grid), location="right", aspect=aspect, fraction=0.02, pad=0.01)
        bar.set_label("scaled: 0 worst, 1 best")
        bar.outline.set_visible(False)
    return grid


def _rows(labels: Sequence[str]) -> list[str]:
    """Labels as they stand beside the tiles: what only adds to another row's label leaves that out."""
    shown = []
    for label in labels:
        bases = [base for base in labels if label.startswith(f"{base}-")]
        shown.append(f"… {label[len(min(bases, key=len)) + 1 :]}" if bases else label)
    return shown


def _medians(study: Study, labels: pd.Series, metrics: Sequence[str], where) -> tuple[np.ndarray, np.ndarray]:
    """Medians (variants x metrics), and the same scaled to 0 (worst) to 1 (best)."""
    medians = np.full((len(labels), len(metrics)), np.nan)
    shades = medians.copy()
    for column, metric in enumerate(metrics):
        part = values(study, metric, **where)
        if part.empty:
            continue
        medians[:, column] = part.groupby("label")["value"].median().reindex(labels).to_numpy()
        declared = declaration(study.metrics, metric)
        if declared is not None:
            shades[:, column] = scale_by_declaration(declared, medians[:, column])
    return medians, shades


def _heading(study: Study, metric: str) -> str:
    return title(study, metric).replace("Neighbour rank distance", "Rank distance").replace(" (embedding)", "")
