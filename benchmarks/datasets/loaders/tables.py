"""Delimited text tables about cells or features, comma or tab, plain or gz, as GEO has them beside count matrices."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from benchmarks.datasets.registry import open_text
from benchmarks.errors import InputError, did_you_mean

_COORDINATES = {
    "chr": "chrom",
    "chromosome": "chrom",
    "seqname": "chrom",
    "seqnames": "chrom",
    "chromStart": "start",
    "chromEnd": "end",
}
"""What the columns of coordinates are called in tables of peaks -> our name."""

_KEPT = ("gene_id", "gene_name", "gene_short_name", "gene_symbol", "chrom", "start", "end")
"""Columns of tables of features that are of use; the others may have names that no file of ours could hold."""


def separator(line: str) -> str:
    """Tab if the line has one, else comma."""
    return "\t" if "\t" in line else ","


def read_table(path: Path, key: str | None, what: str) -> pd.DataFrame:
    """A table with a head line and one line a cell or feature.

    Parameters
    ----------
    path
        The file. R's ``write.table`` leaves out the head of a column of row names; that is understood.
    key
        Column of names; ``None``: the first.
    what
        Key of the registry that names the column, for messages.

    Returns
    -------
    pandas.DataFrame
        All columns as text, and the names as index too.

    Raises
    ------
    InputError
        If the file is no such table, a line is too short or too long, or the column is not there.
    """
    try:
        with open_text(path) as stream:
            first = stream.readline()
            stream.seek(0)
            rows = [row for row in csv.reader(stream, delimiter=separator(first)) if row]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error}); save it as UTF-8 TSV or CSV") from error
    if len(rows) < 2:
        raise InputError(f"{path}: no table with a head line and at least one line; fetch it again or correct path")
    head, body = rows[0], rows[1:]
    if len(body[0]) == len(head) + 1:
        head = ["", *head]
    for number, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise InputError(f"{path}: line {number} has {len(row)} columns, the head has {len(head)}; correct it")
    key = head[0] if key is None else key
    if key not in head:
        raise InputError(f"{path}: no column {key!r}{did_you_mean(key, head)}; correct {what}")
    table = pd.DataFrame(body, columns=head, dtype=object)
    names = table[key]
    return table.set_axis(pd.Index(names, dtype=object, name=None), axis=0)


def feature_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of a table of features: names, identifiers and coordinates under our names, nothing else; names as index.

    What identifiers are called is for :mod:`benchmarks.datasets.load`, which also makes the coordinates numbers.
    """
    var = table.rename(columns={old: new for old, new in _COORDINATES.items() if old in table and new not in table})
    return var[[column for column in var.columns if column in _KEPT]].copy()
