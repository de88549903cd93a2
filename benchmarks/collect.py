"""Collecting a study's runs and scores, scattered over the shared folders, into its tidy tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import pandas as pd

from benchmarks.errors import InputError
from benchmarks.formats import SCORE_COLUMNS, check_schema, read_json, read_record, read_table
from benchmarks.splits import n_test_cells

IDENTITY = ("study", "dataset", "design", "n_cells", "unpaired_fraction", "replicate", "model", "variant", "seed")
"""Columns that identify a run in every table."""


def collect(plan: Mapping[str, Any], results_dir: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return (scores, runs, seconds) of a study.

    Parameters
    ----------
    plan
        What ``python -m workflow plan`` wrote.
    results_dir
        Folder that the plan's paths are relative to.

    Returns
    -------
    scores
        One row a (run, metric) with :data:`benchmarks.formats.SCORE_COLUMNS`. A run that is not applicable has one
        row a metric as well, with that status and its reason: nothing is dropped silently.
    runs
        One row a run: identity, status, reason, cost, flags of a degenerate embedding, paths.
    seconds
        One row a (run, metric): the seconds that the metric took; apart from the values, which are reproducible.

    Raises
    ------
    InputError
        If a file that should be there is missing or of another schema version.
    """
    check_schema(dict(plan), "plan")
    scores, runs, seconds = [], [], []
    sizes: dict[str, int] = {}
    for entry in plan["runs"]:
        identity = {name: entry[name] for name in IDENTITY}
        if identity["n_cells"] is None:
            summary = results_dir / entry["dataset_summary"]
            sizes.setdefault(entry["dataset"], int(read_json(summary)["n_cells"]))
            # Numbers of cells are of those to train on: test cells are not among them, as in designs that state one.
            n_test = n_test_cells(sizes[entry["dataset"]], entry.get("test_fraction", 0.0))
            identity["n_cells"] = sizes[entry["dataset"]] - n_test
        paths = {name: entry[name] for name in ("visible", "truth", "embedding", "prediction", "record")}
        if entry["not_applicable"]:
            facts = {"status": "not_applicable", "reason": entry["not_applicable"]}
            runs.append({**identity, "kind": entry["kind"], **facts, **paths})
            scores += [{**identity, "metric": metric, "value": float("nan"), **facts} for metric in plan["metrics"]]
            continue
        record = read_record(results_dir / entry["record"])
        table_path = results_dir / entry["scores"]
        if not table_path.is_file():
            raise InputError(f"{table_path}: scores are missing; run the workflow again")
        table = read_table(table_path)
        timing = read_json(results_dir / entry["seconds"])
        for row in table.to_dict("records"):
            scores.append({**identity, **{key: row[key] for key in ("metric", "value", "status", "reason")}})
        seconds += [{**identity, "metric": name, "seconds": value} for name, value in timing["seconds"].items()]
        runs.append(
            {
                **identity,
                "kind": entry["kind"],
                "status": record.status,
                "reason": record.reason,
                "device": record.device,
                "wall_seconds": record.wall_seconds,
                "cpu_seconds": record.cpu_seconds,
                "gpu_seconds": record.gpu_seconds,
                "peak_rss_mb": record.peak_rss_mb,
                "peak_device_mb": record.peak_device_mb,
                "epochs": record.epochs,
                "seconds_per_epoch": record.seconds_per_epoch,
                "n_observations": record.n_observations,
                "n_latent": record.n_latent,
                "warnings": "; ".join(record.warnings),
                "collapsed": bool(timing["diagnostics"].get("collapsed", False)),
                "duplicate_fraction": timing["diagnostics"].get("duplicate_fraction"),
                "flag_reason": timing["diagnostics"].get("reason") or "",
                **paths,
            }
        )
    score_table = pd.DataFrame(scores, columns=list(SCORE_COLUMNS))
    score_table["reason"] = score_table["reason"].fillna("").astype(str)
    run_table = pd.DataFrame(runs)
    for name in (
        "gpu_seconds",
        "peak_device_mb",
        "peak_rss_mb",
        "wall_seconds",
        "cpu_seconds",
        "epochs",
        "seconds_per_epoch",
        "n_latent",
        "duplicate_fraction",
    ):
        if name in run_table:
            run_table[name] = pd.to_numeric(run_table[name])
    if "collapsed" in run_table:
        run_table["collapsed"] = run_table["collapsed"].map(lambda value: value is True)
    return score_table, run_table, pd.DataFrame(seconds, columns=[*IDENTITY, "metric", "seconds"])
