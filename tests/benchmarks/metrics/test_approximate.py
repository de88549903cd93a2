"""Above the exact limit: approximate neighbours, sampled silhouettes and ranks, with their measured errors."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metrics import context as module
from benchmarks.metrics import mixing
from benchmarks.metrics.approximate import approximate_neighbours, recall
from benchmarks.metrics.context import Context
from benchmarks.metrics.distances import pairwise_pass
from benchmarks.metrics.score import sampling_error, score


@pytest.fixture(scope="module")
def large(make):
    return make(n_cells=4000, dimensions=10, types=8, isolated=True, seed=9)


def test_neighbours_are_nearly_all_found_and_reproducible(large):
    truth = pairwise_pass(large.values, 50, threads=1)
    found, distances = approximate_neighbours(large.values, 50, threads=1)
    again, _ = approximate_neighbours(large.values, 50, threads=2)
    np.testing.assert_array_equal(found, again)
    assert recall(found, truth.indices) > 0.98
    assert np.all(found != np.arange(len(found))[:, None])
    assert np.all(np.diff(distances, axis=1) >= 0)
    assert np.mean(np.abs(distances - truth.distances)) < 1e-2


def test_recall_by_hand():
    assert recall(np.array([[1, 2], [3, 4]]), np.array([[2, 5], [4, 3]])) == 0.75


def test_sampled_scores_lie_near_the_exact_ones(large, monkeypatch):
    names = [
        "asw_cell_type",
        "asw_batch",
        "one_minus_asw",
        "rank_distance_fraction",
        "foscttm",
        "ilisi",
        "clisi",
        "kbet",
    ]
    names += [
        "label_knn_accuracy",
        "graph_connectivity",
        "modality_enrichment",
        "cross_modality_label_agreement",
        "nmi_leiden",
        "kbet_per_label",
    ]
    exact, _ = score(Context(large.values, large.truth, threads=1), names)
    monkeypatch.setattr(module, "EXACT_LIMIT", 3000)
    monkeypatch.setattr(module, "SAMPLED_ROWS", 1500)
    monkeypatch.setattr(module, "CLUSTERING_LIMIT", 3000)
    context = Context(large.values, large.truth, threads=1)
    sampled, _ = score(context, names)
    error = sampling_error(context)
    assert error["sampled_rows"] == 1500
    assert error["neighbour_recall"] > 0.95
    merged = exact.merge(sampled, on="metric", suffixes=("", "_sampled"))
    assert len(merged) == len(exact)
    assert (merged["status_sampled"] == "ok").all()
    difference = (merged["value"] - merged["value_sampled"]).abs()
    assert difference.max() < 0.05, merged.assign(difference=difference)
    ranks = merged.set_index("metric").loc["rank_distance_fraction"]
    # Stated standard error of a mean rank fraction: at most 0.3 / sqrt(rows); four of them.
    assert abs(ranks["value"] - ranks["value_sampled"]) < 4 * 0.3 / np.sqrt(1500)
    again, _ = score(Context(large.values, large.truth, threads=2), names)
    assert again["value"].to_numpy().tobytes() == sampled["value"].to_numpy().tobytes()


def test_large_cell_types_are_sampled_for_kbet(large, monkeypatch):
    whole = mixing.kbet_per_label(Context(large.values, large.truth, threads=1))
    monkeypatch.setattr(mixing, "LARGEST_TYPE", 300)
    sampled = mixing.kbet_per_label(Context(large.values, large.truth, threads=1))
    assert sampled != whole
    # Fewer cells mean less power, so more neighbourhoods pass.
    assert 0 <= sampled <= 1
