"""Learning curves against curves with known answers, and what they refuse to say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import InputError
from benchmarks.metrics.registry import METRICS
from benchmarks.statistics.fitting import aicc, intervals, samples
from benchmarks.statistics.learning_curves import (
    EXPONENTS,
    curve_table,
    fit_all,
    fit_curve,
    learning_curves,
    plateau_table,
    position,
    references,
)
from benchmarks.statistics.units import bounds_of, usable_units

SIZES = np.array([500, 1000, 2500, 5000, 10000.0])


def power(n):
    """The truth of most tests: plateau 0.9, within 5 % of it from (8 / 0.045)^(1 / 0.6) = 5,621 cells."""
    return 0.9 - 8 * n**-0.6


def replicated(truth, noise, replicates, seed=0, sizes=SIZES):
    """Noisy replicates of a curve."""
    return truth(sizes) + np.random.default_rng(seed).normal(0, noise, (replicates, len(sizes)))


def tables(units):
    """Curves and plateaus of units without controls."""
    series = fit_all(units)
    return curve_table(series), plateau_table(series, pd.Series(dtype=float))


def curve_scores(make, truth, noise=0.01, replicates=5, metric="nmi_leiden", sizes=SIZES, fraction=0.5, seed=0):
    """Tidy scores of one model along the sizes."""
    values = replicated(truth, noise, replicates, seed, sizes)
    parts = [
        make.scores(
            [("pca", metric, replicate, value) for replicate, value in enumerate(column)],
            n_cells=int(n), unpaired_fraction=fraction, design=f"n{n:g}-u{fraction}",
        )
        for n, column in zip(sizes, values.T)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_position_by_hand():
    assert position(np.array([1.0, 2.0, 4.0]), 1.0, 2.0) == pytest.approx([-1.0, 0.0, 0.5])
    assert position(np.array([1.0, 2.0]), 0.0, 1.0) == pytest.approx([0.0, np.log(2)])
    assert position(3.0, 1e-7, 1.0) == pytest.approx(np.log(3), rel=1e-6)


def test_aicc_by_hand():
    # 10 ln(2 / 10) + 2 * 3 + 2 * 3 * 4 / (10 - 3 - 1)
    assert aicc(np.array(2.0), 10, 3) == pytest.approx(10 * np.log(0.2) + 6 + 4)
    assert np.isinf(aicc(np.array(2.0), 4, 3))


@pytest.mark.parametrize("exponent", [0.1, 0.37, 1.0, 2.9])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_exact_power_law_is_recovered(exponent, sign):
    a, b = 0.7, sign * 3.0
    curve = fit_curve(SIZES, np.tile(a - b * SIZES**-exponent, (4, 1)))
    assert curve.form == "power law"
    assert curve.exponents[0] == pytest.approx(exponent, rel=2e-3)
    assert curve.plateaus[0] == pytest.approx(a, abs=2e-3)
    at = np.array([250.0, 700.0, 20000.0])
    value, low, high = curve.predict(at)
    assert value == pytest.approx(a - b * at**-exponent, abs=1e-4)
    # Replicates that do not differ leave no room.
    assert high - low == pytest.approx(np.zeros(3), abs=1e-9)


def test_an_exact_logarithm_and_a_constant_are_recovered():
    curve = fit_curve(SIZES, np.tile(0.3 + 0.05 * np.log(SIZES), (4, 1)))
    assert curve.form == "log-linear" and np.isinf(curve.plateaus[0])
    curve = fit_curve(SIZES, np.full((4, 5), 1 / 3))
    assert curve.form == "constant" and curve.plateaus[0] == pytest.approx(1 / 3)
    assert curve.cells_within(0.05)[0] == 500


def test_cells_within_by_hand():
    # 0.9 - 8 n^-0.6 is 5 % below 0.9 where n^0.6 = 8 / 0.045; from chance at 0.5 it is 5 % of 0.4, n^0.6 = 8 / 0.02.
    curve = fit_curve(SIZES, np.tile(power(SIZES), (3, 1)))
    assert curve.cells_within(0.05)[0] == pytest.approx((8 / 0.045) ** (1 / 0.6), rel=5e-3)
    assert curve.cells_within(0.1, 0.5)[0] == pytest.approx((8 / 0.04) ** (1 / 0.6), rel=5e-3)
    # 21,715 cells are more than twice the largest size.
    assert np.isinf(curve.cells_within(0.05, 0.5)[0])
    assert curve.cells_within(0.5)[0] == 500


def test_a_metric_that_ends_at_one_is_not_read_beyond_it():
    values = np.tile(0.52 + 0.05 * np.log(SIZES), (4, 1))  # 0.98 at 10,000 cells, 1.015 at 20,000
    free, bounded = fit_curve(SIZES, values), fit_curve(SIZES, values, (0.0, 1.0))
    assert bounded.form == "log-linear" and np.isinf(bounded.plateaus[0])
    assert free.predict(20000)[0][0] == pytest.approx(0.52 + 0.05 * np.log(20000)) and bounded.predict(20000)[0][0] == 1
    # Within 5 % of 1 where 0.52 + 0.05 ln n = 0.95; from chance at 0.5, within 5 % of 0.5 where it is 0.975.
    assert np.isinf(free.cells_within(0.05)[0])
    assert bounded.cells_within(0.05)[0] == pytest.approx(np.exp(0.43 / 0.05))
    assert bounded.cells_within(0.05, 0.5)[0] == pytest.approx(np.exp(0.455 / 0.05))
    # 0.52 + 0.05 ln n = 0.999 at 14,472 cells, and 0.9999 at 14,738: still within twice the largest size; 1.02 is not.
    assert bounded.cells_within(0.001)[0] == pytest.approx(np.exp(0.479 / 0.05))
    low = fit_curve(SIZES, values - 0.1, (0.0, 1.0))
    assert np.isinf(low.cells_within(0.05)[0])


def test_a_power_law_that_passes_the_bound_levels_off_there():
    values = np.tile(1.02 - 8 * SIZES**-0.6, (4, 1))
    curve = fit_curve(SIZES, values, (0.0, 1.0))
    assert curve.form == "power law" and curve.plateaus[0] == 1
    assert curve.cells_within(0.05)[0] == pytest.approx((8 / 0.07) ** (1 / 0.6), rel=5e-3)


def test_a_curve_that_falls_to_a_bound_of_nothing_is_within_no_fraction_of_it():
    curve = fit_curve(SIZES, np.tile(0.62 - 0.06 * np.log(SIZES), (4, 1)), (0.0, 1.0))
    assert curve.form == "log-linear" and np.isinf(curve.cells_within(0.05)[0])


def test_bounds_come_from_the_declarations(make):
    scores = curve_scores(make, lambda n: 0.52 + 0.05 * np.log(n), 1e-4)
    curves, plateaus = learning_curves(scores, None, make.metrics)
    curve = curves[curves["axis"] == "cells"].iloc[0]
    assert curve["form"] == "log-linear" and np.isinf(curve["plateau"])
    row = plateaus.set_index("tolerance").loc[0.05]
    assert row["answer"] == "within the measured sizes" and row["cells"] == pytest.approx(np.exp(8.6), rel=0.02)


def test_bounds_of_distances_from_a_target(make):
    assert bounds_of(make.metrics, "nmi_leiden") == (0.0, 1.0)
    target = next(metric for metric in METRICS.values() if metric.direction == "target")
    low, high = target.range
    assert bounds_of(METRICS, target.name) == (0.0, max(high - target.target, target.target - low))
    assert bounds_of({}, "unknown") == (-np.inf, np.inf)


def test_no_reading_beyond_twice_the_range():
    curve = fit_curve(SIZES, replicated(power, 0.01, 4))
    curve.predict(np.array([250.0, 20000.0]))
    for outside in (249.0, 20001.0):
        with pytest.raises(InputError, match="run that size"):
            curve.predict(np.array([1000.0, outside]))
        with pytest.raises(InputError, match="run that size"):
            curve.replicate_values(outside)


def test_too_few_sizes_or_values(make):
    with pytest.raises(InputError, match="2 sizes"):
        fit_curve(SIZES[:2], replicated(power, 0.01, 9, sizes=SIZES[:2]))
    values = replicated(power, 0.01, 3)
    values[:, 1:4] = np.nan
    with pytest.raises(InputError, match="2 sizes"):
        fit_curve(SIZES, values)
    with pytest.raises(InputError, match="too few"):
        fit_curve(SIZES[:3], replicated(power, 0.01, 1, sizes=SIZES[:3]))
    table, plateaus = tables(usable_units(curve_scores(make, power, sizes=SIZES[:2]), None, make.metrics))
    assert table["status"].tolist() == ["not fitted"] and "2 sizes" in table["reason"][0] and plateaus.empty


def test_fewer_than_three_replicates_have_a_curve_and_no_interval():
    """Between two replicates, which are all that samples of them reach, the truth lies in half of the cases."""
    for replicates in (1, 2, 3):
        curve = fit_curve(SIZES, replicated(power, 0.001, replicates))
        value, low, high = curve.predict(np.array([1000.0]))
        assert np.isfinite(value).all() and np.isnan([low, high]).all() == (replicates < 3)


def test_intervals_by_hand():
    # Two replicates: the tail is practically 0, so the interval is the range of the samples.
    weights, probabilities = samples(2)
    assert weights[0].tolist() == [0.5, 0.5] and probabilities[0] == 0
    low, high = intervals(weights @ np.array([[1.0], [3.0]]), probabilities, 2)
    assert (low[0], high[0]) == (1.0, 3.0)
    low, high = intervals(np.array([[7.0], [np.nan], [9.0]]), np.array([0.0, 0.5, 0.5]), 3)
    assert (low[0], high[0]) == (9.0, 9.0)


@pytest.mark.parametrize(
    ("truth", "noise"), [(power, 0.01), (lambda n: 0.6 + 0 * n, 0.02), (lambda n: 0.3 + 0.05 * np.log(n), 0.02)]
)
def test_coverage_of_the_bands(truth, noise):
    """Ten replicates, 200 studies: the 95 % band holds the truth as often as it says, at every size and beyond.

    A nominal 0.95 has a binomial standard error of 0.015 here; three of them below it are allowed, and nothing above.
    """
    at = np.array([500.0, 1700.0, 10000.0, 20000.0])
    held = np.zeros(4)
    for seed in range(200):
        value, low, high = fit_curve(SIZES, replicated(truth, noise, 10, seed)).predict(at)
        held += (low <= truth(at)) & (truth(at) <= high)
    assert (held / 200 >= 0.95 - 3 * 0.0154).all()


def test_coverage_where_one_size_has_fewer_replicates():
    """Six replicates, of the largest size two: the band holds the truth there as often as it says (see above)."""
    held = 0
    for seed in range(200):
        values = replicated(power, 0.01, 6, 3000 + seed)
        values[2:, -1] = np.nan
        curve = fit_curve(SIZES, values)
        assert (curve.fits.n_replicates, curve.fits.fewest) == (6, 2)
        _, (low,), (high,) = curve.predict(SIZES[-1:])
        held += low <= power(SIZES[-1]) <= high
    assert held / 200 >= 0.95 - 3 * 0.0154


def test_a_size_with_one_replicate_is_not_fitted():
    """Its value would be in every sample alike, so that the samples know nothing of its spread."""
    values = replicated(power, 0.01, 6, 0)
    without = fit_curve(SIZES[:-1], values[:, :-1])
    values[1:, -1] = np.nan
    curve = fit_curve(SIZES, values)
    assert curve.sizes.tolist() == SIZES[:-1].tolist()
    assert np.array_equal(curve.predict(SIZES[:-1]), without.predict(SIZES[:-1]))
    assert (curve.held_sizes.tolist(), curve.held_values.tolist()) == ([10000], [values[0, -1]])
    assert not len(without.held_sizes)
    # Where no three sizes have several, all are fitted, and there is no band.
    values[1:, 2:] = np.nan
    value, low, high = fit_curve(SIZES, values).predict(SIZES)
    assert np.isfinite(value).all() and np.isnan(low).all() and np.isnan(high).all()


def test_what_is_left_out_stands_beside_what_the_curve_says_of_it(make):
    """10,000 cells are as far as a curve from 1,000 to 5,000 cells is read; beyond, the value stands alone."""
    for largest, read in ((10000, True), (15000, False)):
        sizes = np.array([1000, 2000, 5000, largest])
        scores = curve_scores(make, power, sizes=sizes)
        scores = scores[(scores["n_cells"] < 10000) | (scores["replicate"] == 0)]
        (series,) = fit_all(usable_units(scores, None, METRICS), "cells", METRICS)
        (row,) = curve_table([series]).to_dict("records")
        assert (row["largest"], row["held_size"]) == (5000, sizes[-1])
        assert row["held_value"] == scores.loc[scores["n_cells"] == sizes[-1], "value"].item()
        said = [row["held_fit"], row["held_low"], row["held_high"]]
        if read:
            assert said == [part[0] for part in series.curve.predict(10000)] and said[1] < said[0] < said[2]
        else:
            assert np.isnan(said).all()
        (complete,) = curve_table(fit_all(usable_units(scores[scores["n_cells"] < 10000], None, METRICS))).to_dict(
            "records"
        )
        assert np.isnan([complete[name] for name in complete if name.startswith("held_")]).all()


def test_coverage_of_plateau_and_cells():
    """As above for the plateau (0.9) and the cells until within 5 % of it (5,621)."""
    within = (8 / 0.045) ** (1 / 0.6)
    held = np.zeros(2)
    for seed in range(200):
        curve = fit_curve(SIZES, replicated(power, 0.01, 10, 1000 + seed))
        for place, (draws, truth) in enumerate(((curve.plateaus, 0.9), (curve.cells_within(0.05), within))):
            (low,), (high,) = intervals(draws, curve.fits.probabilities, 10)
            held[place] += low <= truth <= high
    assert (held / 200 >= 0.95 - 3 * 0.0154).all()


def test_the_choice_of_the_form():
    """A constant is kept in most studies without a trend, and a clear power law is found in nearly all."""
    flat = [fit_curve(SIZES, replicated(lambda n: 0.6 + 0 * n, 0.02, 8, seed)).form for seed in range(60)]
    assert flat.count("constant") >= 45
    bent = [fit_curve(SIZES, replicated(power, 0.01, 8, seed)).form for seed in range(60)]
    assert bent.count("power law") >= 57


def test_a_form_that_misses_the_curve_is_told():
    """A hump is none of the forms: the lack-of-fit test sees it, and does not see one under the right form."""
    hump = fit_curve(SIZES, replicated(lambda n: 0.5 + 0.2 * np.exp(-(np.log(n / 2500) ** 2)), 0.01, 8))
    good = [fit_curve(SIZES, replicated(power, 0.01, 8, seed)) for seed in range(100)]
    from benchmarks.statistics.fitting import lack_of_fit

    assert lack_of_fit(hump.fits, 5, 3) < 1e-6
    rejected = np.mean([lack_of_fit(curve.fits, 5, 3) < 0.05 for curve in good if curve.form == "power law"])
    # The binomial standard error of 0.05 is 0.022.
    assert rejected <= 0.05 + 3 * 0.022


def test_replicates_are_resampled_whole():
    """A shift that all sizes of a replicate share widens the band of the level and not that of the gain."""
    values = replicated(power, 0.001, 8)
    shifted = values + np.linspace(-0.1, 0.1, 8)[:, None]
    plain, wide = fit_curve(SIZES, values), fit_curve(SIZES, shifted)
    gain = [np.ptp((curve.draws(SIZES[-1:]) - curve.draws(SIZES[:1]))[curve.fits.form == 2]) for curve in (plain, wide)]
    level = [np.ptp(curve.draws(SIZES[-1:])) for curve in (plain, wide)]
    assert level[1] > 10 * level[0] and gain[1] < 5 * gain[0]


def test_values_of_replicates_average_to_the_curve():
    curve = fit_curve(SIZES, replicated(power, 0.01, 6))
    assert curve.replicate_values(3000.0).mean() == pytest.approx(curve.draws(np.array([3000.0]))[0, 0], abs=1e-6)


def test_a_missing_value_leaves_the_others():
    values = replicated(power, 0.005, 6)
    values[2, 3] = np.nan
    curve = fit_curve(SIZES, values)
    assert curve.predict(SIZES)[0] == pytest.approx(power(SIZES), abs=0.02)
    assert np.isnan(curve.replicate_values(1000.0)[2]) and np.isfinite(curve.replicate_values(1000.0)[3])


@given(st.floats(0.01, 100), st.floats(-10, 10), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_units_and_order_of_replicates_do_not_matter(factor, shift, seed):
    values = replicated(power, 0.01, 5, seed)
    first = fit_curve(SIZES, values)
    order = np.random.default_rng(seed).permutation(5)
    other = fit_curve(SIZES, factor * values[order] + shift)
    at = np.array([800.0, 15000.0])
    assert other.form == first.form
    for one, two in zip(first.predict(at), other.predict(at)):
        assert two == pytest.approx(factor * one + shift, rel=1e-3, abs=1e-3 * factor)


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=20, max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_values_give_a_curve_within_its_rules(values):
    curve = fit_curve(SIZES, np.array(values).reshape(4, 5))
    value, low, high = curve.predict(SIZES)
    assert np.isfinite(value).all() and (low <= high + 1e-12).all()
    cells = curve.cells_within(0.05)
    assert ((cells >= 500) & ((cells <= 20000) | np.isinf(cells))).all()
    assert ((curve.exponents == 0) | ((curve.exponents >= EXPONENTS[0]) & (curve.exponents <= EXPONENTS[-1]))).all()


def test_a_metric_of_which_lower_is_better(make):
    scores = curve_scores(make, lambda n: 0.05 + 12 * n**-0.7, 0.002, metric="rank_distance_fraction")
    table, plateaus = learning_curves(scores, None, make.metrics)
    row = table[table["axis"] == "cells"].iloc[0]
    assert (row["form"], row["trend"]) == ("power law", "improves")
    assert row["plateau"] == pytest.approx(0.05, abs=0.01) and row["amplitude"] < 0 and row["gain"] < 0
    assert set(plateaus["yardstick"]) == {"the plateau itself"}


def test_a_target_is_a_distance(make):
    scores = curve_scores(make, lambda n: 1.0 - 10 * n**-0.7, 0.001, metric="modality_enrichment")
    table, _ = learning_curves(scores, None, make.metrics)
    row = table[table["axis"] == "cells"].iloc[0]
    assert row["lower"] and row["trend"] == "improves" and row["gain"] < 0


def test_chance_at_both_ends_of_a_curve(make):
    models = curve_scores(make, power, 0.001)
    chance = curve_scores(make, lambda n: 40 / n, 0.0).assign(model="random", variant="random")
    table, _ = learning_curves(pd.concat([models, chance], ignore_index=True), None, make.metrics)
    row = table[table["axis"] == "cells"].iloc[0]
    assert row["chance_smallest"] == pytest.approx(40 / row["smallest"])
    assert row["chance_largest"] == pytest.approx(40 / row["largest"])
    assert row["value_largest"] == pytest.approx(power(row["largest"]), abs=0.01)
    alone, _ = learning_curves(models, None, make.metrics)
    assert alone[["chance_smallest", "chance_largest"]].isna().all(axis=None)
    mixing = models.assign(metric="asw_batch")
    noise = chance.assign(metric="asw_batch")
    passed, _ = learning_curves(pd.concat([mixing, noise], ignore_index=True), None, make.metrics)
    assert passed["chance_largest"].isna().all()


def test_the_yardstick_is_the_distance_from_chance(make):
    models = curve_scores(make, power, 0.001)
    chance = curve_scores(make, lambda n: 0.5 + 0 * n, 0.0).assign(model="random", variant="random")
    scores = pd.concat([models, chance], ignore_index=True)
    assert references(scores, make.metrics).to_numpy() == pytest.approx(np.full(5, 0.5))
    _, plateaus = learning_curves(scores, None, make.metrics)
    row = plateaus[plateaus["tolerance"] == 0.10].iloc[0]
    assert "random control" in row["yardstick"] and set(plateaus["model"]) == {"pca"}
    assert row["cells"] == pytest.approx((8 / 0.04) ** (1 / 0.6), rel=0.1)
    assert row["cells_low"] <= row["cells"] <= row["cells_high"] and row["answer"] == "within the measured sizes"


def test_answers_about_the_plateau(make):
    answers = {}
    for name, truth in (
        ("late", lambda n: 0.9 - 2 * n**-0.15),
        ("early", lambda n: 0.9 - 1e4 * n**-2.0),
        ("between", power),
    ):
        _, plateaus = tables(usable_units(curve_scores(make, truth, 1e-5), None, make.metrics))
        answers[name] = plateaus.set_index("tolerance")["answer"].to_dict()
    assert set(answers["late"].values()) == {"beyond the measured range"}
    assert answers["early"][0.10] == "from the smallest size"
    assert (
        answers["between"][0.05] == "within the measured sizes"
        and answers["between"][0.01] == "beyond the measured range"
    )
    _, plateaus = tables(usable_units(curve_scores(make, lambda n: 0.9 - 12 * n**-0.6, 1e-5), None, make.metrics))
    row = plateaus.set_index("tolerance").loc[0.05]
    assert row["answer"] == "extrapolated" and row["share_measured"] == 0


def test_curves_along_paired_cells(make):
    fractions = (0.0, 0.5, 0.75, 0.9, 1.0)
    parts = [
        curve_scores(make, lambda n, own=fraction: 0.9 - 8 * (n * (1 - own) + 1e-9) ** -0.6, 0.001, sizes=np.array([4000.0]), fraction=fraction)
        for fraction in fractions
    ]  # fmt: skip
    scores = pd.concat([part[part["unpaired_fraction"] < 1] for part in parts] + [parts[-1].assign(value=0.1)])
    table, plateaus = learning_curves(scores.reset_index(drop=True), None, make.metrics)
    row = table[table["axis"] == "paired"].iloc[0]
    # The design without paired cells has no place on this axis.
    assert (row["smallest"], row["largest"], row["n_sizes"], row["fixed"]) == (400, 4000, 4, 4000)
    assert row["form"] == "power law" and row["plateau"] == pytest.approx(0.9, abs=0.01)
    assert (table[table["axis"] == "cells"]["status"] == "not fitted").all()
    # Until within 10 % of 0.9: (8 / 0.09)^(1 / 0.6) = 1,773 paired cells; until within 5 %, 5,629, more than there are.
    plateaus = plateaus.set_index("tolerance")
    assert set(zip(plateaus["axis"], plateaus["fixed"])) == {("paired", 4000.0)}
    assert plateaus.loc[0.10, "cells"] == pytest.approx(1773, rel=0.1)
    assert plateaus.loc[0.10, "answer"] == "within the measured sizes"
    assert plateaus.loc[0.05, "answer"] == "beyond the measured range" and np.isinf(plateaus.loc[0.05, "cells"])


def test_no_more_cells_are_paired_than_there_are():
    curve = fit_curve(SIZES, np.tile(power(SIZES), (4, 1)), most=15000.0)
    assert curve.limits == (250.0, 15000.0) and np.isfinite(curve.predict([15000.0])[0])
    with pytest.raises(InputError, match="not read beyond 250 to 15000"):
        curve.predict([16000.0])
    # Until within 2.5 % of 0.9: 17,800 cells, which a curve that may be read to 20,000 reaches.
    free = fit_curve(SIZES, np.tile(power(SIZES), (4, 1)))
    assert free.cells_within(0.025)[0] == pytest.approx((8 / 0.0225) ** (1 / 0.6), rel=0.05)
    assert np.isinf(curve.cells_within(0.025)[0])


def test_the_yardstick_of_paired_cells_is_chance_at_the_most_paired_ones(make):
    parts = []
    for fraction in (0.0, 0.5, 0.75, 0.9):
        own = {"sizes": np.array([4000.0]), "fraction": fraction}
        parts.append(curve_scores(make, lambda n, f=fraction: 0.9 - 8 * (n * (1 - f)) ** -0.6, 0.001, **own))
        chance = curve_scores(make, lambda n, f=fraction: 0.5 - 0.4 * f + 0 * n, 0.0, **own)
        parts.append(chance.assign(model="random", variant="random"))
    _, plateaus = learning_curves(pd.concat(parts, ignore_index=True), None, make.metrics)
    row = plateaus.set_index("tolerance").loc[0.10]
    assert "random control" in row["yardstick"] and row["axis"] == "paired"
    # 10 % of 0.9 - 0.5 takes 6,840 paired cells, more than there are; 10 % of 0.9 would take 1,770.
    assert np.isinf(row["cells"]) and row["cells_low"] > 3000


def test_order_of_rows_does_not_matter(make):
    scores = curve_scores(make, power)
    first, second = (
        learning_curves(scores, None, make.metrics),
        learning_curves(scores.sample(frac=1, random_state=3), None, make.metrics),
    )
    for one, two in zip(first, second):
        pd.testing.assert_frame_equal(one, two)


def test_flagged_embeddings_and_controls_are_left_out(make):
    scores = curve_scores(make, power)
    runs = make.runs(scores)
    runs.loc[runs["n_cells"] == 500, "collapsed"] = True
    table, _ = learning_curves(scores, runs, make.metrics)
    assert table[table["axis"] == "cells"]["n_sizes"].tolist() == [4]
    table, _ = learning_curves(scores.assign(model="oracle"), None, make.metrics)
    assert table.empty
