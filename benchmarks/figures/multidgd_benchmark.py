"""multiDGD (Schuster et al. 2024), Figure 2: reconstruction, clustering, batches, data and feature efficiency."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.bars import bar_legend, bars
from benchmarks.figures.curves import curves, log_axis
from benchmarks.figures.style import PAGE, add_notes, empty_panel, new_figure, panel_letter, short
from benchmarks.figures.values import datasets, missing_notes, title, values, variants
from benchmarks.report.study import Study

ALL_FEATURES = "_all_features"
"""How the label of a data set with all features ends; the one with fewer has the same label without it."""

RMSE, AUPRC, SILHOUETTE = "prediction_rmse_rna", "prediction_auprc_atac", "one_minus_asw"
MODALITIES = {"rna": "genes", "atac": "peaks", "protein": "proteins"}
"""What the features of a modality are called."""

ORDER = ("multidgd", "multivi", "multivi-native", "cobolt", "scmm")


def draw(study: Study) -> Figure:
    """Panels A to G of the paper: bars are means with their standard error over training seeds, points the seeds.

    A RMSE of RNA, B AUPRC of ATAC, C ARI (own components where a model has such, else Leiden), D 1 - ASW of batches,
    E error of RNA with fewer cells over that with all, F and G as A and B with filtered and with all features.
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
        "Bars: mean ± standard error over training seeds; points: seeds; ×: no value. "
        "C: the model's own components where it has such; else Leiden at the best of ten resolutions by NMI, a choice "
        "that components do not have (paper: one resolution). MultiVI has its default layers (paper: the best of one to three). "
        "E: RMSE of RNA over that with all cells, at each size over the features found in, or chosen on, its own training "
        "cells: not the same ones at all sizes. ATAC is left out: its predictions are probabilities. "
        "F, G: each on its own features: not comparable across the two labels."
    ]
    if both:
        notes.append(_features_note(study, both))
    add_notes(figure, notes + missing_notes(study, (RMSE, AUPRC, SILHOUETTE)))
    return figure


def _features_note(study: Study, labels: list[str]) -> str:
    """Which features the labels of F and G have: "all" may itself be a choice of the study's."""
    config = study.provenance.get("config", {})
    items = [{"name": item} if isinstance(item, str) else item for item in config.get("datasets", ())]
    known = {item.get("label", item["name"]): item for item in items}
    if not set(labels) <= set(known):
        return "F, G, “all”: all of the study's features; which these are, its description says."
    common = (config.get("designs") or {}).get("features")
    said = []
    for label in labels:
        filters = known[label].get("features", common) or {}
        parts = [f"{MODALITIES.get(name, name)}: {_filter(settings)}" for name, settings in filters.items()]
        rest = "the others unfiltered" if parts else "unfiltered"
        whole = {"rna", "atac"} <= set(filters)
        said.append(f"{short(label)} ({', '.join(parts if whole else [*parts, rest])})")
    return f"F, G, features: {'; '.join(said)}."


def _filter(settings: Mapping[str, float]) -> str:
    """One modality's filter (``config/README.md``, `features`) in words."""
    words = {
        "min_cell_fraction": lambda value: f"in {value:.3g} % of the cells or more",
        "top_fraction": lambda value: f"the {value:.3g} % with the most counts",
        "highly_variable": lambda value: f"the {value:,.0f} most variable",
    }
    parts = [
        write(settings[name] * (1 if name == "highly_variable" else 100))
        for name, write in words.items()
        if name in settings
    ]
    return " and ".join(parts)


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
    """Test error of RNA with fewer cells over its mean with all of them, of the data set with most sizes.

    The paper's loss is of both modalities. Predictions of accessibility are probabilities by the file contract
    (:class:`benchmarks.formats.Prediction`), whose distance to counts says nothing: ATAC is left out.
    """
    axes.set_title("Test error ratio, RNA, by number of cells ↓")
    table = values(study, RMSE, "run")
    counts = table.groupby("dataset")["n_cells"].nunique() if len(table) else pd.Series(dtype=int)
    if counts.empty or counts.max() < 2:
        empty_panel(axes, "no data set with several sizes and a reconstruction error")
        return
    name = str(counts.idxmax())
    table = table[table["dataset"] == name]
    full = _largest(table).groupby("label")["value"].mean()
    ratios = table.assign(value=table["value"] / table["label"].map(full))
    ratios = ratios[np.isfinite(ratios["value"])]
    curves(axes, ratios, "n_cells", order)
    axes.axhline(1, color="#888888", linewidth=0.5, linestyle=(0, (2, 2)), zorder=1)
    log_axis(axes, "x", sorted(ratios["n_cells"].unique()))
    axes.set_xlabel(f"training and validation cells ({name})")
    axes.set_ylabel("RMSE / RMSE with all cells")
