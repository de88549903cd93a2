"""Format ``h5ad_feature_types``: one ``.h5ad`` with a column that says each feature's modality, as in GSE194122."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from benchmarks.datasets.loaders.anndata_file import open_hdf5, read_counts, read_table
from benchmarks.datasets.loaders.modalities import split_by_type
from benchmarks.datasets.registry import SINGLE, DatasetEntry
from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the file and split its features by ``var[feature_type_column]``."""
    path, column = paths[SINGLE], entry.feature_type_column
    with open_hdf5(path) as file:
        if "obs" not in file or "var" not in file:
            raise InputError(f"{path}: no AnnData file (groups 'obs' and 'var' are missing); correct format")
        obs, var = read_table(file, "obs"), read_table(file, "var")
        if column not in var:
            raise InputError(
                f"{path}: var has no column {column!r}{did_you_mean(column, var.columns)}; correct feature_type_column"
            )
        counts = read_counts(file, entry.counts_from, len(obs), len(var), str(path))
    return split_by_type(entry, obs, counts, var, var[column], str(path), f"var[{column!r}]")
