"""Gene activity: accessibility summed over the regions that overlap a gene's body and its promoter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from models.base import NotApplicableError

_COORDINATES = ("chrom", "start", "end")


def region_gene_overlap(regions: pd.DataFrame, genes: pd.DataFrame, upstream: int = 2_000) -> sp.csr_matrix:
    """Which regions overlap which genes, regions x genes, ones.

    Parameters
    ----------
    regions, genes
        Columns ``chrom``, ``start``, ``end`` (0-based, half open); genes may have ``strand`` (``+`` or ``-``).
        Genes without coordinates (missing values) get no region.
    upstream
        Base pairs added before the transcription start; on both sides where the strand is not known.

    Raises
    ------
    InputError
        If a table lacks coordinates.
    """
    for name, table in (("regions", regions), ("genes", genes)):
        missing = [column for column in _COORDINATES if column not in table.columns]
        if missing:
            raise InputError(
                f"{name}: no column {missing[0]!r}; gene activity needs {', '.join(_COORDINATES)} of genes and regions"
            )
    strand = (
        genes["strand"].astype(object).to_numpy()
        if "strand" in genes.columns
        else np.full(len(genes), ".", dtype=object)
    )
    gene_start = pd.to_numeric(genes["start"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    gene_end = pd.to_numeric(genes["end"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    gene_start = gene_start - np.where(strand == "-", 0, upstream)
    gene_end = gene_end + np.where(strand == "+", 0, upstream)
    region_start = regions["start"].to_numpy(dtype=float)
    region_end = regions["end"].to_numpy(dtype=float)
    region_chrom, gene_chrom = regions["chrom"].astype(str).to_numpy(), genes["chrom"].astype(str).to_numpy()
    pairs: list[np.ndarray] = []
    for chrom in np.unique(gene_chrom):
        here = np.flatnonzero((gene_chrom == chrom) & np.isfinite(gene_start) & np.isfinite(gene_end))
        local = np.flatnonzero(region_chrom == chrom)
        if not len(here) or not len(local):
            continue
        order = local[np.argsort(region_start[local], kind="stable")]
        starts = region_start[order]
        widest = (region_end[order] - starts).max()
        # A region that overlaps starts before the gene's end and not further before its start than the widest is.
        first = np.searchsorted(starts, gene_start[here] - widest, side="left")
        last = np.searchsorted(starts, gene_end[here], side="left")
        for gene, low, high in zip(here, first, last):
            candidates = order[low:high]
            overlapping = candidates[region_end[candidates] > gene_start[gene]]
            pairs.append(np.column_stack((overlapping, np.full(len(overlapping), gene))))
    index = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
    ones = np.ones(len(index), dtype=np.float32)
    return sp.csr_matrix(
        (ones, (index[:, 0].astype(np.int64), index[:, 1].astype(np.int64))), shape=(len(regions), len(genes))
    )


def gene_activity(
    counts: sp.csr_matrix, regions: pd.DataFrame, genes: pd.DataFrame, upstream: int = 2_000
) -> sp.csr_matrix:
    """Counts of the regions that overlap each gene, summed: cells x genes, CSR float32.

    Signac counts fragments within the gene; fragments are not in a count matrix, so this sums regions.
    """
    return sp.csr_matrix(counts @ region_gene_overlap(regions, genes, upstream), dtype=np.float32)


def shared_space(design, seed: int, n_components: int = 30, scaled: bool = True, target: float = 10_000.0):
    """RNA and ATAC of a design in common features, for models with a shared encoder.

    Where genes and regions have coordinates and enough genes get a region, ATAC becomes gene activity. Otherwise
    the paired cells say how the two correspond: both modalities are log-normalised or TF-IDF transformed, reduced
    to principal components, and rotated onto each other by canonical correlation on the paired cells.
    With `scaled` false gene activity and RNA stay log counts, of `target` a cell.

    Returns
    -------
    tuple
        Dense float32 matrices of the cells with RNA and of those with ATAC, over the same features, and the name
        of the way taken: ``gene activity`` or ``canonical correlation``.

    Raises
    ------
    NotApplicableError
        If neither coordinates nor at least ten paired cells are there.
    """
    from models.parts.transforms import log_normalised, principal_components, standardised, tf_idf

    genes, regions = design.var["rna"], design.var["atac"]
    if all(column in table.columns for table in (genes, regions) for column in _COORDINATES):
        overlap = region_gene_overlap(regions, genes)
        kept = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
        if len(kept) >= 50:
            activity = sp.csr_matrix(design.counts["atac"] @ overlap[:, kept])
            # Normalised by all genes' total, as the releases do before they choose genes.
            both = log_normalised(design.counts["rna"], target)[:, kept], log_normalised(activity, target)
            rna, atac = (standardised(part) if scaled else part.toarray() for part in both)
            return rna, atac, "gene activity"
    paired = np.flatnonzero(design.has("rna") & design.has("atac"))
    if len(paired) < 10:
        raise NotApplicableError(
            f"design with {len(paired)} paired cells and no gene coordinates: RNA and ATAC have no common features; "
            "give rna.var the columns chrom, start, end or leave more cells paired"
        )
    rna = principal_components(standardised(log_normalised(design.counts["rna"])), n_components, seed, overwrite=True)
    atac = principal_components(standardised(tf_idf(design.counts["atac"])), n_components, seed, overwrite=True)
    rna, atac = rna / rna.std(axis=0), atac / atac.std(axis=0)
    in_rna = np.searchsorted(design.rows["rna"], paired)
    in_atac = np.searchsorted(design.rows["atac"], paired)
    # Ridge in proportion to the number of pairs: few pairs must not rotate noise onto noise.
    cross = rna[in_rna].T @ atac[in_atac] / (len(paired) + n_components)
    left, strength, right = np.linalg.svd(cross, full_matrices=False)
    return rna @ (left * strength), atac @ (right.T * strength), "canonical correlation"
