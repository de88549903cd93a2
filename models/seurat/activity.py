"""Gene activity of the cells without RNA: by position in the genome or, where genes have none, by linked regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.parts.linked_regions import regions_of_genes


@dataclass
class Activity:
    """``counts`` (observations that have no RNA x genes), names of the genes, positions of the observations, and how."""

    counts: sp.csr_matrix
    genes: pd.Index
    rows: np.ndarray
    way: str


def activity_without_rna(design: Multimodal, links_per_gene: int) -> Activity | None:
    """Gene activity of the observations with chromatin and no RNA; ``None`` if there are none.

    Counts of a gene's regions (:func:`models.parts.linked_regions.regions_of_genes`), summed; Signac counts fragments
    there, which a count matrix no longer has. Genes without a region are left out.

    Raises
    ------
    NotApplicableError
        If there are no coordinates and too few paired observations to learn links from.
    """
    rows = np.flatnonzero(design.has("atac") & ~design.has("rna"))
    if not len(rows):
        return None
    overlap, way = regions_of_genes(design, links_per_gene)
    genes = design.var["rna"]
    kept = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
    counts = sp.csr_matrix(design.counts["atac"][np.searchsorted(design.rows["atac"], rows)] @ overlap[:, kept])
    return Activity(counts, genes.index[kept], rows, way)
