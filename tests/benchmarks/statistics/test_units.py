"""Values that are compared between designs, where chance depends on the number of observations."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.statistics.units import BETWEEN_CONTROLS, MEASURED, comparable_units, usable_units


def scores_of(make, without=()):
    """Two sizes with a chance level of their own; pca stands a quarter of the way from random to oracle in both."""
    parts = []
    for n_cells, chance in ((100, 0.2), (200, 0.04)):
        rows = []
        for replicate in range(2):
            rows += [
                ("random", "nmi_leiden", replicate, chance),
                ("oracle", "nmi_leiden", replicate, 1.0),
                ("pca", "nmi_leiden", replicate, chance + (1 - chance) / 4),
                ("random", "rank_distance_fraction", replicate, 0.5),
                ("oracle", "rank_distance_fraction", replicate, 0.1),
                ("pca", "rank_distance_fraction", replicate, 0.2),
                ("random", "asw_batch", replicate, 0.9),
                ("oracle", "asw_batch", replicate, 0.8),
                ("pca", "asw_batch", replicate, 0.7),
            ]
        rows = [row for row in rows if (row[0], row[1], n_cells) not in without]
        parts.append(make.scores(rows, n_cells=n_cells, design=f"n{n_cells}"))
    return pd.concat(parts, ignore_index=True)


def compared(make, **options):
    scores = scores_of(make, **options)
    units = comparable_units(scores, None, make.metrics, usable_units(scores, None, make.metrics))
    return {name: part for name, part in units.groupby("metric")}


def test_label_and_pairing_metrics_stand_between_the_controls_of_their_design(make):
    parts = compared(make)
    assert parts["nmi_leiden"]["value"].tolist() == pytest.approx([0.25] * 4)
    assert parts["rank_distance_fraction"]["value"].tolist() == pytest.approx([0.75] * 4)
    for name in ("nmi_leiden", "rank_distance_fraction"):
        assert set(parts[name]["scale"]) == {BETWEEN_CONTROLS} and not parts[name]["lower"].any()
        assert set(parts[name]["model"]) == {"pca"}


def test_other_metrics_stay_as_measured(make):
    batch = compared(make)["asw_batch"]
    assert batch["value"].tolist() == [0.7] * 4 and set(batch["scale"]) == {MEASURED}


@pytest.mark.parametrize("control", ["random", "oracle"])
def test_a_metric_without_a_control_in_one_design_stays_as_measured_in_all(make, control):
    parts = compared(make, without={(control, "rank_distance_fraction", 200)})
    pairing = parts["rank_distance_fraction"]
    assert pairing["value"].tolist() == [0.2] * 4 and set(pairing["scale"]) == {MEASURED} and pairing["lower"].all()
    assert set(parts["nmi_leiden"]["scale"]) == {BETWEEN_CONTROLS}
