"""Brombacher et al. 2022, Figures 2 and 3: median scores by model and number of cells."""

from __future__ import annotations

from functools import partial
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, plain_number, short
from benchmarks.figures.tiles import tiles
from benchmarks.figures.values import datasets, missing_notes, sub_study, title, values, variants, why_empty
from benchmarks.report.study import Study

BIOLOGY = ("nmi_louvain", "asw_cell_type", "trajectory_conservation")
TECHNICAL = ("asw_site", "asw_batch", "graph_connectivity")


def draw(study: Study, metrics: Sequence[str]) -> Figure:
    """Tiles with the median over subsamples: a row of panels a data set, a panel a metric.

    Models stand in the order of their mean over the row (best on top, as in the paper), controls below. Colours of a
    metric span its medians over all data sets.
    """
    names = datasets(study)
    parts = {name: _medians(sub_study(study, [name]), metrics) for name in names}
    heights = [max(len(rows), 1) + 1.6 for _, rows, _ in parts.values()]
    figure = new_figure(PAGE, 14 + 4.6 * sum(heights))
    # No shared axis: a panel without values would take the models' names away from its whole row.
    grid = figure.subplots(len(names), len(metrics), squeeze=False, gridspec_kw={"height_ratios": heights})
    named: set[str] = set()
    for column, metric in enumerate(metrics):
        known = np.concatenate([medians[column].ravel() for medians, _, _ in parts.values()])
        known = known[np.isfinite(known)]
        limits = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        image = None
        for axes, (medians, rows, sizes), name in zip(grid[:, column], parts.values(), names):
            if not len(rows) or not np.isfinite(medians[column]).any():
                empty_panel(
                    axes, f"{title(study, metric, arrow=False)}: {why_empty(sub_study(study, [name]), metric)}", 34
                )
            else:
                image = tiles(axes, medians[column], rows, [plain_number(size) for size in sizes], limits=limits)
                if name in named:
                    axes.set_yticklabels([])
                named.add(name)
            if column == 0:
                axes.set_ylabel(short(name, 26), fontweight="bold")
        grid[0, column].set_title(title(study, metric))
        grid[-1, column].set_xlabel("cells")
        if image is not None:
            bar = figure.colorbar(image, ax=grid[:, column], location="bottom", aspect=30, fraction=0.03, pad=0.01)
            bar.set_label(f"{title(study, metric, arrow=False)}, median")
            bar.outline.set_visible(False)
    add_notes(figure, missing_notes(study, metrics))
    return figure


def _medians(part: Study, metrics: Sequence[str]) -> tuple[np.ndarray, list[str], list[float]]:
    """Medians (metrics x variants x sizes), labels from best to worst, sizes."""
    tables = [values(part, metric) for metric in metrics]
    sizes = sorted(part.runs["n_cells"].unique())
    order = variants(part)
    medians = np.full((len(metrics), len(order), len(sizes)), np.nan)
    for number, table in enumerate(tables):
        if len(table):
            wide = table.groupby(["label", "n_cells"])["value"].median().unstack()
            medians[number] = wide.reindex(index=order["label"], columns=sizes).to_numpy()
    known = np.isfinite(medians)
    mean = np.where(known, medians, 0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)
    mean = np.where(known.any(axis=(0, 2)), mean, -np.inf)
    place = sorted(range(len(order)), key=lambda i: (bool(order["control"].iloc[i]), -mean[i]))
    return medians[:, place], order["label"].iloc[place].tolist(), sizes


draw_biology = partial(draw, metrics=BIOLOGY)
draw_technical = partial(draw, metrics=TECHNICAL)
