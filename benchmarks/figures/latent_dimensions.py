"""scMVP (Li et al. 2022), Figure 1b: agreement of clusters with labels against latent dimensions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from benchmarks.figures.style import COLOURS, COLUMN, MARKERS, add_notes, empty_panel, new_figure, panel_letter, short
from benchmarks.figures.values import datasets, is_control, missing_notes, sub_study, title, values, why_empty
from benchmarks.report.study import Study

METRIC = "ari_kmeans"


def draw(study: Study) -> Figure:
    """One line a data set through the means over runs; a point a run; the controls' means as thin lines."""
    figure = new_figure(COLUMN, 68)
    axes = figure.subplots()
    panel_letter(axes, "b")
    axes.set_title(title(study, METRIC))
    table = values(study, METRIC, per="run")
    ok = study.runs[study.runs["status"] == "ok"]
    dimensions = ok.groupby(["model", "variant"])["n_latent"].max()
    if table.empty:
        empty_panel(axes, why_empty(study, METRIC))
        add_notes(figure, missing_notes(study, (METRIC,)))
        return figure
    index = list(zip(table["model"], table["variant"]))
    table = table.assign(n_latent=dimensions.reindex(index).to_numpy(dtype=float))
    empty = []
    for number, name in enumerate(datasets(study)):
        part = table[(table["dataset"] == name) & ~table["model"].map(is_control) & np.isfinite(table["n_latent"])]
        if part.empty:
            empty.append(f"{short(name)}: {why_empty(sub_study(study, [name]), METRIC)}.")
            continue
        ink, mark = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        means = part.groupby("n_latent")["value"].mean()
        axes.plot(
            means.index, means.to_numpy(), color=ink, marker=mark, markersize=3.5, linewidth=1.1, label=short(name)
        )
        axes.scatter(part["n_latent"], part["value"], s=4, color=ink, alpha=0.5, linewidths=0)
        for control, dashes in (("random", (0, (1, 1.5))), ("oracle", (0, (4, 2)))):
            found = table.loc[(table["dataset"] == name) & (table["model"] == control), "value"]
            if len(found):
                axes.axhline(found.mean(), color=ink, linewidth=0.6, linestyle=dashes, zorder=1)
    axes.set_xlabel("latent dimensions")
    axes.set_ylabel(title(study, METRIC, arrow=False))
    ticks = sorted(table.loc[~table["model"].map(is_control), "n_latent"].dropna().unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper center", ncols=2)
    notes = [
        "Points: training seeds; line: mean. Thin lines: controls of the same colour's data set (dotted random, dashed oracle)."
    ]
    add_notes(figure, notes + empty + missing_notes(study, (METRIC,)))
    return figure
