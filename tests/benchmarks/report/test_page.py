"""The page as text: complete, self-contained, escaped, and written for poor studies too."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import InputError
from benchmarks.figures.style import COLOURS
from benchmarks.formats import write_table
from benchmarks.report.page import SECTIONS, report_html, write_report
from benchmarks.report.section import codes, embedded_json, number, numbers
from benchmarks.report.sections import figures as figures_module
from benchmarks.report.sections.embeddings import section as embeddings_section
from benchmarks.report.sections.figures import section as figures_section
from benchmarks.report.sections.ranking import mean_ranks, p_text
from benchmarks.report.sections.ranking import section as ranking_section
from benchmarks.report.sections.study import section as study_section
from benchmarks.report.sections.variance import section as variance_section
from benchmarks.report.study import Study, read_study

ALWAYS = tuple(name for name in SECTIONS if name != "figures")
"""Sections of every report; that of the papers' figures is in the reports of their studies."""


def page_data(html: str) -> dict:
    """The data of a page, as its script gets them."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S).group(1))


@pytest.fixture(scope="module")
def html(fictitious_study, fictitious_metrics):
    return report_html(read_study(fictitious_study, fictitious_metrics))


@pytest.fixture(scope="module")
def small(fictitious_study, fictitious_metrics):
    """A study of one condition, from which tests take things away."""
    study = read_study(fictitious_study, fictitious_metrics)
    keep = {"dataset": "bmmc_multiome", "n_cells": 500, "unpaired_fraction": 0.5}
    scores, runs = (
        table[np.logical_and.reduce([table[name] == value for name, value in keep.items()])]
        for table in (study.scores, study.runs)
    )
    return scores.reset_index(drop=True), runs.reset_index(drop=True)


def test_every_section_is_there_once_and_in_the_navigation(html):
    for key in ALWAYS:
        assert html.count(f'<section id="{key}"') == 1
        assert html.count(f'<a href="#{key}"') >= 1


def test_nothing_is_loaded_from_elsewhere(html):
    body = html.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in body and "https://" not in body and "@import" not in body
    assert re.findall(r'\ssrc="[^"]*"', body.split('<script type="application/json"')[0]) == []
    assert set(re.findall(r'<link [^>]*href="([^"]*)"', body)) == {"data:,"}


def test_the_policy_allows_our_own_script_alone(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1).replace("&#39;", "'")
    script = re.search(r"<script>(.*?)</script>", html, re.S).group(1)
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    for text in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert html.count("<script") == 2


def test_text_from_data_is_escaped(html):
    assert "alert(1)" in html and "<script>alert" not in html
    assert "<b>each</b>" not in html and "&lt;b&gt;each&lt;/b&gt;" in html
    types = page_data(html)["sections"]["embeddings"]["designs"][0]["columns"]["cell_type"]["values"]
    assert "<script>alert(1)</script>" in types and "$(touch x)" in types


def test_the_table_holds_every_model_and_metric_of_every_condition(html, fictitious_study, fictitious_metrics):
    shared = page_data(html)["shared"]
    study = read_study(fictitious_study, fictitious_metrics)
    scores = shared["scores"]
    runs_only = [metric.get("run", False) for metric in shared["metrics"]]
    assert sum(not runs_only[metric] for metric in scores["metric"]) == len(study.summary)
    row = next(
        i
        for i in range(len(scores["metric"]))
        if shared["metrics"][scores["metric"][i]]["name"] == "nmi_leiden"
        and shared["variants"][scores["variant"][i]]["label"] == "pca"
        and shared["conditions"][scores["condition"][i]]
        == {"dataset": "bmmc_multiome", "cells": 1000, "fraction": 0.5, "replicates": 5}
    )
    own = study.scores.query(
        "metric == 'nmi_leiden' and variant == 'pca' and dataset == 'bmmc_multiome' and n_cells == 1000 and unpaired_fraction == 0.5"
    )
    assert scores["mean"][row] == pytest.approx(own["value"].mean(), rel=1e-4)
    assert scores["n"][row] == 5 and scores["low"][row] < scores["mean"][row] < scores["high"][row]


def test_failures_are_listed_with_their_reasons(html):
    part = html[html.index('id="failures"') : html.index('id="provenance"')]
    for text in (
        "diverged",
        "timeout",
        "more than 600 s",
        "takes paired cells only",
        "collapsed embedding",
        "no unpaired cells",
        "99 % unpaired",
    ):
        assert text in part


def test_what_the_study_changes_stands_on_its_first_page(html):
    part = html[html.index('id="study"') : html.index('id="overview"')]
    assert "A study &lt;b&gt;cut short&lt;/b&gt; for the test." in part
    assert "multivi (lr = 0.003, max_epochs = 60)" in part


def test_the_first_page_tells_of_pairing_and_of_controls_only_what_the_study_has(small, fictitious_metrics):
    scores, runs = small
    text = study_section(Study(scores, runs, metrics=fictitious_metrics)).html
    assert "taken apart" in text and "pairings" in text and "<em>collapsed</em>" in text
    paired = [table[table["model"] != "collapsed"].assign(unpaired_fraction=0.0) for table in small]
    text = study_section(Study(*paired, metrics=fictitious_metrics)).html
    assert "taken apart" not in text and "pairings" not in text
    assert "collapsed" not in text and "The <em>random</em> control" in text and "the <em>oracle</em>" in text
    config = {"config": {"datasets": [{"name": "a", "groups": {"rna": 1, "atac": 1}}]}}
    assert "taken apart" in study_section(Study(*paired, config, metrics=fictitious_metrics)).html
    less = [table[~table["model"].isin(["random", "oracle"])] for table in paired]
    assert "control is" not in study_section(Study(*less, metrics=fictitious_metrics)).html


@pytest.mark.parametrize("column", [True, False])
def test_a_picture_is_flagged_for_its_own_run_alone(fictitious_study, fictitious_metrics, column):
    """A second training seed that collapsed says nothing of the picture of the first one."""
    study = read_study(fictitious_study, fictitious_metrics)
    again = study.runs[study.runs["model"] == "pca"].assign(seed=1, collapsed=True)
    umaps = study.umaps.assign(seed=0) if column else study.umaps

    def flagged(runs):
        pictures = embeddings_section(Study(study.scores, runs, umaps=umaps, metrics=fictitious_metrics)).data[
            "designs"
        ]
        labels = study.variants["label"]
        return {labels[picture["variant"]] for design in pictures for picture in design["pictures"] if picture["flag"]}

    assert flagged(pd.concat([study.runs, again], ignore_index=True)) == flagged(study.runs) == {"collapsed", "scmm"}
    first = study.runs.assign(collapsed=study.runs["collapsed"] | (study.runs["model"] == "pca"))
    assert "pca" in flagged(first)


def test_provenance_is_complete(html):
    part = html[html.index('id="provenance"') :]
    for text in (
        "0123456789abcdef0123456789abcdef01234567",
        "2.13.0",
        "&#34;max_epochs&#34;: 60",
        "snakemake --cores 2",
        "a fictitious one",
    ):
        assert text in part


def test_figures_stand_in_the_page_in_the_papers_order_and_small(small, fictitious_metrics, tmp_path, monkeypatch):
    scores, runs = small
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (400, 2126, 3)).astype(np.uint8)
    paths = [tmp_path / name for name in ("multivi_6.a<b>.png", "brombacher_2.png", "somebody_s.png")]
    for path in paths:
        Image.fromarray(noise).save(path)
    study = Study(scores, runs, metrics=fictitious_metrics, figures=tuple(paths))
    html = figures_section(study).html
    found = re.findall(r'alt="(Figure [^"]*) of ', html)
    assert [text.split(" of ")[0] for text in found] == ["Figure 2", "Figure 6, S9: a&lt;b&gt;"]
    for data, width in re.findall(r'base64,([^"]*)" width="(\d+)"', html):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == "PNG" and image.width == int(width) <= 1600
    assert html == figures_section(study).html
    monkeypatch.setattr(figures_module, "MOST_BYTES", 400_000)
    many = figures_section(Study(scores, runs, metrics=fictitious_metrics, figures=(paths[1],) * 5)).html
    assert len(many.encode()) < 450_000 and "Too large for this page" in many
    assert figures_section(Study(scores, runs, metrics=fictitious_metrics)) is None


def test_pictures_keep_the_colours_of_categories(tmp_path):
    """Twelve categories and faint fills on white, with the tints that their edges and a colour map bring along."""
    from PIL import Image

    wanted = np.array([[int(ink[i : i + 2], 16) for i in (1, 3, 5)] for ink in COLOURS])
    generator = np.random.default_rng(0)
    canvas = np.full((600, 1300, 3), 255.0)
    canvas[:40] = np.linspace(0, 255, 1300)[None, :, None]
    canvas[40:80] = np.linspace((68, 1, 84), (253, 231, 37), 1300)[None]
    rows, columns = generator.integers(100, 596, 9000), generator.integers(0, 1296, 9000)
    kind = generator.integers(0, len(wanted), 9000)
    for row, column, ink in zip(rows, columns, wanted[kind]):
        canvas[row : row + 4, column : column + 4] += 0.5 * (ink - canvas[row : row + 4, column : column + 4])
        canvas[row + 1 : row + 3, column + 1 : column + 3] = ink
    canvas[540:560], canvas[560:580] = 247, 236  # empty panels and tiles
    before = canvas.astype(np.uint8)
    Image.fromarray(before).save(tmp_path / "a.png")
    picture = figures_module._picture(tmp_path / "a.png", 1300)
    with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
        after = np.asarray(image.convert("RGB")).astype(int)
    for ink in [*wanted, np.full(3, 247), np.full(3, 236), np.full(3, 255)]:
        moved = np.linalg.norm(after[(before == ink).all(axis=2)] - ink, axis=1)
        assert moved.max() == 0, (ink, moved.max())


def test_same_study_same_bytes_in_one_small_file(html, fictitious_study, fictitious_metrics, tmp_path):
    write_report(fictitious_study, tmp_path / "a" / "report.html", fictitious_metrics)
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == html
    assert 50_000 < len(html.encode()) < 15e6
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.html"]


def test_tsv_tables_do_as_well(fictitious_study, fictitious_metrics, tmp_path):
    study = read_study(fictitious_study, fictitious_metrics)
    write_table(tmp_path / "scores.tsv", study.scores)
    write_table(tmp_path / "runs.tsv", study.runs)
    other = read_study(tmp_path, fictitious_metrics)
    pd.testing.assert_frame_equal(other.summary, study.summary)
    assert other.umaps.empty and other.provenance == {}


@pytest.mark.parametrize(
    ("present", "message"),
    [({}, "neither scores.parquet nor scores.tsv"), ({"scores": ["study"]}, "lacks the column 'dataset'")],
)
def test_missing_tables_are_named(tmp_path, fictitious_metrics, present, message):
    for name, columns in present.items():
        write_table(tmp_path / f"{name}.tsv", pd.DataFrame(columns=columns))
        write_table(tmp_path / "runs.tsv", pd.DataFrame(columns=columns))
    with pytest.raises(InputError, match=message):
        read_study(tmp_path, fictitious_metrics)


def test_one_replicate_says_so(small, fictitious_metrics):
    scores, runs = (table[table["replicate"] == 0] for table in small)
    html = report_html(Study(scores, runs, metrics=fictitious_metrics))
    assert "one replicate only" in html
    data = page_data(html)["shared"]["scores"]
    assert set(data["low"]) == {None} and set(data["n"]) <= {0, 1}


@pytest.mark.parametrize(
    "what", ["no controls", "all failed", "unknown metrics", "no runs finished", "empty", "no metrics at all"]
)
def test_poor_studies_have_a_report(small, fictitious_metrics, what):
    scores, runs = (table.copy() for table in small)
    if what == "no controls":
        scores, runs = (table[~table["model"].isin(["random", "oracle", "collapsed"])] for table in (scores, runs))
    elif what == "all failed":
        scores = scores.assign(value=np.nan, status="missing", reason="failed: x")
        runs = runs.assign(
            status="failed",
            reason="x",
            wall_seconds=np.nan,
            cpu_seconds=np.nan,
            peak_rss_mb=np.nan,
            epochs=None,
            collapsed=None,
        )
    elif what == "unknown metrics":
        scores["metric"] = "mystery_" + scores["metric"]
    elif what == "no runs finished":
        runs = runs.iloc[:0]
    elif what == "empty":
        scores, runs = scores.iloc[:0], runs.iloc[:0]
    elif what == "no metrics at all":
        scores = scores.iloc[:0]
    html = report_html(Study(scores, runs, metrics=fictitious_metrics))
    assert page_data(html)["shared"]["study"] == ("empty study" if len(scores) == 0 else "fictitious")
    assert all(f'<section id="{key}"' in html for key in ALWAYS)


def test_labels_tell_variants_apart(small, fictitious_metrics):
    scores, runs = small
    chosen = scores[scores["variant"].isin(["multivi", "pca"])].assign(
        variant=lambda table: np.where(table["model"] == "pca", "default", "default")
    )
    study = Study(chosen, runs.iloc[:0], metrics=fictitious_metrics)
    assert study.variants["label"].tolist() == ["multivi", "pca"]
    study = Study(chosen.assign(variant="same"), runs.iloc[:0], metrics=fictitious_metrics)
    assert study.variants["label"].tolist() == ["multivi same", "pca same"]


def test_embedded_json_cannot_end_its_element():
    content = {"</script>": "<!-- <script> \u2028 & ]]>", "list": [None, 1.5]}
    text = embedded_json(content)
    assert not set("<>&\u2028") & set(text) and json.loads(text) == content
    with pytest.raises(ValueError):
        embedded_json([float("nan")])


def test_numbers_for_people_and_for_scripts():
    assert [number(value) for value in (1234567, 0.123456, 12.0, None, float("nan"), 45678.9)] == [
        "1,234,567",
        "0.123",
        "12",
        "–",
        "–",
        "45,679",
    ]
    assert numbers([0.1234567, np.nan, np.inf, 123456.7]) == [0.12346, None, None, 123460.0]
    assert codes(["b", None, "a", "b"]) == (["b", "a"], [0, -1, 1, 0])


def test_real_declarations_serve_too(small):
    from benchmarks.metrics.registry import METRICS

    scores, runs = small
    data = page_data(report_html(Study(scores, runs, metrics=METRICS)))["shared"]
    assert {metric["name"] for metric in data["metrics"] if not metric.get("run")} == set(scores["metric"])


def test_mean_ranks_stand_in_the_ranking_with_their_test(fictitious_study, fictitious_metrics):
    study = read_study(fictitious_study, fictitious_metrics)
    (made,) = mean_ranks(study)
    names = [column["title"] for column in made["columns"]]
    assert names[:2] == ["NMI (Leiden)", "ARI (Leiden)"] and "Spearman, RNA" not in names
    own = study.mean_ranks.query("metric == 'nmi_leiden'").set_index("variant")
    for row in made["rows"]:
        cell = row["cells"][0]
        assert cell["mean"] == f"{own.loc[row['label'], 'mean_rank']:.2f}"
        bars = own.loc[row["label"], "cliques"].split(", ")
        assert [ord(letter) - 96 for letter in cell["letters"]] == [int(bar) for bar in bars]
    assert {column["blocks"] for column in made["columns"]} == {10}
    # Where nobody is told apart nobody is in bold, and what takes paired cells only is left out and named.
    firsts = [sum(cell["first"] for cell in cells if cell) for cells in zip(*(row["cells"] for row in made["rows"]))]
    assert 0 < firsts[0] < len(made["rows"])
    assert any("scmvp" in text for text in made["left_out"])
    html = ranking_section(study).html
    assert f'<td class="r">{made["columns"][0]["difference"]}</td>' in html and "Friedman" in html
    one = study.scores["variant"].isin(["pca", "random", "oracle"])
    alone = ranking_section(Study(study.scores[one], study.runs, metrics=fictitious_metrics)).html
    assert "No two models have enough scores in common" in alone
    assert [p_text(p) for p in (np.nan, 1e-9, 0.04321)] == ["–", "< 0.001", "0.043"]


def test_variance_has_its_split_trend_and_what_is_unknown(small, fictitious_study, fictitious_metrics):
    study = read_study(fictitious_study, fictitious_metrics)
    data = variance_section(study).data
    rows, notes = data["rows"], data["notes"]
    assert {len(column) for column in rows.values()} == {len(rows["sd"])}
    assert {notes[note] for note in rows["note"]} == {"one seed a subsample: the parts cannot be told apart"}
    assert set(rows["share"]) == {None} and not study.variants["control"].to_numpy()[rows["variant"]].any()
    expected = study.variance.query("metric == 'nmi_leiden' and variant == 'pca'")["variance"].to_numpy()
    pca = study.variants["label"].tolist().index("pca")
    own = [i for i, both in enumerate(zip(rows["variant"], rows["metric"])) if both == (pca, 0)]
    assert [rows["sd"][i] for i in own] == pytest.approx(np.sqrt(expected), rel=1e-3)
    assert (
        set(data["trends"]["trend"]) <= {"falls", "rises", "unresolved"} and len(set(data["trends"]["fraction"])) == 3
    )
    # The flagged run of scmm at 2,000 cells is not among its values.
    scmm = study.variants["label"].tolist().index("scmm")
    largest = study.conditions["n_cells"].to_numpy() == 2000
    counts = {rows["values"][i] for i in range(len(rows["sd"])) if rows["variant"][i] == scmm and largest[rows["condition"][i]]}  # fmt: skip
    assert counts == {4}

    scores, runs = small
    twice = pd.concat([scores, scores.assign(seed=1, value=scores["value"] + 0.01)], ignore_index=True)
    both = pd.concat([runs, runs.assign(seed=1)], ignore_index=True)
    share = variance_section(Study(twice, both, metrics=fictitious_metrics)).data["rows"]["share"]
    assert all(0 <= value <= 1 for value in share)
    first = variance_section(Study(scores[scores["replicate"] == 0], runs, metrics=fictitious_metrics))
    assert first.data is None and "one value: no variance" in first.html
