"""Curves: one line a model through its means, with the point of every replicate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.figures.style import colour, legend_above, marker, plain_number
from benchmarks.figures.values import is_control

STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
"""Line styles of the variants of one model, in order."""


def line_styles(table: pd.DataFrame) -> dict[str, object]:
    """Line style of each label: variants of one model differ."""
    return {
        label: STYLES[number % len(STYLES)]
        for _, part in table.groupby("model", sort=False)
        for number, label in enumerate(part["label"])
    }


def curves(
    axes: Axes, table: pd.DataFrame, x: str, order: pd.DataFrame, styles: dict[str, object] | None = None
) -> None:
    """Draw ``value`` of `table` over column `x`, one line for each variant of `order` that has values."""
    styles = line_styles(order) if styles is None else styles
    for row in order.itertuples(index=False):
        part = table[table["label"] == row.label]
        if part.empty:
            continue
        means = part.groupby(x, sort=True)["value"].mean()
        ink = colour(row.model)
        width = 0.7 if is_control(row.model) else 1.1
        axes.plot(
            means.index, means.to_numpy(), color=ink, linestyle=styles[row.label], linewidth=width,
            marker=marker(row.model), markersize=3, label=row.label, zorder=3,
        )  # fmt: skip
        if len(part) > len(means):
            axes.scatter(part[x], part["value"], s=3, color=ink, alpha=0.45, linewidths=0, zorder=2)


def curve_legend(container, order: pd.DataFrame, columns: int, title: str | None = None):
    """A legend of variants above a figure, under its title (notes stand below)."""
    styles = line_styles(order)
    handles = [
        Line2D([], [], color=colour(row.model), linestyle=styles[row.label], marker=marker(row.model), markersize=3, linewidth=1.1)
        for row in order.itertuples(index=False)
    ]  # fmt: skip
    return legend_above(container, handles, order["label"], columns, title, handle_length=2.2)


def log_axis(axes: Axes, which: str, ticks=None) -> None:
    """Make an axis logarithmic with plain numbers; ticks at `ticks`, else at 1, 2 and 5 of each decade."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_minor_locator(NullLocator())
    if ticks is None:
        low, high = axis.get_view_interval()
        decades = np.log10(high / low) if low > 0 else 1.0
        subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    else:
        axis.set_ticks(list(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
