"""Gene activity of the cells without RNA: by position in the genome or, where genes have none, by linked regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal
from models.parts.gene_activity import region_gene_overlap

MIN_GENES = 50
"""Fewer genes with a region are no basis for anchors."""

MIN_PAIRED = 10

_COORDINATES = ("chrom", "start", "end")


@dataclass
class Activity:
    """``counts`` (observations that have no RNA x genes), names of the genes, positions of the observations, and how."""

    counts: sp.csr_matrix
    genes: pd.Index
    rows: np.ndarray
    way: str


def activity_without_rna(design: Multimodal, links_per_gene: int) -> Activity | None:
    """Gene activity of the observations with chromatin and no RNA; ``None`` if there are none.

    Where genes and regions have coordinates: counts of the regions in the gene's body and 2,000 base pairs upstream,
    summed (Signac counts fragments there, which a count matrix no longer has). Otherwise the regions of a gene are the
    `links_per_gene` ones whose accessibility correlates best with its expression over the observations that have
    both (:func:`linked_regions`). Genes without a region are left out.

    Raises
    ------
    InputError
        If there are no coordinates and too few paired observations to learn links from.
    """
    rows = np.flatnonzero(design.has("atac") & ~design.has("rna"))
    if not len(rows):
        return None
    genes, regions = design.var["rna"], design.var["atac"]
    overlap, way = None, "coordinates"
    if all(column in table.columns for table in (genes, regions) for column in _COORDINATES):
        overlap = region_gene_overlap(regions, genes)
        if (overlap.sum(axis=0) > 0).sum() < MIN_GENES:
            overlap = None
    if overlap is None:
        paired = np.flatnonzero(design.has("rna") & design.has("atac"))
        if len(paired) < MIN_PAIRED:
            raise InputError(
                f"gene activity needs the columns {', '.join(_COORDINATES)} of rna.var and atac.var, with a region at "
                f"{MIN_GENES} genes or more, or at least {MIN_PAIRED} paired cells to link regions to genes; "
                f"the design has {len(paired)}: add the genes' coordinates"
            )
        expression = design.counts["rna"][np.searchsorted(design.rows["rna"], paired)]
        accessibility = design.counts["atac"][np.searchsorted(design.rows["atac"], paired)]
        overlap, way = linked_regions(expression, accessibility, links_per_gene), "links learned from paired cells"
    kept = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
    counts = sp.csr_matrix(design.counts["atac"][np.searchsorted(design.rows["atac"], rows)] @ overlap[:, kept])
    return Activity(counts, genes.index[kept], rows, way)


def linked_regions(
    expression: sp.csr_matrix, accessibility: sp.csr_matrix, links_per_gene: int, block: int = 512
) -> sp.csr_matrix:
    """The regions that go with each gene, regions x genes, ones.

    The correlation over the cells (paired, in the same order) of log-normalised expression and TF-IDF accessibility;
    the `links_per_gene` highest ones that are positive. Ties go to the region that comes first.
    """
    from models.parts.transforms import log_normalised, tf_idf

    genes, regions = log_normalised(expression), tf_idf(accessibility)
    n_cells, n_regions = regions.shape
    region_mean = np.asarray(regions.mean(axis=0)).ravel()
    region_deviation = _deviations(regions, region_mean)
    links_per_gene = min(links_per_gene, n_regions)
    turned = sp.csr_matrix(regions.T)
    pairs = []
    for start in range(0, genes.shape[1], block):
        part = np.asarray(genes[:, start : start + block].todense(), dtype=np.float64)
        part -= part.mean(axis=0)
        deviation = part.std(axis=0)
        # Centring the genes is enough: the regions' means then fall out of the product.
        covariance = (turned @ part) / n_cells
        scale = region_deviation[:, None] * deviation[None]
        correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
        best = np.argsort(-correlation, axis=0, kind="stable")[:links_per_gene]
        positive = np.take_along_axis(correlation, best, axis=0) > 0
        columns = np.broadcast_to(np.arange(start, start + part.shape[1]), best.shape)
        pairs.append(np.column_stack((best[positive], columns[positive])))
    index = np.concatenate(pairs)
    return sp.csr_matrix(
        (np.ones(len(index), dtype=np.float32), (index[:, 0], index[:, 1])), shape=(n_regions, genes.shape[1])
    )


def _deviations(matrix: sp.csr_matrix, mean: np.ndarray) -> np.ndarray:
    squares = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
    return np.sqrt(np.maximum(squares - mean**2, 0))
