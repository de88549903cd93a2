"""Which features of a data set a design keeps."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import scipy.sparse as sp


def select_features(counts: sp.csr_matrix, settings: Mapping[str, float]) -> np.ndarray:
    """Positions of the features to keep, increasing; those that no chosen cell has are always dropped.

    Brombacher et al. 2022 (section 4): highly variable genes, and the 25 % of the peaks with the highest total
    counts; Ashuach et al. 2023 (Methods): peaks in at least 1 % of the cells.
    """
    n_cells, n_features = counts.shape
    detected = counts.getnnz(axis=0)
    keep = detected > 0
    if "min_cell_fraction" in settings:
        keep &= detected >= settings["min_cell_fraction"] * n_cells
    if "top_fraction" in settings:
        totals = np.asarray(counts.sum(axis=0)).ravel()
        first = np.argsort(-totals, kind="stable")[: int(np.ceil(settings["top_fraction"] * n_features))]
        keep &= np.isin(np.arange(n_features), first)
    if "highly_variable" in settings and keep.sum() > settings["highly_variable"]:
        import anndata
        import scanpy

        positions = np.flatnonzero(keep)
        adata = anndata.AnnData(counts[:, positions].copy())
        for span in (0.3, 0.6, 1.0):
            try:
                # Variance of standardised counts about a loess trend (Stuart et al. 2019), for raw counts.
                scanpy.pp.highly_variable_genes(
                    adata, n_top_genes=int(settings["highly_variable"]), flavor="seurat_v3", span=span
                )
                break
            except ValueError:
                # Few cells have few distinct means, and a local fit needs several: widen its window.
                if span == 1.0:
                    raise
        keep = np.zeros(n_features, dtype=bool)
        keep[positions[adata.var["highly_variable"].to_numpy()]] = True
    return np.flatnonzero(keep)
