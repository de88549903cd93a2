"""Aggregation of scores over the replicates of a condition."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.statistics.intervals import bootstrap_intervals, interval_note
from benchmarks.statistics.keys import (
    CONDITION,
    SCORE_STATUSES,
    VARIANT,
    check_unique,
    declared,
    first_reason,
    metric_declarations,
    with_clean_status,
)
from benchmarks.statistics.scaling import scale

DUPLICATE_LIMIT = 0.5
"""An embedding of which more than this fraction of the observations repeat another one is flagged."""

COSTS = ("wall_seconds", "cpu_seconds", "gpu_seconds", "peak_rss_mb", "peak_device_mb", "epochs", "seconds_per_epoch")
"""Columns of the run table that :func:`summarise_cost` aggregates."""


def flags(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs whose embedding must not be ranked: collapsed, or filled with duplicates.

    Parameters
    ----------
    runs
        One row a run, with ``status``, ``collapsed``, ``duplicate_fraction`` and optionally ``flag_reason``: what the
        diagnostics of the embedding said, which then decides where it is not empty.

    Returns
    -------
    pandas.DataFrame
        The flagged rows of `runs`, with ``flag_reason``.
    """
    collapsed = runs["collapsed"].astype(object).map(lambda value: value is not None and value == value and bool(value))
    duplicates = pd.to_numeric(runs["duplicate_fraction"], errors="coerce").fillna(0.0)
    reason = np.where(
        collapsed,
        "collapsed embedding",
        np.where(
            duplicates > DUPLICATE_LIMIT,
            duplicates.map(lambda share: f"{share:.0%} of the observations are duplicates"),
            "",
        ),
    )
    result = runs.assign(flag_reason=reason)
    if "flag_reason" in runs:
        given = runs["flag_reason"].astype(object).where(runs["flag_reason"].notna(), "").astype(str)
        result["flag_reason"] = given.where(given != "", result["flag_reason"])
    return result[(result["flag_reason"] != "") & (result["status"] == "ok")]


def without_flagged(scores: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of `scores` but those of flagged runs: each loses its own (condition, variant, replicate, seed) alone.

    A degenerate embedding is treated as a run that failed: without a value, in paired comparisons as elsewhere. What is
    left says how a model does where it does not collapse; that it collapsed is said by :func:`summarise`, and
    :func:`~benchmarks.statistics.ranking.rank` does not rank it.
    """
    if runs is None or runs.empty:
        return scores
    flagged = flags(runs)
    if flagged.empty:
        return scores
    keys = [*CONDITION, *VARIANT, "replicate", "seed"]
    found = scores[keys].merge(flagged[keys].drop_duplicates(), on=keys, how="left", indicator="_flagged")
    return scores[(found["_flagged"] == "left_only").to_numpy()]


def replicate_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the training seeds within each replicate: one value a (condition, variant, metric, replicate).

    The subsample, not the training seed, is the unit of replication: two seeds on the same cells are not independent
    evidence. Rows without any ``ok`` score are not there.
    """
    check_unique(scores)
    ok = with_clean_status(scores).query("status == 'ok'")
    keys = [*CONDITION, *VARIANT, "metric", "replicate"]
    return ok.groupby(keys, dropna=False, sort=True)["value"].mean().reset_index()


def summarise(
    scores: pd.DataFrame, runs: pd.DataFrame | None = None, metrics: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """Aggregate scores over replicates, with intervals, controls and flags.

    Parameters
    ----------
    scores
        Tidy scores with :data:`benchmarks.formats.SCORE_COLUMNS`.
    runs
        One row a run, with ``collapsed`` and ``duplicate_fraction``; without it nothing is flagged.
    metrics
        Metric declarations; the registry where left out.

    Returns
    -------
    pandas.DataFrame
        One row a (study, dataset, n_cells, unpaired_fraction, model, variant, metric), whether or not it has a value:

        ``group``, ``direction``
            From the metric's declaration.
        ``n_planned``, ``n_ok``, ``n_failed``, ``n_missing``, ``n_not_applicable``, ``n_not_available``
            Number of (replicate, seed) scores, all and by status.
        ``n_replicates``
            Replicates with a value.
        ``mean``, ``median``, ``sd``
            Over replicates (seeds averaged first); ``sd`` with n - 1, NaN for one replicate.
        ``low``, ``high``, ``interval``
            95 % interval of the mean (:func:`~benchmarks.statistics.intervals.bootstrap_intervals`) and how it was made.
        ``random``, ``oracle``
            Mean of these controls in the condition.
        ``scaled``, ``scaled_low``, ``scaled_high``, ``scaled_reason``
            Mean scaled value and its interval, or why there is none. The controls' own uncertainty is not in it.
        ``reason``
            Most frequent reason of scores that are not ``ok``.
        ``flagged``, ``flag_reason``
            Whether any embedding behind the row is degenerate.
    """
    metrics = metric_declarations(metrics)
    keys = [*CONDITION, *VARIANT, "metric"]
    clean = with_clean_status(scores)
    units = scale(replicate_means(scores), metrics)

    counts = clean.groupby([*keys, "status"], dropna=False, sort=True).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=list(SCORE_STATUSES), fill_value=0).add_prefix("n_")
    table = counts.reset_index()
    table.columns.name = None
    table["n_planned"] = table[[f"n_{status}" for status in SCORE_STATUSES]].sum(axis=1)
    for attribute, default in (("group", "other"), ("direction", "higher")):
        table[attribute] = table["metric"].map(
            {name: declared(metrics, name, attribute, default) for name in table["metric"].unique()}
        )

    table = table.merge(_over_replicates(units, "value", keys), on=keys, how="left")
    scaled = _over_replicates(units[units["scaled"].notna()], "scaled", keys)
    scaled = scaled.rename(columns={"mean": "scaled", "low": "scaled_low", "high": "scaled_high"})
    table = table.merge(scaled[[*keys, "scaled", "scaled_low", "scaled_high"]], on=keys, how="left")
    first = units.groupby(keys, dropna=False)[["random", "oracle", "scaled_reason"]].first().reset_index()
    table = table.merge(first, on=keys, how="left")
    table["scaled_reason"] = table["scaled_reason"].fillna("no value")
    table["n_replicates"] = table["n_replicates"].fillna(0).astype(int)
    table["interval"] = table["n_replicates"].map(interval_note)

    trouble = clean[clean["status"] != "ok"].groupby(keys, dropna=False)["reason"].agg(first_reason)
    table["reason"] = trouble.reindex(pd.MultiIndex.from_frame(table[keys])).fillna("").to_numpy(dtype=object)
    return _with_flags(table, runs)


def summarise_cost(runs: pd.DataFrame) -> pd.DataFrame:
    """Aggregate time, memory and epochs of successful runs over replicates, as :func:`summarise` does scores.

    Returns
    -------
    pandas.DataFrame
        One row a (condition, variant, cost) with ``metric`` one of :data:`COSTS`, ``mean``, ``median``, ``sd``,
        ``low``, ``high``, ``n_replicates``, ``interval``; seconds and MB (2**20 bytes).
    """
    columns = [name for name in COSTS if name in runs.columns]
    ok = runs[runs["status"] == "ok"]
    long = ok.melt(
        id_vars=[*CONDITION, *VARIANT, "replicate"], value_vars=columns, var_name="metric", value_name="value"
    )
    long["value"] = pd.to_numeric(long["value"], errors="coerce").astype(float)
    long = long[np.isfinite(long["value"])]
    keys = [*CONDITION, *VARIANT, "metric"]
    units = long.groupby([*keys, "replicate"], dropna=False)["value"].mean().reset_index()
    table = _over_replicates(units, "value", keys)
    table["interval"] = table["n_replicates"].map(interval_note)
    return table


def _over_replicates(units: pd.DataFrame, column: str, keys: list[str]) -> pd.DataFrame:
    """Mean, median, standard deviation and interval of `column` over the rows of each group."""
    grouped = units.groupby(keys, dropna=False, sort=True)[column]
    table = grouped.agg(n_replicates="count", mean="mean", median="median", sd="std").reset_index()
    table["low"], table["high"] = np.nan, np.nan
    if units.empty:
        return table
    number = units.groupby(keys, dropna=False, sort=True).ngroup().to_numpy()
    values = units[column].to_numpy(float)[np.argsort(number, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(table["n_replicates"].to_numpy())[:-1]]).astype(int)
    for n in table["n_replicates"].unique():
        rows = np.flatnonzero(table["n_replicates"].to_numpy() == n)
        low, high = bootstrap_intervals(values[starts[rows][:, None] + np.arange(n)])
        table.loc[rows, "low"], table.loc[rows, "high"] = low, high
    return table


def _with_flags(table: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
    table["flagged"], table["flag_reason"] = False, ""
    if runs is None or runs.empty:
        return table
    keys = [*CONDITION, *VARIANT]
    flagged = (
        flags(runs).groupby(keys, dropna=False)["flag_reason"].agg(n_flagged="count", text=first_reason).reset_index()
    )
    if flagged.empty:
        return table
    planned = runs.groupby(keys, dropna=False).size().rename("n_runs").reset_index()
    flagged = flagged.merge(planned, on=keys)
    flagged["flag"] = [
        f"{n} of {runs} runs: {text}" for n, runs, text in zip(flagged["n_flagged"], flagged["n_runs"], flagged["text"])
    ]
    matched = table[keys].merge(flagged[[*keys, "flag"]], on=keys, how="left")
    table["flag_reason"] = matched["flag"].fillna("").to_numpy(dtype=object)
    table["flagged"] = table["flag_reason"] != ""
    return table
