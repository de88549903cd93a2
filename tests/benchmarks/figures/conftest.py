"""Made-up studies in the designs of the papers' studies: invented numbers in the real tables' form."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import SCORE_COLUMNS
from benchmarks.label_agreement import COLUMNS as AGREEMENT_COLUMNS
from benchmarks.report.study import Study
from benchmarks.umaps import COLUMNS

MULTIVI_VARIANTS = ["multivi-native", "multivi-native-mmd", "multivi-native-universal", "multivi-native-cell-none"]


@dataclass
class Data:
    """One data set of a made-up study."""

    name: str
    sizes: tuple = (900,)
    fractions: tuple = (0.0,)
    groups: tuple = ("paired",)
    umap_sizes: tuple | None = None
    n_labels: int = 14


DESIGNS = {
    "brombacher_sample_size": {
        "data": [Data("marrow_multiome", (500, 2500, 10000)), Data("marrow_cite", (500, 2500, 10000))],
        "models": ["random", "oracle", "cobolt", "scmm", "multivi", "scmvp", "davae", "portal", "totalvi", "scalex"],
        "metrics": [
            "nmi_louvain", "asw_cell_type", "trajectory_conservation", "asw_batch", "asw_site", "graph_connectivity", "cpu_seconds",
        ],
        "replicates": 6,
    },
    "multivi_unpairing": {
        "data": [Data("pbmc", fractions=(0.01, 0.25, 0.5, 0.75, 0.99), groups=("paired", "rna", "atac"))],
        "models": ["random", "oracle", "multivi", "cobolt", "seurat-gene-activity", "seurat-imputed", "seurat-wnn"],
        "metrics": ["modality_enrichment", "rank_distance"],
        "replicates": 3,
    },
    "multivi_mixing": {
        "data": [Data("dogma", fractions=(0.0, 0.5)), Data("tea", fractions=(0.0, 0.5))],
        "models": ["random", "oracle", *MULTIVI_VARIANTS],
        "metrics": [
            "nmi_leiden", "ari_leiden", "asw_cell_type", "asw_batch", "graph_connectivity", "ilisi", "clisi", "kbet",
            "modality_enrichment", "ilisi_modality", "rank_distance_fraction",
        ],
        "seeds": (0, 1, 2),
    },
    "multivi_studies": {
        "data": [
            Data("sites", fractions=(0.0,), groups=("paired", "rna", "atac")),
            Data("sites_uncorrected", groups=("paired", "rna", "atac"), n_labels=5),
        ],
        "models": ["random", "oracle", "multivi-native", "cobolt", "seurat-imputed"],
        "metrics": ["cross_modality_label_agreement", "label_knn_accuracy", "nmi_leiden", "asw_cell_type", "asw_batch", "ilisi", "kbet",
                    "graph_connectivity", "modality_enrichment", "ilisi_modality"],
        "seeds": (0, 1, 2),
    },
    "multivi_trimodal": {
        "data": [
            Data("complete"),
            Data("pairs", groups=("rna+atac", "atac+protein", "rna+protein")),
            Data("every_combination", groups=("paired", "rna+atac", "atac+protein", "rna+protein", "rna", "atac", "protein")),
        ],
        "models": ["random", "oracle", "multivi-native", "mofa", "wnn", "pca"],
        "metrics": ["nmi_leiden", "ari_leiden", "asw_cell_type", "asw_batch", "graph_connectivity", "ilisi", "clisi", "kbet",
                    "modality_enrichment", "ilisi_modality"],
        "replicates": 2,
    },
    "scmvp_latent_dimensions": {
        "data": [Data("pairedseq_cell_lines"), Data("scicar_cell_lines")],
        "models": ["random", "oracle", "scmvp-2d", "scmvp-5d", "scmvp", "scmvp-15d", "scmvp-20d"],
        "metrics": ["ari_kmeans"],
        "seeds": (0, 1, 2, 3, 4),
    },
    "scmvp_scaling": {
        "data": [Data("gm12878", (1000, 5000, 20000, 67418))],
        "models": ["random", "scmvp", "scvi", "lda-atac", "seurat-wnn", "wnn", "multidgd"],
        "metrics": ["wall_seconds", "peak_rss_mb"],
        "replicates": 2,
    },
    "scmvp_clustering": {
        "data": [Data("scicar_cell_lines"), Data("share_mouse_skin")],
        "models": ["random", "oracle", "scmvp", "scmvp-rna-only", "scvi", "rna-pca", "atac-lsi", "lda-atac", "mofa", "scai",
                   "multivi", "cobolt", "seurat-wnn", "liger"],
        "metrics": ["ari_kmeans"],
        "seeds": (0, 1, 2),
    },
    "multidgd_benchmark": {
        "data": [Data("marrow", (623, 6232, 31162, 62324)), Data("gastrulation"), Data("gastrulation_all_features"), Data("cortex_whole")],
        "models": ["random", "oracle", "multidgd", "multivi-native", "cobolt", "scmm"],
        "metrics": ["prediction_rmse_rna", "prediction_rmse_atac", "prediction_auprc_atac", "ari_components", "ari_leiden", "one_minus_asw"],
        "seeds": (0, 37, 8790),
    },
}  # fmt: skip
"""Designs of the made-up studies, by the study that they imitate."""

NOT_APPLICABLE = {
    ("scmvp", "marrow_cite"), ("davae", "marrow_cite"), ("portal", "marrow_cite"), ("multivi", "marrow_cite"),
    ("totalvi", "marrow_multiome"), ("scalex", "marrow_multiome"), ("wnn", "pairs"), ("pca", "pairs"),
    ("cobolt", "marrow"), ("cobolt", "gastrulation"), ("cobolt", "gastrulation_all_features"),
}  # fmt: skip
FAILED = {("seurat-wnn", "pbmc", 0.99), ("scai", "share_mouse_skin", 0.0)}


def model_of(variant: str) -> str:
    """The model of a variant's name."""
    return next((model for model in ("multivi-native", "scmvp") if variant.startswith(f"{model}-")), variant)


def made_up(name: str, suffix: str = "_small") -> Study:
    """The made-up study that imitates study `name`."""
    design = DESIGNS[name]
    generator = np.random.default_rng(len(name))
    scores, runs, umaps, agreement = [], [], [], []
    for number, data in enumerate(design["data"]):
        for size in data.sizes:
            for fraction in data.fractions:
                for replicate in range(design.get("replicates", 1)):
                    for place, variant in enumerate(design["models"]):
                        for seed in design.get("seeds", (0,)):
                            model = model_of(variant)
                            key = (name + suffix, data.name, f"n{size}-u{fraction:g}-r{replicate}-{number}", size, fraction,
                                   replicate, model, variant, seed)  # fmt: skip
                            status = "ok"
                            if (model, data.name) in NOT_APPLICABLE:
                                status = "not_applicable"
                            elif (model, data.name, fraction) in FAILED:
                                status = "failed"
                            ok = status == "ok"
                            quality = {"random": 0.05, "oracle": 0.95}.get(
                                model, 0.3 + 0.04 * place + 0.03 * np.log10(size)
                            )
                            noise = generator.normal(0, 0.015)
                            wall = size**0.9 * (place + 1) / 30 * np.exp(noise)
                            runs.append((*key, status, "" if ok else "why", "cpu", wall if ok else np.nan, wall, np.nan,
                                         500 + size * (place + 1) / 50 if ok else np.nan, np.nan, 10.0, 1.0, _n_latent(variant), False, 0.0))  # fmt: skip
                            for metric in design["metrics"]:
                                value, state = _value(metric, quality + noise, fraction, size, wall, place), status
                                if model in ("random", "oracle", "cobolt") and metric.startswith("prediction"):
                                    state = "not_applicable"
                                if metric == "ari_components" and model != "multidgd":
                                    state = "not_applicable"
                                state = "missing" if state == "failed" else state
                                scores.append(
                                    (
                                        *key,
                                        metric,
                                        value if state == "ok" else np.nan,
                                        state,
                                        "" if state == "ok" else "why",
                                    )
                                )
                            drawn = (
                                replicate == 0
                                and seed == design.get("seeds", (0,))[0]
                                and size in (data.sizes[0], data.sizes[-1])
                            )
                            if (
                                ok
                                and drawn
                                and name not in ("scmvp_scaling", "scmvp_latent_dimensions", "multidgd_benchmark")
                            ):
                                umaps.append(_umap(key, data, quality, generator))
                            if ok and drawn and "cross_modality_label_agreement" in design["metrics"]:
                                agreement.append(_agreement(key, data, quality))
    run_columns = (*SCORE_COLUMNS[:9], "status", "reason", "device", "wall_seconds", "cpu_seconds", "gpu_seconds", "peak_rss_mb",
                   "peak_device_mb", "epochs", "seconds_per_epoch", "n_latent", "collapsed", "duplicate_fraction")  # fmt: skip
    return Study(
        pd.DataFrame(scores, columns=list(SCORE_COLUMNS)),
        pd.DataFrame(runs, columns=list(run_columns)),
        umaps=pd.concat(umaps, ignore_index=True) if umaps else pd.DataFrame(columns=list(COLUMNS)),
        label_agreement=pd.concat(agreement, ignore_index=True) if agreement else pd.DataFrame(),
    )


def _n_latent(variant: str) -> float:
    number = variant.rsplit("-", 1)[-1]
    return float(number[:-1]) if number.endswith("d") and number[:-1].isdigit() else 10.0


def _value(metric: str, quality: float, fraction: float, size: int, wall: float, place: int) -> float:
    if metric in ("wall_seconds", "cpu_seconds"):
        return wall
    if metric == "peak_rss_mb":
        return 500 + size * (place + 1) / 50
    if metric == "rank_distance":
        return 5 + 200 * (1 - quality) * (0.3 + fraction)
    if metric == "rank_distance_fraction":
        return 0.3 * (1 - quality)
    if metric == "modality_enrichment":
        return 1 + fraction * (1 - quality)
    if metric.startswith("prediction_rmse"):
        return 2 - quality * (0.5 if metric.endswith("atac") else 1.0)
    return min(quality + zlib.crc32(metric.encode()) % 11 / 100, 0.99)


def _umap(key: tuple, data: Data, quality: float, generator: np.random.Generator, n: int = 250) -> pd.DataFrame:
    kind = generator.integers(0, 14, n)
    angle = kind / 14 * 2 * np.pi
    table = pd.DataFrame(dict(zip(COLUMNS[:6], (key[1], key[2], key[3], key[4], key[6], key[7]))), index=range(n))
    return table.assign(
        x=10 * np.cos(angle) + generator.normal(0, 2 - quality, n),
        y=10 * np.sin(angle) + generator.normal(0, 2 - quality, n),
        cell_type=[f"T cell $ {i} & <i>" if i < 2 else f"type {i}" for i in kind],
        batch=[f"batch {i}" for i in generator.integers(1, 4, n)],
        group=generator.choice(data.groups if key[4] or len(data.groups) > 1 else ["paired"], n),
    )


def _agreement(key: tuple, data: Data, quality: float) -> pd.DataFrame:
    """Shares of labels: `quality` of the own one, the rest evenly; no observation has the last label."""
    n = data.n_labels
    shares = np.full((n, n), (1 - quality) / (n - 2))
    shares[:, -1] = 0
    np.fill_diagonal(shares, quality)
    names = [f"type {number:02d}" for number in range(n)]
    rows = [(*key[1:], names[i], names[j], shares[i, j]) for i in range(n - 1) for j in range(n)]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


@pytest.fixture(scope="session")
def studies() -> dict[str, Study]:
    """The made-up studies by the name that they imitate."""
    return {name: made_up(name) for name in DESIGNS}
