"""Silhouettes: compactness of cell types and overlap of batches, with Euclidean and cosine distance."""

from __future__ import annotations

import numpy as np

from benchmarks.metrics.clustering import MULTIDGD, isolated_labels
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.mixing import LUECKEN

RAUTENSTRAUCH = "Rautenstrauch and Ohler 2025, Nature Biotechnology (BRAS)"


def asw_cell_type(context: Context, distance: str = "euclidean") -> float:
    """(1 + mean silhouette by cell type) / 2."""
    context = context.known("cell_type")
    labels = context.at_least("cell_type")
    if len(labels.names) == context.n_obs:
        raise NotApplicable("every observation has a cell type of its own")
    return float((1 + np.mean(context.silhouettes("cell_type", distance))) / 2)


def within_cell_types(context: Context, column: str, distance: str, between: str = "nearest") -> float:
    """Mean over cell types of the mean of 1 - |silhouette by `column` within the cell type|."""
    context = context.known("cell_type", column)
    context.at_least(column)
    widths = [part for part in context.inner_silhouettes(column, distance, between) if len(part)]
    if not widths:
        raise NotApplicable(f"no cell type is in two values of {column}")
    return float(np.mean([np.mean(1 - np.abs(part)) for part in widths]))


def isolated_label_asw(context: Context, distance: str = "euclidean") -> float:
    """Mean over isolated cell types of (1 + mean silhouette by cell type) / 2."""
    context = context.known("cell_type", "batch")
    isolated = isolated_labels(context)
    widths = context.silhouettes("cell_type", distance)
    labels = context.covariate("cell_type").codes[context.sampled_rows]
    scores = [np.mean(widths[labels == label]) for label in isolated if np.any(labels == label)]
    if not scores:
        raise NotApplicable("no observation of an isolated cell type is in the sample")
    return float((1 + np.mean(scores)) / 2)


def one_minus_asw(context: Context, distance: str = "euclidean") -> float:
    """1 - mean silhouette by batch over all cells."""
    context = context.known("batch")
    context.at_least("batch")
    return float(1 - np.mean(context.silhouettes("batch", distance)))


_SAMPLING = " Above 100,000 cells the mean is over 20,000 random cells, each with its exact silhouette."
_COSINE = "With cosine distance 1 - cos. "


def _pair(name: str, title: str, compute, **declaration) -> list[Metric]:
    """A metric with Euclidean and one with cosine distance."""
    description = declaration.pop("description")
    return [
        Metric(
            name=name,
            title=title,
            family="silhouette",
            compute=compute,
            description=description + _SAMPLING,
            **declaration,
        ),
        Metric(
            name=f"{name}_cosine",
            title=f"{title}, cosine",
            family="silhouette",
            compute=lambda context: compute(context, "cosine"),
            description=_COSINE + description + _SAMPLING,
            **declaration,
        ),
    ]


_WIDTH = "s_i = (b_i - a_i) / max(a_i, b_i)"

METRICS = [
    *_pair(
        "asw_cell_type",
        "Cell-type ASW",
        asw_cell_type,
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels"),
        paper=LUECKEN,
        equation=_WIDTH + " by cell type; (1 + mean_i s_i) / 2",
        description=(
            "Compactness of cell types: 0.5 where types overlap, and for a collapsed embedding. Negative silhouettes are "
            "usual with many overlapping types; compare with the random control. Equals scib and scib-metrics."
        ),
    ),
    *_pair(
        "asw_batch",
        "Batch ASW",
        lambda context, distance="euclidean": within_cell_types(context, "batch", distance),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels", "batches"),
        paper=LUECKEN,
        equation=_WIDTH + " by batch within each cell type; mean over types of mean_i (1 - |s_i|)",
        description=(
            "Overlap of batches within cell types: 1 is no batch effect, and what a collapsed embedding gets. Cell types "
            "with one batch, or with as many batches as cells, do not count. Equals scib and scib-metrics."
        ),
    ),
    *_pair(
        "asw_site",
        "Site ASW",
        lambda context, distance="euclidean": within_cell_types(context, "site", distance),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels", "sites"),
        paper=LUECKEN + "; Brombacher et al. 2022",
        equation=_WIDTH + " by site within each cell type; mean over types of mean_i (1 - |s_i|)",
        description="Batch ASW with the site of processing in the place of the batch.",
    ),
    *_pair(
        "isolated_label_asw",
        "Isolated-label ASW",
        isolated_label_asw,
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels", "batches"),
        paper=LUECKEN,
        equation=_WIDTH + " by cell type; mean over isolated types of (1 + mean s_i) / 2",
        description=(
            "Cell-type ASW of the cell types that are in the fewest batches. Not applicable if every type is in every "
            "batch, as in scib."
        ),
    ),
    Metric(
        name="bras",
        title="BRAS",
        family="silhouette",
        compute=lambda context: within_cell_types(context, "batch", "cosine", "mean_other"),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels", "batches"),
        paper=RAUTENSTRAUCH,
        equation="as asw_batch with b_i the mean distance to all cells of other batches; cosine distance",
        description=(
            "Batch ASW that is not fooled by nested batch effects: the distance between batches is to all other batches, "
            "not to the nearest. Equals scib_metrics.bras with its defaults (cosine, mean_other)." + _SAMPLING
        ),
    ),
    Metric(
        name="bras_euclidean",
        title="BRAS, Euclidean",
        family="silhouette",
        compute=lambda context: within_cell_types(context, "batch", "euclidean", "mean_other"),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels", "batches"),
        paper=RAUTENSTRAUCH,
        equation="as asw_batch with b_i the mean distance to all cells of other batches; Euclidean distance",
        description="BRAS with Euclidean distance; equals scib_metrics.bras(metric='euclidean')." + _SAMPLING,
    ),
    *_pair(
        "one_minus_asw",
        "1 - batch ASW (multiDGD)",
        one_minus_asw,
        range=(0.0, 2.0),
        group="batch_removal",
        needs=("embedding", "batches"),
        paper=MULTIDGD + ", eq. 13",
        equation=_WIDTH + " by batch over all cells; 1 - mean_i s_i",
        description=(
            "multiDGD's measure of batch removal: the silhouette by batch over all cells regardless of type, neither its "
            "absolute value nor scaled. 1 is overlap; above 1, cells are nearer to another batch than to their own. "
            "Scaled to [0, 1] by cutting at 1."
        ),
        scale=lambda value: value,
    ),
]
"""The silhouette metrics."""
