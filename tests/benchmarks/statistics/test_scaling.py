"""Scaling between controls and by declaration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.statistics.scaling import scale, scale_by_declaration
from benchmarks.statistics.summary import replicate_means


def scaled(make, rows, metrics=None):
    """Scaled values and reasons by (model, replicate)."""
    table = scale(replicate_means(make.scores(rows)), metrics or make.metrics)
    return {(row.model, row.replicate): (row.scaled, row.scaled_reason) for row in table.itertuples()}


def test_between_controls_by_hand(make):
    result = scaled(
        make,
        [
            ("random", "nmi_leiden", 0, 0.2),
            ("oracle", "nmi_leiden", 0, 1.0),
            ("pca", "nmi_leiden", 0, 0.6),
            ("bad", "nmi_leiden", 0, 0.0),
        ],
    )
    assert result["pca", 0] == (pytest.approx(0.5), "")
    assert result["bad", 0][0] == pytest.approx(-0.25)
    assert (result["random", 0][0], result["oracle", 0][0]) == (0, 1)


def test_lower_is_better_by_hand(make):
    name = "rank_distance_fraction"
    result = scaled(make, [("random", name, 0, 0.5), ("oracle", name, 0, 0.0), ("pca", name, 0, 0.1)])
    assert result["pca", 0][0] == pytest.approx(0.8)


def test_controls_are_averaged_over_replicates(make):
    rows = [("random", "nmi_leiden", r, 0.1 + 0.02 * r) for r in range(2)] + [
        ("oracle", "nmi_leiden", r, 0.9) for r in range(2)
    ]
    result = scaled(make, [*rows, ("pca", "nmi_leiden", 1, 0.5)])
    assert result["pca", 1][0] == pytest.approx((0.5 - 0.11) / (0.9 - 0.11))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("oracle", "nmi_leiden", 0, 1.0)], "random control"),
        ([("random", "nmi_leiden", 0, 0.0)], "oracle control"),
        ([("random", "nmi_leiden", 0, 0.5), ("oracle", "nmi_leiden", 0, 0.5)], "does not beat"),
        ([("random", "nmi_leiden", 0, 0.5), ("oracle", "nmi_leiden", 0, 0.4)], "does not beat"),
        # Gap 0.1, standard deviation of the random control 0.14: the gap may be chance.
        ([("random", "nmi_leiden", 0, 0.3), ("random", "nmi_leiden", 1, 0.5), ("oracle", "nmi_leiden", 0, 0.5), ("oracle", "nmi_leiden", 1, 0.5)], "does not beat"),
    ],
)  # fmt: skip
def test_unscaled_with_a_reason(make, rows, reason):
    value, text = scaled(make, [*rows, ("pca", "nmi_leiden", 0, 0.5)])["pca", 0]
    assert np.isnan(value) and reason in text


def test_prediction_is_not_scaled(make):
    value, text = scaled(make, [("random", "rmse", 0, 2.0), ("oracle", "rmse", 0, 0.0), ("pca", "rmse", 0, 1.0)])[
        "pca", 0
    ]
    assert np.isnan(value) and "not scaled" in text


def test_batch_metrics_by_their_range_without_controls(make):
    assert scaled(make, [("pca", "asw_batch", 0, 0.9)])["pca", 0] == (pytest.approx(0.9), "")


@pytest.mark.parametrize(
    ("declaration", "value", "expected"),
    [
        ({"bounds": (-1.0, 1.0)}, 0.5, 0.75),
        ({"bounds": (0.0, 1.0), "direction": "lower"}, 0.2, 0.8),
        ({"bounds": (0.0, 4.0), "direction": "target", "target": 1.0}, 0.5, 0.5),
        ({"bounds": (0.0, 4.0), "direction": "target", "target": 1.0}, 2.5, 0.5),
        ({"bounds": (0.0, np.inf), "direction": "target", "target": 1.0}, 2.0, 0.5),
        ({"bounds": (0.0, np.inf), "direction": "target", "target": 1.0}, 0.5, 0.5),
        ({"bounds": (0.0, np.inf), "direction": "target", "target": 1.0}, 0.0, 0.0),
        ({"bounds": (0.0, np.inf), "direction": "target", "target": 1.0}, 1.0, 1.0),
        ({"bounds": (0.0, np.inf)}, 2.0, np.nan),
        ({"scale": lambda value: value / 10}, 5.0, 0.5),
    ],
)
def test_by_declaration_by_hand(make, declaration, value, expected):
    assert scale_by_declaration(make.metric("m", "mixing", **declaration), np.array([value])) == pytest.approx(
        [expected], nan_ok=True
    )


def test_a_part_is_scaled_as_its_metric(make):
    metrics = {
        "top": make.metric("top", "mixing", bounds=(0.0, 2.0)),
        "top_k": make.metric("top_k", "mixing", bounds=(0.0, 4.0)),
    }
    assert scaled(make, [("pca", "top_k_5", 0, 1.0)], metrics)["pca", 0][0] == pytest.approx(0.25)
    assert scaled(make, [("pca", "top_5", 0, 1.0)], metrics)["pca", 0][0] == pytest.approx(0.5)


@given(st.floats(-5, 5), st.floats(0.1, 10), st.floats(-1, 2))
@settings(max_examples=20, deadline=None)
def test_scaling_does_not_see_units(make, shift, factor, value):
    rows = [("random", "nmi_leiden", 0, 0.1), ("oracle", "nmi_leiden", 0, 0.9), ("pca", "nmi_leiden", 0, value)]
    moved = [(model, name, replicate, factor * number + shift) for model, name, replicate, number in rows]
    first, second = (
        scale(replicate_means(make.scores(item)), make.metrics)["scaled"].to_numpy() for item in (rows, moved)
    )
    assert np.allclose(first, second, atol=1e-6)
