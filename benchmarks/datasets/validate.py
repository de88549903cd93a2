"""Validation of a loaded data set: each fault is either repaired, and said so, or refused with the remedy."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal

SINGLE_BATCH = "all"
"""Name of the only batch where no column of batches is configured."""

_BARCODE = re.compile(r".*[ACGT]{8,}([-_.].*)?")


def validate(data: Multimodal, where: str, repair: bool = True) -> tuple[Multimodal, list[str]]:
    """Check a data set and put right what can be put right without guessing.

    Repaired: no label column (all cells unlabelled), no batch column (one batch), cells that lack a modality or
    have no counts in one (dropped), duplicated feature names (numbered), features without counts (dropped).
    Missing labels are allowed and stay missing.

    Parameters
    ----------
    data
        As :func:`benchmarks.datasets.load.load` gives it; is not changed.
    where
        File or entry that the data come from, for messages.
    repair
        Whether to repair; if not, what would be repaired is an error too.

    Returns
    -------
    Multimodal
        The same cells in each modality, unique names, whole non-negative counts, ``obs`` with ``cell_type`` and
        ``batch``, no empty cell and no feature without counts.
    list of str
        The repairs, one sentence each; empty if there was nothing to repair. Begins with what the loader did.

    Raises
    ------
    InputError
        If a fault cannot be repaired; names the place, the first offending value and the remedy.
    """
    repairs = list(data.uns.get("repairs", []))

    def state(text: str, remedy: str) -> None:
        if not repair:
            raise InputError(f"{where}: {text}; {remedy}")
        repairs.append(text)

    if not data.modalities:
        raise InputError(f"{where}: no modality; list at least one under modalities")
    _check_sizes(data, where)
    _check_cell_names(data.obs.index, where)
    check_transposed(data, where)
    for modality in data.modalities:
        _check_values(data, modality, where)
    obs = _check_columns(data.obs.copy(), where, state)

    keep = data.complete
    if not keep.all():
        first = data.obs.index[~keep][0]
        lacking = next(modality for modality in data.modalities if not data.has(modality)[~keep][0])
        text = f"{_number(~keep, 'cell')} not in every modality (first {first!r}, without {lacking!r})"
        if not keep.any():
            raise InputError(
                f"{where}: no cell is in every modality ({text}); give the same cell the same name in each"
            )
        state(f"{text} dropped", "keep the same cells in each modality")
    empty = np.zeros(data.n_obs, dtype=bool)
    for modality in data.modalities:
        without = np.zeros(data.n_obs, dtype=bool)
        without[data.rows[modality]] = _sums(data.counts[modality], axis=1) == 0
        without &= keep
        if without.any():
            first = data.obs.index[without][0]
            state(
                f"{_number(without, 'cell')} without any {modality!r} count (first {first!r}) dropped",
                "remove empty cells",
            )
        empty |= without
    keep &= ~empty
    if not keep.any():
        raise InputError(f"{where}: every cell is empty in some modality; check the counts")

    kept = Multimodal(obs, data.counts, data.var, data.rows).subset(np.flatnonzero(keep))
    counts, var = {}, {}
    for modality in kept.modalities:
        matrix, features = kept.counts[modality], _unique_features(kept.var[modality], modality, state)
        absent = _sums(matrix, axis=0) == 0
        if absent.any():
            first = features.index[absent][0]
            state(
                f"{_number(absent, 'feature')} of {modality!r} without any count (first {first!r}) dropped",
                "remove them",
            )
            matrix, features = matrix[:, np.flatnonzero(~absent)], features[~absent]
        counts[modality], var[modality] = matrix, features
    uns = {key: value for key, value in data.uns.items() if key != "repairs"}
    return Multimodal(kept.obs, counts, var, uns={**uns, "repairs": repairs}), repairs


def check_size(n_available: int, asked: int, where: str) -> None:
    """Refuse to take more cells than there are.

    Raises
    ------
    InputError
        If `asked` is larger than `n_available`, or below 1.
    """
    if asked < 1:
        raise InputError(f"{where}: {asked} cells asked for; ask for at least 1")
    if asked > n_available:
        raise InputError(f"{where}: {asked} cells asked for, {n_available} there after validation; lower n_cells")


def check_transposed(data: Multimodal, where: str) -> None:
    """Refuse tables that were exchanged: barcodes as features, or the cells of one modality as features of another.

    A matrix whose shape contradicts the numbers of names is caught by the loaders; this catches files that are
    consistent and turned as a whole. It goes by the names: most features look like barcodes (eight or more of
    A, C, G, T) and most cells do not, or most features are cells of the data set.

    Raises
    ------
    InputError
        If a modality is transposed.
    """
    barcodes = _share_of_barcodes(data.obs.index)
    for modality in data.modalities:
        names = data.var[modality].index
        as_cells = names.isin(data.obs.index).mean() if len(names) else 0.0
        if as_cells > 0.5 or (_share_of_barcodes(names) > 0.5 and barcodes < 0.1):
            raise InputError(
                f"{where}: {modality!r} is transposed: its features have the names of cells (first {names[0]!r}), "
                f"its cells are {data.obs.index[0]!r}, ...; store it as cells x features (in Python: adata.T)"
            )


def _share_of_barcodes(names: pd.Index, at_most: int = 1000) -> float:
    sample = names[:: max(1, len(names) // at_most)]
    return float(np.mean([_BARCODE.fullmatch(str(name)) is not None for name in sample])) if len(sample) else 0.0


def _check_sizes(data: Multimodal, where: str) -> None:
    if data.n_obs == 0:
        raise InputError(f"{where}: no cells; check that the right file was named")
    for modality in data.modalities:
        if data.counts[modality].shape[1] == 0:
            raise InputError(
                f"{where}: modality {modality!r} has no features; check the file or remove it from modalities"
            )


def _check_cell_names(names: pd.Index, where: str) -> None:
    if names.has_duplicates:
        twice = names[names.duplicated()]
        raise InputError(
            f"{where}: cell name {twice[0]!r} is there {int((names == twice[0]).sum())} times ({len(twice)} duplicates "
            "in all); make the names unique, for example by a prefix for each batch"
        )
    if (names == "").any():
        raise InputError(
            f"{where}: cell {int(np.flatnonzero(names == '')[0])} (counted from 0) has an empty name; name it"
        )


def _check_values(data: Multimodal, modality: str, where: str) -> None:
    matrix = data.counts[modality]
    with np.errstate(invalid="ignore"):
        for bad, what, remedy in (
            (
                ~np.isfinite(matrix.data),
                "is no finite number",
                "counts have to be whole numbers of at least 0; make the file again",
            ),
            (
                matrix.data < 0,
                "is negative",
                "these are no raw counts (scaled or corrected values?); see counts_from for layers['counts'] and raw",
            ),
            (
                matrix.data != np.round(matrix.data),
                "is not a whole number",
                "these are no raw counts (log-normalised?); look for them in layers['counts'] (counts_from: counts) or "
                "in .raw (counts_from: raw)",
            ),
        ):
            if not bad.any():
                continue
            first = int(np.flatnonzero(bad)[0])
            row = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
            cell = data.obs.index[data.rows[modality][row]]
            feature = data.var[modality].index[matrix.indices[first]]
            raise InputError(
                f"{where}: {modality!r}: value {matrix.data[first]:g} of cell {cell!r}, feature {feature!r} {what} "
                f"({int(bad.sum())} such values); {remedy}"
            )


def _check_columns(obs: pd.DataFrame, where: str, state) -> pd.DataFrame:
    if "cell_type" not in obs:
        state("no column of labels: all cells are unlabelled", "name it in labels, or give a table of annotations")
        obs["cell_type"] = pd.Categorical([None] * len(obs), categories=[])
    if "batch" not in obs:
        state(f"no column of batches: one batch {SINGLE_BATCH!r}", "name it in batch")
        obs["batch"] = pd.Categorical([SINGLE_BATCH] * len(obs))
    missing = obs["batch"].isna().to_numpy()
    if missing.any():
        raise InputError(
            f"{where}: {_number(missing, 'cell')} without a batch (first {obs.index[missing][0]!r}); "
            "fill in the column, or remove batch from the entry to have one batch"
        )
    return obs


def _unique_features(var: pd.DataFrame, modality: str, state) -> pd.DataFrame:
    names = var.index
    twice = names.duplicated()
    if not twice.any():
        return var
    unique = unique_names(list(names))
    first = int(np.flatnonzero(twice)[0])
    state(
        f"{_number(twice, 'feature')} of {modality!r} with a name that another one has (first {names[first]!r}) "
        f"renamed, as {unique[first]!r}",
        "make the names unique",
    )
    return var.set_axis(pd.Index(unique, dtype=object), axis=0)


def unique_names(names: list[str]) -> list[str]:
    """Names made unique: a repeated one gets ``-1``, ``-2``, ..., skipping what is a name already.

    >>> unique_names(["A", "B", "A", "A-1", "A"])
    ['A', 'B', 'A-2', 'A-1', 'A-3']
    """
    taken, seen, last, result = set(names), set(), {}, []
    for name in names:
        if name in seen:
            number = last.get(name, 0) + 1
            while f"{name}-{number}" in taken:
                number += 1
            last[name] = number
            name = f"{name}-{number}"
            taken.add(name)
        seen.add(name)
        result.append(name)
    return result


def _sums(matrix: sp.csr_matrix, axis: int) -> np.ndarray:
    return np.asarray(matrix.sum(axis=axis)).ravel()


def _number(mask: np.ndarray, what: str) -> str:
    count = int(mask.sum())
    return f"{count} {what}{'' if count == 1 else 's'}"
