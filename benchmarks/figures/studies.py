"""MultiVI (Ashuach et al. 2023), Figures 3 and S4: sources that measure different things, in one embedding."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.scatter import (
    at_largest_size,
    label_colours,
    layouts,
    thinned_notes,
    umap_legend,
    umap_panel,
    why_no_umap,
)
from benchmarks.figures.style import PAGE, add_notes, headline, new_figure, panel_letter, short
from benchmarks.figures.values import dataset_names, missing_notes, variants
from benchmarks.report.study import Study

PANELS = (
    ("a", "modalities", "group", None),
    ("b", "cell type", "cell_type", None),
    ("c", "ATAC only, by batch", "batch", "atac"),
    ("d", "RNA only, by batch", "batch", "rna"),
)
"""Letter, title, label that colours, and the group of observations that is drawn (``None``: all)."""

ORDER = ("multivi", "multivi-native", "cobolt")


def draw(study: Study) -> Figure:
    """One data set: a row a model, columns are the paper's panels a (modality), b (cell type), c and d (batches)."""
    order = variants(study, ORDER)
    table = at_largest_size(layouts(study))
    colours = {column: label_colours(table, column) for _, _, column, _ in PANELS}
    figure = new_figure(PAGE, 12 + 35 * len(order))
    grid = figure.subplots(len(order), len(PANELS), squeeze=False)
    for number, (row, label) in enumerate(zip(grid, order["label"])):
        whole = table[table["label"] == label]
        for axes, (letter, heading, column, group) in zip(row, PANELS):
            part = whole[whole["group"] == group] if group else whole
            if number == 0:
                panel_letter(axes, letter)
                axes.set_title(heading)
            if number == len(grid) - 1:
                axes.set_xlabel("UMAP 1")
            absent = f"no {group.upper()}-only cells" if group and len(whole) else why_no_umap(study, True, label=label)
            umap_panel(axes, part, column, colours[column], absent)
            if group and len(part):
                axes.set_xlim(*_span(whole["x"]))
                axes.set_ylim(*_span(whole["y"]))
        row[0].set_ylabel(f"{short(label, 20)}\nUMAP 2")
    headline(figure, dataset_names(study))
    for place, (column, heading) in zip(
        ("outside right upper", "outside right center", "outside right lower"),
        (("group", "modalities"), ("cell_type", "cell type"), ("batch", "batch")),
    ):
        if colours[column]:
            umap_legend(figure, colours[column], heading, location=place)
    add_notes(figure, thinned_notes(table) + missing_notes(study, []))
    return figure


def _span(values) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin
