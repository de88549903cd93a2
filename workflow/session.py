"""What one run of Snakemake leaves behind when it is killed, and how the next one takes over.

Snakemake marks its working folder as locked and its running jobs as incomplete, in files that survive a SIGKILL.
All of our outputs are written atomically, so an existing file is a complete file and the next run may simply go
on. Whether another run is still alive is asked of the kernel: a running Snakemake holds a file lock, which no
death leaves behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any, TextIO

_held: list[TextIO] = []


def adopt_interrupted_session(workflow: Any, folder: str | os.PathLike = ".snakemake") -> bool:
    """Take the working folder's session lock; if no other run holds it, clear what a killed run left behind.

    Returns whether the lock was taken. Where another run is alive nothing is touched, and Snakemake's own lock
    refuses a second run. Jobs' own Snakemake processes and Windows-style file systems without locks change nothing.
    """
    if not workflow.is_main_process:
        return False
    folder = Path(folder)
    try:
        folder.mkdir(exist_ok=True)
        lock = open(folder / "mosaicbench.lock", "a+")  # noqa: SIM115 (held as long as the process lives)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    _held.append(lock)
    shutil.rmtree(folder / "locks", ignore_errors=True)
    # The folder itself stays: without it, Snakemake takes the rest for the leftovers of an old version.
    for marker in (folder / "incomplete").glob("*"):
        marker.unlink(missing_ok=True)
    return True
