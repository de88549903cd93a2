"""Malformed studies: structured mutations of a good one, key by key of config/README.md.

A case is a whole study file as bytes. Which mutations of a key are malformed follows from the key's kind (name, list of
numbers, ...): every kind has its list of values that must be refused.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import yaml

GOOD: dict[str, Any] = {
    "study": "s",
    "description": "A study.",
    "results_dir": "results",
    "data_dir": "data",
    "datasets_file": "datasets.yaml",
    "models_file": "models.yaml",
    "datasets": ["tiny", {"name": "tiny", "label": "again"}],
    "designs": {
        "n_cells": [50, "all"],
        "unpaired_fraction": [0.0, 0.5],
        "replicates": 2,
        "seed": 0,
        "sampling": "uniform",
        "modalities": ["rna", "atac"],
        "features": {"rna": {"highly_variable": 20, "top_fraction": 0.5, "min_cell_fraction": 0.01}},
        "hide_batch": False,
        "test_fraction": 0.1,
        "held_out": [["type_1", "rna"]],
    },
    "models": ["random", "pca", "small-pca"],
    "hyperparameters": {"pca": {"n_latent": 5}},
    "training_seeds": [0, 1],
    "predict": False,
    "metrics": ["nmi_leiden", "ari_leiden"],
    "device": "cpu",
    "deterministic": True,
    "build_environments": False,
    "gpu_jobs_per_device": 1,
    "threads": 1,
    "limits": {"wall_minutes": 5, "memory_mb": 2000},
    "umaps": {"max_embeddings": 4, "max_observations": 100},
}
"""A study with every key that can stand beside the others."""

REGISTRY = {
    "tiny": {
        "format": "simulated",
        "seed": 1,
        "simulate": {"modalities": ["rna", "atac"], "n_cells": 200, "n_genes": 60, "n_peaks": 80},
    }
}
MODELS = {"small-pca": {"model": "pca", "hyperparameters": {"n_latent": 3}}}

NAN, INFINITE = float("nan"), float("inf")
HOSTILE = ("$(touch x)", "../../x", "<script>alert(1)</script>", "a\nb", "a;touch x", "`touch x`")

NOT_TEXT = (None, 5, 1.5, NAN, True, [], ["a"], {}, {"a": 1})
NOT_LIST = (None, "text", 5, NAN, True, {}, {"a": 1})
NOT_MAPPING = (None, "text", 5, NAN, True, ["a"], [[]])
NOT_SWITCH = (None, "yes please", 1, 0, NAN, [], [True], {})
NOT_WHOLE = (None, "text", "5", "1e3", True, 1.5, 2.0, NAN, INFINITE, [], [1], {}, {"a": 1}, -1, 10**30)

KINDS: dict[str, tuple[Any, ...]] = {
    "name": (*NOT_TEXT, "", "A b", "_a", "a" * 61, "é", "s\n", "shared", *HOSTILE),
    "text": NOT_TEXT,
    "folder": (*NOT_TEXT, "", "a\0b", "a" * 300, "a{b}", "-rf", "a\nb"),
    "data_folder": (*NOT_TEXT[1:], "", "nowhere", "a\0b", "a" * 300, "datasets.yaml", *HOSTILE[:3]),
    "file": (*NOT_TEXT, "", "nowhere.yaml", "a\0b", "a" * 300, "data", *HOSTILE[:3]),
    "names": (*NOT_LIST, [], [None], [5], [["tiny"]], ["nobody"], ["tiny", "tiny"], *([text] for text in HOSTILE)),
    "models": (*NOT_LIST, [], [None], [5], [["pca"]], ["pcaa"], ["pca", "pca"], ["os:system"], *([x] for x in HOSTILE)),
    "metrics": (*NOT_LIST, [], [None], [5], ["nmi"], ["nmi_leiden"] * 2, *([text] for text in HOSTILE)),
    "mapping": (*NOT_MAPPING, {"nobody": 1}, {"a": {"b": {}}}),
    "seeds": (*NOT_LIST, [], [None], [-1], [0, 0], [1.5], [NAN], [2**32], ["0"], [[0]], [True]),
    "sizes": (*NOT_LIST, [], [None], [-1], [0], [1], [1.5], [NAN], [INFINITE], [10**30], [50.0], [201], ["most"], [50, 50], [[50]]),
    "fractions": (*NOT_LIST, [], [None], [-0.1], [1.1], [NAN], [INFINITE], ["half"], [0.5, 0.5], [[0.5]], [True]),
    "counts": (*NOT_LIST, [None], [-1], [1.5], [NAN], [10**30], ["one"], [5, 5], [[5]]),
    "positive": (*NOT_WHOLE, 0),
    "seed": (*NOT_WHOLE, 2**32),
    "natural": NOT_WHOLE,
    "memory": (*NOT_WHOLE, 0, 99),
    "minutes": (None, "text", True, NAN, INFINITE, [], {}, 0, -1, 1e300),
    "share": (None, "text", True, NAN, INFINITE, [], {}, -0.1, 1.0, 2),
    "fraction": (None, "text", True, NAN, INFINITE, [], {}, -0.1, 1.1),
    "switch": NOT_SWITCH,
    "sampling": (*NOT_TEXT, "", "Uniform", "random", *HOSTILE[:2]),
    "device": (*NOT_TEXT, "", "gpu", "cuda:0", *HOSTILE[:2]),
    "modalities": (*NOT_LIST, [], [None], ["rna", "rna"], ["methylation"], ["protein"], [["rna"]], ["$(touch x)"]),
    "filters": (*NOT_MAPPING, {"dna": {}}, {"rna": 5}, {"rna": {"best": 5}}, {"protein": {"highly_variable": 5}}),
    "held_out": (None, "text", 5, {}, ["a"], [["a"]], [["a", "dna"]], [["a", "rna", 1]], [[1, "rna"]], [[None, "rna"]]),
    "groups": (*NOT_MAPPING, {}, {"rna": 0}, {"rna": -1}, {"rna": NAN}, {"rna": INFINITE}, {"rna": "all"}, {"dna": 1},
               {"rna+rna": 1}, {"rna": 1, "": 1}, {"rna+atac": 1, "atac+rna": 1}, {"$(touch x)": 1}),
    "sources": (*NOT_MAPPING, {"by": "batch"}, {"by": "plate", "modalities": {"a": ["rna"]}}, {"modalities": {"a": ["rna"]}},
                {"by": "batch", "modalities": {}}, {"by": "batch", "modalities": {"a": []}},
                {"by": "batch", "modalities": {"a": ["dna"]}}, {"by": "batch", "modalities": {"a": ["protein"]}},
                {"by": "batch", "modalities": {"a": ["rna"]}, "others": []},
                {"by": "batch", "modalities": {"a": ["rna"]}, "rest": ["rna"]}),
    "label": (*NOT_TEXT, "", "A b", "s\n", "tiny", *HOSTILE[:3]),
}  # fmt: skip
"""Kind of a key -> values that it must refuse."""

KEYS = {
    "study": "name",
    "description": "text",
    "results_dir": "folder",
    "data_dir": "data_folder",
    "datasets_file": "file",
    "models_file": "file",
    "datasets": "names",
    "datasets[1].name": "name",
    "datasets[1].label": "label",
    "designs": "mapping",
    "designs.n_cells": "sizes",
    "designs.unpaired_fraction": "fractions",
    "designs.replicates": "positive",
    "designs.seed": "seed",
    "designs.sampling": "sampling",
    "designs.modalities": "modalities",
    "designs.features": "filters",
    "designs.features.rna.highly_variable": "positive",
    "designs.features.rna.top_fraction": "fraction",
    "designs.features.rna.min_cell_fraction": "fraction",
    "designs.hide_batch": "switch",
    "designs.test_fraction": "share",
    "designs.held_out": "held_out",
    "designs.n_paired": "counts",
    "designs.n_unpaired": "counts",
    "designs.groups": "groups",
    "designs.sources": "sources",
    "models": "models",
    "hyperparameters": "mapping",
    "hyperparameters.pca": "mapping",
    "hyperparameters.pca.n_latent": "natural",
    "training_seeds": "seeds",
    "predict": "switch",
    "metrics": "metrics",
    "device": "device",
    "deterministic": "switch",
    "build_environments": "switch",
    "gpu_jobs_per_device": "positive",
    "threads": "positive",
    "limits": "mapping",
    "limits.wall_minutes": "minutes",
    "limits.memory_mb": "memory",
    "umaps": "mapping",
    "umaps.max_embeddings": "natural",
    "umaps.max_observations": "positive",
}
"""Every key of a study, by its path -> kind."""

_BESIDE = {
    "designs.n_paired": {"designs.n_unpaired": [10], "designs.n_cells": None, "designs.unpaired_fraction": None},
    "designs.n_unpaired": {"designs.n_paired": [10], "designs.n_cells": None, "designs.unpaired_fraction": None},
    "designs.groups": {"designs.unpaired_fraction": None},
    "designs.sources": {"designs.unpaired_fraction": None},
}
"""Keys that exclude others of the good study -> what has to change with them (``None``: removed)."""

NEEDED = ("study", "datasets", "models", "datasets[1].name")


@dataclass(frozen=True)
class Case:
    """One malformed study: `text` is the file, `key` what a message has to name."""

    name: str
    kind: str
    text: bytes
    key: str = ""
    says: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)


def changed(content: Any, path: str, value: Any, remove: bool = False) -> Any:
    """A copy of `content` with another value at `path` (``a.b[1].c``), or without it."""
    content = copy.deepcopy(content)
    parts = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]
    place = content
    for part in parts[:-1]:
        place = place[part]
    if remove:
        place.pop(parts[-1], None) if isinstance(place, dict) else place.pop(parts[-1])
    else:
        place[parts[-1]] = value
    return content


def dumped(content: Any) -> bytes:
    return yaml.safe_dump(content, sort_keys=False).encode()


def readme_keys(root: Path) -> set[str]:
    """The keys in the tables of config/README.md."""
    text = (root / "config" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, flags=re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def cases() -> Iterator[Case]:
    """All structured cases."""
    for path, kind in KEYS.items():
        good = GOOD
        for other, value in _BESIDE.get(path, {}).items():
            good = changed(good, other, value, remove=value is None)
        for number, value in enumerate(KINDS[kind]):
            yield Case(f"{path}-{number}", "a value that is refused", dumped(changed(good, path, value)), path)
    for path in NEEDED:
        yield Case(f"without-{path}", "a needed key left out", dumped(changed(GOOD, path, None, remove=True)), path)
    for path in KEYS:
        if path.split(".")[-1] in ("n_paired", "n_unpaired", "groups", "sources", "pca"):
            continue
        *above, last = path.split(".")
        wrong = last[:-1] + "q" if len(last) > 1 else last + "q"
        content = changed(GOOD, path, None, remove=True)
        value = GOOD
        for part in [int(p) if p.isdigit() else p for p in re.findall(r"[^.\[\]]+", path)]:
            value = value[part]
        misspelled = ".".join([*above, wrong])
        yield Case(f"misspelled-{path}", "a key misspelled", dumped(changed(content, misspelled, value)), misspelled)
    text = dumped(GOOD)
    for key in [line.split(b":")[0] for line in text.splitlines() if re.match(rb"\w+:", line)]:
        name = key.decode()
        yield Case(f"twice-{name}", "a key given twice", text + dumped({name: GOOD[name]}), name, ("twice",))
        yield Case(f"nested-{name}", "a level too deep", dumped({**GOOD, name: {name: GOOD[name]}}), name)
    yield from _syntax(text)


def _syntax(text: bytes) -> Iterator[Case]:
    kind = "no YAML of a mapping"
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n".encode() for i in range(9)
    )
    for name, content in {
        "nothing": b"",
        "blank": b"\n\n  \n",
        "comment": b"# nothing\n",
        "nul-bytes": b"\0" * 64,
        "random-bytes": bytes(range(256)),
        "latin-1": text.replace(b"A study.", "Gr\u00f6\u00dfe".encode("latin-1")),
        "utf-16": text.decode().encode("utf-16"),
        "utf-32": text.decode().encode("utf-32"),
        "lone-surrogate": text.replace(b"A study.", b"\xed\xa0\x80"),
        "gzip": __import__("gzip").compress(text, mtime=0),
        "list": b"- study\n- datasets\n",
        "text": b"study\n",
        "number": b"5\n",
        "null": b"null\n",
        "json-list": b"[1, 2]",
        "cut-off": text[: len(text) // 2] + b"\n  - [",
        "tab-indented": text.replace(b"  ", b"\t"),
        "unclosed-bracket": text + b"x: [1, 2\n",
        "unclosed-brace": text + b"x: {a: 1\n",
        "unclosed-quote": text + b'x: "a\n',
        "no-colon": text + b"oops\n",
        "bad-indentation": text + b"x:\n    a: 1\n  b: 2\n",
        "two-colons": text + b"x: a: b\n",
        "unknown-alias": text + b"x: *nobody\n",
        "unknown-tag": text + b"x: !thing 5\n",
        "python-tag": text + b"x: !!python/object/apply:os.system ['touch x']\n",
        "python-name": text + b"x: !!python/name:os.system\n",
        "two-documents": text + b"---\n" + text,
        "contains-itself": b"a: &a [*a]\n",
        "merge-itself": b"a: &a\n  <<: *a\n",
        "merge-number": text + b"<<: 5\n",
        "alias-bomb": bomb,
        "deep-flow": b"a: " + b"[" * 5000 + b"]" * 5000,
        "deep-maps": b"a: " + b"{a: " * 5000 + b"1" + b"}" * 5000,
        "list-as-key": b"[1, 2]: 3\n",
        "mapping-as-key": b"{a: 1}: 3\n",
        "number-as-key": text + b"5: 3\n",
        "null-as-key": text + b"~: 3\n",
        "true-as-key": text + b"yes: 3\n",
        "date-as-key": text + b"2020-01-01: 3\n",
        "merge-key-twice": text + b"a: &a {study: t}\n<<: *a\n<<: *a\n",
        "bad-date": text + b"x: 2020-99-99\n",
        "bad-binary": text + b"x: !!binary 'a'\n",
        "huge-integer": text + b"x: " + b"9" * 5000 + b"\n",
        "huge-key": text + b"k" * 100_000 + b": 1\n",
        "escape-in-key": text + b'"\\e[31mred\\u202e": 1\n',
        "carriage-returns": b"study: s\r- a\r",
        "date-for-study": text.replace(b"study: s", b"study: 2020-01-01"),
        "set-for-models": text.replace(b"models:\n- random\n- pca\n- small-pca\n", b"models: !!set {pca}\n"),
    }.items():  # fmt: skip
        yield Case(f"syntax-{name}", kind, content)
