"""Models that misbehave inside a study: each is recorded as what it was, and the others are as if alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.formats import file_sha256, read_embedding, read_record, read_table
from models import runner
from models.__main__ import main as models_main
from models.runner import MAX_LOG_BYTES
from tests.faults import tiny

STATUSES = {
    "Raises": "failed",
    "Exits": "failed",
    "Diverges": "diverged",
    "Hangs": "timeout",
    "ExitsSilently": "failed",
    "NotANumber": "failed",
    "WrongShape": "failed",
    "KillsItself": "out_of_memory",
    "Allocates": "out_of_memory",
    "Floods": "ok",
    "ForksAndHangs": "timeout",
    "Segfaults": "failed",
}
"""Class of tests/models/bad_models.py -> how its run has to be recorded."""


@pytest.fixture
def visible(undisturbed) -> Path:
    (path,) = (undisturbed / "results").rglob("visible.h5mu")
    return path


@pytest.fixture
def own_models(monkeypatch) -> str:
    """Let this process and its children import ``bulky_models``; return the path."""
    folder = str(tiny.ROOT / "tests" / "faults")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    return folder


def train(design: Path, out: Path, model: str, *arguments: str) -> list[str]:
    return ["train", "--design", str(design), "--model", model, "--embedding", f"{out}/embedding.h5ad", "--device", "cpu",
            "--prediction", f"{out}/prediction.h5mu", "--record", f"{out}/record.json", *arguments]  # fmt: skip


def test_what_a_killed_run_left_running_ends_with_the_next_training(visible, own_models, tmp_path, monkeypatch):
    """SIGKILL leaves nobody to clean up: a model's process in a session of its own, and the working folder."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    note = tmp_path / "note"
    arguments = train(
        visible, tmp_path / "out", "bulky_models:Forks", "--hyperparameters", json.dumps({"note": str(note)})
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tiny.ROOT), own_models]), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", "models", *arguments], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not note.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    pid, work = note.read_text().split(" ", 1)
    assert Path(work).is_dir() and Path(work).parent == tmp_path

    # As long as it is trained, another training leaves it alone.
    runner._sweep_abandoned()
    assert Path(work).is_dir() and psutil.pid_exists(int(pid)) and process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Path(work).is_dir() and psutil.Process(int(pid)).is_running()
    runner._sweep_abandoned()
    assert not Path(work).exists()
    psutil.wait_procs([psutil.Process(int(pid))] if psutil.pid_exists(int(pid)) else [], timeout=10)
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def memory_group(limit_bytes: int) -> Path:
    """A control group of that much memory, of version 1 or 2; the test is skipped where none can be made."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    group = (root / "memory" if first else root) / f"mosaicbench-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit_bytes))
        swap = group / ("memory.memsw.limit_in_bytes" if first else "memory.swap.max")
        if swap.exists():
            swap.write_text(str(limit_bytes) if first else "0")
    except OSError as error:
        group.rmdir()
        pytest.skip(f"no memory limit can be set here: {error}")
    return group


def test_killed_by_the_kernel_for_memory(visible, own_models, tmp_path):
    """A real kill: the machine (a control group of 600 MB) runs out before the study's limit is reached."""
    group = memory_group(600 << 20)
    try:
        code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        arguments = ["-m", "models", *train(visible, tmp_path, "bulky_models:Hungry", "--wall-seconds", "600")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tiny.ROOT), own_models])}
        done = subprocess.run(
            [sys.executable, "-c", code, str(group / "cgroup.procs"), *arguments], env=environment, capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip
    finally:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_record(tmp_path / "record.json")
    assert record.status == "out_of_memory" and "killed by signal 9" in record.reason
    assert not read_embedding(tmp_path / "embedding.h5ad").values.size


@pytest.mark.faults
def test_a_printed_gigabyte_leaves_a_log_of_megabytes(visible, own_models, tmp_path, capfd):
    assert models_main(train(visible, tmp_path, "bulky_models:PrintsAGigabyte")) == 0
    log = capfd.readouterr().err
    assert read_record(tmp_path / "record.json").status == "ok"
    assert MAX_LOG_BYTES <= len(log) < 1.1 * MAX_LOG_BYTES and "the rest is left out" in log


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_a_study_with_every_bad_model(undisturbed, tmp_path):
    """In a copy of the sources whose registry has the bad models, too."""
    sources, folder = tmp_path / "sources", tmp_path / "study"
    for name in ("Snakefile", "benchmarks", "models", "workflow", "config", "envs"):
        copy = shutil.copytree if (tiny.ROOT / name).is_dir() else shutil.copy
        (sources).mkdir(exist_ok=True)
        copy(tiny.ROOT / name, sources / name)
    shutil.copy(tiny.ROOT / "tests" / "models" / "bad_models.py", sources / "models" / "bad_models.py")
    registry = sources / "models" / "registry.py"
    text, names = registry.read_text(encoding="utf-8"), {name: f"bad-{name.lower()}" for name in STATUSES}
    start = "_CLASSES = {\n"
    assert start in text
    lines = "".join(f'    "{variant}": "models.bad_models:{name}",\n' for name, variant in names.items())
    registry.write_text(text.replace(start, start + lines), encoding="utf-8")
    # Bad models take RNA, or RNA and ATAC; the good ones get what they get in the undisturbed study.
    bad = [{"name": "simulated_tiny", "label": "bad", "modalities": ["rna", "atac"]}, "simulated_tiny"]
    tiny.write_study(
        folder, tiny.STUDY, datasets=bad, models=[*tiny.STUDY["models"], *names.values()],
        hyperparameters={names["ForksAndHangs"]: {"note": str(tmp_path / "note")}},
        limits={"wall_minutes": 1.5, "memory_mb": 1200},
    )  # fmt: skip
    tiny.succeed(folder, snakefile=sources / "Snakefile")
    runs = read_table(folder / "results" / "tiny" / "runs.parquet")
    runs = runs[runs["dataset"] == "bad"].set_index("variant")
    found = {name: runs.loc[variant, "status"] for name, variant in names.items()}
    assert found == STATUSES
    assert all(runs.loc[names[name], "reason"] for name, status in STATUSES.items() if status != "ok")
    assert set(runs.loc[tiny.STUDY["models"], "status"]) == {"ok"}
    scores = read_table(folder / "results" / "tiny" / "scores.parquet")
    failed = scores["variant"].isin([names[name] for name, status in STATUSES.items() if status != "ok"])
    assert set(scores[failed & (scores["dataset"] == "bad")]["status"]) == {"missing"}
    for path in (undisturbed / "results" / "shared").rglob("embedding.h5ad"):
        assert file_sha256(folder / path.relative_to(undisturbed)) == file_sha256(path)
    for path in (folder / "results").rglob("train.log"):
        assert path.stat().st_size < 1.1 * MAX_LOG_BYTES
    lingering = int((tmp_path / "note").read_text())
    assert not psutil.pid_exists(lingering) or psutil.Process(lingering).status() == psutil.STATUS_ZOMBIE
