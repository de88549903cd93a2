"""The filters that a paper applied to a data set before it used it, as its entry in the registry states them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.registry import DatasetEntry
from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal


def apply_filters(entry: DatasetEntry, data: Multimodal, columns: pd.DataFrame) -> tuple[Multimodal, list[str]]:
    """Filter cells, then features, each rule once, in this order.

    1. ``keep``: cells whose column has one of the values; ``labelled``: cells that have a cell type.
    2. Cells that are in every modality, whatever the rules are (the papers filter paired cells).
    3. ``min_features``: cells with at least so many features that are not 0 in the modality. All modalities are
       judged on the same cells.
    4. Of the features, on the cells that are left: ``min_cells`` and ``max_cells`` (not 0 in at least, at most so
       many cells), ``min_fraction`` (in at least this share of them).
    5. ``top_features``: those with the largest sums of counts, ties by position.

    Parameters
    ----------
    entry
        Its ``filters`` are applied; ``{}`` leaves `data` as it is.
    data
        As :func:`benchmarks.datasets.load.load` gives it.
    columns
        All columns of the cells, under the names in the files, in the order of ``data.obs``.

    Returns
    -------
    Multimodal
        What is left.
    list of str
        One sentence for each rule that dropped something.

    Raises
    ------
    InputError
        If a column is not there, or no cell or no feature is left.
    """
    rules, said = entry.filters, []
    if not rules:
        return data, said
    where = f"{entry.where}.filters"
    for column, values in rules.get("keep", {}).items():
        if column not in columns:
            raise InputError(
                f"{where}.keep: the cells have no column {column!r}{did_you_mean(column, columns.columns)}; correct it"
            )
        mask = columns[column].astype(object).map(lambda value: None if pd.isna(value) else str(value)).isin(values)
        data, columns = _cells(data, columns, mask.to_numpy(), f"{where}.keep.{column}", said)
    if rules.get("labelled"):
        there = data.obs["cell_type"].notna() if "cell_type" in data.obs else pd.Series(False, index=data.obs.index)
        data, columns = _cells(data, columns, there.to_numpy(), f"{where}.labelled", said)
    data, columns = _cells(data, columns, data.complete, f"{where}: cells in every modality", said)
    enough = np.ones(data.n_obs, dtype=bool)
    for modality, least in rules.get("min_features", {}).items():
        matrix = data.counts[modality]
        enough[data.rows[modality]] &= np.diff(_without_zeros(matrix).indptr) >= least
    data, columns = _cells(data, columns, enough, f"{where}.min_features", said)
    for modality in data.modalities:
        data = _features(data, modality, rules, where, said)
    return data, said


def _cells(
    data: Multimodal, columns: pd.DataFrame, mask: np.ndarray, rule: str, said: list[str]
) -> tuple[Multimodal, pd.DataFrame]:
    if mask.all():
        return data, columns
    if not mask.any():
        raise InputError(f"{rule}: leaves no cell of {len(mask)}; correct it")
    said.append(
        f"filter {rule.rpartition('.filters')[2].lstrip('.: ')}: {int((~mask).sum())} of {len(mask)} cells dropped"
    )
    kept = np.flatnonzero(mask)
    uns = data.uns
    data = data.subset(kept)
    data.uns = uns
    return data, columns.iloc[kept]


def _features(data: Multimodal, modality: str, rules, where: str, said: list[str]) -> Multimodal:
    matrix = _without_zeros(data.counts[modality])
    width = matrix.shape[1]
    cells = np.bincount(matrix.indices, minlength=width)
    keep = np.ones(width, dtype=bool)
    if modality in rules.get("min_cells", {}):
        keep &= cells >= rules["min_cells"][modality]
    if modality in rules.get("max_cells", {}):
        keep &= cells <= rules["max_cells"][modality]
    if modality in rules.get("min_fraction", {}):
        keep &= cells >= rules["min_fraction"][modality] * matrix.shape[0]
    top = rules.get("top_features", {}).get(modality)
    if top is not None and keep.sum() > top:
        sums = np.where(keep, np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel(), -1.0)
        keep = np.zeros(width, dtype=bool)
        keep[np.argsort(-sums, kind="stable")[:top]] = True
    if keep.all():
        return data
    if not keep.any():
        raise InputError(f"{where}: leave no feature of {width} of {modality!r}; correct them")
    said.append(f"filters: {int((~keep).sum())} of {width} features of {modality!r} dropped")
    kept = np.flatnonzero(keep)
    counts, var = dict(data.counts), dict(data.var)
    counts[modality], var[modality] = matrix[:, kept], var[modality].iloc[kept]
    return Multimodal(data.obs, counts, var, data.rows, data.uns)


def _without_zeros(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix without stored zeros; itself, if there are none."""
    if matrix.data.all():
        return matrix
    matrix = matrix.copy()
    matrix.eliminate_zeros()
    return matrix
