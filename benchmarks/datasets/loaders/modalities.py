"""What the modalities are called in files, and how a table of mixed features is split by them."""

from __future__ import annotations

from typing import Iterable, Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.registry import DatasetEntry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal

USUAL_NAMES = {
    "rna": ("rna", "gex", "gene expression", "genes"),
    "atac": ("atac", "peaks", "chromatin accessibility"),
    "protein": ("protein", "prot", "adt", "antibody capture", "proteins"),
}
"""Names, in lower case, under which files of others hold a modality."""


def names_in_file(entry: DatasetEntry, present: Iterable[str], where: str, key: str) -> dict[str, str]:
    """Modality -> what it is called in the file, for the modalities of the entry.

    Parameters
    ----------
    present
        Names in the file.
    where, key
        File and place in it that the names come from, for messages.

    Raises
    ------
    InputError
        If the file lacks a modality, or several names could be it.
    """
    present = sorted({str(name) for name in present})
    names = {}
    for modality in entry.modalities:
        wanted = entry.modality_names.get(modality)
        if wanted is not None:
            fitting = [name for name in present if name == wanted]
        else:
            fitting = [name for name in present if name.lower() in USUAL_NAMES[modality]]
        if len(fitting) == 1:
            names[modality] = fitting[0]
            continue
        listed = ", ".join(repr(name) for name in present) or "nothing"
        if fitting:
            problem = f"several of {key} could be modality {modality!r}: {', '.join(map(repr, fitting))}"
        elif wanted is not None:
            problem = f"no {wanted!r} for modality {modality!r} (modality_names) among {key}, which are {listed}"
        else:
            problem = f"no modality {modality!r} among {key}, which are {listed}"
        raise InputError(
            f"{where}: {problem}; say which in modality_names of data set {entry.name!r}, or correct its modalities"
        )
    return names


def split_by_type(
    entry: DatasetEntry,
    obs: pd.DataFrame,
    counts: sp.spmatrix,
    var: pd.DataFrame,
    types: pd.Series,
    where: str,
    key: str,
) -> Multimodal:
    """Split counts of mixed features (cells x features) by the type of the feature."""
    types = types.astype(object).map(str).to_numpy()
    names = names_in_file(entry, types, where, key)
    counts = sp.csc_matrix(counts)
    columns = {modality: np.flatnonzero(types == name) for modality, name in names.items()}
    return Multimodal(
        obs,
        {modality: to_counts(counts[:, where_]) for modality, where_ in columns.items()},
        {modality: var.iloc[where_].copy() for modality, where_ in columns.items()},
    )


def to_counts(matrix: sp.spmatrix | np.ndarray) -> sp.csr_matrix:
    """Any matrix as CSR float32 with sorted indices and no stored zeros."""
    matrix = sp.csr_matrix(matrix)
    with np.errstate(over="ignore"):
        matrix = sp.csr_matrix((matrix.data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def join_files(
    parts: Mapping[str, tuple[pd.DataFrame, sp.csr_matrix, pd.DataFrame]], where: Mapping[str, str]
) -> Multimodal:
    """Join modalities that come from files of their own, by the names of the cells.

    Parameters
    ----------
    parts
        Modality -> (cell table, counts, feature table), with unique cell names.
    where
        Modality -> the file, for messages.

    Returns
    -------
    Multimodal
        All cells of any file; first those of the first modality in its order, then what the next ones add. The
        cell table has the columns of all files; a value that one file lacks is taken from the next.

    Raises
    ------
    InputError
        If a file names a cell twice, if no cell is in all files, or if two files contradict each other.
    """
    for modality, (obs, _, _) in parts.items():
        twice = obs.index[obs.index.duplicated()]
        if len(twice):
            raise InputError(
                f"{where[modality]}: cell name {twice[0]!r} is there {int((obs.index == twice[0]).sum())} times "
                f"({len(twice)} duplicates in all); make the names unique, for example by a prefix for each batch"
            )
    modalities = list(parts)
    names = pd.Index([], dtype=object)
    for obs, _, _ in parts.values():
        names = names.append(obs.index[~obs.index.isin(names)])
    common = parts[modalities[0]][0].index
    for modality in modalities[1:]:
        common = common[common.isin(parts[modality][0].index)]
    if not len(common):
        examples = "; ".join(f"{where[m]} has {parts[m][0].index[0]!r}" for m in modalities if len(parts[m][0]))
        transposed = [
            m
            for m in modalities
            for other in modalities
            if m != other and parts[m][2].index.isin(parts[other][0].index).sum() * 2 > len(parts[other][0])
        ]
        hint = (
            f"{where[transposed[0]]} is transposed: its features are the cells of the other file; transpose it"
            if transposed
            else ("give the same cell the same name in each file (mind suffixes such as '-1')")
        )
        raise InputError(f"modalities have no cell in common: {examples}; {hint}")

    table = pd.DataFrame(index=names)
    for modality, (obs, _, _) in parts.items():
        for column in obs.columns:
            values = obs[column].astype(object) if isinstance(obs[column].dtype, pd.CategoricalDtype) else obs[column]
            values = values.reindex(names)
            if column not in table:
                table[column] = values
                continue
            both = table[column].notna() & values.notna()
            differ = both & (table[column].astype(str) != values.astype(str))
            if column in _MUST_AGREE and differ.any():
                cell = names[differ.to_numpy()][0]
                raise InputError(
                    f"{where[modality]}: obs[{column!r}] of cell {cell!r} is {values[cell]!r}, in another modality's file "
                    f"it is {table[column][cell]!r}; correct one of them"
                )
            table[column] = table[column].where(table[column].notna(), values)

    counts, var, rows = {}, {}, {}
    for modality, (obs, matrix, features) in parts.items():
        positions = names.get_indexer(obs.index)
        order = np.argsort(positions, kind="stable")
        counts[modality], var[modality], rows[modality] = matrix[order], features, positions[order]
    return Multimodal(table, counts, var, rows)


_MUST_AGREE = ("cell_type", "batch", "site", "donor", "condition")
