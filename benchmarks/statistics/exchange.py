"""What unpaired cells are worth: a score as a function of the numbers of paired and of unpaired cells.

A design of n cells with unpaired fraction u has P = n (1 - u) paired cells and U = n u unpaired ones, each of which
is split into one observation a modality. The candidate forms, with x_c of
:func:`benchmarks.statistics.learning_curves.position`, simplest first:

    flat             level
    fraction         level + d u
    cells            level + slope x_c(P + U)              unpaired cells count as paired ones
    exchange         level + slope x_c(P + w U)            an unpaired cell counts as w paired ones
    shift            level + slope x_c(P + U) + d u        curves of all fractions are parallel
    curved shift     level + slope x_c(P + U) + d u + e u^2

From the chosen one follow equal-score contours over (P, U), and the worth of one more unpaired cell in paired cells,
(dy/dU) / (dy/dP). In the form ``exchange`` this is w everywhere; in the others it depends on where one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Mapping

import numpy as np
import pandas as pd

from benchmarks.errors import InputError
from benchmarks.statistics.fitting import Fits, Form, Prepared, fit, intervals, lack_of_fit, prepare
from benchmarks.statistics.keys import VARIANT, metric_declarations
from benchmarks.statistics.learning_curves import MINIMUM_SIZES, REACH, SERIES, position
from benchmarks.statistics.units import MEASURED, comparable_units, usable_units

FORMS = ("flat", "fraction", "cells", "exchange", "shift", "curved shift")
"""Candidate forms, simplest first."""

EXPONENTS = np.concatenate([[0.0], np.geomspace(0.15, 3.0, 8)])
"""Exponents from which the search starts; 0 is the logarithm."""

WORTHS = np.linspace(0.0, 1.5, 11)
"""Worths w of an unpaired cell from which the search starts in the form ``exchange``, and its bounds."""

MINIMUM_DEFINED = 0.95
"""Share of the bootstrap samples in which more paired cells must improve the score for a worth to be stated."""


@lru_cache(maxsize=256)
def _candidates(designs: tuple[tuple[float, float], ...], counts: tuple[int, ...]) -> list[Prepared]:
    """The forms over designs (n, u) with so many values each; their shape parameters are exponent and worth."""
    n, u = np.array(designs).T
    origin = float(np.exp(np.mean(np.log(n))))
    # Without any paired cell, unpaired ones must count for something.
    worths = np.maximum(WORTHS, 0.01) if (u >= 1).any() else WORTHS

    def make(cells: bool, *powers: int) -> Callable[[np.ndarray], np.ndarray]:
        def columns(shapes: np.ndarray) -> np.ndarray:
            parts = [np.ones((len(shapes), len(n)))]
            if cells:
                parts.append(position(n * (1 - u) + shapes[:, 1:] * n * u, shapes[:, :1], origin))
            parts += [np.broadcast_to(u**power, parts[0].shape) for power in powers]
            return np.stack(parts, axis=2)

        return columns

    plain = np.stack([EXPONENTS, np.ones(len(EXPONENTS))], axis=1)
    both = np.array([(c, w) for c in EXPONENTS for w in worths])
    exponents, worth_bounds = (EXPONENTS[0], EXPONENTS[-1]), (worths[0], worths[-1])
    forms = [
        Form("flat", plain[:1], make(False)),
        Form("fraction", plain[:1], make(False, 1)),
        Form("cells", plain, make(True), (0,), (exponents,)),
        Form("exchange", both, make(True), (0, 1), (exponents, worth_bounds)),
        Form("shift", plain, make(True, 1), (0,), (exponents,)),
    ]
    if len(np.unique(u)) > 3:
        forms.append(Form("curved shift", plain, make(True, 1, 2), (0,), (exponents,)))
    return prepare(forms, np.array(counts))


@dataclass
class Surface:
    """A fitted surface with its bootstrap samples.

    Attributes
    ----------
    sizes, fractions
        Number of cells and unpaired fraction of each design.
    means
        Mean value of each design.
    fits
        See :class:`~benchmarks.statistics.fitting.Fits`; its first row is the surface itself.
    prepared
        The candidates.
    """

    sizes: np.ndarray
    fractions: np.ndarray
    means: np.ndarray
    fits: Fits
    prepared: list[Prepared]

    @property
    def form(self) -> str:
        """Name of the chosen form."""
        return self.prepared[self.fits.form[0]].form.name

    @property
    def origin(self) -> float:
        """n0: geometric mean of the designs' sizes."""
        return float(np.exp(np.mean(np.log(self.sizes))))

    def parameters(self) -> np.ndarray:
        """Level, slope, exponent, worth w, d and e of each sample; 0 (worth: 1) where the form has none."""
        result = np.zeros((len(self.fits.form), 6))
        places = {"flat": (0,), "fraction": (0, 4), "cells": (0, 1), "exchange": (0, 1), "shift": (0, 1, 4), "curved shift": (0, 1, 4, 5)}  # fmt: skip
        for number, form in enumerate(self.prepared):
            rows = np.flatnonzero(self.fits.form == number)
            own = places[form.form.name]
            result[rows[:, None], own] = self.fits.coefficients[rows, : len(own)]
            result[rows, 2:4] = self.fits.shapes[rows]
        return result

    def inside(self, paired: np.ndarray, unpaired: np.ndarray) -> np.ndarray:
        """Whether a design lies where the surface may be read: measured fractions, sizes up to twice the range."""
        n = np.asarray(paired, dtype=float) + unpaired
        u = unpaired / np.where(n > 0, n, 1)
        fraction = (u >= self.fractions.min() - 1e-9) & (u <= self.fractions.max() + 1e-9)
        return fraction & (n >= self.sizes.min() / REACH) & (n <= self.sizes.max() * REACH)

    def value(self, paired: np.ndarray, unpaired: np.ndarray) -> np.ndarray:
        """Value of the surface itself at each design; NaN where it may not be read (:meth:`inside`)."""
        return self.draws(paired, unpaired, 1)[0]

    def draws(self, paired: np.ndarray, unpaired: np.ndarray, n_samples: int | None = None) -> np.ndarray:
        """Value of each sample (rows), or the first few, at each design; NaN where it may not be read (:meth:`inside`)."""
        paired, unpaired = np.broadcast_arrays(np.asarray(paired, dtype=float), np.asarray(unpaired, dtype=float))
        paired, unpaired = np.atleast_1d(paired), np.atleast_1d(unpaired)
        good = self.inside(paired, unpaired)
        p, u = np.where(good, paired, 1.0), np.where(good, unpaired, 0.0)
        level, slope, exponent, worth, d, e = (column[:, None] for column in self.parameters()[:n_samples].T)
        fraction = u / (p + u)
        value = (
            level
            + slope * position(np.maximum(p + worth * u, 1e-12), exponent, self.origin)
            + d * fraction
            + e * fraction**2
        )
        return np.where(good, value, np.nan)

    def worth(self, paired: float, unpaired: float, lower: bool) -> np.ndarray:
        """Worth of one more unpaired cell in paired cells, of each sample, at a design.

        NaN where more paired cells do not improve the score: nothing can then be exchanged for them.
        """
        level, slope, exponent, worth, d, e = self.parameters().T
        n = paired + unpaired
        steep = slope * (paired + worth * unpaired) ** (-exponent - 1) * self.origin**exponent
        tilt = d + 2 * e * unpaired / n
        by_paired = steep - tilt * unpaired / n**2
        by_unpaired = worth * steep + tilt * paired / n**2
        improves = (by_paired < 0) if lower else (by_paired > 0)
        return np.where(improves, by_unpaired / np.where(improves, by_paired, 1.0), np.nan)

    def replacement(self, n: float, lower: bool, steps: int = 240) -> np.ndarray:
        """Unpaired cells that make n / 2 paired cells score as `n` paired ones, of each sample; infinite for never.

        Looked for up to twice the largest measured size and the largest measured fraction. NaN where halving the
        cells does not cost anything.
        """
        unpaired = np.linspace(0, self.sizes.max() * REACH - n / 2, steps)
        goal = self.draws(n, 0.0)
        values = self.draws(np.full(steps, n / 2), unpaired)
        sign = -1.0 if lower else 1.0
        reached = sign * values >= sign * goal - 1e-12 * np.abs(goal)
        first = np.argmax(reached, axis=1)
        rows = np.arange(len(first))
        before = np.maximum(first - 1, 0)
        gap = values[rows, first] - values[rows, before]
        part = np.where(gap != 0, (goal[:, 0] - values[rows, before]) / np.where(gap != 0, gap, 1), 0.0)
        found = unpaired[before] + part * (unpaired[1] - unpaired[0])
        found = np.where(reached.any(axis=1), found, np.inf)
        costs = sign * (goal[:, 0] - values[:, 0]) > 0
        return np.where(costs, found, np.nan)


def fit_surface(sizes: np.ndarray, fractions: np.ndarray, values: np.ndarray) -> Surface:
    """Fit the candidate forms to replicated values of a grid of designs, and choose one by AICc.

    Parameters
    ----------
    sizes, fractions
        Number of cells and unpaired fraction of each design, shape (designs,).
    values
        Replicates x designs; NaN where there is none.

    Raises
    ------
    InputError
        With fewer than three sizes or two fractions, or where sizes and fractions do not vary apart from each other.
    """
    values = np.asarray(values, dtype=float)
    keep = ~np.isnan(values).all(axis=0)
    sizes, fractions, values = np.asarray(sizes, float)[keep], np.asarray(fractions, float)[keep], values[:, keep]
    n_sizes, n_fractions = len(np.unique(sizes)), len(np.unique(fractions))
    if n_sizes < MINIMUM_SIZES or n_fractions < 2:
        raise InputError(
            # Of sizes and fractions the one that is lacking, so that all that lack the same have the same reason.
            f"{n_sizes} size{'s' * (n_sizes != 1)} with values; an exchange needs {MINIMUM_SIZES}"
            if n_sizes < MINIMUM_SIZES
            else f"{n_fractions} unpaired fraction with values; an exchange needs 2"
        )
    design = np.stack(
        [np.ones(len(sizes)), np.log(sizes), fractions, fractions**2][: 4 if n_fractions > 3 else 3], axis=1
    )
    present = ~np.isnan(values)
    if np.linalg.matrix_rank(design) < design.shape[1] or len(sizes) < 6 or present.sum() < 8:
        raise InputError(
            f"{len(sizes)} designs do not vary sizes and fractions apart from each other; run the whole grid"
        )
    prepared = _candidates(tuple(zip(sizes.tolist(), fractions.tolist())), tuple(present.sum(axis=0).tolist()))
    fits = fit(values, prepared)
    means = np.array([values[present[:, place], place].mean() for place in range(len(sizes))])
    return Surface(sizes, fractions, means, fits, prepared)


@dataclass
class SurfaceOf:
    """The surface of one (study, dataset, variant, metric), or why there is none."""

    key: dict
    lower: bool
    surface: Surface | None
    reason: str
    scale: str = MEASURED


def fit_surfaces(units: pd.DataFrame) -> list[SurfaceOf]:
    """Fit a surface to every (study, dataset, variant, metric) of :func:`~benchmarks.statistics.units.comparable_units`."""
    result = []
    for (study, dataset), block in units.groupby(["study", "dataset"], dropna=False, sort=True):
        replicates = sorted(block["replicate"].unique())
        number = {replicate: place for place, replicate in enumerate(replicates)}
        for key, part in block.groupby([*VARIANT, "metric"], dropna=False, sort=True):
            column, designs = pd.factorize(pd.MultiIndex.from_frame(part[["n_cells", "unpaired_fraction"]]), sort=True)
            values = np.full((len(replicates), len(designs)), np.nan)
            values[part["replicate"].map(number).to_numpy(), column] = part["value"]
            n, u = (np.array([design[place] for design in designs], dtype=float) for place in (0, 1))
            own = SurfaceOf(
                dict(zip(SERIES, (study, dataset, *key))), bool(part["lower"].iloc[0]), None, "", part["scale"].iloc[0]
            )
            try:
                own.surface = fit_surface(n, u, values)
            except InputError as error:
                own.reason = str(error)
            result.append(own)
    return result


def exchange_table(surfaces: list[SurfaceOf]) -> pd.DataFrame:
    """What unpaired cells are worth, at each measured number of cells.

    Returns
    -------
    pandas.DataFrame
        :data:`~benchmarks.statistics.learning_curves.SERIES`, ``status``, ``reason``, ``scale`` of the values
        (:func:`~benchmarks.statistics.units.comparable_units`), ``form``, ``form_share``, ``r2``, ``lack_of_fit_p``; ``n_cells`` and ``unpaired_fraction`` (the measured one nearest to a half) of the
        design at which the rest holds; ``worth`` of an unpaired cell in paired ones with ``worth_low``,
        ``worth_high``, NaN unless at least 95 % of the samples improve with paired cells (``share_defined``);
        ``replacement``: unpaired cells that make half of ``n_cells`` paired cells score as all of them paired, with
        ``replacement_low``, ``replacement_high`` (infinite: more than may be read from the surface; NaN without
        all-paired designs); ``verdict`` in words.
    """
    rows = []
    for own in surfaces:
        if own.surface is None:
            rows.append({**own.key, "status": "not fitted", "reason": own.reason, "scale": own.scale})
            continue
        surface, fits = own.surface, own.surface.fits
        number = fits.form[0]
        general = {
            "status": "fitted",
            "reason": "",
            "scale": own.scale,
            "form": surface.form,
            "form_share": float(fits.probabilities[fits.form == number].sum()) if fits.probabilities.any() else np.nan,
            "r2": 1 - (fits.residual + fits.within) / fits.total if fits.total > 0 else np.nan,
            "lack_of_fit_p": lack_of_fit(fits, len(surface.sizes), surface.prepared[number].n_parameters - 1),
        }
        fractions = np.unique(surface.fractions)
        # The middle one; a fraction of 0 or 1 has no exchange left to speak of.
        fraction = float(fractions[np.argmin(np.abs(fractions - 0.5))])
        for n in np.unique(surface.sizes):
            rows.append({**own.key, **general, **_at(surface, float(n), fraction, own.lower)})
    names = [*SERIES, "status", "reason", "scale", "form", "form_share", "r2", "lack_of_fit_p", "n_cells", "unpaired_fraction", "worth",
             "worth_low", "worth_high", "share_defined", "replacement", "replacement_low", "replacement_high", "verdict"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _at(surface: Surface, n: float, fraction: float, lower: bool) -> dict:
    """The part of :func:`exchange_table` that holds at one design."""
    fits = surface.fits
    draws = surface.worth(n * (1 - fraction), n * fraction, lower)
    defined = float(fits.probabilities[~np.isnan(draws)].sum()) if fits.probabilities.any() else np.nan
    row = {"n_cells": n, "unpaired_fraction": fraction, "share_defined": defined}
    row |= dict.fromkeys(
        ("worth", "worth_low", "worth_high", "replacement", "replacement_low", "replacement_high"), np.nan
    )
    if np.isnan(draws[0]) or defined < MINIMUM_DEFINED:
        return row | {"verdict": "more paired cells do not resolvably improve the score"}
    (low,), (high,) = intervals(draws, fits.probabilities, fits.fewest)
    row |= {"worth": float(draws[0]), "worth_low": low, "worth_high": high}
    if surface.fractions.min() == 0:
        needed = surface.replacement(n, lower)
        (less,), (more,) = intervals(needed, fits.probabilities, fits.fewest)
        row |= {"replacement": float(needed[0]), "replacement_low": less, "replacement_high": more}
    if np.isnan(low):
        verdict = "fewer than three replicates: no interval"
    elif high < 0:
        verdict = "unpaired cells harm the score"
    elif low > 1:
        verdict = "an unpaired cell is worth more than a paired one"
    elif low > 0 and high < 1:
        verdict = "an unpaired cell helps, less than a paired one"
    elif low > 0:
        verdict = "an unpaired cell helps; no difference from a paired one resolved"
    elif high < 1:
        verdict = "an unpaired cell is worth less than a paired one, if anything"
    else:
        verdict = "worth of unpaired cells not resolved"
    return row | {"verdict": verdict}


def exchange(
    scores: pd.DataFrame, runs: pd.DataFrame | None = None, metrics: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """:func:`exchange_table` of a study; parameters as for :func:`benchmarks.statistics.summary.summarise`."""
    metrics = metric_declarations(metrics)
    units = usable_units(scores, runs, metrics)
    return exchange_table(fit_surfaces(comparable_units(scores, runs, metrics, units)))
