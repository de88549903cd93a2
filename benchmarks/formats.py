"""The file contracts: every file that one stage writes and another one reads.

Four kinds of files travel through the workflow, and both ``models`` and ``benchmarks`` speak of them only
through this module:

==============  ===========================  =====================================================
kind            file                         in memory
==============  ===========================  =====================================================
data set        ``data.h5mu``                :class:`Multimodal`
design          ``visible.h5mu``             :class:`Multimodal`, seen by the model
                ``truth.h5mu``               :class:`Multimodal`, seen by the metrics alone
model output    ``embedding.h5ad``           :class:`Embedding`
                ``prediction.h5mu``          ``dict`` of :class:`Prediction`
                ``record.json``              :class:`RunRecord`
scores          ``scores.tsv``, ``.parquet`` data frame with :data:`SCORE_COLUMNS`
==============  ===========================  =====================================================

The ``.h5mu`` files follow MuData's on-disk format and open with :func:`mudata.read_h5mu`. They are written
here element by element (through :mod:`anndata.io`) because the same content has to give the same bytes, and
because a modality may hold fewer observations than the file as a whole (unpaired data).

Every write is atomic: a file appears under its name complete or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.hdf5 import new_hdf5

SCHEMA_VERSION = 1
"""Version of all contracts in this module; written into every file and checked by every reader."""

MODALITIES = ("rna", "atac", "protein")
"""Known modalities, in the order in which they are always listed."""

STATUSES = ("ok", "failed", "diverged", "timeout", "out_of_memory", "not_applicable", "not_available")
"""How a run can end. Everything but ``ok`` is a recorded result with a reason and no embedding."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
"""Errors of the operating system that are the disk's: full, over quota, read-only, failing, file too large."""

SCORE_COLUMNS = (
    "study",
    "dataset",
    "design",
    "n_cells",
    "unpaired_fraction",
    "replicate",
    "model",
    "variant",
    "seed",
    "metric",
    "value",
    "status",
    "reason",
)
"""Columns of the tidy score table: one row a (study, data set, design, model, variant, seed, metric)."""


# --------------------------------------------------------------------------------------------------------
# Atomic writes and digests
# --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; move it to `path` on success, remove it on failure.

    Raises
    ------
    InputError
        If the folder cannot be written, or the disk is full or fails while the file is being written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot write here ({error.strerror}); free space or choose another results folder"
        ) from error
    temporary = Path(name)
    try:
        # Held while the file is being written: what nobody holds was left by a process that was killed.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except Exception as error:
        number = _disk_error(error)
        if number is None:
            raise
        # The space has to be given back first: the message may go to a log on the same disk.
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written ({os.strerror(number)}); nothing is left of it: free space or choose "
            "another results folder, and run again to go on"
        ) from error
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _disk_error(error: BaseException | None) -> int | None:
    """The disk's error that `error` is, or that a library stumbled over while it was handling it; ``None`` if none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` to `path` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write `content` as indented, key-sorted JSON atomically; NaN and infinities become ``null``."""
    write_text(
        path, json.dumps(_jsonable(content), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file; a file that is not JSON is an :class:`InputError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the workflow again") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); delete it and run again to make it anew") from error


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a data frame atomically; the ending decides: ``.tsv`` (floats with all digits) or ``.parquet``."""
    path = Path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            # By way of memory: Arrow takes no path that the locale cannot decode, and pandas hands it a file's path.
            content = io.BytesIO()
            table.to_parquet(content, index=False)
            Path(temporary).write_bytes(content.getbuffer())
        else:
            table.to_csv(temporary, sep="\t", index=False, lineterminator="\n", na_rep="NA")


def read_table(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote; what is none is an :class:`InputError` that names it."""
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(io.BytesIO(path.read_bytes()))
        return pd.read_csv(path, sep="\t", na_values=["NA"], keep_default_na=False, float_precision="round_trip")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the workflow again") from error
    except (OSError, ValueError) as error:  # Arrow's and pandas' parsing errors are among these.
        text = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable table ({text}); delete it and run again to make it anew") from error


def canonical_json(content: Any) -> str:
    """One line of JSON that is equal for equal content: sorted keys, no spaces, 1.0 and 1 alike."""

    def normalise(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): normalise(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [normalise(item) for item in value]
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    return json.dumps(normalise(_jsonable(content)), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(content: Any, length: int = 8) -> str:
    """First `length` hexadecimal digits of the SHA-256 of :func:`canonical_json` of `content`."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:length]


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return [_jsonable(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if dataclasses.is_dataclass(value):
        return _jsonable(dataclasses.asdict(value))
    if isinstance(value, Path):
        return str(value)
    return value


# --------------------------------------------------------------------------------------------------------
# Data sets and designs: counts of several modalities over one list of observations
# --------------------------------------------------------------------------------------------------------


@dataclass
class Multimodal:
    """Counts of one or more modalities over a common list of observations.

    Attributes
    ----------
    obs
        One row an observation (a cell, or one half of an unpaired cell); the index holds unique names.
    counts
        Modality -> CSR matrix, float32, non-negative integers, observations that have the modality x features.
    var
        Modality -> one row a feature; ``atac`` has ``chrom``, ``start``, ``end`` where known.
    rows
        Modality -> int64 positions in `obs` of the rows of ``counts[modality]``, strictly increasing.
        Left out, every observation has the modality.
    uns
        Small unstructured facts (JSON-like: strings, numbers, lists, dictionaries).
    """

    obs: pd.DataFrame
    counts: dict[str, sp.csr_matrix]
    var: dict[str, pd.DataFrame]
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    uns: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = {name: self.counts[name] for name in ordered_modalities(self.counts)}
        for modality, matrix in self.counts.items():
            rows = self.rows.get(modality)
            rows = np.arange(self.n_obs) if rows is None else np.asarray(rows, dtype=np.int64)
            if len(rows) != matrix.shape[0]:
                raise ValueError(f"{modality}: {matrix.shape[0]} rows of counts for {len(rows)} observations")
            if len(rows) and (np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= self.n_obs):
                raise ValueError(f"{modality}: row positions must increase and lie in [0, {self.n_obs})")
            if len(self.var[modality]) != matrix.shape[1]:
                raise ValueError(f"{modality}: {matrix.shape[1]} columns for {len(self.var[modality])} features")
            self.rows[modality] = rows

    @property
    def n_obs(self) -> int:
        """Number of observations."""
        return len(self.obs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities present, in the order of :data:`MODALITIES`."""
        return tuple(self.counts)

    def has(self, modality: str) -> np.ndarray:
        """Boolean mask over the observations: which have `modality`."""
        mask = np.zeros(self.n_obs, dtype=bool)
        if modality in self.rows:
            mask[self.rows[modality]] = True
        return mask

    @property
    def complete(self) -> np.ndarray:
        """Boolean mask over the observations: which have every modality."""
        mask = np.ones(self.n_obs, dtype=bool)
        for modality in self.modalities:
            mask &= self.has(modality)
        return mask

    def padded(self, modality: str) -> sp.csr_matrix:
        """Counts of all observations, zeros where `modality` is missing; n_obs x features, CSR."""
        matrix, rows = self.counts[modality], self.rows[modality]
        indptr = np.zeros(self.n_obs + 1, dtype=np.int64)
        indptr[rows + 1] = np.diff(matrix.indptr)
        return sp.csr_matrix((matrix.data, matrix.indices, np.cumsum(indptr)), shape=(self.n_obs, matrix.shape[1]))

    def subset(self, positions: np.ndarray) -> "Multimodal":
        """The observations at `positions` (any order, no repeats), with every modality they have."""
        positions = np.asarray(positions, dtype=np.int64)
        counts, rows = {}, {}
        for modality in self.modalities:
            where = np.full(self.n_obs, -1, dtype=np.int64)
            where[self.rows[modality]] = np.arange(len(self.rows[modality]))
            local = where[positions]
            counts[modality] = self.counts[modality][local[local >= 0]]
            rows[modality] = np.flatnonzero(local >= 0)
        return Multimodal(self.obs.iloc[positions].copy(), counts, dict(self.var), rows, dict(self.uns))

    def to_mudata(self, fill_missing: bool = False):
        """Return a :class:`mudata.MuData`; with `fill_missing`, absent modalities become all-zero rows."""
        import anndata
        import mudata

        modalities = {}
        for modality in self.modalities:
            obs = self.obs if fill_missing else self.obs.iloc[self.rows[modality]]
            matrix = self.padded(modality) if fill_missing else self.counts[modality]
            modalities[modality] = anndata.AnnData(X=matrix.copy(), obs=obs.copy(), var=self.var[modality].copy())
        with mudata.set_options(pull_on_update=False):
            mdata = mudata.MuData(modalities)
        mdata.obs = self.obs.loc[mdata.obs_names].copy()
        return mdata


def ordered_modalities(names) -> list[str]:
    """Sort modality names in the order of :data:`MODALITIES`; an unknown one is an :class:`InputError`."""
    unknown = [name for name in names if name not in MODALITIES]
    if unknown:
        raise InputError(f"unknown modality {unknown[0]!r}; known: {', '.join(MODALITIES)}")
    return [name for name in MODALITIES if name in names]


def write_h5mu(path: str | os.PathLike, data: Multimodal) -> None:
    """Write `data` as ``.h5mu``, atomically and reproducibly (equal content, equal bytes)."""
    with atomic_path(path) as temporary, h5mu_file(temporary, data.obs, data.uns) as file:
        for modality in data.modalities:
            write_modality(file, modality, data.obs, data.counts[modality], data.var[modality], data.rows[modality])


_USERBLOCK = b"MuData (format-version=0.1.0;creator=muon;creator-version=0.1.0)"


@contextlib.contextmanager
def h5mu_file(path: str | os.PathLike, obs: pd.DataFrame, uns: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new ``.h5mu`` with its top-level parts written; the caller adds the modalities.

    A stream of a million cells uses this and :func:`write_modality` with ``counts=None`` and then appends to
    ``mod/<modality>/X`` itself; everybody else uses :func:`write_h5mu`.
    """
    from anndata.io import write_elem

    path = Path(path)
    with new_hdf5(path, userblock_size=512) as file:
        file.attrs.update(
            {
                "encoding-type": "MuData",
                "encoding-version": "0.1.0",
                "encoder": "mosaicbench",
                "encoder-version": str(SCHEMA_VERSION),
                "axis": 0,
            }
        )
        write_elem(file, "obs", _writable(obs))
        write_elem(file, "var", pd.DataFrame(index=pd.Index([], dtype=object)))
        for name in ("obsm", "varm", "obsp", "varp", "obsmap", "varmap"):
            write_elem(file, name, {})
        write_elem(
            file,
            "uns",
            {"mosaicbench": json.dumps(_jsonable({**uns, "schema_version": SCHEMA_VERSION}), sort_keys=True)},
        )
        file.create_group("mod").attrs["mod-order"] = np.array([], dtype=h5py.string_dtype())
        yield file
        names = [name for name in MODALITIES if name in file["mod"]]
        file["mod"].attrs["mod-order"] = np.array(names, dtype=h5py.string_dtype())
        indices = [file[f"mod/{name}/var/_index"].asstr()[:].astype(str) for name in names]
        del file["var"]
        merged = np.concatenate(indices) if indices else np.array([], dtype=object)
        write_elem(file, "var", pd.DataFrame(index=pd.Index(merged.astype(object))), dataset_kwargs=_COMPRESSION)
        start = 0
        for name, index in zip(names, indices):
            varmap = np.zeros(len(merged), dtype=np.uint32)
            varmap[start : start + len(index)] = np.arange(1, len(index) + 1)
            start += len(index)
            write_elem(file, f"varmap/{name}", varmap, dataset_kwargs=_COMPRESSION)
    with open(path, "rb+") as stream:
        stream.write(_USERBLOCK.ljust(512, b"\0"))


_COMPRESSION = {"compression": "gzip", "compression_opts": 1}


def write_modality(
    file: h5py.File,
    modality: str,
    obs: pd.DataFrame,
    counts: sp.csr_matrix | None,
    var: pd.DataFrame,
    rows: np.ndarray | None = None,
    layers: Mapping[str, Any] | None = None,
) -> h5py.Group:
    """Write one modality into an open ``.h5mu``; ``counts=None`` leaves ``X`` to the caller."""
    from anndata.io import write_elem

    group = file["mod"].create_group(modality)
    group.attrs.update(
        {
            "encoding-type": "anndata",
            "encoding-version": "0.1.0",
            "encoder": "mosaicbench",
            "encoder-version": str(SCHEMA_VERSION),
        }
    )
    rows = np.arange(len(obs)) if rows is None else rows
    if counts is not None:
        if sp.issparse(counts):
            counts = sp.csr_matrix(counts)
            counts.sort_indices()
        write_elem(group, "X", counts, dataset_kwargs=_COMPRESSION)
    write_elem(group, "obs", pd.DataFrame(index=obs.index[rows]), dataset_kwargs=_COMPRESSION)
    write_elem(group, "var", _writable(var), dataset_kwargs=_COMPRESSION)
    for name in ("obsm", "varm", "obsp", "varp", "uns"):
        write_elem(group, name, {})
    write_elem(group, "layers", dict(layers or {}), dataset_kwargs=_COMPRESSION)
    obsmap = np.zeros(len(obs), dtype=np.uint32)
    obsmap[rows] = np.arange(1, len(rows) + 1)
    write_elem(file, f"obsmap/{modality}", obsmap, dataset_kwargs=_COMPRESSION)
    return group


def _writable(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy whose text columns are categoricals over the values that occur, sorted."""
    frame = frame.copy()
    frame.index = frame.index.astype(str).astype(object)
    frame.index.name = None
    frame.columns = frame.columns.astype(str)
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            ordered = column.cat.ordered
            column = column.cat.remove_unused_categories()
            frame[name] = column if ordered else column.cat.reorder_categories(sorted(column.cat.categories))
        elif column.dtype == object or pd.api.types.is_string_dtype(column):
            text = column.map(lambda value: value if pd.isna(value) else str(value))
            frame[name] = pd.Categorical(text, categories=sorted(text.dropna().unique()))
    return frame


class H5mu:
    """An open ``.h5mu`` file, read piece by piece: tables at once, counts only for the rows asked for.

    Also reads the files that :mod:`mudata` writes. Use as a context manager.

    Raises
    ------
    InputError
        If the file is missing, is not HDF5, or lacks what a MuData file has.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")
        try:
            self.file = h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path}: not a readable HDF5 file ({error}); fetch or make it again") from error
        if "mod" not in self.file or "obs" not in self.file:
            self.file.close()
            raise InputError(f"{self.path}: no MuData file (groups 'mod' and 'obs' are missing)")
        if _text(self.file.attrs.get("encoder")) == "mosaicbench":
            written = _text(self.file.attrs.get("encoder-version"))
            try:
                check_schema({"schema_version": int(written) if written.isdecimal() else written}, self.path)
            except InputError:
                self.file.close()
                raise

    def __enter__(self) -> "H5mu":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    @property
    def modalities(self) -> list[str]:
        """Modalities in the file, in the order of :data:`MODALITIES`."""
        return ordered_modalities(list(self.file["mod"]))

    @property
    def uns(self) -> dict[str, Any]:
        """The unstructured facts; for files of ours their JSON, else what the file has, as strings."""
        from anndata.io import read_elem

        uns = read_elem(self.file["uns"]) if "uns" in self.file else {}
        if "mosaicbench" in uns:
            return check_schema(json.loads(str(uns["mosaicbench"])), self.path)
        return uns

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the observations."""
        from anndata.io import read_elem

        return read_elem(self.file["obs"])

    def obs_names(self, modality: str) -> np.ndarray:
        """Names of the observations that have `modality`, in the order of its rows."""
        group = self.file["mod"][modality]["obs"]
        index = group[group.attrs["_index"]]
        from anndata.io import read_elem

        return np.asarray(read_elem(index)).astype(str)

    def var(self, modality: str) -> pd.DataFrame:
        """Table of the features of `modality`."""
        from anndata.io import read_elem

        return read_elem(self.file["mod"][modality]["var"])

    def shape(self, modality: str) -> tuple[int, int]:
        """(rows, features) of `modality`, without reading counts."""
        matrix = self.file["mod"][modality]["X"]
        shape = matrix.attrs["shape"] if isinstance(matrix, h5py.Group) else matrix.shape
        return int(shape[0]), int(shape[1])

    def counts(self, modality: str, rows: np.ndarray | None = None) -> sp.csr_matrix:
        """Counts of `modality`: all rows, or those at the positions `rows` (in that order), CSR float32.

        Rows are streamed from disk in runs of chunks that hold some of them, so that memory and seconds grow with what
        is asked for and not with the file.
        """
        from anndata.io import read_elem, sparse_dataset

        matrix = self.file["mod"][modality]["X"]
        n_rows, n_features = self.shape(modality)
        if isinstance(matrix, h5py.Dataset):
            dense = matrix[:] if rows is None else _take(matrix, np.asarray(rows))
            return sp.csr_matrix(dense.astype(np.float32))
        if rows is None:
            return sp.csr_matrix(read_elem(matrix)).astype(np.float32)
        if matrix.attrs.get("encoding-type") == "csc_matrix":
            return sp.csr_matrix(sparse_dataset(matrix).to_memory()).astype(np.float32)[rows]
        rows = np.asarray(rows, dtype=np.int64)
        indptr = matrix["indptr"][:].astype(np.int64)
        order = np.argsort(rows, kind="stable")
        lengths = np.diff(indptr)[rows]
        result = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=result[1:])
        indices = np.empty(result[-1], dtype=matrix["indices"].dtype)
        data = np.empty(result[-1], dtype=np.float32)
        chunk = max((matrix[name].chunks or (_SECTOR,))[0] for name in ("indices", "data"))
        for run in _runs(rows[order], indptr, chunk):
            first, last = rows[order[run[0]]], rows[order[run[-1]]]
            low, high = indptr[first], indptr[last + 1]
            block_indices, block_data = matrix["indices"][low:high], matrix["data"][low:high]
            for position in order[run[0] : run[-1] + 1]:
                start, stop = indptr[rows[position]] - low, indptr[rows[position] + 1] - low
                indices[result[position] : result[position + 1]] = block_indices[start:stop]
                data[result[position] : result[position + 1]] = block_data[start:stop]
        return sp.csr_matrix((data, indices, result), shape=(len(rows), n_features))


def _text(attribute: Any) -> str:
    return attribute.decode("utf-8", "replace") if isinstance(attribute, bytes) else str(attribute)


_SECTOR = 4096
"""Values that are worth reading in vain where a file is not chunked, rather than seeking past them."""


def _runs(sorted_rows: np.ndarray, indptr: np.ndarray, chunk: int, budget: int = 1 << 22) -> Iterator[tuple[int, int]]:
    """Split sorted row numbers into (first, last) runs, each of one read.

    A run's span on disk stays under `budget` values (one row may exceed it), and no chunk of `chunk` values is in it
    that holds nothing of its rows: a compressed chunk is unpacked whole, and ten thousand cells of a million lie in a
    quarter of the chunks.
    """
    first, behind = indptr[sorted_rows], indptr[sorted_rows + 1]
    skipped = first[1:] // chunk > (behind[:-1] - 1) // chunk + 1
    start = 0
    for stop in range(1, len(sorted_rows) + 1):
        if stop == len(sorted_rows) or skipped[stop - 1] or behind[stop] - first[start] > budget:
            yield start, stop - 1
            start = stop


def _take(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows of a dense dataset in any order (h5py itself wants them increasing)."""
    order = np.argsort(rows, kind="stable")
    block = dataset[rows[order]]
    result = np.empty_like(block)
    result[order] = block
    return result


def read_h5mu(path: str | os.PathLike) -> Multimodal:
    """Read a ``.h5mu`` whole. A modality may hold fewer observations than the file (unpaired data)."""
    with H5mu(path) as file:
        obs = file.obs
        counts, var, rows = {}, {}, {}
        for modality in file.modalities:
            positions = obs.index.get_indexer(file.obs_names(modality))
            if np.any(positions < 0):
                raise InputError(f"{path}: modality {modality!r} has observations that are not in obs")
            matrix = file.counts(modality)
            order = np.argsort(positions, kind="stable")
            if not np.array_equal(order, np.arange(len(order))):
                matrix, positions = matrix[order], positions[order]
            counts[modality], var[modality], rows[modality] = matrix, file.var(modality), positions
        return Multimodal(obs, counts, var, rows, file.uns)


def check_schema(facts: dict[str, Any], path: str | os.PathLike) -> dict[str, Any]:
    """Refuse a file of another schema version, with the remedy."""
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {version!r}, this MosaicBench reads {SCHEMA_VERSION}; "
            "choose a new results_dir or delete the file to have it made anew (CHANGELOG.md says what changed)"
        )
    return facts


def check_results(folder: str | os.PathLike) -> None:
    """Refuse a study's folder whose tables another schema version wrote; its plan and its provenance say which.

    Raises
    ------
    InputError
        With the remedy. A folder with neither file (tables alone) is let pass.
    """
    for name in ("plan.json", "provenance.json"):
        path = Path(folder) / name
        if not path.is_file():
            continue
        facts = read_json(path)
        if not isinstance(facts, dict):
            raise InputError(f"{path}: holds no JSON object; delete it and run again to make it anew")
        # Provenance has named the version since version 1 was current: without one, it is of that version.
        version = facts.get("schema_version", 1 if name == "provenance.json" else None)
        check_schema({"schema_version": version}, path)


# --------------------------------------------------------------------------------------------------------
# What a model writes
# --------------------------------------------------------------------------------------------------------


@dataclass
class Embedding:
    """An embedding of a design's observations.

    Attributes
    ----------
    values
        float32, observations x latent dimensions; zero dimensions where the run is not ``ok``.
    names
        The observations' names, in the design's order.
    components
        Optional int64, one a row: the model's own mixture component of each observation.
    """

    values: np.ndarray
    names: np.ndarray
    components: np.ndarray | None = None


def write_embedding(path: str | os.PathLike, embedding: Embedding) -> None:
    """Write an embedding as ``.h5ad`` (``X`` = values), atomically and reproducibly."""
    from anndata.io import write_elem

    obs = pd.DataFrame(index=pd.Index(np.asarray(embedding.names).astype(object)))
    if embedding.components is not None:
        obs["component"] = np.asarray(embedding.components, dtype=np.int64)
    values = np.ascontiguousarray(embedding.values, dtype=np.float32)
    with atomic_path(path) as temporary, new_hdf5(temporary) as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "X", values)
        write_elem(file, "obs", obs)
        write_elem(
            file, "var", pd.DataFrame(index=pd.Index([f"latent_{i}" for i in range(values.shape[1])], dtype=object))
        )
        for name in ("obsm", "varm", "obsp", "varp", "layers"):
            write_elem(file, name, {})
        write_elem(file, "uns", {"schema_version": SCHEMA_VERSION})


def read_embedding(path: str | os.PathLike) -> Embedding:
    """Read an embedding; a file of another schema version is an :class:`InputError`."""
    from anndata.io import read_elem

    try:
        with h5py.File(path, "r") as file:
            uns = read_elem(file["uns"])
            check_schema({"schema_version": int(uns.get("schema_version", -1))}, path)
            obs = read_elem(file["obs"])
            components = obs["component"].to_numpy() if "component" in obs else None
            return Embedding(np.asarray(file["X"][:]), obs.index.to_numpy().astype(str), components)
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not a readable embedding ({error}); delete it and run again") from error


@dataclass
class Prediction:
    """A model's prediction of one modality for observations that lack it.

    Attributes
    ----------
    mean
        float32, observations x features: expected counts (RNA, protein) or probabilities (ATAC).
    rows
        int64 positions of these observations in the design.
    deviation
        float32 standard deviation of the same shape, where the model has one.
    """

    mean: np.ndarray
    rows: np.ndarray
    deviation: np.ndarray | None = None


def write_predictions(
    path: str | os.PathLike, names: np.ndarray, var: Mapping[str, pd.DataFrame], predictions: Mapping[str, Prediction]
) -> None:
    """Write predictions as ``.h5mu``: ``X`` the mean, layer ``deviation``; no modality where none was asked for."""
    obs = pd.DataFrame(index=pd.Index(np.asarray(names).astype(object)))
    with atomic_path(path) as temporary, h5mu_file(temporary, obs, {}) as file:
        for modality in ordered_modalities(predictions):
            prediction = predictions[modality]
            layers = {} if prediction.deviation is None else {"deviation": prediction.deviation.astype(np.float32)}
            write_modality(
                file, modality, obs, prediction.mean.astype(np.float32), var[modality][[]], prediction.rows, layers
            )


def read_predictions(path: str | os.PathLike) -> dict[str, Prediction]:
    """Read what :func:`write_predictions` wrote."""
    predictions = {}
    with H5mu(path) as file:
        check_schema(file.uns, path)
        index = file.obs.index
        for modality in file.modalities:
            group = file.file["mod"][modality]
            deviation = group["layers"]["deviation"][:] if "deviation" in group["layers"] else None
            predictions[modality] = Prediction(group["X"][:], index.get_indexer(file.obs_names(modality)), deviation)
    return predictions


@dataclass
class RunRecord:
    """What happened when a model was trained on a design: always written, whatever the outcome.

    Times are in seconds, memory in MB (2**20 bytes). ``gpu_seconds`` and ``peak_device_mb`` are ``None`` on
    a CPU. ``seconds_per_epoch`` is the time of fitting over the epochs done, ``None`` for a model without epochs.
    ``loss_history`` maps a name (``train``, ``validation``, ...) to one value an epoch.
    """

    model: str
    variant: str
    status: str
    reason: str = ""
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float | None = None
    peak_rss_mb: float | None = None
    peak_device_mb: float | None = None
    epochs: int | None = None
    seconds_per_epoch: float | None = None
    loss_history: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    n_observations: int = 0
    n_latent: int = 0
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"unknown status {self.status!r}; known: {', '.join(STATUSES)}")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"a run that is {self.status!r} needs a reason")


def write_record(path: str | os.PathLike, record: RunRecord) -> None:
    """Write a run record as JSON, atomically."""
    write_json(path, dataclasses.asdict(record))


def read_record(path: str | os.PathLike) -> RunRecord:
    """Read a run record; unknown keys and other schema versions are refused."""
    facts = check_schema(read_json(path), path)
    known = {item.name for item in dataclasses.fields(RunRecord)}
    unknown = set(facts) - known
    if unknown:
        raise InputError(f"{path}: unknown key {sorted(unknown)[0]!r} in the run record; delete it and run again")
    try:
        return RunRecord(**facts)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: no run record ({error}); delete it and run again") from error
