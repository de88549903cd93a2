"""A study on a real SLURM of one node, through its profile: faults in turn, then the same bytes as without a cluster."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from benchmarks.formats import file_sha256
from workflow.resources import Size, design_memory_mb, training_memory_mb

pytestmark = [pytest.mark.slurm, pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(9000)]

STUDY = {
    "study": "tiny",
    "datasets": ["simulated_tiny"],
    "designs": {"n_cells": [120], "unpaired_fraction": [0.5], "seed": 3},
    "models": ["random", "pca", "multivi-native"],
    "hyperparameters": {"multivi-native": {"epochs": 300}},
    "metrics": ["nmi_leiden", "asw_cell_type", "rank_distance"],
    "umaps": {"max_embeddings": 0, "max_observations": 60},
    "limits": {"wall_minutes": 20, "memory_mb": 4000},
}
"""One data set, one design, three trainings: without faults five jobs of SLURM, two of them groups, and the trainings."""

OUTAGE_SECONDS = 40
"""Longer than the plugin's default of five queries without an answer, each of which takes SLURM's MessageTimeout of 5 s."""

SAVED_SECONDS = 6
"""The controller saves a change within five seconds; jobs that it had not saved would be lost with it."""

OF_TIME = re.compile(
    r"\.log$|\.benchmark\.tsv$|(^|/)(seconds\.json|metric_seconds\.\w+|runs\.\w+|provenance\.json|report\.html)$"
)
"""Files that say how long something took, or when or where it ran."""

OF_TIME_IN_RECORD = ("wall_seconds", "seconds_per_epoch", "cpu_seconds", "gpu_seconds", "peak_rss_mb", "peak_device_mb")


def contents(results: Path) -> dict[str, str]:
    """Path in the results folder -> digest of what must not depend on how and where it was made."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = str(path.relative_to(results))
        if not path.is_file() or OF_TIME.search(name) or path.name.startswith("."):
            continue
        if path.name == "record.json":
            record = json.loads(path.read_text(encoding="utf-8"))
            found[name] = json.dumps({key: value for key, value in record.items() if key not in OF_TIME_IN_RECORD})
        else:
            found[name] = file_sha256(path)
    return found


def write_study(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return folder


def command(root: Path, folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "study.yaml"), *arguments,
    ]  # fmt: skip


class Session:
    """One Snakemake on the cluster, from its start to its end."""

    def __init__(self, root: Path, folder: Path, cluster, name: str) -> None:
        self.cluster = cluster
        self.file = folder / f"{name}.log"
        self.process = subprocess.Popen(
            command(
                root, folder, "--workflow-profile", str(root / "workflow" / "profiles" / "slurm"), "--cores", str(min(2, cluster.cores)),
                "--default-resources", "slurm_partition=main", "slurm_account=nobody", "--latency-wait", "5",
                "--slurm-init-seconds-before-status-checks", "3",
            ),
            stdout=self.file.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
            # Where the tests run in the background, Ctrl-C is ignored, and would be by what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    @property
    def log(self) -> str:
        return self.file.read_text(encoding="utf-8")

    @property
    def submitted(self) -> list[str]:
        """SLURM's numbers of the jobs that were submitted."""
        return re.findall(r"has been submitted with SLURM jobid (\d+)", self.log)

    def wait_for_job(self, text: str) -> dict[str, str]:
        """A running job whose comment has `text` in it; an error if Snakemake ends before there is one."""
        try:
            return self.cluster.wait_for_job(text, lambda: self.process.poll() is None)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from None

    def wait_until(self, condition: Callable[[], bool], seconds: float = 1800) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log[-4000:]
            time.sleep(0.5)

    def wait(self, seconds: float = 3600) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Story:
    """What was seen while the study ran."""

    folder: Path
    sessions: list[Session] = field(default_factory=list)
    requests: dict[str, dict[str, str]] = field(default_factory=dict)
    cancelled: str = ""
    under_controller: str = ""
    under_daemon: str = ""
    on_failed_node: str = ""
    left_after_interruption: list[dict[str, str]] = field(default_factory=list)
    finished_before_interruption: dict[Path, int] = field(default_factory=dict)
    finished_after: dict[Path, int] = field(default_factory=dict)
    exit_statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    """The study without a cluster."""
    folder = write_study(tmp_path_factory.mktemp("alone"))
    done = subprocess.run(
        command(root, folder, "--cores", "2"), capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def story(root, cluster, tmp_path_factory):
    """The study on the cluster: a job cancelled, the controller killed, Ctrl-C; then node daemon and node killed."""
    told = Story(write_study(tmp_path_factory.mktemp("on slurm")))
    started = time.monotonic()

    def session(name: str) -> Session:
        told.sessions.append(Session(root, told.folder, cluster, name))
        return told.sessions[-1]

    try:
        first = session("first")
        told.cancelled = first.wait_for_job("rule_designs")["id"]
        subprocess.run(["scancel", told.cancelled], check=True, timeout=60)

        # All trainings are submitted by then, so that nothing has to be while the controller is away.
        told.under_controller = first.wait_for_job("multivi-native")["id"]
        first.wait_until(lambda: len(first.submitted) == 6)
        time.sleep(SAVED_SECONDS)
        told.requests |= cluster.requests()
        cluster.kill_controller()
        time.sleep(OUTAGE_SECONDS)
        cluster.start_controller()

        first.wait_for_job("rule_scores")
        told.requests |= cluster.requests()
        told.finished_before_interruption = times(told.folder)
        first.process.send_signal(signal.SIGINT)
        told.exit_statuses.append(first.wait())
        cluster.wait_for_no_job()
        told.left_after_interruption = cluster.jobs()

        second = session("second")
        told.under_daemon = second.wait_for_job("rule_scores")["id"]
        cluster.kill_node_daemon()
        cluster.start_node()

        told.on_failed_node = second.wait_for_job("rule_report")["id"]
        told.requests |= cluster.requests()
        cluster.kill_node()
        cluster.wait_for_node("down")
        cluster.start_node()
        told.exit_statuses.append(second.wait())
        told.finished_after = times(told.folder)
        told.requests |= cluster.requests()
    finally:
        for one in told.sessions:
            one.kill()
    told.seconds = time.monotonic() - started
    print(f"\nthe study on SLURM: {told.seconds:.0f} s, {sum(len(one.submitted) for one in told.sessions)} jobs")
    return told


def times(folder: Path) -> dict[Path, int]:
    """When each design and run record was written."""
    return {
        path: path.stat().st_mtime_ns
        for name in ("data.h5mu", "visible.h5mu", "record.json")
        for path in (folder / "results").rglob(name)
    }


def test_the_study_ends_with_its_report(story):
    assert story.exit_statuses[-1] == 0, story.sessions[-1].log[-4000:]
    assert (story.folder / "results" / "tiny" / "report.html").is_file()


def test_the_bytes_are_those_of_a_run_without_a_cluster(story, alone):
    here, there = contents(story.folder / "results"), contents(alone / "results")
    assert set(here) == set(there)
    assert [name for name in here if here[name] != there[name]] == []
    kinds = {Path(name).name for name in here}
    assert {
        "data.h5mu",
        "visible.h5mu",
        "truth.h5mu",
        "embedding.h5ad",
        "record.json",
        "scores.tsv",
        "scores.parquet",
    } <= kinds


def test_a_cancelled_job_is_submitted_again_and_asks_for_more(story):
    log = story.sessions[0].log
    assert story.requests[story.cancelled]["JobState"] == "CANCELLED"
    assert "Error in group designs" in log and log.count("Trying to restart job") == 1
    (summary,) = (story.folder / "results").rglob("summary.json")
    facts = json.loads(summary.read_text(encoding="utf-8"))
    n_features = sum(facts["n_features"].values())
    nonzero = sum(count * (1 - facts["zero_fraction"][name]) for name, count in facts["n_features"].items())
    whole, visible = (Size(n, n_features, nonzero / n_features) for n in (facts["n_cells"], 240))

    def asked(rule: str) -> list[int]:
        jobs = [job for job in story.requests.values() if rule in job["Comment"]]
        return sorted(int(re.search(r"mem=(\d+)M", job["TRES"])[1]) for job in jobs)

    assert asked("rule_designs") == [design_memory_mb(whole, attempt) for attempt in (1, 2)]
    assert asked("rule_train_model") == [training_memory_mb(visible, 4000)] * 3


def test_jobs_outlive_their_controller(story):
    log = story.sessions[0].log
    assert story.requests[story.under_controller]["JobState"] == "COMPLETED"
    # Nothing was submitted twice but the cancelled job: data set, design, the design again, three trainings, scores.
    assert len(story.sessions[0].submitted) == 7, log


def test_small_jobs_are_grouped(story):
    comments = [job["Comment"] for job in story.requests.values()]
    assert sum("rule_scores" in text for text in comments) == 2  # Interrupted once.
    assert sum("rule_report" in text for text in comments) == 2  # On a failed node once.
    assert not [text for text in comments if "rule_score_run" in text or "rule_write_plan" in text]


def test_an_interruption_cancels_what_runs_and_the_next_session_repeats_nothing_finished(story):
    assert story.exit_statuses[0] != 0 and story.left_after_interruption == []
    assert len(story.finished_before_interruption) == 5
    assert story.finished_after == story.finished_before_interruption


def test_a_job_outlives_the_daemon_of_its_node(story):
    assert story.requests[story.under_daemon]["JobState"] == "COMPLETED"


def test_a_job_of_a_failed_node_is_submitted_again(story):
    log = story.sessions[1].log
    assert story.requests[story.on_failed_node]["JobState"] == "NODE_FAIL"
    assert "Error in group report" in log and log.count("Trying to restart job") == 1
    assert len(story.sessions[1].submitted) == 3, log  # Scores, report, report again.
