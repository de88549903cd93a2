"""Mixing: how well modalities and batches are interleaved, and whether neighbours across modalities agree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.formats import MODALITIES
from benchmarks.metrics.context import EXACT_LIMIT, LISI_NEIGHBOURS, Context
from benchmarks.metrics.declaration import Metric, NotApplicable, enough
from benchmarks.metrics.distances import group_neighbours, pairwise_pass

ENRICHMENT_NEIGHBOURS = 50
KBET_NEIGHBOURS = 50
KBET_ALPHA = 0.05
LARGEST_TYPE = 20_000
"""Cells of one type from which kBET within the type is computed on a random sample of so many."""

CROSS_MODALITY_NEIGHBOURS = 50

LUECKEN = "Luecken et al. 2022, Nature Methods 19:41 (scIB)"
KORSUNSKY = "Korsunsky et al. 2019, Nature Methods 16:1289 (Harmony)"
MULTIVI = "Ashuach et al. 2023, Nature Methods 20:1222 (MultiVI)"
BUTTNER = "Büttner et al. 2019, Nature Methods 16:43 (kBET)"


def enrichment(indices: np.ndarray, codes: np.ndarray) -> float:
    """Mean share of neighbours with the observation's own code, over the share expected of random neighbours.

    Parameters
    ----------
    indices
        n x k positions of the nearest others.
    codes
        int codes, one an observation.
    """
    share = np.mean(codes[indices] == codes[:, None])
    proportions = np.bincount(codes) / len(codes)
    return float(share / np.square(proportions).sum())


def modality_enrichment(context: Context) -> float:
    """MultiVI's LISI score over all modality groups (``paired`` is one of them)."""
    context = context.known("group")
    groups = context.at_least("group")
    enough(ENRICHMENT_NEIGHBOURS, context.n_obs - 1, "others")
    indices, _ = context.nearest(ENRICHMENT_NEIGHBOURS)
    return enrichment(indices, groups.codes)


def modality_mixing(context: Context) -> float:
    """:func:`modality_enrichment` between chance and the separation that the design allows, in [0, 1]."""
    value = modality_enrichment(context)
    codes = context.known("group").covariate("group").codes
    return scaled_enrichment(value, np.bincount(codes) / len(codes))


def scaled_enrichment(value: float, proportions: np.ndarray) -> float:
    """An enrichment of groups of these `proportions`, so that chance is 1, and separation and avoidance are 0.

    Complete separation is ``1 / sum p^2``; the share of the own group among the neighbours cannot be larger. Below
    chance, neighbours are of other groups only where the value is 0.
    """
    if value < 1:
        return max(0.0, value)
    return float(max(0.0, 1.0 - (value - 1.0) / (1.0 / np.square(proportions).sum() - 1.0)))


def single_modality_enrichment(context: Context) -> float:
    """MultiVI's LISI score among the cells with one modality only."""
    context = context.known("group")
    groups = context.at_least("group")
    single = np.flatnonzero(np.isin(groups.codes, [i for i, name in enumerate(groups.names) if name in MODALITIES]))
    if len(np.unique(groups.codes[single])) < 2:
        raise NotApplicable("fewer than two groups of single-modality cells")
    enough(ENRICHMENT_NEIGHBOURS, len(single) - 1, "other single-modality cells")
    if len(single) == context.n_obs:
        return modality_enrichment(context)
    if len(single) > EXACT_LIMIT:
        indices = context.subset(single).nearest(ENRICHMENT_NEIGHBOURS)[0]
    else:
        indices = pairwise_pass(context.values[single], ENRICHMENT_NEIGHBOURS, threads=context.threads).indices
    return enrichment(indices, groups.codes[single])


def scaled_ilisi(values: np.ndarray, n_values: int) -> float:
    """Median LISI mapped so that 1 (one batch around every cell) is 0 and all batches alike is 1."""
    return float((np.median(values) - 1) / (n_values - 1))


def scaled_clisi(values: np.ndarray, n_values: int) -> float:
    """Median LISI mapped so that one label around every cell is 1 and all labels alike is 0."""
    return float((n_values - np.median(values)) / (n_values - 1))


def _reachable(context: Context, form: str) -> None:
    """Refuse the graph form in small data: who does not reach 90 others has LISI 1.

    The embedding form lowers its perplexity with the number of observations and weighs by distance: it is no constant.
    """
    if form == "graph_lisi":
        enough(LISI_NEIGHBOURS, context.n_obs - 1, "others")


def _ilisi(column: str, form: str):
    def compute(context: Context) -> float:
        context = context.known(column)
        codes = context.at_least(column)
        _reachable(context, form)
        return scaled_ilisi(getattr(context, form)[column], len(codes.names))

    return compute


def _clisi(form: str):
    def compute(context: Context) -> float:
        context = context.known("cell_type")
        codes = context.at_least("cell_type")
        _reachable(context, form)
        return scaled_clisi(getattr(context, form)["cell_type"], len(codes.names))

    return compute


def kbet_acceptance(neighbour_codes: np.ndarray, codes: np.ndarray, alpha: float = KBET_ALPHA) -> float:
    """Share of observations whose neighbourhood passes the chi-square test of the global composition.

    Parameters
    ----------
    neighbour_codes
        n x k codes of the batches in each neighbourhood.
    codes
        Codes of the batches of all observations (0..B-1, all of them present).
    alpha
        Significance level.
    """
    from scipy.special import chdtrc

    n_codes = int(codes.max()) + 1
    n, k = neighbour_codes.shape
    flat = np.arange(n)[:, None] * n_codes + neighbour_codes
    observed = np.bincount(flat.ravel(), minlength=n * n_codes).reshape(n, n_codes)
    expected = np.bincount(codes, minlength=n_codes) / len(codes) * k
    statistic = (np.square(observed - expected) / expected).sum(axis=1)
    return float(np.mean(chdtrc(n_codes - 1, statistic) >= alpha))


def kbet(context: Context) -> float:
    """kBET acceptance rate over all cells."""
    context = context.known("batch")
    codes = context.at_least("batch").codes
    enough(KBET_NEIGHBOURS - 1, context.n_obs - 1, "others")
    indices, _ = context.nearest(KBET_NEIGHBOURS - 1)
    return kbet_acceptance(np.column_stack([codes, codes[indices]]), codes)


def neighbourhood_size(mean_batch_size: float) -> int:
    """scib's k for kBET within a cell type: a quarter of the mean batch size, but from 10 to 70."""
    return int(min(70, max(10, np.floor(mean_batch_size / 4))))


def kbet_per_label(context: Context) -> float:
    """kBET acceptance rate within each cell type, averaged over cell types."""
    context = context.known("cell_type", "batch")
    labels, batches = context.covariate("cell_type"), context.at_least("batch")
    scores = []
    for label in range(len(labels.names)):
        members = np.flatnonzero(labels.codes == label)
        present, codes = np.unique(batches.codes[members], return_inverse=True)
        k = neighbourhood_size(len(members) / max(1, len(present)))
        if 2 * k > len(members) - 1 or len(present) < 2:
            continue
        if len(members) > LARGEST_TYPE:
            rng = np.random.default_rng([context.seed, 4, label])
            members = np.sort(rng.choice(members, LARGEST_TYPE, replace=False))
            present, codes = np.unique(batches.codes[members], return_inverse=True)
        indices = pairwise_pass(context.values[members], k, threads=context.threads).indices
        scores.append(kbet_acceptance(np.column_stack([codes, codes[indices]]), codes))
    if not scores:
        raise NotApplicable("no cell type has 21 cells or more in two batches or more")
    return float(np.mean(scores))


def cross_modality_counts(context: Context) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Labels of the nearest neighbours in other modalities.

    Returns
    -------
    counts
        Labels x labels: how often a cell of the row's label has a cross-modality neighbour of the column's label,
        as a share of the row (rows add up to 1).
    names
        The labels.
    agreement
        Share of neighbours with the cell's own label, one a (cell, other modality). Modalities of fewer than 100 cells
        alone are not searched: the 50 nearest would be more than half of them.
    """
    context = context.known("cell_type", "group")
    labels, groups = context.covariate("cell_type"), context.at_least("group")
    single = [i for i, name in enumerate(groups.names) if name in MODALITIES]
    if len(single) < 2:
        raise NotApplicable("fewer than two groups of single-modality cells")
    table = np.zeros((len(labels.names), len(labels.names)))
    agreement = []
    sizes = np.bincount(groups.codes, minlength=len(groups.names))
    wide = [i for i in single if sizes[i] >= 2 * CROSS_MODALITY_NEIGHBOURS]
    if not wide:
        largest = int(sizes[single].max())
        enough(CROSS_MODALITY_NEIGHBOURS, largest, "cells of the largest single modality")
    for own in single:
        queries = np.flatnonzero(groups.codes == own)
        if len(queries) > 20_000 and not context.exact:
            rng = np.random.default_rng([context.seed, 5, own])
            queries = np.sort(rng.choice(queries, 20_000, replace=False))
        for other in wide:
            if other == own:
                continue
            targets = np.flatnonzero(groups.codes == other)
            found = labels.codes[
                group_neighbours(context.values, queries, targets, CROSS_MODALITY_NEIGHBOURS, context.threads)
            ]
            mine = labels.codes[queries]
            agreement.append(np.mean(found == mine[:, None], axis=1))
            np.add.at(table, (np.repeat(mine, found.shape[1]), found.ravel()), 1.0)
    rows = table.sum(axis=1, keepdims=True)
    return table / np.where(rows > 0, rows, 1.0), labels.names, np.concatenate(agreement)


def cross_modality_label_agreement(context: Context) -> float:
    """Mean share of cross-modality neighbours with the cell's own label."""
    return float(np.mean(cross_modality_counts(context)[2]))


def cross_modality_table(context: Context) -> pd.DataFrame:
    """The labels x labels shares of :func:`cross_modality_counts` in long form: label, neighbour_label, share."""
    counts, names, _ = cross_modality_counts(context)
    row, column = np.divmod(np.arange(counts.size), len(names))
    names = np.asarray(names, dtype=object)
    return pd.DataFrame({"label": names[row], "neighbour_label": names[column], "share": counts.ravel()})


_LISI_EQUATION = "LISI_i = 1 / sum_l (sum_{j in kNN(i), l_j = l} p_ij)^2, p_ij ~ exp(-beta_i d_ij), perplexity 30"
_EMBEDDING_FORM = (
    "Embedding form: the 90 nearest including the cell itself, which then does not count (so 89 others), Euclidean "
    "distances, perplexity 30; the convention of Harmony's package and of scib-metrics, whose value it equals given "
    "the same neighbours."
)
_GRAPH_FORM = (
    "Graph form of scib: the 90 nearest (without the cell itself) along shortest paths of the 15-neighbour UMAP graph, "
    "with the graph's connectivities taken as path lengths exactly as scib does, though a connectivity is large where "
    "cells are close. Cells that reach fewer than 90 others have LISI 1; not applicable below 181 cells. Differs from the embedding form on purpose; "
    "the two are not comparable with each other."
)

METRICS = [
    Metric(
        name="modality_enrichment",
        title="Modality enrichment",
        family="mixing",
        compute=modality_enrichment,
        range=(0.0, float("inf")),
        direction="target",
        target=1.0,
        group="mixing",
        needs=("embedding", "modality_groups"),
        paper=MULTIVI + ", Methods, LISI score calculation",
        equation="mean_i (1/k) sum_{j in kNN(i)} [L_i = L_j] / sum_l p_l^2, k = 50",
        description=(
            "Share of a cell's 50 nearest others that have the same modalities, over the share expected if neighbours "
            "were drawn at random: 1 is perfect mixing, 1 / sum p^2 complete separation. Groups are those of the design "
            "(paired cells are a group of their own). The paper leaves k open; 50 is its k elsewhere. Scaled to [0, 1] "
            "as min(v, 1/v), which complete separation does not bring to 0 but to sum p^2 (0.5 with two groups of one "
            "size): compare scaled values within one design, or read modality_mixing. Says nothing about whether the "
            "right cells are mixed."
        ),
        scale=lambda value: min(value, 1.0 / value) if value > 0 else 0.0,
    ),
    Metric(
        name="modality_mixing",
        title="Modality mixing",
        family="mixing",
        compute=modality_mixing,
        range=(0.0, 1.0),
        group="mixing",
        needs=("embedding", "modality_groups"),
        paper="ours, from " + MULTIVI + ", Methods, LISI score calculation",
        equation="1 - (v - 1) / (1 / sum_l p_l^2 - 1) for v >= 1, v for v < 1, where v is modality_enrichment",
        description=(
            "Modality enrichment between its limits in the design: 1 is perfect mixing, 0 complete separation, whatever "
            "the groups' shares. Neighbours that are rarer of the own group than by chance lose as well, down to 0 where "
            "there are none."
        ),
    ),
    Metric(
        name="modality_enrichment_single",
        title="Modality enrichment, single-modality cells",
        family="mixing",
        compute=single_modality_enrichment,
        range=(0.0, float("inf")),
        direction="target",
        target=1.0,
        group="mixing",
        needs=("embedding", "modality_groups"),
        paper=MULTIVI + ", Methods, LISI score calculation",
        equation="as modality_enrichment, on the cells with one modality",
        description=(
            "Modality enrichment with the paired cells left out before the neighbours are searched, and scaled likewise."
        ),
        scale=lambda value: min(value, 1.0 / value) if value > 0 else 0.0,
    ),
    Metric(
        name="ilisi_modality",
        title="iLISI of modality groups",
        family="mixing",
        compute=_ilisi("group", "lisi"),
        range=(0.0, 1.0),
        group="mixing",
        needs=("embedding", "modality_groups"),
        paper=KORSUNSKY + "; scaling: " + LUECKEN,
        equation=_LISI_EQUATION + "; (median LISI - 1) / (G - 1)",
        description="iLISI with the modality groups in the place of batches. " + _EMBEDDING_FORM,
    ),
    Metric(
        name="ilisi",
        title="iLISI (embedding)",
        family="mixing",
        compute=_ilisi("batch", "lisi"),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "batches"),
        paper=KORSUNSKY + "; scaling: " + LUECKEN,
        equation=_LISI_EQUATION + "; (median LISI - 1) / (B - 1)",
        description="Effective number of batches around a cell, scaled: 1 is perfect mixing. " + _EMBEDDING_FORM,
    ),
    Metric(
        name="ilisi_graph",
        title="iLISI (graph)",
        family="mixing",
        compute=_ilisi("batch", "graph_lisi"),
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "batches"),
        paper=LUECKEN,
        equation=_LISI_EQUATION.replace("kNN(i)", "graph neighbours of i") + "; (median LISI - 1) / (B - 1)",
        description=_GRAPH_FORM,
    ),
    Metric(
        name="clisi",
        title="cLISI (embedding)",
        family="mixing",
        compute=_clisi("lisi"),
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels"),
        paper=KORSUNSKY + "; scaling: " + LUECKEN,
        equation=_LISI_EQUATION + "; (C - median LISI) / (C - 1)",
        description="Effective number of cell types around a cell, scaled: 1 is one type. " + _EMBEDDING_FORM,
    ),
    Metric(
        name="clisi_graph",
        title="cLISI (graph)",
        family="mixing",
        compute=_clisi("graph_lisi"),
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels"),
        paper=LUECKEN,
        equation=_LISI_EQUATION.replace("kNN(i)", "graph neighbours of i") + "; (C - median LISI) / (C - 1)",
        description=_GRAPH_FORM,
    ),
    Metric(
        name="kbet",
        title="kBET",
        family="mixing",
        compute=kbet,
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "batches"),
        paper=BUTTNER,
        equation="mean_i [P(chi2_{B-1} >= sum_b (n_ib - k f_b)^2 / (k f_b)) >= 0.05], k = 50",
        description=(
            "Share of cells whose 50 nearest (including the cell itself) have the batch composition of the whole data, "
            "by a chi-square test at 0.05. Not applicable below 99 cells. Equals scib_metrics.kbet given the same neighbours. No choice of k by "
            "heuristic and no resampling as in the R package."
        ),
    ),
    Metric(
        name="kbet_per_label",
        title="kBET within cell types",
        family="mixing",
        compute=kbet_per_label,
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "batches", "labels"),
        paper=BUTTNER + "; per label: " + LUECKEN,
        equation="as kbet, within each cell type, k = min(70, max(10, floor(mean batch size / 4)))",
        description=(
            "kBET within each cell type of 21 cells or more in two batches or more, averaged over cell types (scib's "
            "form and k; scib takes types of 10 cells or more, of which 10 neighbours are most or all of the others). "
            "Neighbours are the exact nearest cells of the type in the embedding; scib and scib-metrics take diffusion "
            "neighbours along the graph, which is needed where only a graph is given. Of a type whose graph falls apart "
            "scib-metrics judges the components of 3 k cells or more together if they hold 75 % of the type's cells, and "
            "counts 0 if not; here such a type is judged like any other. Of a type of more than 20,000 cells a random "
            "sample of so many."
        ),
    ),
    Metric(
        name="cross_modality_label_agreement",
        title="Cross-modality label agreement",
        family="mixing",
        compute=cross_modality_label_agreement,
        range=(0.0, 1.0),
        group="mixing",
        needs=("embedding", "labels", "modality_groups"),
        paper=MULTIVI + ", Supplementary Fig. 5d",
        equation="mean over single-modality cells i and other modalities m of (1/50) sum_{j in 50NN_m(i)} [label_j = label_i]",
        description=(
            "For every cell with one modality: the share of its 50 nearest cells of another single modality that have "
            "its label. Modalities of fewer than 100 such cells are not searched. The full label x label table of one run "
            "a model is the study's `label_agreement.parquet`."
        ),
    ),
]
"""The mixing metrics."""
