"""Learning curves: a score as a function of the number of cells, or of paired cells, with bootstrap bands.

Three forms compete: a constant, a straight line in the logarithm, and the saturating power law

    y(n) = a - b n^(-c),    0.1 <= c <= 3,

with `b` of either sign, so that it serves metrics of which lower is better, and curves that get worse. All three are
written as level + slope * x_c(n), x_c(n) = (1 - (n / n0)^(-c)) / c with n0 the geometric mean of the sizes: c -> 0
gives the logarithm, slope 0 the constant, and a = level + slope / c.

A metric that cannot pass a bound (1 for NMI) cannot level off beyond it either: values read off a curve, and plateaus,
stop there. A straight line has no plateau of its own, but once it is near the bound, so is any plateau.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Mapping

import numpy as np
import pandas as pd

from benchmarks.errors import InputError
from benchmarks.statistics.fitting import Fits, Form, Prepared, fit, intervals, lack_of_fit, prepare
from benchmarks.statistics.keys import CONDITION, VARIANT, declared, metric_declarations
from benchmarks.statistics.scaling import SCALED_BY_CONTROLS
from benchmarks.statistics.summary import replicate_means
from benchmarks.statistics.units import bounds_of, usable_units

FORMS = ("constant", "log-linear", "power law")
"""Candidate forms, simplest first."""

EXPONENTS = np.geomspace(0.1, 3.0, 25)
"""Exponents from which the search starts, and its bounds. Flatter curves than 0.1 cannot be told from the logarithm, steeper ones than 3 not from a step."""

MINIMUM_SIZES = 3
"""Fewer sizes than this cannot show whether a curve levels off."""

REACH = 2.0
"""Nothing is said further than this factor outside the measured range."""

TOLERANCES = (0.01, 0.05, 0.10)
"""Fractions of the yardstick within which a score counts as being at its plateau."""

UNBOUNDED = (-np.inf, np.inf)
"""Bounds of a metric that has none."""

SERIES = ("study", "dataset", *VARIANT, "metric")
"""What a curve belongs to, besides the axis and what is held fixed."""


def position(n: np.ndarray, exponent: np.ndarray, origin: float) -> np.ndarray:
    """x_c(n) of the module's formula; `exponent` 0 is the logarithm. Broadcasts."""
    n, exponent = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(exponent, dtype=float))
    logarithm = np.log(n / origin)
    safe = np.where(exponent > 0, exponent, 1.0)
    return np.where(exponent > 0, -np.expm1(-safe * logarithm) / safe, logarithm)


@lru_cache(maxsize=256)
def _candidates(sizes: tuple[float, ...], counts: tuple[int, ...]) -> list[Prepared]:
    """The three forms over `sizes` with so many values each; their shape parameter is the exponent."""
    origin = float(np.exp(np.mean(np.log(sizes))))

    def level(shapes: np.ndarray) -> np.ndarray:
        return np.ones((len(shapes), len(sizes), 1))

    def curve(shapes: np.ndarray) -> np.ndarray:
        x = position(np.array(sizes)[None, :], shapes[:, :1], origin)
        return np.stack([np.ones(x.shape), x], axis=2)

    none = np.zeros((1, 1))
    forms = [
        Form(FORMS[0], none, level),
        Form(FORMS[1], none, curve),
        Form(FORMS[2], EXPONENTS[:, None], curve, (0,), ((EXPONENTS[0], EXPONENTS[-1]),)),
    ]
    return prepare(forms, np.array(counts))


@dataclass
class Curve:
    """A fitted curve with its bootstrap samples.

    Attributes
    ----------
    sizes
        Measured numbers of cells, increasing.
    means
        Mean value at each.
    values
        Replicates x sizes; NaN where there is none.
    fits
        See :class:`~benchmarks.statistics.fitting.Fits`; its first row is the curve itself.
    bounds
        Smallest and largest value that the metric can take.
    most
        Largest number of cells that there can be: of a fixed number of cells no more than all can be paired.
    held_sizes, held_values
        Sizes with a single value, which the fit left out, and these values: what the curve can be checked against.
    """

    sizes: np.ndarray
    means: np.ndarray
    values: np.ndarray
    fits: Fits
    bounds: tuple[float, float] = UNBOUNDED
    most: float = np.inf
    held_sizes: np.ndarray = field(default_factory=lambda: np.empty(0))
    held_values: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def form(self) -> str:
        """Name of the chosen form."""
        return FORMS[self.fits.form[0]]

    @property
    def origin(self) -> float:
        """n0: geometric mean of the sizes."""
        return float(np.exp(np.mean(np.log(self.sizes))))

    @property
    def exponents(self) -> np.ndarray:
        """Exponent c of each sample; 0 where the form has none."""
        return self.fits.shapes[:, 0]

    @property
    def plateaus(self) -> np.ndarray:
        """Limit of each sample for infinitely many cells, within the bounds; infinite for the logarithm."""
        return np.where(self.fits.form == 1, self._beyond, self._ends)

    @property
    def _beyond(self) -> np.ndarray:
        return np.where(self.fits.coefficients[:, 1] < 0, -np.inf, np.inf)

    @property
    def _ends(self) -> np.ndarray:
        """What each sample cannot pass: its plateau or the bound, whichever comes first; the bound for the logarithm."""
        level, slope = self.fits.coefficients[:, 0], self.fits.coefficients[:, 1]
        power = level + slope / np.where(self.exponents > 0, self.exponents, 1.0)
        ends = np.select([self.fits.form == 0, self.fits.form == 2], [level, power], self._beyond)
        return np.clip(ends, *self.bounds)

    @property
    def limits(self) -> tuple[float, float]:
        """Range within which the curve may be read."""
        return self.sizes[0] / REACH, min(self.sizes[-1] * REACH, self.most)

    def draws(self, n: np.ndarray) -> np.ndarray:
        """Value at `n` of each sample (rows), the observed one first, not beyond the metric's bounds.

        Raises
        ------
        InputError
            If an `n` lies further than a factor of :data:`REACH` outside the measured sizes, or beyond :attr:`most`.
        """
        n = np.atleast_1d(np.asarray(n, dtype=float))
        low, high = self.limits
        outside = n[(n < low) | (n > high)]
        if outside.size:
            raise InputError(
                f"{outside[0]:g} cells: the curve was measured from {self.sizes[0]:g} to {self.sizes[-1]:g} cells and is "
                f"not read beyond {low:g} to {high:g}; run that size"
            )
        x = position(n[None, :], self.exponents[:, None], self.origin)
        return np.clip(self.fits.coefficients[:, :1] + self.fits.coefficients[:, 1:2] * x, *self.bounds)

    def predict(self, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value and 95 % interval at each `n`; raises as :meth:`draws`."""
        draws = self.draws(n)
        return draws[0], *intervals(draws, self.fits.probabilities, self.fits.fewest)

    def replicate_values(self, n: float) -> np.ndarray:
        """Value at `n` of the chosen form fitted to each replicate alone, shape (replicates,).

        With form and exponent as chosen on all of them the fit is linear, so that these average to the curve where
        no value is missing; NaN for a replicate that misses a size.
        """
        self.draws(n)
        number = self.fits.form[0]
        columns = [np.ones(len(self.sizes))]
        here = [1.0]
        if number:
            columns.append(position(self.sizes, self.exponents[0], self.origin))
            here.append(float(position(n, self.exponents[0], self.origin)))
        root = np.sqrt((~np.isnan(self.values)).sum(axis=0))
        smoother = np.array(here) @ np.linalg.pinv(np.stack(columns, axis=1) * root[:, None]) * root
        return self.values @ smoother

    def cells_within(self, tolerance: float, reference: float | None = None) -> np.ndarray:
        """Cells from which on each sample stays within `tolerance` of its plateau, or of the bound that it runs into.

        Parameters
        ----------
        tolerance
            Fraction of the yardstick, in (0, 1).
        reference
            The yardstick is the distance between the plateau and this value; the plateau's own size where ``None``.

        Returns
        -------
        numpy.ndarray
            One a sample: not below the smallest measured size; infinite where there is neither plateau nor bound, or
            where it comes later than the curve may be read.
        """
        ends, exponents = self._ends, self.exponents
        level, slope = self.fits.coefficients[:, 0], self.fits.coefficients[:, 1]
        yardstick = np.abs(ends) if reference is None else np.abs(ends - reference)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            # The curve is there at level + slope x_c(n) = ends -+ tolerance * yardstick.
            x = (ends - np.sign(slope) * tolerance * yardstick - level) / slope
            needed = self.origin * np.select(
                [self.fits.form == 1, self.fits.form == 2],
                [np.exp(x), np.maximum(1 - exponents * x, 0.0) ** (-1 / np.where(exponents > 0, exponents, 1.0))],
            )
        needed = np.where((self.fits.form == 0) | (slope == 0), 0.0, needed)
        # A fraction of nothing is reached nowhere: a curve that falls to a bound of 0, say.
        reached = (needed <= self.limits[1]) & np.isfinite(ends) & ((yardstick > 0) | (needed == 0))
        needed = np.where(reached, needed, np.inf)
        return np.maximum(needed, self.sizes[0])


def fit_curve(
    sizes: np.ndarray, values: np.ndarray, bounds: tuple[float, float] = UNBOUNDED, most: float = np.inf
) -> Curve:
    """Fit the three forms to replicated values, and choose one.

    The values of all replicates are weighted alike and AICc takes them as independent. What the sizes of a replicate
    share makes it choose the simpler form more often; the bands, made from whole replicates, do not depend on it.

    A size with a single value is left out where three sizes or more have several: it would be in every sample alike,
    and leave the curve without a band. The curve keeps it as ``held_sizes``, to be checked against.

    Parameters
    ----------
    sizes
        Numbers of cells, increasing and positive, shape (sizes,).
    values
        Replicates x sizes; NaN where there is none.
    bounds
        Smallest and largest value that the metric can take; the fit does not know them, what is read off it does.
    most
        Largest number of cells that there can be; the curve is not read beyond it.

    Raises
    ------
    InputError
        With fewer than :data:`MINIMUM_SIZES` sizes that have a value, or with too few values for any criterion.
    """
    sizes, values = np.asarray(sizes, dtype=float), np.asarray(values, dtype=float)
    counts = (~np.isnan(values)).sum(axis=0)
    keep = counts > 1 if (counts > 1).sum() >= MINIMUM_SIZES else counts > 0
    single = (counts == 1) & ~keep
    held = sizes[single], np.nanmax(values[:, single], axis=0) if single.any() else np.empty(0)
    sizes, values = sizes[keep], values[:, keep]
    if len(sizes) < MINIMUM_SIZES:
        plural = "" if len(sizes) == 1 else "s"
        raise InputError(f"{len(sizes)} size{plural} with values; a curve needs {MINIMUM_SIZES}")
    present = ~np.isnan(values)
    if present.sum() < MINIMUM_SIZES + 2:
        raise InputError(f"{present.sum()} values are too few to choose a form; run more replicates or sizes")
    fits = fit(values, _candidates(tuple(sizes.tolist()), tuple(present.sum(axis=0).tolist())))
    means = np.array([values[present[:, place], place].mean() for place in range(len(sizes))])
    return Curve(sizes, means, values, fits, bounds, most, *held)


AXES = {"cells": "unpaired_fraction", "paired": "n_cells"}
"""Axes of the curves, each with the part of the condition that is held fixed along it."""


def paired_cells(n_cells: np.ndarray, unpaired_fraction: np.ndarray) -> np.ndarray:
    """Number of cells that are left paired."""
    return np.round(n_cells * (1 - unpaired_fraction))


@dataclass
class Series:
    """The curve of one (study, dataset, variant, metric, axis, what is held fixed), or why there is none."""

    key: dict
    axis: str
    fixed: float
    lower: bool
    replicates: list
    curve: Curve | None
    reason: str


def fit_all(units: pd.DataFrame, axis: str = "cells", metrics: Mapping[str, object] | None = None) -> list[Series]:
    """Fit a curve to every series of `units` (:func:`~benchmarks.statistics.units.usable_units`).

    `metrics`, declarations of metrics, say where these end; without them none is bounded.

    ``cells`` runs over the number of cells at each unpaired fraction; ``paired`` over the number of paired cells
    (n_cells times one minus the unpaired fraction, those without any left out) at each number of cells.
    The rows of a curve's values are all replicates of the data set, so that samples of different curves match.
    """
    fixed = AXES[axis]
    units = units.assign(x=units["n_cells"].astype(float))
    if axis == "paired":
        units["x"] = paired_cells(units["n_cells"], units["unpaired_fraction"])
        units = units[units["x"] > 0]
    result = []
    for (study, dataset), block in units.groupby(["study", "dataset"], dropna=False, sort=True):
        replicates = sorted(block["replicate"].unique())
        row = block["replicate"].map({replicate: number for number, replicate in enumerate(replicates)}).to_numpy()
        block = block.assign(_row=row)
        for key, part in block.groupby([*VARIANT, "metric", fixed], dropna=False, sort=True):
            sizes, column = np.unique(part["x"].to_numpy(), return_inverse=True)
            values = np.full((len(replicates), len(sizes)), np.nan)
            values[part["_row"].to_numpy(), column] = part["value"]
            names = dict(zip(SERIES, (study, dataset, *key[:-1])))
            series = Series(names, axis, float(key[-1]), bool(part["lower"].iloc[0]), replicates, None, "")
            most = series.fixed if axis == "paired" else np.inf
            try:
                series.curve = fit_curve(sizes, values, bounds_of(metrics or {}, names["metric"]), most)
            except InputError as error:
                series.reason = str(error)
            result.append(series)
    return result


def references(scores: pd.DataFrame, metrics: Mapping[str, object]) -> pd.Series:
    """What a plateau is measured from: the random control's mean in each condition, for metrics that it fails.

    Indexed by condition and metric. Metrics of mixing and batch removal are not there, because noise passes them.
    """
    units = replicate_means(scores[scores["model"] == "random"])
    wanted = {
        name
        for name in units["metric"].unique()
        if declared(metrics, name, "group") in SCALED_BY_CONTROLS and declared(metrics, name, "direction") != "target"
    }
    units = units[units["metric"].isin(wanted)]
    return units.groupby([*CONDITION, "metric"], dropna=False)["value"].mean()


def _along(known: pd.Series, axis: str) -> dict[tuple, float]:
    """:func:`references` by study, data set, metric, what an axis holds fixed, and the place on it."""
    table = known.rename("value").reset_index()
    if table.empty:
        return {}
    x = table["n_cells"].astype(float)
    if axis == "paired":
        x = paired_cells(table["n_cells"], table["unpaired_fraction"])
    keys = zip(table["study"], table["dataset"], table["metric"], table[AXES[axis]].astype(float), x)
    return {key: float(value) for key, value in zip(keys, table["value"]) if np.isfinite(value)}


def _reference(series: Series, known: Mapping[tuple, float], place: int = -1) -> float | None:
    """The random control's mean at a size of a curve, the largest one, if it is known (:func:`_along` its axis)."""
    key = (series.key["study"], series.key["dataset"], series.key["metric"], series.fixed, series.curve.sizes[place])
    return known.get(key)


def curve_table(all_series: list[Series], known: pd.Series | None = None) -> pd.DataFrame:
    """One row a curve: form, parameters, goodness of fit and what the sizes changed.

    Parameters
    ----------
    all_series
        Fitted curves.
    known
        :func:`references`, for what chance does along the curve.

    Returns
    -------
    pandas.DataFrame
        :data:`SERIES`, ``axis``, ``fixed`` (the unpaired fraction, or the number of cells), ``status`` (``fitted`` or
        ``not fitted``), ``reason``; ``smallest``, ``largest``, ``n_sizes``, ``n_replicates``; ``form``, ``form_share``
        (share of the bootstrap samples that choose the same), ``aicc_*``; ``exponent`` c, ``amplitude`` b,
        ``plateau`` a with ``plateau_low``, ``plateau_high`` (infinite where samples have none); ``r2`` (share of the
        variance of all values that the curve explains), ``lack_of_fit_p``; ``value_largest`` (the curve at the largest size);
        ``gain`` (that less the curve at the smallest size) with ``gain_low``, ``gain_high``; ``trend``: ``improves``, ``worsens`` or ``unresolved``;
        ``held_size`` and ``held_value``: the largest size with a single replicate, which the fit left out (NaN where
        there is none), with what the curve says there, ``held_fit``, ``held_low``, ``held_high`` (NaN where it is not
        read so far); ``chance_smallest``, ``chance_largest``: the random control's means at the two ends, for metrics
        that it fails (NaN without it): what chance does along the curve is not the model's doing.
    """
    rows = []
    by_axis = {axis: {} if known is None else _along(known, axis) for axis in AXES}
    for series in all_series:
        row = {**series.key, "axis": series.axis, "fixed": series.fixed, "lower": series.lower}
        row |= {"status": "not fitted" if series.curve is None else "fitted", "reason": series.reason}
        if series.curve is not None:
            row |= _facts(series.curve, series.lower)
            for name, place in (("chance_smallest", 0), ("chance_largest", -1)):
                chance = _reference(series, by_axis[series.axis], place)
                row[name] = np.nan if chance is None else chance
        rows.append(row)
    names = [*SERIES, "axis", "fixed", "lower", "status", "reason", "smallest", "largest", "n_sizes", "n_replicates", "form",
             "form_share", "exponent", "amplitude", "plateau", "plateau_low", "plateau_high", "r2", "lack_of_fit_p",
             "value_largest", "gain", "gain_low", "gain_high", "trend", "held_size", "held_value", "held_fit", "held_low", "held_high", "chance_smallest", "chance_largest", "aicc_constant", "aicc_log_linear", "aicc_power_law"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _facts(curve: Curve, lower: bool) -> dict:
    fits, exponent = curve.fits, float(curve.exponents[0])
    ends = curve.draws(curve.sizes[[0, -1]])
    # A constant has no gain, exactly: differences of equal numbers must not leave rounding behind.
    gains = np.where(fits.form == 0, 0.0, ends[:, 1] - ends[:, 0])
    (gain_low,), (gain_high,) = intervals(gains, fits.probabilities, fits.fewest)
    (low,), (high,) = intervals(curve.plateaus, fits.probabilities, fits.fewest)
    up = "worsens" if lower else "improves"
    down = "improves" if lower else "worsens"
    power = fits.form[0] == 2
    n_parameters = (1, 2, 3)[fits.form[0]]
    return {
        "smallest": curve.sizes[0],
        "largest": curve.sizes[-1],
        "n_sizes": len(curve.sizes),
        "n_replicates": fits.n_replicates,
        "form": curve.form,
        "form_share": float(fits.probabilities[fits.form == fits.form[0]].sum())
        if fits.probabilities.any()
        else np.nan,
        "exponent": exponent if power else np.nan,
        "amplitude": float(fits.coefficients[0, 1] / exponent * curve.origin**exponent) if power else np.nan,
        "plateau": float(curve.plateaus[0]),
        "plateau_low": low,
        "plateau_high": high,
        "r2": 1 - (fits.residual + fits.within) / fits.total if fits.total > 0 else np.nan,
        "lack_of_fit_p": lack_of_fit(fits, len(curve.sizes), n_parameters),
        "value_largest": float(ends[0, 1]),
        "gain": float(gains[0]),
        "gain_low": gain_low,
        "gain_high": gain_high,
        "trend": up if gain_low > 0 else down if gain_high < 0 else "unresolved",
        **_held(curve),
        "aicc_constant": float(fits.criterion[0]),
        "aicc_log_linear": float(fits.criterion[1]),
        "aicc_power_law": float(fits.criterion[2]),
    }


def _held(curve: Curve) -> dict:
    """The part of :func:`curve_table` on the largest size that the fit left out."""
    names = ("held_size", "held_value", "held_fit", "held_low", "held_high")
    if not len(curve.held_sizes):
        return dict.fromkeys(names, np.nan)
    size = float(curve.held_sizes[-1])
    read = curve.limits[0] <= size <= curve.limits[1]
    predicted = [float(part[0]) for part in curve.predict(size)] if read else [np.nan] * 3
    return dict(zip(names, (size, float(curve.held_values[-1]), *predicted)))


def plateau_table(
    all_series: list[Series], known: pd.Series, tolerances: tuple[float, ...] = TOLERANCES
) -> pd.DataFrame:
    """How many cells, or paired cells, until within a tolerance of the plateau: one row a (fitted curve, tolerance).

    Returns
    -------
    pandas.DataFrame
        :data:`SERIES`, ``axis`` and ``fixed`` as in :func:`curve_table`, ``tolerance``, ``yardstick`` (of what the
        tolerance is a fraction), ``cells`` (paired ones along ``paired``) with ``cells_low``, ``cells_high`` (infinite:
        later than the curve may be read), ``share_measured`` (share of the samples that get there within the measured
        sizes), ``answer``: ``from the smallest size``, ``within the measured sizes``, ``extrapolated`` (at most twice
        the largest size, and no more paired cells than cells) or ``beyond the measured range``.
    """
    rows = []
    by_axis = {axis: _along(known, axis) for axis in AXES}
    for series in all_series:
        if series.curve is None:
            continue
        curve, reference = series.curve, _reference(series, by_axis[series.axis])
        for tolerance in tolerances:
            draws = curve.cells_within(tolerance, reference)
            (low,), (high,) = intervals(draws, curve.fits.probabilities, curve.fits.fewest)
            cells = float(draws[0])
            share = curve.fits.probabilities[draws <= curve.sizes[-1]].sum()
            rows.append(
                {
                    **series.key,
                    "axis": series.axis,
                    "fixed": series.fixed,
                    "tolerance": tolerance,
                    "yardstick": "the distance from the random control"
                    if reference is not None
                    else "the plateau itself",
                    "cells": cells,
                    "cells_low": low,
                    "cells_high": high,
                    "share_measured": float(share) if curve.fits.fewest > 1 else np.nan,
                    "answer": "beyond the measured range"
                    if np.isinf(cells)
                    else "extrapolated"
                    if cells > curve.sizes[-1]
                    else "from the smallest size"
                    if cells <= curve.sizes[0]
                    else "within the measured sizes",
                }
            )
    names = [*SERIES, "axis", "fixed", "tolerance", "yardstick", "cells", "cells_low", "cells_high", "share_measured", "answer"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def learning_curves(
    scores: pd.DataFrame, runs: pd.DataFrame | None = None, metrics: Mapping[str, object] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves along both axes (:func:`curve_table`) and cells until their plateaus (:func:`plateau_table`) of a study.

    Parameters are those of :func:`benchmarks.statistics.summary.summarise`.
    """
    metrics = metric_declarations(metrics)
    units = usable_units(scores, runs, metrics)
    series = [*fit_all(units, "cells", metrics), *fit_all(units, "paired", metrics)]
    known = references(scores, metrics)
    return curve_table(series, known), plateau_table(series, known)
