"""Did every model run? Reads a finished study and prints one Markdown table: status and scores by data set.

python tests/performance/every_model.py results/every_model
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from benchmarks.formats import read_table

METRICS = ("nmi_leiden", "label_knn_accuracy", "rank_distance_fraction")


def main() -> None:
    """Print the table, then the reason of every run that is not ok."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, with scores.tsv and runs.tsv")
    folder = parser.parse_args().study
    scores, runs = read_table(folder / "scores.tsv"), read_table(folder / "runs.tsv")
    values = scores[scores["status"] == "ok"].set_index(["variant", "dataset", "unpaired_fraction", "metric"])["value"]
    designs = sorted({(row.dataset, row.unpaired_fraction) for row in runs.itertuples()})
    print("| model | " + " | ".join(f"{dataset}, {unpaired:.0%} unpaired" for dataset, unpaired in designs) + " |")
    print("|---" * (len(designs) + 1) + "|")
    states = {(row.variant, row.dataset, row.unpaired_fraction): row for row in runs.itertuples()}
    for variant in dict.fromkeys(runs["variant"]):
        cells = []
        for design in designs:
            row = states.get((variant, *design))
            if row is None or row.status == "not_applicable":
                cells.append("")
            elif row.status != "ok":
                cells.append(row.status.replace("_", " "))
            else:
                found = (values.get((variant, *design, metric)) for metric in METRICS)
                cells.append(" / ".join(f"{value:.2f}" for value in found if value is not None))
        print(f"| `{variant}` | " + " | ".join(cells) + " |")
    print(
        "\nNMI / label kNN accuracy / rank distance (a fraction of the observations; chance 0.5). Empty: not applicable.\n"
    )
    for row in runs.itertuples():
        if row.status not in ("ok", "not_applicable"):
            print(f"- `{row.variant}`, {row.dataset}, {row.unpaired_fraction:.0%} unpaired: {row.status}: {row.reason}")


if __name__ == "__main__":
    main()
