"""From a context to a tidy table: every metric gets a value, or a reason why it has none."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import RunRecord
from benchmarks.metrics import mixing, pairing, prediction
from benchmarks.metrics.composite import PARTS, combine, not_applicable
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import NotApplicable
from benchmarks.metrics.registry import METRICS

COLUMNS = ("metric", "value", "status", "reason")
"""Columns of the table that :func:`score` returns. Status is ``ok``, ``not_applicable``, ``failed`` or ``missing``."""


def chosen_names(names: Iterable[str] | None) -> list[str]:
    """Metric names in the order of the registry; all if `names` is None.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if names is None:
        return list(METRICS)
    names = list(names)
    for name in names:
        if name not in METRICS:
            raise InputError(f"metrics: unknown metric {name!r}{did_you_mean(name, METRICS)}")
    return [name for name in METRICS if name in names]


def score(context: Context, names: Iterable[str] | None = None) -> tuple[pd.DataFrame, dict[str, float]]:
    """Compute metrics.

    A metric that does not apply has status ``not_applicable`` and a reason. An embedding with NaN or infinite values
    makes every metric that reads it ``failed``, with the reason; a run record that is not ``ok`` makes every metric
    ``missing`` (:func:`score_missing`). A fault of ours is raised, not recorded.

    Parameters
    ----------
    context
        The embedding with its truth.
    names
        Metrics to compute; all if left out. A composite computes with the parts that are asked for.

    Returns
    -------
    table
        Data frame with :data:`COLUMNS`, in the order of the registry. Values are float64 with all digits and do not
        depend on the number of threads.
    seconds
        Metric -> wall seconds. What several metrics share is counted with the first one that needs it.
    """
    if context.record is not None and context.record.status != "ok":
        return score_missing(context.record, names)
    names = chosen_names(names)
    rows: list[tuple[str, float, str, str]] = []
    seconds: dict[str, float] = {}
    for name in names:
        metric = METRICS[name]
        started = time.perf_counter()
        if name in PARTS:
            rows.append(_composite(name, rows))
        elif context.problem and "embedding" in metric.needs:
            rows.append((name, math.nan, "failed", context.problem))
        else:
            rows.extend(_compute(name, context))
        seconds[name] = time.perf_counter() - started
    return pd.DataFrame(rows, columns=list(COLUMNS)), seconds


def _compute(name: str, context: Context) -> list[tuple[str, float, str, str]]:
    try:
        result = METRICS[name].compute(context)
    except NotApplicable as reason:
        return [(name, math.nan, "not_applicable", str(reason))]
    except Exception as error:
        if METRICS[name].family == "prediction" and isinstance(error, ValueError):
            # What a model predicted can be bad in itself; that is a result about the model.
            return [(name, math.nan, "failed", str(error))]
        raise RuntimeError(
            f"metric {name!r} stopped with {traceback.format_exception_only(error)[-1].strip()}"
        ) from error
    parts = result if isinstance(result, Mapping) else {"": result}
    rows = []
    for part, value in parts.items():
        row = f"{name}_{part}" if part else name
        value = float(value)
        if math.isfinite(value):
            rows.append((row, value, "ok", ""))
        else:
            rows.append((row, math.nan, "failed", f"the metric gave {value}"))
    return rows


def _composite(name: str, rows: list[tuple[str, float, str, str]]) -> tuple[str, float, str, str]:
    values = {row[0]: row[1] for row in rows}
    status = {row[0]: row[2] for row in rows}
    result = combine(PARTS[name], METRICS, values, status)
    if result.failed:
        return name, math.nan, "failed", "failed parts: " + ", ".join(result.failed)
    if reason := not_applicable(name, result):
        return name, math.nan, "not_applicable", reason
    return name, result.value, "ok", result.account


def score_missing(record: RunRecord, names: Iterable[str] | None = None) -> tuple[pd.DataFrame, dict[str, float]]:
    """The table of a run that gave no embedding: every metric ``missing``, with the run's status as reason.

    Costs are known all the same and keep their values.
    """
    names = chosen_names(names)
    reason = f"{record.status}: {record.reason}"
    rows = []
    for name in names:
        if METRICS[name].needs == ("record",):
            rows.extend(_cost_of(name, record))
        else:
            rows.append((name, math.nan, "missing", reason))
    return pd.DataFrame(rows, columns=list(COLUMNS)), dict.fromkeys(names, 0.0)


def _cost_of(name: str, record: RunRecord) -> list[tuple[str, float, str, str]]:
    holder = type("Holder", (), {"record": record})()
    return _compute(name, holder)


def details(context: Context) -> dict[str, pd.DataFrame]:
    """What stands behind the scores: distributions and curves, each a small table, those that apply.

    For use from Python: no stage writes them. Of the labels, :mod:`benchmarks.label_agreement` writes those of one run
    a model.

    Returns
    -------
    dict
        ``rank_distance`` (quantiles of the rank in each direction), ``cross_modality_labels`` (label x neighbour
        label shares), ``calibration_<modality>``, ``prediction_<modality>`` (quantiles of the correlations).
    """
    makers: dict[str, Any] = {
        "rank_distance": pairing.rank_distribution,
        "cross_modality_labels": mixing.cross_modality_table,
    }
    for modality in context.predictions:
        if modality not in context.truth.counts:
            continue
        makers[f"prediction_{modality}"] = lambda context, modality=modality: prediction.distributions(
            context, modality
        )
        if context.predictions[modality].deviation is not None:
            makers[f"calibration_{modality}"] = lambda context, modality=modality: prediction.calibration_curve(
                context, modality
            )
    tables = {}
    for name, maker in makers.items():
        if context.problem and not name.startswith(("prediction", "calibration")):
            continue
        try:
            tables[name] = maker(context)
        except (NotApplicable, ValueError):
            continue
    return tables


def sampling_error(context: Context) -> dict[str, float]:
    """What the approximations above the exact limit bring: neighbour recall and rows sampled; 1 and all if exact."""
    return {
        "neighbour_recall": context.neighbour_recall,
        "sampled_rows": float(len(np.atleast_1d(context.sampled_rows))),
    }
