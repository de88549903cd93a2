"""Malformed data files: bytes damaged, parts of HDF5 files missing or of another form, values that are no counts.

A case changes files of :mod:`tests.bad_input.data_files` in place and says which entry reads them.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zipfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator

import h5py
import numpy as np

from tests.bad_input.data_files import CELLS, ENTRIES, FILES, GENES, N_CELLS

Change = Callable[[Path], None]


@dataclass(frozen=True)
class DataCase:
    """One malformed data set: `change` damages the good files in a folder, `entry` (with `keys`) reads them.

    `says` are words of the message; `refused` is false where a change may do no harm.
    """

    name: str
    kind: str
    entry: str
    change: Change
    says: tuple[str, ...] = ()
    keys: dict[str, Any] = field(default_factory=dict)
    refused: bool = True


# --- bytes ------------------------------------------------------------------------------------------------


def _replace(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _archive(kind: str) -> bytes:
    """An archive whose member would land outside of the folder that it is unpacked in."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("../../x", "x")
    else:
        with tarfile.open(fileobj=buffer, mode=kind) as archive:
            member = tarfile.TarInfo("../../x")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    return buffer.getvalue()


def _gzip_named(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile("../../x", "wb", fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "quarter": lambda content: content[: len(content) // 4],
    "half": lambda content: content[: len(content) // 2],
    "not found page": lambda content: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "zeros": lambda content: b"\0" * len(content),
    "random": lambda content: np.random.default_rng(0).bytes(len(content)),
    "git LFS pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zip that escapes": lambda content: _archive("zip"),
    "tar that escapes": lambda content: _archive("w"),
    "tar.gz that escapes": lambda content: _archive("w:gz"),
    "gzip cut off": lambda content: gzip.compress(content, mtime=0)[:-12],
    "gzip of nothing": lambda content: gzip.compress(b"", mtime=0),
    "gzip with another name inside": lambda content: _gzip_named(b"nothing of use"),
}

HARMLESS = {("half", "cells.tsv"), ("quarter", "cells.tsv")}
"""Half a table of annotations is a table: its other cells are unlabelled."""


def _byte_cases() -> Iterator[DataCase]:
    for file, entry in FILES.items():
        for name, damage in BYTES.items():
            if (name, file) in HARMLESS:
                continue

            def change(folder: Path, file: str = file, damage: Callable[[bytes], bytes] = damage) -> None:
                _replace(folder / file, damage((folder / file).read_bytes()))

            yield DataCase(f"{file}: {name}", "damaged file", entry, change)
        for name, act in (("missing", os.unlink), ("folder", _folder), ("dead link", _link)):
            yield DataCase(f"{file}: {name}", "damaged file", entry, lambda folder, a=act, f=file: a(folder / f))


# --- parts of HDF5 files ----------------------------------------------------------------------------------


def _edit(file: str, change: Callable[[h5py.File], None]) -> Change:
    def act(folder: Path) -> None:
        with h5py.File(folder / file, "r+") as opened:
            change(opened)

    return act


def _delete(place: str, file: h5py.File) -> None:
    del file[place]


def _put(place: str, value: Any, file: h5py.File) -> None:
    attributes = dict(file[place].attrs)
    del file[place]
    file[place] = value
    file[place].attrs.update(attributes)


def _strings(place: str, file: h5py.File) -> None:
    _put(place, np.array([b"$(touch x)"] * max(1, file[place].shape[0])), file)


def _shorter(place: str, file: h5py.File) -> None:
    _put(place, file[place][:-1], file)


def _enormous(place: str, file: h5py.File) -> None:
    attributes, kind = dict(file[place].attrs), file[place].dtype
    del file[place]
    file.create_dataset(place, shape=(10**13,), dtype=kind, chunks=(1024,)).attrs.update(attributes)


def _external(place: str, file: h5py.File) -> None:
    del file[place]
    file[place] = h5py.ExternalLink("/etc/hostname", "/")


def _loop(place: str, file: h5py.File) -> None:
    del file[place]
    file[place] = h5py.SoftLink(f"/{place}")


def _raw(place: str, file: h5py.File) -> None:
    """The dataset's bytes are those of another file of this machine."""
    attributes, shape, kind = dict(file[place].attrs), file[place].shape, file[place].dtype
    del file[place]
    size = int(np.prod(shape)) * kind.itemsize
    file.create_dataset(place, shape=shape, dtype=kind, external=[("/etc/passwd", 0, size)]).attrs.update(attributes)


PARTS: dict[str, Callable[..., None]] = {
    "deleted": _delete,
    "a number": lambda place, file: _put(place, 5, file),
    "empty": lambda place, file: _put(place, np.array([], dtype=np.int64), file),
    "strings": _strings,
    "one shorter": _shorter,
    "negative": lambda place, file: _put(place, -np.ones(file[place].shape, dtype=np.int64), file),
    "enormous": lambda place, file: _put(place, np.full(file[place].shape, 2**62), file),
    "a claim of terabytes": _enormous,
    "a link to another file": _external,
    "a link to itself": _loop,
    "bytes of another file": _raw,
}

NUMBERS = {
    "a.h5mu": ["mod/rna/X/data", "mod/rna/X/indices", "mod/rna/X/indptr", "mod/atac/X/indptr"],
    "rna.h5ad": ["X/data", "X/indices", "X/indptr"],
    "tenx.h5": ["matrix/data", "matrix/indices", "matrix/indptr", "matrix/shape"],
}
TEXTS = {
    "a.h5mu": ["obs/_index", "mod/rna/obs/_index", "mod/rna/var/_index"],
    "tenx.h5": ["matrix/barcodes", "matrix/features/id", "matrix/features/name", "matrix/features/feature_type"],
}
GROUPS = {
    "a.h5mu": ["mod", "obs", "mod/rna", "mod/rna/X", "mod/rna/obs", "mod/rna/var"],
    "rna.h5ad": ["obs", "var", "X"],
    "typed.h5ad": ["obs", "var", "X"],
    "tenx.h5": ["matrix", "matrix/features"],
}


def _part_cases() -> Iterator[DataCase]:
    kind = "part of an HDF5 file"
    for file, places in NUMBERS.items():
        for place in places:
            for name, act in PARTS.items():
                # Counts of any size are counts.
                if place.endswith("data") and name == "enormous":
                    continue
                yield DataCase(f"{file}: {place} {name}", kind, FILES[file], _edit(file, partial(act, place)))
    for file, places in TEXTS.items():
        for place in places:
            for name in ("deleted", "a number", "empty", "strings", "one shorter", "a claim of terabytes",
                         "a link to another file", "a link to itself"):  # fmt: skip
                # Identifiers of genes may be anything; there just have to be as many.
                harmless = name == "strings" and place.split("/")[-1] in ("id", "name", "_index")
                change = _edit(file, partial(PARTS[name], place))
                yield DataCase(f"{file}: {place} {name}", kind, FILES[file], change, refused=not harmless)
    for file, places in GROUPS.items():
        for place in places:
            for name in ("deleted", "a link to another file", "a link to itself"):
                yield DataCase(f"{file}: {place} {name}", kind, FILES[file], _edit(file, partial(PARTS[name], place)))
            yield DataCase(f"{file}: {place} a text", kind, FILES[file], _edit(file, partial(_put_text, place)))


def _put_text(place: str, file: h5py.File) -> None:
    del file[place]
    file[place] = "text"


# --- values and names -------------------------------------------------------------------------------------


def _value(value: float) -> Change:
    def change(file: h5py.File) -> None:
        values = file["mod/rna/X/data"][:].astype(np.float64)
        values[3] = value
        _put("mod/rna/X/data", values, file)

    return _edit("a.h5mu", change)


def _tenx_value(value: int) -> Change:
    def change(file: h5py.File) -> None:
        file["matrix/data"][3] = value

    return _edit("tenx.h5", change)


def _index(place: str, names: list[str]) -> Change:
    return _edit("a.h5mu", lambda file: _put(place, np.array(names, dtype=h5py.string_dtype()), file))


def _shape(place: str, shape: tuple[int, ...]) -> Change:
    return _edit("a.h5mu", lambda file: file[place].attrs.__setitem__("shape", np.array(shape)))


def _lines(file: str, change: Callable[[list[str]], list[str]]) -> Change:
    def act(folder: Path) -> None:
        path = folder / file
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return act


def _cell(file: str, line: int, column: int, text: str) -> Change:
    def change(lines: list[str]) -> list[str]:
        fields = lines[line].split("\t")
        fields[column] = text
        return [*lines[:line], "\t".join(fields), *lines[line + 1 :]]

    return _lines(file, change)


def _matrix_line(line: int, text: str) -> Change:
    return _lines("triplet/matrix.mtx", lambda lines: [*lines[:line], text, *lines[line + 1 :]])


def _nothing(folder: Path) -> None:
    """The files are good; the entry is not about them."""


def _value_cases() -> Iterator[DataCase]:
    kind = "values that are no counts"
    for name, value, words in (
        ("NaN", np.nan, "no finite number"), ("infinite", np.inf, "no finite number"), ("negative", -1.0, "is negative"),
        ("minus infinite", -np.inf, "no finite number"), ("half", 0.5, "not a whole number"),
        ("log-normalised", 0.6931, "not a whole number"), ("beyond float32", 1e300, "no finite number"),
    ):  # fmt: skip
        yield DataCase(f"a.h5mu: {name}", kind, "h5mu", _value(value), ("rna", words))
    yield DataCase("tenx.h5: negative", kind, "tenx", _tenx_value(-5), ("is negative",))
    for name, text in (("text", "many"), ("NaN", "nan"), ("negative", "-3"), ("half", "0.5"), ("empty", ""), ("formula", "=1+1"),
                       ("command", "$(touch x)"), ("infinite", "inf"), ("hexadecimal", "0x10"), ("two numbers", "1 2")):  # fmt: skip
        yield DataCase(f"dense.tsv: {name}", kind, "dense", _cell("dense.tsv", 2, 3, text))
    for name, text in (("NaN", "1 1 nan"), ("text", "1 1 many"), ("negative", "1 1 -3"), ("row 0", "0 1 1"), ("row -1", "-1 1 1"),
                       ("row beyond", "9999 1 1"), ("column beyond", "1 9999 1"), ("two columns", "1 1"), ("fraction", "1 1 0.5")):  # fmt: skip
        yield DataCase(f"matrix.mtx: {name}", kind, "triplet", _matrix_line(5, text))
    for name, text in (("no sizes", "% nothing"), ("sizes as text", "a b c"), ("negative sizes", "-20 30 5"), ("two sizes", "20 30"),
                       ("too many entries", "20 30 999999999999"), ("enormous", f"{10**18} {10**18} 5"),
                       ("too few entries", "20 30 5"), ("another size", "21 31 400")):  # fmt: skip
        yield DataCase(f"matrix.mtx: {name}", "wrong shape", "triplet", _matrix_line(1, text))
    for name, text in (("no header", "20 30 400"), ("array", "%%MatrixMarket matrix array integer general"),
                       ("complex", "%%MatrixMarket matrix coordinate complex general"),
                       ("symmetric", "%%MatrixMarket matrix coordinate integer symmetric"),
                       ("unknown field", "%%MatrixMarket matrix coordinate octal general")):  # fmt: skip
        yield DataCase(f"matrix.mtx: {name}", "wrong shape", "triplet", _matrix_line(0, text))


def _shape_cases() -> Iterator[DataCase]:
    kind = "wrong shape"
    for name, shape in (("transposed", (GENES, N_CELLS)), ("more cells", (N_CELLS + 1, GENES)), ("fewer genes", (N_CELLS, GENES - 1)),
                        ("one number", (N_CELLS,)), ("three numbers", (N_CELLS, GENES, 1)), ("negative", (-1, GENES)),
                        ("enormous", (10**15, 10**15)), ("nothing", (0, 0))):  # fmt: skip
        yield DataCase(f"a.h5mu: {name}", kind, "h5mu", _shape("mod/rna/X", shape), ("a.h5mu",))
    for file, entry in (
        ("triplet/barcodes.tsv", "triplet"),
        ("triplet/features.tsv", "triplet"),
        ("genes.tsv", "tables"),
    ):
        yield DataCase(f"{file}: a line less", kind, entry, _lines(file, lambda lines: lines[:-1]))
        yield DataCase(f"{file}: a line more", kind, entry, _lines(file, lambda lines: [*lines, lines[-1]]))
    yield DataCase(
        "barcodes.tsv: a header", kind, "triplet", _lines("triplet/barcodes.tsv", lambda lines: ["barcode", *lines])
    )
    yield DataCase("dense.tsv: a column less in one line", kind, "dense", _lines(
        "dense.tsv", lambda lines: [*lines[:4], lines[4].rsplit("\t", 1)[0], *lines[5:]]))  # fmt: skip
    yield DataCase("dense.tsv: a column more in one line", kind, "dense", _lines(
        "dense.tsv", lambda lines: [*lines[:4], lines[4] + "\t1", *lines[5:]]))  # fmt: skip
    yield DataCase("dense.tsv: head alone", kind, "dense", _lines("dense.tsv", lambda lines: lines[:1]))
    yield DataCase("dense.tsv: no head", kind, "dense", _lines("dense.tsv", lambda lines: lines[1:]))
    yield DataCase("dense.tsv: cells in rows", kind, "dense", _nothing, keys={"table": {"cells_in": "rows"}})
    yield DataCase(
        "rna and atac exchanged", kind, "h5mu", _edit("a.h5mu", lambda file: file["mod"].move("rna", "protein"))
    )


def _name_cases() -> Iterator[DataCase]:
    kind = "names and columns"
    twice = [*CELLS[:-1], CELLS[0]]
    others = [f"other{number}" for number in range(N_CELLS)]
    yield DataCase("cell names twice", kind, "h5mu", _index("obs/_index", twice), ("is there 2 times",))
    yield DataCase(
        "cell names twice in a modality", kind, "h5mu", _index("mod/rna/obs/_index", twice), ("more than once",)
    )
    yield DataCase("an empty cell name", kind, "h5mu", _both([*CELLS[:-1], ""]), ("empty name",))
    yield DataCase("other cells in a modality", kind, "h5mu", _index("mod/rna/obs/_index", others), ("other0",))
    yield DataCase("other cells in the table", kind, "h5mu", _index("obs/_index", others))
    yield DataCase("genes named as cells", kind, "h5mu", _index("mod/rna/var/_index", CELLS[:GENES]), ("transposed",))
    pair = "modalities have no cell in common"
    yield DataCase("files of different cells", kind, "pair", _pair(others), (pair,))
    yield DataCase("a cell twice in a file", kind, "pair", _pair(twice), ("is there 2 times",))
    yield DataCase(
        "barcodes twice", kind, "triplet", _cell("triplet/barcodes.tsv", 1, 0, CELLS[0]), ("is there 2 times",)
    )
    yield DataCase("a barcode without a name", kind, "tenx", _edit(
        "tenx.h5", lambda file: file["matrix/barcodes"].__setitem__(3, b"")), ("empty name",))  # fmt: skip
    yield DataCase("barcodes that are no UTF-8", kind, "tenx", _edit(
        "tenx.h5", lambda file: file["matrix/barcodes"].__setitem__(3, b"\xff\xfe")))  # fmt: skip
    for key, entry in (
        ("labels", "h5mu"),
        ("batch", "h5mu"),
        ("site", "h5mu"),
        ("donor", "pair"),
        ("condition", "typed"),
    ):
        yield DataCase(f"{key}: no such column", kind, entry, _nothing, ("column 'cell_typ'", key), {key: "cell_typ"})
    yield DataCase(
        "pseudotime: no such column", kind, "h5mu", _nothing, ("'time'", "pseudotime"), {"pseudotime": ["time"]}
    )
    yield DataCase(
        "pseudotime: text", kind, "h5mu", _nothing, ("'B cell'", "pseudotime"), {"pseudotime": ["cell_type"]}
    )
    yield DataCase(
        "unlabelled: no such label", kind, "h5mu", _nothing, ("'doublet'", "unlabelled"), {"unlabelled": ["doublet"]}
    )
    yield DataCase("label column deleted", kind, "h5mu", _edit("a.h5mu", partial(_delete, "obs/cell_type")))
    yield DataCase("batch column deleted", kind, "h5mu", _edit("a.h5mu", partial(_delete, "obs/batch")))
    yield DataCase("codes of labels out of range", kind, "h5mu", _edit(
        "a.h5mu", lambda file: file["obs/cell_type/codes"].__setitem__(0, 99)))  # fmt: skip
    yield DataCase("cells without a batch", kind, "h5mu", _edit(
        "a.h5mu", lambda file: file["obs/batch/codes"].__setitem__(0, -1)), ("without a batch",))  # fmt: skip
    for name, keys in (
        ("modality that is not there", {"modalities": ["rna", "protein"]}),
        ("modality under another name", {"modality_names": {"rna": "gex"}}),
        ("layer that is not there", {"counts_from": "spliced"}), ("raw that is not there", {"counts_from": "raw"}),
        ("layer with a path", {"counts_from": "../X"}), ("names without a separator", {"split_features": "|"}),
        ("names that become equal", {"cell_names": {"replace": {character: "" for character in "ACGT"}}}),
        ("filter that leaves no cell", {"filters": {"keep": {"batch": ["b9"]}}}),
        ("filter on a column that is not there", {"filters": {"keep": {"plate": ["1"]}}}),
        ("filter that leaves no gene", {"filters": {"min_cells": {"rna": 1000}}}),
        ("filter that no cell passes", {"filters": {"min_features": {"rna": 1000}}}),
    ):  # fmt: skip
        yield DataCase(name, kind, "h5mu", _nothing, keys=keys)
    yield DataCase(
        "column of feature types that is not there", kind, "typed", _nothing, keys={"feature_type_column": "kind"}
    )
    yield DataCase(
        "annotations without the column", kind, "tenx", _nothing, ("'barcode'",), {"annotations_key": "barcode"}
    )
    yield DataCase("annotations of other cells", kind, "tenx", _lines(
        "cells.tsv", lambda lines: [lines[0], *(f"x{line}" for line in lines[1:])]), ("names no cell",))  # fmt: skip
    yield DataCase("annotations that name a cell twice", kind, "tenx", _lines(
        "cells.tsv", lambda lines: [*lines, lines[1]]), ("named twice",))  # fmt: skip
    yield DataCase(
        "annotations with a short line", kind, "tenx", _lines("cells.tsv", lambda lines: [*lines, "A"]), ("line 32",)
    )
    yield DataCase(
        "annotations with an open quote", kind, "tenx", _lines("cells.tsv", lambda lines: [*lines, '"A\tB\tC'])
    )
    yield DataCase("annotations in Latin-1", kind, "tenx", lambda folder: _replace(
        folder / "cells.tsv", (folder / "cells.tsv").read_bytes() + b"\xe9\t\xe9\t\xe9\n"))  # fmt: skip
    yield DataCase("annotations with a field of a megabyte", kind, "tenx", _lines(
        "cells.tsv", lambda lines: [*lines, "a" * 2**20 + "\tb\tc"]))  # fmt: skip
    yield DataCase(
        "label names without one", kind, "named", _lines("labels.tsv", lambda lines: lines[:-1]), ("'T cell'",)
    )
    yield DataCase(
        "label names with two for one", kind, "named", _lines("labels.tsv", lambda lines: [*lines, "T cell\tX"])
    )
    yield DataCase(
        "label names without the column", kind, "named", _lines("labels.tsv", lambda lines: ["id\tnames", *lines[1:]])
    )
    yield DataCase("feature types that are unknown", kind, "triplet", _lines(
        "triplet/features.tsv", lambda lines: [line.replace("Peaks", "$(touch x)") for line in lines]), ("'atac'",))  # fmt: skip
    yield DataCase("feature types left out", kind, "triplet", _lines(
        "triplet/features.tsv", lambda lines: [line.rsplit("\t", 1)[0] for line in lines]), ("feature types",))  # fmt: skip
    yield DataCase("two matrices in a folder", kind, "triplet", lambda folder: shutil.copy(
        folder / "triplet/matrix.mtx", folder / "triplet/other.matrix.mtx"), ("several files",))  # fmt: skip
    yield DataCase("parts of different cells", kind, "parts", _lines(
        "dense.tsv", lambda lines: ["\t".join(["gene", *(f"c{i}" for i in range(N_CELLS))]), *lines[1:]]), (pair,))  # fmt: skip


def _both(names: list[str]) -> Change:
    def change(folder: Path) -> None:
        for place in ("obs/_index", "mod/rna/obs/_index", "mod/atac/obs/_index"):
            _index(place, names)(folder)

    return change


def _pair(names: list[str]) -> Change:
    return _edit(
        "rna.h5ad",
        lambda file: _put(f"obs/{file['obs'].attrs['_index']}", np.array(names, dtype=h5py.string_dtype()), file),
    )


def data_cases() -> Iterator[DataCase]:
    """All cases of data files."""
    yield from _byte_cases()
    yield from _part_cases()
    yield from _value_cases()
    yield from _shape_cases()
    yield from _name_cases()


__all__ = ["ENTRIES", "DataCase", "data_cases"]
