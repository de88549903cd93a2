"""scMVP (Li et al. 2022), Figure 3a to c: UMAPs of all models in the paper's three groups."""

from __future__ import annotations

import pandas as pd
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
from benchmarks.figures.style import PAGE, add_notes, headline, new_figure, short
from benchmarks.figures.values import dataset_names, missing_notes, variants
from benchmarks.report.study import Study

GROUPS = {
    "Paired only": ("scmvp", "seurat-wnn", "wnn"),
    "Single view": ("scvi", "rna-pca", "atac-lsi", "lda-atac", "peakvi", "protein-pca"),
    "Universal": ("multivi", "multivi-native", "cobolt", "mofa", "scai", "seurat-gene-activity", "liger"),
}
"""The paper's groups of models; a variant trained on one modality is a single view; others stand apart."""


def group_of(model: str, variant: str) -> str:
    """Group of a variant: one of :data:`GROUPS`, or ``Others``."""
    if variant.endswith(("-rna-only", "-atac-only")):
        return "Single view"
    return next((group for group, models in GROUPS.items() if model in models), "Others")


def grouped_variants(study: Study) -> pd.DataFrame:
    """Variants with their ``group``, in the order of the groups and of the models in each."""
    order = variants(study, [model for models in GROUPS.values() for model in models])
    order = order.assign(group=[group_of(model, variant) for model, variant in zip(order["model"], order["variant"])])
    names = (*GROUPS, "Others")
    return order.sort_values("group", key=lambda group: group.map(names.index), kind="stable", ignore_index=True)


def draw(study: Study) -> Figure:
    """One data set: UMAPs coloured by cell type, in rows by group."""
    columns = 6
    lines = [
        (name, part["label"].iloc[i : i + columns])
        for name, part in grouped_variants(study).groupby("group", sort=False)
        for i in range(0, len(part), columns)
    ]
    table = at_largest_size(layouts(study))
    types = label_colours(table, "cell_type")
    figure = new_figure(PAGE, 12 + 31 * len(lines))
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for number, (axes_row, (name, labels)) in enumerate(zip(grid, lines)):
        for axes in axes_row[len(labels) :]:
            axes.set_visible(False)
        for axes, label in zip(axes_row, labels):
            axes.set_title(short(label, 20))
            umap_panel(axes, table[table["label"] == label], "cell_type", types, why_no_umap(study, True, label=label))
            axes.set_xlabel("UMAP 1")
        again = number and lines[number - 1][0] == name
        axes_row[0].set_ylabel("UMAP 2" if again else f"{name}\nUMAP 2")
    headline(figure, dataset_names(study))
    if types:
        umap_legend(figure, types, "cell type")
    add_notes(figure, thinned_notes(table) + missing_notes(study, []))
    return figure
