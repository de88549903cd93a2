"""Weighted nearest neighbours (Seurat 4), with a spectral embedding and a supervised projection of single modalities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.preprocessing import block_components


class WeightedNearestNeighbours(IntegrationModel):
    """The WNN graph of the complete observations, embedded by its eigenvectors; the others projected onto it.

    1. Each modality is reduced to components (see :func:`models.preprocessing.block_components`), whose rows are
       scaled to length 1, as Seurat does before its neighbour search.
    2. Over the complete observations: modality weights and the WNN graph by the equations of Hao et al. 2021
       (:func:`modality_weights`, :func:`weighted_graph`). They are computed exactly and in numpy here: muon's
       ``pp.neighbors`` solves the same equations with approximate searches under a metric of its own, whose
       compilation costs 20 to 60 s a process at any size. The weights agree with muon's (a test compares them).
    3. Embedding of the complete observations: eigenvectors of the normalised graph, scaled by their eigenvalues
       (a diffusion map, Coifman and Lafon 2006, 10.1016/j.acha.2006.04.006) without the constant one, with the
       regularisation of Amini et al. 2013 (10.1214/13-AOS1138), which keeps a handful of disconnected cells
       from claiming an eigenvector. WNN itself ends with a graph; UMAP, its usual sequel, would distort distances.
    4. An observation that lacks modalities goes through supervised PCA (Barshan et al. 2011,
       10.1016/j.patcog.2010.12.015; Seurat's ``RunSPCA``) of each modality that it has: the orthonormal projection
       of the components that maximises the Hilbert-Schmidt dependence on the WNN graph. Its coordinates are the
       average of those of its nearest complete observations in that projection, weighted by
       ``exp(-d / d_k)``, as Seurat's ``MapQuery`` averages over anchors. With two modalities of three, squared
       distances of both are summed.

    Batches are not corrected. Too few complete observations are an error: the paper that this benchmark follows
    reports the same of Seurat at 99 % unpaired cells.
    """

    declaration = Declaration(
        name="wnn",
        title="WNN",
        summary="Weighted nearest neighbour graph, embedded spectrally; single modalities projected by supervised PCA.",
        kind="composed",
        paper="Hao et al. 2021, Integrated analysis of multimodal single-cell data, 10.1016/j.cell.2021.04.048",
        modality_sets=(("rna", "atac"), ("rna", "protein"), ("atac", "protein"), ("rna", "atac", "protein")),
        unpaired=True,
        needs_paired=True,
        defaults={
            "n_latent": 20,
            "n_neighbors": 20,
            "n_candidates": 200,
            "n_block_components": 30,
            "n_top_genes": 2000,
            "n_supervised": 20,
            "regularisation": 0.1,
        },
        origins={
            "n_latent": "ours: about the number of cell types of a large data set",
            "n_neighbors": "Hao et al. 2021 and Seurat's FindMultiModalNeighbors (k.nn = 20)",
            "n_candidates": "Seurat's FindMultiModalNeighbors (knn.range = 200)",
            "n_block_components": "Seurat's WNN vignettes use 30 of RNA",
            "n_top_genes": "Seurat's FindVariableFeatures",
            "n_supervised": "as n_latent",
            "regularisation": "ours: a tenth of the average degree (Amini et al. 2013 suggest a multiple of it)",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Build the graph and embed; see the class.

        Raises
        ------
        ValueError
            If there are no more complete observations than ``n_neighbors`` + 1.
        """
        settings = self.hyperparameters
        reference = np.flatnonzero(design.complete)
        if len(reference) <= settings["n_neighbors"] + 1:
            raise ValueError(
                f"WNN needs more than {settings['n_neighbors'] + 1} complete observations for its graph; the design has {len(reference)}"
            )
        representations, local = {}, {}
        for modality in design.modalities:
            scores = block_components(design, modality, settings["n_block_components"], settings["n_top_genes"], seed)
            representations[modality] = unit_rows(scores)
            where = np.full(design.n_obs, -1)
            where[design.rows[modality]] = np.arange(len(scores))
            local[modality] = where
        paired = [representations[modality][local[modality][reference]] for modality in design.modalities]
        weights = modality_weights(paired, settings["n_neighbors"])
        self.weights = dict(zip(design.modalities, weights.weights.T))
        graph = weighted_graph(paired, weights, settings["n_neighbors"], settings["n_candidates"])
        coordinates = spectral_embedding(graph, settings["n_latent"], settings["regularisation"], seed)

        self._embedding = np.zeros((design.n_obs, coordinates.shape[1]))
        self._embedding[reference] = coordinates
        projections = {
            m: supervised_axes(x, graph, settings["n_supervised"]) for m, x in zip(design.modalities, paired)
        }
        patterns = np.stack([design.has(modality) for modality in design.modalities], axis=1)
        for pattern in np.unique(patterns, axis=0):
            if pattern.all():
                continue
            members = np.flatnonzero((patterns == pattern).all(axis=1))
            present = [modality for modality, has in zip(design.modalities, pattern) if has]
            query = np.hstack([representations[m][local[m][members]] @ projections[m] for m in present])
            target = np.hstack([representations[m][local[m][reference]] @ projections[m] for m in present])
            self._embedding[members] = _neighbour_average(query, target, coordinates, settings["n_neighbors"])

    def embed(self) -> np.ndarray:
        """Coordinates, observations x ``n_latent`` (fewer if there are fewer complete observations)."""
        return self._embedding.astype(np.float32)


@dataclass
class ModalityWeights:
    """Per-cell results of :func:`modality_weights`: ``weights`` (cells x modalities, rows sum to 1), and of each
    modality the distance to the nearest neighbour and the bandwidth (cells x modalities)."""

    weights: np.ndarray
    nearest: np.ndarray
    bandwidth: np.ndarray


def modality_weights(representations: list[np.ndarray], n_neighbors: int, epsilon: float = 1e-4) -> ModalityWeights:
    """Cell-specific modality weights (Hao et al. 2021, STAR Methods, "Weighted nearest neighbor analysis").

    With ``r_m(i)`` the representation of cell i in modality m, and ``r_m<-n(i)`` the mean of ``r_m`` over its nearest
    neighbours in modality n,

        theta_m<-n(i) = exp(-max(|r_m(i) - r_m<-n(i)| - d_m(i), 0) / (sigma_m(i) - d_m(i))),

    where ``d_m(i)`` is the distance to the nearest neighbour and ``sigma_m(i)`` the bandwidth: the mean distance
    to the cells with the smallest non-zero Jaccard similarity of neighbourhoods (ties: the farthest). The weights are
    the softmax over modalities of ``theta_m<-m / (max over other n of theta_m<-n + epsilon)``.

    Parameters
    ----------
    representations
        One array a modality, cells x components (rows of length 1 to follow Seurat).
    n_neighbors
        Neighbours of a cell, itself left out; also the number of cells that the bandwidth averages over.
    epsilon
        As in the paper.
    """
    graphs, nearest, bandwidths = [], [], []
    for values in representations:
        indices, distances = nearest_neighbours(values, values, n_neighbors, skip_self=True)
        n_cells = len(values)
        graph = sp.csr_matrix(
            (np.ones(indices.size), indices.ravel(), np.arange(0, indices.size + 1, indices.shape[1])),
            shape=(n_cells, n_cells),
        )
        graphs.append(graph)
        nearest.append(distances[:, 0])
        bandwidths.append(_bandwidth(values, graph, n_neighbors, distances[:, -1]))
    ratios = np.empty((len(representations[0]), len(representations)))
    for own, values in enumerate(representations):
        scale = np.maximum(bandwidths[own] - nearest[own], 1e-12)
        thetas = []
        for graph in graphs:
            predicted = (graph @ values) / n_neighbors
            distance = np.linalg.norm(values - predicted, axis=1)
            thetas.append(np.exp(-np.maximum(distance - nearest[own], 0) / scale))
        others = np.max([theta for position, theta in enumerate(thetas) if position != own], axis=0)
        ratios[:, own] = thetas[own] / (others + epsilon)
    exponentials = np.exp(ratios - ratios.max(axis=1, keepdims=True))
    weights = exponentials / exponentials.sum(axis=1, keepdims=True)
    return ModalityWeights(weights, np.stack(nearest, axis=1), np.stack(bandwidths, axis=1))


def _bandwidth(
    values: np.ndarray, graph: sp.csr_matrix, n_neighbors: int, fallback: np.ndarray, block: int = 2048
) -> np.ndarray:
    """Mean distance to the ``n_neighbors`` cells of smallest non-zero Jaccard similarity; shape (cells,)."""
    bandwidth = fallback.copy()
    transposed = sp.csc_matrix(graph.T)
    for start in range(0, len(values), block):
        shared = sp.csr_matrix(graph[start : start + block] @ transposed)
        for row in range(shared.shape[0]):
            cell = start + row
            columns = shared.indices[shared.indptr[row] : shared.indptr[row + 1]]
            overlap = shared.data[shared.indptr[row] : shared.indptr[row + 1]][columns != cell]
            columns = columns[columns != cell]
            if not len(columns):
                continue
            distances = np.linalg.norm(values[columns] - values[cell], axis=1)
            # Neighbourhoods are of one size, so the order by overlap is that by Jaccard similarity.
            chosen = np.lexsort((-distances, overlap))[:n_neighbors]
            bandwidth[cell] = distances[chosen].mean()
    return bandwidth


def weighted_graph(
    representations: list[np.ndarray], weights: ModalityWeights, n_neighbors: int, n_candidates: int
) -> sp.csr_matrix:
    """The WNN graph: of each cell the ``n_neighbors`` most similar ones, symmetric, cells x cells, values in [0, 1].

    The similarity of cells i and j is ``sum over m of w_m(i) exp(-max(d_m(i, j) - d_m(i), 0) / (sigma_m(i) - d_m(i)))``
    (Hao et al. 2021), over the cells that are among the ``n_candidates`` nearest in at least one modality.
    """
    n_cells = len(representations[0])
    n_candidates = min(n_candidates, n_cells - 1)
    rows, columns, similarities = [], [], []
    block = max(1, (1 << 24) // n_cells)
    for start in range(0, n_cells, block):
        cells = np.arange(start, min(start + block, n_cells))
        similarity = np.zeros((len(cells), n_cells))
        candidate = np.zeros((len(cells), n_cells), dtype=bool)
        for modality, values in enumerate(representations):
            distances = _distances(values[cells], values)
            distances[np.arange(len(cells)), cells] = np.inf
            near = np.argpartition(distances, n_candidates - 1, axis=1)[:, :n_candidates]
            np.put_along_axis(candidate, near, True, axis=1)
            d1 = weights.nearest[cells, modality][:, None]
            scale = np.maximum(weights.bandwidth[cells, modality][:, None] - d1, 1e-12)
            similarity += weights.weights[cells, modality][:, None] * np.exp(-np.maximum(distances - d1, 0) / scale)
        similarity[~candidate] = -1.0
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :n_neighbors]
        rows.append(np.repeat(cells, best.shape[1]))
        columns.append(best.ravel())
        similarities.append(np.take_along_axis(similarity, best, axis=1).ravel())
    graph = sp.csr_matrix(
        (np.concatenate(similarities), (np.concatenate(rows), np.concatenate(columns))), shape=(n_cells, n_cells)
    )
    return sp.csr_matrix((graph + graph.T) / 2)


def spectral_embedding(graph: sp.csr_matrix, n_components: int, regularisation: float, seed: int) -> np.ndarray:
    """Eigenvectors of the normalised, regularised graph times their eigenvalues; cells x components.

    With ``tau`` the regularisation times the average degree, ``A = W + tau / n``, ``D`` its degrees: the eigenvectors u
    of ``D^-1/2 A D^-1/2`` after the first, as ``lambda * sqrt(sum D) * D^-1/2 u`` (right eigenvectors of the random
    walk, of unit variance under its stationary distribution, times the eigenvalue).
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    n_cells = graph.shape[0]
    degree = np.asarray(graph.sum(axis=1)).ravel()
    tau = regularisation * degree.mean()
    total = degree + tau
    root = 1.0 / np.sqrt(total)
    n_components = min(n_components, n_cells - 2)

    def apply(vector: np.ndarray) -> np.ndarray:
        scaled = root * np.ravel(vector)
        return root * (graph @ scaled + tau * scaled.mean())

    start = np.random.default_rng(seed).uniform(-1, 1, n_cells)
    operator = LinearOperator((n_cells, n_cells), matvec=apply, dtype=np.float64)
    values, vectors = eigsh(operator, k=n_components + 1, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")[1:]
    coordinates = vectors[:, order] * root[:, None] * np.sqrt(total.sum()) * np.maximum(values[order], 0)
    largest = np.abs(coordinates).argmax(axis=0)
    return coordinates * np.where(coordinates[largest, np.arange(coordinates.shape[1])] < 0, -1.0, 1.0)


def supervised_axes(values: np.ndarray, graph: sp.csr_matrix, n_axes: int) -> np.ndarray:
    """Supervised PCA: orthonormal axes U that maximise ``tr(U' X' H W H X U)``, the dependence on the graph W.

    Parameters
    ----------
    values
        Cells x components (X); H centres over cells.
    graph
        Symmetric, cells x cells.
    n_axes
        Number of axes.

    Returns
    -------
    np.ndarray
        Components x axes, orthonormal columns.
    """
    centred = values - values.mean(axis=0)
    product = centred.T @ (graph @ centred)
    eigenvalues, axes = np.linalg.eigh((product + product.T) / 2)
    return axes[:, np.argsort(-eigenvalues, kind="stable")[:n_axes]]


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1.0)


def nearest_neighbours(
    query: np.ndarray, target: np.ndarray, n_neighbors: int, skip_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Exact Euclidean neighbours: (indices, distances), each queries x neighbours, nearest first.

    With `skip_self`, query and target are the same cells, and no cell is its own neighbour.
    """
    n_neighbors = min(n_neighbors, len(target) - int(skip_self))
    indices, distances = [], []
    block = max(1, (1 << 24) // len(target))
    for start in range(0, len(query), block):
        part = _distances(query[start : start + block], target)
        if skip_self:
            part[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        near = np.argpartition(part, n_neighbors - 1, axis=1)[:, :n_neighbors]
        lengths = np.take_along_axis(part, near, axis=1)
        order = np.lexsort((near, lengths), axis=1)
        indices.append(np.take_along_axis(near, order, axis=1))
        distances.append(np.take_along_axis(lengths, order, axis=1))
    return np.concatenate(indices), np.concatenate(distances)


def _distances(query: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Euclidean distances, queries x targets."""
    squared = (query**2).sum(axis=1)[:, None] + (target**2).sum(axis=1)[None] - 2 * query @ target.T
    return np.sqrt(np.maximum(squared, 0))


def _neighbour_average(query: np.ndarray, target: np.ndarray, coordinates: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Coordinates of the nearest targets, averaged with weights ``exp(-d / d_k)``; queries x coordinates."""
    indices, distances = nearest_neighbours(query, target, n_neighbors)
    kernel = np.exp(-distances / np.maximum(distances[:, -1:], 1e-12))
    kernel /= kernel.sum(axis=1, keepdims=True)
    return np.einsum("ij,ijk->ik", kernel, coordinates[indices])
