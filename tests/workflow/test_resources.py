"""What a training asks for: a GPU where it can use one, and the conda environment of its model."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml

pytestmark = [pytest.mark.end_to_end]

STUDY = {
    "study": "tiny", "datasets": ["simulated_tiny"], "designs": {"n_cells": [120]}, "models": ["random", "multivi", "seurat-wnn"],
    "metrics": ["nmi_leiden"],
}  # fmt: skip

CONDA = """#!/bin/sh
case "$*" in
  *"info --json"*) echo '{"conda_prefix": "/x", "root_prefix": "/x", "platform": "linux-64", "conda_version": "24.9.0"}';;
  *--version*) echo "conda 24.9.0";;
  *) echo '{"get": {"channel_priority": "strict"}, "channel_priority": "strict"}';;
esac
"""


@pytest.fixture
def plan(root, tmp_path):
    """A function: arguments of Snakemake and changes of the study -> what a dry run prints, with two GPUs at hand."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("nvidia-smi", "#!/bin/sh\necho 'GPU 0: x'\necho 'GPU 1: x'\n"), ("conda", CONDA)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run(*arguments, **changes):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, **changes}), encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(tmp_path),
             "--configfile", str(tmp_path / "study.yaml"), "--cores", "2", *arguments],
            capture_output=True, text=True, timeout=300,
            env={**environment, "PATH": f"{commands}:{environment['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


def asked(text: str) -> dict[str, int]:
    """Variant -> its training's `gpu`."""
    found = {}
    for block in re.split(r"\n(?=\w*rule )", text):
        if block.startswith("rule train_model"):
            variant = re.search(r"run=([a-z0-9-]+)\.", block)[1]
            found[variant] = int(re.search(r"gpu=(\d+)", block)[1])
    return found


def test_auto_asks_for_a_gpu_where_there_is_one(plan):
    assert asked(plan("--dry-run")) == {"random": 0, "multivi": 1, "seurat-wnn": 0}


def test_cpu_asks_for_none(plan):
    assert set(asked(plan("--dry-run", device="cpu")).values()) == {0}


def test_each_model_has_its_conda_environment(plan):
    text = plan("--sdm", "conda", "--list-conda-envs")
    assert set(re.findall(r"/envs/(\S+)\.yaml", text)) == {"main", "seurat"}


@pytest.mark.slow
def test_so_many_trainings_share_the_devices(plan):
    """Two devices, three trainings each; the command line says otherwise."""
    until = ("--until", "write_plan")
    assert provided(plan(*until, gpu_jobs_per_device=3)) == 6
    assert provided(plan("--resources", "gpu=5", "--forceall", *until, gpu_jobs_per_device=3)) == 5


def provided(text: str) -> int:
    """The total of `gpu` by which Snakemake schedules."""
    (line,) = [line for line in text.splitlines() if line.startswith("Provided resources:")]
    return int(re.search(r"gpu\W[^0-9]*(\d+)", line)[1])
