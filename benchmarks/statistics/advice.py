"""Advice on a design, in numbers and in sentences: how many cells, how many of them paired, which model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.statistics.best import EXTRAPOLATED, best
from benchmarks.statistics.compare import ALPHA, smallest_p
from benchmarks.statistics.exchange import SurfaceOf, exchange_table, fit_surfaces
from benchmarks.statistics.keys import VARIANT, metric_declarations
from benchmarks.statistics.learning_curves import (
    AXES,
    REACH,
    SERIES,
    Series,
    curve_table,
    fit_all,
    plateau_table,
    references,
)
from benchmarks.statistics.units import comparable_units, usable_units

TOLERANCE = 0.05
"""Tolerance of the sentence about the plateau."""

DRIFT = 0.1
"""What chance does along a curve is said if it is more than this share of what the curve does."""

TOPICS = {"cells": "cells", "paired": "paired cells"}
"""Topic of the sentences about a curve along each axis; the topic ``paired`` is the exchange for unpaired cells."""

TOGETHER = (
    ("dataset",),
    ("dataset", "metric"),
    ("dataset", "fixed"),
    ("dataset", "metric", "fixed"),
    ("dataset", *VARIANT),
    ("dataset", *VARIANT, "metric"),
)
"""What may have one reason for all its fits to be missing, the largest first."""


@dataclass
class Advice:
    """Everything that is fitted to a study's scores to advise on its next design.

    Attributes
    ----------
    series
        Learning curves along the number of cells, then those along the number of paired cells, with their bootstrap
        samples.
    surfaces
        Scores over paired and unpaired cells, with theirs.
    tables
        ``learning_curves``, ``plateaus``, ``exchange``, ``best`` (documented where they are made) and ``advice``: one
        sentence a row, with ``topic`` (``cells``, ``paired cells``, ``paired``, ``model``) and what it is about. A
        reason why nothing could be fitted stands there once for all that it holds for: ``model``, ``variant`` and
        ``metric`` are empty, and ``n_cells`` and ``unpaired_fraction`` NaN, where it holds for all of them.
    """

    series: list[Series]
    surfaces: list[SurfaceOf]
    tables: dict[str, pd.DataFrame]


def advise(
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
    names: Sequence[str] | None = None,
) -> Advice:
    """Fit curves and surfaces to a study and say what follows.

    Parameters
    ----------
    scores, runs, metrics
        As for :func:`benchmarks.statistics.summary.summarise`.
    names
        Metrics to advise on; all where left out.
    """
    metrics = metric_declarations(metrics)
    if names is not None:
        scores = scores[scores["metric"].isin(list(names))]
    units = usable_units(scores, runs, metrics)
    series = [item for axis in TOPICS for item in fit_all(units, axis, metrics)]
    surfaces = fit_surfaces(comparable_units(scores, runs, metrics, units))
    known = references(scores, metrics)
    tables = {
        "learning_curves": curve_table(series, known),
        "plateaus": plateau_table(series, known),
        "exchange": exchange_table(surfaces),
        "best": best(scores, runs, metrics, all_series=series),
    }
    tables["advice"] = _sentences(tables)
    return Advice(series, surfaces, tables)


def text(value: float) -> str:
    """A number in a sentence: three significant digits, thousands separated, a real minus sign."""
    if not np.isfinite(value):
        return "unknown"
    rounded = float(f"{value:.3g}")
    digits = f"{abs(rounded):,.0f}" if abs(rounded) >= 100 else f"{abs(rounded):g}"
    return f"−{digits}" if rounded < 0 else digits


def percent(share: float) -> str:
    """A share as whole percent."""
    return f"{100 * share:.0f} %"


def _between(low: float, high: float, beyond: str) -> str:
    """An interval in brackets; `beyond` stands for an infinite end, and nothing for a missing interval."""
    if np.isnan(low) or np.isnan(high):
        return " (no interval)"
    return f" ({text(low) if np.isfinite(low) else beyond} to {text(high) if np.isfinite(high) else beyond})"


def curve_sentence(curve: Mapping, plateau: Mapping | None) -> str:
    """What a learning curve says about the number of cells, or of paired cells at a fixed number of cells.

    Parameters
    ----------
    curve
        Row of the table ``learning_curves``.
    plateau
        The row of ``plateaus`` for the same curve; ``None`` if the curve was not fitted.
    """
    if curve["status"] != "fitted" or plateau is None:
        return _not_fitted(curve["reason"], TOPICS[curve["axis"]])
    return _fitted_sentence(curve, plateau) + _chance_sentence(curve) + _held_sentence(curve)


def _chance_sentence(curve: Mapping) -> str:
    """What chance does along the curve; nothing where that is little beside what the curve does and how far it is from chance."""
    first, last = curve["chance_smallest"], curve["chance_largest"]
    drift, above = abs(last - first), abs(curve["value_largest"] - last)
    if not drift > max(TOLERANCE * above, DRIFT * abs(curve["gain"])):
        return ""
    return f" Chance itself, the random control, {'falls' if last < first else 'rises'} from {text(first)} to {text(last)}."


def _held_sentence(curve: Mapping) -> str:
    """The size that the fit left out beside what the curve says of it; nothing where there is none."""
    if np.isnan(curve["held_size"]):
        return ""
    unit = TOPICS[curve["axis"]]
    seen = f" The one replicate of {text(curve['held_size'])} {unit}, not in the fit, has {text(curve['held_value'])}"
    if np.isnan(curve["held_fit"]):
        return f"{seen}; the curve is not read so far."
    return f"{seen}; the curve says {text(curve['held_fit'])}{_between(curve['held_low'], curve['held_high'], 'no limit')}."


def _fitted_sentence(curve: Mapping, plateau: Mapping) -> str:
    """What a fitted curve says about the sizes that it was fitted to."""
    unit = TOPICS[curve["axis"]]
    at = f"At {text(curve['fixed'])} cells in all: " if curve["axis"] == "paired" else ""

    def say(words: str) -> str:
        return at + words[0].lower() + words[1:] if at else words

    span = f"from {text(curve['smallest'])} to {text(curve['largest'])} {unit}"
    share = (
        ""
        if np.isnan(curve["form_share"])
        else f"; {percent(curve['form_share'])} of the bootstrap samples choose this form"
    )
    if curve["form"] == "constant":
        caution = ""
        if np.isinf(plateau["cells_high"]):
            caution = " A curve that levels off late is not excluded."
        return say(f"No dependence on the number of {unit} is found {span}{share}.{caution}")
    if curve["trend"] == "unresolved":
        direction = "A trend that the replicates do not resolve"
    else:
        direction = f"Improves with {unit}" if curve["trend"] == "improves" else f"Gets worse with more {unit}"
    change = f"{text(curve['gain'])}{_between(curve['gain_low'], curve['gain_high'], 'unknown')} {span}"
    limit, beyond = _limit(curve)
    tolerance, yardstick = percent(plateau["tolerance"]), plateau["yardstick"]
    where = f"within {tolerance} of {yardstick}"
    cells = f"{text(plateau['cells'])} {unit}{_between(plateau['cells_low'], plateau['cells_high'], beyond)}"
    if curve["form"] == "log-linear":
        none = f"{direction}: {change}, with no sign of a plateau{share}"
        if plateau["answer"] == "beyond the measured range":
            return say(f"{none}.")
        return say(f"{none}, but the metric's bound is reached {where} from {cells}.")
    if plateau["answer"] == "beyond the measured range":
        low = plateau["cells_low"]
        at_least = "" if not np.isfinite(low) else f"; {text(low)} {unit} are not excluded"
        if np.isinf(limit):
            return say(f"{direction}: {change}; its plateau is not reached {where} with all cells paired{at_least}.")
        return say(
            f"{direction}: {change}; its plateau is reached {where} only beyond {text(limit)} {unit}, further than is extrapolated{at_least}."
        )
    level = f"{text(curve['plateau'])}{_between(curve['plateau_low'], curve['plateau_high'], 'no limit')}"
    note = " by extrapolation" if plateau["answer"] == "extrapolated" else ""
    if plateau["answer"] == "from the smallest size":
        cells = f"the smallest {'size' if not at else 'number'}, {cells}"
    return say(f"{direction}: {change}; plateau {level}, reached {where}{note} from {cells}.")


def _limit(curve: Mapping) -> tuple[float, str]:
    """Up to where a curve is read, infinite if that is all cells paired, and words for what lies beyond."""
    limit = REACH * curve["largest"]
    if curve["axis"] == "paired" and limit >= curve["fixed"]:
        return np.inf, "more than all"
    return limit, f"beyond {text(limit)}"


def _not_fitted(reason: str, topic: str) -> str:
    return f"Not fitted{' along paired cells' if topic == TOPICS['paired'] else ''}: {reason}."


def paired_sentence(row: Mapping) -> str:
    """What a surface says about unpaired cells; `row` is one of the table ``exchange``."""
    if row["status"] != "fitted":
        return _not_fitted(row["reason"], "paired")
    where = f"At {text(row['n_cells'])} cells, {100 * row['unpaired_fraction']:g} % unpaired"
    if np.isnan(row["worth"]):
        return f"{where}: {row['verdict']}, so that nothing can be exchanged for them."
    sentence = f"{where}: one unpaired cell is worth {text(row['worth'])}{_between(row['worth_low'], row['worth_high'], 'no limit')} paired ones ({row['verdict']})."
    if np.isfinite(row["replacement"]):
        more = _between(row["replacement_low"], row["replacement_high"], "more than can be said")
        sentence += f" {text(row['n_cells'] / 2)} paired cells and {text(row['replacement'])}{more} unpaired ones score as {text(row['n_cells'])} paired ones."
    elif np.isinf(row["replacement"]):
        sentence += f" No measured number of unpaired cells replaces half of {text(row['n_cells'])} paired ones."
    return sentence


def replicates_needed(n_models: int) -> int:
    """Fewest replicates whose smallest p-value can rule out one of so many models (:func:`~.best.p_not_best`)."""
    return next(n for n in range(2, 100) if (n_models - 1) * smallest_p(n) <= ALPHA)


def model_sentence(rows: pd.DataFrame, labels: Sequence[str]) -> str:
    """Which model one condition speaks for.

    Parameters
    ----------
    rows
        Rows of the table ``best`` of one condition and metric.
    labels
        Names of their variants.
    """
    chance = rows["probability_best"].to_numpy(float)
    known = not np.isnan(chance).all()
    order = np.argsort(-np.where(np.isnan(chance), -1, chance), kind="stable")
    leader = labels[order[0]]
    may = [labels[number] for number in order if bool(rows["may_be_best"].iloc[number])]
    if len(rows) < 2:
        return f"Only {labels[0]} has values."
    if not known:
        return "One replicate: no difference can be resolved."
    first = f"{leader} is best in {percent(chance[order[0]])} of the bootstrap samples"
    if (rows["source"] == EXTRAPOLATED).all():
        return f"{first} of curves beyond the measured sizes, where no test can rule a model out."
    if len(may) == 1:
        return f"{first}; the replicates rule out all others."
    others = [name for name in may if name != leader]
    if len(may) == len(rows):
        n, needed = int(rows["n_replicates"].max()), replicates_needed(len(rows))
        few = f"; {n} replicates cannot, {needed} are the fewest that could" if n < needed else ""
        return f"{first}, but no difference is resolved: the replicates rule out none of the {len(rows)} models{few}."
    out = len(rows) - len(may)
    return f"{first}; no difference is resolved to {', '.join(others)}; {out} {'is' if out == 1 else 'are'} ruled out."


def _name(model: str, variant: str) -> str:
    return str(model) if variant in ("", "default") else str(variant)


def _sentences(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table ``advice``; see :class:`Advice`."""
    plateaus = tables["plateaus"]
    plateaus = plateaus[plateaus["tolerance"] == TOLERANCE]
    curve = (*SERIES, "axis", "fixed")
    known = {tuple(row[name] for name in curve): row for row in plateaus.to_dict("records")}
    rows = []
    for axis, topic in TOPICS.items():
        own = tables["learning_curves"].query("axis == @axis")
        for row in own[own["status"] == "fitted"].to_dict("records"):
            sentence = curve_sentence(row, known[tuple(row[name] for name in curve)])
            fixed = {"n_cells": np.nan, "unpaired_fraction": np.nan} | {AXES[axis]: row["fixed"]}
            rows.append({**{name: row[name] for name in SERIES}, "topic": topic, **fixed, "sentence": sentence})
        rows += _reasons(own, topic)
    for row in tables["exchange"].query("status == 'fitted'").to_dict("records"):
        key = {name: row[name] for name in (*SERIES, "n_cells", "unpaired_fraction")}
        rows.append({**key, "topic": "paired", "sentence": paired_sentence(row)})
    rows += _reasons(tables["exchange"].assign(fixed=np.nan), "paired")
    condition = ["study", "dataset", "metric", "n_cells", "unpaired_fraction"]
    for key, part in tables["best"].groupby(condition, dropna=False, sort=True):
        labels = [_name(model, variant) for model, variant in zip(part["model"], part["variant"])]
        own = {**dict(zip(condition, key)), "model": "", "variant": "", "topic": "model"}
        rows.append({**own, "sentence": model_sentence(part, labels)})
    return pd.DataFrame(rows, columns=[*SERIES, "topic", "n_cells", "unpaired_fraction", "sentence"])


def _reasons(table: pd.DataFrame, topic: str) -> list[dict]:
    """Rows of ``advice`` that say why fits are missing, each reason once for the largest part that it holds for all of.

    Parameters
    ----------
    table
        All rows of one axis of ``learning_curves``, or of ``exchange``, with ``fixed``.
    topic
        What the rows are about.
    """
    fixed = {topic: AXES[axis] for axis, topic in TOPICS.items()}.get(topic)
    empty = {**dict.fromkeys(SERIES, ""), "topic": topic, "n_cells": np.nan, "unpaired_fraction": np.nan}
    rows = []
    left = table
    for names in (*TOGETHER, (*SERIES[1:], "fixed")):
        keys = list(dict.fromkeys(["study", *names]))
        said = []
        for key, part in left.groupby(keys, dropna=False, sort=True):
            if (part["status"] == "fitted").any() or part["reason"].nunique() > 1:
                continue
            own = dict(zip(keys, key))
            if fixed is not None and "fixed" in own:
                own[fixed] = own["fixed"]
            own.pop("fixed", None)
            rows.append({**empty, **own, "sentence": _not_fitted(part["reason"].iloc[0], topic)})
            said.extend(part.index)
        left = left.drop(index=said)
    return rows
