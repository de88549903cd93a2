"""What figures read from a study: values of a metric, models in the order of a paper, notes on what is missing."""

from __future__ import annotations

import textwrap
from typing import Sequence

import numpy as np
import pandas as pd

from benchmarks.errors import InputError
from benchmarks.figures.style import short
from benchmarks.report.study import Study
from benchmarks.statistics.keys import CONTROLS, declaration, first_reason, with_clean_status
from benchmarks.statistics.summary import replicate_means, without_flagged


def require_scores(study: Study) -> None:
    """Raise :class:`~benchmarks.errors.InputError` where a study has no run or score with a value to draw."""
    has_scores = len(study.scores) and (with_clean_status(study.scores)["status"] == "ok").any()
    if not has_scores and not (study.runs["status"] == "ok").any():
        raise InputError(f"study {study.name!r} has no successful run: there is nothing to draw; see its runs table")


def sub_study(study: Study, datasets: Sequence[str]) -> Study:
    """The part of a study on some of its data sets."""
    scores, runs, umaps, agreement = (
        table[table["dataset"].isin(list(datasets))].reset_index(drop=True) if "dataset" in table else table
        for table in (study.scores, study.runs, study.umaps, study.label_agreement)
    )
    return Study(scores, runs, study.provenance, umaps, study.metrics, label_agreement=agreement)


def datasets(study: Study) -> list[str]:
    """Data sets in the order of the study."""
    return list(dict.fromkeys([*study.runs["dataset"], *study.scores["dataset"]]))


def dataset_names(study: Study) -> str:
    """The data sets of a study as a heading."""
    return ", ".join(short(name) for name in datasets(study))


def variants(study: Study, first: Sequence[str] = ()) -> pd.DataFrame:
    """Variants with ``model``, ``variant``, ``label``, ``control``: models named in `first`, the others, controls.

    Those that the designs of the study rule out everywhere are left out.
    """
    table = study.variants[~study.variants["label"].isin(not_applicable(study))]
    place = {model: number for number, model in enumerate(first)}
    order = [
        (bool(control), place.get(model, len(place)), number)
        for number, (model, control) in enumerate(zip(table["model"], table["control"]))
    ]
    return table.iloc[sorted(range(len(table)), key=lambda i: order[i])].reset_index(drop=True)


def values(study: Study, metric: str, per: str = "replicate", **where) -> pd.DataFrame:
    """Values of a metric: ``dataset``, ``n_cells``, ``unpaired_fraction``, ``model``, ``variant``, ``label``, ``value``.

    Parameters
    ----------
    metric
        A metric of the score table, or a cost of the run table (``wall_seconds``, ``peak_rss_mb``, ...).
    per
        ``replicate``: one value a subsample, training seeds averaged (:func:`replicate_means`). ``run``: one a run.
    **where
        Only values with this in a column: ``dataset="pbmc"``, ``unpaired_fraction=0.5``.

    Returns
    -------
    pandas.DataFrame
        Only values that there are, those of degenerate embeddings not among them (:func:`degenerate`); empty if there
        are none.
    """
    part = study.scores[study.scores["metric"] == metric]
    if len(part):
        part = without_flagged(part, degenerate(study))
        ok = with_clean_status(part)
        ok = ok[ok["status"] == "ok"]
        table = replicate_means(part) if per == "replicate" and len(ok) else ok
    elif metric in study.runs:
        runs = without_flagged(study.runs, degenerate(study))
        table = runs[runs["status"] == "ok"].assign(value=lambda ok: pd.to_numeric(ok[metric]))
        table = table[np.isfinite(table["value"])]
        if per == "replicate" and len(table):
            keys = ["dataset", "n_cells", "unpaired_fraction", "model", "variant", "replicate"]
            table = table.groupby(keys, sort=True)["value"].mean().reset_index()
    else:
        table = part
    columns = ["dataset", "n_cells", "unpaired_fraction", "model", "variant", "value"]
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    table = table[columns].reset_index(drop=True)
    return table.assign(label=study.labels(table) if len(table) else pd.Series(dtype=object))


def degenerate(study: Study) -> pd.DataFrame:
    """Runs of models, not of controls, whose embedding is collapsed or filled with duplicates.

    They count as failed, as in comparisons and rankings: such an embedding has a batch ASW of 1 for nothing and would
    be drawn as the best one. A control keeps its values: it shows where a metric ends, and ``collapsed`` is degenerate
    on purpose.
    """
    return study.flagged[~study.flagged["model"].map(is_control).astype(bool)]


def title(study: Study, metric: str, arrow: bool = True) -> str:
    """Title of a metric, with an arrow to where it is better."""
    declared = declaration(study.metrics, metric)
    text = declared.title if declared else metric
    if declared and metric != declared.name:
        part = metric[len(declared.name) + 1 :]
        text = f"{text}, {part.upper() if part in ('rna', 'atac') else part}"
    arrows = {
        "higher": " ↑",
        "lower": " ↓",
        "target": f" → {declared.target:g}" if declared and declared.target else "",
    }
    return text + (arrows.get(declared.direction, "") if declared and arrow else "")


def axis_title(study: Study, metric: str) -> str:
    """Title of a metric for the side of a panel, broken into lines."""
    return "\n".join(textwrap.wrap(title(study, metric, arrow=False), 24))


def has_metric(study: Study, metric: str) -> bool:
    """Whether a study was scored with a metric, successfully or not."""
    return bool((study.scores["metric"] == metric).any()) or metric in study.runs


def why_empty(study: Study, metric: str) -> str:
    """What a panel says for which a metric has no value, with the most frequent reason that the scores give."""
    if not has_metric(study, metric):
        return "not scored in this study"
    scores = with_clean_status(study.scores[study.scores["metric"] == metric])
    given = scores[(scores["status"] == "ok") & ~scores["model"].map(is_control).astype(bool)]
    if len(given) and without_flagged(given, degenerate(study)).empty:
        return f"no value: {short(first_reason(degenerate(study)['flag_reason']), 90)}"
    scores = scores[(scores["status"] != "ok") & (scores["reason"].fillna("") != "")]
    keys = ["dataset", "design", "model", "variant", "seed"]
    ends = (
        scores[keys]
        .merge(study.runs[[*keys, "status"]].drop_duplicates(keys), on=keys, how="left")["status"]
        .to_numpy()
    )
    # What the metric said of a model's embedding tells more than why a model did not run or what a control lacks.
    models = ~scores["model"].map(is_control).to_numpy(dtype=bool)
    choices = (
        models & (ends == "ok"),
        models & (ends != "not_applicable"),
        ends == "ok",
        np.ones(len(scores), dtype=bool),
    )
    reason = first_reason(scores["reason"][next((choice for choice in choices if choice.any()), choices[-1])])
    return f"no value: {short(reason, 90)}" if reason else "no value"


def missing_notes(study: Study, metrics: Sequence[str]) -> list[str]:
    """Notes on metrics that a study lacks, and on models whose runs did not all end well or gave degenerate embeddings."""
    notes = []
    lacking = [title(study, metric, arrow=False) for metric in metrics if not has_metric(study, metric)]
    if lacking:
        notes.append(f"Not scored in this study: {', '.join(lacking)}.")
    for dataset in datasets(study):
        runs = study.runs[study.runs["dataset"] == dataset]
        ends: dict[str, list[str]] = {}
        lost = []
        for label, part in runs.assign(label=study.labels(runs)).groupby("label", sort=True):
            if not (part["status"] == "ok").any():
                ends.setdefault(str(part["status"].iloc[0]), []).append(str(label))
            elif (bad := part.loc[part["status"] != "ok", "status"]).size:
                ways = ", ".join(sorted({str(status).replace("_", " ") for status in bad}))
                lost.append(f"{short(label, 28)} ({ways}: {len(bad)} of {len(part)} runs)")
        for status, labels in sorted(ends.items()):
            names = ", ".join(short(name, 28) for name in labels[:12]) + (", …" if len(labels) > 12 else "")
            notes.append(f"{short(dataset)}: {status.replace('_', ' ')}: {names}.")
        if lost:
            notes.append(f"{short(dataset)}: missing in part: {'; '.join(lost)}.")
        flagged = degenerate(study)
        counts = pd.Series(study.labels(runs)).value_counts()
        bad = pd.Series(study.labels(flagged[flagged["dataset"] == dataset]), dtype=object).value_counts().sort_index()
        if len(bad):
            names = "; ".join(f"{short(label, 28)} ({n} of {counts[label]} runs)" for label, n in bad.items())
            notes.append(f"{short(dataset)}: degenerate embeddings, which count as no value: {names}.")
    return notes


def not_applicable(study: Study) -> set[str]:
    """Labels of variants that the designs of a study rule out everywhere."""
    status = study.runs.assign(label=study.labels(study.runs)).groupby("label")["status"]
    return {str(label) for label, part in status if (part == "not_applicable").all()}


def is_control(model: str) -> bool:
    """Whether a model only bounds the metrics."""
    return model in CONTROLS
