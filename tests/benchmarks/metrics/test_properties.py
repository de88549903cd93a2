"""What must hold for any embedding: invariances, monotone responses, bounds by controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context
from benchmarks.metrics.score import score

LABEL = ("nmi_leiden", "ari_leiden", "nmi_louvain", "nmi_kmeans", "asw_cell_type", "clisi", "label_knn_accuracy")
PAIRING = ("rank_distance_fraction", "foscttm", "rank_distance_median")
CONTINUOUS = (
    "asw_cell_type",
    "asw_cell_type_cosine",
    "asw_batch",
    "bras_euclidean",
    "one_minus_asw",
    "isolated_label_asw",
    "ilisi",
    "clisi",
    "ilisi_graph",
    "clisi_graph",
    "kbet",
    "kbet_per_label",
    "graph_connectivity",
    "graph_connectivity_directed",
    "label_knn_accuracy",
    "pcr_batch",
    "modality_enrichment",
    "cross_modality_label_agreement",
    "rank_distance",
    "rank_distance_mutual",
    "foscttm",
    "top_k_match",
)
CLUSTERED = ("nmi_leiden", "ari_leiden", "nmi_louvain", "nmi_kmeans", "ari_kmeans")


def values_of(embedding, truth, names) -> pd.Series:
    table, _ = score(Context(embedding, truth, threads=1), names)
    return table.set_index("metric")["value"]


@pytest.fixture(scope="module")
def reference(world) -> pd.Series:
    return values_of(world.values.astype(np.float64), world.truth, CONTINUOUS + CLUSTERED)


def test_invariant_to_rotation_and_reflection(world, reference):
    # About the origin, which the cosine distance sees.
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(world.values.shape[1],) * 2))
    turned = values_of(world.values.astype(np.float64) @ rotation, world.truth, CONTINUOUS + CLUSTERED)
    pd.testing.assert_series_equal(turned, reference, atol=1e-7, rtol=0)


def test_invariant_to_translation_and_scale(world, reference):
    names = [name for name in CONTINUOUS + CLUSTERED if not name.endswith("cosine")]
    moved = values_of(world.values.astype(np.float64) * 64 + 4096, world.truth, names)
    # LISI's bisection starts at 1 whatever the scale, so it stops elsewhere within its tolerance of 1e-5.
    pd.testing.assert_series_equal(moved, reference[moved.index], atol=2e-5, rtol=0)


def test_invariant_to_the_order_of_observations(world, reference):
    order = np.random.default_rng(1).permutation(len(world.values))
    shuffled = values_of(
        world.values[order].astype(np.float64), Multimodal(world.truth.obs.iloc[order], {}, {}), CONTINUOUS + CLUSTERED
    )
    exact = list(reference.index.difference(CLUSTERED))
    pd.testing.assert_series_equal(shuffled[exact], reference[exact], atol=1e-9, rtol=0)
    # Random starts of the clusterings meet other cells: equal up to what the seed decides.
    pd.testing.assert_series_equal(shuffled[list(CLUSTERED)], reference[list(CLUSTERED)], atol=0.06, rtol=0)


def test_invariant_to_renaming(world, reference):
    obs = world.truth.obs.copy()
    obs["cell_type"] = obs["cell_type"].map(lambda name: f"<b>{9 - int(name[-1])}</b>")
    obs["batch"] = obs["batch"].map(lambda name: f"$(batch {9 - int(name[-1])})")
    obs["cell"] = obs["cell"].map(lambda name: f"x{name}")
    renamed = values_of(world.values.astype(np.float64), Multimodal(obs, {}, {}), CONTINUOUS + CLUSTERED)
    pd.testing.assert_series_equal(renamed, reference, atol=1e-9, rtol=0)


@pytest.fixture(scope="module")
def ladder(make) -> pd.DataFrame:
    """Scores while the embedding is degraded from an oracle (label and cell identity) to noise, step by step."""
    made = make(n_cells=400, noise=0.05, modality_shift=0.0, batch_shift=0.0, seed=4)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=made.values.shape)
    types = pd.factorize(made.truth.obs["cell_type"])[0]
    oracle = np.eye(made.values.shape[1])[types] * 20 + made.values * 0.5
    rows = {}
    for share in (0.0, 0.3, 0.6, 0.8, 0.9, 1.0):
        rows[share] = values_of(
            (1 - share) * oracle + share * 8 * noise, made.truth, LABEL + PAIRING + ("ilisi", "modality_enrichment")
        )
    frame = pd.DataFrame(rows).T
    frame.attrs["share"] = pd.Series(types).value_counts(normalize=True).max()
    return frame


@pytest.mark.parametrize("name", LABEL)
def test_label_metrics_fall_when_the_embedding_is_degraded(ladder, name):
    path = ladder[name].to_numpy()
    assert np.all(np.diff(path) <= 0.02), path
    assert path[0] > path[-1] + 0.2


def test_oracle_on_top_and_random_at_chance(ladder):
    top, bottom = ladder.iloc[0], ladder.iloc[-1]
    for name in ("nmi_leiden", "ari_leiden", "nmi_louvain", "nmi_kmeans", "clisi", "label_knn_accuracy"):
        assert top[name] > 0.97, name
    assert top["asw_cell_type"] > 0.8
    assert bottom["nmi_leiden"] < 0.1
    assert abs(bottom["ari_leiden"]) < 0.03
    assert bottom["asw_cell_type"] == pytest.approx(0.5, abs=0.05)
    assert bottom["label_knn_accuracy"] < ladder.attrs["share"] + 0.08


@pytest.mark.parametrize("name", PAIRING)
def test_pairing_metrics_rise_when_the_embedding_is_degraded(ladder, name):
    path = ladder[name].to_numpy()
    assert np.all(np.diff(path) >= -0.02 * max(path)), path
    if name != "rank_distance_median":
        assert path[0] < 0.02
        assert path[-1] == pytest.approx(0.5, abs=0.06)


def test_random_embedding_mixes_perfectly(make):
    made = make(n_cells=600, isolated=False)
    noise = np.random.default_rng(2).normal(size=made.values.shape)
    found = values_of(
        noise,
        made.truth,
        ["ilisi", "ilisi_graph", "kbet", "asw_batch", "modality_enrichment", "pcr_batch", "bras_euclidean"],
    )
    assert found["ilisi"] > 0.8
    assert found["ilisi_graph"] > 0.8
    assert found["kbet"] > 0.85
    assert found["asw_batch"] > 0.95
    assert found["modality_enrichment"] == pytest.approx(1, abs=0.05)
    assert found["pcr_batch"] < 0.02
    assert found["bras_euclidean"] > 0.95


def test_batch_metrics_fall_as_a_batch_offset_grows(make):
    names = ["ilisi", "kbet", "asw_batch", "bras", "one_minus_asw", "pcr_batch", "graph_connectivity"]
    made = make(n_cells=400, batch_shift=0.0, isolated=False)
    batch = pd.factorize(made.truth.obs["batch"])[0]
    offset = np.random.default_rng(3).normal(size=(3, made.values.shape[1]))
    path = pd.DataFrame(
        [values_of(made.values + strength * offset[batch], made.truth, names) for strength in (0, 0.7, 1.5, 3, 6)]
    )
    for name in names:
        steps = np.diff(path[name]) * (-1 if name == "pcr_batch" else 1)
        assert np.all(steps <= 0.01), (name, path[name].tolist())
        assert abs(path[name].iloc[0] - path[name].iloc[-1]) > 0.2 or name == "graph_connectivity", name
    assert path["graph_connectivity"].iloc[-1] < path["graph_connectivity"].iloc[0] - 0.2


def test_modality_metrics_respond_to_a_modality_offset(make):
    names = [
        "modality_enrichment",
        "modality_enrichment_single",
        "ilisi_modality",
        "rank_distance",
        "cross_modality_label_agreement",
    ]
    made = make(n_cells=400, modality_shift=0.0)
    rna = (made.truth.obs["group"] == "rna").to_numpy()[:, None]
    offset = np.random.default_rng(3).normal(size=made.values.shape[1])
    path = pd.DataFrame(
        [values_of(made.values + strength * offset * rna, made.truth, names) for strength in (0, 1, 2, 4, 8)]
    )
    assert np.all(np.diff(path["modality_enrichment"]) >= -0.01)
    assert path["modality_enrichment"].iloc[0] == pytest.approx(1, abs=0.1)
    groups = made.truth.obs["group"].value_counts(normalize=True).to_numpy()
    assert path["modality_enrichment"].iloc[-1] > 1.3
    assert path["modality_enrichment"].max() <= 1 / np.square(groups).sum() + 1e-9
    assert path["modality_enrichment_single"].iloc[-1] == pytest.approx(2, abs=0.1)
    assert np.all(np.diff(path["ilisi_modality"]) <= 0.01)
    assert np.all(np.diff(path["rank_distance"]) >= -0.5)
    assert path["cross_modality_label_agreement"].iloc[-1] < path["cross_modality_label_agreement"].iloc[0]


def test_trajectory_is_found_on_a_line_and_lost_in_noise(make):
    made = make(n_cells=300, types=5, noise=0.05)
    line = made.truth.obs["pseudotime_line"].to_numpy()
    rng = np.random.default_rng(0)
    good = np.column_stack([line, 0.3 * rng.normal(size=(len(line), 2))])
    name = "trajectory_conservation"
    assert values_of(good, made.truth, [name])[name] > 0.97
    assert values_of(rng.normal(size=good.shape), made.truth, [name])[name] == pytest.approx(0.5, abs=0.15)
    backwards = Multimodal(made.truth.obs.assign(pseudotime_line=line, pseudotime_other=np.nan), {}, {})
    table = values_of(good, backwards, [name])
    assert list(table.index) == [name, f"{name}_line"]


def test_a_rare_root_type_cut_off_from_the_rest_does_not_decide(make):
    made = make(n_cells=300, types=5, noise=0.05, isolated=False)
    line = made.truth.obs["pseudotime_line"].to_numpy().copy()
    labels = made.truth.obs["cell_type"].to_numpy(dtype=object).copy()
    good = np.column_stack([line, 0.3 * np.random.default_rng(0).normal(size=(len(line), 2))])
    first = np.argsort(line)[:16]
    labels[first] = "root"
    good[first, 0] -= 100.0
    truth = Multimodal(made.truth.obs.assign(cell_type=labels), {}, {})
    name = "trajectory_conservation"
    assert values_of(good, truth, [name])[name] > 0.9
