"""scMVP (Li et al. 2022), Figure 1c: time against the number of cells; beyond the paper, memory."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.figures.curves import curve_legend, curves, line_styles, log_axis
from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, panel_letter, short
from benchmarks.figures.values import datasets, is_control, missing_notes, values, variants
from benchmarks.report.study import Study

COSTS = (
    ("wall_seconds", "training time (s)"),
    ("peak_rss_mb", "peak host memory (MB)"),
    ("peak_device_mb", "peak device memory (MB)"),
)
ORDER = ("scmvp", "scvi", "seurat-wnn", "wnn", "lda-atac")


def draw(study: Study) -> Figure:
    """A row a data set; a column the time, host memory, and device memory where it was measured; both axes logarithmic.

    Controls train for no time worth an axis of seven decades: they stand among the memories alone.
    """
    order = variants(study, ORDER)
    names = datasets(study)
    tables = {cost: values(study, cost) for cost, _ in COSTS}
    times = tables["wall_seconds"]
    tables["wall_seconds"] = times[~times["model"].map(is_control).astype(bool)]
    shown = [(cost, heading) for cost, heading in COSTS if len(tables[cost]) or cost != "peak_device_mb"]
    figure = new_figure(PAGE, 20 + 55 * len(names))
    grid = figure.subplots(len(names), len(shown), squeeze=False)
    panel_letter(grid[0, 0], "c")
    for row, name in zip(grid, names):
        for axes, (cost, heading) in zip(row, shown):
            table = tables[cost][tables[cost]["dataset"] == name]
            axes.set_title(short(name))
            axes.set(xlabel="cells", ylabel=heading)
            if table.empty:
                empty_panel(axes, "not measured")
                continue
            curves(axes, table, "n_cells", order, line_styles(order))
            log_axis(axes, "x", sorted(table["n_cells"].unique()))
            log_axis(axes, "y")
    curve_legend(figure, order, 6)
    notes = ["Lines through means over replicates; small points: replicates. Controls: memory alone."]
    if "peak_device_mb" not in [cost for cost, _ in shown]:
        notes.append("Device memory: not measured (no GPU).")
    add_notes(figure, notes + missing_notes(study, [cost for cost, _ in shown]))
    return figure
