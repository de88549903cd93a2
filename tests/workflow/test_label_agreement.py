"""Who asks for the table of labels by labels: studies with the metric that it is behind, and no others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from benchmarks.label_agreement import METRIC


@pytest.mark.end_to_end
@pytest.mark.parametrize("metrics, jobs", [([METRIC], 1), (["nmi_leiden"], 0)])
def test_only_a_study_with_the_metric_makes_the_table(root, tmp_path, metrics, jobs):
    study = {
        "study": "tiny", "datasets": ["simulated_tiny"], "models": ["random"], "metrics": metrics,
        "designs": {"n_cells": [120], "unpaired_fraction": [0.5]},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(root / "Snakefile"), "--directory",
         str(tmp_path), "--configfile", str(tmp_path / "study.yaml"), "--cores", "1"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    # Snakemake says the numbers of jobs twice, before and after it lists them.
    counts = {
        line.split()[1]
        for line in (result.stdout + result.stderr).splitlines()
        if line.startswith("compute_label_agreement ")
    }
    assert counts == ({"1"} if jobs else set())
