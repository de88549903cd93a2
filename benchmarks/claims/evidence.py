"""What a study's tables hold for one claim: values by block and design, or the reason why there are none."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import Collection, Mapping

import numpy as np
import pandas as pd

from benchmarks.claims.claim import Claim
from benchmarks.claims.judgement import NotTestable
from benchmarks.statistics.units import usable_units

DESIGN = ["block", "dataset", "n_cells", "unpaired_fraction"]
"""Columns on which two models are compared: the same cells."""

FAILURES = ("failed", "diverged", "timeout", "out_of_memory")
"""Statuses of runs that were tried and gave nothing."""


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
    def subsamples(self) -> pd.DataFrame:
        """Usable values with the training seeds averaged; a block is a replicate of a data set."""
        return self._units(self.scores)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """Usable values of every training seed; a block is a seed on a replicate of a data set."""
        seeded = self.scores.assign(
            replicate=self.scores["replicate"].astype(str) + " seed " + self.scores["seed"].astype(str)
        )
        return self._units(seeded)

    def _units(self, scores: pd.DataFrame) -> pd.DataFrame:
        if self.names is not None:
            scores = scores[scores["metric"].isin(list(self.names))]
        if scores.empty:
            return pd.DataFrame(columns=[*DESIGN, "replicate", "name", "metric", "raw", "value"])
        units = usable_units(scores, self.runs, self.metrics)
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

    def _selected(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of designs that the claim is about."""
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
            better; distances for metrics with a target, logarithms where the claim compares ratios.

        Raises
        ------
        NotTestable
            If there is none, with the reason.
        """
        claim = self.claim
        metric = claim.metric_of.get(model, metric)
        units = getattr(self.tables, claim.over)
        for name in claim.models[model]:
            found = self._selected(units[(units["name"] == name) & (units["metric"] == metric)])
            if len(found):
                break
        else:
            raise self._missing(model, metric)
        self.used.add(name)
        self.datasets.update(found["dataset"].astype(str))
        found = found.copy()
        found["unpaired_fraction"] = found["unpaired_fraction"].fillna(0.0)
        if claim.logarithm:
            if (found["raw"] <= 0).any():
                raise NotTestable("no value", f"{name}: {metric} has values that are not positive")
            found["raw"] = np.log(found["raw"].astype(float))
        found["value"] = np.where(found["lower"].astype(bool), -found["raw"], found["raw"])
        return found[[*DESIGN, "replicate", "raw", "value"]].reset_index(drop=True)

    def outcomes(self, model: str) -> pd.DataFrame:
        """Runs of a paper's model that were tried: ``block`` and ``failed``, the share of its seeds that failed.

        Runs that a wrapper of ours refused for want of something in the data (``InputError``) were not tried.

        Raises
        ------
        NotTestable
            If there is none.
        """
        runs = self.tables.runs
        if runs is None:
            raise NotTestable("no value", "there is no table of runs")
        tried = runs[runs["status"].isin(["ok", *FAILURES])]
        if "reason" in tried:
            # That our wrapper could not use a design says nothing of the model.
            tried = tried[~tried["reason"].fillna("").str.startswith("InputError")]
        for name in self.claim.models[model]:
            found = self._selected(tried[tried["name"] == name])
            if len(found):
                self.used.add(name)
                self.datasets.update(found["dataset"].astype(str))
                keys = ["study", "dataset", "replicate", *(["seed"] if self.claim.over == "seeds" else [])]
                failed = found.assign(failed=found["status"].isin(FAILURES).astype(float))
                return failed.groupby(keys)["failed"].mean().reset_index()
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


def change(block: pd.DataFrame, axis: str, column: str = "value") -> float:
    """Change of `column` along `axis` within one block: least-squares slope times the range of the axis.

    Sizes enter as logarithms. The other axis is held fixed: slopes are taken at each of its levels with two levels of
    `axis` or more, and averaged. NaN if there is none.
    """
    other = "unpaired_fraction" if axis == "n_cells" else "n_cells"
    changes = []
    for _, part in block.groupby(["dataset", other], sort=True):
        x = part[axis].to_numpy(float)
        x = np.log(x) if axis == "n_cells" else x
        if np.ptp(x) == 0:
            continue
        centred = x - x.mean()
        changes.append(float(centred @ part[column].to_numpy(float) / (centred @ centred) * np.ptp(x)))
    return float(np.mean(changes)) if changes else float("nan")


def changes(table: pd.DataFrame, axis: str, column: str = "value") -> np.ndarray:
    """:func:`change` of every block that has one.

    Raises
    ------
    NotTestable
        If no block has two levels of `axis`.
    """
    found = [change(block, axis, column) for _, block in table.groupby("block", sort=True)]
    found = np.array([value for value in found if not np.isnan(value)])
    if len(found) == 0:
        word = "numbers of cells" if axis == "n_cells" else "unpaired fractions"
        raise NotTestable("missing design", f"no replicate has two {word}")
    return found
