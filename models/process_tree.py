"""The descendants of processes, cheaply enough to be asked for many times a second.

psutil's ``children`` reads every process of the machine each time (3 ms at 155 processes, where this takes 0.03:
``tests/performance/scale/overhead.py``); Linux lists the children of each thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def descendants(pids: Iterable[int]) -> set[int]:
    """Process ids of the children of `pids`, their children, and so on; processes that are gone have none.

    `pids` themselves are not in it, unless one descends from another. On systems without ``/proc/PID/task/*/children``
    psutil is asked.
    """
    ask = _children if Path(f"/proc/self/task/{os.getpid()}/children").is_file() else _children_by_psutil
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        new = ask(waiting.pop()) - found
        found |= new
        waiting += new
    return found


def _children(pid: int) -> set[int]:
    children: set[int] = set()
    # A process or thread may end between listing and reading.
    gone = contextlib.suppress(FileNotFoundError, ProcessLookupError)
    with gone:
        for task in os.listdir(f"/proc/{pid}/task"):
            with gone, open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children.update(int(part) for part in file.read().split())
    return children


def _children_by_psutil(pid: int) -> set[int]:
    import psutil

    with contextlib.suppress(psutil.Error):
        return {child.pid for child in psutil.Process(pid).children()}
    return set()
