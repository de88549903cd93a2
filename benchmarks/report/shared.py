"""Data that several sections of the page draw from: variants, metrics, conditions and scores over replicates."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import pandas as pd

from benchmarks.report.section import codes, numbers
from benchmarks.report.study import Study
from benchmarks.statistics.keys import CONDITION, VARIANT, declaration, declared, with_clean_status

GROUPS = {
    "bio_conservation": "Conservation of biology",
    "pairing": "Pairing",
    "mixing": "Mixing of modalities",
    "batch_removal": "Batch removal",
    "prediction": "Prediction",
    "composite": "Composites",
    "cost": "Cost",
    "other": "Other",
}
"""Groups of metrics with their titles, in the order in which they are shown."""

COST_TITLES = {
    "wall_seconds": ("Wall time", "s"),
    "cpu_seconds": ("CPU time", "s"),
    "gpu_seconds": ("GPU time", "s"),
    "peak_rss_mb": ("Peak host memory", "MB"),
    "peak_device_mb": ("Peak device memory", "MB"),
    "epochs": ("Epochs", ""),
    "seconds_per_epoch": ("Time per epoch", "s"),
}
"""Costs of a run: title and unit."""


def shared_data(study: Study) -> dict[str, Any]:
    """JSON-like data for all scripts. Tables are column by column, with numbers in place of repeated texts."""
    metrics = _metrics(study)
    scores, reasons = _scores(study, metrics)
    variants = study.variants
    return {
        "study": study.name,
        "groups": GROUPS,
        "variants": [
            {"label": row.label, "model": row.model, "control": bool(row.control)}
            for row in variants.itertuples(index=False)
        ],
        "metrics": metrics,
        "conditions": [
            {
                "dataset": str(row.dataset),
                "cells": _plain(row.n_cells),
                "fraction": _plain(row.unpaired_fraction),
                "replicates": int(row.replicates),
            }
            for row in study.conditions.itertuples(index=False)
        ],
        "scores": scores,
        "reasons": reasons,
    }


def _plain(value: Any) -> float | int | None:
    value = float(value)
    if np.isnan(value):
        return None
    return int(value) if value.is_integer() else value


def metric_title(metrics: Mapping[str, Any], name: str) -> str:
    """Title of a metric; of a part of one, with the part's name behind it."""
    owner = declaration(metrics, name)
    if owner is None:
        return name
    part = name[len(owner.name) + 1 :].replace("_", " ")
    return f"{owner.title}, {part}" if part else owner.title


def _metrics(study: Study) -> list[dict[str, Any]]:
    """Declarations of the metrics that occur, by group, then in the order of the registry; costs last."""
    present = set(study.scores["metric"].unique())
    place = {name: number for number, name in enumerate(study.metrics)}
    owner = {name: getattr(declaration(study.metrics, name), "name", "") for name in present}
    names = sorted(present, key=lambda name: (place.get(owner[name], len(place)), name))
    order = {group: number for number, group in enumerate(GROUPS)}
    group = {name: declared(study.metrics, name, "group", "other") for name in names}
    names.sort(key=lambda name: order.get(group[name], len(order)))
    main = set(study.main_metrics)
    result = []
    for name in names:
        low, high = declared(study.metrics, name, "range", (None, None))
        result.append(
            {
                "name": name,
                "title": metric_title(study.metrics, name),
                "group": group[name] if group[name] in GROUPS else "other",
                "direction": declared(study.metrics, name, "direction", "higher"),
                "target": numbers([np.nan if (target := declared(study.metrics, name, "target")) is None else target])[
                    0
                ],
                "range": numbers([np.nan if bound is None else bound for bound in (low, high)]),
                "paper": str(declared(study.metrics, name, "paper", "")),
                "description": str(declared(study.metrics, name, "description", "")),
                "unit": "",
                "main": name in main,
            }
        )
    for name, (title, unit) in COST_TITLES.items():
        if name in set(study.cost["metric"]):
            result.append(
                {"name": name, "title": title, "group": "cost", "run": True, "direction": "lower", "target": None, "range": [0, None], "paper": "",
                 "description": "Measured around fitting and embedding.", "unit": unit, "main": True}
            )  # fmt: skip
    return result


def _scores(study: Study, metrics: list[dict[str, Any]]) -> tuple[dict[str, list], list[str]]:
    """Summary of scores and cost, column by column, and the texts of reasons."""
    position = {(item["name"], bool(item.get("run"))): number for number, item in enumerate(metrics)}
    summary, cost = study.summary, study.cost
    states = ("ok", "failed", "missing", "not_applicable", "not_available")
    counts = summary[[f"n_{state}" for state in states]].to_numpy()
    state = np.where(counts[:, 0] > 0, 0, np.argmax(counts, axis=1))
    reasons, reason = codes(
        summary["reason"].tolist() + summary["flag_reason"].tolist() + summary["scaled_reason"].tolist()
    )
    n = len(summary)
    both = pd.concat([summary, cost], ignore_index=True)
    padding = [0] * len(cost)
    none = reasons.index("") if "" in reasons else -1
    blank = [none] * len(cost)
    columns = {
        "condition": study.condition_numbers(both).tolist(),
        "variant": study.variant_numbers(both).tolist(),
        "metric": [position[name, row >= n] for row, name in enumerate(both["metric"])],
        "mean": numbers(both["mean"]),
        "median": numbers(both["median"]),
        "sd": numbers(both["sd"], 3),
        "low": numbers(both["low"]),
        "high": numbers(both["high"]),
        "n": both["n_replicates"].astype(int).tolist(),
        "ok": summary["n_ok"].tolist() + padding,
        "planned": summary["n_planned"].tolist() + padding,
        "scaled": numbers(both["scaled"] if "scaled" in both else np.full(len(both), np.nan), 4),
        "state": state.tolist() + padding,
        "reason": reason[:n] + blank,
        "flag": reason[n : 2 * n] + blank,
        "flagged": _flagged(study, summary) + padding,
        "unscaled": reason[2 * n :] + blank,
    }
    return columns, reasons


def _flagged(study: Study, summary: pd.DataFrame) -> list[int]:
    """Scores with a value of flagged runs, for each row of `summary`."""
    keys = [*CONDITION, *VARIANT]
    runs = study.flagged[[*keys, "replicate", "seed"]].drop_duplicates()
    ok = with_clean_status(study.scores).query("status == 'ok'")
    found = ok[[*keys, "metric", "replicate", "seed"]].merge(runs, on=[*keys, "replicate", "seed"])
    counts = found.groupby([*keys, "metric"], dropna=False).size().rename("n_flagged").reset_index()
    rows = summary[[*keys, "metric"]].merge(counts, on=[*keys, "metric"], how="left")
    return rows["n_flagged"].fillna(0).astype(int).tolist()
