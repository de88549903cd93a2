"""What a section of the report is made of, and how its data get into the page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pandas as pd

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes
    ----------
    key
        Identifier in the page (anchor, and name under which the script registers itself): lower-case letters.
    title
        Heading and entry in the navigation.
    html
        Body, already escaped (rendered by :func:`render`).
    data
        JSON-like content for the section's script, or ``None``.
    script
        Name of a file in ``assets/`` that draws the section, or ``None``.
    """

    key: str
    title: str
    html: str
    data: Any = None
    script: str | None = None


@lru_cache
def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render(template: str, **content: Any):
    """Render a template of ``templates/``; every inserted text is escaped. Returns :class:`markupsafe.Markup`."""
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(**content))


def asset(name: str) -> str:
    """Text of a file in ``assets/``."""
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def number(value: Any) -> str:
    """A number for people: thousands separated, no needless digits; ``–`` for a missing one."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, (int, np.integer)) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def embedded_json(content: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element or start another."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def numbers(values: Sequence[float], digits: int = 5) -> list[float | None]:
    """Numbers with so many significant digits, ``None`` for NaN and infinities: small in JSON."""
    return [
        float(f"{value:.{digits}g}") if math.isfinite(value) else None
        for value in np.asarray(values, dtype=float).tolist()
    ]


def codes(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Distinct values in order of appearance, and the number of each one (-1 for missing)."""
    numbers_, distinct = pd.factorize(pd.Series(values, dtype=object))
    return list(distinct), numbers_.tolist()
