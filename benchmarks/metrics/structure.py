"""Structure: connectivity of cell types, local label purity, trajectories, variance explained by batch."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.metrics.clustering import BROMBACHER
from benchmarks.metrics.context import Context, encode
from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.graph import directed_graph, largest_component_shares
from benchmarks.metrics.mixing import BUTTNER, LUECKEN

VOTERS = 15
COMPONENTS = 15
PSEUDOTIME_COMPONENTS = 10
ROOT_COMPONENTS = 3
PRINCIPAL_COMPONENTS = 50


def graph_connectivity(context: Context) -> float:
    """Mean over cell types of the share of cells in the type's largest component of the UMAP graph."""
    context = context.known("cell_type")
    return float(np.mean(largest_component_shares(context.graph, context.covariate("cell_type").codes)))


def graph_connectivity_directed(context: Context) -> float:
    """The same on the directed 15-neighbour graph with strong components."""
    context = context.known("cell_type")
    k = min(15, context.n_obs) - 1
    graph = directed_graph(context.nearest(k)[0])
    return float(np.mean(largest_component_shares(graph, context.covariate("cell_type").codes, "strong")))


def label_knn_accuracy(context: Context) -> float:
    """Share of cells whose label is the majority among their 15 nearest cells (leave-one-cell-out)."""
    context = context.known("cell_type")
    labels = context.at_least("cell_type")
    if "cell" in context.truth.obs:
        cell = encode(context.truth.obs["cell"]).codes
        # No more neighbours than the voters and the other halves of the cell are ever looked at.
        halves = int(np.bincount(cell[cell >= 0], minlength=1).max()) - 1
        indices, _ = context.nearest(VOTERS + max(0, halves))
        foreign = (cell[indices] != cell[:, None]) | (cell[:, None] < 0)
    else:
        indices, _ = context.nearest(VOTERS)
        foreign = np.ones(indices.shape, dtype=bool)
    return vote_accuracy(indices, foreign, labels.codes)


def vote_accuracy(indices: np.ndarray, allowed: np.ndarray, codes: np.ndarray, voters: int = VOTERS) -> float:
    """Accuracy of the majority vote of the first `voters` allowed neighbours; ties go to the nearest tied label."""
    n, k = indices.shape
    n_labels = int(codes.max()) + 1
    counted = allowed & (np.cumsum(allowed, axis=1) <= voters)
    flat = np.arange(n)[:, None] * n_labels + codes[indices]
    votes = np.bincount(flat.ravel(), weights=counted.ravel(), minlength=n * n_labels).reshape(n, n_labels)
    leading = np.take_along_axis(votes == votes.max(axis=1, keepdims=True), codes[indices], axis=1) & counted
    winner = codes[indices[np.arange(n), np.argmax(leading, axis=1)]]
    return float(np.mean((winner == codes) & counted.any(axis=1)))


# -- trajectories --------------------------------------------------------------------------------------------


def diffusion_map(graph: sp.csr_matrix, n_components: int = COMPONENTS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (largest first) and eigenvectors of the density-normalised symmetric transition matrix.

    Coifman and Lafon 2006 with alpha = 1, as in scanpy's ``tl.diffmap``: ``K = Q^-1 W Q^-1`` with Q the degrees,
    ``T = Z^-1/2 K Z^-1/2`` with Z the row sums of K.
    """
    degree = np.asarray(graph.sum(axis=0)).ravel()
    inverse = sp.diags(1.0 / np.where(degree > 0, degree, 1.0))
    kernel = inverse @ graph @ inverse
    rows = np.sqrt(np.asarray(kernel.sum(axis=0)).ravel())
    inverse = sp.diags(1.0 / np.where(rows > 0, rows, 1.0))
    transitions = (inverse @ kernel @ inverse).tocsr()
    n = transitions.shape[0]
    n_components = min(n - 1, n_components)
    if n <= 64:
        values, vectors = np.linalg.eigh(transitions.toarray())
        magnitude = np.sort(np.argsort(-np.abs(values), kind="stable")[:n_components])
        values, vectors = values[magnitude], vectors[:, magnitude]
    else:
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(seed).standard_normal(n)
        values, vectors = eigsh(transitions, k=n_components, which="LM", v0=start)
    return values[::-1], vectors[:, ::-1]


def diffusion_pseudotime(values: np.ndarray, vectors: np.ndarray, root: int) -> np.ndarray:
    """Diffusion pseudotime from `root`, in [0, 1] (Haghverdi et al. 2016; scanpy's ``tl.dpt`` without branchings).

    ``dpt(i)^2 = sum_l (lambda_l / (1 - lambda_l))^2 (psi_l(root) - psi_l(i))^2``; components with an eigenvalue of
    0.9994 or more are the stationary state and count with weight 1, as in scanpy.
    """
    stationary = values >= 0.9994
    weight = np.where(stationary, 1.0, values / np.where(stationary, 1.0, 1.0 - values))
    time = np.sqrt(np.square((vectors[root] - vectors) * weight).sum(axis=1))
    return time / time.max() if time.max() > 0 else time


def choose_root(vectors: np.ndarray, candidates: np.ndarray) -> int:
    """The candidate that is most often the extreme one in the first three diffusion components (scib's vote)."""
    votes = np.zeros(len(candidates), dtype=int)
    for component in range(min(ROOT_COMPONENTS, vectors.shape[1])):
        values = vectors[candidates, component]
        low = values.mean() < vectors[:, component].mean()
        votes[np.argmin(values) if low else np.argmax(values)] += 1
    return int(candidates[np.argmax(votes)])


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties with their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation in [-1, 1]; NaN if one of both is constant."""
    first, second = average_ranks(first), average_ranks(second)
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / scale) if scale > 0 else float("nan")


def trajectory_score(graph: sp.csr_matrix, labels: np.ndarray, reference: np.ndarray, seed: int = 0) -> float:
    """Conservation of one trajectory: (1 + Spearman of diffusion pseudotime and reference) / 2, in [0, 1].

    Parameters
    ----------
    graph
        UMAP graph of all observations.
    labels
        int codes of the cell types, -1 where unknown; of the types in the graph's largest component, the one with the
        lowest mean reference holds the root.
    reference
        Reference pseudotime, NaN outside the trajectory.
    """
    from scipy.sparse.csgraph import connected_components

    inside = np.flatnonzero(np.isfinite(reference) & (labels >= 0))
    if len(inside) < 10:
        raise NotApplicable("fewer than 10 cells have a reference pseudotime and a cell type")
    time, types = reference[inside], labels[inside]
    graph = graph[inside][:, inside].tocsr()
    _, component = connected_components(graph, directed=False)
    largest = np.flatnonzero(component == np.argmax(np.bincount(component)))
    if len(largest) < 4:
        return 0.0
    present = np.unique(types[largest])
    means = [time[types == label].mean() for label in present]
    candidates = np.flatnonzero(types[largest] == present[int(np.argmin(means))])
    values, vectors = diffusion_map(graph[largest][:, largest], seed=seed)
    root = choose_root(vectors, candidates)
    found = np.zeros(len(inside))
    found[largest] = diffusion_pseudotime(values[:PSEUDOTIME_COMPONENTS], vectors[:, :PSEUDOTIME_COMPONENTS], root)
    correlation = spearman(time, found)
    return 0.0 if np.isnan(correlation) else (1 + correlation) / 2


def trajectory_conservation(context: Context) -> dict[str, float]:
    """:func:`trajectory_score` of every ``pseudotime_*`` column, and their mean."""
    columns = sorted(str(name) for name in context.truth.obs.columns if str(name).startswith("pseudotime_"))
    if not columns:
        raise NotApplicable("the data set has no reference pseudotime")
    context = context.sample
    labels = context.covariate("cell_type").codes
    scores, reasons = {}, []
    for column in columns:
        reference = np.asarray(context.truth.obs[column], dtype=np.float64)
        try:
            scores[column.removeprefix("pseudotime_")] = trajectory_score(
                context.graph, labels, reference, context.seed
            )
        except NotApplicable as reason:
            reasons.append(f"{column}: {reason}")
    if not scores:
        raise NotApplicable("; ".join(reasons))
    return {"": float(np.mean(list(scores.values()))), **scores}


# -- principal-component regression --------------------------------------------------------------------------


def explained_by_batch(values: np.ndarray, codes: np.ndarray) -> float:
    """Share of the variance of `values` (all columns together) that lies between the groups of `codes`.

    With all principal components kept, principal-component regression ``sum_k Var_k R2_k / sum_k Var_k`` is this
    ratio of sums of squares, whatever the rotation: no decomposition is needed.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values - values.mean(axis=0)
    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, codes, values)
    total = np.square(values).sum()
    between = (np.square(sums).sum(axis=1)[sizes > 0] / sizes[sizes > 0]).sum()
    return float(between / total) if total > 0 else 0.0


def principal_components(matrix: sp.csr_matrix, n_components: int, seed: int = 0) -> np.ndarray:
    """Scores of the first principal components of a sparse matrix (centred without making it dense)."""
    from scipy.sparse.linalg import LinearOperator, svds

    n_components = min(n_components, min(matrix.shape) - 1)
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    transposed = matrix.T.tocsr()

    def forward(vector: np.ndarray) -> np.ndarray:
        vector = vector.ravel()
        return matrix @ vector - mean @ vector

    def backward(vector: np.ndarray) -> np.ndarray:
        vector = vector.ravel()
        return transposed @ vector - mean * vector.sum()

    operator = LinearOperator(matrix.shape, matvec=forward, rmatvec=backward, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    left, singular, _ = svds(operator, k=n_components, v0=start)
    order = np.argsort(-singular)
    return left[:, order] * singular[order]


def log_normalise(counts: sp.csr_matrix, total: float = 1e4) -> sp.csr_matrix:
    """log(1 + counts scaled to `total` a cell); empty cells stay zero."""
    counts = sp.csr_matrix(counts, dtype=np.float64)
    sums = np.asarray(counts.sum(axis=1)).ravel()
    scaled = sp.diags(total / np.where(sums > 0, sums, 1.0)) @ counts
    return scaled.log1p().tocsr()


def pcr_batch(context: Context) -> float:
    """Share of the embedding's variance explained by batch."""
    context = context.known("batch")
    codes = context.at_least("batch").codes
    values = context.values
    if values.shape[1] > PRINCIPAL_COMPONENTS:
        values = principal_components(sp.csr_matrix(np.asarray(values, dtype=np.float64)), PRINCIPAL_COMPONENTS)
    return explained_by_batch(values, codes)


def pcr_comparison(context: Context) -> float:
    """How much of the variance that batch explains before integration is gone after it."""
    if context.visible is None or not context.visible.modalities:
        raise NotApplicable("the design's visible counts were not given")
    codes = context.at_least("batch").codes
    modality = context.visible.modalities[0]
    rows = context.visible.rows[modality]
    rows_known = codes[rows] >= 0
    counts, rows = context.visible.counts[modality][rows_known], rows[rows_known]
    if len(rows) < 10 or len(np.unique(codes[rows])) < 2:
        raise NotApplicable(f"fewer than 10 observations or fewer than two batches have {modality}")
    _, inner = np.unique(codes[rows], return_inverse=True)
    before = explained_by_batch(principal_components(log_normalise(counts), PRINCIPAL_COMPONENTS), inner)
    after = explained_by_batch(context.values[rows], inner)
    if before <= 0:
        raise NotApplicable("batch explains no variance before integration")
    return float(max(0.0, (before - after) / before))


METRICS = [
    Metric(
        name="graph_connectivity",
        title="Graph connectivity",
        family="structure",
        compute=graph_connectivity,
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels"),
        paper=LUECKEN,
        equation="mean over labels of |largest connected component| / |cells of the label|",
        description=(
            "On scib's graph: the symmetric 15-neighbour UMAP graph (the cell itself counts as one of the 15), cut down "
            "to each cell type. Equals scib given the same neighbours."
        ),
    ),
    Metric(
        name="graph_connectivity_directed",
        title="Graph connectivity, directed",
        family="structure",
        compute=graph_connectivity_directed,
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "labels"),
        paper="scib-metrics 0.5",
        equation="mean over labels of |largest strongly connected component| / |cells of the label|",
        description=(
            "On scib-metrics' graph: an edge from each cell to each of its 14 nearest others, strong components. Never "
            "above graph_connectivity, because a cell that is nobody's neighbour is a component of its own. Equals "
            "scib_metrics.graph_connectivity given the same neighbours."
        ),
    ),
    Metric(
        name="label_knn_accuracy",
        title="Label kNN accuracy",
        family="structure",
        compute=label_knn_accuracy,
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels"),
        paper="k-nearest-neighbour classification, leave-one-cell-out",
        equation="mean_i [label_i = majority label of the 15 nearest observations of other cells]",
        description=(
            "Local label purity: the accuracy of predicting a cell's type by the vote of its 15 nearest observations. "
            "The cell itself and its other halves do not vote. A tie goes to the tied label with the nearest voter."
        ),
    ),
    Metric(
        name="trajectory_conservation",
        title="Trajectory conservation",
        family="structure",
        compute=trajectory_conservation,
        range=(0.0, 1.0),
        group="bio_conservation",
        needs=("embedding", "labels", "trajectories"),
        paper=LUECKEN + "; NeurIPS 2021 task (Lance et al. 2022); " + BROMBACHER,
        equation="(1 + Spearman(diffusion pseudotime on the embedding, reference pseudotime)) / 2",
        description=(
            "One row a trajectory and their mean. As in scib: the UMAP graph is cut down to the trajectory's cells and "
            "their largest component, the root is a cell of the type with the lowest mean reference, chosen by vote of "
            "three diffusion components, and cells outside the component count as pseudotime 0. Differs on purpose where "
            "that type has no cell in the component: the next type takes its place, while scib scores 0, which in small "
            "samples depends on one or two rare cells. A constant pseudotime scores 0. 0.5 is chance. Above 100,000 "
            "cells a random subset."
        ),
    ),
    Metric(
        name="pcr_batch",
        title="Batch variance (PCR)",
        family="structure",
        compute=pcr_batch,
        range=(0.0, 1.0),
        direction="lower",
        group="batch_removal",
        needs=("embedding", "batches"),
        paper=BUTTNER + "; " + LUECKEN,
        equation="sum_k Var(PC_k) R2(PC_k ~ batch) / sum_k Var(PC_k)",
        description=(
            "Share of the embedding's variance that a linear model of batch explains, by principal-component regression "
            "(first 50 components). Equals scib.me.pcr on the embedding."
        ),
    ),
    Metric(
        name="pcr_comparison",
        title="PCR comparison",
        family="structure",
        compute=pcr_comparison,
        range=(0.0, 1.0),
        group="batch_removal",
        needs=("embedding", "batches", "visible"),
        paper=LUECKEN,
        equation="max(0, (PCR before - PCR after) / PCR before)",
        description=(
            "How much of the batch variance integration removed. Before: 50 principal components of the log-normalised "
            "visible counts (RNA, else the first modality), after: the embedding of the same observations. 1 is a "
            "complete removal; what a random or collapsed embedding also gets."
        ),
    ),
]
"""The structure metrics."""
