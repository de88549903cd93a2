"""Every metric that scib, scib-metrics, scikit-learn or scanpy also has, on one embedding, against their value.

Neighbours are exact and the same on both sides (our list is handed to scib-metrics, scanpy searches exactly), so that
what is compared is the metric and not the neighbour search.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.metrics.context import Context
from benchmarks.metrics.registry import METRICS


@pytest.fixture(scope="module")
def ours(world) -> Context:
    return world.context


@pytest.fixture(scope="module")
def adata(world):
    import anndata
    import scanpy

    obs = world.truth.obs[["cell_type", "batch", "site", "pseudotime_line"]].copy()
    for column in ("cell_type", "batch", "site"):
        obs[column] = obs[column].astype("category")
    data = anndata.AnnData(world.values.astype(np.float64), obs=obs, obsm={"X_emb": world.values.astype(np.float64)})
    scanpy.pp.neighbors(data, n_neighbors=15, use_rep="X_emb", transformer="sklearn")
    return data


@pytest.fixture(scope="module")
def scib():
    return pytest.importorskip("scib")


@pytest.fixture(scope="module")
def scib_metrics():
    """The package with double precision: in its default single precision it differs from itself by 1e-5."""
    package = pytest.importorskip("scib_metrics")
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield package
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module")
def neighbours(ours, scib_metrics) -> SimpleNamespace:
    """Our neighbours in scib-metrics' form: the observation itself first."""
    from scib_metrics.nearest_neighbors import NeighborsResults

    indices, distances = ours.neighbours
    own = np.arange(ours.n_obs)[:, None]

    def first(k: int) -> NeighborsResults:
        return NeighborsResults(
            indices=np.hstack([own, indices[:, : k - 1]]).astype(np.int64),
            distances=np.hstack([np.zeros((ours.n_obs, 1)), distances[:, : k - 1]]),
        )

    return SimpleNamespace(first=first)


def value(name: str, context: Context) -> float:
    result = METRICS[name].compute(context)
    return result[""] if isinstance(result, dict) else result


# -- scanpy ---------------------------------------------------------------------------------------------------


def test_graph_weights_equal_scanpy(ours, adata):
    # scanpy (through umap) stores float32 and stops its search at the same tolerance of 1e-5.
    assert abs(ours.graph - adata.obsp["connectivities"]).max() < 2e-5
    assert ours.graph.nnz == adata.obsp["connectivities"].nnz


def test_diffusion_pseudotime_equals_scanpy(ours, adata):
    import scanpy

    from benchmarks.metrics.structure import diffusion_map, diffusion_pseudotime

    data = adata.copy()
    scanpy.tl.diffmap(data)
    data.uns["iroot"] = 11
    scanpy.tl.dpt(data)
    values, vectors = diffusion_map(adata.obsp["connectivities"].astype(np.float64))
    np.testing.assert_allclose(values, data.uns["diffmap_evals"], atol=1e-6)
    found = diffusion_pseudotime(values[:10], vectors[:, :10], 11)
    np.testing.assert_allclose(found, data.obs["dpt_pseudotime"], atol=1e-5)


# -- scib -----------------------------------------------------------------------------------------------------


def test_asw_equals_scib(ours, adata, scib):
    assert value("asw_cell_type", ours) == pytest.approx(scib.me.silhouette(adata, "cell_type", "X_emb"), abs=1e-6)
    for column in ("batch", "site"):
        theirs = scib.me.silhouette_batch(adata, column, "cell_type", "X_emb", verbose=False)
        assert value(f"asw_{column}", ours) == pytest.approx(theirs, abs=1e-6)
        theirs = scib.me.silhouette_batch(adata, column, "cell_type", "X_emb", metric="cosine", verbose=False)
        assert value(f"asw_{column}_cosine", ours) == pytest.approx(theirs, abs=1e-6)


def test_isolated_labels_equal_scib(ours, adata, scib):
    theirs = scib.me.isolated_labels_asw(adata, "cell_type", "batch", "X_emb", verbose=False)
    assert value("isolated_label_asw", ours) == pytest.approx(theirs, abs=1e-6)
    data = adata.copy()
    data.uns["neighbors"]["params"]["use_rep"] = "X_emb"
    from benchmarks.metrics.partitions import RESOLUTIONS

    for resolution, codes in zip(RESOLUTIONS, ours.partitions("leiden")):
        data.obs[f"iso_label_{resolution}"] = pd.Categorical(codes.astype(str))
    theirs = scib.me.isolated_labels_f1(
        data, "cell_type", "batch", embed=None, cluster_key="iso_label", resolutions=list(RESOLUTIONS), verbose=False
    )
    assert value("isolated_label_f1", ours) == pytest.approx(theirs, abs=1e-6)


def test_ari_and_nmi_equal_scib_given_the_partition(ours, adata, scib):
    from benchmarks.metrics.clustering import best_partition
    from benchmarks.metrics.partitions import RESOLUTIONS

    for method in ("leiden", "louvain"):
        data = adata.copy()
        for resolution, codes in zip(RESOLUTIONS, ours.partitions(method)):
            data.obs[f"cluster_{resolution}"] = pd.Categorical(codes.astype(str))
        best, _ = scib.me.cluster_optimal_resolution(
            data, "cell_type", "cluster", resolutions=list(RESOLUTIONS), verbose=False
        )
        assert best == best_partition(ours, method)[0]
        assert value(f"nmi_{method}", ours) == pytest.approx(scib.me.nmi(data, "cluster", "cell_type"), abs=1e-6)
        assert value(f"ari_{method}", ours) == pytest.approx(scib.me.ari(data, "cluster", "cell_type"), abs=1e-6)


def test_graph_connectivity_equals_scib(ours, adata, scib, world):
    assert value("graph_connectivity", ours) == pytest.approx(scib.me.graph_connectivity(adata, "cell_type"), abs=1e-6)
    # A coarser labelling by nothing in the embedding, for a value below 1.
    data = adata.copy()
    data.obs["cell_type"] = pd.Categorical(np.random.default_rng(0).integers(0, 40, data.n_obs).astype(str))
    truth = type(world.truth)(world.truth.obs.assign(cell_type=data.obs["cell_type"].to_numpy()), {}, {})
    random_labels = Context(world.values, truth, threads=1)
    theirs = scib.me.graph_connectivity(data, "cell_type")
    assert theirs < 0.7
    assert value("graph_connectivity", random_labels) == pytest.approx(theirs, abs=1e-6)


def test_pcr_equals_scib(ours, adata, scib):
    theirs = scib.me.pcr(adata, covariate="batch", embed="X_emb", n_comps=50)
    assert value("pcr_batch", ours) == pytest.approx(theirs, abs=1e-6)


def test_trajectory_conservation_equals_scib(ours, adata, scib):
    data = adata.copy()
    data.obsp["connectivities"] = ours.graph
    data.obs["cell_type"] = data.obs["cell_type"].astype(str)
    theirs = scib.me.trajectory_conservation(data, data, label_key="cell_type", pseudotime_key="pseudotime_line")
    assert value("trajectory_conservation", ours) == pytest.approx(theirs, abs=1e-6)


@pytest.fixture(scope="module")
def scib_graph_search(scib, tmp_path_factory):
    """scib's C++ search along the graph, compiled here (its wheel's binary needs a newer C library than Debian 12's)."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    binary = tmp_path_factory.mktemp("scib") / "knn_graph"
    source = Path(scib.__file__).parent / "knn_graph" / "knn_graph.cpp"
    subprocess.run([compiler, "-std=c++11", "-O2", str(source), "-o", str(binary)], check=True)
    return binary


def test_graph_lisi_equals_scib(ours, scib, scib_graph_search, tmp_path):
    from scib.metrics.lisi import compute_simpson_index_graph
    from scipy.io import mmwrite

    # Weights all different, so that no tie is left to the order of a heap.
    graph = ours.graph.copy()
    jitter = np.random.default_rng(0).random(graph.shape[0])
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    graph.data = graph.data * (1 + 1e-3 * (jitter[rows] + jitter[graph.indices]))
    mmwrite(tmp_path / "graph.mtx", graph, symmetry="general", precision=17)
    subprocess.run([scib_graph_search, tmp_path / "graph.mtx", tmp_path / "graph", "90", "1", "100"], check=True)
    context = Context(ours.values, ours.truth, threads=1)
    context.__dict__["graph"] = graph
    for column in ("batch", "cell_type"):
        codes = ours.covariate(column)
        simpson = compute_simpson_index_graph(str(tmp_path / "graph"), codes.codes, len(codes.names), 90, 30)
        theirs = np.median(1 / simpson)
        # scib's file carries six digits of a path length, so that single cells differ a little.
        assert np.median(context.graph_lisi[column]) == pytest.approx(theirs, abs=2e-3)
        assert np.mean(np.abs(context.graph_lisi[column] - 1 / simpson) < 1e-3) > 0.98


# -- scib-metrics ---------------------------------------------------------------------------------------------


def test_lisi_equals_scib_metrics(ours, scib_metrics, neighbours, world):
    results = neighbours.first(90)
    assert value("ilisi", ours) == pytest.approx(scib_metrics.ilisi_knn(results, world.batches), abs=1e-6)
    assert value("clisi", ours) == pytest.approx(scib_metrics.clisi_knn(results, world.labels), abs=1e-6)
    theirs = scib_metrics.lisi_knn(results, world.batches)
    np.testing.assert_allclose(ours.lisi["batch"], theirs, atol=1e-6)


def test_silhouettes_equal_scib_metrics(ours, scib_metrics, world):
    x, labels, batches = world.values.astype(np.float64), world.labels, world.batches
    assert value("asw_cell_type", ours) == pytest.approx(scib_metrics.silhouette_label(x, labels), abs=1e-6)
    assert value("asw_cell_type_cosine", ours) == pytest.approx(
        scib_metrics.silhouette_label(x, labels, metric="cosine"), abs=1e-6
    )
    assert value("asw_batch", ours) == pytest.approx(scib_metrics.silhouette_batch(x, labels, batches), abs=1e-6)
    assert value("bras", ours) == pytest.approx(scib_metrics.bras(x, labels, batches), abs=1e-6)
    assert value("bras_euclidean", ours) == pytest.approx(
        scib_metrics.bras(x, labels, batches, metric="euclidean"), abs=1e-6
    )
    assert value("isolated_label_asw", ours) == pytest.approx(
        scib_metrics.isolated_labels(x, labels, batches), abs=1e-6
    )


def test_kbet_equals_scib_metrics(ours, scib_metrics, neighbours, world):
    theirs, _, _ = scib_metrics.kbet(neighbours.first(50), world.batches)
    assert value("kbet", ours) == pytest.approx(theirs, abs=1e-6)


def test_directed_graph_connectivity_equals_scib_metrics(ours, scib_metrics, neighbours, world):
    theirs = scib_metrics.graph_connectivity(neighbours.first(15), world.labels)
    assert value("graph_connectivity_directed", ours) == pytest.approx(theirs, abs=1e-9)
    assert value("graph_connectivity_directed", ours) < value("graph_connectivity", ours)


def test_pcr_equals_scib_metrics(ours, scib_metrics, world):
    theirs = scib_metrics.utils.principal_component_regression(
        world.values.astype(np.float64), world.batches, categorical=True
    )
    assert value("pcr_batch", ours) == pytest.approx(theirs, abs=1e-6)


def test_leiden_of_scib_metrics_lies_near(ours, scib_metrics, neighbours, world):
    theirs = scib_metrics.nmi_ari_cluster_labels_leiden(neighbours.first(15), world.labels)
    # Its graph is ours, its random numbers are not.
    assert value("nmi_leiden", ours) == pytest.approx(theirs["nmi"], abs=0.05)
    assert value("ari_leiden", ours) == pytest.approx(theirs["ari"], abs=0.08)


# -- scikit-learn ---------------------------------------------------------------------------------------------


def test_label_knn_accuracy_equals_scikit_learn(make):
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    made = make(n_cells=80, unpaired=0.0, noise=4.0, types=2, seed=5)
    codes = (made.truth.obs["cell_type"] == "type1").to_numpy()
    theirs = cross_val_score(KNeighborsClassifier(15), made.values.astype(float), codes, cv=LeaveOneOut()).mean()
    # Two labels and 15 voters: no ties, so the rule for ties does not matter.
    assert 0.5 < theirs < 1
    assert value("label_knn_accuracy", Context(made.values, made.truth, threads=1)) == pytest.approx(theirs, abs=1e-12)


def test_whole_silhouette_by_batch_equals_scikit_learn(ours, world):
    from sklearn.metrics import silhouette_score

    for distance, name in (("euclidean", "one_minus_asw"), ("cosine", "one_minus_asw_cosine")):
        theirs = 1 - silhouette_score(world.values.astype(np.float64), world.batches, metric=distance)
        assert value(name, ours) == pytest.approx(theirs, abs=1e-9)


def test_isolated_label_asw_with_cosine_equals_scikit_learn(ours, world):
    from sklearn.metrics import silhouette_samples

    widths = silhouette_samples(world.values.astype(np.float64), world.labels, metric="cosine")
    spread = pd.crosstab(world.labels, world.batches).astype(bool).sum(axis=1)
    isolated = spread.index[spread == spread.min()]
    assert list(isolated) == ["type0"]
    expected = np.mean([(1 + widths[world.labels == label].mean()) / 2 for label in isolated])
    assert value("isolated_label_asw_cosine", ours) == pytest.approx(expected, abs=1e-9)


def test_single_modality_enrichment_and_modality_lisi_by_brute_force(ours, world):
    from scipy.spatial.distance import cdist

    group = world.truth.obs["group"].to_numpy()
    single = group != "paired"
    distances = cdist(world.values[single].astype(float), world.values[single].astype(float))
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :50]
    share = np.mean(group[single][nearest] == group[single][:, None])
    chance = np.square(pd.Series(group[single]).value_counts(normalize=True)).sum()
    assert value("modality_enrichment_single", ours) == pytest.approx(share / chance, abs=1e-12)
    assert value("ilisi_modality", ours) == pytest.approx((np.median(ours.lisi["group"]) - 1) / 2, abs=1e-12)


def test_foscttm_by_brute_force(ours, world):
    from scipy.spatial.distance import cdist

    obs = world.truth.obs.reset_index(drop=True)
    rna, atac = obs.index[obs["group"] == "rna"], obs.index[obs["group"] == "atac"]
    atac = atac[pd.Index(obs.loc[atac, "cell"]).get_indexer(obs.loc[rna, "cell"])]
    distances = cdist(world.values[rna].astype(float), world.values[atac].astype(float))
    match = np.diag(distances)
    forward = np.mean((distances < match[:, None]).sum(axis=1) / (len(rna) - 1))
    backward = np.mean((distances < match[None, :]).sum(axis=0) / (len(rna) - 1))
    result = METRICS["foscttm"].compute(ours)
    assert result[""] == pytest.approx((forward + backward) / 2, abs=1e-12)
    assert result["rna_to_atac"] == pytest.approx(forward, abs=1e-12)
    top = METRICS["top_k_match"].compute(ours)
    for k in (1, 5):
        expected = (
            np.mean((distances < match[:, None]).sum(axis=1) < k)
            + np.mean((distances < match[None, :]).sum(axis=0) < k)
        ) / 2
        assert top[str(k)] == pytest.approx(expected, abs=1e-12)
