"""Which modalities each observation of a design is given: cells that are split, shared out, or of a fixed source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

import numpy as np
import pandas as pd

from benchmarks.errors import InputError
from benchmarks.formats import ordered_modalities

if TYPE_CHECKING:
    from benchmarks.designs import DesignSpec

PAIRED = "paired"
"""Group of the observations that have every modality of the design."""

SOURCE_COLUMNS = ("batch", "site", "donor", "condition")
"""Columns of the cell table that can say which source a cell is from."""


def group_modalities(name: str, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Modalities of the group called `name` (``paired``, ``rna``, ``rna+atac``, ...) in a design of `modalities`.

    Raises
    ------
    InputError
        If it names a modality twice or one that the design has not.
    """
    if name == PAIRED:
        return tuple(modalities)
    parts = name.split("+")
    if len(set(parts)) != len(parts) or not set(parts) <= set(modalities):
        raise InputError(
            f"group {name!r}: give modalities of the design joined by '+' ({', '.join(modalities)}), or 'paired'"
        )
    return tuple(ordered_modalities(parts))


def group_name(members: Iterable[str], modalities: tuple[str, ...]) -> str:
    """Name of the group of the observations that have the modalities `members`: the inverse of the above."""
    members = ordered_modalities(list(members))
    return PAIRED if set(members) == set(modalities) else "+".join(members)


def choose_unpaired(n_total: int, chosen: np.ndarray, spec: "DesignSpec") -> np.ndarray:
    """Boolean mask over the `chosen` cells: which are split. ``round(fraction * n)`` of them, nested in the fraction."""
    priority = spec.generator("unpair").random(n_total)[chosen]
    count = int(np.floor(spec.unpaired_fraction * len(chosen) + 0.5))
    mask = np.zeros(len(chosen), dtype=bool)
    mask[np.argsort(priority, kind="stable")[:count]] = True
    return mask


def split_cells(unpaired: np.ndarray, n_modalities: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations when the cells of the mask `unpaired` appear once for every modality, with that one alone.

    Returns
    -------
    cell
        int64: position of each observation's cell.
    has
        bool, observations x modalities.
    """
    cell = [np.flatnonzero(~unpaired)]
    has = [np.ones((len(cell[0]), n_modalities), dtype=bool)]
    for column in range(n_modalities):
        cell.append(np.flatnonzero(unpaired))
        block = np.zeros((len(cell[-1]), n_modalities), dtype=bool)
        block[:, column] = True
        has.append(block)
    return np.concatenate(cell), np.concatenate(has)


def share_out(n_total: int, chosen: np.ndarray, spec: "DesignSpec") -> np.ndarray:
    """Which modalities each cell keeps when every cell is in one of the groups of ``spec.groups``.

    Every cell appears once. The groups' sizes are their shares of the cells, rounded so that they add up; the cells
    are drawn at random (MultiVI, Ashuach et al. 2023, figure 6e, f).

    Returns
    -------
    numpy.ndarray
        bool, cells x modalities.
    """
    priority = spec.generator("groups").random(n_total)[chosen]
    shares = np.cumsum(list(spec.groups.values()))
    bounds = np.floor(shares / shares[-1] * len(chosen) + 0.5).astype(np.int64)
    place = np.empty(len(chosen), dtype=np.int64)
    place[np.argsort(priority, kind="stable")] = np.arange(len(chosen))
    patterns = [group_modalities(name, spec.modalities) for name in spec.groups]
    table = np.array([[name in members for name in spec.modalities] for members in patterns])
    return table[np.searchsorted(bounds, place, side="right")]


def from_sources(obs: pd.DataFrame, spec: "DesignSpec") -> np.ndarray:
    """Which modalities each cell keeps when its source measures a fixed set of them (ibid., figure 3).

    Returns
    -------
    numpy.ndarray
        bool, cells x modalities.

    Raises
    ------
    InputError
        If the cells have no such column, a source is listed that no chosen cell is from, or a cell is from one that
        is not listed.
    """
    column, listed, others = spec.sources["by"], spec.sources["modalities"], spec.sources.get("others")
    if column not in obs:
        known = [name for name in SOURCE_COLUMNS if name in obs]
        raise InputError(f"data set {spec.dataset!r}: sources.by: no column {column!r}; use one of {', '.join(known)}")
    values = obs[column].astype(object).astype(str).to_numpy()
    for value in listed:
        if value not in set(values):
            raise InputError(
                f"data set {spec.dataset!r}: sources: {column} {value!r} is not among the chosen cells "
                f"(there: {', '.join(sorted(set(values))[:20])})"
            )
    unknown = sorted(set(values) - set(listed))
    if unknown and others is None:
        raise InputError(
            f"data set {spec.dataset!r}: sources: {column} {unknown[0]!r} is not listed; list it, or say under "
            "'others' what all other ones have"
        )
    sets = {value: listed.get(value, others) for value in set(values)}
    return np.array([[name in sets[value] for name in spec.modalities] for value in values])
