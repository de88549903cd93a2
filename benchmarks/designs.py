"""Designs: which cells a model sees, and which of their modalities are taken apart or withheld.

A design is made in three steps, each driven by its own stream of random numbers so that designs nest:

1. *Subsampling*. Every cell of the data set has a rank; a design of ``n_cells`` takes the first ones. With the
   same seed and replicate, the cells of a smaller design are therefore a subset of those of a larger one.
2. *Unpairing* (MultiVI, Ashuach et al. 2023, Results "MultiVI integrates paired and unpaired samples"). A random
   fraction of the cells is split so that each appears once for every modality, with that modality alone. The
   unpaired cells of a smaller fraction are a subset of those of a larger one.
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
from benchmarks.formats import SCHEMA_VERSION, H5mu, Multimodal, digest, ordered_modalities

DESIGN_VERSION = 1
"""Raised whenever the same specification would give other bytes."""

_STREAMS = {"subsample": 1, "unpair": 2, "shuffle": 3}
_TRUTH_COLUMNS = ("cell_type", "batch", "site", "donor", "condition")


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
        Number of cells; ``None`` for all of them.
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

    @property
    def name(self) -> str:
        """Readable and unique: ``n500-u0.5-r0-<digest>``, where the digest covers every field."""
        content = {**dataclasses.asdict(self), "design_version": DESIGN_VERSION, "schema_version": SCHEMA_VERSION}
        size = "all" if self.n_cells is None else self.n_cells
        return f"n{size}-u{self.unpaired_fraction:g}-r{self.replicate}-{digest(content)}"

    def to_mapping(self) -> dict[str, Any]:
        """A JSON-like mapping that :meth:`from_mapping` takes."""
        return dataclasses.asdict(self)

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


def choose_cells(labels: pd.Series, spec: DesignSpec) -> np.ndarray:
    """Positions of the cells of a design, increasing; shape (n_cells,).

    Uniform sampling ranks all cells at random. Stratified sampling ranks each cell within its type and compares
    ranks relative to the type's size, so that every prefix keeps the proportions; unlabelled cells count as one
    type. Both nest in ``n_cells``.

    Raises
    ------
    InputError
        If the data set has fewer cells than asked for.
    """
    total = len(labels)
    wanted = total if spec.n_cells is None else spec.n_cells
    if wanted > total:
        raise InputError(f"data set {spec.dataset!r}: n_cells {wanted} asked for, {total} there; lower n_cells")
    rank = np.empty(total, dtype=np.int64)
    rank[spec.generator("subsample").permutation(total)] = np.arange(total)
    if spec.sampling == "stratified":
        codes = pd.factorize(labels.astype(object), use_na_sentinel=False)[0]
        order = np.lexsort((rank, codes))
        sizes = np.bincount(codes)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        within = np.empty(total)
        within[order] = (np.arange(total) - starts[codes[order]] + 0.5) / sizes[codes[order]]
        rank = np.empty(total, dtype=np.int64)
        rank[np.lexsort((np.arange(total), codes, within))] = np.arange(total)
    return np.flatnonzero(rank < wanted)


def choose_unpaired(n_total: int, chosen: np.ndarray, spec: DesignSpec) -> np.ndarray:
    """Boolean mask over the `chosen` cells: which are split. ``round(fraction * n)`` of them, nested in the fraction."""
    priority = spec.generator("unpair").random(n_total)[chosen]
    count = int(np.floor(spec.unpaired_fraction * len(chosen) + 0.5))
    mask = np.zeros(len(chosen), dtype=bool)
    mask[np.argsort(priority, kind="stable")[:count]] = True
    return mask


def make_design(data: Multimodal, spec: DesignSpec) -> tuple[Multimodal, Multimodal]:
    """Return (visible, truth) of a data set held in memory; see :func:`make_design_from_file`."""
    chosen = choose_cells(data.obs["cell_type"], spec)
    counts = {modality: data.counts[modality][chosen] for modality in spec.modalities}
    return _split(data.obs.iloc[chosen], counts, {m: data.var[m] for m in spec.modalities}, chosen, data.n_obs, spec)


def make_design_from_file(path: str | os.PathLike, spec: DesignSpec) -> tuple[Multimodal, Multimodal]:
    """Return (visible, truth) of the data set in `path`, reading only the chosen cells.

    The visible object has ``obs`` columns ``batch`` and ``group``, opaque observation names and
    ``uns["n_cell_types"]``. The truth has, for the same observations, ``cell`` (the source cell), ``group``, the
    labels, batches and pseudotimes, and as counts those that were withheld: of every observation, the modalities
    that its cell has and it has not.

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
        counts = {modality: file.counts(modality, chosen) for modality in spec.modalities}
        var = {modality: file.var(modality) for modality in spec.modalities}
    return _split(obs.iloc[chosen], counts, var, chosen, len(obs), spec)


def _split(
    obs: pd.DataFrame,
    counts: dict[str, sp.csr_matrix],
    var: dict[str, pd.DataFrame],
    chosen: np.ndarray,
    n_total: int,
    spec: DesignSpec,
) -> tuple[Multimodal, Multimodal]:
    """Steps 2 and 3 on the chosen cells, then the shuffle."""
    kept = {
        modality: select_features(counts[modality], spec.features.get(modality, {})) for modality in spec.modalities
    }
    counts = {modality: counts[modality][:, kept[modality]] for modality in spec.modalities}
    var = {modality: var[modality].iloc[kept[modality]] for modality in spec.modalities}

    unpaired = choose_unpaired(n_total, chosen, spec)
    cell = [np.flatnonzero(~unpaired)]
    has = [np.ones((len(cell[0]), len(spec.modalities)), dtype=bool)]
    for column in range(len(spec.modalities)):
        cell.append(np.flatnonzero(unpaired))
        block = np.zeros((len(cell[-1]), len(spec.modalities)), dtype=bool)
        block[:, column] = True
        has.append(block)
    cell, has = np.concatenate(cell), np.concatenate(has)

    labels = obs["cell_type"].astype(object).to_numpy()
    for cell_type, modality in spec.held_out:
        if cell_type not in set(labels[~pd.isna(labels)]):
            raise InputError(
                f"data set {spec.dataset!r}: held_out cell type {cell_type!r} is not among the chosen cells"
            )
        if modality not in spec.modalities:
            raise InputError(f"data set {spec.dataset!r}: held_out modality {modality!r} is not in the design")
        has[labels[cell] == cell_type, spec.modalities.index(modality)] = False
    keep = has.any(axis=1)
    cell, has = cell[keep], has[keep]

    # The order is shuffled last, with a stream that the whole identity seeds: no trace of which halves belong together.
    shuffle = np.random.default_rng(
        [spec.seed, spec.replicate, _STREAMS["shuffle"], int(digest(spec.to_mapping()), 16)]
    )
    order = shuffle.permutation(len(cell))
    cell, has = cell[order], has[order]
    names = pd.Index([f"obs_{position:07d}" for position in range(len(cell))], dtype=object)

    group = np.array(["paired" if row.all() else "+".join(np.array(spec.modalities)[row]) for row in has], dtype=object)
    source = obs.iloc[cell]
    visible_obs = pd.DataFrame({"batch": source["batch"].astype(str).to_numpy(), "group": group}, index=names)
    truth_obs = pd.DataFrame({"cell": source.index.astype(str).to_numpy(), "group": group}, index=names)
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
        rows = np.flatnonzero(~has[:, column])
        if len(rows):
            withheld[modality], withheld_rows[modality] = counts[modality][cell[rows]], rows
    facts = {"n_cell_types": int(pd.Series(labels).nunique())}
    visible = Multimodal(visible_obs, seen, {m: _strip(var[m]) for m in seen}, seen_rows, facts)
    truth_facts = {**facts, "spec": spec.to_mapping(), "n_cells": len(chosen), "n_unpaired": int(unpaired.sum())}
    truth = Multimodal(truth_obs, withheld, {m: _strip(var[m]) for m in withheld}, withheld_rows, truth_facts)
    return visible, truth


_FEATURE_COLUMNS = ("gene_id", "gene_symbol", "chrom", "start", "end", "strand")


def _strip(var: pd.DataFrame) -> pd.DataFrame:
    """The columns of a feature table that a model may know: names and coordinates, not simulated truth."""
    return var[[column for column in _FEATURE_COLUMNS if column in var.columns]]


def select_features(counts: sp.csr_matrix, settings: Mapping[str, float]) -> np.ndarray:
    """Positions of the features to keep, increasing; those that no chosen cell has are always dropped.

    Brombacher et al. 2022 (section 4): highly variable genes, and the 25 % of the peaks with the highest total
    counts; Ashuach et al. 2023 (Methods): peaks in at least 1 % of the cells.
    """
    n_cells, n_features = counts.shape
    detected = counts.getnnz(axis=0)
    keep = detected > 0
    if "min_cell_fraction" in settings:
        keep &= detected >= settings["min_cell_fraction"] * n_cells
    if "top_fraction" in settings:
        totals = np.asarray(counts.sum(axis=0)).ravel()
        first = np.argsort(-totals, kind="stable")[: int(np.ceil(settings["top_fraction"] * n_features))]
        keep &= np.isin(np.arange(n_features), first)
    if "highly_variable" in settings and keep.sum() > settings["highly_variable"]:
        import anndata
        import scanpy

        positions = np.flatnonzero(keep)
        adata = anndata.AnnData(counts[:, positions].copy())
        for span in (0.3, 0.6, 1.0):
            try:
                # Variance of standardised counts about a loess trend (Stuart et al. 2019), for raw counts.
                scanpy.pp.highly_variable_genes(
                    adata, n_top_genes=int(settings["highly_variable"]), flavor="seurat_v3", span=span
                )
                break
            except ValueError:
                # Few cells have few distinct means, and a local fit needs several: widen its window.
                if span == 1.0:
                    raise
        keep = np.zeros(n_features, dtype=bool)
        keep[positions[adata.var["highly_variable"].to_numpy()]] = True
    return np.flatnonzero(keep)
