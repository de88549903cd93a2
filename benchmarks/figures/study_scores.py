"""MultiVI (Ashuach et al. 2023), Supplementary Figures S5 and S6c: scores of joining sources, with and without batches."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, bars
from benchmarks.figures.label_tables import height, label_tables, labels_of, tables_of
from benchmarks.figures.panels import metric_panel
from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, panel_letter
from benchmarks.figures.values import axis_title, datasets, missing_notes, variants
from benchmarks.report.study import Study

METRICS = (
    "cross_modality_label_agreement", "label_knn_accuracy", "nmi_leiden", "asw_cell_type", "asw_batch", "ilisi", "kbet",
    "graph_connectivity", "modality_enrichment", "ilisi_modality",
)  # fmt: skip

ORDER = ("multivi", "multivi-native", "cobolt")
NOTES = 12.0
"""Room of the notes below the heat maps, mm."""


def draw(study: Study) -> Figure:
    """a to j: bars of agreement of labels across modalities, then conservation, batches and mixing; a group is a data set."""
    order = variants(study, ORDER)
    names = datasets(study)
    figure = new_figure(PAGE, 230)
    for letter, axes, metric in zip("abcdefghij", figure.subplots(5, 2).ravel(), METRICS):
        table = metric_panel(axes, letter, study, metric, per="run")
        if table.empty:
            continue
        bars(axes, table, names, order)
        axes.set_ylabel(axis_title(study, metric))
        axes.set_xlabel("data set")
        axes.tick_params(axis="x", rotation=12)
        if metric == "modality_enrichment":
            axes.axhline(1, color="#888888", linewidth=0.5, linestyle=(0, (2, 2)))
    bar_legend(figure, order, 6)
    notes = ["Bars: mean ± standard error over runs; points: runs; ×: no value. Dotted line: perfect mixing."]
    add_notes(figure, notes + missing_notes(study, METRICS))
    return figure


def draw_labels(study: Study) -> Figure:
    """S5d of one data set: labels by labels of neighbours of another modality, a heat map a model.

    Without a table of them (:mod:`benchmarks.label_agreement`) one empty panel says so.
    """
    order = variants(study, ORDER)
    models = order[~order["control"]].reset_index(drop=True)
    table, name = tables_of(study), datasets(study)[0]
    if table.empty or models.empty:
        figure = new_figure(PAGE, 40)
        axes = figure.subplots()
        panel_letter(axes, "d")
        axes.set_xlabel("label of its neighbours")
        empty_panel(axes, f"not measured: no table of labels by labels of neighbours in this study ({METRICS[0]})", 60)
        return figure
    tall = height(len(models), len(labels_of(table)), PAGE)
    figure = new_figure(PAGE, tall + NOTES)
    upper, lower = figure.subfigures(2, 1, height_ratios=(tall, NOTES))
    label_tables(upper, "d", study, name, models)
    add_notes(
        lower,
        [
            "Labels of the 50 nearest cells of another modality, as shares of the row; one run a model, the first replicate and "
            "training seed with an agreement; rows without an observation are grey."
        ],
    )
    return figure
