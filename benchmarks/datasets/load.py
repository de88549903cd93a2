"""Loading a registered data set: its format's loader, then standard names for cells' and features' columns."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.datasets.loaders.intervals import chromosome, interval_table
from benchmarks.datasets.registry import DatasetEntry, is_there, open_text
from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal

_LOADERS = {
    "h5mu": "h5mu",
    "h5ad_pair": "h5ad_pair",
    "10x_h5": "tenx_h5",
    "matrix_market": "matrix_market",
    "h5ad_feature_types": "h5ad_feature_types",
}

STANDARD_COLUMNS = {"labels": "cell_type", "batch": "batch", "site": "site", "donor": "donor", "condition": "condition"}
"""Key of the registry -> column of the loaded cell table."""

_MISSING_TEXT = {"", "na", "n/a", "nan", "none", "null"}
_GENE_ID, _GENE_SYMBOL = (
    ("gene_id", "gene_ids", "id", "ensembl_id"),
    ("gene_symbol", "gene_symbols", "gene_name", "gene_names", "symbol", "name"),
)


def load(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Load a data set as it is, with standard column names; :func:`benchmarks.datasets.validate.validate` checks it.

    Parameters
    ----------
    entry
        Its entry in the registry.
    paths
        Role -> file, as :meth:`DatasetEntry.resolve` gives them, all of them there.

    Returns
    -------
    Multimodal
        Counts as CSR float32. ``obs`` has, as far as the data have them, ``cell_type``, ``batch``, ``site``,
        ``donor``, ``condition`` (categorical, missing where empty) and ``pseudotime_*`` (float). ``rna.var`` has
        ``gene_id`` and ``gene_symbol``, ``atac.var`` has ``chrom``, ``start``, ``end``. ``uns`` says the source,
        and under ``repairs`` what was put right on the way.

    Raises
    ------
    InputError
        If a file is not there or not of the format, or a column or modality is not in it.
    """
    if entry.format == "simulated":
        from benchmarks.datasets.simulate import SimulationParameters, simulate

        return simulate(SimulationParameters.from_mapping(entry.simulate, f"{entry.where}.simulate"), entry.seed)
    for path in paths.values():
        if not is_there(path):
            raise InputError(
                f"{entry.where}: {path}: no such file; put it there, correct the path, or set --config data_dir=FOLDER"
            )
    loader = importlib.import_module(f"benchmarks.datasets.loaders.{_LOADERS[entry.format]}")
    files = [path for role, path in paths.items() if role != "annotations"]
    listed = ", ".join(map(str, files))
    try:
        data = loader.read(entry, paths)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Whatever a damaged file makes h5py, anndata, zlib or scipy raise is about that file.
        raise InputError(
            f"{listed}: not readable as {entry.format!r} ({type(error).__name__}: {error}); "
            f"fetch or make it again, or correct format of data set {entry.name!r}"
        ) from error
    obs = data.obs
    if entry.annotations is not None:
        obs = _annotate(obs, entry, paths["annotations"])
    repairs = list(data.uns.get("repairs", []))
    uns = {"source": entry.source or ", ".join(path.name for path in files), "dataset": entry.name, "repairs": repairs}
    for key in ("organism", "genome", "licence", "citation"):
        if getattr(entry, key):
            uns[key] = getattr(entry, key)
    var = {modality: _standard_var(modality, table) for modality, table in data.var.items()}
    return Multimodal(_standard_obs(obs, entry, listed), data.counts, var, data.rows, uns)


def _annotate(obs: pd.DataFrame, entry: DatasetEntry, path: Path) -> pd.DataFrame:
    """Add the columns of the table of annotations; cells that it does not name get missing values."""
    try:
        with open_text(path) as stream:
            head = stream.readline()
            stream.seek(0)
            rows = list(csv.reader(stream, delimiter="\t" if "\t" in head else ","))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error}); save it as UTF-8 TSV or CSV") from error
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise InputError(
            f"{path}: no table with a head line and one line a cell; correct annotations of data set {entry.name!r}"
        )
    head, body = rows[0], rows[1:]
    if len(body[0]) == len(head) + 1:  # R's write.table leaves out the head of the row names.
        head = ["", *head]
    for number, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise InputError(f"{path}: line {number} has {len(row)} columns, the head has {len(head)}; correct it")
    table = pd.DataFrame(body, columns=head, dtype=object)
    key = entry.annotations_key if entry.annotations_key is not None else head[0]
    if key not in head:
        raise InputError(
            f"{path}: no column {key!r}{did_you_mean(key, head)}; correct annotations_key of data set {entry.name!r}"
        )
    names = table[key]
    if names.duplicated().any():
        raise InputError(f"{path}: cell {names[names.duplicated()].iloc[0]!r} is named twice; remove one line")
    table = table.drop(columns=key).set_axis(pd.Index(names, dtype=object), axis=0)
    known = obs.index.isin(table.index)
    if not known.any():
        raise InputError(
            f"{path}: names no cell of the data (first here {table.index[0]!r}, there {obs.index[0]!r}); "
            "make the names equal (mind suffixes such as '-1'), or correct annotations_key"
        )
    table = table.map(lambda text: None if text.strip().lower() in _MISSING_TEXT else text)
    obs = obs.copy()
    for column in table.columns:
        obs[column] = table[column].reindex(obs.index).to_numpy()
    return obs


def _standard_obs(obs: pd.DataFrame, entry: DatasetEntry, where: str) -> pd.DataFrame:
    result = pd.DataFrame(index=pd.Index(obs.index.astype(str).astype(object)))
    for key, standard in STANDARD_COLUMNS.items():
        column = getattr(entry, key)
        if column is None and standard not in obs:
            continue
        column = column or standard
        if column not in obs:
            raise InputError(
                f"{where}: the cells have no column {column!r}{did_you_mean(column, obs.columns)}; "
                f"correct {key} of data set {entry.name!r}"
            )
        text = obs[column].astype(object).map(_label)
        result[standard] = pd.Categorical(text, categories=sorted(text.dropna().unique()))
    columns = entry.pseudotime or [column for column in obs.columns if str(column).startswith("pseudotime_")]
    for column in columns:
        if column not in obs:
            raise InputError(
                f"{where}: the cells have no column {column!r}{did_you_mean(column, obs.columns)}; "
                f"correct pseudotime of data set {entry.name!r}"
            )
        values = obs[column].astype(object).map(lambda value: None if _label(value) is None else value)
        numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
        odd = values.notna() & ~np.isfinite(numbers)
        if odd.any():
            raise InputError(
                f"{where}: column {column!r} of cell {obs.index[odd.to_numpy()][0]!r} is {values[odd].iloc[0]!r}, no number; "
                f"correct pseudotime of data set {entry.name!r}"
            )
        name = column if column.startswith("pseudotime_") else f"pseudotime_{column}"
        result[name] = numbers.to_numpy()
    return result


def _label(value: object) -> str | None:
    """A label as text; missing values, and text that says so, as ``None``; 3.0 (a column with gaps) as ``3``."""
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text.lower() in _MISSING_TEXT else text


def _standard_var(modality: str, var: pd.DataFrame) -> pd.DataFrame:
    var = var.copy()
    var.index = pd.Index(var.index.astype(str).astype(object))
    if modality == "rna":
        for standard, usual in (("gene_id", _GENE_ID), ("gene_symbol", _GENE_SYMBOL)):
            there = [column for column in usual if column in var]
            if there:
                var[standard] = var[there[0]].astype(object).map(lambda value: None if pd.isna(value) else str(value))
        if "gene_symbol" not in var:
            var["gene_symbol"] = var.index.to_numpy()
    if modality in ("rna", "atac"):
        _add_coordinates(var, names_are_intervals=modality == "atac")
    known = ("id", "name", "feature_type", "feature_types", "interval", *_GENE_ID[1:], *_GENE_SYMBOL[1:])
    return var.drop(columns=[column for column in known if column in var])


def _add_coordinates(var: pd.DataFrame, names_are_intervals: bool) -> None:
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
