"""Format ``h5ad_pair``: one ``.h5ad`` for each modality, joined by the names of the cells."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from benchmarks.datasets.loaders.anndata_file import open_hdf5, read_counts, read_table
from benchmarks.datasets.loaders.modalities import join_files
from benchmarks.datasets.registry import DatasetEntry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the files, one a modality; cells may lack some of them."""
    parts, where = {}, {}
    for modality in entry.modalities:
        path = paths[modality]
        where[modality] = str(path)
        with open_hdf5(path) as file:
            if "obs" not in file or "var" not in file:
                raise InputError(f"{path}: no AnnData file (groups 'obs' and 'var' are missing); correct format")
            obs, var = read_table(file, "obs"), read_table(file, "var")
            parts[modality] = (obs, read_counts(file, entry.counts_from, len(obs), len(var), str(path)), var)
    return join_files(parts, where)
