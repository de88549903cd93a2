"""Prediction: how well withheld counts are imputed, and whether the model knows how well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.metrics.clustering import MULTIDGD
from benchmarks.metrics.context import Context, encode
from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.distances import pairwise_pass
from benchmarks.metrics.mixing import MULTIVI
from benchmarks.metrics.structure import average_ranks, log_normalise, principal_components

SMOOTHING_NEIGHBOURS = 50
SMOOTHING_COMPONENTS = 30
MAX_ENTRIES = 20_000_000
"""Entries of a prediction that enter rank statistics; of a larger one a random sample of so many."""

CALIBRATION_BINS = 20


@dataclass(frozen=True)
class Predicted:
    """A prediction beside what was withheld, for the same observations.

    Attributes
    ----------
    mean
        float32, observations x features.
    observed
        CSR of the withheld counts, the same shape.
    deviation
        float32 of the same shape, or None.
    rows
        Positions of these observations in the design.
    """

    mean: np.ndarray
    observed: sp.csr_matrix
    deviation: np.ndarray | None
    rows: np.ndarray


def predicted(context: Context, modality: str) -> Predicted:
    """The prediction of `modality` and the counts withheld, on the observations that have both."""
    cache = context.__dict__.setdefault("_predicted", {})
    if modality not in cache:
        prediction = context.predictions[modality]
        rows = np.asarray(prediction.rows, dtype=np.int64)
        if prediction.mean.shape[1] != context.truth.counts[modality].shape[1]:
            raise ValueError(
                f"{modality}: {prediction.mean.shape[1]} features predicted, {context.truth.counts[modality].shape[1]} withheld"
            )
        common, here, there = np.intersect1d(rows, context.truth.rows[modality], return_indices=True)
        if not len(common):
            raise NotApplicable(f"no observation has both a prediction of {modality} and withheld counts")
        mean = prediction.mean[here]
        deviation = None if prediction.deviation is None else prediction.deviation[here]
        if not np.isfinite(mean).all():
            raise ValueError(f"the prediction of {modality} holds NaN or infinite values")
        cache[modality] = Predicted(mean, context.truth.counts[modality][there].tocsr(), deviation, common)
    return cache[modality]


def _per_modality(function, only: tuple[str, ...] = (), needs_deviation: bool = False):
    """Apply `function(context, modality)` to each predicted modality; one part a modality."""

    def compute(context: Context) -> dict[str, float]:
        values, reasons = {}, []
        for modality in context.predicted:
            if only and modality not in only:
                continue
            try:
                if needs_deviation and predicted(context, modality).deviation is None:
                    raise NotApplicable(f"the model gives no standard deviation for {modality}")
                values[modality] = float(function(context, modality))
            except NotApplicable as reason:
                reasons.append(str(reason))
        if not values:
            raise NotApplicable("; ".join(reasons) or f"none of {', '.join(only)} was predicted")
        return values

    return compute


def _blocks(data: Predicted):
    """Yield (mean, observed) as dense float64 blocks of rows."""
    height = max(1, (1 << 22) // max(1, data.mean.shape[1]))
    for start in range(0, len(data.mean), height):
        stop = start + height
        yield data.mean[start:stop].astype(np.float64), data.observed[start:stop].toarray().astype(np.float64)


def rmse(context: Context, modality: str) -> float:
    """Root mean square error over all entries (multiDGD eq. 12)."""
    data = predicted(context, modality)
    return float(np.sqrt(sum(np.square(mean - seen).sum() for mean, seen in _blocks(data)) / data.mean.size))


def mae(context: Context, modality: str) -> float:
    """Mean absolute error over all entries."""
    data = predicted(context, modality)
    return float(sum(np.abs(mean - seen).sum() for mean, seen in _blocks(data)) / data.mean.size)


def _entries(context: Context, data: Predicted) -> np.ndarray | None:
    """Positions (raveled) of the entries that enter rank statistics; None for all."""
    if data.mean.size <= MAX_ENTRIES:
        return None
    rng = np.random.default_rng([context.seed, 6])
    return np.sort(rng.choice(data.mean.size, MAX_ENTRIES, replace=False))


def _take(matrix: np.ndarray | sp.csr_matrix, entries: np.ndarray | None) -> np.ndarray:
    """Entries of a matrix (dense or sparse) as one vector."""
    if entries is None:
        return (matrix.toarray() if sp.issparse(matrix) else matrix).ravel()
    if not sp.issparse(matrix):
        return matrix.ravel()[entries]
    row, column = np.divmod(entries, matrix.shape[1])
    result = np.empty(len(entries), dtype=matrix.dtype)
    height = max(1, (1 << 24) // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], height):
        first, last = np.searchsorted(row, [start, start + height])
        result[first:last] = matrix[start : start + height].toarray()[row[first:last] - start, column[first:last]]
    return result


def scaled_by_library(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Counts over their library size, times the median library size."""
    sums = np.asarray(counts.sum(axis=1)).ravel().astype(np.float64)
    middle = np.median(sums[sums > 0]) if np.any(sums > 0) else 1.0
    return (sp.diags(middle / np.where(sums > 0, sums, 1.0)) @ counts).tocsr()


def _reference(modality: str, counts: sp.csr_matrix) -> sp.csr_matrix:
    """Observed values as MultiVI compares them: expression scaled by library size, accessibility as 0 and 1."""
    if modality == "atac":
        binary = counts.copy()
        binary.data = (binary.data > 0).astype(np.float64)
        return binary
    return scaled_by_library(counts)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two long vectors, ties at their mean rank; NaN if one is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    first = average_ranks(first)
    second = average_ranks(second)
    first -= first.mean()
    second -= second.mean()
    return float(np.dot(first, second) / np.sqrt(np.dot(first, first) * np.dot(second, second)))


def _correlation(predicted: np.ndarray, observed: np.ndarray, what: str) -> float:
    """:func:`rank_correlation`; 0 of a constant prediction, which tells nothing of what varies.

    Raises
    ------
    NotApplicable
        If `what`, the observed side, is constant.
    """
    if np.ptp(observed) == 0:
        raise NotApplicable(f"{what} is constant: no rank correlation")
    return 0.0 if np.ptp(predicted) == 0 else rank_correlation(predicted, observed)


def spearman_observed(context: Context, modality: str) -> float:
    """Spearman's correlation of prediction and observed values over all entries together."""
    data = predicted(context, modality)
    entries = _entries(context, data)
    mean = _predicted_values(modality, data)
    return _correlation(
        _take(mean, entries),
        _take(_reference(modality, data.observed), entries),
        f"what was observed of {modality}",
    )


def _predicted_values(modality: str, data: Predicted) -> np.ndarray:
    """The prediction on the scale of :func:`_reference`."""
    if modality == "atac":
        return data.mean
    sums = data.mean.sum(axis=1, dtype=np.float64)
    middle = np.median(sums[sums > 0]) if np.any(sums > 0) else 1.0
    # In single precision: a prediction without any structure stays constant, where rounding would order its entries.
    return (data.mean * (middle / np.where(sums > 0, sums, 1.0))[:, None]).astype(np.float32)


def smoothing_space(modality: str, counts: sp.csr_matrix, seed: int = 0) -> np.ndarray:
    """Coordinates in which similar observations are found: 30 components of the observed counts.

    Expression and protein: principal components of log-normalised counts. Accessibility: latent semantic
    indexing (singular vectors of the TF-IDF of the binarised counts, scaled by singular values).
    """
    if modality != "atac":
        return principal_components(log_normalise(counts), SMOOTHING_COMPONENTS, seed)
    from scipy.sparse.linalg import svds

    binary = sp.csr_matrix(counts, dtype=np.float64)
    binary.data = (binary.data > 0).astype(np.float64)
    sums = np.asarray(binary.sum(axis=1)).ravel()
    found = np.asarray(binary.sum(axis=0)).ravel()
    frequency = sp.diags(1.0 / np.where(sums > 0, sums, 1.0)) @ binary
    tfidf = (frequency @ sp.diags(np.log1p(binary.shape[0] / (1.0 + found)))).tocsr()
    k = min(SMOOTHING_COMPONENTS, min(tfidf.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(tfidf.shape))
    left, singular, _ = svds(tfidf, k=k, v0=start)
    order = np.argsort(-singular)
    return left[:, order] * singular[order]


def smoothed(context: Context, modality: str) -> np.ndarray:
    """Observed values of the predicted observations, averaged over the 50 nearest cells among all with the modality.

    The neighbours are found among the predicted cells and the visible ones, by :func:`smoothing_space`. Each cell is
    there once, however many halves of it were predicted or seen, and is not among its own neighbours.

    Returns
    -------
    ndarray
        float32, predicted observations x features.
    """
    cache = context.__dict__.setdefault("_smoothed", {})
    if modality not in cache:
        data = predicted(context, modality)
        first, place = _cells(context, data.rows)
        counts = data.observed[first]
        if context.visible is not None and modality in context.visible.counts:
            counts = sp.vstack([counts, _visible_of_other_cells(context, modality, data.rows)], format="csr")
        if counts.shape[0] <= SMOOTHING_NEIGHBOURS or min(counts.shape) <= SMOOTHING_COMPONENTS:
            raise NotApplicable(
                f"too few cells or features of {modality} to smooth over {SMOOTHING_NEIGHBOURS} neighbours"
            )
        space = smoothing_space(modality, counts, context.seed)
        n = len(first)
        indices = pairwise_pass(space, SMOOTHING_NEIGHBOURS, rows=np.arange(n), threads=context.threads).indices
        average = sp.csr_matrix(
            (np.full(indices.size, 1.0 / indices.shape[1]), indices.ravel(), np.arange(n + 1) * indices.shape[1]),
            shape=(n, counts.shape[0]),
        )
        cache[modality] = np.asarray((average @ _reference(modality, counts)).toarray(), dtype=np.float32)[place]
    return cache[modality]


def _cells(context: Context, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `rows` of the first observation of each cell, and the position among these of each row's cell.

    With three modalities both halves of a cell that lack a modality are asked for the same counts.
    """
    if "cell" not in context.truth.obs:
        return np.arange(len(rows)), np.arange(len(rows))
    cell = encode(context.truth.obs["cell"]).codes[rows]
    # An observation without a cell is a cell of its own.
    cell = np.where(cell >= 0, cell, -1 - np.arange(len(rows)))
    _, first, inverse = np.unique(cell, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(first), dtype=np.int64)
    place[order] = np.arange(len(first))
    return first[order], place[inverse.ravel()]


def _visible_of_other_cells(context: Context, modality: str, rows: np.ndarray) -> sp.csr_matrix:
    """Visible counts of `modality` of the cells that have no observation in `rows`.

    The other half of a predicted cell carries the very counts that were withheld: with it, a cell would be its own
    nearest neighbour.
    """
    visible = context.visible
    if "cell" not in context.truth.obs:
        return visible.counts[modality]
    cell = encode(context.truth.obs["cell"]).codes
    foreign = ~np.isin(cell[visible.rows[modality]], cell[rows])
    return visible.counts[modality][foreign]


def spearman_smoothed(context: Context, modality: str) -> float:
    """Spearman's correlation of prediction and neighbour-smoothed observed values over all entries together."""
    data = predicted(context, modality)
    entries = _entries(context, data)
    return _correlation(
        _take(_predicted_values(modality, data), entries),
        _take(smoothed(context, modality), entries),
        f"what was observed of {modality}, smoothed,",
    )


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve, as average precision ``sum_n (R_n - R_{n-1}) P_n``; ties as one step."""
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.flatnonzero(np.r_[np.diff(score) != 0, True])
    hits = np.cumsum(truth)[last].astype(np.float64)
    if hits[-1] == 0:
        raise NotApplicable("no entry is positive: no precision-recall curve")
    precision = hits / (last + 1)
    return float(np.sum(np.diff(np.r_[0.0, hits]) * precision) / hits[-1])


def auprc(context: Context, modality: str) -> float:
    """Average precision of predicted accessibility against observed counts above zero."""
    data = predicted(context, modality)
    entries = _entries(context, data)
    return average_precision(_take(data.observed, entries) > 0, _take(data.mean, entries))


def _deviation_entries(context: Context, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """(error, predicted standard deviation) of the entries, float64."""
    data = predicted(context, modality)
    entries = _entries(context, data)
    observed = data.observed
    if modality == "atac":
        observed = _reference("atac", observed)
    error = _take(data.mean, entries).astype(np.float64) - _take(observed, entries)
    deviation = _take(data.deviation, entries).astype(np.float64)
    if not np.isfinite(deviation).all() or (deviation < 0).any():
        raise ValueError(f"the standard deviations of {modality} hold negative, NaN or infinite values")
    return error, deviation


def calibration_curve(context: Context, modality: str, bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Error against predicted deviation in bins of equal size: predicted_rms, error_rms, entries."""
    error, deviation = _deviation_entries(context, modality)
    return calibration_bins(error, deviation, bins)


def calibration_bins(error: np.ndarray, deviation: np.ndarray, bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Root mean squares of deviation and error in bins of equal size by deviation."""
    order = np.argsort(deviation, kind="stable")
    edges = np.linspace(0, len(order), min(bins, len(order)) + 1).astype(np.int64)
    sizes = np.diff(edges)
    return pd.DataFrame(
        {
            "modality_bin": np.arange(len(sizes)),
            "predicted_rms": np.sqrt(np.add.reduceat(np.square(deviation[order]), edges[:-1]) / sizes),
            "error_rms": np.sqrt(np.add.reduceat(np.square(error[order]), edges[:-1]) / sizes),
            "entries": sizes,
        }
    )


def calibration_error(context: Context, modality: str) -> float:
    """Sum over bins of |RMS error - RMS deviation|, over the sum of the RMS deviations."""
    curve = calibration_curve(context, modality)
    total = curve["predicted_rms"].sum()
    if total == 0:
        raise NotApplicable(f"all standard deviations of {modality} are zero")
    return float(np.abs(curve["error_rms"] - curve["predicted_rms"]).sum() / total)


def uncertainty_correlation(context: Context, modality: str) -> float:
    """Spearman's correlation of the squared error and the predicted deviation."""
    error, deviation = _deviation_entries(context, modality)
    return _correlation(deviation, np.abs(error), f"the error of {modality}")


def _column_correlations(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Pearson's correlation of log(1 + predicted) and log(1 + observed) for each pair of columns.

    NaN where what was observed is constant, 0 where only the prediction is. Predictions below 0 count as 0.
    """
    predicted = np.maximum(predicted, 0.0)
    told, asked = np.ptp(predicted, axis=0) > 0, np.ptp(observed, axis=0) > 0
    first, second = np.log1p(predicted), np.log1p(observed)
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    scale = np.sqrt(np.square(first).sum(axis=0) * np.square(second).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(told & (scale > 0), (first * second).sum(axis=0) / scale, 0.0)
    return np.where(asked, value, np.nan)


def feature_correlations(context: Context, modality: str) -> np.ndarray:
    """Pearson's correlation of log(1 + predicted) and log(1 + observed) over observations, one a feature."""
    data = predicted(context, modality)
    width = max(1, (1 << 22) // max(1, len(data.mean)))
    columns = data.observed.tocsc()
    return np.concatenate(
        [
            _column_correlations(
                data.mean[:, start : start + width].astype(np.float64),
                columns[:, start : start + width].toarray().astype(np.float64),
            )
            for start in range(0, data.mean.shape[1], width)
        ]
    )


def cell_correlations(context: Context, modality: str) -> np.ndarray:
    """Pearson's correlation of log(1 + predicted) and log(1 + observed) over features, one an observation."""
    data = predicted(context, modality)
    return np.concatenate([_column_correlations(mean.T, seen.T) for mean, seen in _blocks(data)])


def _median_of(function):
    def compute(context: Context, modality: str) -> float:
        values = function(context, modality)
        if np.isnan(values).all():
            raise NotApplicable(f"every correlation of {modality} is undefined: what was observed is constant")
        return float(np.nanmedian(values))

    return compute


def distributions(context: Context, modality: str) -> pd.DataFrame:
    """Quantiles of the per-feature and per-cell correlations: per, quantile, correlation."""
    at = np.linspace(0, 1, 101)
    pieces = []
    for per, values in (
        ("feature", feature_correlations(context, modality)),
        ("cell", cell_correlations(context, modality)),
    ):
        if not np.isnan(values).all():
            pieces.append(pd.DataFrame({"per": per, "quantile": at, "correlation": np.nanquantile(values, at)}))
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=["per", "quantile", "correlation"])


_SAMPLED = (
    " One row a modality (name_rna, name_atac, name_protein). Above 20 million entries a random sample of so many."
)
_ROWS = " One row a modality (name_rna, name_atac, name_protein)."


def _metric(name: str, title: str, function, range_, direction, paper, equation, description, **options) -> Metric:
    needs = ("prediction", "deviation") if options.get("needs_deviation") else ("prediction",)
    scale = options.pop("scale", None)
    return Metric(
        name=name,
        title=title,
        family="prediction",
        compute=_per_modality(function, **options),
        range=range_,
        direction=direction,
        group="prediction",
        needs=needs,
        paper=paper,
        equation=equation,
        description=description,
        scale=scale,
    )


_INF = float("inf")
_IMPUTATION = MULTIVI + ", imputation"

METRICS = [
    _metric(
        "prediction_rmse",
        "RMSE",
        rmse,
        (0.0, _INF),
        "lower",
        MULTIDGD + ", eq. 12",
        "sqrt(mean_{i,j} (x_ij - xhat_ij)^2)",
        "Error of the predicted mean on raw withheld counts, over all entries. A model that predicts probabilities of accessibility is compared with counts all the same: read AUPRC for it."
        + _ROWS,
    ),
    _metric(
        "prediction_mae",
        "MAE",
        mae,
        (0.0, _INF),
        "lower",
        MULTIDGD,
        "mean_{i,j} |x_ij - xhat_ij|",
        "Absolute error of the predicted mean on raw withheld counts, over all entries." + _ROWS,
    ),
    _metric(
        "prediction_spearman",
        "Spearman, observed",
        spearman_observed,
        (-1.0, 1.0),
        "higher",
        _IMPUTATION,
        "Spearman(xhat, x) over all entries together",
        "Observed expression and protein are scaled by library size, accessibility is binarised; predictions of "
        "expression and protein are scaled by their own sum in the same way. A constant prediction scores 0."
        + _SAMPLED,
        scale=lambda value: value,
    ),
    _metric(
        "prediction_spearman_smoothed",
        "Spearman, smoothed",
        spearman_smoothed,
        (-1.0, 1.0),
        "higher",
        MULTIVI + ", Methods, Expression smoothing and Accessibility smoothing",
        "Spearman(xhat, mean of x over the 50 nearest in 30 components) over all entries together",
        "The observed values are averaged over the 50 nearest cells (itself not among them) in 30 principal components "
        "(accessibility: latent semantic indexing) of withheld and visible counts together, each cell once." + _SAMPLED,
        scale=lambda value: value,
    ),
    _metric(
        "prediction_auprc",
        "AUPRC",
        auprc,
        (0.0, 1.0),
        "higher",
        MULTIDGD + "; " + _IMPUTATION,
        "sum_n (R_n - R_{n-1}) P_n over all entries, positive where the observed count is above 0",
        "Average precision of predicted accessibility. Chance is the share of open entries. Equals "
        "sklearn.metrics.average_precision_score." + _SAMPLED,
        only=("atac",),
    ),
    _metric(
        "prediction_calibration_error",
        "Calibration error",
        calibration_error,
        (0.0, _INF),
        "lower",
        MULTIVI + ", Fig. 4c; after the expected normalised calibration error: Levi et al. 2022, Sensors 22:5540",
        "sum_b |RMS error_b - RMS deviation_b| / sum_b RMS deviation_b over 20 bins b of equal size by deviation",
        "How far the error departs from the predicted standard deviation (accessibility: against 0 and 1); the curve, "
        "which is in no file, is given by `benchmarks.metrics.score.details`. Levi et al. divide in each bin, which leaves no value where a model is certain of some "
        "entries (a deviation of zero) and rounding decides where it is nearly so: here sums are divided." + _SAMPLED,
        needs_deviation=True,
    ),
    _metric(
        "prediction_uncertainty_correlation",
        "Error ~ deviation",
        uncertainty_correlation,
        (-1.0, 1.0),
        "higher",
        MULTIVI + ", Fig. 4c",
        "Spearman(|xhat - x|, predicted deviation) over all entries together",
        "Whether the model is more uncertain where it is more wrong." + _SAMPLED,
        needs_deviation=True,
        scale=lambda value: value,
    ),
    _metric(
        "prediction_feature_correlation",
        "Median correlation by feature",
        _median_of(feature_correlations),
        (-1.0, 1.0),
        "higher",
        "NeurIPS 2021 task, predict modality (Lance et al. 2022)",
        "median over features of Pearson(log(1 + xhat), log(1 + x)) over observations",
        "Features of constant counts are left out, a constant prediction of a feature counts as 0; quantiles, "
        "which are in no file, are given by `benchmarks.metrics.score.details`." + _ROWS,
        scale=lambda value: value,
    ),
    _metric(
        "prediction_cell_correlation",
        "Median correlation by cell",
        _median_of(cell_correlations),
        (-1.0, 1.0),
        "higher",
        "NeurIPS 2021 task, predict modality (Lance et al. 2022)",
        "median over observations of Pearson(log(1 + xhat), log(1 + x)) over features",
        "Observations of constant counts are left out, a constant prediction of one counts as 0; quantiles, "
        "which are in no file, are given by `benchmarks.metrics.score.details`." + _ROWS,
        scale=lambda value: value,
    ),
]
"""The prediction metrics."""
