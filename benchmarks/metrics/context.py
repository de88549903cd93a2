"""The context of one embedding: its truth and everything expensive that several metrics share, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.formats import Embedding, Multimodal, Prediction, RunRecord, ordered_modalities
from benchmarks.metrics.declaration import NotApplicable
from benchmarks.metrics.distances import (
    PairwisePass,
    Partners,
    collapse,
    cosine_segment_sums,
    pairwise_pass,
    silhouettes_from_sums,
    thread_count,
)

GRAPH_NEIGHBOURS = 15
"""Neighbours of the graph, with the observation itself (scanpy's and scib's count): 14 others."""

LISI_NEIGHBOURS = 90
"""Neighbours of LISI, with the observation itself (Harmony's and scib-metrics' count): 89 others, perplexity 30."""

SHARED_NEIGHBOURS = 92
"""Others in the shared neighbour list: enough for LISI and for a vote of 15 without the halves of the same cell."""

EXACT_LIMIT = 100_000
"""Largest number of observations whose pairwise distances are all computed."""

SAMPLED_ROWS = 20_000
"""Above :data:`EXACT_LIMIT`: rows drawn for silhouettes and ranks (each against all observations, exactly)."""

CLUSTERING_LIMIT = 100_000
"""Above this many observations clusterings and pseudotimes are computed on a random subset of this size."""


@dataclass(frozen=True)
class Codes:
    """A categorical covariate.

    Attributes
    ----------
    codes
        int64, one an observation: position in `names`, -1 where missing.
    names
        The values that occur, sorted as text.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no value is missing."""
        return bool(np.all(self.codes >= 0))


def encode(column: pd.Series | np.ndarray) -> Codes:
    """Codes of a column of texts, numbers or categories; missing values stay missing."""
    column = pd.Series(np.asarray(column, dtype=object))
    missing = column.isna().to_numpy()
    text = np.where(missing, "", column.map(str))
    names, codes = np.unique(text[~missing], return_inverse=True)
    result = np.full(len(column), -1, dtype=np.int64)
    result[~missing] = codes
    return Codes(result, tuple(names.tolist()))


@dataclass(frozen=True)
class Halves:
    """Pairs of observations that are halves of one cell; each pair occurs in both directions.

    Attributes
    ----------
    first, second
        int64 positions: `second` is looked for among the neighbours of `first`.
    first_group, second_group
        int64 codes of their modality groups.
    """

    first: np.ndarray
    second: np.ndarray
    first_group: np.ndarray
    second_group: np.ndarray


class Context:
    """One embedding with its truth.

    Parameters
    ----------
    embedding
        Observations x dimensions, or an :class:`~benchmarks.formats.Embedding`, whose components are then used too.
    truth
        The design's hidden side. Its ``obs``, in the embedding's order, has ``cell`` (halves of one cell share it),
        ``group`` (``paired`` or the modalities that the observation has), ``cell_type``, ``batch``, optional
        ``site`` and ``pseudotime_*``; its counts are those withheld.
    visible
        The design's visible side, for the metrics that need what the model saw.
    predictions
        Modality -> prediction of what was withheld.
    record
        The run record, for costs.
    components
        int, one an observation: the model's own mixture component.
    threads
        Number of threads; values do not depend on it.
    seed
        Seed of everything drawn at random.
    """

    def __init__(
        self,
        embedding: Embedding | np.ndarray,
        truth: Multimodal,
        visible: Multimodal | None = None,
        predictions: Mapping[str, Prediction] | None = None,
        record: RunRecord | None = None,
        components: np.ndarray | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(embedding, Embedding):
            components = embedding.components if components is None else components
            embedding = embedding.values
        self.values = np.asarray(embedding)
        self.truth = truth
        self.visible = visible
        self.predictions = predictions or {}
        self.record = record
        self.components = None if components is None else np.asarray(components)
        self.threads = thread_count(threads)
        self.seed = seed
        self._subsets: dict[bytes, Context] = {}
        if self.values.ndim != 2:
            raise ValueError(f"an embedding has two axes, this one {self.values.ndim}")
        if len(self.values) != truth.n_obs:
            raise ValueError(f"the embedding has {len(self.values)} observations, the truth {truth.n_obs}")
        if self.components is not None and len(self.components) != truth.n_obs:
            raise ValueError(f"{len(self.components)} components for {truth.n_obs} observations")

    @property
    def n_obs(self) -> int:
        """Number of observations."""
        return len(self.values)

    @cached_property
    def problem(self) -> str:
        """Why no metric of the embedding can be computed; empty if they can."""
        if self.values.shape[1] == 0:
            return "the embedding has no dimensions"
        if self.n_obs < 3:
            return f"the embedding has {self.n_obs} observations, at least 3 are needed"
        bad = ~np.isfinite(self.values)
        if bad.any():
            kind = "NaN" if np.isnan(self.values).any() else "infinite"
            return f"the embedding holds {kind} values in {int(bad.any(axis=1).sum())} of {self.n_obs} observations"
        if float(np.abs(self.values).max(initial=0)) > 1e150:
            return "the embedding holds values above 1e150, whose squared distances overflow"
        return ""

    @cached_property
    def diagnostics(self) -> dict[str, Any]:
        """What :func:`benchmarks.metrics.diagnostics.diagnostics` says about the embedding."""
        from benchmarks.metrics.diagnostics import diagnostics

        cells = encode(self.truth.obs["cell"]).codes if "cell" in self.truth.obs else None
        return diagnostics(self.values, cells)

    # -- covariates --------------------------------------------------------------------------------------

    def covariate(self, column: str) -> Codes:
        """Codes of a column of the truth's ``obs``.

        Raises
        ------
        NotApplicable
            If the column is absent or has no value at all.
        """
        cache = self.__dict__.setdefault("_covariates", {})
        if column not in cache:
            cache[column] = encode(self.truth.obs[column]) if column in self.truth.obs else Codes(np.zeros(0), ())
        if not cache[column].names:
            raise NotApplicable(f"the data set has no {column.replace('_', ' ')} annotation")
        return cache[column]

    def has(self, column: str) -> bool:
        """Whether the covariate `column` exists and has a value."""
        try:
            self.covariate(column)
        except NotApplicable:
            return False
        return True

    def at_least(self, column: str, count: int = 2) -> Codes:
        """The covariate `column` if it has at least `count` values, else :class:`NotApplicable`."""
        codes = self.covariate(column)
        if len(codes.names) < count:
            only = f"one {column.replace('_', ' ')}" if len(codes.names) == 1 else f"{len(codes.names)} values"
            raise NotApplicable(f"only {only} in this design, at least {count} are needed")
        return codes

    def known(self, *columns: str) -> "Context":
        """This context restricted to the observations whose `columns` are all known; itself if they all are.

        Unlabelled observations are left out before anything else is computed (neighbours, clusterings and distances
        alike), which is what a user of other libraries would do by hand.
        """
        mask = np.ones(self.n_obs, dtype=bool)
        for column in columns:
            mask &= self.covariate(column).codes >= 0
        if mask.all():
            return self
        key = mask.tobytes()
        if key not in self._subsets:
            if np.count_nonzero(mask) < 3:
                raise NotApplicable(f"fewer than 3 observations have a known {' and '.join(columns)}")
            self._subsets[key] = self.subset(np.flatnonzero(mask))
        return self._subsets[key]

    def subset(self, positions: np.ndarray) -> "Context":
        """The observations at `positions` as a context of their own (predictions and record stay behind)."""
        obs = self.truth.obs.iloc[positions]
        truth = Multimodal(obs, {}, {}, {}, dict(self.truth.uns))
        components = None if self.components is None else self.components[positions]
        return Context(self.values[positions], truth, components=components, threads=self.threads, seed=self.seed)

    @cached_property
    def sample(self) -> "Context":
        """A random subset of :data:`CLUSTERING_LIMIT` observations where there are more, else this context."""
        if self.n_obs <= CLUSTERING_LIMIT:
            return self
        rng = np.random.default_rng([self.seed, 1])
        return self.subset(np.sort(rng.choice(self.n_obs, CLUSTERING_LIMIT, replace=False)))

    @cached_property
    def halves(self) -> Halves:
        """Pairs of observations that come from one cell, in both directions.

        Raises
        ------
        NotApplicable
            If no cell was split.
        """
        if "cell" not in self.truth.obs:
            raise NotApplicable("the design does not say which observations are halves of one cell")
        cell = encode(self.truth.obs["cell"]).codes
        group = self.covariate("group").codes
        order = np.argsort(cell, kind="stable")
        order = order[cell[order] >= 0]
        bounds = np.flatnonzero(np.r_[True, np.diff(cell[order]) != 0, True])
        first, second = [], []
        sizes = np.diff(bounds)
        for size in np.unique(sizes[sizes > 1]):
            members = order[bounds[:-1][sizes == size][:, None] + np.arange(size)]
            for a in range(size):
                for b in range(size):
                    if a != b:
                        first.append(members[:, a])
                        second.append(members[:, b])
        if not first:
            raise NotApplicable("no cell was split into halves: all cells are paired or from one source only")
        first, second = np.concatenate(first), np.concatenate(second)
        order = np.lexsort((second, first))
        first, second = first[order], second[order]
        return Halves(first, second, group[first], group[second])

    # -- distances ---------------------------------------------------------------------------------------

    @property
    def exact(self) -> bool:
        """Whether all pairwise distances are computed (else neighbours are approximate, sums and ranks sampled)."""
        return self.n_obs <= EXACT_LIMIT

    @cached_property
    def _segments(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Segment of each observation, and for each covariate the code of each segment."""
        columns = [column for column in ("cell_type", "batch", "site") if self.has(column)]
        if not columns:
            return np.zeros(self.n_obs, dtype=np.int64), {}
        table = np.column_stack([self.covariate(column).codes for column in columns])
        unique, inverse = np.unique(table, axis=0, return_inverse=True)
        return inverse.ravel(), {column: unique[:, i] for i, column in enumerate(columns)}

    @cached_property
    def sampled_rows(self) -> np.ndarray:
        """Rows whose distances to all observations are computed: all, or a random sample above the limit."""
        if self.exact:
            return np.arange(self.n_obs)
        rng = np.random.default_rng([self.seed, 2])
        rows = rng.choice(self.n_obs, SAMPLED_ROWS, replace=False)
        try:
            halves = self.halves
        except NotApplicable:
            return np.sort(rows)
        # Half of the sample are halves, so that ranks have a sample of their own however few cells were split.
        split = np.unique(halves.first)
        drawn = split if len(split) <= SAMPLED_ROWS else rng.choice(split, SAMPLED_ROWS, replace=False)
        self.__dict__["_rank_rows"] = np.sort(drawn)
        return np.sort(rows)

    @cached_property
    def pairwise(self) -> PairwisePass:
        """The one pass over all distances (of all rows, or of the sampled ones)."""
        segments, _ = self._segments
        rows = self.sampled_rows
        partners = None
        groups = self.covariate("group").codes if self.has("group") else None
        if self.exact:
            try:
                partners = Partners(self.halves.first, self.halves.second)
            except NotApplicable:
                partners = None
        return pairwise_pass(
            self.values,
            SHARED_NEIGHBOURS,
            segments,
            groups if partners is not None else None,
            partners,
            rows,
            self.threads,
        )

    @cached_property
    def half_ranks(self) -> tuple[Halves, np.ndarray, np.ndarray, np.ndarray]:
        """Ranks of the other halves.

        Returns
        -------
        halves
            The pairs (a sample of them above :data:`EXACT_LIMIT`).
        ranks
            Rank of the other half among all other observations; 1 is the nearest, ties count half.
        group_ranks
            Rank among the observations of the other half's modality group.
        group_sizes
            Number of observations in the other half's group.
        """
        halves = self.halves
        groups = self.covariate("group").codes
        if self.exact:
            result = self.pairwise
        else:
            _ = self.sampled_rows
            rows = self.__dict__["_rank_rows"]
            chosen = np.isin(halves.first, rows)
            halves = Halves(
                *(part[chosen] for part in (halves.first, halves.second, halves.first_group, halves.second_group))
            )
            partners = Partners(halves.first, halves.second)
            result = pairwise_pass(self.values, 0, None, groups, partners, rows, self.threads)
        return halves, result.ranks, result.group_ranks, result.group_sizes[halves.second_group]

    @cached_property
    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest others of each observation: int32 positions and Euclidean distances, nearest first.

        Exact up to :data:`EXACT_LIMIT`; above it from an inverted-file index (see :attr:`neighbour_recall`).
        """
        if self.exact:
            return self.pairwise.indices, self.pairwise.distances
        from benchmarks.metrics.approximate import approximate_neighbours

        return approximate_neighbours(self.values, SHARED_NEIGHBOURS, self.threads, self.seed)

    @cached_property
    def neighbour_recall(self) -> float:
        """Share of the true neighbours that the neighbour list holds, measured on the exact rows; 1 if exact."""
        if self.exact:
            return 1.0
        from benchmarks.metrics.approximate import recall

        found, _ = self.neighbours
        return recall(found[self.sampled_rows], self.pairwise.indices)

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest others (fewer if there are not so many): positions, distances."""
        indices, distances = self.neighbours
        return indices[:, :k], distances[:, :k]

    # -- silhouettes -------------------------------------------------------------------------------------

    def silhouettes(self, column: str, distance: str = "euclidean") -> np.ndarray:
        """Silhouette widths by a covariate (all of it known), one a row of :attr:`sampled_rows`."""
        key = ("silhouettes", column, distance)
        if key not in self.__dict__:
            codes = self.covariate(column)
            segments, parts = self._segments
            sums = collapse(self._sums(distance), parts[column], len(codes.names))
            sizes = np.bincount(codes.codes, minlength=len(codes.names))
            self.__dict__[key] = silhouettes_from_sums(sums, sizes, codes.codes[self.sampled_rows])
        return self.__dict__[key]

    def inner_silhouettes(self, column: str, distance: str = "euclidean", between: str = "nearest") -> list[np.ndarray]:
        """Silhouette widths by `column` within each cell type: one array a cell type, empty where undefined.

        A cell type with one value of `column`, or with as many values as cells, has no silhouette (as in scib).
        """
        labels, codes = self.covariate("cell_type"), self.covariate(column)
        _, parts = self._segments
        sums = self._sums(distance)
        rows = self.sampled_rows
        result = []
        for label in range(len(labels.names)):
            members = labels.codes == label
            sizes = np.bincount(codes.codes[members], minlength=len(codes.names))
            present = np.flatnonzero(sizes)
            mine = np.flatnonzero(members[rows])
            if len(present) < 2 or len(present) == sizes.sum() or not len(mine):
                result.append(np.zeros(0))
                continue
            renumber = np.full(len(codes.names), -1)
            renumber[present] = np.arange(len(present))
            columns = np.where(parts["cell_type"] == label, renumber[parts[column]], -1)
            inner = collapse(sums[mine], columns, len(present))
            result.append(silhouettes_from_sums(inner, sizes[present], renumber[codes.codes[rows[mine]]], between))
        return result

    def _sums(self, distance: str) -> np.ndarray:
        if distance == "euclidean":
            return self.pairwise.segment_sums
        if distance != "cosine":
            raise ValueError(f"unknown distance {distance!r}")
        return self._cosine_sums

    @cached_property
    def _cosine_sums(self) -> np.ndarray:
        segments, _ = self._segments
        return cosine_segment_sums(self.values, self.sampled_rows, segments, int(segments.max()) + 1)

    # -- graph -------------------------------------------------------------------------------------------

    @cached_property
    def graph(self) -> sp.csr_matrix:
        """UMAP connectivities of the :data:`GRAPH_NEIGHBOURS` nearest, as scanpy's ``pp.neighbors`` defines them."""
        from benchmarks.metrics.graph import fuzzy_weights

        k = min(GRAPH_NEIGHBOURS, self.n_obs)
        return fuzzy_weights(*self.nearest(k - 1), k)

    def partitions(self, method: str) -> list[np.ndarray]:
        """Partitions of the graph by ``leiden`` or ``louvain``, one a resolution."""
        key = ("partitions", method)
        if key not in self.__dict__:
            from benchmarks.metrics.partitions import partition_in_parallel

            self.__dict__[key] = partition_in_parallel(self.graph, method, self.seed, self.threads)
        return self.__dict__[key]

    @cached_property
    def k_means(self) -> np.ndarray:
        """k-means clusters with k = number of cell types."""
        from benchmarks.metrics.partitions import k_means

        return k_means(self.values, len(self.covariate("cell_type").names), self.seed, threads=self.threads)[0]

    @cached_property
    def lisi(self) -> dict[str, np.ndarray]:
        """LISI by every complete covariate from the :data:`LISI_NEIGHBOURS` nearest; covariate -> n values."""
        from benchmarks.metrics.lisi import lisi

        k = min(LISI_NEIGHBOURS, self.n_obs)
        return self._lisi(*self.nearest(k - 1), k // 3, lisi)

    @cached_property
    def graph_lisi(self) -> dict[str, np.ndarray]:
        """LISI by every complete covariate from the 90 nearest along the graph, scib's form."""
        from benchmarks.metrics.graph import nearest_along_graph
        from benchmarks.metrics.lisi import lisi

        indices, lengths = nearest_along_graph(self.graph, LISI_NEIGHBOURS, self.threads)
        return self._lisi(indices, lengths, LISI_NEIGHBOURS // 3, lisi)

    def _lisi(self, indices: np.ndarray, distances: np.ndarray, perplexity: float, function) -> dict[str, np.ndarray]:
        columns = [
            name for name in ("cell_type", "batch", "site", "group") if self.has(name) and self.covariate(name).complete
        ]
        return dict(
            zip(columns, function(indices, distances, [self.covariate(name).codes for name in columns], perplexity))
        )

    # -- predictions -------------------------------------------------------------------------------------

    @property
    def predicted(self) -> list[str]:
        """Modalities that were predicted and withheld, in order.

        Raises
        ------
        NotApplicable
            If there is none.
        """
        if not self.predictions:
            raise NotApplicable("the model gives no predictions")
        both = [name for name in self.predictions if name in self.truth.counts and self.truth.counts[name].shape[0]]
        if not both:
            raise NotApplicable("no counts were withheld in this design")
        return ordered_modalities(both)
