"""Is every model above chance? Reads the scores of studies and prints one table a data set.

    python tests/performance/fidelity/above_chance.py results/composed_models [--keep docs/above_chance.tsv]
    python tests/performance/fidelity/above_chance.py docs/above_chance.tsv
    python tests/performance/fidelity/above_chance.py results/composed_models --history multidgd

``--history`` shows how a model's loss of held-out cells fell, from the records of its runs. ``--keep`` writes each run's
scores to a small file, which is read in the place of studies: five seeds of all models take hours, and can be run in
parts (studies that share a `results_dir` share their runs).

A model's mean over training seeds is set against the random control's: z is the difference divided by the standard
error of the difference (both variances over seeds, unequal: Welch's). Three or more is above chance. A standard
deviation of zero (deterministic models) leaves the control's own variance in the denominator.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent.parent))
from benchmarks.formats import read_table, write_table

METRICS = {"nmi_leiden": "NMI", "label_knn_accuracy": "kNN accuracy", "rank_distance_fraction": "rank distance"}
LOWER_IS_BETTER = {"rank_distance_fraction"}
REFERENCE = "rna-pca"
RUN = ["dataset", "n_cells", "unpaired_fraction", "replicate", "variant", "seed"]


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


def gathered(sources: list[Path]) -> pd.DataFrame:
    """The scores of all runs of studies' folders and of tables, a run that is in several taken from the last one."""
    parts = [read_table(path / "scores.tsv" if path.is_dir() else path) for path in sources]
    columns = [*RUN, "metric", "value", "status", "reason"]
    scores = pd.concat(parts)[columns]
    scores = scores[scores["metric"].isin(METRICS)].drop_duplicates([*RUN, "metric"], keep="last")
    return scores.sort_values([*RUN, "metric"], ignore_index=True)


EPOCHS = (1, 10, 25, 50, 100, 150, 200, 300, 400, 500, 750, 1000)
"""Epochs of which ``--history`` shows the loss."""


def histories(study: Path, model: str) -> list[str]:
    """Lines of a table: a model's held-out loss (reconstruction, where it is told apart) by epoch, mean over its runs."""
    runs = read_table(study / "runs.tsv")
    lines = []
    for (dataset, n_cells, unpaired), block in runs[(runs["variant"] == model) & (runs["status"] == "ok")].groupby(
        ["dataset", "n_cells", "unpaired_fraction"], sort=True
    ):
        kept = [json.loads((study.parent / record).read_text())["loss_history"] for record in block["record"]]
        names = [name for name in ("validation_reconstruction", "validation_loss", "loss") if name in kept[0]]
        if not names:
            continue
        losses = [history[names[0]] for history in kept]
        shown = [epoch for epoch in EPOCHS if any(len(loss) >= epoch for loss in losses)]
        reached = [[loss[epoch - 1] for loss in losses if len(loss) >= epoch] for epoch in shown]
        cells = [f"{statistics.fmean(values):.1f}" for values in reached]
        ends = ", ".join(str(len(loss)) for loss in losses)
        lines += [
            "",
            f"{model}, {dataset}, {n_cells} cells, {unpaired:.0%} unpaired: {names[0]} (ended after {ends})",
            "",
        ]
        lines += ["| epoch | " + " | ".join(map(str, shown)) + " |", "|---" * (len(shown) + 1) + "|"]
        lines += [f"| {names[0].replace('_', ' ')} | " + " | ".join(cells) + " |"]
    return lines


def main() -> None:
    """Print the tables, then the rows that are not above chance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, nargs="+", help="folders of finished studies, or tables by --keep")
    parser.add_argument("--keep", type=Path, help="write the scores of all runs to this table")
    parser.add_argument(
        "--history", metavar="MODEL", help="print how this model's held-out loss fell, and nothing else"
    )
    arguments = parser.parse_args()
    if arguments.history:
        print("\n".join(line for study in arguments.scores for line in histories(study, arguments.history)))
        return
    scores = gathered(arguments.scores)
    if arguments.keep:
        write_table(arguments.keep, scores)
    rows = table(scores)
    print(markdown(rows))
    print("\nMean ± standard deviation over seeds; z against the random control; ↑ better than PCA of RNA alone.\n")
    for row in rows:
        for metric, name in METRICS.items():
            if metric in row and row["model"] not in ("random", "collapsed") and row[metric][2] < 3:
                print(f"not above chance: {row['model']} on {row['dataset']}, {row['unpaired']:.0%} unpaired: {name}")


if __name__ == "__main__":
    main()
