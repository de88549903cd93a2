"""Preparation of a registered data set: fetched, loaded, validated and written with its summary."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Mapping

import numpy as np
import pandas as pd

from benchmarks.datasets.download import Progress, download
from benchmarks.datasets.load import load
from benchmarks.datasets.registry import DatasetEntry, download_name, find_triplet, is_gzip, is_there
from benchmarks.datasets.validate import validate
from benchmarks.errors import InputError
from benchmarks.formats import SCHEMA_VERSION, H5mu, Multimodal, file_sha256, write_h5mu, write_json

STREAM_ABOVE_CELLS = 200_000
"""Simulated data sets of more cells are streamed to disk and not validated: the simulator's tests stand for them."""

_CHUNK_CELLS = 50_000
_HDF5_FORMATS = ("h5mu", "h5ad_pair", "10x_h5", "h5ad_feature_types")


def prepare(
    entry: DatasetEntry,
    data_dir: str | os.PathLike | None,
    output: str | os.PathLike,
    summary: str | os.PathLike,
    progress: Progress | bool = True,
) -> dict[str, Any]:
    """Make ``data.h5mu`` and ``summary.json`` of a data set.

    Parameters
    ----------
    entry
        Its entry in the registry.
    data_dir
        Folder of the data files, and of downloads if it can be written; else these go beside `output`.
    output
        ``.h5mu`` file to write. Equal sources give equal bytes.
    summary
        ``.json`` file to write; :func:`summarise` says what is in it.
    progress
        As in :func:`benchmarks.datasets.download.download`.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    InputError
        If a file cannot be had or read, has another checksum than declared, or is refused by the validation.
    """
    output = Path(output)
    if entry.format == "simulated" and (entry.n_cells_available() or 0) > STREAM_ABOVE_CELLS:
        from benchmarks.datasets.simulate import SimulationParameters, simulate_to_file

        parameters = SimulationParameters.from_mapping(entry.simulate, f"{entry.where}.simulate")
        simulate_to_file(output, parameters, entry.seed)
        with H5mu(output) as file:
            facts = summarise(entry, file, [], [])
    else:
        paths = fetch(entry, data_dir, output.parent, progress)
        sources = [
            {"role": role, "name": path.name, "sha256": file_sha256(path)} for role, path in each_file(entry, paths)
        ]
        with _unpacked(entry, paths, output.parent) as unpacked:
            data, repairs = validate(load(entry, unpacked), entry.where)
        for text in repairs:
            print(f"{entry.name}: {text}", file=sys.stderr)
        data.uns["sources"] = sources
        write_h5mu(output, data)
        facts = summarise(entry, data, repairs, sources)
    write_json(summary, facts)
    return facts


def fetch(
    entry: DatasetEntry, data_dir: str | os.PathLike | None, downloads: Path, progress: Progress | bool = True
) -> dict[str, Path]:
    """Role -> file, downloaded where it has a URL and is not there, with declared checksums verified."""
    if entry.format == "simulated":
        return {}
    paths = entry.resolve(data_dir, downloads)
    for role, path in paths.items():
        url, sha256 = entry.url.get(role), entry.sha256.get(role)
        if url is not None:
            if not is_there(path) and data_dir is not None and not os.access(data_dir, os.W_OK):
                path = paths[role] = Path(downloads) / download_name(url, sha256)
            download(url, sha256, path, progress)
        elif not is_there(path):
            raise InputError(entry.absent(role, path))
        elif sha256 is not None and os.path.isfile(path) and (found := file_sha256(path)) != sha256:
            raise InputError(
                f"{entry.where}.sha256: {path} has {found}, expected {sha256}; get the right file or correct sha256"
            )
    return paths


def each_file(entry: DatasetEntry, paths: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Role and path of each file of a data set, folders taken apart into the files in them."""
    for role, path in sorted(paths.items()):
        if os.path.isdir(path):
            for part, file in find_triplet(path, entry.where).items():
                yield part if role == "data" else f"{role}.{part}", file
        else:
            yield role, path


@contextlib.contextmanager
def _unpacked(entry: DatasetEntry, paths: Mapping[str, Path], folder: Path) -> Iterator[dict[str, Path]]:
    """The paths, with gzip-compressed HDF5 files (as GEO has them) unpacked for as long as they are read."""
    packed = [
        role
        for role, path in paths.items()
        if entry.format_of(role) in _HDF5_FORMATS and os.path.isfile(path) and is_gzip(path)
    ]
    if not packed:
        yield dict(paths)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=folder) as temporary:
        places = dict(paths)
        for role in packed:
            target = Path(temporary) / f"{role}-{paths[role].name.removesuffix('.gz')}"
            try:
                with gzip.open(paths[role], "rb") as source, open(target, "wb") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
            except (EOFError, gzip.BadGzipFile) as error:
                raise InputError(f"{paths[role]}: damaged gzip file ({error}); fetch it again") from error
            except OSError as error:
                raise InputError(
                    f"{folder}: cannot unpack {paths[role].name} here ({error.strerror or error}); free space"
                ) from error
            places[role] = target
        try:
            yield places
        except InputError as error:
            # A message is about the file that the user has, not about our copy of it.
            text = str(error)
            for role in packed:
                text = text.replace(str(places[role]), str(paths[role]))
            raise InputError(text) from error


def summarise(
    entry: DatasetEntry, data: Multimodal | H5mu, repairs: list[str], sources: list[dict[str, str]]
) -> dict[str, Any]:
    """Facts about a prepared data set, JSON-like.

    Returns
    -------
    dict
        ``dataset``, ``n_cells``, ``modalities``; modality -> ``n_features``, ``zero_fraction`` (share of the
        entries that are 0, in [0, 1]), ``median_counts`` (of the cells' sums); value -> number of cells for
        ``cell_types``, ``batches``, ``sites``, ``donors``, ``conditions`` (empty where there is no such column);
        ``n_unlabelled``; ``pseudotimes`` (column -> cells that have it); ``n_features_with_coordinates``;
        ``repairs``; ``sources`` (role, name and SHA-256 of each file); ``validated``; what the entry says for people.
    """
    obs = data.obs
    n_features, zero_fraction, median_counts, located = {}, {}, {}, {}
    for modality in data.modalities:
        sums, stored, width = [], 0, 0
        for matrix in _chunks(data, modality):
            sums.append(np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel())
            stored += int(np.count_nonzero(matrix.data))
            width = matrix.shape[1]
        n_features[modality] = width
        zero_fraction[modality] = 1.0 - stored / (len(obs) * width)
        median_counts[modality] = float(np.median(np.concatenate(sums)))
        var = data.var(modality) if isinstance(data, H5mu) else data.var[modality]
        located[modality] = int(var["chrom"].notna().sum()) if "chrom" in var else 0
    pseudotimes = [column for column in obs.columns if column.startswith("pseudotime_")]
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": entry.name,
        "format": entry.format,
        "n_cells": len(obs),
        "modalities": list(data.modalities),
        "n_features": n_features,
        "n_features_with_coordinates": located,
        "zero_fraction": zero_fraction,
        "median_counts": median_counts,
        "cell_types": _value_counts(obs, "cell_type"),
        "n_unlabelled": int(obs["cell_type"].isna().sum()),
        "batches": _value_counts(obs, "batch"),
        "sites": _value_counts(obs, "site"),
        "donors": _value_counts(obs, "donor"),
        "conditions": _value_counts(obs, "condition"),
        "pseudotimes": {column: int(obs[column].notna().sum()) for column in pseudotimes},
        "repairs": list(repairs),
        "sources": list(sources),
        "validated": isinstance(data, Multimodal),
        **{key: getattr(entry, key) for key in ("description", "organism", "genome", "source", "licence", "citation")},
    }


def _chunks(data: Multimodal | H5mu, modality: str) -> Iterator[Any]:
    if isinstance(data, Multimodal):
        yield data.counts[modality]
        return
    n_rows = data.shape(modality)[0]
    for start in range(0, n_rows, _CHUNK_CELLS):
        yield data.counts(modality, np.arange(start, min(start + _CHUNK_CELLS, n_rows)))


def _value_counts(obs: pd.DataFrame, column: str) -> dict[str, int]:
    if column not in obs:
        return {}
    counted = obs[column].astype(object).dropna().astype(str).value_counts()
    return {name: int(counted[name]) for name in sorted(counted.index)}
