"""Composite scores: weighted means of scaled metrics, which always name their parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.mixing import LUECKEN

BIO_CONSERVATION = (
    "nmi_leiden",
    "ari_leiden",
    "asw_cell_type",
    "isolated_label_f1",
    "isolated_label_asw",
    "clisi",
    "trajectory_conservation",
)
BATCH_REMOVAL = ("asw_batch", "pcr_comparison", "ilisi", "kbet_per_label", "graph_connectivity")
MIXING = ("modality_mixing", "rank_distance_fraction", "foscttm", "cross_modality_label_agreement")
OVERALL = {"composite_bio_conservation": 0.6, "composite_batch_removal": 0.4}

NEEDS_ONE_OF = {"composite_batch_removal": tuple(name for name in BATCH_REMOVAL if name != "graph_connectivity")}
"""Composite -> parts of which one has to apply: graph connectivity alone, which asks for no batch, tells nothing of them."""

NEEDS_ALL = ("composite_overall",)
"""Composites without a value where a part has none: one half is no overall score."""


@dataclass(frozen=True)
class Composite:
    """A composite with its account.

    Attributes
    ----------
    value
        Weighted mean of the scaled parts, in [0, 1]; NaN where a part failed.
    used
        Part -> scaled value.
    absent
        Parts without a value because they do not apply.
    failed
        Parts that failed: they make the composite fail, they are never left out silently.
    """

    value: float
    used: dict[str, float]
    absent: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def account(self) -> str:
        """One sentence that names the parts."""
        text = "mean of " + ", ".join(f"{name} {value:.3f}" for name, value in self.used.items())
        return text + (f"; not applicable: {', '.join(self.absent)}" if self.absent else "")


def combine(
    parts: Mapping[str, float], metrics: Mapping[str, Metric], values: Mapping[str, float], status: Mapping[str, str]
) -> Composite:
    """Weighted mean of the scaled values of `parts` (name -> weight) among those that apply.

    Parameters
    ----------
    parts
        Metric -> weight. A missing metric's weight is shared by the others.
    metrics
        Declarations, for the scaling.
    values, status
        Name -> value and name -> ``ok``, ``not_applicable`` or ``failed``.
    """
    used, absent, failed = {}, [], []
    for name in parts:
        if status.get(name) == "ok" and math.isfinite(values[name]):
            used[name] = metrics[name].scaled(values[name])
        elif status.get(name, "not_applicable") == "not_applicable":
            absent.append(name)
        else:
            failed.append(name)
    total = sum(parts[name] for name in used)
    value = sum(parts[name] * used[name] for name in used) / total if total and not failed else math.nan
    return Composite(value, used, tuple(absent), tuple(failed))


def not_applicable(name: str, result: Composite) -> str:
    """Why the composite `name` has no value though no part failed; empty if it has one."""
    if not result.used:
        return "none of its parts applies or was asked for"
    if name in NEEDS_ALL and result.absent:
        return f"no value without {', '.join(result.absent)}"
    if name in NEEDS_ONE_OF and not set(NEEDS_ONE_OF[name]) & set(result.used):
        return f"none of {', '.join(NEEDS_ONE_OF[name])} applies or was asked for"
    return ""


def _not_alone(context) -> float:
    raise NotApplicable("a composite is computed from the other scores, by benchmarks.metrics.score")


def _metric(name: str, title: str, parts: str, equation: str, paper: str = LUECKEN, note: str = "") -> Metric:
    return Metric(
        name=name,
        title=title,
        family="composite",
        compute=_not_alone,
        range=(0.0, 1.0),
        group="composite",
        needs=("scores",),
        paper=paper,
        equation=equation,
        description=(
            f"Parts: {parts}. Parts are scaled by their own declarations to [0, 1], 1 the best; "
            + (note or "those that do not apply are left out of the mean and named in the reason column")
            + ", one that failed makes the composite fail. Its parts are rows of the same table."
        ),
    )


METRICS = [
    _metric(
        "composite_bio_conservation",
        "Bio-conservation (composite)",
        ", ".join(BIO_CONSERVATION),
        "mean of the scaled parts",
    ),
    _metric(
        "composite_mixing",
        "Modality mixing (composite)",
        ", ".join(MIXING),
        "mean of the scaled parts",
        paper="ours, in the form of " + LUECKEN,
    ),
    _metric(
        "composite_batch_removal",
        "Batch removal (composite)",
        ", ".join(BATCH_REMOVAL),
        "mean of the scaled parts",
        note="those that do not apply are left out of the mean and named in the reason column (not applicable where "
        "graph_connectivity, which asks for no batch, is all that applies)",
    ),
    _metric(
        "composite_overall",
        "Overall (composite)",
        ", ".join(f"{weight} x {name}" for name, weight in OVERALL.items()),
        "0.6 bio-conservation + 0.4 batch removal",
        note="not applicable where one of both is not",
    ),
]
"""The composites, in the order in which they are computed."""

PARTS: dict[str, dict[str, float]] = {
    "composite_bio_conservation": dict.fromkeys(BIO_CONSERVATION, 1.0),
    "composite_mixing": dict.fromkeys(MIXING, 1.0),
    "composite_batch_removal": dict.fromkeys(BATCH_REMOVAL, 1.0),
    "composite_overall": OVERALL,
}
"""Composite -> its parts with their weights."""
