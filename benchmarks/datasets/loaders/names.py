"""Names of cells and features, brought from the form of one file into the form of the others."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import pandas as pd

from benchmarks.datasets.registry import DatasetEntry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def with_names(entry: DatasetEntry, data: Multimodal, where: str) -> Multimodal:
    """`data` with the names that ``cell_names`` and ``split_features`` of the entry ask for.

    Parameters
    ----------
    where
        The files, for messages.

    Raises
    ------
    InputError
        If two cells would get the same name, or no feature's name has the separator.
    """
    obs, var = data.obs, data.var
    if entry.cell_names:
        names = [cell_name(str(name), entry.cell_names) for name in obs.index]
        index = pd.Index(names, dtype=object)
        twice = np.flatnonzero(index.duplicated() & ~obs.index.duplicated())
        if len(twice):
            same = obs.index[np.flatnonzero(index == names[twice[0]])[:2]]
            raise InputError(
                f"{where}: cells {same[0]!r} and {same[1]!r} both become {names[twice[0]]!r}; "
                f"correct cell_names of data set {entry.name!r}"
            )
        obs = obs.set_axis(index, axis=0)
    if entry.split_features is not None:
        var = {modality: _split(entry, table, where) for modality, table in var.items()}
    return Multimodal(obs, data.counts, var, data.rows, data.uns)


def cell_name(name: str, rules: Mapping[str, Any]) -> str:
    """One name after the rules: ``replace`` in their order, ``remove_suffix``, ``prefix``, ``suffix``.

    >>> cell_name("AAAC-1", {"remove_suffix": "-1", "prefix": "w3_"})
    'w3_AAAC'
    """
    for text, other in rules.get("replace", {}).items():
        name = name.replace(text, other)
    name = name.removesuffix(rules.get("remove_suffix", ""))
    return f"{rules.get('prefix', '')}{name}{rules.get('suffix', '')}"


def _split(entry: DatasetEntry, var: pd.DataFrame, where: str) -> pd.DataFrame:
    """`var` with ``gene_id`` and ``gene_symbol`` from names such as ``ENSG00000000003_TSPAN6``, named by the symbol."""
    pairs = [str(name).split(entry.split_features, 1) for name in var.index]
    if not any(len(pair) == 2 for pair in pairs):
        example = f" (first {var.index[0]!r})" if len(var) else ""
        raise InputError(
            f"{where}: no name of a feature has {entry.split_features!r}{example}; "
            f"correct or remove split_features of data set {entry.name!r}"
        )
    var = var.drop(columns=[column for column in ("id", "name") if column in var])
    var["gene_id"] = [pair[0] for pair in pairs]
    var["gene_symbol"] = [pair[-1] for pair in pairs]
    return var.set_axis(pd.Index(var["gene_symbol"], dtype=object, name=None), axis=0)
