"""The state of an unfinished training, in a file beside its outputs, from which the same training goes on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from benchmarks.formats import atomic_path, digest

FORMAT = 1
"""Raise it when what is in the file changes: checkpoints of another format are then ignored."""

SECONDS = 60.0
"""Least time between two checkpoints. A training that is shorter leaves none."""

SHARE = 0.02
"""Largest share of a training's time that goes into writing checkpoints: large ones are written less often."""

_FOLDER = Path(__file__).resolve().parent


def path_beside(record: str | os.PathLike) -> Path:
    """Where the checkpoint of the training with this `record` is, while there is one."""
    record = Path(record)
    return record.with_name(f".{record.name}.checkpoint")


def remove(path: str | os.PathLike) -> None:
    """Remove a checkpoint, and what a process that was killed left of one that it was writing."""
    path = Path(path)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    for part in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError), open(part, "rb") as stream:
            # Whoever writes holds the lock, which no death leaves behind.
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def identity(facts: Mapping[str, Any]) -> str:
    """Digest of everything that determines a training: of `facts`, of the code that trains, and of the format.

    The whole code of the networks, their parts and the models counts, not their declared versions alone: half a
    training by one code and half by another is what no code would give.
    """
    sha = hashlib.sha256()
    for folder in (_FOLDER, _FOLDER / "parts", _FOLDER / "networks"):
        for file in sorted(folder.glob("*.py")):
            sha.update(f"{folder.name}/{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest({**facts, "code": sha.hexdigest(), "format": FORMAT}, length=64)


class Checkpoint:
    """One training's checkpoint.

    Parameters
    ----------
    path
        The file. It need not exist, nor its folder.
    identity
        Of the training, see :func:`identity`; what another training wrote is ignored.
    seconds
        Least time between two checkpoints.
    spent
        Called at each writing: what the training has cost since this process began with it (seconds, MB).
    resumed
        Called with `before` when a state was found.
    clock
        Seconds since some moment.

    Attributes
    ----------
    before
        What the training had cost when the checkpoint was written from which it was resumed; empty if it was not.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        identity: str,
        seconds: float = SECONDS,
        spent: Callable[[], dict[str, float]] = dict,
        resumed: Callable[[dict[str, float]], None] = lambda before: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.identity, self.spent, self.resumed = Path(path), identity, spent, resumed
        self.before: dict[str, float] = {}
        self._seconds, self._clock = seconds, clock
        self._next = clock() + seconds

    def due(self) -> bool:
        """Whether it is time to write one."""
        return self._clock() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors, numbers, texts, lists and dictionaries), atomically.

        A checkpoint that cannot be written is no reason to end the training: that is said in the log.
        """
        import torch

        started = self._clock()
        content = {"identity": self.identity, "spent": added(self.before, self.spent()), "state": state}
        try:
            with atomic_path(self.path) as temporary:
                torch.save(content, temporary)
        except Exception as error:
            print(f"no checkpoint: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        ended = self._clock()
        self._next = ended + max(self._seconds, (ended - started) / SHARE)

    def load(self, device: Any) -> dict[str, Any] | None:
        """The state that was saved, with its tensors on `device`; ``None`` if there is none of this training."""
        import torch

        if not self.path.is_file():
            return None
        try:
            # weights_only: a checkpoint is data, never code.
            content = torch.load(self.path, map_location=device, weights_only=True)
            known, spent, state = content["identity"], dict(content["spent"]), content["state"]
        except Exception as error:
            print(f"{self.path}: unreadable, not resumed ({' '.join(str(error).split())[:200]})", file=sys.stderr)
            return None
        if known != self.identity:
            print(f"{self.path}: of another training, not resumed", file=sys.stderr, flush=True)
            return None
        self.before = spent
        self.resumed(spent)
        return state


def added(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What two parts of a training cost together: seconds add up, of memory (``peak_...``) the larger one counts."""
    total = dict(before)
    for name, value in now.items():
        old = total.get(name, 0.0)
        total[name] = max(old, value) if name.startswith("peak_") else old + value
    return total
