"""What one run of Snakemake leaves behind when it is killed, and how the next one takes over.

Snakemake marks its working folder as locked and its running jobs as incomplete, in files that survive a SIGKILL.
All of our outputs are written atomically, so an existing file is a complete file and the next run may simply go
on. Whether another run is still alive is asked of the kernel: a running Snakemake holds a file lock, which no
death leaves behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

from benchmarks.errors import InputError

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
    _hold(lock, f"{os.getpid()}\n")
    shutil.rmtree(folder / "locks", ignore_errors=True)
    # The folder itself stays: without it, Snakemake takes the rest for the leftovers of an old version.
    for marker in (folder / "incomplete").glob("*"):
        marker.unlink(missing_ok=True)
    return True


def claim_results(results_dir: str | os.PathLike, create: bool = False) -> None:
    """Take the lock of a results folder, against runs that were started in other working folders.

    Snakemake locks its working folder alone. Two runs of different working folders that share their results would delete
    each other's files: a job removes what it is about to make. Runs of one working folder are left to Snakemake.

    Parameters
    ----------
    results_dir
        Folder of the results.
    create
        Whether to make the folder if it is not there; otherwise there is nothing to claim yet.

    Raises
    ------
    InputError
        If a run of another working folder holds the lock.
    """
    path, here = Path(results_dir) / ".session.lock", os.getcwd()
    if any(lock.name == str(path) for lock in _held) or not (create or path.is_file()):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Names that the locale cannot decode come as surrogates, and go back to their bytes.
        lock = open(path, "a+", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 (held as long as we live)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        process, _, folder = lock.read().strip().partition(" ")
        lock.close()
        if folder == here:
            return
        raise InputError(
            f"{results_dir}: another run (process {process or 'unknown'}, started in {folder or 'another folder'}) is at "
            "work on these results: wait for it, end it, or choose another results_dir"
        ) from None
    except OSError:
        lock.close()
        return
    _hold(lock, f"{os.getpid()} {here}\n")


def _hold(lock: TextIO, text: str) -> None:
    lock.truncate(0)
    # Who it is matters to people alone: a full disk must not be the end of it.
    with contextlib.suppress(OSError):
        lock.write(text)
        lock.flush()
    _held.append(lock)


def refuse(error: Exception) -> None:
    """End the run with the message alone.

    An exception out of the Snakefile would add the line of it in which it came, which says nothing to who wrote the study.

    Raises
    ------
    SystemExit
        Always, with status 1.
    """
    print(error, file=sys.stderr)
    raise SystemExit(1)
