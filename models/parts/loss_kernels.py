"""Loops over cells and features of the count losses, compiled by numba: each matrix is walked over once.

The matrices lie features x cells. Inner loops run over the cells without a branch, so that they become vector
instructions. A logarithm is not taken for each factor of a likelihood: the factors of a cell are multiplied, and
the powers of two are counted apart, so that the product neither overflows nor underflows.
"""

from __future__ import annotations

import numba
import numpy as np

from models.parts.vector_math import LOOP, ONE, exp, exponent_of, log, log1p, mantissa_of

_ZERO = np.float32(0)
_LARGEST_LOGIT = np.float32(80)
"""Logits beyond this count as this; the exponential stays within float32."""
_SMALLEST = np.float32(2.0**-126)
"""Smallest normal number, the floor of a factor of the likelihood (log: -87)."""
_EPSILON = np.float32(1e-8)
_BLOCK = 64
"""Features whose sums are gathered in float32 before they are added to a larger sum in float64."""


@numba.njit(**LOOP)
def _clamped(x):
    x = -_LARGEST_LOGIT if x < -_LARGEST_LOGIT else x
    return _LARGEST_LOGIT if x > _LARGEST_LOGIT else x


@numba.njit(**LOOP)
def _add_logarithms(products, exponents, loss, sums):
    """Subtract log(product 2^exponent) from `loss`; NaN where `sums` is NaN, which the product hides."""
    for cell in range(len(loss)):
        loss[cell] -= np.log(np.float64(products[cell])) + exponents[cell] * np.log(2.0)
        if sums[cell] != sums[cell]:
            loss[cell] = np.nan


@numba.njit(**LOOP)
def factored_bernoulli(logits, bias, region, offsets, rows, factor, row_weights, loss, by_factor, by_bias, by_region):
    """Some features of :class:`models.parts.output_losses._FactoredBernoulli`.

    Parameters
    ----------
    logits
        float32, n_features x n_rows, without bias; becomes their gradient, times the weight of the row.
    bias, region
        float32, n_features; region is r.
    offsets, rows
        int64; feature ``j`` is open in ``rows[offsets[j]:offsets[j + 1]]``.
    factor, row_weights
        float32, n_rows; l, below one.
    loss
        float64, n_rows; the loss of each row is added.
    by_factor
        float64, n_rows; its gradient by log l is added, without the row's weight.
    by_bias, by_region
        float32, n_features; the gradients by the bias, and by logit r over 1 - r, are written.
    """
    n_features, n_rows = logits.shape
    products, exponents = np.ones(n_rows, np.float32), np.zeros(n_rows, np.int32)
    is_open, sums = np.zeros(n_rows, np.float32), np.zeros(n_rows, np.float32)
    for feature in range(n_features):
        for entry in range(offsets[feature], offsets[feature + 1]):
            is_open[rows[entry]] = ONE
        r, shift = region[feature], bias[feature]
        bias_sum, region_sum = _ZERO, _ZERO
        row = logits[feature]
        for cell in range(n_rows):
            # With e = exp(-a): p = 1 / (1 + e), 1 - p = e p, q = l r p, and 1 - q = (1 - l r + e) p.
            e = exp(-_clamped(row[cell] + shift))
            p = ONE / (ONE + e)
            both = factor[cell] * r
            rest = (ONE - both) + e
            opened = is_open[cell] > _ZERO
            probability = (both if opened else rest) * p
            odds = -ONE if opened else both / rest
            gradient = odds * e * p * row_weights[cell]
            row[cell] = gradient
            bias_sum += gradient
            region_sum += odds * row_weights[cell]
            sums[cell] += odds
            product = products[cell] * (_SMALLEST if probability < _SMALLEST else probability)
            exponents[cell] += exponent_of(product)
            products[cell] = mantissa_of(product)
        by_bias[feature], by_region[feature] = bias_sum, region_sum
        for entry in range(offsets[feature], offsets[feature + 1]):
            is_open[rows[entry]] = _ZERO
        if (feature + 1) % _BLOCK == 0 or feature + 1 == n_features:
            for cell in range(n_rows):
                by_factor[cell] += sums[cell]
                sums[cell] = _ZERO
    _add_logarithms(products, exponents, loss, by_factor)


@numba.njit(**LOOP)
def _shift_to_series(z):
    """A number from 7 on, and what lgamma and digamma lose on the way there."""
    log_product, reciprocals = 0.0, 0.0
    while z < 7:
        log_product += np.log(z)
        reciprocals += 1 / z
        z += 1
    return z, log_product, reciprocals


@numba.njit(**LOOP)
def _rising_by_series(x, theta):
    """lgamma(x + theta) - lgamma(theta) and its derivative by theta, by Stirling's series and its derivative."""
    value, derivative = 0.0, 0.0
    for sign, start in ((1.0, np.float64(x) + theta), (-1.0, np.float64(theta))):
        z, log_product, reciprocals = _shift_to_series(start)
        inverse, log_z = 1 / z, np.log(z)
        square = inverse * inverse
        series = inverse * (1 / 12 - square * (1 / 360 - square / 1260))
        value += sign * ((z - 0.5) * log_z - z + series - log_product)
        by_z = log_z - 0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square / 252))
        derivative += sign * (by_z - reciprocals)
    return np.float32(value), np.float32(derivative)


@numba.njit(**LOOP)
def exponentials(logits, bias):
    """Replace `logits` (float32, n_features x n_rows) by exp(logits + bias - largest of the row); their sums."""
    n_features, n_rows = logits.shape
    largest = np.full(n_rows, -np.inf, np.float32)
    for feature in range(n_features):
        row, shift = logits[feature], bias[feature]
        for cell in range(n_rows):
            value = row[cell] + shift
            # A NaN may be lost here; it is found again in the sum below.
            largest[cell] = largest[cell] if largest[cell] > value else value
    totals, sums = np.zeros(n_rows), np.zeros(n_rows, np.float32)
    for feature in range(n_features):
        row, shift = logits[feature], bias[feature]
        for cell in range(n_rows):
            value = exp(_clamped(row[cell] + shift - largest[cell]))
            row[cell] = value
            sums[cell] += value
        if (feature + 1) % _BLOCK == 0 or feature + 1 == n_features:
            for cell in range(n_rows):
                totals[cell] += sums[cell]
                sums[cell] = _ZERO
    return totals.astype(np.float32)


@numba.njit(**LOOP)
def zero_inflated_negative_binomial(
    gate,
    gate_bias,
    ratios,
    scales,
    theta,
    offsets,
    rows,
    values,
    rising,
    rising_derivative,
    row_weights,
    by_scale,
    loss,
    by_library,
    by_gate_bias,
    by_dispersion,
):
    """The loop of :class:`models.parts.output_losses._ZeroInflatedNegativeBinomial`, whose names these are.

    Parameters
    ----------
    gate
        float32, n_features x n_rows, logits without bias; becomes their gradient, times the weight of the row.
    gate_bias, theta
        float32, n_features.
    ratios
        float32, n_features x n_rows; gene frequencies times any number of the row.
    scales
        float32, n_rows; `ratios` times this is the mean mu.
    offsets, rows, values
        The counts by feature.
    rising, rising_derivative
        float32, n_features x (K + 1): lgamma(x + theta) - lgamma(theta) and its derivative by theta for x = 0 to K;
        other counts, beyond K or not whole, are computed by series.
    row_weights
        float32, n_rows.
    by_scale
        float32, n_features x n_rows; becomes the gradient by the logits of the frequencies, times the row's weight.
    loss
        float64, n_rows; the loss of each row is added, without log x!.
    by_library
        float64, n_rows, zeros; the derivative of the log likelihood by log library is added.
    by_gate_bias, by_dispersion
        float32, n_features; gradients are written, the latter by log theta.
    """
    n_features, n_rows = gate.shape
    products, exponents = np.ones(n_rows, np.float32), np.zeros(n_rows, np.int32)
    counts, risings, derivatives = np.zeros((3, n_rows), np.float32)
    sums, log_sums = np.zeros(n_rows, np.float32), np.zeros(n_rows, np.float32)
    largest = rising.shape[1] - 1
    for feature in range(n_features):
        for entry in range(offsets[feature], offsets[feature + 1]):
            cell = rows[entry]
            x = values[entry]
            counts[cell] = x
            if x <= largest and x == np.floor(x):
                risings[cell], derivatives[cell] = rising[feature, int(x)], rising_derivative[feature, int(x)]
            else:
                risings[cell], derivatives[cell] = _rising_by_series(x, theta[feature])
        dispersion, shift = theta[feature], gate_bias[feature]
        divisor = dispersion + _EPSILON
        inverse = ONE / divisor
        share, floor = dispersion * inverse, _EPSILON * inverse
        gate_sum, theta_sum = _ZERO, _ZERO
        gate_row, ratio_row, scale_row = gate[feature], ratios[feature], by_scale[feature]
        for cell in range(n_rows):
            x, weight = counts[cell], row_weights[cell]
            counted = x > _ZERO
            t = ratio_row[cell] * scales[cell] * inverse
            log_ratio = log1p(t)
            left = ONE / (ONE + t)
            k = t * left
            logit = _clamped(gate_row[cell] + shift)
            inflated = _clamped(logit + dispersion * log_ratio)
            e_a, e_b = exp(-logit), exp(-inflated)
            a, b = ONE / (ONE + e_a), ONE / (ONE + e_b)
            # A zero has the probability a / b, a count 1 - a = a exp(-gate) times the NB's.
            factor = a * (e_a if counted else ONE + e_b)
            log_mean = log(t + floor)
            of_count = dispersion * log_ratio - x * (log_mean - log_ratio) - risings[cell]
            log_sums[cell] += of_count if counted else _ZERO
            product = products[cell] * (_SMALLEST if factor < _SMALLEST else factor)
            exponents[cell] += exponent_of(product)
            products[cell] = mantissa_of(product)
            not_inflated = ONE if counted else e_b * b
            by_gate = (a if counted else a - b) * weight
            gate_row[cell] = by_gate
            gate_sum += by_gate
            theta_sum += weight * (not_inflated * (share * k - log_ratio) + derivatives[cell] - x * left * inverse)
            # floor / (t + floor) is what the 1e-8 in the logarithm leaves of the derivative of log mu.
            by_log_mean = x * (t / (t + floor) - k) - dispersion * k * not_inflated
            scale_row[cell] = by_log_mean
            sums[cell] += by_log_mean
        by_gate_bias[feature], by_dispersion[feature] = gate_sum, -theta_sum * dispersion
        for entry in range(offsets[feature], offsets[feature + 1]):
            cell = rows[entry]
            counts[cell], risings[cell], derivatives[cell] = _ZERO, _ZERO, _ZERO
        if (feature + 1) % _BLOCK == 0 or feature + 1 == n_features:
            for cell in range(n_rows):
                by_library[cell] += sums[cell]
                loss[cell] += log_sums[cell]
                sums[cell], log_sums[cell] = _ZERO, _ZERO
    _add_logarithms(products, exponents, loss, by_library)


@numba.njit(**LOOP)
def through_softmax(by_scale, ratios, totals, by_library, row_weights, by_scale_bias):
    """Turn the derivative by log mu (`by_scale`, in place) into the weighted gradient by the frequencies' logits."""
    n_features, n_rows = by_scale.shape
    shares = (by_library / totals).astype(np.float32)
    for feature in range(n_features):
        row, ratio_row, total = by_scale[feature], ratios[feature], _ZERO
        for cell in range(n_rows):
            gradient = (ratio_row[cell] * shares[cell] - row[cell]) * row_weights[cell]
            row[cell] = gradient
            total += gradient
        by_scale_bias[feature] = total
