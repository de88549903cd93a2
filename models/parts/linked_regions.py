"""Which regions go with which gene: by position in the genome or, where genes have none, learned from paired cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import NotApplicableError
from models.parts.gene_activity import region_gene_overlap

MIN_GENES = 50
"""Coordinates by which fewer genes than this have a region are of another genome or scale: they are not used."""

MIN_PAIRED = 10
"""Paired cells without which no links are learned."""

_COORDINATES = ("chrom", "start", "end")


def regions_of_genes(
    design: Multimodal, links_per_gene: int, upstream: int = 2000, min_genes: int = MIN_GENES
) -> tuple[sp.csr_matrix, str]:
    """Regions x genes of a design, ones where a region belongs to a gene, and how that is known.

    Where genes and regions have coordinates by which at least `min_genes` genes have a region: regions in the gene's
    body and `upstream` base pairs before it.
    Otherwise the `links_per_gene` regions whose accessibility correlates best with the gene's expression over the
    observations that have both (:func:`linked_regions`).

    Returns
    -------
    overlap
        CSR float32, regions x genes, in the order of the design's features.
    way
        ``"coordinates"`` or ``"links learned from paired cells"``.

    Raises
    ------
    NotApplicableError
        If there are no coordinates and too few paired observations to learn links from.
    """
    genes, regions = design.var["rna"], design.var["atac"]
    if all(column in table.columns for table in (genes, regions) for column in _COORDINATES):
        overlap = region_gene_overlap(regions, genes, upstream)
        if (overlap.sum(axis=0) > 0).sum() >= min_genes:
            return overlap, "coordinates"
    paired = np.flatnonzero(design.has("rna") & design.has("atac"))
    if len(paired) < MIN_PAIRED:
        raise NotApplicableError(
            f"which regions belong to a gene: give rna.var and atac.var the columns {', '.join(_COORDINATES)} (with a "
            f"region at {min_genes} genes or more), or leave at least {MIN_PAIRED} cells paired to learn it from; the "
            f"design has {len(paired)}"
        )
    both = [design.counts[name][np.searchsorted(design.rows[name], paired)] for name in ("rna", "atac")]
    return linked_regions(*both, links_per_gene), "links learned from paired cells"


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
