"""Is every model above chance? Reads a study's scores and prints one table a data set.

    python tests/performance/fidelity/above_chance.py results/composed_models

A model's mean over training seeds is set against the random control's: z is the difference divided by the standard
error of the difference (both variances over seeds, unequal: Welch's). Three or more is above chance. A standard
deviation of zero (deterministic models) leaves the control's own variance in the denominator.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent.parent))
from benchmarks.formats import read_table

METRICS = {"nmi_leiden": "NMI", "label_knn_accuracy": "kNN accuracy", "rank_distance_fraction": "rank distance"}
LOWER_IS_BETTER = {"rank_distance_fraction"}
REFERENCE = "rna-pca"


def against_random(values: pd.Series, control: pd.Series, lower_is_better: bool) -> float:
    """Difference of the means in standard errors, positive when `values` are better than `control`."""
    error = math.sqrt(values.var(ddof=1) / len(values) + control.var(ddof=1) / len(control))
    difference = values.mean() - control.mean()
    if lower_is_better:
        difference = -difference
    return difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0


def table(scores: pd.DataFrame) -> list[dict]:
    """One row a (data set, unpaired fraction, model): mean, standard deviation and z of each metric."""
    rows = []
    for (dataset, unpaired), block in scores.groupby(["dataset", "unpaired_fraction"], sort=True):
        for variant, own in block.groupby("variant", sort=False):
            row = {"dataset": dataset, "unpaired": unpaired, "model": variant, "status": "ok"}
            for metric in METRICS:
                taken = own[own["metric"] == metric]
                values = taken.loc[taken["status"] == "ok", "value"]
                control = block[
                    (block["variant"] == "random") & (block["metric"] == metric) & (block["status"] == "ok")
                ]
                if len(values) < 2 or len(control) < 2:
                    failed = taken[taken["status"] != "ok"]
                    if len(failed) and metric == "nmi_leiden":
                        row["status"] = f"{failed['status'].iloc[0]}: {failed['reason'].iloc[0]}"
                    continue
                row[metric] = (
                    values.mean(),
                    values.std(ddof=1),
                    against_random(values, control["value"], metric in LOWER_IS_BETTER),
                    len(values),
                )
            rows.append(row)
    return rows


def markdown(rows: list[dict]) -> str:
    """The rows as Markdown, one table a data set and unpaired fraction; z below 3 in bold."""
    lines = []
    for dataset, unpaired in dict.fromkeys((row["dataset"], row["unpaired"]) for row in rows):
        block = [row for row in rows if (row["dataset"], row["unpaired"]) == (dataset, unpaired)]
        reference = next((row for row in block if row["model"] == REFERENCE), {})
        lines += ["", f"### {dataset}, {unpaired:.0%} unpaired", ""]
        lines += [f"| model | seeds | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 2) + "|"]
        for row in block:
            if row["status"] != "ok":
                lines.append(f"| {row['model']} | | {row['status']} |" + " |" * (len(METRICS) - 1))
                continue
            cells, seeds = [], ""
            for metric in METRICS:
                if metric not in row:
                    cells.append("")
                    continue
                mean, deviation, z, count = row[metric]
                text = f"{mean:.2f} ± {deviation:.2f}"
                if row["model"] not in ("random", "oracle"):
                    text += f" (z {z:.0f})" if z >= 3 else f" (**z {z:.1f}**)"
                    if metric in reference and row["model"] != REFERENCE:
                        better = (mean > reference[metric][0]) != (metric in LOWER_IS_BETTER)
                        text += " ↑" if better else ""
                cells.append(text)
                seeds = str(count)
            lines.append(f"| {row['model']} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, then the rows that are not above chance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, with scores.tsv")
    arguments = parser.parse_args()
    rows = table(read_table(arguments.study / "scores.tsv"))
    print(markdown(rows))
    print("\nMean ± standard deviation over seeds; z against the random control; ↑ better than PCA of RNA alone.\n")
    for row in rows:
        for metric, name in METRICS.items():
            if metric in row and row["model"] not in ("random", "collapsed") and row[metric][2] < 3:
                print(f"not above chance: {row['model']} on {row['dataset']}, {row['unpaired']:.0%} unpaired: {name}")


if __name__ == "__main__":
    main()
