"""Malformed entries of the registry of data sets and of the file of model variants, key by key of their schemas."""

from __future__ import annotations

from typing import Any, Iterator

from tests.bad_input.study_cases import HOSTILE, INFINITE, NAN, NOT_MAPPING, NOT_SWITCH, NOT_TEXT, Case, changed, dumped

SUM = "0" * 64
FILE = {"format": "h5mu", "path": "a.h5mu", "modalities": ["rna", "atac"], "n_cells": 10}

ENTRIES: dict[str, dict[str, Any]] = {
    "file": {
        **FILE, "labels": "cell_type", "batch": "batch", "site": "site", "donor": "donor", "condition": "condition",
        "pseudotime": ["time"], "modality_names": {"rna": "gex"}, "counts_from": "counts", "annotations": "a.tsv",
        "annotations_key": "cell", "origin": "https://example.org/a", "sha256": SUM, "unlabelled": ["doublet"],
        "cell_names": {"replace": {"a": "b"}, "remove_suffix": "-1", "prefix": "p", "suffix": "s"}, "split_features": "_",
        "label_names": {"table": "n.tsv", "key": "id", "name": "name", "where": {"kind": "label"}},
        "filters": {"keep": {"site": ["s1"]}, "labelled": True, "min_features": {"rna": 1}, "min_cells": {"rna": 1},
                    "max_cells": {"rna": 9}, "min_fraction": {"rna": 0.1}, "top_features": {"rna": 5}},
        "organism": "human", "genome": "hg38", "description": "d", "source": "s", "licence": "l", "citation": "c",
    },
    "download": {"format": "h5mu", "url": "https://example.org/a.h5mu", "sha256": SUM, "modalities": ["rna"], "n_cells": 9},
    "typed": {**FILE, "format": "h5ad_feature_types", "feature_type_column": "kind"},
    "table": {"format": "dense_table", "path": "a.tsv", "modalities": ["rna"], "n_cells": 9,
              "table": {"header": True, "row_names": True, "cells_in": "rows", "drop": ["total"]}},
    "parts": {"format": "combined", "n_cells": 9, "sample_separator": "_", "merge_peaks": False,
              "parts": [{**FILE, "sample": "w1"}, {**FILE, "sample": "w2"}]},
    "made": {"format": "simulated", "seed": 1, "simulate": {"n_cells": 100, "n_genes": 50, "modalities": ["rna"]}},
}  # fmt: skip
ENTRIES["parts"]["parts"] = [
    {key: value for key, value in part.items() if key != "n_cells"} for part in ENTRIES["parts"]["parts"]
]

_TEXT = (*NOT_TEXT, "")
_WHOLE = (None, "text", True, 1.5, 2.0, NAN, INFINITE, [], {}, -1, 0)
_SIZES = (None, "text", True, 1.5, NAN, INFINITE, [], {}, -1, 0)
_NUMBERS = (*NOT_MAPPING, {}, {"dna": 1}, {"rna": 0}, {"rna": -1}, {"rna": 1.5}, {"rna": NAN}, {"protein": 1})
_FILES = (None, 5, NAN, True, [], ["a"], {}, {"a": 5}, {"a": None}, {"a": []}, {"a": {"b": 1}}, {"x": "y"}, "")
_MODALITIES = (None, 5, "rna", {}, [], [None], ["rna", "rna"], ["dna"], [["rna"]], *([text] for text in HOSTILE))
_NAMES = (None, 5, "text", {}, [], [None], [5], [""], [[]])

KEYS: dict[str, tuple[Any, ...]] = {
    "file.format": (*NOT_TEXT, "", "h5", "H5MU", "pickle", *HOSTILE),
    "file.path": _FILES,
    "file.modalities": _MODALITIES,
    **{f"file.{key}": _TEXT for key in ("labels", "batch", "site", "donor", "condition", "counts_from", "annotations",
       "annotations_key", "split_features", "organism", "genome", "description", "source", "licence", "citation")},
    "file.pseudotime": (None, 5, "time", {}, [None], [5], [""], ["t", "t"]),
    "file.modality_names": (*NOT_MAPPING, {"dna": "x"}, {"rna": 5}, {"rna": ""}, {"protein": "adt"}),
    "file.n_cells": _WHOLE,
    "file.origin": (*_FILES, "no url", "ftp://e.org/a", "javascript:alert(1)", "https://e.org/a b", "https://[", "http:///a"),
    "file.sha256": (*_FILES, "abc", "g" * 64, "$(touch x)"),
    "file.unlabelled": (*_NAMES, ["a", "a"]),
    "file.cell_names": (*NOT_MAPPING, {}, {"strip": "a"}, {"prefix": 5}, {"prefix": ""}, {"replace": []}, {"replace": {"a": 1}}),
    "file.label_names": (*NOT_MAPPING, {}, {"table": "a"}, {"table": "a", "key": "b", "name": 5},
                         {"table": "a", "key": "b", "name": "c", "where": {"a": 5}}),
    "file.filters": (*NOT_MAPPING, {}, {"best": 1}),
    "file.filters.keep": (*NOT_MAPPING, {}, {"site": []}, {"site": "s1"}, {"site": [5]}),
    "file.filters.labelled": (None, False, "yes", 1, []),
    **{f"file.filters.{key}": _NUMBERS for key in ("min_features", "min_cells", "max_cells", "top_features")},
    "file.filters.min_fraction": (*NOT_MAPPING, {}, {"dna": 0.1}, {"rna": 0}, {"rna": 1}, {"rna": NAN}, {"protein": 0.1}),
    "download.url": (*_FILES, "no url", "ftp://e.org/a", "javascript:alert(1)", "https://e.org/$(touch x) y", "https://["),
    "typed.feature_type_column": _TEXT,
    "table.table": (*NOT_MAPPING, {}, {"rows": 1}, {"header": "no"}, {"cells_in": "both"}, {"drop": []}),
    "table.table.header": NOT_SWITCH,
    "table.table.row_names": NOT_SWITCH,
    "parts.parts": (*NOT_MAPPING[:5], {}, [], [5], [{}], [{"format": "h5mu"}], [{"format": "combined", "modalities": ["rna"]}]),
    "parts.sample_separator": _TEXT,
    "parts.merge_peaks": NOT_SWITCH,
    "made.seed": (None, "text", True, 1.5, 2.0, NAN, INFINITE, [], {}, -1, 2**32),
    "made.simulate": (None, "text", 5, True, [], {"cells": 5}, {"preset": "moon"}),
    "made.simulate.n_cells": (*_SIZES, 10**30),
    "made.simulate.n_genes": (*_SIZES, 10**30),
    "made.simulate.modalities": (*(value for value in _MODALITIES[1:] if value != ["rna", "rna"]), "protein"),
}  # fmt: skip
"""``entry.key`` -> values that must be refused."""

VARIANT = {"model": "pca", "description": "d", "hyperparameters": {"n_latent": 3}, "modalities": ["rna"]}
VARIANT_KEYS: dict[str, tuple[Any, ...]] = {
    "model": (*NOT_TEXT, "", "pcaa", "os:system", *HOSTILE),
    "description": NOT_TEXT,
    "hyperparameters": (*NOT_MAPPING, {"nobody": 1}),
    "hyperparameters.n_latent": (None, "text", True, 1.5, 2.0, NAN, INFINITE, [], {}, -1, 10**30),
    "modalities": (*_MODALITIES, ["protein", "atac", "rna", "rna"]),
}


def registry_cases() -> Iterator[Case]:
    """Registries of data sets of which one entry is malformed; the key in the case is ``entry.key``."""
    kind = "data-set registry"
    for path, values in KEYS.items():
        for number, value in enumerate(values):
            yield Case(f"{path}-{number}", kind, dumped(changed(ENTRIES, path, value)), path)
    for name, entry in ENTRIES.items():
        for key in entry:
            wrong = f"{key}q"
            content = {**{other: value for other, value in entry.items() if other != key}, wrong: entry[key]}
            yield Case(f"misspelled-{name}.{key}", kind, dumped({**ENTRIES, name: content}), f"{name}.{wrong}")
    for name in ("file", "download", "typed", "table", "parts"):
        for key in ("format", "modalities"):
            if key in ENTRIES[name]:
                yield Case(
                    f"without-{name}.{key}",
                    kind,
                    dumped(changed(ENTRIES, f"{name}.{key}", 0, remove=True)),
                    f"{name}.{key}",
                )
    for name, foreign in (("file", {"simulate": {}}), ("file", {"seed": 1}), ("file", {"parts": []}), ("made", {"path": "a"}),
                          ("made", {"labels": "a"}), ("parts", {"path": "a"}), ("table", {"merge_peaks": True})):  # fmt: skip
        yield Case(
            f"foreign-{name}-{next(iter(foreign))}", kind, dumped({**ENTRIES, name: {**ENTRIES[name], **foreign}}), name
        )
    for number, name in enumerate(("", "A", "a b", "_a", "a" * 61, "s\n", "é", *HOSTILE)):
        yield Case(f"name-{number}", kind, dumped({**ENTRIES, name: ENTRIES["made"]}), "usable name")
    for number, value in enumerate((None, 5, "text", [], NAN, True)):
        yield Case(f"entry-{number}", kind, dumped({**ENTRIES, "made": value}), "made")
    for number, path in enumerate(("../a", "a/../../b")):
        entry = {**ENTRIES["download"], "path": path}
        yield Case(f"escaping-path-{number}", kind, dumped({**ENTRIES, "download": entry}), "download.path")


def variant_cases() -> Iterator[Case]:
    """Files of model variants of which one is malformed."""
    kind = "model variants"
    for key, values in VARIANT_KEYS.items():
        for number, value in enumerate(values):
            if value == [] and key == "hyperparameters":
                continue
            yield Case(f"{key}-{number}", kind, dumped(changed({"v": VARIANT}, f"v.{key}", value)), f"v.{key}")
    yield Case("without-model", kind, dumped(changed({"v": VARIANT}, "v.model", 0, remove=True)), "v.model")
    yield Case("takes-a-name", kind, dumped({"pca": VARIANT}), "pca")
    for number, name in enumerate(("", "A", "a b", "a_b", "a" * 61, "s\n", *HOSTILE)):
        yield Case(f"name-{number}", kind, dumped({name: VARIANT}), "usable name")
    for number, value in enumerate((None, 5, "text", [])):
        yield Case(f"entry-{number}", kind, dumped({"v": value}), "v")
    for number, value in enumerate((5, "text", [], True)):
        yield Case(f"file-{number}", kind, dumped(value), "")
