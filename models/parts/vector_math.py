"""exp and log of float32 numbers in plain arithmetic, so that numba makes vector instructions of a loop over them.

The mathematics library computes one number a call. Here range reduction is done on the bits of the number and a
polynomial does the rest (W. J. Cody and W. Waite 1980, Software Manual for the Elementary Functions); both are within
1e-7 of the exact value, relatively.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LOOP = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"contract", "reassoc", "nsz"},
}
"""How loops are compiled: sums may be reordered, but NaN stays NaN."""
_PRECISE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""Sums here must not be reordered, unlike those of the loops that call these functions."""

ONE = np.float32(1)
_HALF = np.float32(0.5)
_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, the first one exact when multiplied by an exponent.
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUNDER = np.float32(1.5 * 2**23)
"""Adding this leaves the nearest integer in the lowest bits of a number."""
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720, 5040))
_SHIFT, _BIAS = np.int32(23), np.int32(127)
_MANTISSA, _BITS_OF_ONE = np.int32(2**23 - 1), np.int32(127 << 23)
_BITS_OF_ROOT_HALF = np.int32(np.float32(0.5**0.5).view(np.int32))


def _least_squares_log() -> tuple[np.float32, ...]:
    """Coefficients, highest power first, of P in log(1 + f) = f - f^2 / 2 + f^3 P(f), sqrt(1/2) - 1 <= f < sqrt(2) - 1.

    Fitted at Chebyshev's points, which is within a fraction of the best polynomial.
    """
    low, high = 0.5**0.5 - 1, 2**0.5 - 1
    points = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    values = (np.log1p(points) - points + points**2 / 2) / points**3
    return tuple(np.float32(value) for value in np.polyfit(points, values, 8))


_L8, _L7, _L6, _L5, _L4, _L3, _L2, _L1, _L0 = _least_squares_log()


@intrinsic
def bits_of(context, value):
    """The 32 bits of a float32, as an int32."""

    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), build


@intrinsic
def from_bits(context, value):
    """The float32 of 32 bits, an int32."""

    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), build


@numba.njit(**_PRECISE)
def exp(x):
    """e^x for a float32 from -87 to 88; NaN for NaN."""
    rounded = x * _LOG2_E + _ROUNDER
    exponent = bits_of(rounded) - bits_of(_ROUNDER)
    multiple = rounded - _ROUNDER
    r = (x - multiple * _LN2_HIGH) - multiple * _LN2_LOW
    series = (((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r * r + r + ONE
    return series * from_bits((exponent + _BIAS) << _SHIFT)


@numba.njit(**_PRECISE)
def log(x):
    """Natural logarithm of a normal positive float32."""
    shifted = bits_of(x) - _BITS_OF_ROOT_HALF
    exponent = np.float32(shifted >> _SHIFT)
    f = from_bits((shifted & _MANTISSA) + _BITS_OF_ROOT_HALF) - ONE
    square = f * f
    series = (((((((_L8 * f + _L7) * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    return (series * f * square + exponent * _LN2_LOW - _HALF * square) + f + exponent * _LN2_HIGH


@numba.njit(**_PRECISE)
def log1p(x):
    """log(1 + x) for a float32 x >= 0, exact for small ones as well."""
    total = ONE + x
    return log(total) + (x - (total - ONE)) / total


@numba.njit(**_PRECISE)
def exponent_of(x):
    """The power of two in a normal positive float32, an int32."""
    return (bits_of(x) >> _SHIFT) - _BIAS


@numba.njit(**_PRECISE)
def mantissa_of(x):
    """A normal positive float32 without its power of two, in [1, 2)."""
    return from_bits((bits_of(x) & _MANTISSA) | _BITS_OF_ONE)
