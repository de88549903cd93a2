"""The style that all figures share: sizes, type, one colour and marker a model."""

from __future__ import annotations

import textwrap
import zlib

from matplotlib.figure import Figure

from benchmarks.errors import one_line

MM = 1 / 25.4
"""Inches a millimetre."""

COLUMN = 85.0
"""Width of a column, mm."""

PAGE = 180.0
"""Width of a page, mm."""

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 6.5,
    "axes.titlesize": 7.0,
    "axes.labelsize": 6.5,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "legend.fontsize": 6.0,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,  # names of data sets and cell types are text, whatever signs they hold
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "figure.dpi": 300,
}
"""matplotlib settings under which every figure is drawn and saved."""

COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#E69F00",
    "#661100", "#6699CC",
)  # fmt: skip
"""Qualitative colours that stay apart with any colour vision (P. Tol's and Okabe and Ito's)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Models of one paper share a colour and differ in marker. Colours recur where papers' studies do not meet.
_LOOKS = {
    "random": ("#9A9A9A", "o"),
    "collapsed": ("#9A9A9A", "s"),
    "oracle": ("#000000", "o"),
    "multivi": (0, "o"),
    "multivi-native": (0, "s"),
    "multivi-scarches": (0, "^"),
    "cobolt": (1, "o"),
    "scmvp": (2, "o"),
    "scmm": (3, "o"),
    "totalvi": (4, "o"),
    "multidgd": (5, "o"),
    "portal": (6, "o"),
    "portal-sc": (6, "s"),
    "scalex": (7, "o"),
    "scalex-package": (7, "s"),
    "davae": (8, "o"),
    "scbean-davae": (8, "s"),
    "mofa": (9, "o"),
    "scai": (10, "o"),
    "pca": (11, "o"),
    "rna-pca": (11, "s"),
    "concatenated-pca": (11, "^"),
    "atac-lsi": (11, "D"),
    "protein-pca": (11, "v"),
    "harmony": (11, "P"),
    "cca": (11, "X"),
    "seurat-wnn": (6, "^"),
    "wnn": (6, "D"),
    "seurat-imputed": (9, "^"),
    "seurat-gene-activity": (10, "^"),
    "liger": (7, "^"),
    "lda-atac": (3, "^"),
    "lda-atac-rna-pca": (3, "D"),
    "scvi": (4, "s"),
    "peakvi": (4, "^"),
    "knn-imputer": (8, "^"),
    "random-forest-imputer": (8, "D"),
    "scmomat": (8, "v"),
    "scmidas": (2, "s"),
    "scglue": (2, "^"),
    "multigrate": (1, "s"),
    "univi": (1, "^"),
    "pamona": (5, "s"),
    "mowgli": (5, "^"),
    "uniport": (5, "D"),
    "unioncom": (5, "v"),
}

ABSENT = "#ECECEC"
"""Fill of what is not there."""

EMPTY = "#F7F7F7"
"""Fill of a panel without data, and of every other group in one with groups."""

NOTE = "#555555"
"""Colour of notes."""


def colour(model: str) -> str:
    """Colour of a model, the same in all figures; one that is not listed gets its colour from its name."""
    found = _LOOKS.get(model, (zlib.crc32(model.encode()) % len(COLOURS), ""))[0]
    return found if isinstance(found, str) else COLOURS[found]


def marker(model: str) -> str:
    """Marker of a model; with the colour it is unique among the listed models."""
    return _LOOKS[model][1] if model in _LOOKS else MARKERS[zlib.crc32(model.encode()) // 97 % len(MARKERS)]


def categories(names: list[str]) -> dict[str, str]:
    """Colour of each category (cell types, batches), in order; beyond twelve, lighter and then darker tones follow."""
    result = {}
    for number, name in enumerate(names):
        base = COLOURS[number % len(COLOURS)]
        turn = number // len(COLOURS) % 3
        result[name] = base if turn == 0 else _mixed(base, 255 if turn == 1 else 0, 0.5 if turn == 1 else 0.4)
    return result


def _mixed(base: str, other: int, share: float) -> str:
    parts = (int(base[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part * (1 - share) + other * share):02X}" for part in parts)


def short(text: str, length: int = 34) -> str:
    """A name on one line, cut in the middle where it is longer than `length` letters."""
    text = one_line(str(text))
    return text if len(text) <= length else f"{text[: length - 10]}…{text[-9:]}"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` millimetres that lays itself out."""
    figure = Figure(figsize=(width * MM, height * MM), layout="constrained")
    figure.get_layout_engine().set(w_pad=1.2 * MM, h_pad=1.2 * MM, wspace=0.02, hspace=0.02)
    return figure


def panel_letter(axes, letter: str) -> None:
    """The paper's letter of a panel, above its left corner."""
    axes.annotate(
        letter, (0, 1), (-2, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8.5, fontweight="bold",
        ha="right", va="bottom", annotation_clip=False,
    )  # fmt: skip


def headline(figure: Figure, text: str) -> None:
    """Write what a figure is of above all its panels."""
    figure.suptitle(text, fontsize=7.5, fontweight="bold")


def legend_above(container, handles, labels, columns: int, title: str | None, handle_length: float):
    """A legend above a figure, under its title (notes stand below); the handles' length is in units of the letters' size."""
    return container.legend(
        handles, [short(label, 26) for label in labels], loc="outside upper center", ncols=columns, columnspacing=1.0,
        title=title, title_fontproperties={"size": 7.5, "weight": "bold"},
        handlelength=handle_length, labelspacing=0.3,
    )  # fmt: skip


def add_notes(figure: Figure, notes: list[str]) -> None:
    """Write notes (each once) below the figure, broken to its width."""
    seen = list(dict.fromkeys(note for note in notes if note))
    if seen:
        letters = int(figure.bbox.width / figure.dpi / MM / 0.98)
        lines = [line for note in seen for line in textwrap.wrap(one_line(note), letters)]
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=5.5, color=NOTE, linespacing=1.35)


def empty_panel(axes, text: str, width: int = 26) -> None:
    """A panel without data, which says why it has none, in lines of up to `width` letters."""
    # Hidden, not removed: on a shared axis the other panels' ticks would go, too.
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.set_facecolor(EMPTY)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(
        0.5, 0.5, "\n".join(textwrap.wrap(one_line(text), width)), transform=axes.transAxes, ha="center", va="center",
        fontsize=5.5, color=NOTE,
    )  # fmt: skip


def plain_number(value: float) -> str:
    """A number for a tick: 1,000 for thousands, no needless digits."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:g}"
