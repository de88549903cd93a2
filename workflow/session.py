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
import sys
from pathlib import Path
from typing import Any, TextIO

_held: list[TextIO] = []


def adopt_interrupted_session(workflow: Any, folder: str | os.PathLike = ".snakemake") -> bool:
    """Take the working folder's session lock; if no other run holds it, clear what a killed run left behind.

    Returns whether the lock was taken. Where another run is alive nothing is touched: this one says so on standard
    error, and Snakemake refuses it when it comes to write (a dry run goes on). Jobs' own Snakemake processes, and
    file systems without locks, change nothing.
    """
    if not workflow.is_main_process:
        return False
    folder = Path(folder)
    try:
        folder.mkdir(exist_ok=True)
        lock = open(folder / "mosaicbench.lock", "a+")  # noqa: SIM115 (held as long as the process lives)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        print(
            f"Another run (process {lock.read().strip() or 'unknown'}) is at work in this folder: wait for it or end it.",
            file=sys.stderr,
        )
        lock.close()
        return False
    except OSError:
        lock.close()
        return False
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    _held.append(lock)
    shutil.rmtree(folder / "locks", ignore_errors=True)
    # The folder itself stays: without it, Snakemake takes the rest for the leftovers of an old version.
    for marker in (folder / "incomplete").glob("*"):
        marker.unlink(missing_ok=True)
    return True
