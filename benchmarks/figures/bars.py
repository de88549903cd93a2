"""Bars: means over runs with their standard error and the point of every run, grouped by data set."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchmarks.figures.style import colour, legend_above, short
from benchmarks.figures.values import is_control

HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\")
"""Hatches of variants and models that share a colour, in order."""


def hatches(order: pd.DataFrame) -> dict[str, str]:
    """Hatch of each label: those that share a colour differ."""
    inks = order["model"].map(colour)
    return {
        label: HATCHES[number % len(HATCHES)]
        for _, part in order.groupby(inks, sort=False)
        for number, label in enumerate(part["label"])
    }


def bars(axes: Axes, table: pd.DataFrame, groups: Sequence[str], order: pd.DataFrame) -> None:
    """Draw ``value`` of `table`: a group of bars a data set, a bar a variant of `order`; a cross where there is none."""
    styles = hatches(order)
    width = 0.84 / max(len(order), 1)
    for number, row in enumerate(order.itertuples(index=False)):
        for place, group in enumerate(groups):
            x = place - 0.42 + (number + 0.5) * width
            found = table.loc[(table["label"] == row.label) & (table["dataset"] == group), "value"].to_numpy(
                dtype=float
            )
            if not len(found):
                axes.plot([x], [0.02], marker="x", markersize=2.2, markeredgewidth=0.6, color="#888888", linestyle="",
                          transform=axes.get_xaxis_transform(), clip_on=False, gid="absent")  # fmt: skip
                continue
            axes.bar(
                x, found.mean(), width * 0.92, color=colour(row.model), hatch=styles[row.label], edgecolor="white",
                linewidth=0.3, alpha=0.6 if is_control(row.model) else 1.0, label=row.label,
            )  # fmt: skip
            if len(found) > 1:
                error = found.std(ddof=1) / np.sqrt(len(found))
                axes.errorbar(x, found.mean(), error, color="black", linewidth=0.6, capsize=1.0, capthick=0.6)
                jitter = np.linspace(-0.18, 0.18, len(found)) * width
                axes.plot(x + jitter, found, ".", color="black", markersize=1.8, markeredgewidth=0, gid="points")
    axes.set_xticks(range(len(groups)), [short(group, 22) for group in groups])
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.axhline(0, color="black", linewidth=0.5)


def bar_legend(container, order: pd.DataFrame, columns: int, title: str | None = None):
    """A legend of the bars above a figure, under its title (notes stand below)."""
    styles = hatches(order)
    handles = [
        Patch(facecolor=colour(row.model), hatch=styles[row.label], edgecolor="white", linewidth=0.3,
              alpha=0.6 if is_control(row.model) else 1.0)
        for row in order.itertuples(index=False)
    ]  # fmt: skip
    return legend_above(container, handles, order["label"], columns, title, handle_length=1.4)
