"""A disk that is full during a write of each kind of file: one clear message, no half file, and the next run goes on."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmarks.__main__ import main as benchmarks_main
from benchmarks.datasets.download import download
from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.errors import InputError
from benchmarks.figures.write import save
from benchmarks.formats import (
    Embedding,
    Prediction,
    RunRecord,
    file_sha256,
    read_embedding,
    read_json,
    write_embedding,
    write_h5mu,
    write_json,
    write_predictions,
    write_record,
    write_table,
    write_text,
)
from models.__main__ import main as models_main
from tests.faults import tiny
from workflow.__main__ import main as workflow_main

BALLAST = "ballast"


def fill(disk: Path, leave_bytes: int) -> None:
    """Fill `disk` up to `leave_bytes`, rounded to whole pages."""
    facts = os.statvfs(disk)
    rest = facts.f_bavail * facts.f_frsize - leave_bytes // facts.f_frsize * facts.f_frsize
    with open(disk / BALLAST, "wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, rest)


def rng(*shape: int) -> np.ndarray:
    """Numbers that do not compress."""
    return np.random.default_rng(0).standard_normal(shape)


def draw(path: Path) -> None:
    drawn = Figure()
    drawn.add_subplot().plot(rng(2000))
    save(drawn, path.with_suffix(""))


@pytest.fixture(scope="module")
def data():
    parameters = {"n_cells": 150, "n_genes": 60, "n_peaks": 80, "n_proteins": 8, "n_types": 3, "n_factors": 4}
    return simulate(SimulationParameters.from_mapping({**parameters, "trajectories": []}, "test"), 0)


def writers(data) -> dict[str, Callable[[Path], object]]:
    """File name -> a function that writes a file of that kind of at least some pages."""
    names = np.array([f"cell {i}" for i in range(2000)])
    var = {"rna": pd.DataFrame(index=[f"gene {i}" for i in range(20)])}
    rows = np.arange(len(names))
    table = pd.DataFrame({"value": rng(5000), "name": "x"})
    return {
        "data.h5mu": lambda path: write_h5mu(path, data),
        "embedding.h5ad": lambda path: write_embedding(path, Embedding(rng(2000, 20).astype(np.float32), names)),
        "prediction.h5mu": lambda path: write_predictions(
            path, names, var, {"rna": Prediction(rng(2000, 20).astype(np.float32), rows)}
        ),
        "record.json": lambda path: write_record(path, RunRecord("m", "m", "ok", loss_history={"loss": rng(5000).tolist()})),
        "seconds.json": lambda path: write_json(path, {"seconds": rng(5000).tolist()}),
        "scores.tsv": lambda path: write_table(path, table),
        "scores.parquet": lambda path: write_table(path, table),
        "report.html": lambda path: write_text(path, "text " * 5000),
        "figure.pdf": draw,
    }  # fmt: skip


KINDS = [
    "data.h5mu", "embedding.h5ad", "prediction.h5mu", "record.json", "seconds.json", "scores.tsv", "scores.parquet",
    "report.html", "figure.pdf",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_file(small_disk, data, tmp_path, name):
    """Full from the first byte, within the file, and at its last page; the file that was there before stays whole."""
    write = writers(data)[name]
    write(tmp_path / name)
    size, whole = (tmp_path / name).stat().st_size, file_sha256(tmp_path / name)
    assert size > 8192
    disk = small_disk(4 * size // 1024 + 512)
    for leave in (0, 4096, size // 2, size - 4096):
        for former in (False, True):
            (disk / name).unlink(missing_ok=True)
            if former:
                (disk / name).write_text("a former version")
            fill(disk, leave)
            with pytest.raises(
                InputError, match=r"cannot be written \(No space left on device\).*free space.*run again"
            ):
                write(disk / name)
            if former:
                assert (disk / name).read_text() == "a former version"
            assert {path.name for path in disk.iterdir()} == {BALLAST} | ({name} if former else set())
            (disk / BALLAST).unlink()
    write(disk / name)
    assert file_sha256(disk / name) == whole


@dataclasses.dataclass
class Stage:
    """One command of the workflow: how to call it, where it writes, and what it wrote in the undisturbed run."""

    main: Callable[[Sequence[str]], int]
    arguments: Callable[[Path], list[str]]
    reference: list[Path]
    beforehand: Sequence[Path] = ()


def stages(folder: Path) -> dict[str, Stage]:
    """The stages of the undisturbed study in `folder`; each gets a folder for all of its outputs."""
    results = folder / "results"
    entry = next(item for item in read_json(results / "tiny" / "plan.json")["runs"] if item["variant"] == "pca")
    path = {
        key: results / value for key, value in entry.items() if isinstance(value, str) and value.startswith("shared/")
    }
    design = path["visible"].parent
    key = path["dataset_summary"].parent.name
    outputs = tiny.jobs(folder)

    def spec() -> str:
        from benchmarks.documents import load_yaml
        from workflow.configuration import load_study
        from workflow.planning import make_plan, spec_argument

        study = folder / "study.yaml"
        (only,) = make_plan(load_study(load_yaml(study), [study], check_output=False)).designs
        return spec_argument(only.spec)

    def scores(out: Path) -> list[str]:
        given = {
            "embedding": "embedding",
            "prediction": "prediction",
            "record": "record",
            "visible": "visible",
            "truth": "truth",
        }
        arguments = [text for name, value in given.items() for text in (f"--{name}", str(path[value]))]
        return ["score", *arguments, "--metrics", *tiny.STUDY["metrics"], "--scores", f"{out}/scores.tsv",
                "--seconds", f"{out}/seconds.json"]  # fmt: skip

    return {
        "prepare": Stage(
            benchmarks_main,
            lambda out: ["prepare", "--registry", str(tiny.ROOT / "config" / "datasets.yaml"), "--dataset", key.split(".")[0],
                         "--output", f"{out}/data.h5mu", "--summary", f"{out}/summary.json"],
            [path["dataset_summary"].with_name("data.h5mu"), path["dataset_summary"]],
        ),
        "design": Stage(
            benchmarks_main,
            lambda out: ["design", "--dataset", str(path["dataset_summary"].with_name("data.h5mu")), "--spec", spec(),
                         "--visible", f"{out}/visible.h5mu", "--truth", f"{out}/truth.h5mu"],
            [design / "truth.h5mu", design / "visible.h5mu"],
        ),
        "plan": Stage(
            workflow_main,
            lambda out: ["plan", "--configfile", str(folder / "study.yaml"), "--output", f"{out}/plan.json"],
            outputs["plan"],
        ),
        "score": Stage(benchmarks_main, scores, [path["seconds"], path["scores"]]),
        "collect": Stage(
            benchmarks_main,
            lambda out: ["collect", "--plan", str(results / "tiny" / "plan.json"), "--results-dir", str(results),
                         "--output-dir", str(out)],
            outputs["collect"],
        ),
        "statistics": Stage(
            benchmarks_main,
            lambda out: ["statistics", "--study-dir", str(out)],
            outputs["statistics"],
            [results / "tiny" / "scores.parquet", results / "tiny" / "runs.parquet"],
        ),
    }  # fmt: skip


@pytest.mark.end_to_end
@pytest.mark.slow
@pytest.mark.parametrize("name", ["prepare", "design", "plan", "score", "collect", "statistics"])
def test_each_stage(small_disk, undisturbed, capsys, name):
    """The disk fills up at the first file, in the middle of all, and near the end (times make files a little shorter or longer)."""
    stage = stages(undisturbed)[name]
    pages = sum(-(-path.stat().st_size // 4096) for path in stage.reference)
    disk = small_disk(4 * (3 * pages + sum(-(-path.stat().st_size // 4096) for path in stage.beforehand) + 64))
    for path in stage.beforehand:
        shutil.copy(path, disk)
    given = {path.name for path in stage.beforehand}
    for leave in sorted({0, pages // 2, pages * 9 // 10}):
        fill(disk, 4096 * leave)
        assert stage.main(stage.arguments(disk)) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith(str(disk)) and "No space left on device" in message and "free space" in message
        left = {path.name for path in disk.iterdir()} - given - {BALLAST}
        assert left < {path.name for path in stage.reference}, "half files"
        for path in stage.reference:
            if path.name in left and path.name in tiny.WITHOUT_TIMES:
                assert (disk / path.name).read_bytes() == path.read_bytes()
        # What the next attempt would replace is room for it.
        for name in left | {BALLAST}:
            (disk / name).unlink()
    assert stage.main(stage.arguments(disk)) == 0
    assert {path.name for path in disk.iterdir()} - given == {path.name for path in stage.reference}
    for path in stage.reference:
        if path.name in tiny.WITHOUT_TIMES:
            assert (disk / path.name).read_bytes() == path.read_bytes()


def train(design: Path, out: Path, model: str = "random") -> list[str]:
    return ["train", "--design", str(design), "--model", model, "--embedding", f"{out}/embedding.h5ad",
            "--prediction", f"{out}/prediction.h5mu", "--record", f"{out}/record.json"]  # fmt: skip


@pytest.fixture
def visible(undisturbed) -> Path:
    (path,) = (undisturbed / "results").rglob("visible.h5mu")
    return path


def test_training_onto_a_full_disk_is_no_result(small_disk, visible, capfd):
    disk = small_disk(512)
    fill(disk, 0)
    assert models_main(train(visible, disk)) == 2
    assert "embedding.h5ad: cannot be written (No space left on device)" in capfd.readouterr().err
    assert [path.name for path in disk.iterdir()] == [BALLAST]
    (disk / BALLAST).unlink()
    assert models_main(train(visible, disk)) == 0
    assert len(read_embedding(disk / "embedding.h5ad").values)


@pytest.mark.parametrize(("leave", "place"), [(0, "cannot be written"), (1 << 17, "cannot be written")])
def test_a_full_temporary_folder_is_no_result(small_disk, visible, tmp_path, capfd, monkeypatch, leave, place):
    """At once, and when the model's arrays are to be handed over: nothing is recorded as the model's failure."""
    import tempfile

    disk = small_disk(1024)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests" / "faults"))
    monkeypatch.setenv("PYTHONPATH", str(tiny.ROOT / "tests" / "faults"))
    fill(disk, leave)
    assert models_main(train(visible, tmp_path / "out", "bulky_models:Wide")) == 2
    message = capfd.readouterr().err
    assert place in message and "free space or set TMPDIR" in message and "Traceback" not in message
    assert not (tmp_path / "out").exists()
    assert [path.name for path in disk.iterdir()] == [BALLAST]
    (disk / BALLAST).unlink()
    assert models_main(train(visible, tmp_path / "out", "bulky_models:Wide")) == 0


def test_a_download(small_disk, tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(rng(40_000).tobytes())
    disk = small_disk(512)
    fill(disk, 100_000)
    with pytest.raises(InputError, match=r"copy.bin: cannot be written \(No space left on device\); free space"):
        download(source.as_uri(), file_sha256(source), disk / "copy.bin", False)
    assert not (disk / "copy.bin").exists()
    (disk / BALLAST).unlink()
    download(source.as_uri(), file_sha256(source), disk / "copy.bin", False)
    assert (disk / "copy.bin").read_bytes() == source.read_bytes()


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_a_whole_study_whose_disk_fills_up_goes_on_on_a_larger_one(small_disk, undisturbed, tmp_path):
    folder = tmp_path / "study"
    tiny.write_study(folder, tiny.STUDY)
    total = sum(path.stat().st_blocks * 512 for path in (undisturbed / "results").rglob("*") if path.is_file())
    (folder / "results").mkdir()
    results = small_disk(total // 1024 // 3)
    (folder / "results").rmdir()
    (folder / "results").symlink_to(results)
    outputs = tiny.moved(tiny.jobs(undisturbed), undisturbed, folder)
    done: dict[str, tuple[int, ...]] = {}
    for share in (3, 2, 1):
        subprocess.run(
            ["mount", "-o", f"remount,size={total // share + (1 << 22) * (share == 1)}", str(results)], check=True
        )
        ended = tiny.run(folder)
        found = tiny.finished(outputs)
        assert all(found[name] == times for name, times in done.items()), "done again"
        assert len(found) > len(done) and not tiny.unfinished(folder)
        done = found
        assert (ended.returncode == 0) == (share == 1)
        if share > 1:
            assert "No space left on device" in ended.stdout and "Traceback" not in ended.stdout
    assert tiny.digests(folder) == tiny.digests(undisturbed)
