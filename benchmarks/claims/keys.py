"""The types of the arguments that tests take, and how a wrong one is reported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping

from benchmarks.errors import did_you_mean


class Wrong(ValueError):
    """A value that does not fit; the message says what is wrong with it and what to write."""


@dataclass(frozen=True)
class Key:
    """One argument of a kind of test.

    Attributes
    ----------
    type
        ``model``, ``models`` (one or more different names), ``number``, ``positive``, ``share`` (0 to 1), ``text``,
        ``pairs`` (of data set names), a tuple of allowed words, or a frozen set of words of which one or more are given.
    required
        Whether it has to be given.
    """

    type: str | tuple[str, ...] | frozenset[str]
    required: bool = True


def number(value: Any) -> float:
    """A finite number, not a truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Wrong(f"{value!r} is no finite number; write one")
    return float(value)


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"{value!r} is no text; write some")
    return value.strip()


def words(value: Any, known: Mapping[str, Any] | None = None, what: str = "name") -> tuple[str, ...]:
    """A list of one or more different texts, all of them in `known` where that is given."""
    if not isinstance(value, list) or not value:
        raise Wrong(f"{value!r} is no list; write [one, another]")
    result = tuple(text(item) for item in value)
    if len(set(result)) < len(result):
        raise Wrong(f"{value!r} names something twice; name it once")
    for item in result:
        if known is not None and item not in known:
            raise Wrong(f"unknown {what} {item!r}{did_you_mean(item, known)}; correct it or add it under 'models'")
    return result


def converted(key: Key, value: Any, models: Mapping[str, Any]) -> Any:
    """`value` as the type of `key` says.

    Raises
    ------
    Wrong
        If it does not fit.
    """
    if isinstance(key.type, tuple):
        if value not in key.type:
            raise Wrong(f"{value!r} is none of {', '.join(key.type)}")
        return value
    if isinstance(key.type, frozenset):
        for item in words(value):
            if item not in key.type:
                raise Wrong(f"unknown word {item!r}{did_you_mean(item, key.type)}")
        return words(value)
    if key.type == "models":
        return words(value, models, "model")
    if key.type == "model":
        return words([value], models, "model")[0]
    if key.type == "text":
        return text(value)
    if key.type == "pairs":
        if (
            not isinstance(value, list)
            or not value
            or any(not isinstance(pair, list) or len(pair) != 2 for pair in value)
        ):
            raise Wrong(f"{value!r} is no list of pairs; write [[one, another]]")
        return tuple(words(pair) for pair in value)
    result = number(value)
    if key.type == "positive" and result <= 0:
        raise Wrong(f"{value!r} is not above 0")
    if key.type == "share" and not 0 <= result <= 1:
        raise Wrong(f"{value!r} is not between 0 and 1")
    return result
