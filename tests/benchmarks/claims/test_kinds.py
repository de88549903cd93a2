"""Every kind of test on tables of which the answer is known: supported, contradicted, not testable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

LEVELS = {"a": 0.7, "b": 0.5, "c": 0.3}


def noise(n, replicate, salt=0):
    """A small deviation, the same for every model on one subsample but not for two salts."""
    return 0.01 * np.sin(1.7 * replicate + n / 313 + 2.9 * salt)


def constant(model, n, fraction, replicate):
    return LEVELS[model] + noise(n, replicate, ord(model))


def gain(slopes):
    return lambda model, n, fraction, replicate: 0.4 + slopes[model] * np.log(n / 500) + noise(n, replicate, ord(model))


def spreading(power):
    """The same deviations at every size, with a standard deviation that goes with n to the power."""
    return lambda model, n, fraction, replicate: 0.5 + 0.1 * (n / 500) ** power * np.sin(1 + 2.3 * replicate)


UNPAIRED = {"sizes": (500,), "fractions": (0.1, 0.5, 0.9)}

CASES = [
    ("better_than", {"models": ["A"], "than": ["B"]}, constant, {}, "supported", 0.2),
    ("better_than", {"models": ["B"], "than": ["A"]}, constant, {}, "contradicted", -0.2),
    ("better_than", {"models": ["A"], "than": ["B"], "by": 0.3}, constant, {}, "contradicted", 0.2),
    ("better_than", {"models": ["A"], "than": ["B"], "metrics": ["bad"]}, constant, {"metric": "bad"}, "contradicted", -0.2),
    ("better_than", {"models": ["B"], "than": ["A"], "metrics": ["bad"]}, constant, {"metric": "bad"}, "supported", 0.2),
    ("better_than", {"models": ["A"], "than": ["B"], "metrics": ["near"]}, constant, {"metric": "near"}, "supported", 0.2),
    ("best_of", {"best": "A", "among": ["A", "B", "C"]}, constant, {"models": "abc"}, "supported", 0.2),
    ("best_of", {"best": "B", "among": ["A", "B", "C"]}, constant, {"models": "abc"}, "contradicted", -0.2),
    ("alike", {"reference": "A", "models": ["B"], "margin": 0.3}, constant, {}, "supported", -0.2),
    ("alike", {"reference": "A", "models": ["B"], "margin": 0.1}, constant, {}, "contradicted", -0.2),
    ("alike", {"reference": "A", "models": ["B", "C"], "margin": 0.1}, constant, {"models": "abc"}, "contradicted", -0.2),
    ("alike", {"reference": "A", "models": ["B", "C"], "margin": 0.3}, constant, {"models": "abc", "replicates": 6}, "contradicted", -0.4),
    ("trend", {"models": ["A"], "along": "n_cells", "direction": "improves"}, gain({"a": 0.1, "b": 0.0}), {}, "supported", 0.139),
    ("trend", {"models": ["A"], "along": "n_cells", "direction": "worsens"}, gain({"a": 0.1, "b": 0.0}), {}, "contradicted", -0.139),
    ("trend", {"models": ["A"], "along": "unpaired_fraction", "direction": "worsens"}, lambda m, n, f, r: 0.9 - f * f + noise(n, r), UNPAIRED, "supported", 0.8),
    ("trend", {"models": ["A"], "along": "unpaired_fraction", "direction": "improves"}, lambda m, n, f, r: 0.9 - f * f + noise(n, r), UNPAIRED, "contradicted", -0.8),
    ("flat", {"models": ["A"], "along": "n_cells", "margin": 0.2, "span": 4}, gain({"a": 0.1, "b": 0.0}), {}, "supported", 0.139),
    ("flat", {"models": ["A"], "along": "n_cells", "margin": 0.05, "span": 4}, gain({"a": 0.1, "b": 0.0}), {}, "contradicted", 0.139),
    ("depends", {"models": ["A"], "along": "n_cells", "margin": 0.05}, gain({"a": 0.1, "b": 0.0}), {}, "supported", 0.139),
    ("depends", {"models": ["A"], "along": "n_cells", "margin": 0.05}, gain({"a": -0.1, "b": 0.0}), {}, "supported", -0.139),
    ("depends", {"models": ["B"], "along": "n_cells", "margin": 0.05}, gain({"a": 0.1, "b": 0.0}), {}, "contradicted", 0.0),
    # A gain of -0.2 ln n is a larger dependence than one of 0.1 ln n, and a smaller gain.
    ("gains_most", {"model": "B", "than": ["A"], "along": "n_cells", "what": "dependence"}, gain({"a": 0.1, "b": -0.2}), {}, "supported", 0.139),
    ("gains_most", {"model": "A", "than": ["B"], "along": "n_cells", "what": "dependence"}, gain({"a": 0.1, "b": -0.2}), {}, "contradicted", -0.139),
    ("gains_most", {"model": "A", "than": ["B"], "along": "n_cells"}, gain({"a": 0.1, "b": -0.2}), {}, "supported", 0.416),
    ("gains_most", {"model": "A", "than": ["B"], "along": "n_cells"}, gain({"a": 0.1, "b": 0.05}), {}, "supported", 0.0693),
    ("gains_most", {"model": "B", "than": ["A"], "along": "n_cells"}, gain({"a": 0.1, "b": 0.05}), {}, "contradicted", -0.0693),
    ("stable_down_to", {"models": ["A"], "cells": 500, "largest": 2000, "margin": 0.2}, gain({"a": 0.1, "b": 0.0}), {}, "supported", -0.139),
    ("stable_down_to", {"models": ["A"], "cells": 500, "largest": 2000, "margin": 0.05}, gain({"a": 0.1, "b": 0.0}), {}, "contradicted", -0.139),
    # Below the stated number of cells anything may happen.
    ("stable_down_to", {"models": ["A"], "cells": 900, "largest": 2000, "margin": 0.1}, lambda m, n, f, r: 0.1 * (n > 500) + noise(n, r), {}, "supported", 0.0),
    ("variance_falls", {"models": ["A"]}, spreading(-1.0), {"replicates": 12}, "supported", 2.0),
    ("variance_falls", {"models": ["A"]}, spreading(1.0), {"replicates": 12}, "contradicted", -2.0),
    ("level", {"models": ["A"], "about": 0.7, "margin": 0.05}, constant, {}, "supported", 0.7),
    ("level", {"models": ["A"], "about": 0.5, "margin": 0.05}, constant, {}, "contradicted", 0.7),
    ("level", {"models": ["A"], "at_least": 0.6}, constant, {}, "supported", 0.7),
    ("level", {"models": ["A"], "at_least": 0.8}, constant, {}, "contradicted", 0.7),
    ("level", {"models": ["A"], "at_most": 0.8}, constant, {}, "supported", 0.7),
    ("level", {"models": ["A"], "at_most": 0.6, "metrics": ["bad"]}, constant, {"metric": "bad"}, "contradicted", 0.7),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "test", "value", "data", "expected", "effect"), CASES)
def test_verdict_and_effect_where_they_are_known(
    kind, test, value, data, expected, effect, scores, make_claim, verdict
):
    row = verdict(make_claim(kind, **test), scores(value, **data))
    assert row["verdict"] == expected, row["reason"]
    assert row["effect"] == pytest.approx(effect, abs=0.02)
    assert row["low"] <= row["effect"] <= row["high"]


@pytest.mark.parametrize(("kind", "test", "value", "data", "expected", "effect"), CASES)
def test_too_few_replicates_are_never_a_verdict(kind, test, value, data, expected, effect, scores, make_claim, verdict):
    row = verdict(make_claim(kind, **test), scores(value, **{**data, "replicates": 4}))
    assert (row["verdict"], row["cause"]) == ("not testable here", "too few replicates")
    assert "5 are needed" in row["reason"]


@pytest.mark.parametrize(("kind", "test", "value", "data", "expected", "effect"), CASES)
def test_without_a_model_or_a_value_the_reason_says_so(
    kind, test, value, data, expected, effect, scores, make_claim, verdict
):
    one = make_claim(kind, **test)
    row = verdict(one, scores(value, **data).iloc[:0])
    assert (row["verdict"], row["cause"]) == ("not testable here", "missing model")
    row = verdict(one, scores(value, **{**data, "status": "failed"}))
    assert (row["verdict"], row["cause"]) == ("not testable here", "no value")
    row = verdict(one, scores(value, **{**data, "metric": "other"}))
    assert (row["verdict"], row["cause"]) == ("not testable here", "missing metric")
    assert one.metrics[0] in row["reason"]
    elsewhere = scores(value, **data)
    row = verdict(one, elsewhere.assign(n_cells=-elsewhere["n_cells"]))
    assert (row["verdict"], row["cause"]) == ("not testable here", "missing design")


def test_difference_within_the_noise_is_not_resolved(scores, make_claim, verdict):
    row = verdict(
        make_claim("better_than", models=["A"], than=["B"]),
        scores(lambda model, n, f, r: 0.5 + 0.1 * (model == "a") * (-1) ** r),
    )
    assert (row["verdict"], row["cause"]) == ("not testable here", "not resolved")
    assert row["low"] < 0 < row["high"]


def test_equal_scores_support_no_difference_and_every_margin(scores, make_claim, verdict):
    same = scores(lambda model, n, f, r: 0.5)
    assert verdict(make_claim("better_than", models=["A"], than=["B"]), same)["verdict"] == "not testable here"
    assert verdict(make_claim("alike", reference="A", models=["B"], margin=0.01), same)["verdict"] == "supported"


def test_one_missing_model_prevents_support_but_not_contradiction(scores, make_claim, verdict):
    data = scores(constant)
    row = verdict(make_claim("better_than", models=["A"], than=["B", "Absent"]), data)
    assert (row["verdict"], row["cause"]) == ("not testable here", "missing model")
    assert (row["n_parts"], row["n_parts_as_claimed"]) == (2, 1)
    row = verdict(make_claim("better_than", models=["B"], than=["A", "Absent"]), data)
    assert row["verdict"] == "contradicted"


def test_every_metric_has_to_hold(scores, make_claim, verdict):
    data = pd.concat([scores(constant), scores(constant, metric="bad")])
    row = verdict(make_claim("better_than", ["good", "bad"], models=["A"], than=["B"]), data)
    assert row["verdict"] == "contradicted" and "bad" in row["decided_by"]


def test_only_the_designs_asked_for_count(scores, make_claim, verdict):
    def turns(model, n, f, r):
        return (0.7 if (model == "a") == (n > 500) else 0.5) + noise(n, r, ord(model))

    data = scores(turns, datasets=("multiome", "cite"))
    for bounds, expected in (((0, 500), "contradicted"), ((1000, 9999), "supported")):
        row = verdict(make_claim("better_than", models=["A"], than=["B"], n_cells=bounds, datasets=("mult*",)), data)
        assert row["verdict"] == expected
        assert row["datasets"] == "multiome"
    asked = {"datasets": ("atlas",), "n_cells": (10, float("inf")), "unpaired_fraction": (0.75, 0.75)}
    row = verdict(make_claim("better_than", models=["A"], than=["B"], **asked), data)
    assert row["cause"] == "missing design"
    assert row["reason"].startswith("a or a-native has no design with data set atlas, at least 10 cells, 75 % unpaired")


def test_the_largest_size_of_each_data_set_can_be_asked_for_alone(scores, make_claim, verdict):
    """A claim that holds for models trained on all cells is not contradicted by what they do with few."""

    def crossing(largest):
        # The first model wins with the most cells and loses by far more with fewer.
        return lambda model, n, f, r: 0.5 + (model == "a") * (0.1 if n == largest else -0.3) + noise(n, r, ord(model))

    data = pd.concat(
        [
            scores(crossing(2000), datasets=("d",)),
            # Its most cells are fewer than those of the other.
            scores(crossing(1000), datasets=("e",), sizes=(500, 1000)),
        ]
    )
    test = {"models": ["A"], "than": ["B"]}
    assert verdict(make_claim("better_than", **test), data)["verdict"] == "contradicted"
    row = verdict(make_claim("better_than", sizes="largest", **test), data)
    assert (row["verdict"], row["n_blocks"], row["datasets"]) == ("supported", 12, "d, e")
    assert row["effect"] == pytest.approx(0.1, abs=0.02)
    # The bounds of the claim come first.
    row = verdict(make_claim("better_than", sizes="largest", n_cells=(0, 1000), **test), data)
    assert row["n_blocks"] == 12 and row["effect"] == pytest.approx(-0.1, abs=0.02)
    # The other fractions are bounded too: what is largest among unpaired designs says nothing of the paired ones.
    more = pd.concat([data, scores(crossing(2000), datasets=("d",), sizes=(4000,), fractions=(0.5,))])
    row = verdict(make_claim("better_than", sizes="largest", unpaired_fraction=(0.0, 0.0), **test), more)
    assert (row["verdict"], row["n_blocks"]) == ("supported", 12)
    # Failures are counted there alone as well.
    failing = make_claim("fails", models=["A"], at_least=0.5, sizes="largest")
    assert verdict(failing, data, runs_of(["failed"] * 6, 2000))["verdict"] == "supported"
    both = pd.concat([runs_of(["failed"] * 6, 2000), runs_of(["ok"] * 6, 500)])
    assert verdict(failing, data, both)["verdict"] == "supported"
    assert verdict(make_claim("fails", models=["A"], at_least=0.9), data, both)["verdict"] == "contradicted"


def test_no_smaller_size_takes_the_place_of_a_largest_one_that_failed(scores, make_claim, verdict):
    data = scores(constant)
    failed = (data["model"] == "a") & (data["n_cells"] == 2000)
    data.loc[failed, ["value", "status"]] = [np.nan, "failed"]
    one = make_claim("better_than", models=["A"], than=["B"], sizes="largest")
    row = verdict(one, data)
    assert (row["verdict"], row["cause"]) == ("not testable here", "no value")
    # And without a single row of scores the design is missing.
    row = verdict(one, data[~failed])
    assert (row["cause"], row["n_blocks"]) == ("missing design", 0)
    assert "the most cells of a data set" in row["reason"]


def test_models_are_compared_on_the_same_cells_alone(scores, make_claim, verdict):
    """A model that failed where the task is hard must not win by it."""
    data = scores(lambda model, n, f, r: n / 2000 + 0.05 * (model == "b") + noise(n, r, ord(model)))
    data = data[(data["model"] == "b") | (data["n_cells"] == 2000)]
    assert data.groupby("model")["value"].mean()["a"] > data.groupby("model")["value"].mean()["b"]
    assert verdict(make_claim("better_than", models=["B"], than=["A"]), data)["verdict"] == "supported"


def test_seeds_are_replicates_only_where_the_claim_says_so(scores, make_claim, verdict):
    data = scores(constant, replicates=1, seeds=range(6))
    data["value"] += 0.001 * data["seed"]
    assert verdict(make_claim("better_than", models=["A"], than=["B"]), data)["cause"] == "too few replicates"
    row = verdict(make_claim("better_than", models=["A"], than=["B"], over="seeds"), data)
    assert (row["verdict"], row["n_blocks"]) == ("supported", 6)


def test_sizes_of_one_subsample_are_one_block(scores, make_claim, verdict):
    row = verdict(make_claim("better_than", models=["A"], than=["B"]), scores(constant, replicates=2))
    assert row["n_blocks"] == 2


def test_second_implementation_stands_in_for_an_absent_first(scores, make_claim, verdict):
    data = scores(constant).replace({"model": {"a": "a-native"}, "variant": {"a": "a-native"}})
    row = verdict(make_claim("better_than", models=["A"], than=["B"]), data)
    assert row["verdict"] == "supported"
    assert row["implementations"] == "a-native, b"


def test_metric_of_one_model_may_be_another(scores, make_claim, verdict):
    data = scores(constant)
    data.loc[data["model"] == "a", "metric"] = "own"
    row = verdict(make_claim("better_than", models=["A"], than=["B"], metric_of={"A": "own"}), data)
    assert row["verdict"] == "supported"


def test_ratios_are_factors_and_need_positive_values(scores, make_claim, verdict):
    one = make_claim("better_than", ["bad"], models=["A"], than=["B"], logarithm=True)
    row = verdict(one, scores(lambda m, n, f, r: {"a": 10, "b": 30}[m] * n * (1 + 0.01 * r), metric="bad"))
    assert (row["verdict"], row["scale"]) == ("supported", "ratio")
    assert row["effect"] == pytest.approx(3)
    row = verdict(one, scores(lambda m, n, f, r: 0.0, metric="bad"))
    assert row["cause"] == "no value" and "positive" in row["reason"]


def test_collapsed_embeddings_do_not_count(scores, make_claim, verdict):
    data = scores(constant)
    runs = data.drop(columns=["metric", "value"]).assign(status="ok", duplicate_fraction=0.0)
    runs["collapsed"] = runs["model"] == "a"
    row = verdict(make_claim("better_than", models=["A"], than=["B"]), data, runs)
    assert (row["verdict"], row["cause"]) == ("not testable here", "no value")
    assert "degenerate" in row["reason"]


def runs_of(statuses, n_cells=5000):
    """A table of runs, one replicate a status."""
    return pd.DataFrame(
        {"study": "s", "dataset": "d", "n_cells": n_cells, "unpaired_fraction": 0.0, "replicate": range(len(statuses)), "model": "a",
         "variant": "a", "seed": 0, "status": statuses, "collapsed": False, "duplicate_fraction": 0.0}
    )  # fmt: skip


def test_failures_are_counted(scores, make_claim, verdict):
    none, one = scores(constant).iloc[:0], make_claim("fails", models=["A"], at_least=0.5)
    row = verdict(one, none, runs_of(["failed", "timeout", "diverged", "out_of_memory", "failed"]))
    assert (row["verdict"], row["effect"]) == ("supported", 1.0)
    # Five of five: the exact lower bound at 5 % is 0.05 ** (1 / 5), the p-value 0.5 ** 5.
    assert row["low"] == pytest.approx(0.05**0.2, abs=0.002) and row["high"] == 1
    assert row["p_for"] == pytest.approx(1 / 32, abs=0.002)
    assert verdict(one, none, runs_of(["ok"] * 5))["verdict"] == "contradicted"
    assert verdict(one, none, runs_of(["ok", "failed"] * 3))["cause"] == "not resolved"
    assert verdict(one, none, runs_of(["failed"] * 4))["cause"] == "too few replicates"
    assert verdict(one, none, runs_of(["not_applicable"] * 6))["cause"] == "no value"
    assert verdict(one, none, None)["verdict"] == "not testable here"
    refused = runs_of(["failed"] * 6).assign(reason="InputError: which regions belong to a gene")
    assert verdict(one, none, refused)["verdict"] == "not testable here"
    crashed = runs_of(["failed"] * 6).assign(reason="LinAlgError: singular matrix")
    assert verdict(one, none, crashed)["verdict"] == "supported"
    bounded = make_claim("fails", models=["A"], at_least=0.5, n_cells=(1, 1000))
    assert verdict(bounded, none, runs_of(["failed"] * 6))["cause"] == "missing design"


def test_forms_of_a_data_set_are_compared_by_replicate(scores, make_claim, verdict):
    data = scores(constant, datasets=("with", "without"))
    data.loc[data["dataset"] == "with", "value"] += 0.2
    for pairs, relation, expected in (
        ([["with", "without"]], "better", "supported"),
        ([["without", "with"]], "better", "contradicted"),
        ([["with", "without"], ["x", "y"]], "better", "supported"),
    ):
        row = verdict(make_claim("between_datasets", models=["A"], pairs=pairs, relation=relation), data)
        assert row["verdict"] == expected
    for margin, expected in ((0.3, "supported"), (0.1, "contradicted")):
        pairs = [["with", "without"]]
        one = make_claim("between_datasets", models=["A"], pairs=pairs, relation="alike", margin=margin)
        assert verdict(one, data)["verdict"] == expected
    row = verdict(make_claim("between_datasets", models=["A"], pairs=[["x", "y"]], relation="better"), data)
    assert row["cause"] == "missing design"


def test_quantity_outside_the_tables_is_listed(scores, make_claim, verdict):
    row = verdict(make_claim("outside", reason="nobody counts it"), scores(constant))
    assert (row["verdict"], row["cause"], row["reason"]) == (
        "not testable here",
        "no such quantity",
        "nobody counts it",
    )


def test_the_share_of_runs_counts_and_not_of_replicates(scores, make_claim, verdict):
    """Two of five sizes fail in every replicate: 40 % of the runs, though most of no replicate's runs."""
    none = scores(constant).iloc[:0]
    parts = [runs_of([status] * 12, n) for n, status in enumerate(["failed", "ok", "ok", "timeout", "ok"], start=5000)]
    runs = pd.concat(parts)
    row = verdict(make_claim("fails", models=["A"], at_least=0.1), none, runs)
    assert (row["verdict"], row["n_blocks"]) == ("supported", 12) and row["effect"] == pytest.approx(0.4)
    # Only the named kind counts, and the other failures are left out: one of four runs.
    row = verdict(make_claim("fails", models=["A"], at_least=0.1, statuses=["timeout"]), none, runs)
    assert row["effect"] == pytest.approx(0.25)
    row = verdict(make_claim("fails", models=["A"], at_least=0.1, statuses=["diverged"]), none, runs)
    assert row["effect"] == 0
    only = runs[runs["status"] == "failed"]
    row = verdict(make_claim("fails", models=["A"], at_least=0.1, statuses=["diverged"]), none, only)
    assert row["verdict"] == "not testable here"


def test_bounds_of_a_share_are_those_of_clopper_and_pearson_for_whole_runs():
    from benchmarks.claims.kinds.fails import bounds

    lower, upper = bounds(np.array([1.0, 1, 0, 0, 0, 0, 0, 0]))
    # scipy.stats.binomtest(2, 8).proportion_ci(0.9, "exact")
    assert np.quantile(lower, 0.05) == pytest.approx(0.0464, abs=0.002)
    assert np.quantile(upper, 0.95) == pytest.approx(0.5997, abs=0.003)


def flagged_runs(data, where):
    """Runs of scores, those of model a collapsed where `where` says so."""
    runs = data.drop(columns=["metric", "value"]).assign(status="ok", duplicate_fraction=0.0)
    return runs.assign(collapsed=(runs["model"] == "a") & where(runs))


def test_a_collapse_costs_its_own_replicate_alone(scores, make_claim, verdict):
    data = scores(constant, replicates=7)
    row = verdict(
        make_claim("better_than", models=["A"], than=["B"]),
        data,
        flagged_runs(data, lambda runs: runs["replicate"] == 3),
    )
    assert (row["verdict"], row["n_blocks"]) == ("supported", 6)


ALONG = [
    ("flat", {"models": ["A"], "along": "n_cells", "margin": 0.3, "span": 2}),
    ("depends", {"models": ["A"], "along": "n_cells", "margin": 0.05}),
    ("trend", {"models": ["A"], "along": "n_cells", "direction": "improves"}),
    ("gains_most", {"model": "A", "than": ["B"], "along": "n_cells"}),
    ("gains_most", {"model": "A", "than": ["B"], "along": "n_cells", "what": "dependence"}),
    ("stable_down_to", {"models": ["A"], "cells": 500, "largest": 2000, "margin": 0.3}),
]


@pytest.mark.parametrize(("kind", "test"), ALONG)
def test_an_end_of_the_axis_lost_to_collapses_leaves_nothing_to_say(kind, test, scores, make_claim, verdict):
    data = scores(gain({"a": 0.1, "b": 0.0}), replicates=10)
    one = make_claim(kind, **test)

    def row(where):
        return verdict(one, data, flagged_runs(data, where))

    assert row(lambda runs: False)["n_blocks"] == 10
    for end in (500, 2000):
        lost = row(lambda runs, end=end: runs["n_cells"] == end)
        assert (lost["verdict"], lost["cause"]) == ("not testable here", "no value") and "degenerate" in lost["reason"]
        # Three of ten replicates are more than a fifth, two are not.
        lost = row(lambda runs, end=end: (runs["n_cells"] == end) & (runs["replicate"] < 3))
        assert (lost["verdict"], lost["cause"]) == ("not testable here", "no value") and "3 of 10" in lost["reason"]
        kept = row(lambda runs, end=end: (runs["n_cells"] == end) & (runs["replicate"] < 2))
        assert (kept["verdict"], kept["n_blocks"]) == ("supported", 8)
    # In the middle of the axis a collapse costs a point of the line.
    assert row(lambda runs: runs["n_cells"] == 1000)["n_blocks"] == 10


@pytest.mark.parametrize(("kind", "test"), [item for item in ALONG if item[0] != "stable_down_to"])
def test_a_size_that_few_replicates_have_does_not_count(kind, test, scores, make_claim, verdict):
    """Six replicates of 500 to 2,000 cells and two of 8,000: the change is that of the sizes which all have."""
    data = scores(gain({"a": 0.1, "b": 0.0}), sizes=(500, 1000, 2000, 8000))
    one, whole = make_claim(kind, **test), data[data["n_cells"] < 8000]
    some = data[(data["n_cells"] < 8000) | (data["replicate"] < 2)]
    expected = verdict(one, whole)
    assert expected["n_blocks"] == 6 and abs(expected["effect"]) < 0.2
    row = verdict(one, some)
    assert row[["verdict", "effect", "n_blocks"]].equals(expected[["verdict", "effect", "n_blocks"]])
    said = "(without 8,000 cells, which fewer than 5 blocks have)"
    assert said in row["decided_by"] and said not in expected["decided_by"]
    assert abs(verdict(one, data)["effect"]) > 0.2
    # Where no two sizes have five replicates, nothing is left out, and there are too few.
    few = verdict(one, some[some["replicate"] < 4])
    assert (few["cause"], few["n_blocks"]) == ("too few replicates", 4)


def test_a_variance_that_few_replicates_have_does_not_count(scores, make_claim, verdict):
    data = scores(spreading(-1.0), sizes=(500, 1000, 2000, 8000), replicates=12)
    some = data[(data["n_cells"] < 8000) | (data["replicate"] < 3)]
    row = verdict(make_claim("variance_falls", models=["A"]), some)
    assert (row["verdict"], row["n_blocks"]) == ("supported", 12) and row["effect"] == pytest.approx(2.0, abs=0.02)


def test_flat_needs_a_range_to_be_flat_over(scores, make_claim, verdict):
    data = scores(constant, sizes=(500, 1000, 2000))
    for span, cause in ((4, ""), (4.1, "missing design")):
        row = verdict(make_claim("flat", models=["A"], along="n_cells", margin=0.1, span=span), data)
        assert row["cause"] == cause
    assert "a factor 4.1 apart" in row["reason"]
    data = scores(constant, **UNPAIRED)
    for span, cause in ((0.8, ""), (0.81, "missing design")):
        row = verdict(make_claim("flat", models=["A"], along="unpaired_fraction", margin=0.1, span=span), data)
        assert row["cause"] == cause


def test_seeds_on_several_replicates_are_averaged(scores, make_claim, verdict):
    """Two replicates of six seeds are two blocks, not twelve."""
    data = scores(constant, replicates=2, seeds=range(6))
    row = verdict(make_claim("better_than", models=["A"], than=["B"], over="seeds"), data)
    assert (row["cause"], row["n_blocks"], row["over"]) == ("too few replicates", 2, "subsamples")
    runs = (
        data[data["metric"] == "good"].drop(columns=["metric", "value"]).assign(collapsed=False, duplicate_fraction=0.0)
    )
    row = verdict(make_claim("fails", models=["A"], at_least=0.5, over="seeds"), data, runs.assign(status="failed"))
    assert row["n_blocks"] == 2
    single = scores(constant, replicates=1, seeds=range(6), datasets=("e",))
    both = pd.concat([data, single])
    row = verdict(make_claim("better_than", models=["A"], than=["B"], over="seeds"), both)
    assert (row["verdict"], row["n_blocks"], row["over"]) == ("supported", 8, "subsamples and seeds")


def test_a_zero_counts_as_half_of_the_smallest_value_where_ratios_are_compared(scores, make_claim, verdict):
    def perfect(model, n, fraction, replicate):
        return {"a": 0.0 if replicate == 0 else 0.1, "b": 0.2}[model]

    data = scores(perfect, metric="bad", sizes=(500,), replicates=6)
    one = make_claim("better_than", ["bad"], models=["A"], than=["B"], logarithm=True)
    # Five ratios of 2 and one of 0.2 / 0.05.
    assert verdict(one, data)["effect"] == pytest.approx((2**5 * 4) ** (1 / 6))
    assert verdict(one, data.assign(value=-data["value"]))["cause"] == "no value"


def test_differences_of_differences_between_data_sets(scores, make_claim, verdict):
    """Both models lose on the second form of the data, b by 0.3 and a by 0.1."""
    data = scores(constant, datasets=("all", "selected"))
    for model, loss in (("a", 0.1), ("b", 0.3)):
        data.loc[(data["dataset"] == "all") & (data["model"] == model), "value"] -= loss
    test = {"pairs": [["all", "selected"]], "relation": "better"}
    row = verdict(make_claim("between_datasets", models=["A"], than=["B"], **test), data)
    assert row["verdict"] == "supported" and row["effect"] == pytest.approx(0.2)
    assert verdict(make_claim("between_datasets", models=["B"], than=["A"], **test), data)["verdict"] == "contradicted"
    assert verdict(make_claim("between_datasets", models=["A"], **test), data)["verdict"] == "contradicted"
    turned = {"pairs": [["selected", "all"]], "relation": "better"}
    for by, expected in ((0.05, "supported"), (0.15, "contradicted")):
        assert verdict(make_claim("between_datasets", models=["A"], by=by, **turned), data)["verdict"] == expected
