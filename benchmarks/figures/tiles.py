"""Tiles: a matrix of medians, each written in its tile."""

from __future__ import annotations

from typing import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmarks.figures.style import ABSENT, short

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
            text = f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
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
