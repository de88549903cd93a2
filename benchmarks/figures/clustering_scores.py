"""scMVP (Li et al. 2022), Figures 3d and 4a: agreement of k-means clusters with labels, by model."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from benchmarks.figures.clustering_umaps import grouped_variants
from benchmarks.figures.style import PAGE, add_notes, colour, empty_panel, new_figure, short
from benchmarks.figures.values import datasets, is_control, missing_notes, sub_study, title, values, why_empty
from benchmarks.report.study import Study

METRIC = "ari_kmeans"


def draw(study: Study) -> Figure:
    """A panel a data set, a bar a model in the paper's groups: mean over runs, standard error, a point a run."""
    order = grouped_variants(study)
    sets = datasets(study)
    figure = new_figure(PAGE, 34 + 32 * len(sets))
    grid = figure.subplots(len(sets), 1, squeeze=False, sharex=True)[:, 0]
    table = values(study, METRIC, per="run")
    for axes, name in zip(grid, sets):
        part = table[table["dataset"] == name]
        axes.set_title(short(name), loc="left", pad=10 if axes is grid[0] else 4)
        if part.empty:
            empty_panel(axes, why_empty(sub_study(study, [name]), METRIC), 120)
            continue
        _bars(axes, part, order)
        axes.set_ylabel(title(study, METRIC, arrow=False))
    # The axis is shared: names stand below the last panel that has bars, whatever is below it.
    last = next((axes for axes in grid[::-1] if len(axes.patches)), grid[-1])
    last.set_xticks(range(len(order)), [short(label, 22) for label in order["label"]], rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    if len(last.patches):
        last.tick_params(labelbottom=True)
    last.set_xlabel("model")
    for group, part in order.groupby("group", sort=False):
        grid[0].annotate(
            group, (float(part.index.to_numpy().mean()), 1), (0, 1), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=6, color="#333333",
        )  # fmt: skip
        for axes in grid:
            if part.index[0] > 0 and len(axes.patches):
                axes.axvline(part.index[0] - 0.5, color="#BBBBBB", linewidth=0.5)
    notes = [f"{title(study, METRIC)}. Bars: mean ± standard error over runs; points: runs; ×: no value."]
    add_notes(figure, notes + missing_notes(study, (METRIC,)))
    return figure


def _bars(axes, part, order) -> None:
    for x, row in enumerate(order.itertuples(index=False)):
        found = part.loc[part["label"] == row.label, "value"].to_numpy(dtype=float)
        if not len(found):
            axes.plot([x], [0.03], marker="x", markersize=3, markeredgewidth=0.7, color="#888888", linestyle="",
                      transform=axes.get_xaxis_transform(), gid="absent")  # fmt: skip
            continue
        axes.bar(
            x, found.mean(), 0.72, color=colour(row.model), alpha=0.6 if is_control(row.model) else 1.0, label=row.label
        )
        if len(found) > 1:
            axes.errorbar(
                x, found.mean(), found.std(ddof=1) / np.sqrt(len(found)), color="black", linewidth=0.6, capsize=1.5
            )
            axes.plot(
                x + np.linspace(-0.15, 0.15, len(found)),
                found,
                ".",
                color="black",
                markersize=2,
                markeredgewidth=0,
                gid="points",
            )
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xlim(-0.6, len(order) - 0.4)
