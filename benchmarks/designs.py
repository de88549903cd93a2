"""Designs: which cells a model sees, and which of their modalities are taken apart or withheld.

A design is made in three steps, each driven by its own stream of random numbers so that designs nest:

1. *Subsampling* (:mod:`benchmarks.splits`). Every cell of the data set has a rank; a design of ``n_cells`` takes the
   first ones. With the same seed and replicate, the cells of a smaller design are therefore a subset of those of a
   larger one. A design with *test cells* has, beside these, the same ones at every size: the model sees them with all
   of their modalities, may not learn from them, and is asked to place them and to reconstruct their counts.
2. *Giving modalities to observations* (:mod:`benchmarks.groups`), in one of three ways. *Unpairing* (MultiVI,
   Ashuach et al. 2023, Results "MultiVI integrates paired and unpaired samples"): a random fraction of the cells is
   split so that each appears once for every modality, with that modality alone; the unpaired cells of a smaller
   fraction are a subset of those of a larger one. *Groups* (ibid., figure 6e, f): every cell appears once, with the
   modalities of its group. *Sources* (ibid., figure 3): likewise, with those that its batch or study measured.
3. *Holding out* populations (ibid., Methods): all observations of one modality are removed from one cell type.

The result is two objects over the same observations, in the same shuffled order: the *visible* one, which the
model gets, and the *truth*, which only the metrics get.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.features import select_features
from benchmarks.formats import SCHEMA_VERSION, H5mu, Multimodal, digest, ordered_modalities
from benchmarks.groups import (
    SOURCE_COLUMNS,
    choose_unpaired,
    from_sources,
    group_modalities,
    group_name,
    share_out,
    split_cells,
)
from benchmarks.splits import choose_cells, choose_test

DESIGN_VERSION = 1
"""Raised whenever the same specification would give other bytes."""

HELD_OUT_VERSION = 2
"""The same, of designs that hold populations out: since 2 these have no say in which features are kept."""

HIDDEN_BATCH = "hidden"
"""The batch of every observation of a design that hides them."""

_STREAMS = {"subsample": 1, "unpair": 2, "shuffle": 3, "groups": 4, "test": 5}
_TRUTH_COLUMNS = ("cell_type", "batch", "site", "donor", "condition")


_LATER_FIELDS = ("groups", "sources", "hide_batch", "test_fraction")


@dataclass(frozen=True)
class DesignSpec:
    """The identity of a design.

    Attributes
    ----------
    dataset
        Name of the data set.
    modalities
        Modalities in the design, a subset of the data set's.
    n_cells
        Number of cells; ``None`` for all of them. Test cells are not among them.
    unpaired_fraction
        Fraction in [0, 1] of the cells that are split.
    replicate
        Number of the subsample.
    seed
        Base seed; with `replicate` it determines every draw.
    sampling
        ``uniform`` or ``stratified`` (by cell type, proportions kept).
    features
        Modality -> feature filter: ``highly_variable`` (number of genes), ``top_fraction`` (of the features, by
        total counts), ``min_cell_fraction`` (of the cells that must have the feature).
    held_out
        Pairs (cell type, modality): this modality is withheld from every cell of this type.
    groups
        Group (``rna+atac``, ``protein``, ..., ``paired``) -> share of the cells; shares of any sum, which are
        scaled to 1. Empty: no groups.
    sources
        ``by``, a column of :data:`benchmarks.groups.SOURCE_COLUMNS`; ``modalities``, value -> modalities that cells
        with this value keep; optional ``others``, those that all other cells keep. Empty: no sources.
    hide_batch
        Whether the model is told that all cells are of one batch.
    test_fraction
        Fraction in [0, 1) of the data set's cells that are test cells.
    """

    dataset: str
    modalities: tuple[str, ...]
    n_cells: int | None = None
    unpaired_fraction: float = 0.0
    replicate: int = 0
    seed: int = 0
    sampling: str = "uniform"
    features: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    held_out: tuple[tuple[str, str], ...] = ()
    groups: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    hide_batch: bool = False
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(ordered_modalities(self.modalities)))
        object.__setattr__(self, "held_out", tuple(sorted(tuple(pair) for pair in self.held_out)))
        if not 0 <= self.unpaired_fraction <= 1:
            raise InputError(f"unpaired_fraction {self.unpaired_fraction} is outside [0, 1]")
        if self.n_cells is not None and self.n_cells < 1:
            raise InputError(f"n_cells {self.n_cells} is below 1")
        if self.sampling not in ("uniform", "stratified"):
            raise InputError(f"sampling {self.sampling!r} is neither 'uniform' nor 'stratified'")
        if self.unpaired_fraction > 0 and len(self.modalities) < 2:
            raise InputError(
                f"unpaired_fraction {self.unpaired_fraction} needs two modalities; the design has {self.modalities}"
            )
        if not 0 <= self.test_fraction < 1:
            raise InputError(f"test_fraction {self.test_fraction} is outside [0, 1)")
        ways = [name for name in ("unpaired_fraction", "groups", "sources") if getattr(self, name)]
        if len(ways) > 1:
            raise InputError(f"{ways[0]} and {ways[1]} both say which modalities a cell keeps; give one of them")
        object.__setattr__(self, "groups", self._scaled_groups())
        object.__setattr__(self, "sources", self._checked_sources())

    def _scaled_groups(self) -> dict[str, float]:
        """Shares of sum 1 under the groups' own names, in one order: equal groups have an equal identity."""
        scaled: dict[str, float] = {}
        for name, share in self.groups.items():
            own = group_name(group_modalities(name, self.modalities), self.modalities)
            if own in scaled:
                raise InputError(f"group {name!r} is given twice; remove one")
            if not share > 0:
                raise InputError(f"group {name!r} has the share {share}; give a positive number or leave it out")
            scaled[own] = float(share)
        total = sum(scaled[name] for name in sorted(scaled))
        return {name: scaled[name] / total for name in sorted(scaled)}

    def _checked_sources(self) -> dict[str, Any]:
        """The sources with their modalities in order."""
        if not self.sources:
            return {}
        unknown = sorted(set(self.sources) - {"by", "modalities", "others"})
        if unknown or not {"by", "modalities"} <= set(self.sources):
            raise InputError("sources: give 'by', 'modalities' and, where wanted, 'others', and nothing else")
        if self.sources["by"] not in SOURCE_COLUMNS:
            raise InputError(f"sources.by {self.sources['by']!r} is none of {', '.join(SOURCE_COLUMNS)}")

        def checked(source: str, names: Any) -> list[str]:
            if not names or not set(names) <= set(self.modalities):
                raise InputError(
                    f"sources: {source!r} has {'+'.join(names) or 'nothing'}; give it modalities of the design "
                    f"({', '.join(self.modalities)})"
                )
            return ordered_modalities(names)

        listed = {str(value): checked(value, names) for value, names in sorted(self.sources["modalities"].items())}
        result = {"by": self.sources["by"], "modalities": listed}
        if self.sources.get("others") is not None:
            result["others"] = checked("others", self.sources["others"])
        return result

    @property
    def observed_sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets of modalities that observations to train on are given, before any population is held out."""
        if self.groups:
            return tuple(group_modalities(name, self.modalities) for name in self.groups)
        if self.sources:
            sets = [
                *self.sources["modalities"].values(),
                *([self.sources["others"]] if "others" in self.sources else []),
            ]
            return tuple(dict.fromkeys(map(tuple, sets)))
        paired = [self.modalities] if self.unpaired_fraction < 1 else []
        alone = [(name,) for name in self.modalities] if self.unpaired_fraction > 0 else []
        return tuple(dict.fromkeys([*paired, *alone]))

    @property
    def name(self) -> str:
        """Readable and unique: ``n500-u0.5-r0-<digest>``, where the digest covers every field."""
        version = HELD_OUT_VERSION if self.held_out else DESIGN_VERSION
        content = {**self.to_mapping(), "design_version": version, "schema_version": SCHEMA_VERSION}
        size = "all" if self.n_cells is None else self.n_cells
        return f"n{size}-u{self.unpaired_fraction:g}-r{self.replicate}-{digest(content)}"

    def to_mapping(self) -> dict[str, Any]:
        """A JSON-like mapping that :meth:`from_mapping` takes.

        Fields that came later than the first designs are left out where they say nothing: a design that does
        without them keeps its name and its bytes.
        """
        content = dataclasses.asdict(self)
        return {key: value for key, value in content.items() if key not in _LATER_FIELDS or value}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "DesignSpec":
        """Inverse of :meth:`to_mapping`; an unknown key is an :class:`InputError`."""
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise InputError(
                f"unknown key {unknown[0]!r} in a design specification (known: {', '.join(sorted(known))})"
            )
        return cls(**{key: tuple(map(tuple, value)) if key == "held_out" else value for key, value in mapping.items()})

    def generator(self, stream: str) -> np.random.Generator:
        """The random numbers of one step; depends on seed and replicate alone, so that designs nest."""
        return np.random.default_rng([self.seed, self.replicate, _STREAMS[stream]])


def make_design(data: Multimodal, spec: DesignSpec) -> tuple[Multimodal, Multimodal]:
    """Return (visible, truth) of a data set held in memory; see :func:`make_design_from_file`."""
    labels = data.obs["cell_type"]
    chosen = choose_cells(labels, spec)
    is_test = np.isin(chosen, choose_test(labels, spec))
    counts = {modality: data.counts[modality][chosen] for modality in spec.modalities}
    var = {modality: data.var[modality] for modality in spec.modalities}
    return _split(data.obs.iloc[chosen], counts, var, chosen, is_test, data.n_obs, spec)


def make_design_from_file(path: str | os.PathLike, spec: DesignSpec) -> tuple[Multimodal, Multimodal]:
    """Return (visible, truth) of the data set in `path`, reading only the chosen cells.

    The visible object has ``obs`` columns ``batch`` and ``group`` (and ``split``, ``train`` or ``test``, where there
    are test cells), opaque observation names and ``uns["n_cell_types"]``. The truth has, for the same observations,
    ``cell`` (the source cell), ``group``, ``split``, the labels, batches and pseudotimes, and as counts those that a
    model may be asked for: of every observation, the modalities that its cell has and it has not, and of a test cell
    all of them.

    Raises
    ------
    InputError
        If the file lacks a modality, or has too few cells.
    """
    with H5mu(path) as file:
        missing = [modality for modality in spec.modalities if modality not in file.modalities]
        if missing:
            raise InputError(
                f"{path}: no modality {missing[0]!r} (it has {', '.join(file.modalities)}); change modalities"
            )
        obs = file.obs
        chosen = choose_cells(obs["cell_type"], spec)
        is_test = np.isin(chosen, choose_test(obs["cell_type"], spec))
        counts = {modality: file.counts(modality, chosen) for modality in spec.modalities}
        var = {modality: file.var(modality) for modality in spec.modalities}
    return _split(obs.iloc[chosen], counts, var, chosen, is_test, len(obs), spec)


def _split(
    obs: pd.DataFrame,
    counts: dict[str, sp.csr_matrix],
    var: dict[str, pd.DataFrame],
    chosen: np.ndarray,
    is_test: np.ndarray,
    n_total: int,
    spec: DesignSpec,
) -> tuple[Multimodal, Multimodal]:
    """Steps 2 and 3 on the chosen cells, then the shuffle."""
    cell, has, n_unpaired = _observations(obs, chosen, is_test, n_total, spec)
    labels = obs["cell_type"].astype(object).to_numpy()
    for cell_type, modality in spec.held_out:
        if cell_type not in set(labels[~pd.isna(labels)]):
            raise InputError(
                f"data set {spec.dataset!r}: held_out cell type {cell_type!r} is not among the chosen cells"
            )
        if modality not in spec.modalities:
            raise InputError(f"data set {spec.dataset!r}: held_out modality {modality!r} is not in the design")
        has[(labels[cell] == cell_type) & ~is_test[cell], spec.modalities.index(modality)] = False
    keep = has.any(axis=1)
    cell, has = cell[keep], has[keep]

    # Designs without any of these were there first and choose features on all of their cells.
    later = bool(spec.groups or spec.sources or spec.held_out or is_test.any())
    # Features are chosen on the counts that can be learned from: neither test cells nor withheld counts have a say.
    kept = {}
    for column, modality in enumerate(spec.modalities):
        seen = counts[modality]
        if later:
            seen = seen[np.unique(cell[has[:, column] & ~is_test[cell]])]
        kept[modality] = select_features(seen, spec.features.get(modality, {}))
        if later and not len(kept[modality]):
            raise InputError(
                f"data set {spec.dataset!r}: no feature of {modality} is left; change features, groups, sources or "
                "held_out"
            )
    counts = {modality: counts[modality][:, kept[modality]] for modality in spec.modalities}
    var = {modality: var[modality].iloc[kept[modality]] for modality in spec.modalities}

    # The order is shuffled last, with a stream that the whole identity seeds: no trace of which halves belong together.
    shuffle = np.random.default_rng(
        [spec.seed, spec.replicate, _STREAMS["shuffle"], int(digest(spec.to_mapping()), 16)]
    )
    order = shuffle.permutation(len(cell))
    cell, has = cell[order], has[order]
    names = pd.Index([f"obs_{position:07d}" for position in range(len(cell))], dtype=object)

    group = np.array(
        [group_name(np.array(spec.modalities)[row].tolist(), spec.modalities) for row in has], dtype=object
    )
    source = obs.iloc[cell]
    batch = np.full(len(cell), HIDDEN_BATCH) if spec.hide_batch else source["batch"].astype(str).to_numpy()
    visible_obs = pd.DataFrame({"batch": batch, "group": group}, index=names)
    truth_obs = pd.DataFrame({"cell": source.index.astype(str).to_numpy(), "group": group}, index=names)
    if spec.test_fraction:
        visible_obs["split"] = truth_obs["split"] = np.where(is_test[cell], "test", "train")
    for column in source.columns:
        if column in _TRUTH_COLUMNS or column.startswith("pseudotime_"):
            values = source[column]
            if column in _TRUTH_COLUMNS:
                values = values.astype(object).where(values.notna(), None)
            truth_obs[column] = values.to_numpy()

    seen, seen_rows, withheld, withheld_rows = {}, {}, {}, {}
    for column, modality in enumerate(spec.modalities):
        rows = np.flatnonzero(has[:, column])
        seen[modality], seen_rows[modality] = counts[modality][cell[rows]], rows
        rows = np.flatnonzero(~has[:, column] | is_test[cell])
        if len(rows):
            withheld[modality], withheld_rows[modality] = counts[modality][cell[rows]], rows
    facts = {"n_cell_types": int(pd.Series(labels[~is_test]).nunique())}
    visible = Multimodal(visible_obs, seen, {m: _strip(var[m]) for m in seen}, seen_rows, facts)
    truth_facts = {**facts, "spec": spec.to_mapping(), "n_cells": len(chosen), "n_unpaired": n_unpaired}
    truth = Multimodal(truth_obs, withheld, {m: _strip(var[m]) for m in withheld}, withheld_rows, truth_facts)
    return visible, truth


def _observations(
    obs: pd.DataFrame, chosen: np.ndarray, is_test: np.ndarray, n_total: int, spec: DesignSpec
) -> tuple[np.ndarray, np.ndarray, int]:
    """Step 2: position of each observation's cell, observations x modalities that it has, and number of split cells."""
    train = np.flatnonzero(~is_test)
    unpaired = np.zeros(len(chosen), dtype=bool)
    unpaired[train] = choose_unpaired(n_total, chosen[train], spec)
    cell, has = split_cells(unpaired, len(spec.modalities))
    if spec.groups:
        has[train] = share_out(n_total, chosen[train], spec)
    if spec.sources:
        has[train] = from_sources(obs.iloc[train], spec)
    return cell, has, int(unpaired.sum())


_FEATURE_COLUMNS = ("gene_id", "gene_symbol", "chrom", "start", "end", "strand")


def _strip(var: pd.DataFrame) -> pd.DataFrame:
    """The columns of a feature table that a model may know: names and coordinates, not simulated truth."""
    return var[[column for column in _FEATURE_COLUMNS if column in var.columns]]
