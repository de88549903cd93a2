"""exp and log that compiled loops use, against numpy's in float64."""

import numpy as np
import pytest

from models.parts import vector_math

RNG = np.random.default_rng(0)


def applied(function, values):
    return np.array([function(value) for value in values], np.float64)


def test_exp_is_right_to_a_few_units_in_the_last_place_over_its_range():
    values = np.concatenate((RNG.uniform(-87, 88, 2000), RNG.uniform(-1, 1, 500), [0, -87, 88])).astype(np.float32)
    np.testing.assert_allclose(applied(vector_math.exp, values), np.exp(values.astype(np.float64)), rtol=2e-7)
    assert np.isnan(vector_math.exp(np.float32("nan")))


def test_log_is_right_to_a_few_units_in_the_last_place_and_near_one_too():
    smallest = np.finfo(np.float32).tiny
    values = np.exp(np.concatenate((RNG.uniform(-87, 88, 2000), RNG.uniform(-1e-3, 1e-3, 500)))).astype(np.float32)
    values = np.concatenate((values, np.array([1, smallest, 0.5**0.5, 2**0.5], np.float32)))
    np.testing.assert_allclose(applied(vector_math.log, values), np.log(values.astype(np.float64)), rtol=2e-7)


def test_log1p_keeps_small_numbers():
    values = np.exp(RNG.uniform(-30, 20, 2000)).astype(np.float32)
    np.testing.assert_allclose(applied(vector_math.log1p, values), np.log1p(values.astype(np.float64)), rtol=3e-7)


@pytest.mark.parametrize("value", [1.0, 1.5, 2.0, 3e-38, 6.5e37])
def test_exponent_and_mantissa_make_up_the_number(value):
    value = np.float32(value)
    mantissa = vector_math.mantissa_of(value)
    assert 1 <= mantissa < 2
    assert np.float64(mantissa) * 2.0 ** vector_math.exponent_of(value) == value
