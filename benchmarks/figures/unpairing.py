"""MultiVI (Ashuach et al. 2023), Figure 2: what unpairing cells does to mixing and to the halves of a cell."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.curves import curve_legend, curves
from benchmarks.figures.panels import metric_panel
from benchmarks.figures.scatter import label_colours, layouts, thinned_notes, umap_legend, umap_panel, why_no_umap
from benchmarks.figures.style import (
    PAGE,
    add_notes,
    empty_panel,
    headline,
    new_figure,
    panel_letter,
    plain_number,
    short,
)
from benchmarks.figures.values import dataset_names, missing_notes, variants
from benchmarks.report.study import Study

UMAP_MODELS = (("a", ("multivi", "multivi-native")), ("b", ("cobolt",)), ("c", ("seurat-imputed",)))
"""Letters of the panels and the models that may stand there, the first one found."""

ORDER = ("multivi", "multivi-native", "cobolt", "seurat-gene-activity", "seurat-imputed", "seurat-wnn")
MOST_FRACTIONS = 5


def draw(study: Study) -> Figure:
    """One data set, at its largest size: a-c UMAPs by rate of unpaired cells, d modality enrichment, e rank distance."""
    size = study.runs["n_cells"].max()
    order = variants(study, ORDER)
    figure = new_figure(PAGE, 178)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.75, 1))
    shown = _umaps(upper, study, size)
    panels = lower.subplots(1, 2)
    for letter, axes, metric in zip("de", panels, ("modality_enrichment", "rank_distance")):
        table = metric_panel(axes, letter, study, metric, n_cells=size)
        if table.empty:
            continue
        curves(axes, table.assign(percent=table["unpaired_fraction"] * 100), "percent", order)
        axes.set_xlabel("unpaired cells (%)")
        axes.set_xlim(-2, 102)
        if metric == "modality_enrichment":
            axes.set_ylabel("same-modality neighbours,\nobserved / expected")
            axes.axhline(1, color="#888888", linewidth=0.5, linestyle=(0, (2, 2)), zorder=1)
        else:
            axes.set_ylabel("distance of a cell's halves\n(number of observations)")
            axes.set_ylim(bottom=0)
    curve_legend(lower, order, 5)
    headline(figure, f"{dataset_names(study)}, {plain_number(size)} cells")
    notes = ["d, e: lines through means, small points are replicates; dotted line: perfect mixing."]
    add_notes(lower, notes + thinned_notes(shown) + missing_notes(study, ("modality_enrichment", "rank_distance")))
    return figure


def _umaps(figure, study: Study, size: float) -> pd.DataFrame:
    """Draw the UMAPs; return the rows that they show."""
    table = layouts(study)
    table = table[(table["n_cells"] == size) & (table["unpaired_fraction"] > 0)]
    fractions = sorted(table["unpaired_fraction"].unique())
    if len(fractions) > MOST_FRACTIONS:
        step = (len(fractions) - 1) / (MOST_FRACTIONS - 1)
        fractions = [fractions[round(i * step)] for i in range(MOST_FRACTIONS)]
    groups = label_colours(table, "group")
    grid = figure.subplots(3, max(len(fractions), 1), squeeze=False)
    known = set(study.variants["model"])
    drawn = [table.iloc[:0]]
    for number, ((letter, models), row) in enumerate(zip(UMAP_MODELS, grid)):
        model = next((model for model in models if model in known), models[0])
        panel_letter(row[0], letter)
        for axes, fraction in zip(row, fractions or [None]):
            part = table[(table["variant"] == model) & (table["unpaired_fraction"] == fraction)]
            absent = f"{model} is not part of this study"
            if model in known:
                drawn_of = {"n_cells": size, **({"unpaired_fraction": fraction} if fractions else {})}
                absent = why_no_umap(study, variant=model, **drawn_of)
            if fractions:
                umap_panel(axes, part, "group", groups, absent)
                drawn.append(part)
            else:
                empty_panel(axes, absent)
            if fraction is not None and number == 0:
                axes.set_title(f"{fraction:.0%} unpaired")
            if number == len(grid) - 1:
                axes.set_xlabel("UMAP 1")
        row[0].set_ylabel(f"{short(model, 20)}\nUMAP 2")
    if groups:
        umap_legend(figure, groups, "modalities")
    return pd.concat(drawn)
