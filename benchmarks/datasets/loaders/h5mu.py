"""Format ``h5mu``: a MuData file, ours or muon's."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import numpy as np

from benchmarks.datasets.loaders.anndata_file import open_hdf5, read_counts, read_table
from benchmarks.datasets.loaders.modalities import names_in_file
from benchmarks.datasets.registry import SINGLE, DatasetEntry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the modalities of the entry; cells may lack some of them.

    A column that a label or batch is to be read from may be in the common table, in a modality's own, or in the
    common one with the modality as a prefix (``rna:cell_type``), which is how muon pulls columns up.
    """
    path = paths[SINGLE]
    with open_hdf5(path) as file:
        if "mod" not in file or "obs" not in file:
            raise InputError(f"{path}: no MuData file (groups 'mod' and 'obs' are missing); correct format")
        names = names_in_file(entry, file["mod"], str(path), "mod")
        obs = read_table(file, "obs")
        if obs.index.has_duplicates:
            twice = obs.index[obs.index.duplicated()]
            raise InputError(
                f"{path}: cell name {twice[0]!r} is there {int((obs.index == twice[0]).sum())} times "
                f"({len(twice)} duplicates in all); make the names unique, for example by a prefix for each batch"
            )
        counts, var, rows = {}, {}, {}
        for modality, name in names.items():
            group, where = file["mod"][name], f"{path}: mod/{name}"
            own, features = read_table(group, "obs"), read_table(group, "var")
            matrix = read_counts(group, entry.counts_from, len(own), len(features), where)
            twice = own.index[own.index.duplicated()]
            if len(twice):
                raise InputError(f"{where}: cell name {twice[0]!r} is there more than once; make the names unique")
            positions = obs.index.get_indexer(own.index)
            if np.any(positions < 0):
                lost = own.index[positions < 0][0]
                raise InputError(
                    f"{where}: cell {lost!r} is not in the table of the whole file; run mdata.update() and write it again"
                )
            order = np.argsort(positions, kind="stable")
            counts[modality], var[modality], rows[modality] = matrix[order], features, positions[order]
            for column in own.columns:
                plain = own[column].astype(object) if own[column].dtype.name == "category" else own[column]
                if column not in obs:
                    obs[column] = plain.reindex(obs.index)
        for name in names.values():
            for column in [column for column in obs.columns if column.startswith(f"{name}:")]:
                short = column.removeprefix(f"{name}:")
                if short not in obs:
                    obs[short] = obs[column]
    return Multimodal(obs, counts, var, rows)
