"""MultiVI (Ashuach et al. 2023), Supplementary Figures S5 and S6c: scores of joining sources, with and without batches."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, bars
from benchmarks.figures.label_tables import height, label_tables, labels_of, tables_of
from benchmarks.figures.panels import metric_panel
from benchmarks.figures.style import PAGE, add_notes, new_figure
from benchmarks.figures.values import axis_title, datasets, has_metric, missing_notes, variants
from benchmarks.report.study import Study

METRICS = (
    "cross_modality_label_agreement", "label_knn_accuracy", "nmi_leiden", "asw_cell_type", "asw_batch", "ilisi", "kbet",
    "graph_connectivity", "modality_enrichment", "ilisi_modality",
)  # fmt: skip


def draw(study: Study) -> Figure:
    """a to j: bars of agreement of labels across modalities, then conservation, batches and mixing; k: labels by labels.

    A group of bars is a data set. k has the paper's S5d for each model and data set with a table of it; without such a
    table (:mod:`benchmarks.label_agreement`) it is left out, and a note says so.
    """
    order = variants(study, ("multivi", "multivi-native", "cobolt"))
    models = order[~order["control"]].reset_index(drop=True)
    names = datasets(study)
    tables = tables_of(study)
    tabled = [name for name in names if len(tables) and len(models) and (tables["dataset"] == name).any()]
    heights = [height(len(models), len(labels_of(tables[tables["dataset"] == name])), PAGE) for name in tabled]
    figure = new_figure(PAGE, 230 + sum(heights))
    upper, *lower = figure.subfigures(1 + len(tabled), 1, height_ratios=(230, *heights), squeeze=False)[:, 0]
    grid = upper.subplots(5, 2).ravel()
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
    bar_legend(upper, order, 6)
    for number, (name, container) in enumerate(zip(tabled, lower)):
        label_tables(container, "" if number else "k", study, name, models)
    notes = ["Bars: mean ± standard error over runs; points: runs; ×: no value. Dotted line: perfect mixing."]
    if tabled:
        notes.append(
            "k (below): labels of the 50 nearest cells of another modality, as shares of the row; one run a model, the "
            "first replicate and training seed with a value of a; rows without an observation are grey."
        )
    elif has_metric(study, METRICS[0]):
        notes.append("Labels by labels of neighbours (k): no table of them in this study.")
    add_notes(upper, notes + missing_notes(study, METRICS))
    return figure
