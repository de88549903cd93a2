"""Reading what is needed, and nothing else, of an AnnData group in an HDF5 file."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.loaders.modalities import to_counts
from benchmarks.errors import InputError, did_you_mean


def read_table(group: h5py.Group, name: str) -> pd.DataFrame:
    """The table ``obs`` or ``var``, its index as text; also in the form of AnnData before 0.7."""
    from anndata.io import read_elem

    item = group[name]
    with warnings.catch_warnings():
        # Files of anndata 0.7, GSE194122 among them, draw a warning for each column.
        warnings.simplefilter("ignore")
        table = _legacy_table(item) if isinstance(item, h5py.Dataset) else read_elem(item)
    table.index = pd.Index(table.index.astype(str).astype(object))
    return table


def _legacy_table(dataset: h5py.Dataset) -> pd.DataFrame:
    """A table stored as one compound dataset, whose first field is the index."""
    records = dataset[:]
    columns = {
        field: np.char.decode(records[field], "utf-8") if records[field].dtype.kind == "S" else records[field]
        for field in records.dtype.names
    }
    frame = pd.DataFrame(columns)
    return frame.set_index(frame.columns[0])


def read_counts(group: h5py.Group, counts_from: str | None, n_cells: int, n_features: int, where: str) -> sp.csr_matrix:
    """The raw counts of an AnnData group, cells x features.

    Parameters
    ----------
    counts_from
        ``X``, ``raw`` or the name of a layer; ``None`` for layer ``counts`` where there is one, else ``X``.
    n_cells, n_features
        Length of the tables that the matrix has to fit.

    Raises
    ------
    InputError
        If there is no such matrix, or its shape is not that of the tables.
    """
    layers = list(group["layers"]) if "layers" in group else []
    if counts_from is None:
        counts_from = "counts" if "counts" in layers else "X"
    if counts_from == "X":
        place = "X"
    elif counts_from == "raw":
        place = "raw/X"
    else:
        place = f"layers/{counts_from}"
        if counts_from not in layers:
            raise InputError(
                f"{where}: no layer {counts_from!r}{did_you_mean(counts_from, [*layers, 'X', 'raw'])}; correct counts_from"
            )
    if place not in group:
        raise InputError(
            f"{where}: no {place}; correct counts_from (there are {', '.join(['X', 'raw', *layers])} to choose from)"
        )
    item = group[place]
    shape = tuple(
        int(size)
        for size in (
            item.shape if isinstance(item, h5py.Dataset) else item.attrs.get("shape", item.attrs.get("h5sparse_shape"))
        )
    )
    if place == "raw/X" and len(shape) == 2 and shape[1] != n_features:
        raise InputError(
            f"{where}: raw has {shape[1]} features, var has {n_features}; "
            "store the raw counts of the same features as a layer, or write raw as a file of its own"
        )
    check_shape(shape, n_cells, n_features, f"{where}: {place}")
    return to_counts(_read_matrix(item, shape))


def _read_matrix(item: h5py.Group | h5py.Dataset, shape: tuple[int, ...]) -> sp.spmatrix | np.ndarray:
    if isinstance(item, h5py.Dataset):
        return item[:]
    kind = item.attrs.get("encoding-type", item.attrs.get("h5sparse_format"))
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    form = {"csr": sp.csr_matrix, "csc": sp.csc_matrix}.get(kind.removesuffix("_matrix"))
    if form is None:
        raise InputError(
            f"{item.file.filename}: {item.name} is stored as {kind!r}; store it as csr_matrix, csc_matrix or array"
        )
    matrix = form((item["data"][:], item["indices"][:], item["indptr"][:]), shape=shape)
    # The pointers come from a file: an index out of range would be read beyond the array later on.
    matrix.check_format(full_check=True)
    return matrix


def check_shape(shape: tuple[int, ...], n_cells: int, n_features: int, where: str) -> None:
    """Compare a matrix's shape with the number of cell and feature names; a transposed one is told apart."""
    if shape == (n_cells, n_features):
        return
    if shape == (n_features, n_cells):
        raise InputError(
            f"{where} is transposed: {shape[0]} x {shape[1]}, but there are {n_cells} cells and {n_features} features; "
            "store it as cells x features"
        )
    size = " x ".join(map(str, shape))
    raise InputError(
        f"{where} is {size}, but there are {n_cells} cells and {n_features} features; write the file again"
    )


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file to read it.

    Raises
    ------
    InputError
        If it is none, if it takes data from other files (HDF5 has three ways to, and each could name any file of this
        machine), or if it claims more values than its bytes can hold.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error}); fetch or make it again") from error
    try:
        _check_confined(file, path)
    except BaseException:
        file.close()
        raise
    return file


_CLAIM_BYTES = 2**30
"""A table or matrix below this size is let pass, whatever its bytes on disk."""

_PACKING = 2000
"""Values a byte on disk at most: deflate packs a thousandfold."""


def _check_confined(file: h5py.File, path: Path) -> None:
    groups, seen = [file], set()
    while groups:
        group = groups.pop()
        # Hard links may form a cycle.
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{path}: {group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink):
                raise InputError(f"{where} is a link to another file; write the data into this one")
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise InputError(f"{where} takes its values from other files; write them into this one")
                stored = item.id.get_storage_size()
                if item.nbytes > _CLAIM_BYTES and item.nbytes > _PACKING * stored:
                    raise InputError(
                        f"{where} claims {item.nbytes} bytes of values and holds {stored}; fetch or make the file again"
                    )
