"""What jobs ask for: memory and time by the data and the attempt, a GPU where one can be used, a model's environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from benchmarks.designs import DesignSpec
from workflow import resources
from workflow.configuration import load_study
from workflow.planning import PlannedDesign, make_plan
from workflow.resources import Size

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


@pytest.mark.end_to_end
def test_auto_asks_for_a_gpu_where_there_is_one(plan):
    assert asked(plan("--dry-run")) == {"random": 0, "multivi": 1, "seurat-wnn": 0}


@pytest.mark.end_to_end
def test_cpu_asks_for_none(plan):
    assert set(asked(plan("--dry-run", device="cpu")).values()) == {0}


@pytest.mark.end_to_end
def test_each_model_has_its_conda_environment(plan):
    text = plan("--sdm", "conda", "--list-conda-envs")
    assert set(re.findall(r"/envs/(\S+)\.yaml", text)) == {"main", "seurat"}


@pytest.mark.end_to_end
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


# ---- Memory and time ---------------------------------------------------------------------------------------------

SMALL, LARGE = Size(500, 2_000, 0.1), Size(100_000, 30_000, 0.1)
LIMIT_MB, LIMIT_MINUTES = 50_000, 10_000

REQUESTS = {
    "data set, memory": lambda size, attempt: resources.dataset_memory_mb(size.n_nonzero / 2**20, attempt),
    "data set, time": lambda size, attempt: resources.dataset_minutes(size.n_nonzero / 2**20, attempt),
    "design, memory": resources.design_memory_mb,
    "design, time": resources.design_minutes,
    "training, memory": lambda size, attempt: resources.training_memory_mb(size, LIMIT_MB, attempt),
    "training, time": lambda size, attempt: resources.training_minutes(size, LIMIT_MINUTES, attempt),
    "score, memory": lambda size, attempt: resources.score_memory_mb(size, False, attempt),
    "score, time": resources.score_minutes,
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_grow_with_the_data_and_with_the_attempt(name):
    request = REQUESTS[name]
    assert 0 < request(SMALL, 1) < request(LARGE, 1)
    assert request(SMALL, 1) < request(SMALL, 2) < request(SMALL, 3)
    assert all(isinstance(request(size, attempt), int) for size in (SMALL, LARGE) for attempt in (1, 2, 3))


def test_trainings_grow_with_cells_and_with_features():
    def both(size):
        return resources.training_memory_mb(size, LIMIT_MB), resources.training_minutes(size, LIMIT_MINUTES)

    first, cells, features = both(SMALL), both(Size(50_000, 2_000, 0.1)), both(Size(500, 200_000, 0.1))
    assert first[0] < cells[0] and first[1] < cells[1] and cells == features


def test_a_training_never_asks_for_more_than_its_limits_and_at_last_for_all_of_them():
    """What runs beside the model comes on top: a job must not be killed before the training's supervisor acts."""
    for attempt in (1, 2, 3, 4):
        assert resources.training_memory_mb(LARGE, 3000, attempt) == 3000 + resources.JOB_MB
        assert resources.training_minutes(LARGE, 5.5, attempt) == 6 + resources.MARGIN_MINUTES
    assert resources.training_memory_mb(SMALL, LIMIT_MB, 3) == LIMIT_MB + resources.JOB_MB
    assert resources.training_minutes(SMALL, LIMIT_MINUTES, 3) == LIMIT_MINUTES + resources.MARGIN_MINUTES


@pytest.mark.parametrize(
    "n_observations, n_features, peak_mb, minutes",
    [
        (200, 192, 427, 0.1),  # multidgd
        (1600, 5021, 461, 0.3),  # mofa
        (2000, 4981, 592, 3.8),  # scmm
        (2000, 4981, 632, 1.0),  # scmvp
        (1000, 5021, 974, 7.7),  # scmidas
        (400, 5021, 1478, 1.0),  # scglue
        (500, 1728, 792, 2.1),  # mowgli's memory, scmidas' time
    ],
)
def test_the_first_attempt_holds_what_was_measured(n_observations, n_features, peak_mb, minutes):
    size = Size(n_observations, n_features, 0.1)
    assert resources.training_memory_mb(size, LIMIT_MB) - resources.JOB_MB >= peak_mb
    assert resources.training_minutes(size, LIMIT_MINUTES) >= minutes


@pytest.mark.parametrize(
    "n_observations, peak_mb, seconds", [(500, 309, 2.3), (100_000, 1522, 112), (1_000_000, 4453, 2207)]
)
def test_scoring_asks_for_what_it_took(n_observations, peak_mb, seconds):
    size = Size(n_observations, 2_000, 0.1)
    assert resources.score_memory_mb(size, False) - resources.JOB_MB >= peak_mb
    assert resources.score_minutes(size) * 60 >= seconds
    assert resources.score_memory_mb(size, True) > resources.score_memory_mb(size, False)


@pytest.fixture
def planned(tmp_path):
    """A study of a simulated data set, its sizes, and where the summary of the data set goes."""
    study = load_study(
        {**STUDY, "results_dir": str(tmp_path), "designs": {"n_cells": [120, "all"], "unpaired_fraction": [0.5]}}, []
    )
    plan = make_plan(study)
    return plan, resources.Sizes(study), tmp_path / "shared" / "datasets" / plan.datasets[0].key / "summary.json"


def write_summary(path, n_cells, zero_fraction):
    """What preparing a data set leaves, as far as sizes are read off it."""
    path.parent.mkdir(parents=True)
    features = {"rna": 60, "atac": 120, "protein": 12}
    path.write_text(json.dumps({"n_cells": n_cells, "n_features": features, "zero_fraction": zero_fraction}))


def test_the_size_of_a_data_set_is_declared_or_guessed_until_it_is_prepared(planned):
    plan, sizes, summary = planned
    dataset = plan.datasets[0]
    assert sizes.dataset(dataset) == Size(200, resources.UNKNOWN_FEATURES, resources.UNKNOWN_DENSITY)
    write_summary(summary, 198, {"rna": 0.5, "atac": 0.9, "protein": 0.0})
    size = sizes.dataset(dataset)
    assert (size.n_observations, size.n_features) == (198, 192)
    assert size.n_nonzero == 198 * (30 + 12 + 12)


def test_the_size_of_a_design_counts_halves_filters_and_test_cells(planned):
    plan, sizes, summary = planned
    write_summary(summary, 200, {"rna": 0.5, "atac": 0.5, "protein": 0.5})
    observations = sorted(sizes.design(design).n_observations for design in plan.designs)
    assert observations == [240, 400]  # Half of the cells are three observations each.

    def sized(**changes):
        spec = DesignSpec("simulated_tiny", **changes)
        return sizes.design(PlannedDesign("", "", plan.datasets[0], spec))

    assert sized(modalities=("rna", "protein"), n_cells=100).n_features == 72
    assert sized(modalities=("rna",), features={"rna": {"highly_variable": 20}}).n_features == 20
    assert sized(modalities=("atac",), features={"atac": {"top_fraction": 0.25}}).n_features == 30
    assert sized(modalities=("rna",), n_cells=100, test_fraction=0.1).n_observations == 120


@pytest.mark.end_to_end
def test_the_rules_ask_for_it(plan):
    text = plan("--dry-run", limits={"memory_mb": 2345, "wall_minutes": 7})
    trainings = [block for block in re.split(r"\n(?=\w*rule )", text) if block.startswith("rule train_model")]
    assert len(trainings) == 3
    for block in trainings:
        # The size that is known before there are data: 120 cells of an unknown number of features.
        size = Size(120, resources.UNKNOWN_FEATURES, resources.UNKNOWN_DENSITY)
        assert f"mem_mb={resources.training_memory_mb(size, 2345)}," in block
        assert f"runtime={resources.training_minutes(size, 7)}," in block
        assert "memory_limit=2345" in block and "wall_seconds=420" in block


def test_the_slurm_profile_groups_every_small_rule(root):
    profile = yaml.safe_load((root / "workflow" / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    rules = set()
    for file in (root / "workflow" / "rules").glob("*.smk"):
        rules |= set(re.findall(r"^rule (\w+):", file.read_text(encoding="utf-8"), flags=re.M))
    grouped = dict(item.split("=") for item in profile["groups"])
    assert rules - set(grouped) == {"prepare_dataset", "train_model"} and set(grouped) <= rules
    assert {item.split("=")[0] for item in profile["group-components"]} <= set(grouped.values())
    # The third attempt is the one that asks for a study's limits.
    assert profile["retries"] == resources.LIMIT_ATTEMPT - 1
