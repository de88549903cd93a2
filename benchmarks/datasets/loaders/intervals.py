"""Genomic intervals as names of peaks, and chromosomes as different files call them."""

from __future__ import annotations

import re
from typing import Iterable

import numpy as np
import pandas as pd

_INTERVAL = re.compile(r"(?P<chrom>[^\s:]+?)(?::|-|_)(?P<start>[\d,]+)(?:-|_)(?P<end>[\d,]+)")
_BARE = re.compile(r"[1-9]|[12]\d|X|Y|M|MT")


def parse_interval(name: str) -> tuple[str, int, int] | None:
    """Chromosome, start and end of a peak's name, or ``None`` if it is not an interval.

    Understands ``chr1:100-200``, ``chr1-100-200``, ``chr1_100_200``, ``1-100-200`` and mixtures; numbers may have
    commas. The chromosome is given as :func:`chromosome` does. Start and end are base pairs, as in the file.
    """
    match = _INTERVAL.fullmatch(str(name).strip())
    if match is None:
        return None
    digits = [match[key].replace(",", "") for key in ("start", "end")]
    if not all(digits) or any(len(item) > 12 for item in digits):
        return None
    start, end = (int(item) for item in digits)
    return (chromosome(match["chrom"]), start, end) if start <= end else None


def chromosome(name: str) -> str:
    """``chr1`` for ``1``, ``chrM`` for ``MT``; other names (``chr1``, scaffolds) stay as they are."""
    if _BARE.fullmatch(name):
        return "chrM" if name in ("M", "MT") else f"chr{name}"
    return name


def interval_table(names: Iterable[str]) -> pd.DataFrame | None:
    """Columns ``chrom``, ``start``, ``end`` for the names; ``None`` if none of them is an interval.

    A name that is no interval gets a missing ``chrom`` and -1 for both ends.
    """
    parsed = [parse_interval(name) for name in names]
    if not any(item is not None for item in parsed):
        return None
    return pd.DataFrame(
        {
            "chrom": np.array([None if item is None else item[0] for item in parsed], dtype=object),
            "start": np.array([-1 if item is None else item[1] for item in parsed], dtype=np.int64),
            "end": np.array([-1 if item is None else item[2] for item in parsed], dtype=np.int64),
        }
    )


def add_coordinates(var: pd.DataFrame, names_are_intervals: bool) -> None:
    """Give `var` the columns ``chrom``, ``start``, ``end``, from what it has: these, ``interval``, or its names."""
    if all(column in var for column in ("chrom", "start", "end")):
        start, end = (pd.to_numeric(var[column], errors="coerce") for column in ("start", "end"))
        known = start.notna() & end.notna() & (start <= end) & var["chrom"].notna()
        chrom = [chromosome(str(name)) if there else None for name, there in zip(var["chrom"], known)]
        var["chrom"] = np.array(chrom, dtype=object)
        var["start"], var["end"] = start.where(known, -1).astype(np.int64), end.where(known, -1).astype(np.int64)
        return
    sources = [var["interval"]] if "interval" in var else []
    sources += [var.index] if names_are_intervals else []
    for names in sources:
        table = interval_table(names)
        if table is not None:
            for column in table.columns:
                var[column] = table[column].to_numpy()
            return
