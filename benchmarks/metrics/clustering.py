"""Clustering: agreement of clusters of the embedding with cell types, under four named schemes."""

from __future__ import annotations

import numpy as np

from benchmarks.metrics.agreement import adjusted_rand_index, best_f1, normalised_mutual_information
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.mixing import LUECKEN
from benchmarks.metrics.partitions import RESOLUTIONS

BROMBACHER = "Brombacher et al. 2022, Frontiers in Molecular Biosciences 9:962644"
SCMVP = "Li et al. 2022, Genome Biology 23:20 (scMVP)"
MULTIDGD = "Schuster et al. 2024, Nature Communications 15:10031 (multiDGD)"


def labelled(context: Context) -> Context:
    """The labelled observations, at most 100,000 of them drawn at random, if there are two cell types."""
    context = context.known("cell_type").sample
    context.at_least("cell_type")
    return context


def best_partition(context: Context, method: str) -> tuple[float, float, float]:
    """(resolution, NMI, ARI) at the resolution with the largest NMI; the lowest such resolution on a tie."""
    context = labelled(context)
    key = ("best_partition", method)
    if key not in context.__dict__:
        labels = context.covariate("cell_type").codes
        partitions = context.partitions(method)
        scores = [normalised_mutual_information(labels, clusters) for clusters in partitions]
        best = int(np.argmax(scores))
        context.__dict__[key] = (RESOLUTIONS[best], scores[best], adjusted_rand_index(labels, partitions[best]))
    return context.__dict__[key]


def _graph_scheme(method: str, index: int):
    return lambda context: best_partition(context, method)[index]


def _k_means(score):
    def compute(context: Context) -> float:
        context = labelled(context)
        return score(context.covariate("cell_type").codes, context.k_means)

    return compute


def _components(score):
    def compute(context: Context) -> float:
        if context.components is None:
            raise NotApplicable("the model has no mixture components of its own")
        context = context.known("cell_type")
        context.at_least("cell_type")
        _, components = np.unique(context.components, return_inverse=True)
        return score(context.covariate("cell_type").codes, components)

    return compute


def isolated_labels(context: Context) -> np.ndarray:
    """Codes of the cell types that are in the fewest batches.

    Raises
    ------
    NotApplicable
        If every cell type is in every batch.
    """
    labels, batches = context.at_least("cell_type"), context.at_least("batch")
    together = np.unique(labels.codes * len(batches.names) + batches.codes) // len(batches.names)
    spread = np.bincount(together, minlength=len(labels.names))
    if spread.min() == len(batches.names):
        raise NotApplicable("no isolated cell type: every cell type is in every batch")
    return np.flatnonzero(spread == spread.min())


def isolated_label_f1(context: Context) -> float:
    """Mean over isolated cell types of the best F1 of one Leiden cluster at any resolution."""
    context = context.known("cell_type", "batch")
    names = context.covariate("cell_type").names
    isolated = {names[code] for code in isolated_labels(context)}
    # A sample may lack a type, and its codes are of the types that it has.
    context = context.sample
    labels, names = context.covariate("cell_type").codes, context.covariate("cell_type").names
    isolated = [code for code, name in enumerate(names) if name in isolated]
    if not isolated:
        raise NotApplicable("no cell of an isolated cell type is in the sample that is clustered")
    best = np.max([best_f1(labels, clusters)[isolated] for clusters in context.partitions("leiden")], axis=0)
    return float(np.mean(best))


_RESOLUTION = (
    "Clusters of the 15-neighbour UMAP graph (scanpy's weights) by {method} at the resolution among 0.2, 0.4, ..., 2.0 "
    "that maximises the NMI; the ARI is taken at the same resolution. Above 100,000 cells a random subset of so many. {note}"
)
_LEIDEN = _RESOLUTION.format(
    method="Leiden (igraph, modularity, two iterations, fixed seed)",
    note="Given the same partition the value equals scib's; scib's own partition differs by its random seed.",
)
_LOUVAIN = _RESOLUTION.format(
    method="Louvain (igraph's multilevel algorithm, fixed seed)", note="The scheme that Brombacher et al. describe."
)
_KMEANS = "Clusters by k-means (10 k-means++ starts, fixed seed) with k = number of cell types."
_OWN = "Clusters are the model's own mixture components, where it has them; not applicable to other models."
_OURS = "ours (the paper gives the ARI alone), with the clusters of "


def _metric(name: str, title: str, compute, description: str, paper: str, score: str) -> Metric:
    equations = {
        "nmi": "I(C; L) / ((H(C) + H(L)) / 2)",
        "ari": "(index - expected index) / (maximum index - expected index)",
    }
    return Metric(
        name=name,
        title=title,
        family="clustering",
        compute=compute,
        range=(0.0, 1.0) if score == "nmi" else (-0.5, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels") + (("components",) if name.endswith("components") else ()),
        paper=paper,
        equation=equations[score],
        description=description,
        scale=None if score == "nmi" else lambda value: value,
    )


METRICS = [
    _metric("nmi_leiden", "NMI (Leiden)", _graph_scheme("leiden", 1), _LEIDEN, LUECKEN, "nmi"),
    _metric("ari_leiden", "ARI (Leiden)", _graph_scheme("leiden", 2), _LEIDEN, LUECKEN, "ari"),
    _metric("nmi_louvain", "NMI (Louvain)", _graph_scheme("louvain", 1), _LOUVAIN, BROMBACHER, "nmi"),
    _metric("ari_louvain", "ARI (Louvain)", _graph_scheme("louvain", 2), _LOUVAIN, BROMBACHER, "ari"),
    _metric("nmi_kmeans", "NMI (k-means)", _k_means(normalised_mutual_information), _KMEANS, _OURS + SCMVP, "nmi"),
    _metric("ari_kmeans", "ARI (k-means)", _k_means(adjusted_rand_index), _KMEANS, SCMVP, "ari"),
    _metric(
        "nmi_components",
        "NMI (own components)",
        _components(normalised_mutual_information),
        _OWN,
        _OURS + MULTIDGD,
        "nmi",
    ),
    _metric("ari_components", "ARI (own components)", _components(adjusted_rand_index), _OWN, MULTIDGD, "ari"),
    Metric(
        name="isolated_label_f1",
        title="Isolated-label F1",
        family="clustering",
        compute=isolated_label_f1,
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels", "batches"),
        paper=LUECKEN,
        equation="mean over isolated labels of max over resolutions and clusters of 2 TP / (2 TP + FP + FN)",
        description=(
            "How well one Leiden cluster captures a cell type that is in the fewest batches, at the best resolution for "
            "that type (scib's definition; the partitions are shared with the NMI). Not applicable if every cell type "
            "is in every batch, as in scib; scib-metrics then calls every type isolated."
        ),
    ),
]
"""The clustering metrics."""
