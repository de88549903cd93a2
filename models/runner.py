"""One training in a process of its own: the parent watches time and memory, the child trains.

``train`` is the parent. It starts ``python -m models fit`` in a new session, follows the resident memory of the
whole process tree, stops it at its limits, checks what it left behind and writes the three outputs: embedding,
prediction and, last, the run record. What a model does wrong (an exception, a crash, a limit, a bad array) becomes
a record with a status and a reason, and the exit status is 0. What *we* or the user do wrong (an unreadable design,
a full disk, a bug in this file) is no result: nothing is written and the exit status is not 0. An interruption
(SIGTERM, SIGINT) is no result either.

``fit`` is the child. It reads a specification that the parent wrote, and leaves its arrays in a working folder. It
runs in the environment that the model's declaration names (:mod:`models.environments`), which need not be the parent's:
between the two there are files alone. Where that environment is not on this machine the run is ``not_available``.

A training that is ended from outside (killed with its parent, interrupted, out of disk) leaves no record. Where the model
can resume, it has left a checkpoint beside the outputs (:mod:`models.checkpoint`): the same command goes on from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import InputError
from benchmarks.formats import (
    DISK_ERRORS,
    Embedding,
    H5mu,
    Multimodal,
    Prediction,
    RunRecord,
    file_sha256,
    ordered_modalities,
    read_h5mu,
    write_embedding,
    write_predictions,
    write_record,
)
from models import checkpoint, devices, environments, registry
from models.base import (
    Declaration,
    DivergedError,
    IntegrationModel,
    NotApplicableError,
    NotAvailableError,
    may_learn_from,
)
from models.process_tree import descendants

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 2**20
MAX_LOG_BYTES = 5 * MEGABYTE
"""What a model prints beyond this is dropped, with a notice: a log has to stay readable."""

POLL_SECONDS = 0.05
TERM_GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL when the time is up: frameworks catch SIGTERM to put their files in order."""

MAX_REASON_CHARACTERS = 500

_WORK_VARIABLE = "MOSAICBENCH_WORK"
_WORK_PREFIX = "mosaicbench-"
_WORK_LOCK = "lock"
_EARLIER = "earlier_seconds"
_RESULT_RESERVE_BYTES = 1 << 16

_PACKAGES = {
    "anndata": "anndata",
    "harmonypy": "harmonypy",
    "igraph": "igraph",
    "lightning": "lightning",
    "mofapy2": "mofapy2",
    "mowgli": "mowgli",
    "mudata": "mudata",
    "multigrate": "multigrate",
    "muon": "muon",
    "numpy": "numpy",
    "pamona": "pamona",
    "pandas": "pandas",
    "portal": "portal-sc",
    "pyliger": "pyliger",
    "scalex": "scalex",
    "scanpy": "scanpy",
    "scbean": "scbean",
    "scglue": "scglue",
    "scipy": "scipy",
    "scmidas": "scmidas",
    "scmomat": "scmomat",
    "scvi": "scvi-tools",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "torch": "torch",
    "unioncom": "unioncom",
    "uniport": "uniport",
    "univi": "univi",
}
"""Imported module -> distribution whose version belongs in the run record."""


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """All that determines one training, and where its outputs go.

    Attributes
    ----------
    design, truth
        ``visible.h5mu``, and ``truth.h5mu`` for a control that needs it (``None`` for all others).
    model, variant
        Name in the registry (or ``module:Class``), and the name under which its results are reported.
    hyperparameters
        What differs from the declared defaults.
    modalities
        Modalities that the model is given; the design's others are withheld from it.
    seed, device, threads
        ``device`` is ``auto``, ``cpu`` or ``cuda``; ``threads`` bounds every thread pool.
    wall_seconds, memory_mb
        Limits of the whole child process, start-up included; ``None`` for none. The time of a resumed training is
        that of both parts.
    predict
        Whether missing modalities are to be predicted, where the model can.
    deterministic
        Whether the device has to use kernels that give the same bytes each time.
    checkpoint_seconds
        Least time between two checkpoints of a model that can resume; ``None`` for none, and for starting anew.
    embedding, prediction, record
        Paths of the outputs.
    """

    design: Path
    model: str
    variant: str
    embedding: Path
    prediction: Path
    record: Path
    truth: Path | None = None
    hyperparameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    wall_seconds: float | None = None
    memory_mb: float | None = None
    predict: bool = False
    deterministic: bool = True
    checkpoint_seconds: float | None = checkpoint.SECONDS


@dataclasses.dataclass
class _Outcome:
    """What the child left: how it ended, and the facts for the record."""

    status: str
    reason: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    peak_rss_mb: float = 0.0
    wall_seconds: float = 0.0


class HarnessError(RuntimeError):
    """A fault of ours inside the child; the parent repeats its message and writes no result."""


# --------------------------------------------------------------------------------------------------------
# The parent
# --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _working_folder() -> Iterator[Path]:
    """A temporary folder that is held by a file lock; those that killed trainings left are removed first.

    Raises
    ------
    InputError
        If there is no place for it.
    """
    _sweep_abandoned()
    try:
        holder = tempfile.TemporaryDirectory(prefix=_WORK_PREFIX)
    except OSError as error:
        raise InputError(f"{tempfile.gettempdir()}: no temporary folder ({error}); free space or set TMPDIR") from error
    with holder as folder:
        work = Path(folder)
        with open(work / "lock.part", "wb") as lock:
            # A file system without locks has no name for the file, and nothing there is taken for abandoned.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Under its name it is locked from its first moment.
                os.replace(work / "lock.part", work / _WORK_LOCK)
            yield work


def _sweep_abandoned() -> None:
    """Remove working folders whose training was killed, with the processes that it had started outside of its group."""
    import psutil

    for lock_path in Path(tempfile.gettempdir()).glob(f"{_WORK_PREFIX}*/{_WORK_LOCK}"):
        with contextlib.suppress(OSError), open(lock_path, "r+") as lock:
            # The kernel drops the lock of a process that died, however it died.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    if process.environ().get(_WORK_VARIABLE) == str(lock_path.parent):
                        process.kill()
            shutil.rmtree(lock_path.parent, ignore_errors=True)


def _write_specification(work: Path, specification: dict[str, Any]) -> None:
    """Write the child's specification, and reserve room for its answer: it has to get through when the disk is full.

    Raises
    ------
    InputError
        If there is no room.
    """
    try:
        (work / "specification.json").write_text(json.dumps(specification), encoding="utf-8")
        (work / "result.json.part").write_bytes(b" " * _RESULT_RESERVE_BYTES)
    except OSError as error:
        raise InputError(f"{work}: cannot be written ({error.strerror}); free space or set TMPDIR") from error


def train(job: TrainingJob) -> RunRecord:
    """Train one model in a child process, check and write its outputs, and return the run record.

    Raises
    ------
    InputError
        If the design, the model, a hyperparameter or the device is not usable.
    HarnessError
        If the child failed for a reason that is not the model's.
    SystemExit
        With 143 or 130 if SIGTERM or SIGINT came; the child and its descendants are then gone, nothing is written.
    """
    declaration = registry.declaration(job.model)
    hyperparameters = declaration.hyperparameters(job.hyperparameters)
    with H5mu(job.design) as file:
        names = file.obs.index.to_numpy().astype(str)
        modalities = tuple(ordered_modalities(job.modalities or file.modalities))
        absent = [modality for modality in modalities if modality not in file.modalities]
        if absent:
            raise InputError(
                f"{job.design}: no modality {absent[0]!r} (it has {', '.join(file.modalities)}); change --modalities"
            )
        var = {modality: file.var(modality) for modality in modalities}
    if not any(set(modalities) == set(known) for known in declaration.modality_sets):
        wanted = " or ".join(",".join(known) for known in declaration.modality_sets)
        raise InputError(
            f"model {job.model!r} cannot be trained on {','.join(modalities)}; --modalities may be {wanted}"
        )
    if declaration.needs_truth and job.truth is None:
        raise InputError(f"model {job.model!r} is a control that needs the truth; give --truth")
    if job.truth is not None and not declaration.needs_truth:
        raise InputError(f"model {job.model!r} must not see the truth; leave out --truth")

    with _working_folder() as work:
        specification = {
            "design": str(Path(job.design).resolve()),
            "truth": None if job.truth is None else str(Path(job.truth).resolve()),
            "model": job.model,
            "hyperparameters": hyperparameters,
            "modalities": modalities,
            "seed": job.seed,
            "device": job.device,
            "predict": job.predict and declaration.predicts,
            "deterministic": job.deterministic,
            "threads": job.threads,
            "checkpoint": None,
            "parent": os.getpid(),
        }
        if job.checkpoint_seconds is not None:
            path = checkpoint.path_beside(job.record).absolute()
            specification["checkpoint"] = {"path": str(path), "seconds": job.checkpoint_seconds}
        _write_specification(work, specification)
        place = environments.locate(declaration.environment)
        if place.python is None:
            print(place.reason, file=sys.stderr, flush=True)
            outcome = _Outcome("not_available", place.reason)
        else:
            with devices.claim(job.device if declaration.gpu else "cpu") as device_variables:
                outcome = _supervise(job, work, place.python, device_variables)
        facts = outcome.facts
        embedding, predictions = Embedding(np.zeros((len(names), 0), np.float32), names), {}
        if outcome.status == "ok":
            try:
                embedding = _checked_embedding(work, names)
                predictions = _checked_predictions(work, facts, len(names), {m: len(var[m]) for m in modalities})
            except _BadOutput as error:
                outcome.status, outcome.reason = "failed", str(error)
                embedding, predictions = Embedding(np.zeros((len(names), 0), np.float32), names), {}

    record = RunRecord(
        model=job.model,
        variant=job.variant,
        status=outcome.status,
        reason=outcome.reason,
        seed=job.seed,
        device=facts.get("device", "cpu" if job.device == "auto" else job.device),
        threads=job.threads,
        hyperparameters=facts.get("hyperparameters", hyperparameters),
        versions={
            **facts.get("versions", {}),
            "environment": declaration.environment,
            "environment_lock": place.lock,
            "environment_installed": place.installed,
        },
        wall_seconds=facts.get("wall_seconds", outcome.wall_seconds),
        cpu_seconds=facts.get("cpu_seconds", 0.0),
        gpu_seconds=facts.get("gpu_seconds"),
        peak_rss_mb=max(outcome.peak_rss_mb, facts.get("peak_rss_mb", 0.0)) or None,
        peak_device_mb=facts.get("peak_device_mb"),
        epochs=facts.get("epochs"),
        seconds_per_epoch=facts.get("seconds_per_epoch"),
        loss_history=facts.get("loss_history", {}),
        warnings=facts.get("warnings", []),
        n_observations=len(names),
        n_latent=embedding.values.shape[1],
    )
    write_embedding(job.embedding, embedding)
    write_predictions(job.prediction, names, var, predictions)
    # Before the record, which says that nothing is left to do: whoever is killed here trains again, and no finished
    # run keeps a checkpoint.
    checkpoint.remove(checkpoint.path_beside(job.record))
    write_record(job.record, record)
    return record


def _supervise(job: TrainingJob, work: Path, python: str, device_variables: dict[str, str]) -> _Outcome:
    """Run the child under the interpreter `python` to its end or to a limit, whichever comes first."""
    import psutil

    log = _Log()
    started = time.monotonic()
    with _interruptions() as interrupted:
        child = subprocess.Popen(
            [python, "-m", "models", "fit", str(work / "specification.json")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=work,
            env={**_environment(job, work, python), **device_variables},
        )
        drain = threading.Thread(target=log.drain, args=(child.stdout,), daemon=True)
        drain.start()
        root = psutil.Process(child.pid)
        tree: set[Any] = {root}
        peak, stop, term_at = 0.0, None, None
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_SECONDS)
                    break
                if interrupted:
                    break
                rss = _tree_rss_mb(root, tree)
                peak = max(peak, rss)
                elapsed = time.monotonic() - started + _earlier_seconds(work)
                if stop is None and job.memory_mb is not None and rss > job.memory_mb:
                    stop = ("out_of_memory", f"used {rss:.0f} MB, above the limit of {job.memory_mb:g} MB")
                    break
                if stop is None and job.wall_seconds is not None and elapsed > job.wall_seconds:
                    stop = ("timeout", f"did not end within {job.wall_seconds:g} s")
                    term_at = time.monotonic()
                    _signal_group(child.pid, signal.SIGTERM)
                if term_at is not None and time.monotonic() - term_at > TERM_GRACE_SECONDS:
                    break
        finally:
            _kill_everything(child, tree, str(work))
            drain.join(timeout=5)
        if interrupted:
            raise SystemExit(128 + interrupted[0])
    total = time.monotonic() - started
    log.say(f"the process ran {total:.1f} s with at most {peak:.0f} MB of memory\n")
    return _judge(child.returncode, stop, log, work, peak, total + _earlier_seconds(work))


def _earlier_seconds(work: Path) -> float:
    """Seconds of the training from which this one was resumed, as the child has noted them; zero if it was not."""
    try:
        return float((work / _EARLIER).read_text())
    except FileNotFoundError:
        return 0.0


def _judge(code: int, stop: tuple[str, str] | None, log: "_Log", work: Path, peak: float, total: float) -> _Outcome:
    """Turn the way the child ended into an outcome."""
    if stop is not None:
        return _Outcome(*stop, peak_rss_mb=peak, wall_seconds=total)
    result = work / "result.json"
    if result.is_file():
        facts = json.loads(result.read_text(encoding="utf-8"))
        status, reason = facts.pop("status"), facts.pop("reason")
        if status == "input_error":
            raise InputError(reason)
        if status == "harness_error":
            raise HarnessError(reason)
        return _Outcome(status, reason, facts, peak, total)
    if code == -signal.SIGKILL:
        return _Outcome("out_of_memory", "killed by signal 9, probably by the kernel for memory", {}, peak, total)
    if code < 0:
        name = signal.Signals(-code).name
        return _Outcome("failed", f"killed by signal {-code} ({name}){log.last_line()}", {}, peak, total)
    return _Outcome("failed", f"the process exited with status {code} without output{log.last_line()}", {}, peak, total)


def _environment(job: TrainingJob, work: Path, python: str) -> dict[str, str]:
    """The child's environment variables: bounded thread pools, fixed hashing, temporary files where they are swept up."""
    threads = str(job.threads)
    paths = [str(ROOT)] + [
        str(Path(item).resolve()) for item in os.environ.get("PYTHONPATH", "").split(os.pathsep) if item
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "TMPDIR": str(work),
        _WORK_VARIABLE: str(work),
        "MPLBACKEND": "Agg",
    }
    if python != sys.executable:
        environment.update(environments.child_variables(python))
    if job.deterministic:
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM"):
        environment[f"{pool}_NUM_THREADS"] = threads
    if job.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


class _Log:
    """Passes the child's output on, up to a limit, and remembers its last line."""

    def __init__(self) -> None:
        self.written = 0
        self.tail = b""

    def drain(self, pipe: Any) -> None:
        """Read until the other end closes; runs in a thread so that a flood cannot block the child."""
        while chunk := pipe.read1(1 << 16):
            self.tail = (self.tail + chunk)[-4096:]
            room = MAX_LOG_BYTES - self.written
            if room > 0:
                self._write(chunk[:room])
                if len(chunk) >= room:
                    self.say(f"\n[the model printed more than {MAX_LOG_BYTES // MEGABYTE} MB; the rest is left out]\n")
            self.written += len(chunk)

    def say(self, text: str) -> None:
        """Write a line of ours."""
        self._write(text.encode())

    def last_line(self) -> str:
        """The last line with text in it, as the tail of a reason; empty if there is none."""
        lines = [line.strip() for line in self.tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return f"; last output: {lines[-1][:200]}" if lines else ""

    def _write(self, content: bytes) -> None:
        # A log whose disk is full or whose reader has gone must not take the training along.
        with contextlib.suppress(OSError, ValueError):
            buffer = getattr(sys.stderr, "buffer", None)
            if buffer is None:
                sys.stderr.write(content.decode("utf-8", "replace"))
            else:
                buffer.write(content)
            sys.stderr.flush()


@contextlib.contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of dying, so that the child's group can be killed first."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {
        number: signal.signal(number, lambda got, _: received.append(got)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tree_rss_mb(root: Any, tree: set[Any]) -> float:
    """Resident memory in MB of the child and its descendants; new descendants are added to `tree`.

    Pages that several processes share count once for each of them.
    """
    import psutil

    known = {process.pid for process in tree}
    # From every process that is known: what lost its parent keeps its own children.
    for pid in descendants(known) - known:
        with contextlib.suppress(psutil.Error):
            tree.add(psutil.Process(pid))
    total = 0
    for process in list(tree):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            if process is not root:
                tree.discard(process)
    return total / MEGABYTE


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_everything(child: subprocess.Popen, tree: set[Any], work: str) -> None:
    """Kill the child's process group, and every descendant, also those that left the group or lost their parent.

    The latter are known by the working folder's name in their environment.
    """
    import psutil

    _signal_group(child.pid, signal.SIGKILL)
    child.wait()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process in tree or process.environ().get(_WORK_VARIABLE) == work:
                process.kill()


class _BadOutput(Exception):
    """The model's arrays are not what it had to deliver."""


def _checked_embedding(work: Path, names: np.ndarray) -> Embedding:
    values = _finite(_load(work / "embedding.npy", "the embedding"), "the embedding")
    if values.ndim != 2 or values.shape[0] != len(names) or values.shape[1] == 0:
        raise _BadOutput(f"the embedding has shape {values.shape}; wanted ({len(names)}, latent dimensions)")
    components = None
    if (work / "components.npy").is_file():
        components = _load(work / "components.npy", "the components")
        if components.shape != (len(names),) or not np.issubdtype(components.dtype, np.integer):
            raise _BadOutput(
                f"the components are {components.dtype} of shape {components.shape}; wanted integers, ({len(names)},)"
            )
    return Embedding(values, names, components)


def _checked_predictions(
    work: Path, facts: dict[str, Any], n_obs: int, n_features: dict[str, int]
) -> dict[str, Prediction]:
    predictions = {}
    for modality in facts.pop("predicted", []):
        what = f"the prediction of {modality}"
        rows = _load(work / f"rows.{modality}.npy", what)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer) or len(np.unique(rows)) != len(rows):
            raise _BadOutput(f"{what} has row positions that are not distinct integers")
        if len(rows) and (rows.min() < 0 or rows.max() >= n_obs):
            raise _BadOutput(f"{what} has row positions outside [0, {n_obs})")
        arrays = []
        for part in ("mean", "deviation"):
            path = work / f"{part}.{modality}.npy"
            values = _finite(_load(path, what), what) if part == "mean" or path.is_file() else None
            if values is not None and values.shape != (len(rows), n_features[modality]):
                raise _BadOutput(
                    f"{what} ({part}) has shape {values.shape}; wanted ({len(rows)}, {n_features[modality]})"
                )
            arrays.append(values)
        order = np.argsort(rows, kind="stable")
        mean, deviation = arrays
        predictions[modality] = Prediction(
            mean[order], rows[order].astype(np.int64), None if deviation is None else deviation[order]
        )
    return predictions


def _load(path: Path, what: str) -> np.ndarray:
    if not path.is_file():
        raise _BadOutput(f"{what} was not delivered")
    return np.load(path, allow_pickle=False)


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise _BadOutput(f"{what} is {values.dtype}, not numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise _BadOutput(f"{what} has {bad} values that are NaN or infinite")
    return values


# --------------------------------------------------------------------------------------------------------
# The child
# --------------------------------------------------------------------------------------------------------


def fit(specification_path: str | os.PathLike) -> int:
    """Train as a specification says and leave the arrays and ``result.json`` beside it; returns the exit status."""
    path = Path(specification_path)
    specification = json.loads(path.read_text(encoding="utf-8"))
    _die_with_parent(specification["parent"])
    work = path.parent
    try:
        result = _fit(specification, work)
    except InputError as error:
        result = {"status": "input_error", "reason": str(error)}
    except NotAvailableError as error:
        result = {"status": "not_available", "reason": _one_line(str(error))}
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            result = _no_room(work, error)
        else:
            result = {"status": "harness_error", "reason": traceback.format_exc()}
    try:
        _answer(work, result)
    except OSError as error:
        _answer(work, _no_room(work, error))
    return 0


def _no_room(work: Path, error: OSError) -> dict[str, Any]:
    """What to say when the disk takes nothing: a fault of the machine, not of the model."""
    return {"status": "input_error", "reason": f"{work}: cannot be written ({error}); free space or set TMPDIR"}


def _answer(work: Path, result: dict[str, Any]) -> None:
    """Write ``result.json`` into the room that the parent reserved, and give it its name last."""
    temporary = work / "result.json.part"
    content = json.dumps(result).encode()
    with open(temporary, "r+b" if temporary.exists() else "wb") as stream:
        stream.write(content)
        stream.flush()
        stream.truncate(len(content))
    os.replace(temporary, work / "result.json")


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the supervising one dies, even by SIGKILL (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
    # The parent may have died before the request was in place; then nobody is left to be told.
    if os.getppid() != parent:
        os._exit(1)


def _fit(specification: dict[str, Any], work: Path) -> dict[str, Any]:
    """The body of :func:`fit`; exceptions that leave it are ours, those of the model become statuses."""
    try:
        model_type = registry.model_class(specification["model"])
        model_type.load_packages()
    except ImportError as error:
        raise NotAvailableError(f"{type(error).__name__}: {error}") from error
    declaration = model_type.declaration
    devices.choose_kernels(specification.get("deterministic", True))
    design = choose_modalities(read_h5mu(specification["design"]), specification["modalities"])
    if not declaration.unpaired and not design.complete.all():
        return {"status": "not_applicable", "reason": "takes paired cells only"}
    if not declaration.embeds_new_cells and not may_learn_from(design).all():
        return {"status": "not_applicable", "reason": "cannot place the test cells, which training must not see"}
    device = resolve_device(specification["device"], declaration)
    truth = None if specification["truth"] is None else read_h5mu(specification["truth"])
    if truth is not None and not truth.obs.index.equals(design.obs.index):
        raise InputError(f"{specification['truth']}: not the truth of this design (the observations differ)")

    hyperparameters = specification["hyperparameters"]
    resumable = model_type.resumable and specification.get("checkpoint") is not None
    determining = _determining(specification, model_type, device) if resumable else {}
    warnings: list[str] = []
    retried = False
    if device == "cuda" and not specification.get("deterministic", True):
        warnings.append("trained with non-deterministic kernels: the same seed may give other values")
    while True:
        model = model_type(**hyperparameters)
        if truth is not None:
            model.truth = truth
        if resumable:
            model.checkpoint = checkpoint.Checkpoint(
                specification["checkpoint"]["path"],
                checkpoint.identity({**determining, "hyperparameters": hyperparameters}),
                specification["checkpoint"]["seconds"],
                resumed=lambda before: _note_earlier(work, before),
            )
        status, reason, facts, exhausted = _run(model, design, specification, device, work)
        half = int(hyperparameters.get("batch_size") or 0) // 2
        if not (exhausted and device == "cuda" and half >= 1 and not retried):
            break
        retried = True
        warnings.append(
            f"the device ran out of memory at batch_size {hyperparameters['batch_size']}; retried at {half}"
        )
        print(warnings[-1], file=sys.stderr, flush=True)
        hyperparameters = {**hyperparameters, "batch_size": half}
        del model
        _free_device()
    return {
        "status": status,
        "reason": reason,
        "device": device,
        "hyperparameters": hyperparameters,
        "versions": {**package_versions(), **model.versions, "model": str(declaration.version)},
        "epochs": model.epochs,
        "loss_history": {name: [_finite_or_none(x) for x in values] for name, values in model.loss_history.items()},
        "warnings": warnings + [str(text) for text in model.warnings] + _resumption(model),
        **facts,
    }


def _determining(
    specification: dict[str, Any], model_type: type[IntegrationModel], device: str
) -> dict[str, str | int | bool | list[str]]:
    """All that determines a training's numbers but the hyperparameters, which a retry changes."""
    import inspect

    return {
        "design": file_sha256(specification["design"]),
        "modalities": list(specification["modalities"]),
        "model": specification["model"],
        "model_code": file_sha256(inspect.getfile(model_type)),
        "model_version": model_type.declaration.version,
        "seed": int(specification["seed"]),
        "device": device,
        "deterministic": specification.get("deterministic", True),
        "threads": specification["threads"],
        "versions": package_versions(),
    }


def _note_earlier(work: Path, before: dict[str, float]) -> None:
    """Tell the parent, whose time limit is that of both parts."""
    (work / f"{_EARLIER}.part").write_text(str(before.get("wall_seconds", 0.0)))
    os.replace(work / f"{_EARLIER}.part", work / _EARLIER)


def _resumption(model: IntegrationModel) -> list[str]:
    """What the record has to say of a training that was interrupted."""
    if model.checkpoint is None or not model.checkpoint.before:
        return []
    seconds = model.checkpoint.before.get("wall_seconds", 0.0)
    return [
        f"interrupted, and resumed from a checkpoint {seconds:.1f} s into the training: these seconds are counted, those "
        "from there to the interruption are not"
    ]


def _run(
    model: IntegrationModel, design: Multimodal, specification: dict[str, Any], device: str, work: Path
) -> tuple[str, str, dict[str, Any], bool]:
    """Fit, embed and predict; return status, reason, measured facts and whether the device's memory ran out."""

    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    status, reason, exhausted, arrays, predicted = "ok", "", False, {}, []
    wall, cpu, fitted = time.perf_counter(), _cpu_seconds(), None

    def spent() -> dict[str, float]:
        costs = {
            "wall_seconds": time.perf_counter() - wall,
            "cpu_seconds": _cpu_seconds() - cpu,
            "peak_rss_mb": _peak_rss_mb(),
        }
        if device == "cuda":
            costs["peak_device_mb"] = torch.cuda.max_memory_allocated() / MEGABYTE
        return costs

    if model.checkpoint is not None:
        model.checkpoint.spent = spent
    try:
        model.fit(design, int(specification["seed"]), device)
        fitted = time.perf_counter() - wall
        arrays["embedding"] = np.asarray(model.embed())
        components = model.components()
        if components is not None:
            arrays["components"] = np.asarray(components)
        costs = spent()
        if specification["predict"]:
            for modality in design.modalities:
                if design.has(modality).all() and may_learn_from(design).all():
                    continue
                prediction = model.predict(modality)
                predicted.append(modality)
                arrays[f"rows.{modality}"] = np.asarray(prediction.rows)
                arrays[f"mean.{modality}"] = np.asarray(prediction.mean)
                if prediction.deviation is not None:
                    arrays[f"deviation.{modality}"] = np.asarray(prediction.deviation)
    # Everything that the model raises is its result, SystemExit included (mofapy2 calls sys.exit when it gives up).
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        costs = spent()
        status, exhausted = _status_of(error)
        reason = _one_line(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        arrays, predicted = {}, []
    before = {} if model.checkpoint is None else model.checkpoint.before
    # Memory is looked at again, for the prediction counts.
    memory = {name: value for name, value in spent().items() if name.startswith("peak_")}
    facts: dict[str, Any] = {**checkpoint.added(before, {**costs, **memory}), "predicted": predicted}
    # Of a training that was broken off, what was done until then: embedding is the smaller part of the time anyway.
    fitting = costs["wall_seconds"] if fitted is None else fitted
    fitting += before.get("wall_seconds", 0.0)
    facts["seconds_per_epoch"] = fitting / model.epochs if model.epochs else None
    if device == "cuda":
        facts["gpu_seconds"] = facts["wall_seconds"]
    for name, values in arrays.items():
        # An object array would need pickle; the parent refuses it by its text instead.
        values = values if values.dtype != object else values.astype(str)
        with open(work / f"{name}.npy", "wb") as stream:
            # Given a file, NumPy writes past Python, and does not say why it failed: a full disk has to be told apart.
            np.save(types.SimpleNamespace(write=stream.write), values, allow_pickle=False)
    return status, reason, facts, exhausted


def _cpu_seconds() -> float:
    """Processor seconds of this process and of the programs that it started and that have ended (R, for one)."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_rss_mb() -> float:
    """Largest resident memory of this program so far.

    Of the program and not, as ``getrusage`` has it, of whatever the process was before it became this program: a child
    starts with its parent's memory.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status_of(error: BaseException) -> tuple[str, bool]:
    """The status that an exception of the model stands for, and whether it was the device's memory."""
    if isinstance(error, DivergedError):
        return "diverged", False
    if isinstance(error, (NotAvailableError, ImportError)):
        return "not_available", False
    if isinstance(error, NotApplicableError):
        return "not_applicable", False
    if type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory", True
    if isinstance(error, MemoryError) or "not enough memory: you tried to allocate" in str(error):
        return "out_of_memory", False
    return "failed", False


def choose_modalities(design: Multimodal, modalities: tuple[str, ...] | list[str]) -> Multimodal:
    """The design with these modalities alone.

    Raises
    ------
    InputError
        If an observation would be left without any: the planner has then paired the wrong design and model.
    """
    kept = [modality for modality in design.modalities if modality in modalities]
    chosen = Multimodal(
        design.obs,
        {m: design.counts[m] for m in kept},
        {m: design.var[m] for m in kept},
        {m: design.rows[m] for m in kept},
        design.uns,
    )
    has_any = np.zeros(design.n_obs, dtype=bool)
    for modality in kept:
        has_any |= chosen.has(modality)
    if not has_any.all():
        raise InputError(
            f"{int((~has_any).sum())} observations have none of {', '.join(kept)}; make a design of these modalities alone"
        )
    return chosen


def resolve_device(asked: str, declaration: Declaration) -> str:
    """``cpu`` or ``cuda``: what a model runs on. A model that has no use for a GPU always gets ``cpu``."""
    if asked == "cpu" or not declaration.gpu:
        return "cpu"
    try:
        import torch

        available = torch.cuda.is_available()
    except ImportError:
        available = False
    if asked == "cuda" and not available:
        raise InputError("device cuda was asked for, and PyTorch sees none; choose device auto or cpu")
    return "cuda" if available else "cpu"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages of interest that this process has imported."""
    from importlib import metadata

    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for module, distribution in _PACKAGES.items():
        if module in sys.modules:
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions[distribution] = metadata.version(distribution)
    return versions


def _free_device() -> None:
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…"


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
