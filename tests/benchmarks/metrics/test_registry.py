"""Contract of the declarations, the generated page, and how light the import is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.metrics.composite import PARTS
from benchmarks.metrics.declaration import GROUPS, NEEDS, Metric
from benchmarks.metrics.document import metrics_document
from benchmarks.metrics.registry import FAMILIES, METRICS, find

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_declaration_is_complete(metric):
    assert metric.title and metric.description and metric.paper and metric.equation
    assert metric.group in GROUPS
    assert set(metric.needs) <= set(NEEDS)
    assert metric.needs
    low, high = metric.range
    for value in (low, high):
        if metric.scalable and abs(value) != float("inf"):
            assert 0 <= metric.scaled(value) <= 1
    assert any(module.__name__.endswith("." + metric.family) and metric in module.METRICS for module in FAMILIES)


def test_names_of_rows_lead_back_to_one_metric():
    assert find("rank_distance_rna_to_atac").name == "rank_distance"
    assert find("rank_distance_fraction_rna_to_atac").name == "rank_distance_fraction"
    assert find("trajectory_conservation_a_b").name == "trajectory_conservation"
    assert find("prediction_spearman_smoothed_rna").name == "prediction_spearman_smoothed"
    assert find("asw_batch_cosine").name == "asw_batch_cosine"


def test_issue_list_is_covered():
    wanted = [
        "modality_enrichment",
        "ilisi",
        "ilisi_graph",
        "clisi",
        "clisi_graph",
        "kbet",
        "kbet_per_label",
        "cross_modality_label_agreement",
        "rank_distance",
        "rank_distance_fraction",
        "rank_distance_median",
        "foscttm",
        "top_k_match",
        "ari_leiden",
        "nmi_leiden",
        "ari_louvain",
        "nmi_louvain",
        "ari_kmeans",
        "nmi_kmeans",
        "ari_components",
        "nmi_components",
        "isolated_label_f1",
        "asw_cell_type",
        "asw_cell_type_cosine",
        "asw_batch",
        "asw_batch_cosine",
        "asw_site",
        "asw_site_cosine",
        "isolated_label_asw",
        "isolated_label_asw_cosine",
        "bras",
        "bras_euclidean",
        "one_minus_asw",
        "one_minus_asw_cosine",
        "graph_connectivity",
        "graph_connectivity_directed",
        "label_knn_accuracy",
        "trajectory_conservation",
        "pcr_batch",
        "pcr_comparison",
        "prediction_rmse",
        "prediction_mae",
        "prediction_spearman",
        "prediction_spearman_smoothed",
        "prediction_auprc",
        "prediction_calibration_error",
        "prediction_feature_correlation",
        "prediction_cell_correlation",
        "wall_seconds",
        "cpu_seconds",
        "gpu_seconds",
        "peak_rss_mb",
        "cells_per_second",
        "composite_bio_conservation",
        "composite_mixing",
        "composite_batch_removal",
        "composite_overall",
        "degenerate",
    ]
    assert set(wanted) <= set(METRICS)


def test_composites_are_made_of_known_scalable_metrics():
    for name, parts in PARTS.items():
        assert METRICS[name].family == "composite"
        for part in parts:
            assert METRICS[part].scalable
            assert list(METRICS).index(part) < list(METRICS).index(name)


def test_bad_declarations_are_refused():
    good = dict(
        name="m", title="M", family="f", compute=lambda context: 0.0, range=(0.0, 1.0), group="mixing", description="d"
    )
    Metric(**good)
    for change, words in (
        ({"group": "taste"}, "unknown group"),
        ({"direction": "up"}, "unknown direction"),
        ({"direction": "target"}, "target"),
        ({"target": 1.0}, "target"),
        ({"needs": ("luck",)}, "unknown need"),
        ({"range": (1.0, 1.0)}, "empty range"),
    ):
        with pytest.raises(ValueError, match=words):
            Metric(**{**good, **change})


def test_the_page_is_up_to_date():
    page = metrics_document()
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page
    for name in METRICS:
        assert f"\n### {name}\n" in page


def test_import_is_light():
    code = (
        "import sys, benchmarks.metrics.registry\n"
        "heavy = {'scanpy', 'anndata', 'sklearn', 'torch', 'matplotlib', 'igraph', 'umap', 'numba', 'faiss', 'jax'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
