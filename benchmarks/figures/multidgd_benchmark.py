"""multiDGD (Schuster et al. 2024), Figure 2: reconstruction, clustering, batches, data and feature efficiency."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, bars
from benchmarks.figures.curves import curves, log_axis
from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, panel_letter
from benchmarks.figures.values import datasets, missing_notes, title, values, variants
from benchmarks.report.study import Study

ALL_FEATURES = "_all_features"
"""How the label of a data set with all features ends; the one with fewer has the same label without it."""

RMSE, AUPRC, SILHOUETTE = "prediction_rmse_rna", "prediction_auprc_atac", "one_minus_asw"
ERRORS = {"RNA": "prediction_rmse_rna", "ATAC": "prediction_rmse_atac"}
ORDER = ("multidgd", "multivi", "multivi-native", "cobolt", "scmm")


def draw(study: Study) -> Figure:
    """Panels A to G of the paper: bars are means with their standard error over training seeds, points the seeds.

    A RMSE of RNA, B AUPRC of ATAC, C ARI (own components where a model has such, else Leiden), D 1 - ASW of batches,
    E error with fewer cells over that with all, F and G as A and B with filtered and with all features.
    """
    order = variants(study, ORDER)
    names = datasets(study)
    wide = [name for name in names if name.endswith(ALL_FEATURES)]
    pairs = [item for name in wide if (item := name[: -len(ALL_FEATURES)]) in names]
    main = [name for name in names if name not in wide]
    both = [item for name in pairs for item in (name, name + ALL_FEATURES)]
    figure = new_figure(PAGE, 160)
    grid = figure.subplot_mosaic("AABB;CCDD;EEFG", gridspec_kw={"height_ratios": (1, 1, 1)})
    for letter, axes in grid.items():
        panel_letter(axes, letter)
    _bars(grid["A"], study, _largest(values(study, RMSE, "run")), main, order, title(study, RMSE))
    _bars(grid["B"], study, _largest(values(study, AUPRC, "run")), main, order, title(study, AUPRC))
    _bars(grid["C"], study, _largest(_own_or_leiden(study)), main, order, "ARI ↑")
    _bars(grid["D"], study, _largest(values(study, SILHOUETTE, "run")), main, order, title(study, SILHOUETTE))
    _data_efficiency(grid["E"], study, order)
    # Bars of F and G are labelled by features; the data set is in the axis label, or these do not fit.
    for letter, metric in (("F", RMSE), ("G", AUPRC)):
        _bars(grid[letter], study, _largest(values(study, metric, "run")), both, order, title(study, metric))
        if both:
            grid[letter].set_xticks(range(len(both)), ["filtered", "all"] * len(pairs))
            grid[letter].set_xlabel(f"features ({', '.join(pairs)})")
    bar_legend(figure, order, 6)
    notes = [
        "Bars: mean ± standard error over training seeds; points: seeds; ×: no value. C: the model's own components where it has such, else Leiden. "
        "E: solid RNA, dashed ATAC; test error with fewer cells over the mean error with all. F, G: each on its own features: not comparable across the two labels."
    ]
    add_notes(figure, notes + missing_notes(study, (RMSE, AUPRC, SILHOUETTE)))
    return figure


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    """Values at the largest number of cells of each data set."""
    return table[table["n_cells"] == table.groupby("dataset")["n_cells"].transform("max")] if len(table) else table


def _own_or_leiden(study: Study) -> pd.DataFrame:
    own, leiden = values(study, "ari_components", "run"), values(study, "ari_leiden", "run")
    if own.empty or leiden.empty:
        return leiden if own.empty else own
    return pd.concat([own, leiden[~leiden["label"].isin(own["label"])]], ignore_index=True)


def _bars(axes, study: Study, table: pd.DataFrame, groups: list[str], order: pd.DataFrame, heading: str) -> None:
    axes.set_title(heading)
    if table.empty or not groups or not table["dataset"].isin(groups).any():
        empty_panel(axes, "no value in this study")
        return
    # Controls that predict nothing would be crosses in every group.
    order = order[~order["control"] | order["label"].isin(table["label"])].reset_index(drop=True)
    bars(axes, table, groups, order)
    axes.set_ylabel(heading.rstrip(" ↑↓"))
    axes.set_xlabel("data set")


def _data_efficiency(axes, study: Study, order: pd.DataFrame) -> None:
    """Test error with fewer cells over the mean test error with all of them, of the data set with most sizes."""
    axes.set_title("Test loss ratio, by number of cells ↓")
    drawn = []
    for modality, metric in ERRORS.items():
        table = values(study, metric, "run")
        counts = table.groupby("dataset")["n_cells"].nunique() if len(table) else pd.Series(dtype=int)
        if counts.empty or counts.max() < 2:
            continue
        name = str(counts.idxmax())
        table = table[table["dataset"] == name]
        full = _largest(table).groupby("label")["value"].mean()
        ratios = table.assign(value=table["value"] / table["label"].map(full))
        ratios = ratios[np.isfinite(ratios["value"])]
        styles = dict.fromkeys(order["label"], "-" if modality == "RNA" else (0, (4, 1.5)))
        curves(axes, ratios, "n_cells", order, styles)
        drawn.append((name, sorted(ratios["n_cells"].unique())))
    if not drawn:
        empty_panel(axes, "no data set with several sizes and a reconstruction error")
        return
    axes.axhline(1, color="#888888", linewidth=0.5, linestyle=(0, (2, 2)), zorder=1)
    log_axis(axes, "x", drawn[0][1])
    axes.set_xlabel(f"training and validation cells ({drawn[0][0]})")
    axes.set_ylabel("RMSE / RMSE with all cells")
