"""The real workflow on tiny data: it runs to its report, survives a kill, and gives the same bytes at any --cores."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.formats import file_sha256, read_record

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

STUDY = {
    "study": "tiny",
    "datasets": ["simulated_tiny"],
    "designs": {"n_cells": [120], "unpaired_fraction": [0.0, 0.5], "seed": 3},
    "models": ["random", "oracle", "pca"],
    "metrics": ["nmi_leiden", "asw_cell_type", "modality_enrichment", "rank_distance", "graph_connectivity"],
    "umaps": {"max_embeddings": 2, "max_observations": 60},
    "limits": {"wall_minutes": 5, "memory_mb": 4000},
}


def snakemake(root: Path, folder: Path, cores: int, *arguments: str) -> list[str]:
    """Command line of the workflow in `folder`, on the study file there."""
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "study.yaml"), "--cores", str(cores), *arguments,
    ]  # fmt: skip


def write_study(folder: Path, **changes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, **changes}), encoding="utf-8")


def run(command: list[str], **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **kwargs)


def reproducible_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every design, embedding, prediction and table of values; timings and memory are apart."""
    wanted = {
        "visible.h5mu",
        "truth.h5mu",
        "embedding.h5ad",
        "prediction.h5mu",
        "data.h5mu",
        "summary.json",
        "scores.tsv",
        "plan.json",
    }
    files = (path for path in sorted((folder / "results").rglob("*")) if path.name in wanted)
    digests = {str(path.relative_to(folder)): file_sha256(path) for path in files}
    for name in (
        "scores.parquet",
        "summary.tsv",
        "ranking.tsv",
        "comparisons.tsv",
        "learning_curves.tsv",
        "advice.tsv",
    ):
        digests[name] = file_sha256(folder / "results" / "tiny" / name)
    return digests


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    """One run on two cores, in a folder whose path has a space."""
    folder = tmp_path_factory.mktemp("undisturbed") / "a folder"
    write_study(folder)
    result = run(snakemake(root, folder, 2))
    assert result.returncode == 0, result.stderr[-4000:]
    return folder


def test_the_report_and_the_tables_are_there(undisturbed):
    folder = undisturbed / "results" / "tiny"
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    scores = pd.read_parquet(folder / "scores.parquet")
    assert (
        set(STUDY["metrics"]) <= set(scores["metric"])
        and scores.groupby("metric").size().loc[STUDY["metrics"]].eq(6).all()
    )
    assert set(scores["variant"]) == {"random", "oracle", "pca"}
    assert scores[scores["metric"] == "nmi_leiden"]["value"].between(0, 1).all()
    pairing = scores[scores["metric"] == "rank_distance"]
    assert set(pairing[pairing["unpaired_fraction"] == 0]["status"]) == {"not_applicable"}
    assert set(pairing[pairing["unpaired_fraction"] == 0.5]["status"]) == {"ok"}
    nmi = scores[scores["metric"] == "nmi_leiden"].groupby("variant")["value"].min()
    assert nmi["oracle"] > nmi["pca"] > nmi["random"]
    distance = pairing[pairing["status"] == "ok"].set_index("variant")["value"]
    assert distance["oracle"] < distance["pca"] < distance["random"]
    for path in (undisturbed / "results").rglob("record.json"):
        assert read_record(path).status == "ok"


def test_nothing_is_left_to_do_and_nothing_half_written(root, undisturbed):
    again = run(snakemake(root, undisturbed, 2))
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
    assert not list((undisturbed / "results").rglob("*.part"))


def test_killed_and_resumed_on_one_core_gives_the_same_bytes(root, undisturbed, tmp_path):
    write_study(tmp_path)
    process = subprocess.Popen(
        snakemake(root, tmp_path, 1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while len(list((tmp_path / "results").rglob("record.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("record.json")}
    assert not (tmp_path / "results" / "tiny" / "report.html").exists()

    resumed = run(snakemake(root, tmp_path, 1))
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert reproducible_files(tmp_path) == reproducible_files(undisturbed)
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items()), "finished work was repeated"


def test_dry_run_after_a_change_names_only_what_the_change_touches(root, undisturbed):
    def planned(**changes) -> dict[str, int]:
        write_study(undisturbed, **changes)
        result = run(snakemake(root, undisturbed, 2, "--dry-run", "--quiet", "rules"))
        write_study(undisturbed)
        assert result.returncode == 0, result.stderr
        full = run(snakemake(root, undisturbed, 2, "--summary"))
        assert full.returncode == 0
        return jobs_of(result.stdout + result.stderr)

    def jobs_of(text: str) -> dict[str, int]:
        return {
            line.split()[0]: int(line.split()[1])
            for line in text.splitlines()
            if len(line.split()) == 2 and line.split()[1].isdigit() and line.split()[0] != "total"
        }

    one_metric_more = planned(metrics=[*STUDY["metrics"], "asw_batch"])
    assert (
        one_metric_more["score_run"] == 6
        and "train_model" not in one_metric_more
        and "make_design" not in one_metric_more
    )
    other_pca = planned(hyperparameters={"pca": {"n_latent": 7}})
    assert other_pca["train_model"] == 2 and other_pca["score_run"] == 2 and "make_design" not in other_pca
    other_study = planned(study="other")
    assert not {"make_design", "train_model", "score_run", "prepare_dataset"} & set(other_study)


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(root, tmp_path):
    write_study(tmp_path, models=["random"], designs={"n_cells": [150], "seed": 9})
    first = subprocess.Popen(
        snakemake(root, tmp_path, 1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not list((tmp_path / ".snakemake").glob("locks/*.lock")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        second = run(snakemake(root, tmp_path, 1))
        assert second.returncode != 0
        assert f"Another run (process {first.pid}) is at work in this folder" in second.stderr
        assert first.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_snakemakes_own_report_has_the_report_and_the_figures_with_their_captions(root, undisturbed, tmp_path):
    # Under the name of a paper's study, and so with its figures; runs are shared between studies: nothing is trained again.
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    write_study(folder, study="multivi_unpairing_small")
    records = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("record.json")}
    assert len(records) == 6
    finished = run(snakemake(root, folder, 2))
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert all(path.stat().st_mtime_ns == before for path, before in records.items()), "a model was trained again"

    result = run(snakemake(root, folder, 1, "--report", "snakemake_report.html"))
    assert result.returncode == 0, result.stderr[-4000:]
    page = (folder / "snakemake_report.html").read_text(encoding="utf-8")
    # Its results are JSON in a line of JavaScript, the files themselves in it.
    shown = json.loads(re.search(r"<script id=.results.>\s*var results = (.*);\n", page).group(1))
    own = folder / "results" / "multivi_unpairing_small"
    figures = {str(path.relative_to(folder)) for path in own.glob("figures/*.png")}
    assert figures and set(shown) == {*figures, str((own / "report.html").relative_to(folder))}
    for path, entry in shown.items():
        caption = "figures.rst" if path in figures else "report.rst"
        stated = (root / "workflow" / "report" / caption).read_text(encoding="utf-8").replace("`", "").strip()
        assert stated in " ".join(re.sub("<[^>]*>", "", entry["caption"]).split())
        assert base64.b64decode(entry["data_uri"].split(",", 1)[1]) == (folder / path).read_bytes()


def test_the_plan_names_every_file_by_its_identity(undisturbed):
    plan = json.loads((undisturbed / "results" / "tiny" / "plan.json").read_text(encoding="utf-8"))
    assert len(plan["runs"]) == 6
    for entry in plan["runs"]:
        for name in ("visible", "truth", "embedding", "prediction", "record", "scores", "seconds"):
            assert (undisturbed / "results" / entry[name]).is_file()


def test_failures_are_results_and_are_retried_alone(root, tmp_path):
    small = {"models": ["random", "pca"], "designs": {"n_cells": [120]}, "metrics": ["nmi_leiden"]}
    write_study(tmp_path, **small, limits={"wall_minutes": 5, "memory_mb": 100})
    result = run(snakemake(root, tmp_path, 2))
    assert result.returncode == 0, result.stderr[-4000:]
    folder = tmp_path / "results" / "tiny"
    runs = pd.read_parquet(folder / "runs.parquet")
    assert set(runs["status"]) == {"out_of_memory"} and runs["reason"].str.contains("100 MB").all()
    scores = pd.read_parquet(folder / "scores.parquet")
    assert set(scores["status"]) == {"missing"} and scores["value"].isna().all()
    assert "out of memory" in (folder / "report.html").read_text(encoding="utf-8").replace("_", " ")

    # A higher limit alone trains nothing again: the limit does not determine what a run computes.
    write_study(tmp_path, **small)
    assert run(snakemake(root, tmp_path, 2)).returncode == 0
    assert set(pd.read_parquet(folder / "runs.parquet")["status"]) == {"out_of_memory"}
    retry = run(
        [sys.executable, "-m", "workflow", "retry-failed", "--configfile", "study.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert retry.returncode == 0 and "2 of 2 runs" in retry.stdout, retry.stderr
    assert run(snakemake(root, tmp_path, 2)).returncode == 0
    assert set(pd.read_parquet(folder / "runs.parquet")["status"]) == {"ok"}
