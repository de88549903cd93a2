"""Brombacher et al. 2022, Figures 4 and 5: UMAPs at the smallest and the largest number of cells."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.scatter import label_colours, layouts, thinned_notes, umap_legend, umap_panel, why_no_umap
from benchmarks.figures.style import PAGE, add_notes, headline, new_figure, plain_number, short
from benchmarks.figures.values import dataset_names, missing_notes, variants
from benchmarks.report.study import Study

PAPER = ("cobolt", "scmm", "multivi", "multivi-native", "totalvi", "scmvp", "davae", "portal", "scalex")


def draw(study: Study) -> Figure:
    """One data set: a column a model, smallest number of cells on top, largest below, coloured by cell type."""
    order = variants(study, PAPER)
    columns = min(len(order), 6)
    blocks = -(-len(order) // columns)
    sizes = sorted(study.runs["n_cells"].unique())
    sizes = [sizes[0], sizes[-1]] if len(sizes) > 1 else sizes
    figure = new_figure(PAGE, 12 + 27 * len(sizes) * blocks)
    table = layouts(study)
    types = label_colours(table, "cell_type")
    grid = figure.subplots(len(sizes) * blocks, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_visible(False)
    for number, label in enumerate(order["label"]):
        for row, size in enumerate(sizes):
            axes = grid[number // columns * len(sizes) + row, number % columns]
            axes.set_visible(True)
            part = table[(table["label"] == label) & (table["n_cells"] == size)]
            umap_panel(axes, part, "cell_type", types, why_no_umap(study, label=label, n_cells=size))
            if row == 0:
                axes.set_title(short(label, 20))
            if number % columns == 0:
                axes.set_ylabel(f"{plain_number(size)} cells\nUMAP 2")
            if row == len(sizes) - 1:
                axes.set_xlabel("UMAP 1")
    headline(figure, dataset_names(study))
    if types:
        umap_legend(figure, types, "cell type")
    notes = missing_notes(study, [])
    if len(table):
        notes.append("Layouts are of one subsample; axes have no unit. Grey: no label.")
    add_notes(figure, notes + thinned_notes(table))
    return figure
