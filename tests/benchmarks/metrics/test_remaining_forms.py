"""Forms that differ from a checked metric in their distance, their clustering or their parts, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

from benchmarks.formats import Multimodal
from benchmarks.metrics import context as context_module
from benchmarks.metrics.clustering import isolated_labels
from benchmarks.metrics.composite import BATCH_REMOVAL, MIXING
from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import NotApplicable
from benchmarks.metrics.registry import METRICS
from benchmarks.metrics.score import score


def value(world, name: str) -> float:
    return float(METRICS[name].compute(world.context))


@pytest.mark.parametrize("column", ["batch", "site"])
def test_cosine_silhouettes_within_cell_types(world, column):
    obs, values = world.truth.obs, np.asarray(world.values, dtype=np.float64)
    means = []
    for cell_type in obs["cell_type"].unique():
        rows = (obs["cell_type"] == cell_type).to_numpy()
        labels = obs[column].to_numpy()[rows]
        if 1 < len(set(labels)) < rows.sum():
            means.append(np.mean(1 - np.abs(silhouette_samples(values[rows], labels, metric="cosine"))))
    assert len(means) > 1
    assert value(world, f"asw_{column}_cosine") == pytest.approx(np.mean(means), abs=1e-6)


def test_louvain_scores_are_the_best_of_its_partitions(world):
    labels = world.truth.obs["cell_type"].to_numpy()
    partitions = world.context.partitions("louvain")
    scores = [normalized_mutual_info_score(labels, clusters) for clusters in partitions]
    assert value(world, "nmi_louvain") == pytest.approx(max(scores), abs=1e-9)
    best = partitions[int(np.argmax(scores))]
    assert value(world, "ari_louvain") == pytest.approx(adjusted_rand_score(labels, best), abs=1e-9)


def test_k_means_scores_are_those_of_its_clusters(world):
    labels = world.truth.obs["cell_type"].to_numpy()
    clusters = world.context.k_means
    assert len(np.unique(clusters)) == len(set(labels))
    assert value(world, "ari_kmeans") == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-9)
    assert value(world, "nmi_kmeans") == pytest.approx(normalized_mutual_info_score(labels, clusters), abs=1e-9)


def test_isolated_labels_are_found_by_name_in_a_sample(make, monkeypatch):
    # "aa", in all batches, is sorted first and not in the sample: the codes of all other types are one lower there.
    made = make(n_cells=300, types=3, unpaired=0.0)
    drawn = np.sort(np.random.default_rng([0, 1]).choice(300, 200, replace=False))
    left = np.setdiff1d(np.arange(300), drawn)
    obs = made.truth.obs.copy()
    obs.iloc[left[:3], obs.columns.get_loc("cell_type")] = "aa"
    obs.iloc[left[:3], obs.columns.get_loc("batch")] = ["batch0", "batch1", "batch2"]
    monkeypatch.setattr(context_module, "CLUSTERING_LIMIT", 200)
    whole = Context(made.values, Multimodal(obs, {}, {}), threads=1)
    assert [whole.covariate("cell_type").names[code] for code in isolated_labels(whole)] == ["type0"]
    alone = Context(made.values[drawn], Multimodal(obs.iloc[drawn], {}, {}), threads=1)
    expected = METRICS["isolated_label_f1"].compute(alone)
    assert METRICS["isolated_label_f1"].compute(whole) == expected
    obs.iloc[left[:3], obs.columns.get_loc("batch")] = "batch0"
    obs.iloc[drawn, obs.columns.get_loc("batch")] = np.resize(["batch0", "batch1"], 200)
    with pytest.raises(NotApplicable, match="in the sample"):
        METRICS["isolated_label_f1"].compute(Context(made.values, Multimodal(obs, {}, {}), threads=1))


def test_sources_say_what_the_papers_do_not_give():
    for name in ("nmi_kmeans", "nmi_components", "composite_mixing", "modality_mixing"):
        assert METRICS[name].paper.startswith("ours")


def test_mixing_and_batch_composites_are_the_means_of_their_scaled_parts(world):
    rows = score(world.context)[0].set_index("metric")
    for name, parts in (("composite_mixing", MIXING), ("composite_batch_removal", BATCH_REMOVAL)):
        scaled = [METRICS[part].scaled(rows.loc[part, "value"]) for part in parts if rows.loc[part, "status"] == "ok"]
        assert len(scaled) > 2
        assert rows.loc[name, "value"] == pytest.approx(sum(scaled) / len(scaled))
