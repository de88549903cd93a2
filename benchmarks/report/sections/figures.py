"""The papers' figures as the workflow drew them for this study, small enough for one page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from benchmarks.figures.papers import REFERENCES, names_of
from benchmarks.figures.style import ABSENT, EMPTY
from benchmarks.figures.style import COLOURS as CATEGORIES
from benchmarks.report.section import Section, render
from benchmarks.report.study import Study

if TYPE_CHECKING:
    from PIL import Image

WIDTHS = (1600, 1300, 1000, 800)
"""Widths in pixels that are tried, until all figures fit."""

COLOURS = 256
"""Colours a picture is reduced to: a third of the bytes."""

KEPT = (*CATEGORIES, "#FFFFFF", EMPTY, ABSENT)
"""Colours that every picture keeps: an octree of the others alone would move categories a little and take faint greys for white."""

MOST_BYTES = 7_000_000
"""Most bytes of all figures, encoded, of the report's 15 MB."""


def section(study: Study) -> Section | None:
    """Each figure with its paper, as a picture in the page; the vector files lie beside the report.

    ``None`` for a study that repeats no paper's experiment and has no figures.
    """
    known = sorted(
        (path for path in study.figures if path.name.split(".")[0] in REFERENCES),
        key=lambda path: (list(REFERENCES).index(path.name.split(".")[0]), path.name),
    )
    expected = bool(names_of(study.name))
    if not known and not expected:
        return None
    pictures, left_out = _fitting(known)
    items = []
    for path, picture in zip(known, pictures):
        name, _, part = path.stem.partition(".")
        own = REFERENCES[name]
        items.append(
            {
                "key": path.stem, "title": f"Figure {own.number}" + (f": {part}" if part else ""), "paper": own.paper, "shows": own.shows,
                "file": f"figures/{path.stem}.pdf", **picture,
            }
        )  # fmt: skip
    html = render("figures.html.j2", items=items, left_out=left_out)
    return Section("figures", "Figures", html)


def _fitting(paths: Sequence[Path]) -> tuple[list[dict], list[str]]:
    """Pictures at the largest width at which all fit, and names of those that fit at none."""
    for width in WIDTHS:
        pictures = [_picture(path, width) for path in paths]
        if sum(len(picture["data"]) for picture in pictures) <= MOST_BYTES:
            return pictures, []
    kept, total = [], 0
    for picture in pictures:
        total += len(picture["data"])
        if total > MOST_BYTES:
            break
        kept.append(picture)
    return kept, [path.name for path in paths[len(kept) :]]


def _picture(path: Path, width: int) -> dict:
    """A PNG at most `width` pixels wide with few colours: base64 text and size in pixels. The same bytes every time."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    image = reduced(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return {"data": base64.b64encode(buffer.getvalue()).decode("ascii"), "width": image.width, "height": image.height}


def reduced(image: Image.Image) -> Image.Image:
    """A picture (RGB) in :data:`COLOURS` colours at most, :data:`KEPT` among them, without dither."""
    from PIL import Image

    # By octree: median cut, which goes by numbers of pixels, merges the categories of small points.
    found = image.quantize(COLOURS - len(KEPT), method=Image.Quantize.FASTOCTREE).getpalette()
    kept = [tuple(int(ink[i : i + 2], 16) for i in (1, 3, 5)) for ink in KEPT]
    # Pillow looks colours up in steps of four: one so near to a kept one would take its place.
    others = [
        ink for ink in zip(*[iter(found)] * 3) if all(max(abs(a - b) for a, b in zip(ink, own)) > 5 for own in kept)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for ink in (*kept, *others) for value in ink])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)
