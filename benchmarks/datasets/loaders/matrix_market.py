"""Format ``matrix_market``: ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv``, plain or gz, as Cell Ranger and GEO have it."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path
from typing import BinaryIO, Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.loaders.modalities import join_files, split_by_type, to_counts
from benchmarks.datasets.registry import SINGLE, TRIPLET, DatasetEntry, find_triplet, is_gzip, open_text
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read one triplet with a column of feature types, or a triplet for each modality.

    The matrix is features x cells, as in these formats; one of cells x features is turned, and the result's
    ``uns["repairs"]`` says so.
    """
    triplets: dict[str, dict[str, Path]] = {}
    for role, path in paths.items():
        if role == "annotations":
            continue
        modality, _, part = role.rpartition(".")
        if part in TRIPLET:
            triplets.setdefault(modality or SINGLE, {})[part] = path
        else:
            if not path.is_dir():
                raise InputError(
                    f"{entry.where}.path: {path}: no such folder; name the folder that holds matrix.mtx, or the three files"
                )
            triplets[role] = find_triplet(path, entry.where)
    repairs: list[str] = []
    if SINGLE in triplets:
        files = triplets[SINGLE]
        obs, counts, var = _read_triplet(files, repairs)
        if "feature_type" in var:
            types = var["feature_type"]
        elif len(entry.modalities) == 1:
            types = pd.Series(entry.modality_names.get(entry.modalities[0], entry.modalities[0]), index=var.index)
        else:
            raise InputError(
                f"{files['features']}: no third column with feature types, so the modalities cannot be told apart; "
                "add it, or give a triplet for each modality"
            )
        data = split_by_type(entry, obs, counts, var, types, str(files["features"]), "the feature types")
    else:
        parts = {modality: _read_triplet(triplets[modality], repairs) for modality in entry.modalities}
        data = join_files(
            {modality: (obs, to_counts(counts), var) for modality, (obs, counts, var) in parts.items()},
            {modality: str(triplets[modality]["barcodes"]) for modality in entry.modalities},
        )
    data.uns["repairs"] = repairs
    return data


def _read_triplet(files: Mapping[str, Path], repairs: list[str]) -> tuple[pd.DataFrame, sp.spmatrix, pd.DataFrame]:
    barcodes = [fields[0] for fields in _lines(files["barcodes"])]
    var = _read_features(files["features"])
    sizes = ((files["features"], len(var)), (files["barcodes"], len(barcodes)))
    matrix = read_oriented(files["matrix"], *sizes, repairs)
    return pd.DataFrame(index=pd.Index(barcodes, dtype=object)), matrix, var


def read_oriented(path: Path, features: tuple[Path, int], cells: tuple[Path, int], repairs: list[str]) -> sp.spmatrix:
    """The matrix as cells x features, whichever way the file has it.

    Parameters
    ----------
    path
        Matrix Market file, plain or gz, of features x cells; one of cells x features is said in `repairs`.
    features, cells
        File of their names and number of them there.

    Raises
    ------
    InputError
        If the file is none, is cut off, or its size is not that of the names.
    """
    shape = _declared_shape(path)
    expected = (features[1], cells[1])
    if shape not in (expected, expected[::-1]):
        hint = "; does a table have a header line? remove it" if _off_by_one(shape, expected) else ""
        raise InputError(
            f"{path}: {shape[0]} x {shape[1]}, but {features[0].name} has {features[1]} lines and "
            f"{cells[0].name} {cells[1]}{hint or '; fetch the files that belong together'}"
        )
    matrix = _read_matrix(path)
    if shape == expected:
        return matrix.T
    repairs.append(f"{path.name}: transposed, it is cells x features ({shape[0]} x {shape[1]})")
    return matrix


def _off_by_one(shape: tuple[int, int], expected: tuple[int, int]) -> bool:
    return any(
        all(there - wanted in (0, 1) for wanted, there in zip(shape, form)) for form in (expected, expected[::-1])
    )


def _lines(path: Path) -> list[list[str]]:
    with open_text(path) as stream:
        return [line.rstrip("\r\n").split("\t") for line in stream if line.strip()]


def _read_features(path: Path) -> pd.DataFrame:
    """Columns by position: id, name, feature type, chrom, start, end; of a BED file: chrom, start, end."""
    lines = _lines(path)
    width = min((len(fields) for fields in lines), default=1)
    if path.name.removesuffix(".gz").endswith(".bed"):
        if width < 3:
            raise InputError(f"{path}: a line has fewer than three columns (chrom, start, end); write it again")
        names = [f"{chrom}:{start}-{end}" for chrom, start, end, *_ in lines]
        return pd.DataFrame(index=pd.Index(names, dtype=object))
    columns = ["id", "name", "feature_type", "chrom", "start", "end"][:width]
    var = pd.DataFrame([fields[: len(columns)] for fields in lines], columns=columns, dtype=object)
    var.index = pd.Index(var["name" if "name" in var else "id"], dtype=object, name=None)
    for column in ("start", "end"):
        if column in var:
            var[column] = pd.to_numeric(var[column], errors="coerce")
    return var


def _declared_shape(path: Path) -> tuple[int, int]:
    """The size in the head of the file, before anything of that size is allocated."""
    with open_text(path) as stream:
        first = stream.readline()
        if not first.lower().startswith("%%matrixmarket matrix coordinate"):
            raise InputError(f"{path}: does not start with '%%MatrixMarket matrix coordinate'; correct path or format")
        for line in stream:
            if line.strip() and not line.startswith("%"):
                sizes = line.split()
                if len(sizes) != 3 or not all(size.isdigit() for size in sizes):
                    break
                # An entry takes four bytes at least ("1 1" and a newline), and gzip packs a thousandfold at most.
                if 4 * int(sizes[2]) > (1100 if is_gzip(path) else 1) * path.stat().st_size:
                    raise InputError(f"{path}: is too short for its {sizes[2]} entries (cut off?); fetch it again")
                return int(sizes[0]), int(sizes[1])
    raise InputError(f"{path}: no line of sizes (features, cells, entries); fetch or make the file again")


class _Stream:
    """A Matrix Market file as scipy's parser may have it.

    Whole numbers are declared as real ones: of 0.5 the parser would silently read 0. And there is nothing but `read`:
    where it can also seek, the parser ends the whole process when it meets some faults.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = re.sub(rb"\binteger\b", b"real", stream.readline(), flags=re.IGNORECASE)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes; of the head line first."""
        if not self._head:
            return self._stream.read(size)
        size = len(self._head) if size < 0 else size
        part, self._head = self._head[:size], self._head[size:]
        return part


def _read_matrix(path: Path) -> sp.coo_matrix:
    # scipy goes by the ending, we by the content: GEO has gz files without one, and plain files that kept it.

    from scipy.io import mmread

    with gzip.open(path, "rb") if is_gzip(path) else open(path, "rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = sp.coo_matrix(mmread(_Stream(stream)))
    if np.iscomplexobj(matrix.data):
        raise InputError(f"{path}: holds complex numbers; counts are whole numbers")
    return matrix
