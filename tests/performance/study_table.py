"""One metric of a finished study as a Markdown table: a row a model, a column a size or an unpaired fraction.

python tests/performance/study_table.py results/real_sample_size nmi_leiden
python tests/performance/study_table.py docs/results/real_unpairing rank_distance_fraction

Each cell is the median over subsamples and seeds of the runs that worked, with the smallest and the largest; of others it says
how many have which status (`missing`: the run failed, and runs.tsv says why).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from benchmarks.formats import read_table


def cell(block: pd.DataFrame, digits: int) -> str:
    """Median (smallest to largest), and the count of each other status."""
    values = block.loc[block["status"] == "ok", "value"].astype(float)
    parts = []
    if len(values):
        text = f"{values.median():,.{digits}f}"
        low, high = f"{values.min():,.{digits}f}", f"{values.max():,.{digits}f}"
        parts.append(text if low == high else f"{text} ({low} to {high})")
    others = block.loc[~block["status"].isin(["ok", "not_applicable"]), "status"].value_counts()
    parts += [f"{count} {status.replace('_', ' ')}" for status, count in others.items()]
    return ", ".join(parts)


def tables(scores: pd.DataFrame, metric: str, digits: int) -> list[str]:
    """Lines of one table a data set."""
    taken = scores[scores["metric"] == metric]
    if not len(taken):
        raise SystemExit(f"no metric {metric!r}; there are {', '.join(sorted(scores['metric'].unique()))}")
    axis = "n_cells" if taken["n_cells"].nunique() > 1 else "unpaired_fraction"
    lines = []
    for dataset, own in taken.groupby("dataset", sort=False):
        levels = sorted(own[axis].unique())
        heads = [f"{level:,.0f} cells" if axis == "n_cells" else f"{level:.0%} unpaired" for level in levels]
        lines += [
            "",
            f"`{dataset}`, {metric}",
            "",
            f"| model | {' | '.join(heads)} |",
            "|---" * (len(levels) + 1) + "|",
        ]
        for variant, block in own.groupby("variant", sort=False):
            cells = [cell(block[block[axis] == level], digits) for level in levels]
            if any(cells):
                lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the tables of the metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, or of its kept tables")
    parser.add_argument("metrics", nargs="+")
    parser.add_argument("--digits", type=int, default=2)
    arguments = parser.parse_args()
    path = arguments.study / "scores.parquet"
    scores = read_table(path) if path.exists() else read_table(path.with_suffix(".tsv"))
    for metric in arguments.metrics:
        print("\n".join(tables(scores, metric, arguments.digits)))


if __name__ == "__main__":
    main()
