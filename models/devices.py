"""The accelerators of this machine: how many there are, which one a training takes, and the kernels that it may use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_SHARES = 64
"""Trainings that may share one device at most; the workflow sets the real number (``gpu_jobs_per_device``)."""


def visible() -> list[str]:
    """Names of the CUDA devices that a process started now would see, without importing anything that uses them."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        # CUDA reads the list up to its first invalid entry.
        named = [name.strip() for name in asked.split(",")]
        stop = next((place for place, name in enumerate(named) if name in ("", "-1")), len(named))
        return named[:stop] if _installed() else []
    return [str(number) for number in range(_installed())]


def _installed() -> int:
    """Number of NVIDIA devices: as the driver lists them, or as its own command does (in containers)."""
    listed = Path("/proc/driver/nvidia/gpus")
    if listed.is_dir() and (found := len(list(listed.iterdir()))):
        return found
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=30)
        if done.returncode == 0:
            return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    return 0


@contextlib.contextmanager
def claim(device: str, folder: str | os.PathLike | None = None) -> Iterator[dict[str, str]]:
    """Hold the device that the fewest trainings of this user are at; yield the variables that show it alone to a child.

    With fewer than two devices there is nothing to choose. The claim is a lock on a file, which no death leaves behind.

    Parameters
    ----------
    device
        ``cpu`` chooses nothing.
    folder
        Where the lock files lie; default: a folder of this user under the temporary files.
    """
    found = [] if device == "cpu" else visible()
    if len(found) < 2:
        yield {}
        return
    place = Path(folder or Path(tempfile.gettempdir()) / f"mosaicbench-devices-{os.getuid()}")
    place.mkdir(mode=0o700, exist_ok=True)
    for share in range(MAX_SHARES):
        for name in found:
            lock = open(place / f"{name.replace('/', '_')}.{share}", "a")  # noqa: SIM115 (held as long as the claim)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            with lock:
                yield {"CUDA_VISIBLE_DEVICES": name}
            return
    yield {}


def choose_kernels(deterministic: bool) -> None:
    """Tell PyTorch, where it is imported, whether it has to use kernels that give the same bytes each time.

    Where an operation has no deterministic kernel PyTorch warns and goes on.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    # Autotuning times the kernels and takes the fastest: another one in another run.
    torch.backends.cudnn.benchmark = not deterministic
