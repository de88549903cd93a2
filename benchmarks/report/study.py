"""The tables of a study, read once and shared by all sections of the report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import pandas as pd

from benchmarks.errors import InputError
from benchmarks.formats import SCORE_COLUMNS, check_results, read_json, read_table
from benchmarks.statistics.critical_difference import rank_over_blocks
from benchmarks.statistics.keys import CONDITION, CONTROLS, VARIANT, metric_declarations
from benchmarks.statistics.ranking import rank, ranking_metrics
from benchmarks.statistics.summary import COSTS, flags, summarise, summarise_cost
from benchmarks.statistics.variance import variance_split, variance_trends

RUN_COLUMNS = (
    "study", "dataset", "design", "n_cells", "unpaired_fraction", "replicate", "model", "variant", "seed", "status", "reason",
    "device", "wall_seconds", "cpu_seconds", "gpu_seconds", "peak_rss_mb", "peak_device_mb", "epochs", "seconds_per_epoch", "n_latent", "collapsed",
    "duplicate_fraction",
)  # fmt: skip
"""Columns of the run table that the report reads: one row a run."""

OPTIONAL = (*COSTS, "device", "n_latent", "collapsed", "duplicate_fraction")
"""Columns that the run table lacks when no run has got so far."""


@dataclass
class Study:
    """Everything that the report shows.

    Attributes
    ----------
    scores
        Tidy scores (:data:`benchmarks.formats.SCORE_COLUMNS`).
    runs
        One row a run (:data:`RUN_COLUMNS`).
    provenance
        Versions, commit, configuration, seeds, command, date, machine: any JSON object.
    umaps
        Table of :func:`benchmarks.umaps.compute_umaps`; empty if there is none.
    metrics
        Metric declarations.
    figures
        Pictures (PNG) of the papers' figures, drawn from these tables.
    label_agreement
        Table of :func:`benchmarks.label_agreement.compute_label_agreement`; empty if there is none.
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    provenance: Mapping[str, Any] = field(default_factory=dict)
    umaps: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: Mapping[str, Any] | None = None
    figures: tuple[Path, ...] = ()
    label_agreement: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        self.metrics = metric_declarations(self.metrics)

    @property
    def name(self) -> str:
        """Name of the study."""
        names = [str(name) for name in self.scores["study"].dropna().unique()]
        return ", ".join(names) if names else "empty study"

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Scores over replicates (:func:`benchmarks.statistics.summary.summarise`)."""
        return summarise(self.scores, self.runs, self.metrics)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """Cost over replicates (:func:`benchmarks.statistics.summary.summarise_cost`)."""
        return summarise_cost(self.runs)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Ranks within each condition (:func:`benchmarks.statistics.ranking.rank`)."""
        return rank(self.scores, self.runs, self.metrics)

    @cached_property
    def mean_ranks(self) -> pd.DataFrame:
        """Mean ranks on the main metrics (:func:`benchmarks.statistics.critical_difference.rank_over_blocks`)."""
        return rank_over_blocks(self.main_scores, self.runs, self.metrics)

    @cached_property
    def variance(self) -> pd.DataFrame:
        """Subsample and seed, main metrics (:func:`benchmarks.statistics.variance.variance_split`)."""
        return variance_split(self.main_scores, self.runs)

    @cached_property
    def variance_trends(self) -> pd.DataFrame:
        """Variance against cells, main metrics (:func:`benchmarks.statistics.variance.variance_trends`)."""
        return variance_trends(self.main_scores, self.runs)

    @cached_property
    def main_metrics(self) -> list[str]:
        """Metrics of the composites (:func:`benchmarks.statistics.ranking.ranking_metrics`)."""
        return ranking_metrics(sorted(self.scores["metric"].unique()), self.metrics)

    @cached_property
    def main_scores(self) -> pd.DataFrame:
        """Scores by the main metrics of models, without the controls."""
        keep = self.scores["metric"].isin(self.main_metrics) & ~self.scores["model"].isin(CONTROLS)
        return self.scores[keep]

    @cached_property
    def flagged(self) -> pd.DataFrame:
        """Runs with a degenerate embedding."""
        return flags(self.runs)

    @cached_property
    def variants(self) -> pd.DataFrame:
        """Models with their variants: ``model``, ``variant``, ``label``, ``control``; contestants first, then controls."""
        both = pd.concat([self.scores[list(VARIANT)], self.runs[list(VARIANT)]]).drop_duplicates()
        both = both.assign(control=both["model"].isin(CONTROLS)).sort_values(["control", *VARIANT], ignore_index=True)
        labels = [
            model if variant in ("", "default") else variant
            for model, variant in zip(both["model"], both["variant"].astype(str))
        ]
        twice = pd.Series(labels).duplicated(keep=False)
        both["label"] = [
            f"{model} {variant}" if again else label
            for model, variant, label, again in zip(both["model"], both["variant"], labels, twice)
        ]
        return both

    @cached_property
    def conditions(self) -> pd.DataFrame:
        """Conditions that occur, sorted; one row each, with how many ``replicates`` it has."""
        columns = [*CONDITION, "replicate"]
        both = pd.concat([self.scores[columns], self.runs[columns]])
        counts = both.groupby(list(CONDITION), dropna=False, sort=True)["replicate"].nunique()
        return counts.rename("replicates").reset_index()

    def variant_numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Row of :attr:`variants` for each row of `table`."""
        index = pd.MultiIndex.from_frame(self.variants[list(VARIANT)])
        return index.get_indexer(pd.MultiIndex.from_frame(table[list(VARIANT)]))

    def condition_numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Row of :attr:`conditions` for each row of `table`."""
        numbered = self.conditions.assign(_number=range(len(self.conditions)))
        return table[list(CONDITION)].merge(numbered, on=list(CONDITION), how="left")["_number"].to_numpy()

    def labels(self, table: pd.DataFrame) -> list[str]:
        """Label of the variant of each row of `table`."""
        return self.variants["label"].to_numpy(dtype=object)[self.variant_numbers(table)].tolist()


def read_study(folder: str | os.PathLike, metrics: Mapping[str, Any] | None = None) -> Study:
    """Read the tables of a study: ``scores``, ``runs`` (each ``.parquet`` or ``.tsv``), ``umaps``, ``label_agreement``,
    ``provenance.json``, and note the pictures in ``figures/``.

    Raises
    ------
    InputError
        If there are no scores or runs, or a column is missing.
    """
    folder = Path(folder)
    check_results(folder)
    scores, runs, umaps, agreement = (_table(folder, name) for name in ("scores", "runs", "umaps", "label_agreement"))
    for name, table, columns in (("scores", scores, SCORE_COLUMNS), ("runs", runs, RUN_COLUMNS)):
        if table is None:
            raise InputError(
                f"{folder}: neither {name}.parquet nor {name}.tsv is there; run the workflow to its scores first"
            )
        missing = [column for column in columns if column not in table.columns and column not in OPTIONAL]
        if missing:
            raise InputError(
                f"{folder}: table {name!r} lacks the column {missing[0]!r}; delete it and run the workflow again"
            )
    for column in OPTIONAL:
        if column not in runs:
            runs[column] = np.nan
    for column in ("reason", "device"):
        runs[column] = runs[column].astype(object).where(runs[column].notna(), "").astype(str)
    for column in COSTS:
        runs[column] = pd.to_numeric(runs[column], errors="coerce")
    path = folder / "provenance.json"
    provenance = read_json(path) if path.is_file() else {}
    figures = tuple(sorted((folder / "figures").glob("*.png")))
    umaps, agreement = (pd.DataFrame() if table is None else table for table in (umaps, agreement))
    return Study(scores, runs, provenance, umaps, metrics, figures, agreement)


def _table(folder: Path, name: str) -> pd.DataFrame | None:
    for ending in (".parquet", ".tsv"):
        if (folder / f"{name}{ending}").is_file():
            return read_table(folder / f"{name}{ending}")
    return None
