"""How many cells, how many of them paired, and which model: learning curves and what follows from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.report.section import Section, codes, numbers, render
from benchmarks.report.study import Study
from benchmarks.statistics.advice import TOLERANCE, Advice, advise
from benchmarks.statistics.exchange import Surface
from benchmarks.statistics.keys import declared
from benchmarks.statistics.learning_curves import MINIMUM_SIZES, REACH, SERIES
from benchmarks.statistics.units import MEASURED

POINTS = 25
"""Points at which a band is drawn."""

MESH = 41
"""Points along each side of the mesh from which contours are made."""

LEVELS = 8
"""Contours a surface, about."""


def section(study: Study) -> Section:
    """Curves with bands, equal-score contours and sentences for the main metrics; drawn by ``advice.js``."""
    names = study.main_metrics
    advice = advise(study.scores, study.runs, study.metrics, names)
    facts = {"tolerance": TOLERANCE, "reach": REACH, "minimum": MINIMUM_SIZES}
    if not advice.series:
        return Section("advice", "Advice", render("advice.html.j2", empty=True, **facts))
    present = [name for name in names if any(item.key["metric"] == name for item in advice.series)]
    data = {
        "metrics": [{"name": name, "distance": declared(study.metrics, name, "direction") == "target"} for name in present],
        "curves": _curves(study, advice, present),
        "surfaces": _surfaces(study, advice, present),
        **_sentences(study, advice, present),
    }  # fmt: skip
    return Section("advice", "Advice", render("advice.html.j2", empty=False, **facts), data, "advice.js")


def _variant(study: Study, key: dict) -> int:
    """Number of a variant in the page."""
    both = study.variants
    return int(np.flatnonzero((both["model"] == key["model"]) & (both["variant"] == key["variant"]))[0])


def _curves(study: Study, advice: Advice, present: list[str]) -> list[dict[str, Any]]:
    """Fitted curves along both axes: measured means, and the curve with its band as far as it is read."""
    result = []
    for series in advice.series:
        curve = series.curve
        if curve is None:
            continue
        # The script places the points alike, between the smallest size and the end.
        n = np.geomspace(curve.sizes[0], curve.limits[1], POINTS).clip(*curve.limits)
        value, low, high = curve.predict(n)
        result.append(
            {
                "dataset": series.key["dataset"], "axis": series.axis, "fixed": numbers([series.fixed], 12)[0], "metric": present.index(series.key["metric"]),
                "variant": _variant(study, series.key), "form": curve.form, "sizes": numbers(curve.sizes), "means": numbers(curve.means, 4), "end": numbers([curve.limits[1]])[0],
                "held": [numbers(curve.held_sizes), numbers(curve.held_values, 4)],
                "value": numbers(value, 4), "band": None if np.isnan(low).all() else [numbers(low, 4), numbers(high, 4)],
            }
        )  # fmt: skip
    return result


def _surfaces(study: Study, advice: Advice, present: list[str]) -> list[dict[str, Any]]:
    """Equal-score contours over the measured part of the plane of paired and unpaired cells."""
    result = []
    for own in advice.surfaces:
        if own.surface is None:
            continue
        lines = contours(own.surface)
        designs = [own.surface.sizes * (1 - own.surface.fractions), own.surface.sizes * own.surface.fractions]
        result.append(
            {
                "dataset": own.key["dataset"], "metric": present.index(own.key["metric"]), "variant": _variant(study, own.key),
                "form": own.surface.form, "scaled": own.scale != MEASURED, "paired": numbers(designs[0], 4), "unpaired": numbers(designs[1], 4),
                "means": numbers(own.surface.means, 4), "lines": lines,
            }
        )  # fmt: skip
    return result


def contours(surface: Surface) -> list[dict[str, Any]]:
    """Equal-score lines of a surface within its measured sizes and fractions (nothing is extrapolated here).

    Returns
    -------
    list
        One dictionary a line: ``level``, ``x`` (paired cells) and ``y`` (unpaired cells). Empty for a flat surface.
    """
    import contourpy

    largest = surface.sizes.max()
    # Roots, so that the small designs are not crowded into a corner.
    side = np.linspace(0, np.sqrt(largest), MESH)
    paired, unpaired = (mesh**2 for mesh in np.meshgrid(side, side))
    value = surface.value(paired.ravel(), unpaired.ravel()).reshape(paired.shape)
    total = paired + unpaired
    value[(total > largest * 1.0001) | (total < surface.sizes.min() * 0.9999)] = np.nan
    known = value[np.isfinite(value)]
    if known.size == 0 or np.ptp(known) <= 1e-9 * max(np.abs(known).max(), 1e-300):
        return []
    step = _round_step(float(np.ptp(known)) / LEVELS)
    levels = np.arange(np.ceil(known.min() / step), np.floor(known.max() / step) + 1) * step
    generator = contourpy.contour_generator(side, side, np.ma.masked_invalid(value))
    lines = []
    for level in levels:
        for line in generator.lines(float(level)):
            if len(line) > 1:
                lines.append({"level": numbers([level], 4)[0], "x": numbers(line[:, 0] ** 2, 3), "y": numbers(line[:, 1] ** 2, 3)})  # fmt: skip
    return lines


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** np.floor(np.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _sentences(study: Study, advice: Advice, present: list[str]) -> dict[str, Any]:
    """The table ``advice`` column by column, with numbers for repeated texts."""
    table = advice.tables["advice"]
    # Of the sizes at which an exchange is stated, the page shows the ends and the middle; the table has all.
    paired = table[table["topic"] == "paired"]
    place = paired.groupby([*SERIES], dropna=False, sort=False)["n_cells"].rank()
    count = paired.groupby([*SERIES], dropna=False, sort=False)["n_cells"].transform("count")
    hidden = (place > 1) & (place < count) & (place != (count + 1) // 2)
    table = table.drop(paired.index[hidden]).reset_index(drop=True)
    texts, sentence = codes(table["sentence"].tolist())
    models = table["model"].to_numpy() != ""
    # -1 stands for no one model, or for all metrics.
    variant = np.full(len(table), -1)
    variant[models] = study.variant_numbers(table[models])
    return {
        "texts": texts,
        "rows": {
            "topic": table["topic"].tolist(), "dataset": table["dataset"].astype(str).tolist(), "metric": [present.index(name) if name else -1 for name in table["metric"]],
            "variant": variant.tolist(), "cells": numbers(table["n_cells"]), "fraction": numbers(table["unpaired_fraction"]), "text": sentence,
        },
    }  # fmt: skip
