"""MultiVI (Ashuach et al. 2023), Supplementary Figure 3: does it matter how modalities are fused and penalised?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.scatter import label_colours, layouts, thinned_notes, umap_legend, umap_panel, why_no_umap
from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, panel_letter, short
from benchmarks.figures.tiles import score_tiles
from benchmarks.figures.values import datasets, missing_notes, variants
from benchmarks.report.study import Study

METRICS = (
    "nmi_leiden", "ari_leiden", "asw_cell_type", "clisi", "asw_batch", "ilisi", "kbet", "graph_connectivity",
    "modality_enrichment", "ilisi_modality", "rank_distance_fraction",
)  # fmt: skip


def draw(study: Study) -> Figure:
    """a, b: UMAPs of the first variant on each data set, by cell type; c: medians of all variants and metrics."""
    order = variants(study)
    names = datasets(study)
    blocks = (
        study.runs[["dataset", "unpaired_fraction"]]
        .drop_duplicates()
        .sort_values("unpaired_fraction")
        .sort_values("dataset", key=lambda column: column.map(names.index), kind="stable")
    )
    rows = len(order)
    figure = new_figure(PAGE, 62 + len(blocks) * (rows * 3.6 + 6) + 24)
    upper, lower = figure.subfigures(2, 1, height_ratios=(56, len(blocks) * (rows * 3.6 + 6) + 28))
    shown = _umaps(upper, study, order["label"].iloc[0], names)
    parts = [
        (f"{short(dataset)}, {fraction:.0%} unpaired", {"dataset": dataset, "unpaired_fraction": fraction})
        for dataset, fraction in blocks.itertuples(index=False)
    ]
    grid = score_tiles(lower, "c", study, order["label"], METRICS, parts, aspect=40)
    grid[-1].set_xlabel("metric (median over replicates in the tile)")
    add_notes(lower, thinned_notes(shown) + missing_notes(study, METRICS))
    return figure


def _umaps(figure, study: Study, label: str, names: list[str]) -> pd.DataFrame:
    """Draw the UMAPs; return the rows that they show."""
    table = layouts(study)
    drawn = [table.iloc[:0]]
    for letter, name, place in zip("ab", names[:2], np.atleast_1d(figure.subfigures(1, max(len(names[:2]), 1)))):
        axes = place.subplots()
        panel_letter(axes, letter)
        part = table[(table["dataset"] == name) & (table["label"] == label)]
        part = part[part["unpaired_fraction"] == part["unpaired_fraction"].min()]
        axes.set_title(f"{short(name)}, {short(label, 24)}")
        axes.set(xlabel="UMAP 1", ylabel="UMAP 2")
        if len(part):
            types = label_colours(part, "cell_type")
            umap_panel(axes, part, "cell_type", types)
            umap_legend(place, types, "cell type")
            drawn.append(part)
        else:
            empty_panel(axes, why_no_umap(study, label=label, dataset=name))
    return pd.concat(drawn)
