"""UMAPs of the embeddings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report.section import Section, codes, render
from benchmarks.report.study import Study
from benchmarks.umaps import not_drawn

STEPS = 4095
"""Coordinates are rounded to this many steps: finer than any screen shows, and two bytes each."""

LABELS = {"cell_type": "Cell type", "batch": "Batch", "group": "Modality"}
"""Columns of the table of UMAPs that colour it, with their titles; ``condition`` is for figures."""


def section(study: Study) -> Section:
    """One canvas a variant, drawn by ``embeddings.js``; labels are stored once a design."""
    if study.umaps.empty:
        return Section("embeddings", "Embeddings", render("embeddings.html.j2", empty=True))
    designs = []
    for key, part in study.umaps.groupby(
        ["dataset", "n_cells", "unpaired_fraction", "design"], dropna=False, sort=True
    ):
        designs.append(_design(study, key, part))
    # The script goes to the first design of a data set and fraction: its largest size.
    designs.sort(key=lambda design: (design["dataset"], -design["cells"], design["fraction"]))
    return Section(
        "embeddings",
        "Embeddings",
        render("embeddings.html.j2", empty=False, not_drawn=not_drawn(study.runs, study.umaps)),
        {"designs": designs, "labels": LABELS},
        "embeddings.js",
    )


def _design(study: Study, key: tuple, part: pd.DataFrame) -> dict[str, Any]:
    dataset, n_cells, fraction, _ = key
    pictures, labels = [], {}
    for number, embedding in part.groupby(study.variant_numbers(part), sort=True):
        if not labels:
            labels = {name: _label(embedding[name]) for name in LABELS}
            first = embedding[list(LABELS)].reset_index(drop=True)
        elif not embedding[list(LABELS)].reset_index(drop=True).equals(first):
            raise ValueError(f"the UMAPs of design {key} show different observations")
        pictures.append(
            {
                "variant": int(number),
                "points": _points(embedding[["x", "y"]].to_numpy(float)),
                "flag": _flag(study, embedding),
            }
        )
    return {
        "dataset": str(dataset),
        "cells": int(n_cells),
        "fraction": float(fraction),
        "n": len(first),
        "all": int(part["n_observations"].iloc[0]) if "n_observations" in part else len(first),
        "columns": labels,
        "pictures": pictures,
    }


def _flag(study: Study, embedding: pd.DataFrame) -> str:
    """Why the run of a picture is flagged; empty where it is not, whatever its variant's other seeds are."""
    row, runs = embedding.iloc[0], study.runs
    # Tables of UMAPs had no seeds once: the first successful one of the design was drawn.
    drawn = runs[(runs["dataset"] == row["dataset"]) & (runs["design"] == row["design"]) & (runs["status"] == "ok")]
    seed = row["seed"] if "seed" in embedding else drawn["seed"].min()
    flagged = study.flagged
    same = flagged["seed"] == seed
    for name in ("dataset", "design", "model", "variant"):
        same &= flagged[name] == row[name]
    return str(flagged.loc[same, "flag_reason"].iloc[0]) if same.any() else ""


def _label(column: pd.Series) -> dict[str, Any]:
    values, numbers = codes(column.where(column.notna(), None))
    order = np.argsort(np.array(values, dtype=str), kind="stable")
    place = np.empty(len(values) + 1, dtype=np.uint16)
    place[order] = np.arange(len(values))
    place[-1] = 65535
    return {"values": [str(values[i]) for i in order], "codes": _base64(place[np.array(numbers, dtype=int)])}


def _points(xy: np.ndarray) -> str:
    """Coordinates as base64 of little-endian uint16, x and y in turn, in one scale for both axes."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    extent = float((high - low).max())
    centred = (xy - (low + high) / 2) / extent if extent > 0 else np.zeros_like(xy)
    return _base64(np.rint((centred + 0.5) * STEPS).astype(np.uint16))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<u2").tobytes()).decode("ascii")
