"""MultiVI (Ashuach et al. 2023), Supplementary Figures S5 and S6c: scores of joining sources, with and without batches."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, bars
from benchmarks.figures.panels import metric_panel
from benchmarks.figures.style import PAGE, add_notes, new_figure
from benchmarks.figures.values import axis_title, datasets, missing_notes, variants
from benchmarks.report.study import Study

METRICS = (
    "cross_modality_label_agreement", "label_knn_accuracy", "nmi_leiden", "asw_cell_type", "asw_batch", "ilisi", "kbet",
    "graph_connectivity", "modality_enrichment", "ilisi_modality",
)  # fmt: skip


def draw(study: Study) -> Figure:
    """Agreement of labels across modalities first, then conservation, batches and mixing; a group of bars a data set.

    The paper's table of labels by labels of neighbours is among the details of a score; its mean is drawn here.
    """
    order = variants(study, ("multivi", "multivi-native", "cobolt"))
    names = datasets(study)
    figure = new_figure(PAGE, 230)
    grid = figure.subplots(5, 2).ravel()
    for letter, axes, metric in zip("abcdefghij", grid, METRICS):
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
