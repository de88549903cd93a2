"""Composites: weights, scaling, missing and failed parts."""

from __future__ import annotations

import math

import pytest

from benchmarks.metrics.composite import BIO_CONSERVATION, OVERALL, PARTS, combine
from benchmarks.metrics.registry import METRICS
from benchmarks.metrics.score import score


def test_weights_by_hand():
    values = {"nmi_leiden": 0.8, "foscttm": 0.25}
    result = combine({"nmi_leiden": 3.0, "foscttm": 1.0}, METRICS, values, dict.fromkeys(values, "ok"))
    # FOSCTTM 0.25 is half way from chance to perfect.
    assert result.value == pytest.approx((3 * 0.8 + 0.5) / 4)
    assert result.used == {"nmi_leiden": 0.8, "foscttm": 0.5}


def test_absent_parts_are_named_and_failed_parts_fail():
    status = {"nmi_leiden": "ok", "clisi": "not_applicable", "ari_leiden": "failed"}
    values = {"nmi_leiden": 0.5, "clisi": math.nan, "ari_leiden": math.nan}
    partly = combine(dict.fromkeys(["nmi_leiden", "clisi"], 1.0), METRICS, values, status)
    assert partly.value == 0.5
    assert partly.absent == ("clisi",)
    assert "clisi" in partly.account
    broken = combine(dict.fromkeys(values, 1.0), METRICS, values, status)
    assert math.isnan(broken.value)
    assert broken.failed == ("ari_leiden",)


def test_composites_of_a_real_table(world):
    table, _ = score(world.context)
    rows = table.set_index("metric")
    parts = [
        METRICS[name].scaled(rows.loc[name, "value"]) for name in BIO_CONSERVATION if rows.loc[name, "status"] == "ok"
    ]
    assert rows.loc["composite_bio_conservation", "value"] == pytest.approx(sum(parts) / len(parts))
    expected = sum(weight * rows.loc[name, "value"] for name, weight in OVERALL.items())
    assert rows.loc["composite_overall", "value"] == pytest.approx(expected)
    for name, own in PARTS.items():
        assert any(part in rows.loc[name, "reason"] for part in own)


def test_overall_needs_both_halves(world):
    table, _ = score(world.context, ["nmi_leiden", "composite_bio_conservation", "composite_overall"])
    rows = table.set_index("metric")
    assert rows.loc["composite_bio_conservation", "status"] == "ok"
    assert rows.loc["composite_overall", "reason"] == "no value without composite_batch_removal"


def test_batch_removal_needs_a_part_that_uses_batches(world):
    table, _ = score(world.context, ["graph_connectivity", "composite_batch_removal"])
    assert table.set_index("metric").loc["composite_batch_removal", "status"] == "not_applicable"
    table, _ = score(world.context, ["graph_connectivity", "ilisi", "composite_batch_removal"])
    assert table.set_index("metric").loc["composite_batch_removal", "status"] == "ok"


def test_asked_for_alone_a_composite_says_why_it_has_no_value(world):
    table, _ = score(world.context, ["composite_overall"])
    assert table["status"].item() == "not_applicable"
