"""The errors that a user can do something about, as opposed to faults of ours."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Iterable


class InputError(ValueError):
    """Bad input from outside: a configuration, a data file, a command-line argument.

    Commands print the message alone (no traceback) and exit with status 2, so the message has to name
    the file, the key, the offending value and the remedy.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known name, else the list of known names."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{one_line(close[0])}'?)"
    return f" (known: {one_line(', '.join(known))})" if known else ""


def one_line(text: str) -> str:
    """The text with line breaks and control characters (of keys and values from outside) written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
