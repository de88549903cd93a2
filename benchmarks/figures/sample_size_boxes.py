"""Brombacher et al. 2022, Supplementary Figures S1 and S2: how scores and time vary over the subsamples."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, hatches
from benchmarks.figures.curves import log_axis
from benchmarks.figures.panels import metric_panel
from benchmarks.figures.style import EMPTY, PAGE, add_notes, colour, new_figure, plain_number
from benchmarks.figures.values import axis_title, dataset_names, is_control, missing_notes, variants
from benchmarks.report.study import Study

METRICS = (
    "nmi_louvain", "asw_cell_type", "trajectory_conservation", "asw_batch", "asw_site", "graph_connectivity", "cpu_seconds",
)  # fmt: skip

FEWEST = 5
"""Replicates from which a box is drawn; below, only the points and a line at their median."""


def draw(study: Study) -> Figure:
    """One data set: a panel a metric, a group a number of cells, a box a model (quartiles; whiskers to the extremes)."""
    order = variants(study)
    sizes = sorted(study.runs["n_cells"].unique())
    figure = new_figure(PAGE, 195)
    grid = figure.subplots(4, 2).ravel()
    for letter, axes, metric in zip("abcdefg", grid, METRICS):
        table = metric_panel(axes, letter, study, metric)
        if metric == "cpu_seconds":
            # Controls take less than the clock's step, and a logarithmic axis has no zero.
            table = table[~table["model"].map(is_control)]
        if table.empty:
            continue
        _boxes(axes, table, order, sizes)
        axes.set_xlabel("cells")
        axes.set_ylabel(axis_title(study, metric))
        if metric == "cpu_seconds":
            log_axis(axes, "y")
    grid[7].set_visible(False)
    bar_legend(figure, order, 6, dataset_names(study))
    notes = [
        f"One point a subsample, training seeds averaged; a bar at the median, a box from {FEWEST} subsamples on. g: without controls."
    ]
    add_notes(figure, notes + missing_notes(study, METRICS))
    return figure


def _boxes(axes, table, order, sizes) -> None:
    width, styles = 0.86 / max(len(order), 1), hatches(order)
    for place, size in enumerate(sizes):
        if place % 2:
            axes.axvspan(place - 0.5, place + 0.5, color=EMPTY, linewidth=0, zorder=0)
        for number, row in enumerate(order.itertuples(index=False)):
            found = table.loc[(table["label"] == row.label) & (table["n_cells"] == size), "value"].to_numpy(dtype=float)
            if not len(found):
                continue
            x = place - 0.43 + (number + 0.5) * width
            ink = colour(row.model)
            if len(found) >= FEWEST:
                axes.boxplot(
                    [found], positions=[x], widths=width * 0.8, whis=(0, 100), manage_ticks=False, patch_artist=True,
                    boxprops={"facecolor": to_rgba(ink, 0.45), "edgecolor": ink, "hatch": styles[row.label], "linewidth": 0.4}, medianprops={"color": "black", "linewidth": 0.8},
                    whiskerprops={"color": ink, "linewidth": 0.5}, capprops={"color": ink, "linewidth": 0.5},
                )  # fmt: skip
            else:
                axes.hlines(np.median(found), x - width * 0.4, x + width * 0.4, color=ink, linewidth=1.0, zorder=2)
            jitter = np.linspace(-0.25, 0.25, len(found)) * width if len(found) > 1 else np.zeros(1)
            axes.plot(x + jitter, found, ".", color="black", markersize=1.8, markeredgewidth=0, zorder=3, gid="points")
    axes.set_xticks(range(len(sizes)), [plain_number(size) for size in sizes])
    axes.set_xlim(-0.5, len(sizes) - 0.5)
