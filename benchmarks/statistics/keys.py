"""The columns that say what a score belongs to, shared by all statistics."""

from __future__ import annotations

from collections import Counter
from typing import Iterable, Mapping

import numpy as np
import pandas as pd

CONDITION = ("study", "dataset", "n_cells", "unpaired_fraction")
"""One experimental condition: all replicates in it are draws of the same design."""

VARIANT = ("model", "variant")
"""What is compared."""

CONTROLS = ("random", "collapsed", "oracle")
"""Models that bound the metrics; shown everywhere, ranked nowhere."""

SCORE_STATUSES = ("ok", "failed", "missing", "not_applicable", "not_available")
"""How a score can end; any other status counts as ``failed``."""


def metric_declarations(metrics: Mapping[str, object] | None = None) -> Mapping[str, object]:
    """Return `metrics`, or the registry of :mod:`benchmarks.metrics` when it is ``None`` (imported only then).

    Each declaration has ``name``, ``title``, ``range`` (low, high), ``direction`` (``higher``, ``lower`` or
    ``target``), ``target``, ``group`` and optionally ``scale``.
    """
    if metrics is not None:
        return metrics
    from benchmarks.metrics.registry import METRICS

    return METRICS


def declaration(metrics: Mapping[str, object], name: str) -> object | None:
    """The declaration behind the score `name`: that metric, or the longest one of which ``name`` is ``<metric>_<part>``."""
    if name in metrics:
        return metrics[name]
    owners = [other for other in metrics if name.startswith(f"{other}_")]
    return metrics[max(owners, key=len)] if owners else None


def declared(metrics: Mapping[str, object], name: str, attribute: str, default: object = None) -> object:
    """One attribute of the :func:`declaration` behind the score `name`; `default` where either is absent."""
    value = getattr(declaration(metrics, name), attribute, None)
    return default if value is None else value


def with_clean_status(scores: pd.DataFrame) -> pd.DataFrame:
    """Copy of `scores` in which ``status`` is one of :data:`SCORE_STATUSES` and only finite values are ``ok``.

    A value that is NaN or infinite although its status says ``ok`` becomes ``failed`` with that reason, and the
    value of whatever is not ``ok`` becomes NaN: a missing score must never enter a mean.
    """
    scores = scores.copy()
    scores["value"] = pd.to_numeric(scores["value"], errors="coerce").astype(float)
    scores["reason"] = scores["reason"].astype(object).where(scores["reason"].notna(), "").astype(str)
    status = scores["status"].astype(str)
    status = status.where(status.isin(SCORE_STATUSES), "failed")
    not_finite = (status == "ok") & ~np.isfinite(scores["value"])
    scores["status"] = status.mask(not_finite, "failed")
    scores.loc[not_finite, "reason"] = "the value is not finite"
    scores.loc[scores["status"] != "ok", "value"] = np.nan
    return scores


def check_unique(scores: pd.DataFrame) -> None:
    """Refuse two scores of one metric for one (condition, variant, replicate, seed).

    Raises
    ------
    ValueError
        If two designs share data set, size, unpaired fraction and replicate: averaging them would mix conditions.
    """
    keys = [*CONDITION, *VARIANT, "replicate", "seed", "metric"]
    twice = scores.duplicated(keys)
    if twice.any():
        first = scores.loc[twice, keys].iloc[0].to_dict()
        raise ValueError(
            f"two scores for {first}: designs that differ in more than size, fraction and replicate need data set names of their own"
        )


def first_reason(reasons: Iterable[str]) -> str:
    """The most frequent non-empty reason (ties: the alphabetically first), with a count of other ones."""
    counts = Counter(reason for reason in reasons if reason)
    if not counts:
        return ""
    most = max(counts.values())
    top = min(reason for reason, count in counts.items() if count == most)
    others = len(counts) - 1
    return top if not others else f"{top} (and {others} other reason{'s' if others > 1 else ''})"
