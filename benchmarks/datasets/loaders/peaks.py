"""One set of peaks for samples whose peaks were called separately."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.datasets.loaders.intervals import add_coordinates


def unify_peaks(tables: list[pd.DataFrame]) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Unite peaks that overlap by at least one base pair, over all samples.

    A stand-in for calling the peaks again on all fragments, which needs the fragment files. Counts in a united peak
    are the sum of those in its peaks, so a fragment that ends in two neighbouring peaks of one sample counts twice.

    Parameters
    ----------
    tables
        Feature table of each sample; coordinates are in ``chrom``, ``start``, ``end`` (half-open, base pairs), in
        ``interval``, or in the names.

    Returns
    -------
    list of numpy.ndarray
        For each table, the position of its peaks in the united set.
    pandas.DataFrame
        The united set with ``chrom``, ``start``, ``end``, named ``chrom:start-end``, sorted by chromosome (as text)
        and start; then features that are no interval, under their names.
    """
    located = []
    for number, table in enumerate(tables):
        table = table.copy()
        add_coordinates(table, names_are_intervals=True)
        if "chrom" not in table:
            table["chrom"], table["start"], table["end"] = None, -1, -1
        located.append(
            pd.DataFrame(
                {
                    "table": number,
                    "position": np.arange(len(table)),
                    "name": table.index.astype(str),
                    **{key: table[key].to_numpy() for key in ("chrom", "start", "end")},
                }
            )
        )
    every = pd.concat(located, ignore_index=True)
    known = every["chrom"].notna()
    peaks = every[known].sort_values(["chrom", "start", "end"], kind="stable")
    # A peak opens a new one if it begins at or behind the end of all before it on its chromosome.
    reach = peaks.groupby("chrom", sort=False)["end"].cummax()
    behind = reach.shift(fill_value=-1)
    opens = (peaks["chrom"] != peaks["chrom"].shift()) | (peaks["start"] >= behind)
    peaks = peaks.assign(group=np.cumsum(opens.to_numpy()) - 1)
    united = peaks.groupby("group").agg(chrom=("chrom", "first"), start=("start", "min"), end=("end", "max"))
    names = [f"{chrom}:{start}-{end}" for chrom, start, end in united.itertuples(index=False)]
    others = every[~known]
    other_names = pd.Index(pd.unique(others["name"]))
    var = pd.DataFrame(
        {
            "chrom": np.array([*united["chrom"], *[None] * len(other_names)], dtype=object),
            "start": np.array([*united["start"], *[-1] * len(other_names)], dtype=np.int64),
            "end": np.array([*united["end"], *[-1] * len(other_names)], dtype=np.int64),
        },
        index=pd.Index([*names, *other_names], dtype=object),
    )
    group = np.empty(len(every), dtype=np.int64)
    group[peaks.index] = peaks["group"]
    group[others.index] = len(united) + other_names.get_indexer(others["name"])
    return [group[(every["table"] == number).to_numpy()] for number in range(len(tables))], var
