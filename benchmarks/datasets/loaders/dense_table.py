"""Format ``dense_table``: every count written out in delimited text, a line a feature (or a cell), plain or gz.

Layouts that GEO has: SHARE-seq (GSE140203, ``...rna.counts.txt.gz``: tab, head line ``gene`` and the cells), SNARE-seq
(GSE126074, ``..._counts.tsv.gz``: as R writes it, the head lacks the corner), the human cortex (GSE162170,
``multiome_atac_counts.tsv.gz``: numbers alone, the names are in tables beside it), TEA-seq (GSE158013,
``..._adt_counts.csv.gz``: comma, a line a cell, and a column of totals).
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Mapping, TextIO

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.loaders.modalities import to_counts
from benchmarks.datasets.loaders.tables import feature_table, read_table, separator
from benchmarks.datasets.registry import SINGLE, DatasetEntry, open_text
from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the table line by line, keeping what is not zero; the entry has one modality."""
    (modality,) = entry.modalities
    path = paths[SINGLE] if SINGLE in paths else paths["counts"]
    with open_text(path) as stream:
        columns, rows, matrix = _read(entry, path, stream)
    if entry.table.get("cells_in", "columns") == "columns":
        cells, features, counts = columns, rows, matrix.T
    else:
        cells, features, counts = rows, columns, matrix
    obs = _names(entry, paths, "cells", cells, counts.shape[0], path)
    var = _names(entry, paths, "features", features, counts.shape[1], path)
    return Multimodal(obs, {modality: to_counts(counts)}, {modality: feature_table(var)})


def _read(entry: DatasetEntry, path: Path, stream: TextIO) -> tuple[list[str] | None, list[str] | None, sp.csr_matrix]:
    """Names of columns and of rows, as far as the table has them, and its values."""
    where = f"{path}"
    lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream, start=1))
    filled = ((number, line) for number, line in lines if line.strip())
    named_rows = entry.table.get("row_names", True)
    head = None
    if entry.table.get("header", True):
        _, text = next(filled, (0, ""))
        head = [_unquoted(name) for name in text.split(separator(text))] if text else None
    first = next(filled, None)
    if first is None:
        raise InputError(f"{where}: no line of counts; fetch it again, or correct table.header of {entry.name!r}")
    mark = separator(first[1])
    width = len(first[1].split(mark)) - (1 if named_rows else 0)
    if head is not None:
        # R's write.table leaves out the head of the column of row names.
        head = head[1:] if len(head) == width + 1 else head
        if len(head) != width:
            raise InputError(
                f"{where}: line {first[0]} has {width} counts, the head line names {len(head)} columns; "
                f"fetch it again, or correct table.header or table.row_names of data set {entry.name!r}"
            )
    kept, head = _kept(entry, head, width, where)
    names, data, indices, indptr = [], [], [], [0]
    for number, line in itertools.chain([first], filled):
        name, _, text = line.partition(mark) if named_rows else ("", "", line)
        values = _numbers(text, mark, width, f"{where}: line {number}", head)
        values = values if kept is None else values[kept]
        there = np.flatnonzero(values)
        names.append(_unquoted(name))
        indices.append(there.astype(np.int32))
        data.append(values[there])
        indptr.append(indptr[-1] + len(there))
    shape = (len(names), width if kept is None else len(kept))
    matrix = sp.csr_matrix((np.concatenate(data), np.concatenate(indices), np.array(indptr)), shape=shape)
    return head, names if named_rows else None, matrix


def _kept(
    entry: DatasetEntry, head: list[str] | None, width: int, where: str
) -> tuple[np.ndarray | None, list[str] | None]:
    """Positions of the columns that are not dropped (``None``: all), and their names."""
    drop = entry.table.get("drop", ())
    if not drop:
        return None, head
    for name in drop:
        if head is None or name not in head:
            raise InputError(
                f"{where}: no column {name!r}{did_you_mean(name, head or [])}; correct table.drop of {entry.name!r}"
            )
    kept = np.array([position for position in range(width) if head[position] not in drop], dtype=np.intp)
    return kept, [head[position] for position in kept]


def _numbers(text: str, mark: str, width: int, where: str, head: list[str] | None) -> np.ndarray:
    """The numbers of one line, float32; the first that is none is named."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(text, dtype=np.float32, sep=mark)
        except (ValueError, DeprecationWarning):
            values = None
    if values is not None and len(values) == width:
        return values
    fields = text.split(mark)
    if len(fields) != width:
        raise InputError(f"{where} has {len(fields)} counts, the first line has {width} (cut off?); fetch it again")
    values = np.empty(width, dtype=np.float32)
    for position, item in enumerate(fields):
        try:
            values[position] = float(_unquoted(item))
        except ValueError as error:
            column = f"{head[position]!r}" if head and len(head) == width else str(position + 1)
            raise InputError(
                f"{where}, column {column}: {item!r} is no number; correct it or fetch it again"
            ) from error
    return values


def _names(
    entry: DatasetEntry, paths: Mapping[str, Path], role: str, own: list[str] | None, n: int, path: Path
) -> pd.DataFrame:
    """Table of cells or features: a file of its own in the order of the counts, or the names in the counts."""
    if role in paths:
        key = f"{role}_key"
        table = read_table(paths[role], entry.table.get(key), f"table.{key} of data set {entry.name!r}")
        if len(table) != n:
            raise InputError(
                f"{path}: {n} {role}, but {paths[role].name} has {len(table)} lines; fetch the files that belong together"
            )
        return table
    if own is None:
        option = "header" if (role == "cells") == (entry.table.get("cells_in", "columns") == "columns") else "row_names"
        raise InputError(
            f"{path}: no names of {role}, as table.{option} is false; name their table in path.{role} of {entry.name!r}"
        )
    return pd.DataFrame(index=pd.Index(own, dtype=object))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
