"""The data behind the report's page of advice."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from benchmarks.report.page import report_html
from benchmarks.report.sections.advice import contours, section
from benchmarks.report.study import Study, read_study
from benchmarks.statistics.exchange import fit_surface


@pytest.fixture(scope="module")
def study(fictitious_study, fictitious_metrics):
    return read_study(fictitious_study, fictitious_metrics)


def test_curves_have_bands_around_them(study):
    data = section(study).data
    assert {item["dataset"] for item in data["curves"]} == {"bmmc_multiome", "snare_mouse_cortex"}
    for item in data["curves"]:
        assert len(item["value"]) == len(item["band"][0]) == len(item["band"][1])
        low, value, high = (
            np.array(numbers, dtype=float) for numbers in (item["band"][0], item["value"], item["band"][1])
        )
        assert (low <= high).all() and np.mean((low <= value) & (value <= high)) > 0.9
        assert not study.variants["control"][item["variant"]]


def test_every_row_of_text_is_there(study):
    data = section(study).data
    rows = data["rows"]
    assert {len(column) for column in rows.values()} == {len(rows["topic"])} and set(rows["topic"]) == {
        "cells",
        "paired cells",
        "paired",
        "model",
    }
    assert max(rows["text"]) == len(data["texts"]) - 1 and all(data["texts"])
    models = np.array(rows["topic"]) == "model"
    reasons = np.array([data["texts"][text].startswith("Not fitted") for text in rows["text"]])
    assert (np.array(rows["variant"])[models] == -1).all()
    assert (np.array(rows["variant"])[~models & ~reasons] >= 0).all()
    assert (np.array(rows["metric"])[~reasons] >= 0).all()


def test_curves_along_paired_cells_end_where_all_are_paired(study):
    data = section(study).data
    paired = [item for item in data["curves"] if item["axis"] == "paired"]
    assert {item["fixed"] for item in paired} == {500, 1000, 2000}
    for item in paired:
        assert item["sizes"][-1] == item["end"] == item["fixed"]
        assert item["sizes"] == [round(item["fixed"] * share) for share in (0.01, 0.5, 1)]
    assert all(item["end"] == 2 * item["sizes"][-1] for item in data["curves"] if item["axis"] == "cells")


def test_contours_join_designs_of_equal_score():
    n, u = np.repeat([500.0, 1000.0, 4000.0], 3), np.tile([0.0, 0.5, 0.9], 3)
    surface = fit_surface(n, u, np.tile(0.9 - 8 * (n * (1 - u) + 0.3 * n * u) ** -0.6, (3, 1)))
    lines = contours(surface)
    assert len({line["level"] for line in lines}) >= 3
    for line in lines:
        paired, unpaired = np.array(line["x"]), np.array(line["y"])
        assert surface.value(paired, unpaired) == pytest.approx(line["level"], abs=0.01, nan_ok=True)
        assert ((paired + unpaired) <= 4000 * 1.02).all()
        # Equal score is equal P + 0.3 U.
        assert np.ptp(paired + 0.3 * unpaired) < 0.1 * np.mean(paired + 0.3 * unpaired)
    assert contours(fit_surface(n, u, np.full((3, 9), 0.5))) == []


def test_poor_studies_have_the_page_too(study, fictitious_metrics):
    one = study.scores["n_cells"] == 500
    runs = study.runs["n_cells"] == 500
    data = section(Study(study.scores[one], study.runs[runs], metrics=fictitious_metrics)).data
    assert {item["axis"] for item in data["curves"]} == {"paired"} and data["surfaces"] == []
    assert any("needs 3" in text for text in data["texts"])
    # One size: said once a data set, not once for each model and metric.
    assert sum(topic in ("cells", "paired") for topic in data["rows"]["topic"]) == 2 * 2
    none = Study(study.scores.iloc[:0], study.runs.iloc[:0], metrics=fictitious_metrics)
    assert section(none).data is None and "no scores to fit" in section(none).html
    controls = study.scores["model"].isin(["random", "oracle", "collapsed"])
    html = report_html(Study(study.scores[controls], study.runs, metrics=fictitious_metrics))
    assert json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S).group(1))
