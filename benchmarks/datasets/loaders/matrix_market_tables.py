"""Format ``matrix_market_tables``: a Matrix Market matrix, and tables with head lines for its cells and features.

So GEO has sci-CAR (GSE117089: ``..._gene_count.txt.gz``, ``..._cell.txt.gz``, ``..._gene.txt.gz``, comma-separated)
and the scATAC-seq atlas of hematopoiesis (GSE129785: ``....mtx.gz``, ``....cell_barcodes.txt.gz``,
``....peaks.txt.gz``, tab-separated). Columns of the tables of cells are labels, batches and the like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from benchmarks.datasets.loaders.matrix_market import read_oriented
from benchmarks.datasets.loaders.modalities import to_counts
from benchmarks.datasets.loaders.tables import feature_table, read_table
from benchmarks.datasets.registry import DatasetEntry
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the matrix and both tables; the entry has one modality."""
    (modality,) = entry.modalities
    obs = read_table(paths["cells"], entry.table.get("cells_key"), f"table.cells_key of data set {entry.name!r}")
    var = read_table(
        paths["features"], entry.table.get("features_key"), f"table.features_key of data set {entry.name!r}"
    )
    repairs: list[str] = []
    counts = read_oriented(paths["matrix"], (paths["features"], len(var)), (paths["cells"], len(obs)), repairs)
    return Multimodal(obs, {modality: to_counts(counts)}, {modality: feature_table(var)}, uns={"repairs": repairs})
