"""MultiVI (Ashuach et al. 2023), Figures 6 and S9: three modalities, in all cells, in none, in every combination."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from benchmarks.errors import InputError
from benchmarks.figures.scatter import (
    at_largest_size,
    label_colours,
    layouts,
    thinned_notes,
    umap_legend,
    umap_panel,
    why_no_umap,
)
from benchmarks.figures.style import PAGE, add_notes, new_figure, panel_letter, short
from benchmarks.figures.tiles import score_tiles
from benchmarks.figures.values import datasets, missing_notes, sub_study, variants
from benchmarks.report.study import Study

DESIGNS = ("complete", "pairs", "every_combination")
"""How the labels of the study's data sets end: a-d, e, f."""

METHODS = (("a", ("mofa",)), ("b", ("seurat-wnn", "wnn")), ("c", ("multivi", "multivi-native")))
ORDER = ("mofa", "seurat-wnn", "wnn", "multivi", "multivi-native", "pca")
METRICS = (
    "nmi_leiden", "ari_leiden", "asw_cell_type", "clisi", "asw_batch", "ilisi", "kbet", "graph_connectivity",
    "modality_enrichment", "ilisi_modality",
)  # fmt: skip
COLUMNS = (("group", "modalities"), ("batch", "batch"), ("cell_type", "cell type"))
"""Columns of UMAPs in e and f, as in the paper: label and heading. a-c have the batch (the paper's replicate) first and the condition
second; where cells have no condition their modalities, which are all alike there, keep its place."""

CONDITION = ("condition", "condition")


def split(study: Study) -> dict[str, Study]:
    """The study by families of data sets (``dogma_complete``, ``dogma_pairs``, ...: ``dogma``).

    Raises
    ------
    InputError
        If no data set's label ends as one of :data:`DESIGNS`.
    """
    families: dict[str, list[str]] = {}
    for name in datasets(study):
        found = re.fullmatch(rf"(?:(.*)_)?({'|'.join(DESIGNS)})", name)
        if found:
            families.setdefault(found.group(1) or "", []).append(name)
    if not families:
        raise InputError(
            f"study {study.name!r}: no data set's label ends in {', '.join(DESIGNS)}; give the study's data sets such labels"
        )
    return {family: sub_study(study, names) for family, names in families.items()}


def draw(study: Study) -> Figure:
    """One family of data sets: a-c UMAPs of MOFA+, WNN and MultiVI; d scores; e, f MultiVI on incomplete cells."""
    named = {design: name for name in datasets(study) for design in DESIGNS if re.search(rf"(^|_){design}$", name)}
    order = variants(study, ORDER)
    table = at_largest_size(layouts(study))
    colours = {column: label_colours(table, column) for column, _ in (*COLUMNS, CONDITION)}
    rows = [(letter, models, "complete") for letter, models in METHODS]
    rows += [(letter, METHODS[2][1], design) for letter, design in (("e", "pairs"), ("f", "every_combination"))]
    tall = 34 + 3.2 * len(order) * len(named)
    figure = new_figure(PAGE, 152 + tall)
    upper, middle, lower = figure.subfigures(3, 1, height_ratios=(86, tall, 66))
    columns = (COLUMNS[1], CONDITION if colours["condition"] else COLUMNS[0], COLUMNS[2])
    _umaps(upper, study, rows[:3], named, colours, columns)
    parts = [(short(named[design]), {"dataset": named[design]}) for design in DESIGNS if design in named]
    score_tiles(middle, "d", study, order["label"], METRICS, parts, aspect=30)[-1].set_xlabel("metric")
    _umaps(lower, study, rows[3:], named, colours, COLUMNS)
    notes = [
        "a-c: all modalities in every cell; d: medians over replicates; e: two of three modalities; f: every combination."
    ]
    shown = table[table["dataset"].isin(named.values()) & table["variant"].isin(_drawn(study))]
    add_notes(lower, notes + thinned_notes(shown) + missing_notes(study, METRICS))
    return figure


def _umaps(
    figure, study: Study, rows: list, named: dict[str, str], colours: dict[str, dict[str, str]], columns: tuple
) -> None:
    """A row of panels a (letter, models, design), the first of the models that the study has."""
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    known, table = set(study.variants["model"]), at_largest_size(layouts(study))
    for number, (panels, (letter, models, design)) in enumerate(zip(grid, rows)):
        model = _first(models, known)
        part = table[(table["variant"] == model) & (table["dataset"] == named.get(design))]
        panel_letter(panels[0], letter)
        for axes, (column, heading) in zip(panels, columns):
            if number == 0:
                axes.set_title(heading)
            if number == len(rows) - 1:
                axes.set_xlabel("UMAP 1")
            umap_panel(axes, part, column, colours[column], _why(study, model, named.get(design), design, known))
        panels[0].set_ylabel(f"{short(model, 18)}\n{design.replace('_', ' ')}\nUMAP 2")
    if columns == COLUMNS:
        shown = ((COLUMNS[0], "upper"),)
    else:
        shown = ((columns[0], "upper"), (columns[2], "lower"))
        if CONDITION in columns:
            shown = ((CONDITION, "center"), *shown)
    for (column, heading), place in shown:
        if colours[column]:
            umap_legend(figure, colours[column], heading, location=f"outside right {place}")


def _first(models: tuple[str, ...], known: set[str]) -> str:
    """The first of `models` that the study has."""
    return next((model for model in models if model in known), models[0])


def _drawn(study: Study) -> list[str]:
    """Models whose UMAPs are drawn."""
    known = set(study.variants["model"])
    return [_first(models, known) for _, models in METHODS]


def _why(study: Study, model: str, dataset: str | None, design: str, known: set[str]) -> str:
    if model not in known:
        return f"{model} is not part of this study"
    if dataset is None:
        return f"no data set {design.replace('_', ' ')} in this study"
    return why_no_umap(study, True, variant=model, dataset=dataset)
