"""UMAP panels: one embedding's points, coloured by a label."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.errors import one_line
from benchmarks.figures.style import categories, empty_panel, plain_number, short
from benchmarks.report.study import Study
from benchmarks.umaps import COLUMNS

GROUP_COLOURS = {
    "paired": "#332288",
    "rna": "#CC6677",
    "atac": "#44AA99",
    "protein": "#DDCC77",
    "rna+atac": "#882255",
    "atac+protein": "#117733",
    "rna+protein": "#E69F00",
}
"""Colour of each group of modalities."""

MISSING = "#C8C8C8"
"""Colour of an observation without the label."""

MAX_LEGEND = 24
"""Entries of a legend; beyond, it says how many more there are."""

NO_UMAP = "not in the table of UMAPs"
"""What a panel says whose embedding was not laid out."""


def umap_panel(axes: Axes, table: pd.DataFrame, column: str, colours: dict[str, str], absent: str = NO_UMAP) -> None:
    """Draw the points of one embedding (``x``, ``y``), coloured by `column`; a square that says `absent` without points.

    Points come in an order at random (fixed), so that no label lies on top of all others.
    """
    if table.empty:
        empty_panel(axes, absent, 18)
        axes.set_box_aspect(1)
        return
    order = np.random.default_rng(0).permutation(len(table))
    part = table.iloc[order]
    inks = [colours.get(value, MISSING) if isinstance(value, str) else MISSING for value in part[column]]
    size = float(np.clip(900 / max(len(part), 1), 0.6, 4.0))
    axes.scatter(part["x"], part["y"], s=size, c=inks, linewidths=0, rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.set_box_aspect(1)
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#BBBBBB", linewidth=0.5)


def umap_legend(
    container, colours: dict[str, str], title: str, columns: int = 1, location: str = "outside right upper"
):
    """A legend of labels for a figure (or subfigure)."""
    names = list(colours)
    shown = names[:MAX_LEGEND]
    handles = [Line2D([], [], linestyle="", marker="o", markersize=3, color=colours[name]) for name in shown]
    labels = [short(name, 24) for name in shown]
    if len(names) > len(shown):
        handles.append(Line2D([], [], linestyle=""))
        labels.append(f"and {len(names) - len(shown)} more")
    return container.legend(
        handles, labels, title=title, title_fontsize=6, loc=location, ncols=columns, handletextpad=0.2, columnspacing=0.8,
        labelspacing=0.25, borderaxespad=0.2, alignment="left",
    )  # fmt: skip


def why_no_umap(study: Study, largest: bool = False, **where) -> str:
    """What a panel without points says: how the runs with these keys ended where none succeeded, else :data:`NO_UMAP`.

    Of each design one replicate and seed is laid out: where others of these runs were, those of the same design and
    seed alone are asked, so that a model which failed there and not elsewhere is said to have failed.

    Parameters
    ----------
    largest
        Only runs at their data set's largest number of cells (:func:`at_largest_size`).
    **where
        Only runs with this in a column: ``label="scmm"``, ``n_cells=500``.
    """
    runs = study.runs.assign(label=study.labels(study.runs))
    if largest:
        sizes = runs[runs["status"] == "ok"].groupby("dataset")["n_cells"].max()
        runs = runs[runs["n_cells"] == runs["dataset"].map(sizes)]
    for key, value in where.items():
        runs = runs[runs[key] == value]
    keys = [key for key in ("dataset", "design", "seed") if key in study.umaps]
    if keys:
        laid_out = runs.merge(study.umaps[keys].drop_duplicates(), on=keys)
        runs = laid_out if len(laid_out) else runs
    if runs.empty or (runs["status"] == "ok").any():
        return NO_UMAP
    how = " or ".join(dict.fromkeys(runs["status"])).replace("_", " ")
    reason = textwrap.shorten(one_line(next((text for text in runs["reason"] if text), "")), 60, placeholder=" …")
    return f"{how}: {reason}" if reason else how


def layouts(study: Study) -> pd.DataFrame:
    """A study's table of UMAPs with the ``label`` of each variant; without rows where there is none."""
    if study.umaps.empty:
        return pd.DataFrame(columns=[*COLUMNS, "label"])
    return study.umaps.assign(label=study.labels(study.umaps))


def thinned_notes(table: pd.DataFrame) -> list[str]:
    """A note on how many observations the UMAPs of `table` show, where these are not all; none where they are."""
    if table.empty or "n_observations" not in table:
        return []
    keys = ["dataset", "design", "model", "variant"]
    counts = table.groupby(keys)["n_observations"].agg(["size", "max"])
    pairs = counts[counts["size"] < counts["max"]].drop_duplicates().sort_values(["max", "size"])
    shown = ", ".join(f"{plain_number(n)} of {plain_number(total)}" for n, total in pairs.itertuples(index=False))
    return [f"UMAPs show {shown} observations, drawn at random."] if shown else []


def at_largest_size(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table of UMAPs at each data set's largest number of cells."""
    return table[table["n_cells"] == table.groupby("dataset")["n_cells"].transform("max")] if len(table) else table


def label_colours(table: pd.DataFrame, column: str) -> dict[str, str]:
    """Colour of each label that occurs in a column of a table of UMAPs, sorted; none where it lacks the column."""
    names = sorted({value for value in table[column] if isinstance(value, str)}) if column in table else []
    return {name: GROUP_COLOURS.get(name, "#999999") for name in names} if column == "group" else categories(names)
