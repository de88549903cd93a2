"""Every figure, drawn from a made-up study: its panels, what it is labelled with, and the data that it shows."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors as mcolors
from matplotlib.colors import to_hex

from benchmarks.__main__ import main
from benchmarks.errors import InputError
from benchmarks.figures import multidgd_benchmark, style
from benchmarks.figures.registry import FIGURES, figures_of
from benchmarks.figures.values import missing_notes, values, why_empty
from benchmarks.figures.write import draw_parts, save, write_figures
from benchmarks.formats import write_table
from benchmarks.label_agreement import COLUMNS as AGREEMENT_COLUMNS
from benchmarks.report.study import Study, read_study


@pytest.fixture(scope="module")
def drawn(studies):
    """Figures by name and part, each drawn once."""
    cache = {}

    def draw(name):
        if name not in cache:
            cache[name] = draw_parts(FIGURES[name], studies[FIGURES[name].study])
        return cache[name]

    return draw


def panels(figure) -> list:
    """Visible panels, without colour bars."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def panel(figure, title: str):
    """The panel under a title."""
    found = [axes for axes in panels(figure) if axes.get_title() == title or axes.get_title("left") == title]
    assert found, f"{title}: {[axes.get_title() for axes in panels(figure)]}"
    return found[0]


def words(figure) -> str:
    """All text of a figure, line breaks as spaces."""
    return " ".join(
        text.get_text().replace("\n", " ") for text in figure.findobj(matplotlib.text.Text) if text.get_text()
    )


def lines(axes) -> dict:
    """Labelled lines of a panel: label to (x, y)."""
    return {line.get_label(): line.get_data() for line in axes.lines if not line.get_label().startswith("_")}


def bars(axes) -> dict:
    """Bars of a panel: label to heights, from left to right."""
    result = {}
    for container in axes.containers:
        if isinstance(container, matplotlib.container.BarContainer):
            result.setdefault(container.get_label(), []).append(container.patches[0].get_height())
    return result


PANELS = {
    "brombacher_2": {"": 6},
    "brombacher_3": {"": 6},
    "brombacher_4_5": {"marrow_multiome": 16, "marrow_cite": 12},
    "brombacher_s1_s2": {"marrow_multiome": 7, "marrow_cite": 7},
    "multivi_2": {"pbmc": 17},
    "multivi_s3": {"": 6},
    "multivi_3_s4": {"sites": 20, "sites_uncorrected": 20},
    "multivi_s5": {"": 10},
    "multivi_s5d": {"sites": 3, "sites_uncorrected": 3},
    "multivi_6": {"": 18},
    "scmvp_1b": {"": 1},
    "scmvp_1c": {"": 2},
    "scmvp_3abc": {"scicar_cell_lines": 14, "share_mouse_skin": 14},
    "scmvp_3d_4a": {"": 2},
    "multidgd_2": {"": 7},
}
LETTERS = {
    "brombacher_s1_s2": "abcdefg", "multivi_2": "abcde", "multivi_s3": "abc", "multivi_3_s4": "abcd",
    "multivi_s5": "abcdefghij", "multivi_s5d": "d", "multivi_6": "abcdef", "scmvp_1b": "b", "scmvp_1c": "c", "multidgd_2": "ABCDEFG",
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_panels_letters_labels_and_width(drawn, name):
    parts = drawn(name)
    assert {part: len(panels(figure)) for part, figure in parts.items()} == PANELS[name]
    for figure in parts.values():
        width = figure.get_figwidth() * 25.4
        assert min(abs(width - style.COLUMN), abs(width - style.PAGE)) < 0.01
        letters = [
            text.get_text()
            for text in figure.findobj(matplotlib.text.Annotation)
            if text.get_fontweight() == "bold" and len(text.get_text()) == 1
        ]
        assert letters == list(LETTERS.get(name, ""))
        labels = {axes.get_xlabel() for axes in panels(figure)} - {""}
        assert labels, "no panel says what its x axis is"
        sizes = {text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}
        assert min(sizes) >= 5.5


def test_tiles_show_the_medians_and_the_best_model_on_top(studies, drawn):
    study, axes = studies["brombacher_sample_size"], panels(drawn("brombacher_2")[""])[0]
    assert axes.get_title() == "NMI (Louvain) ↑" and axes.get_ylabel() == "marrow_multiome"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["500", "2,500", "10,000"]
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    raw = study.scores.query("dataset == 'marrow_multiome' and metric == 'nmi_louvain' and status == 'ok'")
    medians = raw.groupby(["model", "n_cells"])["value"].median().unstack().loc[rows]
    np.testing.assert_allclose(axes.images[0].get_array(), medians.to_numpy())
    assert rows[-2:] == ["oracle", "random"]
    assert medians.iloc[:-2].mean(axis=1).is_monotonic_decreasing
    written = [text.get_text() for text in axes.texts]
    assert written == [f"{value:.2f}" for value in medians.to_numpy().ravel()]
    assert "marrow_multiome: not applicable: scalex, totalvi." in words(drawn("brombacher_2")[""])


def test_umaps_show_the_points_of_smallest_and_largest_size_in_the_colours_of_the_legend(studies, drawn):
    study, figure = studies["brombacher_sample_size"], drawn("brombacher_4_5")["marrow_cite"]
    table = study.umaps.query("dataset == 'marrow_cite' and model == 'totalvi'")
    top = panel(figure, "totalvi")
    shown = np.asarray(top.collections[0].get_offsets())
    expected = table[table["n_cells"] == 500][["x", "y"]].to_numpy()
    np.testing.assert_allclose(shown[np.lexsort(shown.T)], expected[np.lexsort(expected.T)])
    at = np.flatnonzero((shown == expected[0]).all(axis=1))[0]
    kind = table[table["n_cells"] == 500]["cell_type"].iloc[0]
    legend = dict(zip((t.get_text() for t in figure.legends[0].get_texts()), figure.legends[0].legend_handles))
    assert to_hex(top.collections[0].get_facecolors()[at]) == to_hex(legend[kind].get_color())
    assert "500 cells" in words(figure) and "10,000 cells" in words(figure)


def test_boxes_and_points_show_every_subsample(studies, drawn):
    axes = panel(drawn("brombacher_s1_s2")["marrow_cite"], "CPU time (s) ↓")
    assert axes.get_yscale() == "log" and axes.get_ylabel() == "CPU time (s)"
    points = [line for line in axes.lines if line.get_gid() == "points"]
    table = values(studies["brombacher_sample_size"], "cpu_seconds")
    table = table[~table["model"].isin(["random", "oracle"])]
    shown = np.concatenate([line.get_ydata() for line in points])
    np.testing.assert_allclose(np.sort(shown), np.sort(table[table["dataset"] == "marrow_cite"]["value"]))
    # Points can be told from their box and from each other.
    assert all(len(np.unique(line.get_xdata())) == 6 and to_hex(line.get_color()) == "#000000" for line in points)


def test_boxes_of_variants_of_one_model_differ_as_their_legend_says(studies):
    study = studies["brombacher_sample_size"]
    scores, runs = (
        table.replace({"model": {"davae": "scmm"}, "variant": {"davae": "scmm-low-rate"}})
        for table in (study.scores, study.runs)
    )
    figure = draw_parts(FIGURES["brombacher_s1_s2"], Study(scores, runs))["marrow_multiome"]
    legend = figure.legends[0]
    hatch = dict(zip((text.get_text() for text in legend.get_texts()), (p.get_hatch() for p in legend.get_patches())))
    ink = mcolors.to_rgb(style.colour("scmm"))
    axes = panel(figure, "CPU time (s) ↓")
    boxes = [p for p in axes.patches if p.get_zorder() > 0 and mcolors.to_rgb(p.get_facecolor()) == ink]
    assert len(boxes) == 6 and hatch["scmm"] != hatch["scmm-low-rate"]
    assert [box.get_hatch() or "" for box in boxes] == [hatch["scmm"] or "", hatch["scmm-low-rate"]] * 3


def test_unpairing_curves_are_means_over_replicates_and_a_failure_ends_a_curve(studies, drawn):
    figure, study = drawn("multivi_2")["pbmc"], studies["multivi_unpairing"]
    for title, metric in (
        ("Modality enrichment → 1", "modality_enrichment"),
        ("Neighbour rank distance ↓", "rank_distance"),
    ):
        shown = lines(panel(figure, title))
        means = study.scores.groupby(["metric", "model", "unpaired_fraction"])["value"].mean()[metric]
        for model in ("multivi", "cobolt", "seurat-imputed", "random"):
            np.testing.assert_allclose(shown[model], [means[model].index * 100, means[model]])
        assert shown["seurat-wnn"][0].max() == 75
    assert "seurat-wnn (failed: 3 of 15 runs)" in words(figure)
    assert [axes.get_title() for axes in panels(figure)[:5]] == [f"{i}% unpaired" for i in (1, 25, 50, 75, 99)]
    groups = [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]
    assert groups == ["atac", "paired", "rna"]


def test_mixing_colours_are_scaled_and_texts_are_not(studies, drawn):
    axes = panel(drawn("multivi_s3")[""], "dogma, 50% unpaired")
    rows = [tick.get_text().replace("… ", "multivi-native-") for tick in axes.get_yticklabels()]
    headings = [tick.get_text() for tick in panels(drawn("multivi_s3")[""])[-1].get_xticklabels()]
    raw = studies["multivi_mixing"].scores.query("dataset == 'dogma' and unpaired_fraction == 0.5")
    for heading, metric, scale in (
        ("Modality enrichment → 1", "modality_enrichment", lambda value: min(value, 1 / value)),
        ("Rank distance / cells ↓", "rank_distance_fraction", lambda value: 1 - 2 * value),
    ):
        column = headings.index(heading)
        means = raw[raw["metric"] == metric].groupby("variant")["value"].mean()[rows]
        np.testing.assert_allclose(axes.images[0].get_array()[:, column], means.map(scale))
        written = [text.get_text() for text in axes.texts][column :: len(headings)]
        assert written == [f"{value:.2f}" for value in means]


def test_studies_show_only_the_cells_of_a_panel(studies, drawn):
    figure = drawn("multivi_3_s4")["sites"]
    table = studies["multivi_studies"].umaps.query("dataset == 'sites' and model == 'multivi-native'")
    titles = ["modalities", "cell type", "ATAC only, by batch", "RNA only, by batch"]
    counts = [len(panel(figure, title).collections[0].get_offsets()) for title in titles]
    assert counts == [len(table), len(table), (table["group"] == "atac").sum(), (table["group"] == "rna").sum()]


def test_study_scores_are_means_over_runs(studies, drawn):
    axes = panel(drawn("multivi_s5")[""], "Cross-modality label agreement ↑")
    raw = studies["multivi_studies"].scores.query("metric == 'cross_modality_label_agreement' and model == 'cobolt'")
    means = raw.groupby("dataset")["value"].mean()
    np.testing.assert_allclose(bars(axes)["cobolt"], means[["sites", "sites_uncorrected"]])


def heat_maps(figure) -> list:
    """Panels of labels by labels."""
    return [axes for axes in figure.subfigs[0].axes if axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("dataset", ["sites", "sites_uncorrected"])
def test_labels_by_labels_are_those_of_the_table_in_one_scale(studies, drawn, dataset):
    figure, table = drawn("multivi_s5d")[dataset], studies["multivi_studies"].label_agreement
    maps = heat_maps(figure)
    assert [axes.get_title() for axes in maps] == ["multivi-native", "cobolt", "seurat-imputed"]
    for axes in maps:
        part = table[(table["dataset"] == dataset) & (table["variant"] == axes.get_title())]
        shares = part.pivot(index="label", columns="neighbour_label", values="share")
        # Nothing has the last label, neither observations nor neighbours: it has neither a row nor a column.
        np.testing.assert_allclose(axes.images[0].get_array(), shares.to_numpy()[:, :-1])
        assert axes.images[0].get_clim() == (0, 1)
        assert (axes.get_xlabel(), axes.get_title()) == ("label of its neighbours", part["variant"].iloc[0])
    assert maps[0].get_ylabel() == "label of the observation"
    assert len(set(table["seed"])) == 1
    assert "of the 50 nearest cells of another modality" in words(figure)
    assert words(figure).count("share of neighbours") == 1


def test_many_labels_are_numbered_with_a_legend_and_few_are_named(drawn):
    figures = drawn("multivi_s5d")
    many, few = heat_maps(figures["sites"])[0], heat_maps(figures["sites_uncorrected"])[0]
    for axes, expected in ((many, [str(i) for i in range(1, 14)]), (few, [f"type {i:02d}" for i in range(4)])):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == expected
        assert [tick.get_text() for tick in axes.get_yticklabels()] == expected
    (legend,) = figures["sites"].subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{i + 1} type {i:02d}" for i in range(13)]
    assert not figures["sites_uncorrected"].subfigs[0].legends


def test_a_legend_of_long_labels_fits_the_page(studies):
    names = [f"CD{i}+ memory T cells of kind {i}" for i in range(22)]
    rows = [("sites", "x", 9, 0.0, 0, "pca", "pca", 0, one, other, 1 / 22) for one in names for other in names]
    study = studies["multivi_studies"]
    study = Study(study.scores.replace("cobolt", "pca"), study.runs.replace("cobolt", "pca"))
    study.label_agreement = pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))
    figure = draw_parts(FIGURES["multivi_s5d"], study)["sites"]
    box = figure.subfigs[0].legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width and box.y0 >= 0
    lowest = min(axes.get_tightbbox().y0 for axes in heat_maps(figure))
    assert box.y1 <= lowest, "it lies on the heat maps"


def test_labels_too_close_for_their_numbers_are_numbered_in_steps():
    from benchmarks.figures.label_tables import TICK, _heat_map

    names = [f"type {i:02d}" for i in range(40)]
    pairs = pd.MultiIndex.from_product([names, names], names=["label", "neighbour_label"]).to_frame(index=False)
    axes = matplotlib.figure.Figure().subplots()
    _heat_map(axes, pairs.assign(share=1 / 40), names, 30.0, True)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(i) for i in range(1, 41, 5)]
    assert TICK <= 30.0 / 40 * 5


def test_a_label_without_observations_has_an_empty_row_and_a_model_without_a_table_says_why(studies):
    study = studies["multivi_studies"]
    table = study.label_agreement[study.label_agreement["dataset"] == "sites"].copy()
    table.loc[(table["label"] == "type 00") & (table["neighbour_label"] == "type 01"), "neighbour_label"] = "type 13"
    table = table[table["variant"] != "cobolt"].drop_duplicates(["variant", "label", "neighbour_label"], keep="first")
    scores, runs = study.scores.copy(), study.runs.copy()
    for one in (scores, runs):
        at = (one["variant"] == "cobolt") & (one["dataset"] == "sites")
        one.loc[at, ["status", "reason"]] = ["missing" if one is scores else "failed", "failed: no memory"]
    scores.loc[scores["status"] != "ok", "value"] = np.nan
    less = Study(scores, runs, umaps=study.umaps, label_agreement=table)
    figure = draw_parts(FIGURES["multivi_s5d"], less)["sites"]
    shown, lacking, _ = heat_maps(figure)
    array = shown.images[0].get_array()
    assert array.shape == (14, 14) and np.ma.getmaskarray(array)[-1].all() and not np.ma.getmaskarray(array)[:-1].any()
    assert [text.get_text().replace("\n", " ") for text in lacking.texts][-1] == "no value: failed: no memory"


def test_a_study_without_the_table_of_labels_says_so(studies):
    study = studies["multivi_studies"]
    without = Study(study.scores, study.runs)
    assert len(panels(draw_parts(FIGURES["multivi_s5"], without)[""])) == 10
    (axes,) = panels(draw_parts(FIGURES["multivi_s5d"], without)["sites"])
    assert "no table of labels by labels" in " ".join(text.get_text() for text in axes.texts).replace("\n", " ")


def test_trimodal_scores_have_a_dash_where_a_model_takes_no_incomplete_cells(drawn):
    axes = panel(drawn("multivi_6")[""], "pairs")
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    shown = axes.images[0].get_array()
    assert (
        np.ma.getmaskarray(shown)[rows.index("wnn")].all() and not np.ma.getmaskarray(shown)[rows.index("mofa")].any()
    )
    assert [text.get_text() for text in axes.texts][rows.index("wnn") * 10] == "–"


def test_latent_dimensions_and_controls(studies, drawn):
    axes = panels(drawn("scmvp_1b")[""])[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent dimensions", "ARI (k-means)")
    raw = studies["scmvp_latent_dimensions"].scores.query("dataset == 'scicar_cell_lines'")
    means = raw.groupby("variant")["value"].mean()
    x, y = lines(axes)["scicar_cell_lines"]
    np.testing.assert_allclose(x, [2, 5, 10, 15, 20])
    np.testing.assert_allclose(y, means[["scmvp-2d", "scmvp-5d", "scmvp", "scmvp-15d", "scmvp-20d"]])
    assert any(np.allclose(line.get_ydata(), means["oracle"]) for line in axes.lines)


def test_scaling_has_logarithmic_axes_with_plain_ticks_and_units(studies, drawn):
    time, memory = panels(drawn("scmvp_1c")[""])
    assert (time.get_ylabel(), memory.get_ylabel()) == ("training time (s)", "peak host memory (MB)")
    assert time.get_xscale() == time.get_yscale() == "log"
    assert [tick.get_text() for tick in time.get_xticklabels()] == ["1,000", "5,000", "20,000", "67,418"]
    means = (
        studies["scmvp_scaling"].scores.query("metric == 'wall_seconds'").groupby(["model", "n_cells"])["value"].mean()
    )
    np.testing.assert_allclose(lines(time)["scmvp"][1], means["scmvp"])
    assert "random" in lines(memory) and "random" not in lines(time)  # it would take the axis for itself
    assert "Device memory: not measured" in words(drawn("scmvp_1c")[""])


def test_clustering_bars_stand_in_the_papers_groups_and_a_failure_is_a_cross(studies, drawn):
    axes = panel(drawn("scmvp_3d_4a")[""], "share_mouse_skin")
    shown = bars(axes)
    raw = studies["scmvp_clustering"].scores.query("dataset == 'share_mouse_skin' and status == 'ok'")
    means = raw.groupby("variant")["value"].mean()
    assert set(shown) == set(means.index)
    for label, heights in shown.items():
        np.testing.assert_allclose(heights, means[label])
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels.index("seurat-wnn") < labels.index("scmvp-rna-only") < labels.index("cobolt") < labels.index("random")
    assert [labels[round(line.get_xdata()[0])] for line in axes.lines if line.get_gid() == "absent"] == ["scai"]


def without(study: Study, reason: str, metric: str, **where) -> Study:
    """A study whose scores with these keys failed for a reason, those of controls for another one."""
    scores = study.scores.copy()
    at = (scores["metric"] == metric) & np.logical_and.reduce([scores[key] == value for key, value in where.items()])
    scores.loc[at, ["value", "status", "reason"]] = [np.nan, "failed", reason]
    scores.loc[at & scores["model"].isin(["random", "oracle"]), "reason"] = "controls say nothing"
    # Models that did not run, the most of all, have reasons of their own.
    many = pd.concat([scores[at].assign(variant=f"other {i}", status="not_applicable", reason="x") for i in range(9)])
    runs = many.drop(columns=["metric", "value"])
    scores = pd.concat([scores, many], ignore_index=True)
    study = Study(study.scores, pd.concat([study.runs, runs], ignore_index=True), umaps=study.umaps)
    return Study(scores, study.runs, umaps=study.umaps)


def test_names_of_models_stand_below_the_last_panel_that_has_bars(studies):
    study = without(studies["scmvp_clustering"], "one label only", "ari_kmeans", dataset="share_mouse_skin")
    figure = draw_parts(FIGURES["scmvp_3d_4a"], study)[""]
    first = panel(figure, "scicar_cell_lines")
    shown = [tick.label1.get_text() for tick in first.xaxis.get_major_ticks() if tick.label1.get_visible()]
    assert {"scmvp", "liger", "random"} <= set(shown) and first.get_xlabel() == "model"
    below = panel(figure, "share_mouse_skin")
    assert next(text.get_text() for text in below.texts if text.get_text()) == "no value: one label only"
    assert not any(tick.label1.get_visible() for tick in below.xaxis.get_major_ticks())


def test_data_sets_that_have_no_curve_are_named_with_the_reason(studies):
    study = without(
        studies["scmvp_latent_dimensions"], "the cells have no labels", "ari_kmeans", dataset="pairedseq_cell_lines"
    )
    figure = draw_parts(FIGURES["scmvp_1b"], study)[""]
    assert list(lines(panels(figure)[0])) == ["scicar_cell_lines"]
    assert "pairedseq_cell_lines: no value: the cells have no labels." in words(figure)
    assert "scicar_cell_lines: no value" not in words(figure)


def test_a_panel_without_values_says_what_its_scores_say(studies):
    study = without(studies["multivi_unpairing"], "no cell is unpaired", "rank_distance", dataset="pbmc")
    axes = panel(draw_parts(FIGURES["multivi_2"], study)["pbmc"], "Neighbour rank distance ↓")
    assert "no value: no cell is unpaired" in [text.get_text().replace("\n", " ") for text in axes.texts]


@pytest.mark.parametrize(
    "name", ["brombacher_4_5", "multivi_2", "multivi_s3", "multivi_3_s4", "multivi_6", "scmvp_3abc"]
)
def test_figures_say_where_a_umap_shows_some_of_the_observations(studies, name):
    study = studies[FIGURES[name].study]
    all_of_them = Study(study.scores, study.runs, umaps=study.umaps.assign(n_observations=250))
    assert "drawn at random" not in words(next(iter(draw_parts(FIGURES[name], all_of_them).values())))
    thinned = Study(study.scores, study.runs, umaps=study.umaps.assign(n_observations=12345))
    for figure in draw_parts(FIGURES[name], thinned).values():
        assert "UMAPs show 250 of 12,345 observations, drawn at random." in words(figure)


def test_multidgd_panels(studies, drawn):
    figure, scores = drawn("multidgd_2")[""], studies["multidgd_benchmark"].scores
    largest = scores[scores["n_cells"] == scores.groupby("dataset")["n_cells"].transform("max")]
    rmse = largest.query("metric == 'prediction_rmse_rna'").groupby(["model", "dataset"])["value"].mean()
    np.testing.assert_allclose(
        bars(panel(figure, "RMSE, RNA ↓"))["multidgd"], rmse["multidgd"][["marrow", "gastrulation", "cortex_whole"]]
    )
    own = largest.query("metric == 'ari_components' and model == 'multidgd'").groupby("dataset")["value"].mean()
    leiden = largest.query("metric == 'ari_leiden' and model == 'multivi-native'").groupby("dataset")["value"].mean()
    shown = bars(panel(figure, "ARI ↑"))
    assert shown["multidgd"][0] == pytest.approx(own["marrow"])
    assert shown["multivi-native"][0] == pytest.approx(leiden["marrow"])
    assert len(shown["cobolt"]) == 1, "Cobolt is compared on the whole cortex only"
    axes = panel(figure, "Test error ratio, RNA, by number of cells ↓")
    # Predictions of accessibility are probabilities: an error against counts is not drawn.
    assert sorted(lines(axes)) == ["multidgd", "multivi-native", "scmm"]
    assert all(line.get_label() != "multidgd" or len(line.get_xdata()) == 4 for line in axes.lines)
    for said in ("not the same ones at all sizes", "ATAC is left out", "best of ten resolutions", "default layers"):
        assert said in words(figure)
    by_size = scores.query("metric == 'prediction_rmse_rna' and dataset == 'marrow' and model == 'multidgd'")
    means = by_size.groupby("n_cells")["value"].mean()
    first = next(line for line in axes.lines if line.get_label() == "multidgd")
    np.testing.assert_allclose(first.get_data(), [means.index, means / means.iloc[-1]])
    filtered = next(axes for axes in panels(figure) if axes.get_xlabel() == "features (gastrulation)")
    np.testing.assert_allclose(
        bars(filtered)["multidgd"], rmse["multidgd"][["gastrulation", "gastrulation_all_features"]]
    )


def test_multidgd_says_which_features_its_labels_have(studies):
    study = studies["multidgd_benchmark"]
    filtered = {"rna": {"min_cell_fraction": 0.05}, "atac": {"min_cell_fraction": 0.05}}
    config = {
        "datasets": [
            "marrow",
            {"name": "cells", "label": "gastrulation", "features": filtered},
            {"name": "cells", "label": "gastrulation_all_features", "features": {"atac": {"top_fraction": 0.25}}},
        ]
    }
    known = draw_parts(FIGURES["multidgd_2"], Study(study.scores, study.runs, {"config": config}))[""]
    assert (
        "F, G, features: gastrulation (genes: in 5 % of the cells or more, peaks: in 5 % of the cells or more); "
        "gastrulation_all_features (peaks: the 25 % with the most counts, the others unfiltered)." in words(known)
    )
    # A filter of the whole study is that of each of its data sets.
    common = {
        "designs": {"features": {"rna": {"highly_variable": 2000}}},
        "datasets": ["gastrulation", "gastrulation_all_features"],
    }
    note = multidgd_benchmark._features_note(Study(study.scores, study.runs, {"config": common}), common["datasets"])
    assert note.count("(genes: the 2,000 most variable, the others unfiltered)") == 2


def test_multidgd_without_a_configuration_refers_to_the_description(drawn):
    assert "“all”: all of the study's features; which these are, its description says" in words(drawn("multidgd_2")[""])


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_without_metrics_or_umaps_is_drawn_with_notes(studies, name):
    study = studies[FIGURES[name].study]
    keep = study.scores["metric"] == "nobody_knows"
    bare = Study(
        study.scores[keep], study.runs.drop(columns=["wall_seconds", "peak_rss_mb"]).assign(wall_seconds=np.nan)
    )
    for figure in draw_parts(FIGURES[name], bare).values():
        text = words(figure)
        assert any(
            note in text
            for note in ("no value", "not scored", "not in the table of UMAPs", "Not scored", "not measured")
        ), text


def test_a_panel_of_a_model_that_failed_says_so(studies):
    study = studies["brombacher_sample_size"]
    runs = study.runs.copy()
    at = (runs["variant"] == "scmm") & (runs["n_cells"] == runs["n_cells"].max())
    runs.loc[at, "status"] = "diverged"
    less = Study(study.scores, runs, umaps=study.umaps[(study.umaps["variant"] != "scmm")])
    for figure in draw_parts(FIGURES["brombacher_4_5"], less).values():
        notes = [text.get_text().replace("\n", " ") for axes in panels(figure) for text in axes.texts]
        assert notes.count("diverged") == 1 and notes.count("not in the table of UMAPs") == 1, notes


def test_a_umap_panel_says_that_the_model_failed_in_the_design_that_is_laid_out(studies):
    """Elsewhere, in another replicate or at another size, the same model at the same rate may have been well."""
    study = studies["multivi_unpairing"]
    runs = study.runs.copy()
    at = (runs["variant"] == "seurat-imputed") & (runs["unpaired_fraction"] == 0.99)
    reason = "three paired cells do not tell which peaks belong to which genes, so that no anchor was found"
    runs.loc[at & (runs["replicate"] == 0), ["status", "reason"]] = ["failed", reason]
    small = runs[at].assign(n_cells=300, design="small", status="ok")
    umaps = study.umaps[(study.umaps["variant"] != "seurat-imputed") | (study.umaps["unpaired_fraction"] != 0.99)]
    figure = draw_parts(FIGURES["multivi_2"], Study(study.scores, pd.concat([runs, small]), umaps=umaps))["pbmc"]
    notes = [text.get_text().replace("\n", " ") for axes in panels(figure)[:15] for text in axes.texts]
    said = [note for note in notes if len(note) > 1]
    assert said == ["failed: three paired cells do not tell which peaks belong to which …"]


def degenerate(study: Study, variant: str, **where) -> Study:
    """A study in which a variant's runs with these keys are collapsed and have the best scores that there are."""
    scores, runs = study.scores.copy(), study.runs.copy()
    for table in (scores, runs):
        at = table["variant"] == variant
        for key, value in where.items():
            at &= table[key] == value
        if table is scores:
            table.loc[at & (table["status"] == "ok"), "value"] = 1.0
        else:
            table.loc[at, "collapsed"] = True
    return Study(scores, runs, umaps=study.umaps, label_agreement=study.label_agreement)


def test_a_degenerate_embedding_is_not_drawn_as_the_best_one(studies):
    study = degenerate(studies["brombacher_sample_size"], "scmm", dataset="marrow_multiome")
    figure = draw_parts(FIGURES["brombacher_3"], study)[""]
    first = panel(figure, "Site ASW ↑")
    rows = [tick.get_text() for tick in first.get_yticklabels()]
    assert rows[0] != "scmm"
    shown = np.ma.getmaskarray(first.images[0].get_array())
    assert shown[rows.index("scmm")].all() and shown.sum() == 3
    note = "marrow_multiome: degenerate embeddings, which count as no value: scmm (18 of 18 runs)."
    assert note in words(figure) and "marrow_cite: degenerate" not in words(figure)


def test_bars_and_points_leave_out_degenerate_runs_alone(studies):
    study = degenerate(studies["scmvp_clustering"], "mofa", dataset="share_mouse_skin", seed=1)
    figure = draw_parts(FIGURES["scmvp_3d_4a"], study)[""]
    raw = studies["scmvp_clustering"].scores.query("dataset == 'share_mouse_skin' and variant == 'mofa' and seed != 1")
    np.testing.assert_allclose(bars(panel(figure, "share_mouse_skin"))["mofa"], raw["value"].mean())
    assert "share_mouse_skin: degenerate embeddings, which count as no value: mofa (1 of 3 runs)." in words(figure)


@pytest.mark.parametrize("name, metric", [("brombacher_sample_size", "asw_batch"), ("scmvp_scaling", "wall_seconds")])
@pytest.mark.parametrize("per", ["replicate", "run"])
def test_values_are_without_those_of_degenerate_runs_but_for_controls(studies, name, metric, per):
    whole = studies[name]
    if metric == "wall_seconds":  # of the table of runs
        whole = Study(whole.scores[whole.scores["metric"] != metric], whole.runs)
    before = values(whole, metric, per)
    after = values(degenerate(whole, "scmvp", replicate=1), metric, per)
    assert (before["label"] == "scmvp").sum() > (after["label"] == "scmvp").sum() > 0
    pd.testing.assert_frame_equal(
        before[before["label"] != "scmvp"].reset_index(drop=True),
        after[after["label"] != "scmvp"].reset_index(drop=True),
    )
    control = values(degenerate(whole, "random"), metric, per)
    assert (control["label"] == "random").sum() == (before["label"] == "random").sum() > 0


def test_a_panel_of_degenerate_embeddings_alone_says_so(studies):
    study = studies["scmvp_scaling"]
    scores = study.scores.assign(metric="ari_kmeans")
    for variant in study.variants.loc[~study.variants["control"], "variant"]:
        study = degenerate(Study(scores, study.runs), variant)
    assert why_empty(study, "ari_kmeans") == "no value: collapsed embedding"
    assert "scmvp (8 of 8 runs)" in missing_notes(study, [])[0]


def test_rows_of_tiles_leave_out_what_they_share_with_a_row_of_that_name():
    from benchmarks.figures.tiles import _rows

    names = ["multivi-native", "multivi-native-cell", "multivi-native-cell-mmd", "wnn", "seurat-wnn"]
    assert _rows(names) == ["multivi-native", "… cell", "… cell-mmd", "wnn", "seurat-wnn"]


@pytest.mark.parametrize("missing", ["nmi_louvain", "trajectory_conservation"])
def test_rows_of_tiles_keep_their_names_where_a_metric_is_missing(studies, missing):
    """The first panel of a row that has values names the models, and no other does."""
    study = studies["brombacher_sample_size"]
    less = Study(study.scores[study.scores["metric"] != missing], study.runs)
    figure = draw_parts(FIGURES["brombacher_2"], less)[""]
    filled = [axes for axes in panels(figure) if axes.images]
    named = [[label.get_text() for label in axes.get_yticklabels() if label.get_text()] for axes in filled]
    rows = [len(axes.images[0].get_array()) for axes in filled]
    assert len(filled) == 4 and [len(names) for names in named] == [rows[0], 0, rows[2], 0]
    assert all(label.get_visible() for axes in (filled[0], filled[2]) for label in axes.get_yticklabels())


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_in_which_nothing_ran_is_bad_input(studies, name):
    study = studies[FIGURES[name].study]
    empty = Study(study.scores.assign(value=np.nan, status="missing"), study.runs.assign(status="failed"))
    with pytest.raises(InputError, match="no successful run"):
        draw_parts(FIGURES[name], empty)
    with pytest.raises(InputError, match="no successful run"):
        FIGURES[name].draw(empty)


def write_study(study: Study, folder) -> None:
    """Put a study's tables where the workflow puts them."""
    for name in ("scores", "runs", "umaps"):
        write_table(folder / f"{name}.parquet", getattr(study, name))


def test_the_table_of_labels_is_read_with_the_others(studies, tmp_path):
    study = studies["multivi_studies"]
    write_study(study, tmp_path)
    assert read_study(tmp_path).label_agreement.empty
    write_table(tmp_path / "label_agreement.parquet", study.label_agreement)
    pd.testing.assert_frame_equal(read_study(tmp_path).label_agreement, study.label_agreement)


def test_files_are_the_same_bytes_each_time(studies, tmp_path):
    write_study(studies["scmvp_latent_dimensions"], tmp_path)
    first = write_figures(tmp_path, tmp_path / "a")
    second = write_figures(tmp_path, tmp_path / "b")
    assert [path.name for path in first] == ["scmvp_1b.pdf", "scmvp_1b.png"]
    for one, other in zip(first, second):
        assert one.read_bytes() == other.read_bytes()
    pdf = first[0].read_bytes()
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"/Subtype /Image" not in pdf, "lines are vectors"
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_points_of_umaps_are_rasters_of_the_same_bytes(drawn, tmp_path):
    figure = drawn("multivi_3_s4")["sites"]
    one, other = (save(figure, tmp_path / name)[0].read_bytes() for name in ("one", "other"))
    assert one == other and b"/Subtype /Image" in one


def test_names_of_data_sets_become_safe_file_names_and_plain_text(studies, tmp_path):
    study = studies["multivi_unpairing"]
    hostile = "../$x^{$ <b>"
    tables = [table.assign(dataset=hostile) for table in (study.scores, study.runs, study.umaps)]
    write_study(Study(tables[0], tables[1], umaps=tables[2]), tmp_path)
    paths = write_figures(tmp_path, tmp_path / "out")
    assert all(path.parent == tmp_path / "out" for path in paths)
    assert {path.name for path in paths} == {"multivi_2.-x-b-.pdf", "multivi_2.-x-b-.png"}


def test_command_draws_the_figures_of_a_study_and_says_what_is_wrong(studies, tmp_path, capsys):
    write_study(studies["scmvp_scaling"], tmp_path)
    assert main(["figures", "--study-folder", str(tmp_path), "--output", str(tmp_path / "figures")]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"scmvp_1c.pdf", "scmvp_1c.png"}
    arguments = ["figures", "--study-folder", str(tmp_path), "--output", str(tmp_path / "figures")]
    assert main([*arguments, "--names", "scmvp_1x"]) == 2
    assert "no figure 'scmvp_1x'" in capsys.readouterr().err
    assert main(["figures", "--study-folder", str(tmp_path / "none"), "--output", str(tmp_path)]) == 2
    assert "neither scores.parquet nor scores.tsv" in capsys.readouterr().err
    write_table(tmp_path / "scores.parquet", studies["scmvp_scaling"].scores.assign(study="mine"))
    assert main(arguments) == 2
    assert "study 'mine' has no figures of a paper" in capsys.readouterr().err


def test_in_a_workflow_a_study_in_which_nothing_ran_has_an_empty_folder_and_a_reason(studies, tmp_path, capsys):
    study = studies["scmvp_scaling"]
    failed = study.runs.assign(status="failed", reason="x")
    write_study(Study(study.scores.assign(status="missing", value=np.nan), failed), tmp_path)
    arguments = ["figures", "--study-folder", str(tmp_path), "--output", str(tmp_path / "figures")]
    assert main(arguments) == 2
    assert main([*arguments, "--skip-empty"]) == 0
    assert not list((tmp_path / "figures").iterdir())
    assert "scmvp_1c: study 'scmvp_scaling_small' has no successful run" in capsys.readouterr().err


def test_umaps_of_the_smallest_size_do_not_lie_on_those_of_the_largest(studies):
    study = studies["multivi_studies"]
    small = study.umaps.assign(n_cells=1, x=study.umaps["x"] + 100)
    both = Study(study.scores, study.runs, umaps=pd.concat([small, study.umaps], ignore_index=True))
    for first, second in zip(
        draw_parts(FIGURES["multivi_3_s4"], both).values(), draw_parts(FIGURES["multivi_3_s4"], study).values()
    ):
        for one, other in zip(panels(first), panels(second)):
            assert [len(c.get_offsets()) for c in one.collections] == [len(c.get_offsets()) for c in other.collections]


def test_conditions_take_the_column_of_modalities_where_all_cells_are_complete(studies):
    study = studies["multivi_trimodal"]
    treated = study.umaps.assign(condition=np.where(np.arange(len(study.umaps)) % 2, "control", "stimulated"))
    figure = draw_parts(FIGURES["multivi_6"], Study(study.scores, study.runs, umaps=treated))[""]
    headings = [axes.get_title() for axes in panels(figure)]
    # The paper's order: replicate, condition, cell type; then modality, batch, cell type.
    assert [heading for heading in headings[:9] if heading] == ["batch", "condition", "cell type"]
    assert [heading for heading in headings[-6:] if heading] == ["modalities", "batch", "cell type"]
    assert headings.count("condition") == 1 and headings.count("modalities") == 1
    assert "stimulated" in words(figure)
    assert "condition" not in {axes.get_title() for axes in panels(draw_parts(FIGURES["multivi_6"], study)[""])}


def test_full_and_small_studies_have_the_same_figures():
    assert figures_of("scmvp_clustering") == figures_of("scmvp_clustering_small") == ["scmvp_3abc", "scmvp_3d_4a"]
    with pytest.raises(InputError, match="did you mean 'scmvp_scaling'"):
        figures_of("scmvp_scalin")


def test_every_listed_model_has_a_look_of_its_own():
    looks = pd.Series({model: (style.colour(model), style.marker(model)) for model in style._LOOKS})
    assert not looks.duplicated().any(), looks[looks.duplicated(keep=False)]
    assert style.colour("somebody's model") in style.COLOURS and style.marker("somebody's model") in style.MARKERS
