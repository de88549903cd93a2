"""What a study's tables hold for one claim: values by block and design, or the reason why there are none."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import Collection, Mapping

import numpy as np
import pandas as pd

from benchmarks.claims.claim import Claim
from benchmarks.claims.judgement import MINIMUM, NotTestable
from benchmarks.statistics.keys import CONDITION, VARIANT
from benchmarks.statistics.summary import flags
from benchmarks.statistics.units import usable_units

DESIGN = ["block", "dataset", "n_cells", "unpaired_fraction"]
"""Columns on which two models are compared: the same cells."""

FAILURES = ("failed", "diverged", "timeout", "out_of_memory")
"""Statuses of runs that were tried and gave nothing."""

LOST_LIMIT = 0.2
"""Where flags took an end of an axis from more than this share of the replicates, nothing is said along the axis."""

AXES = {"n_cells": "numbers of cells", "unpaired_fraction": "unpaired fractions"}
"""Axes along which claims speak, in words."""


def _names(table: pd.DataFrame) -> pd.Series:
    """Name of the model or variant of each row, as configurations write it."""
    variant = table["variant"].fillna("").astype(str)
    return variant.where(~variant.isin(["", "default"]), table["model"].astype(str))


class Tables:
    """The tidy tables of a study, prepared once for all claims.

    Parameters
    ----------
    scores, runs
        Tidy tables; `runs` may be ``None`` or empty.
    metrics
        Metric declarations.
    names
        Scores that are asked for; all where left out.
    """

    def __init__(
        self,
        scores: pd.DataFrame,
        runs: pd.DataFrame | None,
        metrics: Mapping[str, object],
        names: Collection[str] | None = None,
    ) -> None:
        self.scores = scores.assign(name=_names(scores))
        self.metrics, self.names = metrics, names
        if runs is None or runs.empty:
            runs = None
        self.runs = None if runs is None else runs.assign(name=_names(runs))

    @cached_property
    def designs(self) -> pd.DataFrame:
        """Study, data set, size and unpaired fraction of every design, whatever came out of it."""
        columns = ["study", "dataset", "n_cells", "unpaired_fraction"]
        tables = [table[columns] for table in (self.scores, self.runs) if table is not None]
        return pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)

    @cached_property
    def subsamples(self) -> pd.DataFrame:
        """Usable values with the training seeds averaged; a block is a replicate of a data set.

        Rows with ``lost`` have no value because flags took all of their seeds.
        """
        return self._units(self.scores, self.runs)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """As :attr:`subsamples`, but of a data set with one replicate every training seed is a block.

        Seeds on one subsample share its cells, so that seeds of several replicates are no independent blocks.
        """
        counts = self.scores.groupby(["study", "dataset"])["replicate"].nunique()
        single = set(counts.index[counts == 1])

        def seeded(table: pd.DataFrame) -> pd.DataFrame:
            own = pd.Series([key in single for key in zip(table["study"], table["dataset"])], index=table.index)
            replicate = table["replicate"].astype(str)
            return table.assign(replicate=replicate.where(~own, replicate + " seed " + table["seed"].astype(str)))

        return self._units(seeded(self.scores), None if self.runs is None else seeded(self.runs))

    def _units(self, scores: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
        if self.names is not None:
            scores = scores[scores["metric"].isin(list(self.names))]
        if scores.empty:
            return pd.DataFrame(columns=["study", *DESIGN, "replicate", "name", "metric", "raw", "value", "lost"])
        units = usable_units(scores, runs, self.metrics).assign(lost=False)
        if runs is not None and len(flags(runs)):
            keys = [*CONDITION, *VARIANT, "metric", "replicate"]
            known = set(units[keys].fillna({"unpaired_fraction": -1.0}).itertuples(index=False, name=None))
            every = usable_units(scores, None, self.metrics)
            lost = [
                key not in known
                for key in every[keys].fillna({"unpaired_fraction": -1.0}).itertuples(index=False, name=None)
            ]
            units = pd.concat([units, every[lost].assign(value=np.nan, lost=True)], ignore_index=True)
        units["name"] = _names(units)
        units["block"] = [" ".join(map(str, row)) for row in zip(units["study"], units["dataset"], units["replicate"])]
        units["raw"] = units["value"]
        return units


class Evidence:
    """What the tables hold for one claim."""

    def __init__(self, claim: Claim, tables: Tables) -> None:
        self.claim, self.tables = claim, tables
        self.used: set[str] = set()
        self.datasets: set[str] = set()
        self.seeded: set[bool] = set()

    @property
    def over(self) -> str:
        """What the blocks are that were looked at: ``subsamples``, ``seeds`` or both."""
        words = [word for word, own in (("subsamples", False), ("seeds", True)) if own in self.seeded]
        return " and ".join(words) or self.claim.over

    def _selected(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of designs that the claim is about."""
        table = self._bounded(table)
        if self.claim.sizes == "all":
            return table
        # From the study's designs, not from this table: where a model has no value at the largest size, a smaller one
        # must not take its place.
        largest = self._bounded(self.tables.designs).groupby(["study", "dataset"])["n_cells"].max()
        most = [largest.get(key, np.nan) for key in zip(table["study"], table["dataset"])]
        return table[table["n_cells"].to_numpy(float) == np.array(most, dtype=float)]

    def _bounded(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of data sets that the claim names, within its bounds."""
        claim = self.claim
        keep = table["n_cells"].astype(float).between(*claim.n_cells)
        keep &= table["unpaired_fraction"].fillna(0.0).astype(float).between(*claim.unpaired_fraction)
        if claim.datasets:
            fitting = {
                name
                for name in table["dataset"].unique()
                if any(fnmatchcase(str(name), pattern) for pattern in claim.datasets)
            }
            keep &= table["dataset"].isin(fitting)
        return table[keep]

    def values(self, model: str, metric: str) -> pd.DataFrame:
        """Values of a paper's model.

        Returns
        -------
        pandas.DataFrame
            :data:`DESIGN`, ``replicate``, ``raw`` and ``value``, which is ``raw`` with the sign that makes higher
            better; distances for metrics with a target, logarithms where the claim compares ratios (of which 0 has
            none: it counts as half of the smallest value above 0 that any model has for the metric in these designs).

        Raises
        ------
        NotTestable
            If there is none, with the reason.
        """
        return self._values(model, metric)[0]

    def along(self, model: str, metric: str, axis: str, least: float = 0.0) -> pd.DataFrame:
        """As :meth:`values`, for statements along an `axis`: series that lost an end of it to flags are left out.

        A model that collapses on the fewest cells would else be called stable for what is left. A series is a
        replicate at one level of the other axis.

        Parameters
        ----------
        least
            Of the axis; lower designs do not count.

        Raises
        ------
        NotTestable
            Also if more than :data:`LOST_LIMIT` of the series lost an end.
        """
        found, lost = self._values(model, metric)
        found, lost = found[found[axis] >= least], lost[lost[axis] >= least]
        if lost.empty:
            return found
        other = "unpaired_fraction" if axis == "n_cells" else "n_cells"
        series = ["block", other]
        whole = pd.concat([found.assign(lost=False), lost.assign(lost=True)], ignore_index=True)
        grouped = whole.groupby(series)[axis]
        low, high = grouped.transform("min"), grouped.transform("max")
        whole = whole[low < high].assign(cut=whole["lost"] & ((whole[axis] == low) | (whole[axis] == high)))
        cut = whole.groupby(series)["cut"].any()
        if cut.sum() > LOST_LIMIT * len(cut):
            raise NotTestable(
                "no value",
                f"{model}: degenerate embeddings at an end of the {AXES[axis]} in {cut.sum()} of {len(cut)} series",
            )
        gone = set(cut.index[cut])
        return found[[key not in gone for key in zip(found["block"], found[other])]].reset_index(drop=True)

    def _values(self, model: str, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """:meth:`values`, and the designs (:data:`DESIGN`) that flags took."""
        claim = self.claim
        metric = claim.metric_of.get(model, metric)
        units = getattr(self.tables, claim.over)
        units = self._selected(units[units["metric"] == metric])
        for name in claim.models[model]:
            found = units[(units["name"] == name) & ~units["lost"].astype(bool)]
            if len(found):
                break
        else:
            raise self._missing(model, metric)
        self.used.add(name)
        self.datasets.update(found["dataset"].astype(str))
        self.seeded.update(" seed " in str(replicate) for replicate in found["replicate"].unique())
        found = found.copy()
        found["unpaired_fraction"] = found["unpaired_fraction"].fillna(0.0)
        if claim.logarithm:
            found["raw"] = np.log(
                _positive(found["raw"].astype(float), units["raw"].astype(float), f"{name}: {metric}")
            )
        found["value"] = np.where(found["lower"].astype(bool), -found["raw"], found["raw"])
        lost = units[(units["name"] == name) & units["lost"].astype(bool)]
        lost = lost.assign(unpaired_fraction=lost["unpaired_fraction"].fillna(0.0))[DESIGN]
        return found[[*DESIGN, "replicate", "raw", "value"]].reset_index(drop=True), lost.reset_index(drop=True)

    def outcomes(self, model: str, statuses: Collection[str] = FAILURES) -> pd.DataFrame:
        """Runs of a paper's model that were tried, by block: ``failed``, the share of them that ended in `statuses`.

        Runs that a wrapper of ours refused for want of something in the data (``InputError``) were not tried, and runs
        that failed in another way than `statuses` do not tell whether they would have in this one.

        Raises
        ------
        NotTestable
            If there is none.
        """
        runs = self.tables.runs
        if runs is None:
            raise NotTestable("no value", "there is no table of runs")
        tried = runs[runs["status"].isin(["ok", *statuses])]
        if "reason" in tried:
            # That our wrapper could not use a design says nothing of the model.
            tried = tried[~tried["reason"].fillna("").str.startswith("InputError")]
        for name in self.claim.models[model]:
            found = self._selected(tried[tried["name"] == name])
            if len(found):
                self.used.add(name)
                self.datasets.update(found["dataset"].astype(str))
                keys = ["study", "dataset", "replicate"]
                failed = found.assign(failed=found["status"].isin(statuses).astype(float))
                # As for scores: of a data set with one replicate every seed is a block.
                single = failed.groupby(keys[:2])["replicate"].transform("nunique") == 1
                seeded = single & (self.claim.over == "seeds")
                self.seeded.update(seeded.unique())
                failed["block_seed"] = failed["seed"].where(seeded, -1)
                return failed.groupby([*keys, "block_seed"])["failed"].mean().reset_index()
        raise self._missing(model, None)

    def _asked(self) -> str:
        """The designs that the claim is about, in words."""
        claim = self.claim
        parts = [f"data set {' or '.join(claim.datasets)}"] if claim.datasets else []
        for bounds, limits, factor, unit in (
            (claim.n_cells, (0.0, float("inf")), 1, "cells"),
            (claim.unpaired_fraction, (0.0, 1.0), 100, "% unpaired"),
        ):
            if bounds[0] == bounds[1]:
                parts.append(f"{factor * bounds[0]:g} {unit}")
                continue
            words = [
                f"{word} {factor * bound:g} {unit}"
                for word, bound, limit in zip(("at least", "at most"), bounds, limits)
                if bound != limit
            ]
            parts.extend(words)
        if claim.sizes == "largest":
            parts.append("the most cells of a data set")
        return ", ".join(parts) or "any number of cells"

    def _missing(self, model: str, metric: str | None) -> NotTestable:
        """Why there are no values, as far as the tables tell."""
        names = self.claim.models[model]
        text = " or ".join(names)
        table = self.tables.runs if metric is None else self.tables.scores
        table = table[table["name"].isin(names)]
        if table.empty:
            return NotTestable("missing model", f"{text} is not in the study")
        table = self._selected(table)
        if table.empty:
            return NotTestable("missing design", f"{text} has no design with {self._asked()}")
        if metric is not None:
            table = table[table["metric"] == metric]
            if table.empty:
                return NotTestable("missing metric", f"{metric} of {text} is not in the study")
        statuses = table["status"].astype(str)
        if (statuses == "not_applicable").all():
            return NotTestable("no value", f"{metric or 'every run'} of {text} is not applicable")
        if (statuses == "ok").any():
            return NotTestable("no value", f"{text} is flagged as degenerate")
        return NotTestable("no value", f"{metric or 'every run'} of {text}: {', '.join(sorted(set(statuses)))}")


def paired(first: pd.DataFrame, second: pd.DataFrame, on: list[str] | None = None) -> pd.DataFrame:
    """Rows of both on the same cells, with ``value_first``, ``value_second``."""
    keys = DESIGN if on is None else on
    columns = [*keys, "value"]
    return first[columns].merge(second[columns], on=keys, suffixes=("_first", "_second"))


def _positive(values: pd.Series, every: pd.Series, what: str) -> pd.Series:
    """`values` with half of the smallest one above 0 of `every` model in place of 0, so that ratios exist.

    Raises
    ------
    NotTestable
        If a value is below 0 or none is above 0.
    """
    above_zero = every[every > 0]
    if (values < 0).any() or above_zero.empty:
        raise NotTestable("no value", f"{what} has values that are not positive")
    return values.where(values > 0, above_zero.min() / 2)


def change(block: pd.DataFrame, axis: str, column: str = "value", span: float = 0.0) -> float:
    """Change of `column` along `axis` within one block: least-squares slope times the range of the axis.

    Sizes enter as logarithms. The other axis is held fixed: slopes are taken at each of its levels with two levels of
    `axis` or more that lie at least `span` apart (a factor for sizes), and averaged. NaN if there is none.
    """
    other = "unpaired_fraction" if axis == "n_cells" else "n_cells"
    least = np.log(max(span, 1.0)) if axis == "n_cells" else span
    changes = []
    for _, part in block.groupby(["dataset", other], sort=True):
        x = part[axis].to_numpy(float)
        x = np.log(x) if axis == "n_cells" else x
        if np.ptp(x) == 0 or np.ptp(x) < least - 1e-9:
            continue
        centred = x - x.mean()
        changes.append(float(centred @ part[column].to_numpy(float) / (centred @ centred) * np.ptp(x)))
    return float(np.mean(changes)) if changes else float("nan")


def at_common_levels(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Rows at the levels of `axis` that :data:`~benchmarks.claims.judgement.MINIMUM` blocks have.

    A study may have fewer replicates of the sizes that cost most; a change over all sizes and one over a part of them
    are two quantities and have no mean. Where no two levels have so many blocks, everything is left as it is.
    """
    other = "unpaired_fraction" if axis == "n_cells" else "n_cells"
    blocks = table.groupby(["dataset", other, axis])["block"].transform("nunique")
    enough = table[axis].where(blocks >= MINIMUM)
    two = enough.groupby([table["dataset"], table[other]]).transform("nunique") >= 2
    return table[~two | enough.notna()]


def without(table: pd.DataFrame, axis: str) -> str:
    """What :func:`at_common_levels` leaves out, to be said after what is compared; empty where it is nothing."""
    kept = at_common_levels(table, axis)
    gone = sorted(set(table[axis].unique()) - set(kept[axis].unique()))
    if not gone:
        return ""
    levels = ", ".join(f"{level:,.0f}" if axis == "n_cells" else f"{100 * level:g} %" for level in gone)
    return f" (without {levels} {'cells' if axis == 'n_cells' else 'unpaired'}, which fewer than {MINIMUM} blocks have)"


def changes(table: pd.DataFrame, axis: str, column: str = "value", span: float = 0.0) -> np.ndarray:
    """:func:`change` of every block that has one, over :func:`at_common_levels`.

    Raises
    ------
    NotTestable
        If no block has two levels of `axis` that lie at least `span` apart.
    """
    table = at_common_levels(table, axis)
    found = [change(block, axis, column, span) for _, block in table.groupby("block", sort=True)]
    found = np.array([value for value in found if not np.isnan(value)])
    if len(found) == 0:
        apart = ""
        if span:
            apart = f" a factor {span:g} apart" if axis == "n_cells" else f" {100 * span:g} % apart"
        raise NotTestable("missing design", f"no replicate has two {AXES[axis]}{apart}")
    return found
