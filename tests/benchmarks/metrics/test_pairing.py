"""Pairing metrics on a line, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import NotApplicable
from benchmarks.metrics.registry import METRICS

POSITIONS = np.array([[0.0], [1.0], [3.0], [7.0], [12.0]])
OBS = pd.DataFrame(
    {"cell": ["x", "y", "y", "x", "z"], "group": ["rna", "rna", "atac", "atac", "paired"]}, index=list("abcde")
)
# From x (rna, 0): y rna 1, y atac 3, x atac 7, z 12: rank 3 of all, 2 among the two atac.
# From y (rna, 1): x rna 1, y atac 2: rank 2; 1 among atac. From y (atac, 3): y rna 2: rank 1; 1 among rna.
# From x (atac, 7): y atac 4, z 5, y rna 6, x rna 7: rank 4; 2 among rna.


def compute(name: str, obs: pd.DataFrame = OBS, positions: np.ndarray = POSITIONS):
    return METRICS[name].compute(Context(positions, Multimodal(obs, {}, {}), threads=1))


def test_rank_distance():
    assert compute("rank_distance") == {"": 2.5, "atac_to_rna": 2.5, "rna_to_atac": 2.5}
    assert compute("rank_distance_fraction") == {"": 0.5, "atac_to_rna": 0.5, "rna_to_atac": 0.5}
    assert compute("rank_distance_median")["rna_to_atac"] == 2.5
    # Larger of both directions: x max(3, 4), y max(2, 1).
    assert compute("rank_distance_mutual") == 3.0


def test_foscttm_and_top_k():
    # rna to atac: x has y's half closer (1 of 1), y none; atac to rna: likewise.
    assert compute("foscttm") == {"": 0.5, "atac_to_rna": 0.5, "rna_to_atac": 0.5}
    # Two to choose from: 5, 10 and 50 would find every match.
    assert compute("top_k_match") == {"1": 0.5}
    for name in ("foscttm", "top_k_match"):
        with pytest.raises(NotApplicable, match="single observation"):
            compute(name, OBS.assign(cell=list("xyzxw"), group=["rna", "paired", "paired", "atac", "paired"]))


def test_perfect_matches():
    same = POSITIONS[[0, 1, 1, 0, 4]] + np.array([[0.0], [0.0], [0.1], [0.1], [0.0]])
    assert compute("rank_distance", positions=same)[""] == 1.0
    assert compute("foscttm", positions=same)[""] == 0.0
    assert compute("top_k_match", positions=same)["1"] == 1.0


def test_three_halves_give_six_directions():
    obs = pd.DataFrame({"cell": list("xyxyxy"), "group": ["rna", "rna", "atac", "atac", "protein", "protein"]})
    parts = compute("rank_distance", obs, np.array([[0.0], [10.0], [1.0], [11.0], [3.0], [12.0]]))
    assert len(parts) == 7
    assert parts["rna_to_atac"] == 1.0
    # x: protein comes after atac; y: rna at 10, protein at 12 after atac at 11.
    assert parts["rna_to_protein"] == 2.0
    assert parts[""] == np.mean([value for name, value in parts.items() if name])


def test_directions_weigh_alike_however_many_pairs_they_have():
    # Cell w has an rna and an atac half, cells x and y rna and protein halves.
    obs = pd.DataFrame(
        {"cell": ["w", "w", "x", "x", "y", "y"], "group": ["rna", "atac", "rna", "protein", "rna", "protein"]}
    )
    parts = compute("rank_distance", obs, np.random.default_rng(0).normal(size=(6, 2)))
    assert set(parts) == {"", "rna_to_atac", "atac_to_rna", "rna_to_protein", "protein_to_rna"}
    assert parts[""] == pytest.approx(np.mean([value for name, value in parts.items() if name]))


@pytest.mark.parametrize("name", ["rank_distance", "foscttm", "top_k_match", "rank_distance_mutual"])
def test_without_halves(name):
    with pytest.raises(NotApplicable, match="no cell was split"):
        compute(name, OBS.assign(cell=list("vwxyz")))
    with pytest.raises(NotApplicable, match="does not say which"):
        compute(name, OBS[["group"]])
