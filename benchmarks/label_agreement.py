"""Labels of neighbours in other modalities, label by label: what the mean agreement of labels across modalities hides."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from benchmarks.collect import IDENTITY
from benchmarks.formats import H5mu, Multimodal, read_embedding
from benchmarks.metrics.context import Context
from benchmarks.metrics.mixing import cross_modality_table
from benchmarks.statistics.keys import with_clean_status
from benchmarks.statistics.summary import without_flagged

METRIC = "cross_modality_label_agreement"
"""The metric whose mean the table is behind: only runs with a value of it are in the table."""

RUN = ("dataset", "design", "n_cells", "unpaired_fraction", "replicate", "model", "variant", "seed")

COLUMNS = (*RUN, "label", "neighbour_label", "share")
"""Columns of the table: one row a (run, label, label of neighbours)."""


def choose_runs(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """One run a (data set, variant): the first replicate and seed with a value, at the largest number of cells.

    Of several unpaired fractions the lowest at which any model has a value is taken. Runs with a degenerate embedding
    have none. Where a variant has no value in that condition, it is not there: another condition would not compare.

    Parameters
    ----------
    runs
        One row a run.
    scores
        Tidy scores of the same runs.

    Returns
    -------
    pandas.DataFrame
        Rows of `runs`, sorted.
    """
    found = with_clean_status(scores[scores["metric"] == METRIC])
    found = found.loc[found["status"] == "ok", list(IDENTITY)].drop_duplicates()
    runs = runs[runs["status"] == "ok"]
    if runs.empty or found.empty:
        return runs.iloc[:0]
    runs = without_flagged(runs[runs["embedding"].notna()], runs).merge(found, on=list(IDENTITY))
    runs = runs[runs["n_cells"] == runs.groupby("dataset")["n_cells"].transform("max")]
    runs = runs[runs["unpaired_fraction"] == runs.groupby("dataset")["unpaired_fraction"].transform("min")]
    order = ["dataset", "model", "variant", "replicate", "seed"]
    return runs.sort_values(order).drop_duplicates(order[:3]).reset_index(drop=True)


def compute_label_agreement(
    runs: pd.DataFrame, scores: pd.DataFrame, results_dir: str | os.PathLike, threads: int | None = None
) -> pd.DataFrame:
    """The labels x labels shares behind :data:`METRIC`, of one run a (data set, variant) (:func:`choose_runs`).

    Ashuach et al. 2023, Supplementary Figure 5d: labels of the 50 nearest cells of another modality.

    Parameters
    ----------
    runs
        One row a run, with ``embedding`` and ``truth``: paths relative to `results_dir`.
    scores
        Tidy scores of the same runs.
    results_dir
        Folder of the results.
    threads
        Number of threads; values do not depend on it.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`; ``share`` (float64, in [0, 1]) of the neighbours of the observations of ``label`` that have
        ``neighbour_label``: adds up to 1 over the latter. Labels without an observation of a single modality have no rows.
    """
    results_dir = Path(results_dir)
    tables, labels = [], {}
    for run in choose_runs(runs, scores).itertuples(index=False):
        if run.truth not in labels:
            with H5mu(results_dir / run.truth) as file:
                labels[run.truth] = file.obs
        embedding = read_embedding(results_dir / run.embedding)
        table = cross_modality_table(Context(embedding, Multimodal(labels[run.truth], {}, {}), threads=threads))
        table = table[table.groupby("label")["share"].transform("sum") > 0]
        tables.append(table.assign(**{name: getattr(run, name) for name in RUN})[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
