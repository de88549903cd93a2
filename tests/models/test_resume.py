"""A training that is killed goes on from its checkpoint, and ends with the bytes of one that nothing disturbed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")

from benchmarks.formats import read_h5mu, read_record, write_h5mu
from models import checkpoint, registry, runner
from models.checkpoint import Checkpoint
from models.runner import TrainingJob, train

ROOT = Path(__file__).resolve().parent.parent.parent

CASES = {
    # Adversary with an optimiser of its own, unpaired cells; then one that stops early after it was resumed.
    "multivi-native": ({"epochs": 10, "batch_size": 32, "fusion": "cell"}, 0.5, 6, False),
    "multivi-native, early": ({"epochs": 60, "batch_size": 32, "learning_rate": 0.0, "patience": 8}, 0.0, 6, True),
    # A trainer that steps each subset of the modalities.
    "cobolt": ({"epochs": 8, "batch_size": 32, "correction": False}, 0.5, 4, False),
    "scmm": ({"epochs": 60, "batch_size": 32, "learning_rate": 0.02, "kl_warmup_epochs": 3, "patience": 4}, 0.0, 6, True),
    # The mixture is fitted to the codes after epoch 5: before and after that.
    "scmvp": ({"epochs": 9, "batch_size": 32}, 0.0, 4, False),
    "scmvp, fitted": ({"epochs": 9, "batch_size": 32}, 0.0, 8, False),
    # Representations and mixtures with two optimisers of their own; held-out cells learn, too.
    "multidgd": ({"epochs": 12, "batch_size": 32}, 0.5, 7, False),
    "multidgd, early": (
        {"epochs": 80, "batch_size": 32, "learning_rate": 0.1, "first_stop": 4, "patience": 3, "initialisation": "pca"},
        0.0, 6, True,
    ),
    # Discriminators, a counter of steps, cells drawn at random.
    "portal": ({"n_iterations": 160, "batch_size": 32}, 0.5, 5, False),
    "davae": ({"epochs": 8, "batch_size": 32}, 0.5, 5, False),
    # Goes back to its best epoch.
    "scalex": ({"n_iterations": 300, "batch_size": 32, "learning_rate": 0.02, "patience": 3}, 0.0, 4, True),
}  # fmt: skip
"""Model -> settings, unpaired fraction, the epoch in which it is killed, whether it stops early."""


class Killed(BaseException):
    """Ends a training in the middle of an epoch, as nothing that a model catches would."""


def fitted(name, design, kept=None, killed_in=None, **settings):
    model = registry.model_class(name)(**settings)
    model.checkpoint = kept
    reported = model.progress

    def progress(epoch, total, **losses):
        reported(epoch, total, **losses)
        if epoch == killed_in:
            raise Killed

    model.progress = progress
    model.fit(design, 3, "cpu")
    return model


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_training_is_that_of_an_undisturbed_one(case, make, tmp_path):
    settings, unpaired, killed_in, early = CASES[case]
    name = case.partition(",")[0]
    design, _ = make(registry.declaration(name).modality_sets[-1], unpaired)
    whole = fitted(name, design, **settings)
    assert (whole.epochs < (settings.get("epochs") or 100)) == early or name == "portal"
    assert whole.epochs > killed_in
    path = tmp_path / "state"
    with pytest.raises(Killed):
        # By a clock that stands still one is due after each epoch.
        fitted(name, design, Checkpoint(path, "same", 0.0, clock=lambda: 0.0), killed_in, **settings)
    assert Checkpoint(path, "same").load("cpu")["epoch"] == killed_in - 1
    kept = Checkpoint(path, "same", 1000.0, spent=lambda: {"wall_seconds": 5.0})
    started = []
    kept.resumed = started.append
    resumed = fitted(name, design, kept, **settings)
    assert len(started) == 1, "it began anew"
    assert resumed.epochs == whole.epochs and resumed.loss_history == whole.loss_history
    assert resumed.embed().tobytes() == whole.embed().tobytes()
    if resumed.components() is not None:
        np.testing.assert_array_equal(resumed.components(), whole.components())


def test_every_model_that_can_resume_is_tried():
    resumable = {name for name in registry.names() if registry.model_class(name).resumable}
    assert resumable == {case.partition(",")[0] for case in CASES}


def test_it_is_written_when_it_is_due_and_large_ones_less_often(tmp_path):
    now = [0.0]

    class Slow(Checkpoint):
        def spent_writing(self):
            now[0] += 3.0
            return {"wall_seconds": 7.0}

    kept = Slow(tmp_path / "a" / "state", "x", 60.0, clock=lambda: now[0])
    assert not kept.due() and not (tmp_path / "a").exists()
    now[0] = 59.0
    assert not kept.due()
    now[0] = 60.0
    assert kept.due()
    kept.save({"epoch": 1})
    assert not kept.due()
    now[0] = 120.0
    assert kept.due()
    kept.spent = kept.spent_writing
    kept.save({"epoch": 2})
    # 3 s of writing are 2 % of 150 s.
    now[0] = 123.0 + 149.0
    assert not kept.due()
    now[0] = 123.0 + 150.0
    assert kept.due()
    assert kept.load("cpu") == {"epoch": 2} and kept.before == {"wall_seconds": 7.0}


def test_what_was_spent_adds_up_over_interruptions(tmp_path):
    path = tmp_path / "state"
    for seconds, memory in ((10.0, 300.0), (20.0, 200.0)):
        kept = Checkpoint(path, "x", 0.0, spent=lambda s=seconds, m=memory: {"wall_seconds": s, "peak_rss_mb": m})
        kept.load("cpu")
        kept.save({})
    last = Checkpoint(path, "x")
    last.load("cpu")
    assert last.before == {"wall_seconds": 30.0, "peak_rss_mb": 300.0}


@pytest.mark.parametrize("content", ["other", "damaged", "code", "directory"])
def test_what_is_no_checkpoint_of_this_training_is_ignored(tmp_path, capsys, content):
    import torch

    path = tmp_path / "state"
    if content == "other":
        Checkpoint(path, "another", 0.0).save({"epoch": 1})
    elif content == "damaged":
        Checkpoint(path, "mine", 0.0).save({"epoch": 1})
        path.write_bytes(path.read_bytes()[:100])
    elif content == "code":
        # Pickle would call this when it is read; it is refused instead.
        torch.save({"identity": "mine", "spent": {}, "state": _Harmful(tmp_path / "harm")}, path)
    else:
        path.mkdir()
    kept = Checkpoint(path, "mine")
    assert kept.load("cpu") is None and kept.before == {}
    assert not (tmp_path / "harm").exists()
    assert content == "directory" or "not resumed" in capsys.readouterr().err


class _Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(make, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    design, _ = make(("rna", "atac"), 0.0)
    model = fitted("davae", design, Checkpoint(tmp_path / "file" / "state", "x", 0.0), epochs=2)
    assert model.epochs == 2 and "no checkpoint" in capsys.readouterr().err


def test_removing_takes_what_a_dead_writer_left_and_nothing_else(tmp_path):
    import fcntl

    path = checkpoint.path_beside(tmp_path / "record.json")
    dead, alive, other = (tmp_path / f".{name}.part" for name in (f"{path.name}.a", f"{path.name}.b", "record.json.c"))
    for file in (path, dead, alive, other):
        file.write_text("x")
    with open(alive, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        checkpoint.remove(path)
        checkpoint.remove(path)
        assert sorted(tmp_path.iterdir()) == sorted([alive, other])


@pytest.fixture(scope="module")
def interrupted(make, tmp_path_factory):
    """A training that was killed by SIGKILL: what it was to do, and the checkpoint that it left."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_h5mu(folder / "visible.h5mu", make(("rna", "atac"), 0.0)[0])
    job = placed(
        TrainingJob(
            design=folder / "visible.h5mu", model="davae", variant="v", hyperparameters={"epochs": EPOCHS, "batch_size": 16},
            embedding=folder, prediction=folder, record=folder, device="cpu", seed=4, wall_seconds=300, checkpoint_seconds=0.001,
        ),
        folder / "out",
    )  # fmt: skip
    kept = checkpoint.path_beside(job.record)
    with subprocess.Popen(command(job), cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        end = time.monotonic() + 120
        while not kept.exists():
            assert parent.poll() is None and time.monotonic() < end
            time.sleep(0.005)
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
    psutil.wait_procs(children, timeout=20)
    assert [path.name for path in kept.parent.iterdir() if not path.name.endswith(".part")] == [kept.name]
    return job, kept.read_bytes()


EPOCHS = 80


def placed(job, folder):
    """The job with its outputs in `folder`."""
    names = {"embedding": "embedding.h5ad", "prediction": "prediction.h5mu", "record": "record.json"}
    return dataclasses.replace(job, **{name: folder / file for name, file in names.items()})


def command(job):
    options = {
        "design": job.design, "model": job.model, "variant": job.variant, "hyperparameters": json.dumps(job.hyperparameters),
        "seed": job.seed, "device": job.device, "checkpoint-seconds": job.checkpoint_seconds, "embedding": job.embedding,
        "prediction": job.prediction, "record": job.record,
    }  # fmt: skip
    return [sys.executable, "-m", "models", "train", *(f"--{name}={value}" for name, value in options.items())]


@pytest.fixture
def again(interrupted, tmp_path):
    """The job once more, in a folder of this test in which the checkpoint lies; and the checkpoint's path."""
    job = placed(interrupted[0], tmp_path / "out")
    kept = checkpoint.path_beside(job.record)
    kept.parent.mkdir()
    kept.write_bytes(interrupted[1])
    return job, kept


def test_a_command_that_was_killed_goes_on(again, tmp_path):
    job, kept = again
    done = subprocess.run(command(job), cwd=ROOT, capture_output=True, text=True, check=True)
    assert "resumed after epoch" in done.stderr
    record = read_record(job.record)
    whole = placed(job, tmp_path / "whole")
    undisturbed = train(dataclasses.replace(whole, checkpoint_seconds=None))
    assert record.status == undisturbed.status == "ok"
    assert job.embedding.read_bytes() == whole.embedding.read_bytes()
    assert record.loss_history == undisturbed.loss_history and record.epochs == undisturbed.epochs == EPOCHS
    assert any(text.startswith("interrupted, and resumed") for text in record.warnings)
    assert not any("resumed" in text for text in undisturbed.warnings)
    assert not kept.exists() and not list(kept.parent.glob(".*")), "nothing is left beside the outputs"


def test_seconds_of_both_parts_are_counted_and_bounded(again):
    """The time limit is that of both parts: whether a model is too slow must not depend on who killed it."""
    import torch

    job, kept = again
    content = torch.load(kept, weights_only=True)
    assert 0 < content["spent"]["wall_seconds"] < 60 and content["spent"]["cpu_seconds"] > 0
    content["spent"].update(wall_seconds=1000.0, cpu_seconds=2000.0, peak_rss_mb=90_000.0)
    torch.save(content, kept)
    saved = kept.read_bytes()
    record = train(dataclasses.replace(job, wall_seconds=5000.0))
    assert record.status == "ok"
    assert 1000 < record.wall_seconds < 1100 and 2000 < record.cpu_seconds < 2100 and record.peak_rss_mb == 90_000
    assert record.seconds_per_epoch > 1000 / EPOCHS
    kept.write_bytes(saved)
    record = train(dataclasses.replace(job, wall_seconds=900.0))
    assert record.status == "timeout" and record.wall_seconds > 1000
    assert not kept.exists(), "a model that failed leaves none"


@pytest.mark.parametrize(
    "changes",
    [{"seed": 5}, {"hyperparameters": {"epochs": 5, "batch_size": 16}}, {"checkpoint_seconds": None}],
    ids=["seed", "hyperparameters", "switched off"],
)
def test_another_training_does_not_go_on_from_it(again, changes, capfd):
    """Also not when its outputs go to the same place."""
    job, kept = again
    record = train(dataclasses.replace(job, **changes))
    log = capfd.readouterr().err
    assert record.status == "ok" and "resumed after" not in log and "epoch 1/" in log
    assert not any("resumed" in text for text in record.warnings) and not kept.exists()


@pytest.mark.parametrize("name", ["design", "seed", "modalities", "device", "threads", "deterministic", "model"])
def test_what_determines_a_training_is_in_its_identity(interrupted, make, tmp_path, name):
    job, _ = interrupted
    specification = {
        "design": str(job.design), "modalities": ["rna", "atac"], "model": "davae", "seed": 4, "deterministic": True, "threads": 1,
    }  # fmt: skip
    other = {"seed": 5, "modalities": ["rna"], "threads": 2, "deterministic": False, "model": "davae:X"}
    if name == "design":
        write_h5mu(tmp_path / "other.h5mu", make(("rna", "atac"), 0.5)[0])
        other["design"] = str(tmp_path / "other.h5mu")
    model_type = registry.model_class("davae")
    facts = runner._determining(specification, model_type, "cpu")
    assert checkpoint.identity(facts) == checkpoint.identity(
        runner._determining(dict(specification), model_type, "cpu")
    )
    if name == "device":
        changed = runner._determining(specification, model_type, "cuda")
    else:
        changed = runner._determining({**specification, name: other[name]}, model_type, "cpu")
    assert checkpoint.identity(changed) != checkpoint.identity(facts)


def test_a_short_training_writes_none(interrupted, monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, state: written.append(state))
    fitted("davae", read_h5mu(interrupted[0].design), Checkpoint(tmp_path / "state", "x"), epochs=3)
    assert not written and checkpoint.SECONDS >= 30


def test_the_identity_is_that_of_the_training_and_of_the_code(monkeypatch, tmp_path):
    facts = {"seed": 1, "design": "abc"}
    first = checkpoint.identity(facts)
    assert first == checkpoint.identity(dict(facts)) and len(first) == 64
    assert first != checkpoint.identity({**facts, "seed": 2})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "trainer.py").write_text("one")
    monkeypatch.setattr(checkpoint, "_FOLDER", tmp_path)
    second = checkpoint.identity(facts)
    (tmp_path / "parts" / "trainer.py").write_text("two")
    assert len({first, second, checkpoint.identity(facts)}) == 3
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    assert checkpoint.identity(facts) not in (first, second)
