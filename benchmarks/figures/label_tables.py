"""Heat maps of labels by labels: which labels the neighbours in other modalities have."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.figures.style import ABSENT, MM, empty_panel, panel_letter, short
from benchmarks.figures.tiles import MAP
from benchmarks.figures.values import sub_study, why_empty
from benchmarks.label_agreement import METRIC
from benchmarks.report.study import Study

COLUMNS = 5
"""Most heat maps side by side."""

NAMED = 12
"""Most labels that are written beside a heat map; more of them are numbered, with a legend."""

KEYS = 5
"""Columns of the legend of numbers."""

TICK = 3.2
"""Room of a number beside a heat map, mm: where the labels are closer, not every one is numbered."""

_MARGIN = 30.0
"""Width of axis labels and colour bar, mm."""


def tables_of(study: Study) -> pd.DataFrame:
    """The study's table of labels by labels, with the ``label_of_run`` of each variant; empty where it has none."""
    table = study.label_agreement
    return table.assign(label_of_run=study.labels(table)) if len(table) else pd.DataFrame()


def side(n_models: int, width: float) -> float:
    """Side of one heat map, mm, in a container `width` mm wide."""
    return (width - _MARGIN) / max(min(n_models, COLUMNS), 2)


def height(n_models: int, n_labels: int, width: float) -> float:
    """Height of the heat maps of one data set, mm."""
    names = 15.0 if n_labels <= NAMED else 10.0 + 2.6 * math.ceil(n_labels / KEYS)
    lines = math.ceil(n_models / COLUMNS)
    return lines * (side(n_models, width) + 8) + names


def labels_of(table: pd.DataFrame) -> list[str]:
    """Labels of observations or of neighbours that occur in a table, sorted."""
    found = table[table["share"] > 0]
    return sorted({*found["label"], *found["neighbour_label"]})


def label_tables(container, letter: str, study: Study, dataset: str, order: pd.DataFrame) -> None:
    """Draw one data set's heat maps, one a variant of `order`: rows are labels, columns the labels of neighbours.

    Parameters
    ----------
    container
        Subfigure that they fill.
    letter
        Of the first panel.
    order
        Variants (:func:`benchmarks.figures.values.variants`).
    """
    table = tables_of(study)
    table = table[table["dataset"] == dataset]
    names = labels_of(table)
    columns = min(len(order), COLUMNS)
    grid = container.subplots(-(-len(order) // columns), columns, squeeze=False)
    width = container.bbox.width / container.dpi / MM
    image = None
    for number, axes in enumerate(grid.ravel()):
        if number >= len(order):
            axes.set_visible(False)
            continue
        label = order["label"].iloc[number]
        part = table[table["label_of_run"] == label]
        axes.set_title(short(label, 24))
        axes.set_box_aspect(1)
        if part.empty:
            empty_panel(axes, _why(study, dataset, label), 20)
        else:
            image = _heat_map(axes, part, names, side(len(order), width), number % columns == 0)
        if number % columns == 0:
            axes.set_ylabel("label of the observation")
        axes.set_xlabel("label of its neighbours")
    panel_letter(grid[0, 0], letter)
    container.suptitle(short(dataset), fontsize=7, fontweight="bold", x=0.01, ha="left")
    if image is not None:
        bar = container.colorbar(image, ax=grid.ravel().tolist(), location="right", fraction=0.03, pad=0.01, aspect=25)
        bar.set_label("share of neighbours")
        bar.outline.set_visible(False)
    if len(names) > NAMED:
        container.legend(
            [Line2D([], [], linestyle="") for _ in names],
            [f"{place} {short(name, 24)}" for place, name in enumerate(names, 1)], loc="outside lower left", ncols=KEYS,
            fontsize=5.5, handlelength=0, handletextpad=0, columnspacing=1.5, labelspacing=0.3, borderaxespad=0.2,
        )  # fmt: skip


def _heat_map(axes: Axes, part: pd.DataFrame, names: list[str], size: float, named: bool):
    """Draw one heat map, `size` mm wide, in the colours of shares from 0 to 1; return the image."""
    shares = part.pivot(index="label", columns="neighbour_label", values="share").reindex(index=names, columns=names)
    shares = shares.to_numpy(dtype=float)
    # Of a label that has rows, what is not there is a share of nothing; labels without rows stay empty.
    shares = np.where(np.isnan(shares) & np.isfinite(shares).any(axis=1, keepdims=True), 0.0, shares)
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=MAP, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_facecolor(ABSENT)
    places = range(0, len(names), max(1, math.ceil(TICK * len(names) / size)))
    texts = [str(place + 1) for place in places]
    if len(names) <= NAMED:
        places, texts = range(len(names)), [short(name, 16) for name in names]
    axes.set_xticks(places, texts, rotation=90 if len(names) <= NAMED else 0, fontsize=5.5)
    axes.set_yticks(places, texts if named else [], fontsize=5.5) if named else axes.set_yticks([])
    axes.tick_params(length=0 if len(names) <= NAMED else 1.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _why(study: Study, dataset: str, label: str) -> str:
    """Why a model has no heat map."""
    part = sub_study(study, [dataset])
    scores, runs = (table[np.asarray(study.labels(table), dtype=object) == label] for table in (part.scores, part.runs))
    return why_empty(Study(scores, runs, metrics=study.metrics), METRIC)
