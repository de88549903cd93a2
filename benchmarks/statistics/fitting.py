"""Least-squares fits of several candidate forms to replicated values, on every bootstrap sample at once.

A candidate form is linear in its coefficients for given shape parameters (an exponent, an exchange rate). These are
searched on a grid first: for a grid point the residual sum of squares is a fixed quadratic form of the means of the
designs, so that all grid points and all samples are fitted by one matrix product. The observed replicates are then
fitted exactly by Gauss-Newton steps, and every other sample takes one such step from there; it keeps whichever of
this and its own grid point leaves less residual. Where noise is small the step is accurate, where it is large the grid is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Sequence

import numpy as np

from benchmarks.statistics.intervals import LEVEL, expanded_tail, resampling_weights

LEAST = 3
"""Fits to fewer replicates have no interval: all samples of two replicates lie between them, and so does the truth in
half of the cases, whatever the noise."""

N_DRAWS = 1000
"""Bootstrap samples of a fit, where they are drawn and not enumerated."""

FLOOR = 1e-10
"""Residuals below this fraction of the largest value count as rounding: they may not decide between forms."""


CONTENTION = 20.0
"""Forms whose criterion on the observed replicates is worse than the best one by more are not refined in the samples."""


@dataclass(frozen=True)
class Form:
    """A candidate form over given designs.

    Attributes
    ----------
    name
        What it is called in tables.
    shapes
        Grid points x shape parameters.
    columns
        Design matrices for given shape parameters: (rows x shape parameters) -> rows x designs x coefficients.
    searched
        Which of the shape parameters are fitted (and are paid for in the criterion).
    bounds
        (low, high) of each of those.
    """

    name: str
    shapes: np.ndarray
    columns: Callable[[np.ndarray], np.ndarray]
    searched: tuple[int, ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A form ready to be fitted to means times the root of their number of values.

    Attributes
    ----------
    form
        The form.
    root
        Root of the number of values of each design.
    basis
        Orthonormal bases of all grid points, designs x (grid * coefficients).
    solve
        Grid x coefficients x designs: scaled means to coefficients.
    """

    form: Form
    root: np.ndarray
    basis: np.ndarray
    solve: np.ndarray

    @property
    def n_parameters(self) -> int:
        """Coefficients, searched shape parameters and the variance of the residuals."""
        return self.solve.shape[1] + len(self.form.searched) + 1


@dataclass
class Fits:
    """Fits of the candidates to the observed replicates (first row) and to each bootstrap sample (the others).

    Attributes
    ----------
    probabilities
        Probability of each sample; 0 for the observed one and for samples that leave a design without a value.
    form
        Number of the chosen form, per row.
    shapes
        Rows x shape parameters of the chosen form.
    coefficients
        Rows x largest number of coefficients, 0 beyond those of the form.
    criterion
        AICc of each form on the observed replicates; infinite where there are too few values for it.
    residual
        Residual sum of squares of the chosen form on the observed replicates, of the means about the curve.
    within
        Sum of squares of the replicates about the means of their designs.
    total
        Sum of squares of all values about their mean.
    n_values
        Number of values.
    n_replicates
        Number of replicates with a value.
    fewest
        Number of values of the design that has the fewest. Intervals go by it: what few replicates have varies too
        little between samples. 1, which is no interval, with fewer than :data:`LEAST` replicates.
    """

    probabilities: np.ndarray
    form: np.ndarray
    shapes: np.ndarray
    coefficients: np.ndarray
    criterion: np.ndarray
    residual: float
    within: float
    total: float
    n_values: int
    n_replicates: int
    fewest: int


@lru_cache
def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the replicates, rows x `n`, and probabilities: the observed sample first, then the bootstrap ones."""
    observed = np.full((1, n), 1 / n)
    if n < 2:
        return observed, np.zeros(1)
    weights, probabilities = resampling_weights(n)
    if len(weights) > N_DRAWS and np.ptp(probabilities) == 0:
        weights, probabilities = weights[:N_DRAWS], np.full(N_DRAWS, 1 / N_DRAWS)
    return np.vstack([observed, weights]), np.concatenate([[0.0], probabilities])


def aicc(residual: np.ndarray, n: int, k: int) -> np.ndarray:
    """Second-order Akaike criterion of a least-squares fit (Hurvich and Tsai 1989, Biometrika 76:297).

    n ln(residual / n) + 2 k + 2 k (k + 1) / (n - k - 1), with `k` counting the variance; infinite for n < k + 2.
    """
    if n - k - 1 <= 0:
        return np.full(np.shape(residual), np.inf)
    return n * np.log(residual / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def prepare(forms: Sequence[Form], counts: np.ndarray) -> list[Prepared]:
    """Make `forms`, simplest first, ready for designs with so many values each."""
    root = np.sqrt(counts)
    prepared = []
    for form in forms:
        q, r = np.linalg.qr(form.columns(form.shapes) * root[:, None])
        solve = np.linalg.solve(r, q.transpose(0, 2, 1))
        prepared.append(Prepared(form, root, q.transpose(1, 0, 2).reshape(len(counts), -1), solve))
    return prepared


def _on_grid(own: Prepared, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best grid point of each row: shapes, coefficients, residual sum of squares."""
    projected = (scaled @ own.basis).reshape(len(scaled), len(own.form.shapes), -1)
    best = np.argmax(np.einsum("bgp,bgp->bg", projected, projected), axis=1)
    coefficients = np.einsum("bpd,bd->bp", own.solve[best], scaled)
    shapes = own.form.shapes[best]
    return (
        shapes,
        coefficients,
        np.sum(scaled**2, axis=1) - np.einsum("bp,bp->b", *(projected[np.arange(len(best)), best],) * 2),
    )


def _at(own: Prepared, shapes: np.ndarray, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and residual sum of squares of each row at its shapes."""
    columns = own.form.columns(shapes) * own.root[:, None]
    turned = columns.transpose(0, 2, 1)
    coefficients = np.linalg.solve(turned @ columns, turned @ scaled[:, :, None])
    return coefficients[:, :, 0], np.sum((scaled - (columns @ coefficients)[:, :, 0]) ** 2, axis=1)


def _tangent(own: Prepared, shape: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scaled curve at a shape and its derivatives by coefficients and searched shape parameters (designs x parameters)."""
    searched = own.form.searched
    moved = np.repeat(shape[None], 1 + len(searched), axis=0)
    step = 1e-5
    # Away from the upper bound, so that no derivative is taken across it.
    signs = [-step if shape[number] + step > high else step for number, (_, high) in zip(searched, own.form.bounds)]
    for row, (number, sign) in enumerate(zip(searched, signs), 1):
        moved[row, number] += sign
    columns = own.form.columns(moved) * own.root[:, None]
    curves = columns @ coefficients
    slopes = [(curves[row] - curves[0]) / sign for row, sign in enumerate(signs, 1)]
    return curves[0], np.column_stack([columns[0], *slopes])


def _clip(own: Prepared, shapes: np.ndarray) -> np.ndarray:
    shapes = shapes.copy()
    for number, (low, high) in zip(own.form.searched, own.form.bounds):
        shapes[..., number] = np.clip(shapes[..., number], low, high)
    return shapes


def _polish(
    own: Prepared, scaled: np.ndarray, shapes: np.ndarray, coefficients: np.ndarray, residual: np.ndarray
) -> None:
    """Improve the fit to the first row by Gauss-Newton steps until it settles, in place."""
    searched = list(own.form.searched)
    for _ in range(12):
        curve, slopes = _tangent(own, shapes[0], coefficients[0])
        change = (np.linalg.pinv(slopes, rcond=1e-10) @ (scaled[0] - curve))[coefficients.shape[1] :]
        step, before = 1.0, residual[0]
        while step > 0.05:
            trial = shapes[:1].copy()
            trial[0, searched] += step * change
            trial = _clip(own, trial)
            new, left = _at(own, trial, scaled[:1])
            if left[0] < residual[0]:
                shapes[0], coefficients[0], residual[0] = trial[0], new[0], left[0]
                break
            step /= 3
        if residual[0] >= before * (1 - 1e-6):
            return


def _follow(
    own: Prepared, scaled: np.ndarray, shapes: np.ndarray, coefficients: np.ndarray, residual: np.ndarray
) -> None:
    """Take one Gauss-Newton step from the first row's fit to every other row, in place where it leaves less residual."""
    searched = list(own.form.searched)
    curve, slopes = _tangent(own, shapes[0], coefficients[0])
    change = (scaled - curve) @ np.linalg.pinv(slopes, rcond=1e-10)[coefficients.shape[1] :].T
    trial = np.repeat(shapes[:1], len(scaled), axis=0)
    trial[:, searched] += change
    trial = _clip(own, trial)
    new, left = _at(own, trial, scaled)
    better = left < residual
    shapes[better], coefficients[better], residual[better] = trial[better], new[better], left[better]


def fit(values: np.ndarray, prepared: Sequence[Prepared]) -> Fits:
    """Fit every form to the observed replicates and to every bootstrap sample of them, and choose by AICc in each.

    Whole replicates are resampled, with the values of all their designs, because the subsamples of a replicate nest.
    Choosing anew in each sample puts the uncertainty of the choice into whatever interval is made of the result.

    Parameters
    ----------
    values
        Replicates x designs; NaN where there is none. Every design needs a value.
    prepared
        :func:`prepare` of the candidates with the counts of `values`.
    """
    present = ~np.isnan(values)
    counts = present.sum(axis=0)
    n = int(counts.sum())
    centre = float(values[present].mean())
    filled = np.where(present, values - centre, 0.0)
    weights, probabilities = samples(len(values))
    share = weights @ present
    probabilities = np.where((share > 0).all(axis=1), probabilities, 0.0)
    share = np.where(share > 0, share, 1.0)
    means = (weights @ filled) / share
    spread = np.maximum((weights @ filled**2) / share - means**2, 0.0) @ counts
    scaled = means * np.sqrt(counts)
    floor = n * (FLOOR * max(float(np.abs(values[present]).max()), 1e-100)) ** 2

    fitted, observed = [], []
    for own in prepared:
        shapes, coefficients, residual = _on_grid(own, scaled)
        if own.form.searched:
            _polish(own, scaled, shapes, coefficients, residual)
        fitted.append((shapes, coefficients, residual))
        observed.append(float(aicc(np.maximum(max(residual[0], 0.0) + spread[0], floor), n, own.n_parameters)))
    criteria = []
    for own, parts, criterion in zip(prepared, fitted, observed):
        # Forms that the observed replicates rule out keep their grid points in the samples: they are hardly chosen there.
        if own.form.searched and len(scaled) > 1 and criterion < min(observed) + CONTENTION:
            _follow(own, scaled, *parts)
        criteria.append(aicc(np.maximum(np.maximum(parts[2], 0.0) + spread, floor), n, own.n_parameters))
    # Exact ties (all residuals at the floor) go to the simplest form, which comes first.
    chosen = np.argmin(criteria, axis=0)
    rows = len(scaled)
    all_coefficients = np.zeros((rows, max(own.solve.shape[1] for own in prepared)))
    all_shapes = np.zeros((rows, prepared[0].form.shapes.shape[1]))
    for number, (shapes, coefficients, _) in enumerate(fitted):
        mine = chosen == number
        all_shapes[mine] = shapes[mine]
        all_coefficients[mine, : coefficients.shape[1]] = coefficients[mine]
    all_coefficients[:, 0] += centre
    n_replicates = int(present.any(axis=1).sum())
    return Fits(
        probabilities=probabilities / probabilities.sum() if probabilities.sum() else probabilities,
        form=chosen,
        shapes=all_shapes,
        coefficients=all_coefficients,
        criterion=np.array(criteria)[:, 0],
        residual=max(float(fitted[chosen[0]][2][0]), 0.0),
        within=float(spread[0]),
        total=float(np.sum(filled**2)),
        n_values=n,
        n_replicates=n_replicates,
        fewest=int(counts.min()) if n_replicates >= LEAST else 1,
    )


def lack_of_fit(fits: Fits, n_designs: int, n_parameters: int) -> float:
    """P-value of the F test of the means about the curve against the replicates about their means.

    Small: the form misses structure that the replicates resolve. NaN without degrees of freedom on either side.
    """
    from scipy.special import fdtrc

    above, below = n_designs - n_parameters, fits.n_values - n_designs
    if above <= 0 or below <= 0 or fits.within <= 0:
        return float("nan")
    return float(fdtrc(above, below, (fits.residual / above) / (fits.within / below)))


def intervals(
    draws: np.ndarray, probabilities: np.ndarray, n: int, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval (:func:`~benchmarks.statistics.intervals.expanded_tail`) of each column.

    Parameters
    ----------
    draws
        Samples x quantities; infinite values are allowed, NaN are left out with their probability.
    probabilities
        Of the samples.
    n
        Number of replicates (:attr:`Fits.fewest`); below 2 there is no interval (NaN).
    """
    draws = np.atleast_2d(np.asarray(draws, dtype=float).T).T
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    if n < 2:
        return low, high
    tail = expanded_tail(n, level)
    for column in range(draws.shape[1]):
        use = ~np.isnan(draws[:, column]) & (probabilities > 0)
        if not use.any():
            continue
        order = np.argsort(draws[use, column], kind="stable")
        ordered, share = draws[use, column][order], probabilities[use][order] / probabilities[use].sum()
        last = len(ordered) - 1
        low[column] = ordered[min(int(np.sum(np.cumsum(share) < tail)), last)]
        high[column] = ordered[last - min(int(np.sum(np.cumsum(share[::-1]) < tail)), last)]
    return low, high
