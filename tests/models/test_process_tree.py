"""Descendants of a process, by both ways of asking."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from models import process_tree

# A child that starts a grandchild from a thread of its own, says so, and waits.
PROGRAM = """
import subprocess, sys, threading
started = []
thread = threading.Thread(target=lambda: (started.append(subprocess.Popen(["sleep", "60"])), started[0].wait()))
thread.start()
while not started:
    pass
print(started[0].pid, flush=True)
thread.join()
"""


@pytest.mark.parametrize("ask", ["_children", "_children_by_psutil"])
def test_children_of_children_and_of_threads(monkeypatch, ask):
    monkeypatch.setattr(process_tree, "_children", getattr(process_tree, ask))
    monkeypatch.setattr(process_tree, "_children_by_psutil", getattr(process_tree, ask))
    outer = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROGRAM!r}])"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        grandchild = int(outer.stdout.readline())
        found = process_tree.descendants([outer.pid])
        assert grandchild in found and len(found) == 2
        assert found == {child.pid for child in psutil.Process(outer.pid).children(recursive=True)}
    finally:
        for pid in process_tree.descendants([outer.pid]):
            psutil.Process(pid).kill()
        outer.kill()
        outer.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process_tree.descendants([outer.pid]) == set()
