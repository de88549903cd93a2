"""The two scripts that keep a study's tables and print them, on a study of three rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.formats import read_table, write_table

SCRIPTS = Path(__file__).resolve().parent.parent / "performance"


def script(name: str):
    """A script of tests/performance as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores() -> pd.DataFrame:
    """Two sizes of one data set; of two runs one failed at the larger."""
    rows = [
        ("cortex", 500, 0.0, "pca", "nmi_leiden", 0.51, "ok"),
        ("cortex", 500, 0.0, "pca", "nmi_leiden", 0.55, "ok"),
        ("cortex", 1000, 0.0, "pca", "nmi_leiden", 0.6, "ok"),
        ("cortex", 1000, 0.0, "pca", "nmi_leiden", np.nan, "missing"),
        ("cortex", 500, 0.0, "scmvp", "nmi_leiden", np.nan, "not_applicable"),
        ("cortex", 500, 0.0, "pca", "wall_seconds", 1234.5, "ok"),
    ]
    columns = ["dataset", "n_cells", "unpaired_fraction", "variant", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


def test_a_table_has_medians_ranges_and_what_failed():
    lines = script("study_table").tables(scores(), "nmi_leiden", 2)
    assert lines == [
        "",
        "`cortex`, nmi_leiden",
        "",
        "| model | 500 cells | 1,000 cells |",
        "|---|---|---|",
        "| pca | 0.53 (0.51 to 0.55) | 0.60, 1 missing |",
    ]


def test_columns_are_fractions_where_there_is_one_size():
    unpaired = scores().query("n_cells == 500 and metric == 'nmi_leiden'").assign(unpaired_fraction=[0.1, 0.9, 0.9])
    lines = script("study_table").tables(unpaired, "nmi_leiden", 1)
    assert lines[3] == "| model | 10% unpaired | 90% unpaired |" and lines[5] == "| pca | 0.5 | 0.6 |"


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(SystemExit, match="no metric 'nmi'; there are nmi_leiden, wall_seconds"):
        script("study_table").tables(scores(), "nmi", 2)


def test_the_command_reads_the_kept_tables(tmp_path, monkeypatch, capsys):
    write_table(tmp_path / "scores.parquet", scores())
    monkeypatch.setattr("sys.argv", ["study_table.py", str(tmp_path), "wall_seconds", "--digits", "0"])
    script("study_table").main()
    assert "| pca | 1,234 |" in capsys.readouterr().out


def test_tables_are_kept_without_paths_and_figures_small(tmp_path, monkeypatch):
    keep = script("keep_results")
    study = tmp_path / "results" / "tiny"
    (study / "figures").mkdir(parents=True)
    for name in keep.TABLES:
        write_table(study / f"{name}.parquet", pd.DataFrame({"table": [name]}))
    paths = ["visible", "truth", "embedding", "prediction", "record"]
    write_table(study / "runs.parquet", pd.DataFrame({"model": ["pca"], **{path: ["somewhere"] for path in paths}}))
    Image.new("RGB", (2600, 1000), "white").save(study / "figures" / "figure.png")

    monkeypatch.setattr("sys.argv", ["keep_results.py", str(study), str(tmp_path / "kept")])
    keep.main()
    kept = tmp_path / "kept" / "tiny"
    assert list(read_table(kept / "runs.parquet").columns) == ["model"]
    assert {"mean_ranks", "variance", "variance_trends"} < set(keep.TABLES)
    assert all(read_table(kept / f"{name}.parquet")["table"].tolist() == [name] for name in keep.TABLES)
    assert Image.open(kept / "figure.png").size == (1300, 500)
