"""Prediction metrics against scikit-learn, scipy and hand-computed values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import pearsonr, spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from benchmarks.formats import Multimodal, Prediction
from benchmarks.metrics import prediction as module
from benchmarks.metrics.context import Context
from benchmarks.metrics.prediction import average_precision, calibration_bins, smoothed
from benchmarks.metrics.score import details, score


def design(n=120, genes=60, peaks=80, seed=0):
    """A design whose halves withhold one modality each, and a prediction of it from the true means."""
    rng = np.random.default_rng(seed)
    program = rng.gamma(2.0, size=(n, 3))
    means = {"rna": program @ rng.gamma(0.5, size=(3, genes)), "atac": program @ rng.gamma(0.1, 0.3, size=(3, peaks))}
    counts = {name: sp.csr_matrix(rng.poisson(mean).astype(np.float32)) for name, mean in means.items()}
    obs = pd.DataFrame(
        {"cell": [f"c{i}" for i in range(n)] * 2, "group": ["rna"] * n + ["atac"] * n, "cell_type": "a", "batch": "b"},
        index=[f"o{i}" for i in range(2 * n)],
    )
    var = {name: pd.DataFrame(index=[f"{name}{i}" for i in range(matrix.shape[1])]) for name, matrix in counts.items()}
    has, lacks = np.arange(n), np.arange(n, 2 * n)
    truth = Multimodal(obs, dict(counts), var, {"rna": lacks, "atac": has})
    visible = Multimodal(obs[["group", "batch"]], dict(counts), var, {"rna": has, "atac": lacks})
    predictions = {
        "rna": Prediction(means["rna"].astype(np.float32), lacks, np.sqrt(means["rna"]).astype(np.float32)),
        "atac": Prediction((1 - np.exp(-means["atac"])).astype(np.float32), has),
    }
    values = np.random.default_rng(1).normal(size=(2 * n, 3))
    return values, truth, visible, predictions, counts


@pytest.fixture(scope="module")
def made():
    return design()


@pytest.fixture(scope="module")
def context(made):
    values, truth, visible, predictions, _ = made
    return Context(values, truth, visible=visible, predictions=predictions, threads=1)


@pytest.fixture(scope="module")
def table(context):
    result, _ = score(context)
    return result.set_index("metric")


def test_errors_by_hand(made, table):
    _, _, _, predictions, counts = made
    for name in ("rna", "atac"):
        difference = predictions[name].mean.astype(np.float64) - counts[name].toarray()
        assert table.loc[f"prediction_rmse_{name}", "value"] == pytest.approx(
            np.sqrt(np.mean(difference**2)), rel=1e-12
        )
        assert table.loc[f"prediction_mae_{name}", "value"] == pytest.approx(np.mean(np.abs(difference)), rel=1e-12)


def test_spearman_equals_scipy(made, table):
    _, _, _, predictions, counts = made
    observed = counts["rna"].toarray().astype(np.float64)
    observed = observed / observed.sum(axis=1, keepdims=True)
    mean = predictions["rna"].mean.astype(np.float64)
    mean = mean / mean.sum(axis=1, keepdims=True)
    expected = spearmanr(mean.ravel(), observed.ravel()).statistic
    assert table.loc["prediction_spearman_rna", "value"] == pytest.approx(expected, abs=1e-4)
    binary = counts["atac"].toarray() > 0
    expected = spearmanr(predictions["atac"].mean.ravel(), binary.ravel()).statistic
    assert table.loc["prediction_spearman_atac", "value"] == pytest.approx(expected, abs=1e-9)


def test_auprc_equals_scikit_learn(made, table):
    _, _, _, predictions, counts = made
    expected = average_precision_score((counts["atac"].toarray() > 0).ravel(), predictions["atac"].mean.ravel())
    assert table.loc["prediction_auprc_atac", "value"] == pytest.approx(expected, abs=1e-9)
    assert "prediction_auprc_rna" not in table.index


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_average_precision_with_ties(levels):
    rng = np.random.default_rng(levels)
    truth, scores = rng.random(500) < 0.2, rng.integers(0, levels, 500) / 7
    assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_average_precision_by_hand():
    # Ranked 1 0 1 0: precision at the hits 1 and 2/3, each for half of the recall.
    assert average_precision(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1 + 2 / 3) / 2)


def test_correlations_by_feature_and_cell(made, table):
    _, _, _, predictions, counts = made
    mean, seen = (
        np.log1p(predictions["rna"].mean.astype(np.float64)),
        np.log1p(counts["rna"].toarray().astype(np.float64)),
    )
    usable = seen.std(axis=0) > 0
    expected = np.median([pearsonr(mean[:, j], seen[:, j]).statistic for j in np.flatnonzero(usable)])
    assert table.loc["prediction_feature_correlation_rna", "value"] == pytest.approx(expected, abs=1e-9)
    expected = np.median([pearsonr(mean[i], seen[i]).statistic for i in range(len(mean))])
    assert table.loc["prediction_cell_correlation_rna", "value"] == pytest.approx(expected, abs=1e-9)


def test_smoothing_equals_scikit_learn(made, context):
    # Every cell was split: the visible halves are copies of the withheld ones, so only the latter are neighbours.
    _, _, _, _, counts = made
    observed = counts["rna"].toarray().astype(np.float64)
    scaled = observed / observed.sum(axis=1, keepdims=True)
    space = PCA(30, svd_solver="full").fit_transform(np.log1p(scaled * 1e4))
    indices = NearestNeighbors(n_neighbors=51).fit(space).kneighbors(space, return_distance=False)[:, 1:]
    expected = scaled[indices].mean(axis=1) * np.median(observed.sum(axis=1))
    np.testing.assert_allclose(smoothed(context, "rna"), expected, rtol=1e-4, atol=1e-6)


def test_visible_counts_of_other_cells_are_neighbours_too(made):
    values, truth, visible, predictions, counts = made
    some = np.arange(70)
    part = {"rna": Prediction(predictions["rna"].mean[some], predictions["rna"].rows[some])}
    context = Context(values, truth, visible=visible, predictions=part, threads=1)
    observed = counts["rna"].toarray().astype(np.float64)
    scaled = observed / observed.sum(axis=1, keepdims=True)
    space = PCA(30, svd_solver="full").fit_transform(np.log1p(scaled * 1e4))
    indices = NearestNeighbors(n_neighbors=51).fit(space).kneighbors(space[some], return_distance=False)[:, 1:]
    expected = scaled[indices].mean(axis=1) * np.median(observed.sum(axis=1))
    np.testing.assert_allclose(smoothed(context, "rna"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seen", [0, 30])
def test_cells_in_three_parts_are_no_neighbours_of_themselves(seen):
    # 60 cells in three halves each: protein was withheld from two of them, with the same counts. 30 paired cells beside.
    n = 60
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(rng.gamma(1.0, 4.0, size=(n + seen, 1)) * rng.gamma(1.0, size=(1, 40)) + 1.0))
    withheld, visible = counts[:n], counts[n:]
    group = ["rna"] * n + ["atac"] * n + ["protein"] * n + ["paired"] * seen
    cell = [f"c{i}" for i in [*range(n)] * 3 + [*range(n, n + seen)]]
    obs = pd.DataFrame({"cell": cell, "group": group}, index=[f"o{i}" for i in range(len(cell))])
    rows, there = np.arange(2 * n), np.arange(2 * n, 3 * n + seen)
    twice = sp.vstack([withheld, withheld]).tocsr()
    var = {"protein": pd.DataFrame(index=[f"p{i}" for i in range(40)])}
    truth = Multimodal(obs, {"protein": twice}, var, {"protein": rows})
    shown = Multimodal(obs[["group"]], {"protein": sp.vstack([withheld, visible]).tocsr()}, var, {"protein": there})
    order = rng.permutation(2 * n)
    predictions = {"protein": Prediction(np.ones((2 * n, 40), np.float32), rows[order])}
    context = Context(rng.normal(size=(len(cell), 3)), truth, visible=shown, predictions=predictions, threads=1)
    observed = counts.toarray().astype(np.float64)
    scaled = observed / observed.sum(axis=1, keepdims=True)
    space = PCA(30, svd_solver="full").fit_transform(np.log1p(scaled * 1e4))
    indices = NearestNeighbors(n_neighbors=51).fit(space).kneighbors(space[:n], return_distance=False)[:, 1:]
    expected = scaled[indices].mean(axis=1) * np.median(observed.sum(axis=1))
    np.testing.assert_allclose(smoothed(context, "protein"), np.tile(expected, (2, 1)), rtol=1e-4, atol=1e-6)


def test_smoothed_correlation_is_above_the_raw_one(table):
    for name in ("rna", "atac"):
        assert (
            table.loc[f"prediction_spearman_smoothed_{name}", "value"]
            > table.loc[f"prediction_spearman_{name}", "value"]
        )


def test_smoothing_needs_enough_observations():
    values, truth, _, predictions, _ = design(n=20)
    result, _ = score(Context(values, truth, predictions=predictions, threads=1), ["prediction_spearman_smoothed"])
    assert result["status"].tolist() == ["not_applicable"]
    assert "too few" in result["reason"].item()


def test_calibration_of_a_model_that_knows_its_error():
    rng = np.random.default_rng(0)
    deviation = rng.gamma(2.0, size=40_000)
    error = rng.normal(size=40_000) * deviation
    honest = calibration_bins(error, deviation)
    assert len(honest) == 20
    np.testing.assert_allclose(honest["error_rms"], honest["predicted_rms"], rtol=0.1)
    boastful = calibration_bins(error, deviation / 3)
    assert (boastful["error_rms"] > 2 * boastful["predicted_rms"]).all()
    by_hand = calibration_bins(np.array([3.0, -4.0, 1.0, 1.0]), np.array([2.0, 2.0, 1.0, 1.0]), bins=2)
    np.testing.assert_allclose(by_hand["predicted_rms"], [1.0, 2.0])
    np.testing.assert_allclose(by_hand["error_rms"], [1.0, np.sqrt(12.5)])


def withheld(observed, mean, deviation=None, modality="rna"):
    """A context in which `mean` was predicted of the counts `observed`, observations x features."""
    mean = np.asarray(mean, dtype=np.float32)
    rows = np.arange(len(mean))
    obs = pd.DataFrame({"cell": rows.astype(str), "group": "atac"}, index=[f"o{i}" for i in rows])
    var = {modality: pd.DataFrame(index=[f"f{i}" for i in range(mean.shape[1])])}
    truth = Multimodal(obs, {modality: sp.csr_matrix(np.asarray(observed, dtype=float))}, var, {modality: rows})
    deviation = None if deviation is None else np.asarray(deviation, dtype=np.float32)
    prediction = {modality: Prediction(mean, rows, deviation)}
    return Context(np.zeros((len(mean), 2)), truth, predictions=prediction, threads=1)


def one_value(context, name):
    row = score(context, [name])[0].iloc[0]
    return row["value"] if row["status"] == "ok" else row["reason"]


def test_calibration_error_of_a_model_that_is_certain_of_some_entries():
    # Four entries, four bins: deviations 0, 1e-7, 1, 3 and errors 2, 0, 1, 1: (2 + 1e-7 + 0 + 2) / (4 + 1e-7).
    context = withheld([[2, 5], [1, 4]], [[0, 5], [2, 3]], [[0, 1e-7], [1, 3]])
    assert one_value(context, "prediction_calibration_error") == pytest.approx(1.0, abs=1e-6)
    honest = withheld([[0, 5], [1, 4]], [[0, 5], [2, 1]], [[0, 0], [1, 3]])
    assert one_value(honest, "prediction_calibration_error") == 0.0
    never = withheld([[0, 5], [1, 4]], [[0, 5], [2, 1]], [[0, 0], [0, 0]])
    assert "are zero" in one_value(never, "prediction_calibration_error")


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e-3, 7.7])
def test_constant_features_and_predictions(constant):
    observed = np.random.default_rng(0).poisson(3.0, (101, 5)) + 1.0
    mean = observed * 2 + 0.5
    mean[:, 1] = mean[:, 2] = mean[:, 3] = constant
    observed[:, 4] = 2.0
    found = module.feature_correlations(withheld(observed, mean), "rna")
    # The second to fourth are not predicted at all; the last has nothing to predict.
    np.testing.assert_array_equal(found[1:4], 0.0)
    assert found[0] > 0.99
    assert np.isnan(found[4])
    # Median of one, three zeros.
    assert one_value(withheld(observed, mean), "prediction_feature_correlation") == 0.0
    found = module.cell_correlations(withheld(observed.T, mean.T), "rna")
    np.testing.assert_array_equal(found[1:4], 0.0)
    assert np.isnan(found[4])
    flat = np.tile(np.random.default_rng(0).gamma(1.0, size=(101, 1)), (1, 5))
    for prediction in (np.full((101, 5), constant), flat):
        assert one_value(withheld(observed, prediction), "prediction_spearman") == 0.0
    assert "constant" in one_value(withheld(np.full((9, 5), 2.0), mean[:9]), "prediction_spearman")
    context = withheld(observed, mean, np.full(mean.shape, constant))
    assert one_value(context, "prediction_uncertainty_correlation") == 0.0


def test_calibration_rows(made, table, context):
    # The prediction is the true Poisson mean and its deviation the true one.
    assert table.loc["prediction_calibration_error_rna", "value"] < 0.1
    _, _, _, predictions, counts = made
    error = np.abs(predictions["rna"].mean - counts["rna"].toarray()).ravel()
    expected = spearmanr(error.astype(np.float64), predictions["rna"].deviation.ravel()).statistic
    assert expected > 0.3
    assert table.loc["prediction_uncertainty_correlation_rna", "value"] == pytest.approx(expected, abs=1e-4)
    assert "prediction_calibration_error_atac" not in table.index
    tables = details(context)
    assert {"calibration_rna", "prediction_rna", "prediction_atac"} <= set(tables)
    assert "calibration_atac" not in tables


def test_no_prediction_no_deviation_and_nothing_withheld(made):
    values, truth, visible, predictions, _ = made
    bare = {name: Prediction(one.mean, one.rows) for name, one in predictions.items()}
    table = score(
        Context(values, truth, predictions=bare, threads=1), ["prediction_rmse", "prediction_calibration_error"]
    )[0]
    assert table.set_index("metric").loc["prediction_calibration_error", "status"] == "not_applicable"
    nothing = Multimodal(truth.obs, {}, {})
    for context, words in (
        (Context(values, truth, threads=1), "gives no predictions"),
        (Context(values, nothing, predictions=bare, threads=1), "no counts were withheld"),
    ):
        table = score(context, ["prediction_rmse"])[0]
        assert words in table["reason"].item()


def test_bad_predictions_fail_with_the_reason(made):
    values, truth, _, predictions, _ = made
    broken = predictions["rna"].mean.copy()
    broken[0, 0] = np.nan
    for bad, words in (
        (Prediction(broken, predictions["rna"].rows), "NaN"),
        (Prediction(predictions["rna"].mean[:, :-1], predictions["rna"].rows), "features predicted"),
        (Prediction(predictions["rna"].mean, predictions["rna"].rows, -predictions["rna"].deviation), "negative"),
    ):
        name = "prediction_calibration_error" if words == "negative" else "prediction_rmse"
        table = score(Context(values, truth, predictions={"rna": bad}, threads=1), [name])[0]
        assert table["status"].item() == "failed"
        assert words in table["reason"].item()


def test_constant_prediction_has_correlation_zero(made):
    values, truth, _, predictions, _ = made
    constant = {"atac": Prediction(np.full_like(predictions["atac"].mean, 0.5), predictions["atac"].rows)}
    table = score(Context(values, truth, predictions=constant, threads=1), ["prediction_spearman", "prediction_auprc"])[
        0
    ]
    table = table.set_index("metric")
    assert table.loc["prediction_spearman_atac", "value"] == 0
    share = (truth.counts["atac"].toarray() > 0).mean()
    assert table.loc["prediction_auprc_atac", "value"] == pytest.approx(share)


def test_order_and_subset_of_predicted_rows(made, table):
    values, truth, _, predictions, counts = made
    order = np.random.default_rng(0).permutation(120)
    some = np.sort(order[:50])
    shuffled = {"rna": Prediction(predictions["rna"].mean[order], predictions["rna"].rows[order])}
    whole = score(Context(values, truth, predictions=shuffled, threads=1), ["prediction_rmse"])[0]["value"].item()
    assert whole == pytest.approx(table.loc["prediction_rmse_rna", "value"], rel=1e-12)
    part = {"rna": Prediction(predictions["rna"].mean[some], predictions["rna"].rows[some])}
    found = score(Context(values, truth, predictions=part, threads=1), ["prediction_rmse"])[0]["value"].item()
    difference = predictions["rna"].mean[some].astype(np.float64) - counts["rna"][some].toarray()
    assert found == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-12)


def test_sampled_entries_give_nearly_the_same(made, table, monkeypatch):
    values, truth, visible, predictions, _ = made
    monkeypatch.setattr(module, "MAX_ENTRIES", 5000)
    names = ["prediction_spearman", "prediction_auprc", "prediction_calibration_error"]
    sampled, _ = score(Context(values, truth, visible=visible, predictions=predictions, threads=1), names)
    again, _ = score(Context(values, truth, visible=visible, predictions=predictions, threads=2), names)
    pd.testing.assert_frame_equal(sampled, again)
    sampled = sampled.set_index("metric")["value"]
    for name in ("prediction_spearman_rna", "prediction_auprc_atac"):
        assert sampled[name] != table.loc[name, "value"]
        assert sampled[name] == pytest.approx(table.loc[name, "value"], abs=0.05)
