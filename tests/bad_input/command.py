"""Running a command of ours in this process, and what a refusal has to look like."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

SECONDS = 10.0
"""Processor time within which bad input has to be refused."""

REMEDY = re.compile(r"; \S|: give |\(did you mean |\(known: |config/README\.md")
"""How messages say what to do: a clause of its own, or the names that would have been right."""


@dataclass(frozen=True)
class Outcome:
    """Exit status, standard error and output, and processor seconds of one command."""

    status: int
    error: str
    output: str
    seconds: float


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> Outcome:
    """Call the function behind a command; an exception that it lets out is a fault of ours and goes on."""
    error, output, start = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(output):
        try:
            status = main([str(item) for item in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return Outcome(status, error.getvalue(), output.getvalue(), time.process_time() - start)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file in a folder with its bytes, every other thing with ``None``; Snakemake's own folder left out."""
    found: dict[str, bytes | None] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".snakemake"]
        for name in (*folders, *files):
            path = Path(place) / name
            found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


def problem(outcome: Outcome, places: Sequence[str], words: Sequence[str] = ()) -> str | None:
    """What is wrong with a refusal, or ``None``: each line has to name one of `places` and a remedy, all `words` be there."""
    if outcome.status != 2:
        return f"exit status {outcome.status}, not 2: {outcome.error[-500:]}{outcome.output[-500:]}"
    if outcome.seconds > SECONDS:
        return f"took {outcome.seconds:.1f} s"
    if outcome.output:
        return f"printed {outcome.output[:200]!r}"
    lines = outcome.error.splitlines()
    if not lines or "Traceback" in outcome.error:
        return f"no message, or a traceback: {outcome.error[-500:]!r}"
    if not outcome.error.isprintable() and set(outcome.error) - {"\n"} - set(filter(str.isprintable, outcome.error)):
        return f"control characters reach the terminal: {outcome.error!r}"
    for line in lines:
        if not any(place in line for place in places):
            return f"a line names none of {places}: {line}"
        if not REMEDY.search(line):
            return f"a line without a remedy: {line}"
    lost = [word for word in words if word not in outcome.error]
    return f"{lost} is not named: {outcome.error}" if lost else None
