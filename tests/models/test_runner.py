"""The runner: every way in which a model can misbehave has its status, and no fault of ours becomes a result."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.errors import InputError
from benchmarks.formats import read_embedding, read_predictions, read_record, write_h5mu
from models import runner
from models.__main__ import main
from models.runner import TrainingJob, train

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.fixture(autouse=True)
def bad_models_on_path(monkeypatch):
    """Let this process and its children import ``bad_models``."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture(scope="module")
def design_files(make, tmp_path_factory):
    """Paths of a small design, half unpaired: (visible, truth)."""
    folder = tmp_path_factory.mktemp("a design")
    visible, truth = make(("rna", "atac"), 0.5, 40)
    write_h5mu(folder / "visible.h5mu", visible)
    write_h5mu(folder / "truth.h5mu", truth)
    return folder / "visible.h5mu", folder / "truth.h5mu"


@pytest.fixture
def job(design_files, tmp_path):
    """A function: name of a bad model and changes -> a job whose outputs go to a folder of this test."""

    def build(name, **changes):
        settings = {
            "design": design_files[0],
            "model": name if ":" in name or name.islower() else f"bad_models:{name}",
            "variant": "v",
            "embedding": tmp_path / "out" / "embedding.h5ad",
            "prediction": tmp_path / "out" / "prediction.h5mu",
            "record": tmp_path / "out" / "record.json",
            "device": "cpu",
            "wall_seconds": 60,
        }
        return TrainingJob(**(settings | changes))

    return build


def gone(pid: int, within_seconds: float = 5) -> bool:
    """Whether the process ends (a zombie has) in time."""
    end = time.monotonic() + within_seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def wait_for(path: Path, seconds: float = 30) -> str:
    """The text of a file that is about to appear."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.05)
    return path.read_text()


def check_written(job: TrainingJob, status: str) -> None:
    """All three outputs are there, agree, and leave nothing else behind."""
    record, embedding = read_record(job.record), read_embedding(job.embedding)
    assert record.status == status
    assert len(embedding.names) == record.n_observations == 60
    assert embedding.values.shape[1] == record.n_latent
    assert (embedding.values.shape[1] > 0) == (status == "ok")
    assert isinstance(read_predictions(job.prediction), dict)
    assert sorted(path.name for path in job.record.parent.iterdir()) == [
        "embedding.h5ad",
        "prediction.h5mu",
        "record.json",
    ]


def test_good_model(job):
    done = job("Good", seed=3, threads=2)
    record = train(done)
    check_written(done, "ok")
    assert record.reason == "" and record.n_latent == 3 and record.seed == 3 and record.threads == 2
    assert record == read_record(done.record)
    assert {"python", "numpy", "scipy", "model"} <= set(record.versions)
    assert 0 < record.wall_seconds < 5 and 0 <= record.cpu_seconds < 5
    assert 50 < record.peak_rss_mb < 1000
    assert record.gpu_seconds is None and record.peak_device_mb is None
    expected = np.random.default_rng(3).standard_normal((60, 3)).astype(np.float32)
    np.testing.assert_array_equal(read_embedding(done.embedding).values, expected)


def test_peak_memory_is_that_of_the_training_and_not_of_its_parent(job):
    ballast = np.ones(200_000_000)  # 1.6 GB, with which the child starts
    record = train(job("Good"))
    assert ballast[-1] == 1 and 50 < record.peak_rss_mb < 1000


def test_same_seed_same_bytes(job, tmp_path):
    first = job("pca", modalities=("rna", "atac"))
    second = dataclasses.replace(first, embedding=tmp_path / "b" / "e.h5ad", prediction=tmp_path / "b" / "p.h5mu")
    train(first)
    train(second)
    assert first.embedding.read_bytes() == second.embedding.read_bytes()
    assert first.prediction.read_bytes() == second.prediction.read_bytes()


def test_environment_of_the_child(job, monkeypatch):
    """Thread pools are bounded, other modalities withheld, stray files go to a folder that is swept."""
    record = train(job("Environment", threads=3))
    assert record.warnings == ["modalities rna,atac", "pools ['3']", "truth False"]
    assert not Path("left_behind.txt").exists() and not (ROOT / "left_behind.txt").exists()


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("Raises", "failed", "ValueError: the loss went away"),
        ("Exits", "failed", "SystemExit: giving up"),
        ("Diverges", "diverged", "loss is not finite in epoch 3 of 10"),
        ("DivergesByName", "diverged", "grew without bound"),
        ("Unavailable", "not_available", "make env x"),
        ("ImportsMissing", "not_available", "a_package_that_nobody_has"),
        ("PackageMissing", "not_available", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("OutOfMemory", "out_of_memory", "MemoryError: no room"),
        ("KillsItself", "out_of_memory", "killed by signal 9"),
        ("Segfaults", "failed", "SIGSEGV"),
        ("ExitsSilently", "failed", "exited with status 0 without output"),
        ("ExitsWithStatus", "failed", "status 7 without output; last output: fatal: no licence"),
        ("NotANumber", "failed", "1 values that are NaN or infinite"),
        ("Overflows", "failed", "NaN or infinite"),
        ("WrongShape", "failed", "shape (59, 3); wanted (60, latent dimensions)"),
        ("OneDimensional", "failed", "shape (60,)"),
        ("NoDimensions", "failed", "shape (60, 0)"),
        ("Objects", "failed", "not numbers"),
        ("PairedOnly", "not_applicable", "paired cells only"),
    ],
)
def test_misbehaviour_is_recorded(job, name, status, reason):
    done = job(name)
    record = train(done)
    check_written(done, status)
    assert reason in record.reason
    assert "\n" not in record.reason
    if name == "Diverges":
        assert record.epochs == 3 and record.loss_history == {"train": [1.0, 1.0, None]}


@pytest.mark.parametrize(("name", "reason"), [("portal", "no gene coordinates"), ("davae", "no gene coordinates")])
def test_what_the_data_do_not_allow_is_not_applicable(job, make, tmp_path, name, reason):
    """No cell is paired and no gene has coordinates: RNA and ATAC have nothing in common, which no plan can know."""
    visible, _ = make(("rna", "atac"), 1.0, 40)
    write_h5mu(tmp_path / "unpaired.h5mu", visible)
    done = job(name, design=tmp_path / "unpaired.h5mu", modalities=("rna", "atac"))
    record = train(done)
    assert record.status == "not_applicable" and reason in record.reason
    assert read_embedding(done.embedding).values.shape[1] == 0


def test_imports_are_not_timed(job):
    assert train(job("SlowImport")).wall_seconds < 1


def test_traceback_is_in_the_log(job, capfd):
    train(job("Raises"))
    log = capfd.readouterr().err
    assert "Traceback" in log and "bad_models.py" in log


def test_time_limit(job):
    started = time.monotonic()
    done = job("Hangs", wall_seconds=3)
    record = train(done)
    check_written(done, "timeout")
    assert record.reason == "did not end within 3 s"
    assert 3 <= record.wall_seconds <= time.monotonic() - started < 9


def test_time_limit_when_sigterm_is_ignored(job, monkeypatch):
    monkeypatch.setattr(runner, "TERM_GRACE_SECONDS", 1.0)
    done = job("IgnoresTerm", wall_seconds=3)
    record = train(done)
    check_written(done, "timeout")
    assert record.wall_seconds >= 4


@pytest.mark.parametrize("name", ["Allocates", "AllocatesInGrandchild"])
def test_memory_limit_counts_the_whole_tree(job, name):
    done = job(name, memory_mb=500)
    record = train(done)
    check_written(done, "out_of_memory")
    assert "above the limit of 500 MB" in record.reason
    assert 500 < record.peak_rss_mb < 1500


@pytest.mark.parametrize(("name", "status", "limit"), [("LeavesDaemon", "ok", 60), ("ForksAndHangs", "timeout", 8)])
def test_no_process_is_left(job, tmp_path, name, status, limit):
    note = tmp_path / "pid"
    done = job(name, wall_seconds=limit, hyperparameters={"note": str(note)})
    train(done)
    check_written(done, status)
    assert gone(int(note.read_text()))


def test_flood_is_cut(job, capfd):
    done = job("Floods")
    train(done)
    check_written(done, "ok")
    log = capfd.readouterr().err
    assert 5 << 20 <= len(log) < 5.1 * (1 << 20)
    assert "the rest is left out" in log


def test_prediction(job):
    done = job("Predicts", predict=True)
    train(done)
    check_written(done, "ok")
    predictions = read_predictions(done.prediction)
    assert set(predictions) == {"rna", "atac"}
    for prediction in predictions.values():
        assert np.all(np.diff(prediction.rows) > 0) and len(prediction.rows) == 20
        np.testing.assert_array_equal(prediction.mean[:, 0], prediction.rows)


def test_prediction_not_asked_for(job):
    done = job("Predicts")
    train(done)
    assert read_predictions(done.prediction) == {}


def test_wrong_prediction_is_a_failure(job):
    done = job("PredictsWrongly", predict=True)
    record = train(done)
    check_written(done, "failed")
    assert "the prediction of rna (mean) has shape" in record.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "pcaa"}, "did you mean 'pca'"),
        ({"model": "no_such_module:Thing"}, "no module 'no_such_module'"),
        ({"model": "bad_models:NotAModel"}, "no subclass"),
        ({"model": "bad_models:Nothing"}, "has no 'Nothing'"),
        ({"hyperparameters": {"n_latnt": 3}, "model": "pca"}, "did you mean 'n_latent'"),
        ({"hyperparameters": {"n_latent": "many"}, "model": "pca"}, "give a whole number"),
        ({"hyperparameters": {"penalty": "None"}, "model": "multivi-native"}, "'jeffreys', .* 'none'"),
        ({"modalities": ("protein",)}, "no modality 'protein'"),
        ({"modalities": ("atac",)}, "cannot be trained on atac"),
        ({"modalities": ("rna",)}, "observations have none of rna"),
        ({"model": "oracle"}, "give --truth"),
        ({"device": "cuda", "model": "multivi"}, "PyTorch sees none"),
    ],
)
def test_bad_input_writes_nothing(job, changes, message):
    if changes.get("device") == "cuda" and _has_cuda():
        changes = {"model": "oracle"}
        message = "give --truth"
    done = job("Good", **changes)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        train(done)
    assert not done.record.parent.exists()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_truth_is_refused_for_models(job, design_files):
    with pytest.raises(InputError, match="must not see the truth"):
        train(job("pca", truth=design_files[1]))


def test_truth_of_another_design_is_refused(job, make, tmp_path):
    _, truth = make(("rna", "atac"), 0.0, 40)
    write_h5mu(tmp_path / "other.h5mu", truth)
    with pytest.raises(InputError, match="not the truth of this design"):
        train(job("oracle", truth=tmp_path / "other.h5mu"))


def test_oracle_gets_the_truth(job, design_files):
    done = job("oracle", truth=design_files[1])
    train(done)
    check_written(done, "ok")


def test_unreadable_design_is_no_result(job, tmp_path):
    (tmp_path / "broken.h5mu").write_bytes(b"not hdf5")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        train(job("pca", design=tmp_path / "broken.h5mu"))


def test_our_own_fault_is_no_result(job, design_files, tmp_path):
    """A design whose counts are cut off opens (its tables are whole) and fails in the child."""
    import h5py

    broken = tmp_path / "cut.h5mu"
    broken.write_bytes(design_files[0].read_bytes())
    with h5py.File(broken, "r+") as file:
        del file["mod/rna/X/indices"]
    done = job("pca", design=broken)
    with pytest.raises(runner.HarnessError, match="Traceback"):
        train(done)
    assert not done.record.parent.exists()


def test_retry_at_half_the_batch(monkeypatch, make, tmp_path):
    """Out of device memory is retried once, at half the batch, and says so."""
    visible, _ = make(("rna", "atac"), 0.0, 40)
    write_h5mu(tmp_path / "visible.h5mu", visible)
    seen = []

    def fake_run(model, *_):
        seen.append(model.hyperparameters["batch_size"])
        fits = model.hyperparameters["batch_size"] <= limit
        return ("ok", "", {}, False) if fits else ("out_of_memory", "CUDA out of memory", {}, True)

    monkeypatch.setattr(runner, "_run", fake_run)
    monkeypatch.setattr(runner, "resolve_device", lambda *_: "cuda")
    monkeypatch.setattr(runner, "_free_device", lambda: None)
    specification = {
        "design": str(tmp_path / "visible.h5mu"),
        "truth": None,
        "model": "multivi",
        "hyperparameters": {"batch_size": 128},
        "modalities": ["rna", "atac"],
        "seed": 0,
        "device": "cuda",
        "predict": False,
    }
    limit = 64
    result = runner._fit(specification, tmp_path)
    assert result["status"] == "ok" and seen == [128, 64]
    assert result["hyperparameters"]["batch_size"] == 64
    assert "retried at 64" in result["warnings"][0]
    limit, seen = 32, []
    result = runner._fit(specification, tmp_path)
    assert result["status"] == "out_of_memory" and seen == [128, 64]


def command(job: TrainingJob) -> list[str]:
    """The job as a person would type it."""
    return [
        *(
            sys.executable,
            "-m",
            "models",
            "train",
            "--design",
            str(job.design),
            "--model",
            job.model,
            "--device",
            "cpu",
        ),
        *("--hyperparameters", json.dumps(job.hyperparameters), "--embedding", str(job.embedding)),
        *("--prediction", str(job.prediction), "--record", str(job.record)),
    ]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interruption_takes_the_child_along(job, tmp_path, number, status):
    note = tmp_path / "pid"
    done = job("Hangs", hyperparameters={"note": str(note)})
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(command(done), cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        child = int(wait_for(note))
        parent.send_signal(number)
        assert parent.wait(10) == status
        assert gone(child)
    finally:
        parent.kill()
    assert not done.record.parent.exists()


def test_child_whose_parent_is_gone_stops(tmp_path):
    """The death of the parent may come before the child has asked to be told of it."""
    (tmp_path / "specification.json").write_text(json.dumps({"parent": 1}))
    done = subprocess.run(
        [sys.executable, "-m", "models", "fit", str(tmp_path / "specification.json")], cwd=ROOT, timeout=60
    )
    assert done.returncode == 1 and not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["train", "--design", "x"], "required"),
        (["tarin"], "invalid choice"),
        (["declare", "pac"], "did you mean 'pca'"),
        (["train", "--seed", "-1"], "not a seed"),
        (["train", "--threads", "0"], "positive whole number"),
        (["train", "--memory-mb", "nan"], "positive number"),
        (["train", "--checkpoint-seconds", "-1"], "not a number of at least 0"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "[1]", "3", "NaN"])
def test_bad_hyperparameters_are_one_line(job, capsys, text):
    arguments = command(job("pca"))[3:]
    arguments[arguments.index("--hyperparameters") + 1] = text
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "--hyperparameters" in message and message.count("\n") == 1


def test_command_line_end_to_end(job, capfd):
    done = job("pca")
    assert main(command(done)[3:]) == 0
    check_written(done, "ok")
    assert "pca (pca), 60 observations" in capfd.readouterr().err


def test_list_and_declare(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines][:7] == [
        "random",
        "collapsed",
        "oracle",
        "pca",
        "wnn",
        "mofa",
        "multivi",
    ]
    assert main(["declare", "multivi"]) == 0
    assert json.loads(capsys.readouterr().out)["defaults"]["max_epochs"] == 500


@pytest.mark.parametrize("deterministic", [True, False])
def test_kernels_of_the_child(job, deterministic):
    record = train(job("SaysItsKernels", deterministic=deterministic))
    assert record.status == "ok", record.reason
    workspace = ":4096:8" if deterministic else "None"
    assert record.warnings == [f"deterministic {deterministic}, workspace {workspace}"]


def test_non_deterministic_training_on_a_device_says_so(monkeypatch, design_files, tmp_path):
    monkeypatch.setattr(runner, "_run", lambda *_: ("ok", "", {}, False))
    monkeypatch.setattr(runner, "resolve_device", lambda *_: "cuda")
    monkeypatch.setattr(runner.devices, "choose_kernels", lambda deterministic: None)
    specification = {
        "design": str(design_files[0]), "truth": None, "model": "random", "hyperparameters": {}, "modalities": ["rna", "atac"],
        "seed": 0, "device": "cuda", "predict": False,
    }  # fmt: skip
    assert runner._fit(specification | {"deterministic": True}, tmp_path)["warnings"] == []
    assert "non-deterministic" in runner._fit(specification | {"deterministic": False}, tmp_path)["warnings"][0]


def test_seconds_per_epoch(job):
    record = train(job("TakesItsTime"))
    assert record.epochs == 4
    assert 0.05 <= record.seconds_per_epoch < 0.4 and record.seconds_per_epoch * 4 < record.wall_seconds
    assert train(job("Good")).seconds_per_epoch is None


def test_the_log_shows_epoch_losses_and_time_left(job, capfd):
    train(job("TakesItsTime"))
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 4
    assert lines[0].startswith("epoch 1/4  loss 2  ") and lines[0].endswith("s left")
    assert lines[-1].endswith("about 0 s left")


def test_the_versions_name_the_environment(job):
    record = train(job("Good"))
    assert record.versions["environment"] == "main"
    assert re.fullmatch("[0-9a-f]{16}", record.versions["environment_lock"])
    assert re.fullmatch("[0-9a-f]{16}", record.versions["environment_installed"])
