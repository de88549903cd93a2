"""From an entry of the registry to the loader of its format, with one kind of message for files that cannot be read."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Mapping

from benchmarks.datasets.loaders.names import with_names
from benchmarks.datasets.registry import SIDE_TABLES, DatasetEntry
from benchmarks.errors import InputError, one_line
from benchmarks.formats import Multimodal

_LOADERS = {
    "h5mu": "h5mu",
    "h5ad_pair": "h5ad_pair",
    "10x_h5": "tenx_h5",
    "matrix_market": "matrix_market",
    "matrix_market_tables": "matrix_market_tables",
    "dense_table": "dense_table",
    "h5ad_feature_types": "h5ad_feature_types",
    "combined": "combined",
}
"""Format -> module with the function ``read(entry, paths)``."""


def _in_a_line(error: Exception) -> str:
    return one_line(" ".join(str(error).split()))


def read_files(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """What the files of an entry hold, under the names that the entry asks for.

    Parameters
    ----------
    paths
        Role -> file; side tables among them are left alone.

    Raises
    ------
    InputError
        If a file is not of the format.
    """
    files = {role: path for role, path in paths.items() if role not in SIDE_TABLES}
    listed = ", ".join(map(str, files.values()))
    loader = importlib.import_module(f"benchmarks.datasets.loaders.{_LOADERS[entry.format]}")
    try:
        data = loader.read(entry, files)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{listed}: needs more memory than there is ({error}); give the job more, or fetch the file again if that is "
            "more than it can hold"
        ) from error
    except Exception as error:  # Whatever a damaged file makes h5py, anndata, zlib or scipy raise is about that file.
        raise InputError(
            f"{listed}: not readable as {entry.format!r} ({type(error).__name__}: {_in_a_line(error)}); "
            f"fetch or make it again, or correct format of data set {entry.name!r}"
        ) from error
    return with_names(entry, data, listed)
