"""Loading a registered data set: its format's loader, then standard names for cells' and features' columns."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.datasets.filters import apply_filters
from benchmarks.datasets.loaders.dispatch import read_files
from benchmarks.datasets.loaders.intervals import add_coordinates
from benchmarks.datasets.loaders.tables import read_table
from benchmarks.datasets.registry import SIDE_TABLES, DatasetEntry, is_there
from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal

STANDARD_COLUMNS = {"labels": "cell_type", "batch": "batch", "site": "site", "donor": "donor", "condition": "condition"}
"""Key of the registry -> column of the loaded cell table."""

_MISSING_TEXT = {"", "na", "n/a", "nan", "none", "null"}
_GENE_ID, _GENE_SYMBOL = (
    ("gene_id", "gene_ids", "id", "ensembl_id"),
    ("gene_symbol", "gene_symbols", "gene_short_name", "gene_name", "gene_names", "symbol", "name"),
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
    for role, path in paths.items():
        if not is_there(path):
            raise InputError(entry.absent(role, path))
    data = read_files(entry, paths)
    files = [path for role, path in paths.items() if role not in SIDE_TABLES]
    listed = ", ".join(map(str, files))
    obs = data.obs
    if entry.annotations is not None:
        obs = _annotate(obs, entry, paths["annotations"])
    if entry.label_names:
        obs = _name_labels(obs, entry, paths["label_names"])
    repairs = list(data.uns.get("repairs", []))
    uns = {"source": entry.source or ", ".join(path.name for path in files), "dataset": entry.name, "repairs": repairs}
    for key in ("organism", "genome", "licence", "citation"):
        if getattr(entry, key):
            uns[key] = getattr(entry, key)
    var = {modality: _standard_var(modality, table) for modality, table in data.var.items()}
    data = Multimodal(_standard_obs(obs, entry, listed), data.counts, var, data.rows, uns)
    data, dropped = apply_filters(entry, data, obs)
    repairs += dropped
    return data


def _annotate(obs: pd.DataFrame, entry: DatasetEntry, path: Path) -> pd.DataFrame:
    """Add the columns of the table of annotations; cells that it does not name get missing values."""
    table = read_table(path, entry.annotations_key, f"annotations_key of data set {entry.name!r}")
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{path}: cell {twice!r} is named twice; remove one line")
    known = obs.index.isin(table.index)
    if len(obs) and not known.any():
        raise InputError(
            f"{path}: names no cell of the data (first here {table.index[0]!r}, there {obs.index[0]!r}); "
            "make the names equal (mind suffixes such as '-1'), or correct annotations_key"
        )
    table = table.map(lambda text: None if text.strip().lower() in _MISSING_TEXT else text)
    obs = obs.copy()
    for column in table.columns:
        obs[column] = table[column].reindex(obs.index).to_numpy()
    return obs


def _name_labels(obs: pd.DataFrame, entry: DatasetEntry, path: Path) -> pd.DataFrame:
    """Replace identifiers of clusters by the names that a table gives them."""
    rules = entry.label_names
    where = f"label_names of data set {entry.name!r}"
    table = read_table(path, rules["key"], f"key in {where}")
    for column in (*rules.get("where", {}), rules["name"]):
        if column not in table:
            raise InputError(f"{path}: no column {column!r}{did_you_mean(column, table.columns)}; correct {where}")
    for column, value in rules.get("where", {}).items():
        table = table[table[column] == value]
    names = table[rules["name"]]
    if names.index.has_duplicates:
        raise InputError(
            f"{path}: {names.index[names.index.duplicated()][0]!r} has several names; choose its lines with where in {where}"
        )
    if entry.labels not in obs:
        return obs  # The missing column is reported with the others.
    labels = obs[entry.labels].astype(object).map(_label)
    unnamed = labels[labels.notna() & ~labels.isin(names.index)]
    if len(unnamed):
        raise InputError(
            f"{path}: no name for label {unnamed.iloc[0]!r} of cell {unnamed.index[0]!r}"
            f"{did_you_mean(unnamed.iloc[0], names.index)}; correct {where}"
        )
    return obs.assign(**{entry.labels: labels.map(names)})


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
        if key == "labels":
            for value in entry.unlabelled:
                if not (text == value).any():
                    raise InputError(
                        f"{where}: no cell has label {value!r}{did_you_mean(value, text.dropna().unique())}; "
                        f"correct unlabelled of data set {entry.name!r}"
                    )
            text = text.where(~text.isin(entry.unlabelled), None)
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
        add_coordinates(var, names_are_intervals=modality == "atac")
    known = ("id", "name", "feature_type", "feature_types", "interval", *_GENE_ID[1:], *_GENE_SYMBOL[1:])
    return var.drop(columns=[column for column in known if column in var])
