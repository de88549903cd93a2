"""What unpaired cells are worth, against surfaces with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import InputError
from benchmarks.statistics.exchange import exchange, fit_surface
from benchmarks.statistics.fitting import intervals

N = np.repeat([500.0, 1000.0, 2500.0, 5000.0], 5)
U = np.tile([0.0, 0.25, 0.5, 0.75, 0.95], 4)


def worth(w):
    """A truth in which an unpaired cell counts as `w` paired ones."""
    return lambda paired, unpaired: 0.9 - 8 * (paired + w * unpaired) ** -0.6


def shifted(paired, unpaired):
    """Parallel curves: a tilt with the fraction, whatever the size."""
    return 0.9 - 8 * (paired + unpaired) ** -0.6 - 0.05 * unpaired / (paired + unpaired)


def surface(truth, noise=0.0, replicates=4, seed=0, n=N, u=U):
    """Fit to noisy replicates of a truth."""
    values = truth(n * (1 - u), n * u) + np.random.default_rng(seed).normal(0, noise, (replicates, len(n)))
    return fit_surface(n, u, values)


@pytest.mark.parametrize("w", [0.0, 0.3, 0.77, 1.3])
def test_an_exact_exchange_is_recovered(w):
    fitted = surface(worth(w))
    assert fitted.form == "exchange"
    assert fitted.worth(1250.0, 1250.0, False)[0] == pytest.approx(w, abs=2e-3)
    assert fitted.value(2000.0, 700.0)[0] == pytest.approx(worth(w)(2000.0, 700.0), abs=1e-4)


def test_worth_and_replacement_by_hand():
    # Half of 1,000 paired cells are missing: 500 / 0.4 = 1,250 unpaired ones make up for them.
    fitted = surface(worth(0.4))
    assert fitted.replacement(1000.0, False)[0] == pytest.approx(1250, rel=5e-3)
    # At 5,000 they would be 6,250 with 2,500: less than twice the largest size. With w = 0.1 they would be 25,000.
    assert fitted.replacement(5000.0, False)[0] == pytest.approx(6250, rel=5e-3)
    assert np.isinf(surface(worth(0.1)).replacement(5000.0, False)[0])
    # Parallel curves: dy/dP and dy/dU by the chain rule.
    n = 2500.0
    steep, tilt = 4.8 * n**-1.6, -0.05
    expected = (steep + tilt * 0.5 / n) / (steep - tilt * 0.5 / n)
    fitted = surface(shifted)
    assert fitted.form == "shift"
    assert fitted.worth(n / 2, n / 2, False)[0] == pytest.approx(expected, abs=2e-3)


def test_other_forms():
    assert surface(lambda paired, unpaired: 0.9 - 8 * (paired + unpaired) ** -0.6).form == "cells"
    assert surface(lambda paired, unpaired: 0.5 + 0 * paired).form == "flat"
    # With a little noise: without any, rounding alone decides between a form and those that contain it.
    by_fraction = surface(lambda paired, unpaired: 0.5 - 0.1 * unpaired / (paired + unpaired), noise=0.002)
    assert by_fraction.form == "fraction"
    assert surface(lambda p, u: shifted(p, u) - 0.2 * (u / (p + u)) ** 2).form == "curved shift"


def test_nothing_to_exchange():
    flat = surface(lambda paired, unpaired: 0.5 + 0 * paired)
    assert np.isnan(flat.worth(1000.0, 1000.0, False)).all()
    falling = surface(lambda paired, unpaired: 0.5 + 8 * (paired + 0.3 * unpaired) ** -0.6)
    assert np.isnan(falling.worth(1000.0, 1000.0, False)[0])
    # The same surface of a metric of which lower is better.
    assert falling.worth(1000.0, 1000.0, True)[0] == pytest.approx(0.3, abs=2e-3)


@pytest.mark.parametrize(("noise", "replicates"), [(0.005, 10), (0.02, 10)])
def test_coverage_of_the_worth(noise, replicates):
    """100 studies of ten replicates. A nominal 0.95 has a standard error of 0.022; three of them below are allowed."""
    held = 0
    for seed in range(100):
        fitted = surface(worth(0.3), noise, replicates, seed)
        draws = fitted.worth(1250.0, 1250.0, False)
        (low,), (high,) = intervals(draws, fitted.fits.probabilities, replicates)
        held += low <= 0.3 <= high
    assert held / 100 >= 0.95 - 3 * 0.022


def test_equal_cells_are_rarely_called_unequal():
    """100 studies in which unpaired cells count as paired ones: the interval leaves out 1 in 5 % of them or so."""
    excluded = 0
    for seed in range(100):
        fitted = surface(worth(1.0), 0.01, 6, seed)
        (low,), (high,) = intervals(fitted.worth(1250.0, 1250.0, False), fitted.fits.probabilities, 6)
        excluded += not low <= 1.0 <= high
    assert excluded / 100 <= 0.05 + 3 * 0.022


def test_what_cannot_be_fitted():
    with pytest.raises(InputError, match="1 unpaired fraction with"):
        surface(worth(0.3), n=N[U == 0], u=U[U == 0])
    with pytest.raises(InputError, match="2 sizes"):
        surface(worth(0.3), n=N[N < 2000], u=U[N < 2000])
    # Size and fraction change together: their parts cannot be told apart.
    n, u = np.array([500.0, 1000, 2000, 4000, 8000, 16000]), np.linspace(0, 0.5, 6)
    diagonal = np.exp(u * 5) * 100
    with pytest.raises(InputError, match="apart from each other"):
        surface(worth(0.3), n=diagonal[:6], u=np.log(diagonal[:6]) / 20)
    with pytest.raises(InputError, match="apart from each other"):
        surface(worth(0.3), n=n[:4], u=u[:4])


def test_nothing_is_read_outside():
    fitted = surface(worth(0.3))
    value = fitted.value(
        np.array([250.0, 249.0, 10000.0, 10001.0, 10.0, 500.0]), np.array([0.0, 0.0, 0.0, 0.0, 990.0, 500.0])
    )
    assert np.isnan(value).tolist() == [False, True, False, True, True, False]


def test_a_design_without_paired_cells():
    u = np.where(U == 0.95, 1.0, U)
    fitted = surface(worth(0.3), u=u)
    assert fitted.form == "exchange" and fitted.worth(1250.0, 1250.0, False)[0] == pytest.approx(0.3, abs=5e-3)


@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-5, 5))
@settings(max_examples=10, deadline=None)
def test_units_and_order_do_not_matter(seed, factor, shift):
    generator = np.random.default_rng(seed)
    values = worth(0.4)(N * (1 - U), N * U) + generator.normal(0, 0.003, (4, len(N)))
    order = generator.permutation(len(N))
    first = fit_surface(N, U, values)
    second = fit_surface(N[order], U[order], factor * values[:, order] + shift)
    assert second.form == first.form
    assert second.worth(1000.0, 1000.0, False)[0] == pytest.approx(first.worth(1000.0, 1000.0, False)[0], abs=5e-3)


def exchange_scores(make, truth, noise=0.002, replicates=6, models=("pca",)):
    """Tidy scores over the grid."""
    generator = np.random.default_rng(0)
    parts = []
    for n, u in zip(N, U):
        rows = [
            (model, "nmi_leiden", replicate, truth(n * (1 - u), n * u) + generator.normal(0, noise))
            for model in models
            for replicate in range(replicates)
        ]
        parts.append(make.scores(rows, n_cells=int(n), unpaired_fraction=u, design=f"n{n:g}-u{u:g}"))
    return pd.concat(parts, ignore_index=True)


def test_the_table(make):
    table = exchange(exchange_scores(make, worth(0.3)), None, make.metrics)
    assert table["n_cells"].tolist() == [500, 1000, 2500, 5000] and set(table["unpaired_fraction"]) == {0.5}
    assert (table["form"] == "exchange").all() and (
        table["verdict"] == "an unpaired cell helps, less than a paired one"
    ).all()
    assert ((table["worth_low"] <= 0.3) & (table["worth_high"] >= 0.3)).all() and (table["r2"] > 0.95).all()
    row = table.iloc[1]
    assert row["replacement_low"] <= 500 / 0.3 <= row["replacement_high"]


def test_the_table_says_what_it_cannot(make):
    flat = exchange(exchange_scores(make, lambda paired, unpaired: 0.5), None, make.metrics)
    assert flat["worth"].isna().all() and set(flat["verdict"]) == {
        "more paired cells do not resolvably improve the score"
    }
    harm = exchange(exchange_scores(make, lambda p, u: shifted(p, u) - 0.3 * u / (p + u)), None, make.metrics)
    assert set(harm["verdict"]) == {"unpaired cells harm the score"} and (harm["worth_high"] < 0).all()
    assert np.isinf(harm["replacement"].iloc[-1])
    scores = exchange_scores(make, worth(0.3))
    one = exchange(scores[scores["unpaired_fraction"] == 0], None, make.metrics)
    assert one["status"].tolist() == ["not fitted"]
    for replicates in (1, 2):
        few = exchange(scores[scores["replicate"] < replicates], None, make.metrics)
        assert few["worth"].notna().all() and few["worth_low"].isna().all() and few["replacement_high"].isna().all()
        assert set(few["verdict"]) == {"fewer than three replicates: no interval"}
    assert exchange(scores[scores["replicate"] < 3], None, make.metrics)["worth_low"].notna().all()


def test_chance_that_falls_with_observations_harms_nobody(make):
    """NMI of random numbers falls as observations are added; what the model adds to it does not depend on unpaired cells."""

    def chance(paired, unpaired):
        return 0.8 * (100 / (paired + 2 * unpaired)) ** 0.5

    def truth(paired, unpaired):
        above = 0.4 - paired**-0.5
        return chance(paired, unpaired) + above * (1 - chance(paired, unpaired))

    model = exchange_scores(make, truth)
    raw = exchange(model, None, make.metrics)
    assert set(raw["scale"]) == {"measured"} and not (raw["worth"] > -1).any()
    controls = [
        exchange_scores(make, level, noise=0.0, models=(name,))
        for name, level in (("random", chance), ("oracle", lambda paired, unpaired: 1.0))
    ]
    table = exchange(pd.concat([model, *controls], ignore_index=True), None, make.metrics)
    assert set(table["model"]) == {"pca"} and set(table["scale"]) == {"between controls"}
    assert table["worth"].to_numpy() == pytest.approx(0, abs=0.01)


def test_order_of_rows_does_not_matter(make):
    scores = exchange_scores(make, worth(0.3), models=("pca", "wnn"))
    pd.testing.assert_frame_equal(
        exchange(scores, None, make.metrics), exchange(scores.sample(frac=1, random_state=5), None, make.metrics)
    )
