"""Snakemake looks for work when a job ends, not ever more often."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
N_JOBS = 6

SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from workflow import scheduling


onstart:
    scheduling.stop_rate_limit(workflow)


rule all:
    input:
        expand("{{i}}.txt", i=range({N_JOBS})),


rule one:
    output:
        "{{i}}.txt",
    shell:
        "sleep 1.2; touch {{output}}"
"""


def test_looks_for_work_once_a_job(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--verbose", "--scheduler", "greedy"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # With the rate limit there is one more each second for each job that has started: 10 here in place of 7.
    assert done.stderr.count("Ready jobs") <= N_JOBS + 2
