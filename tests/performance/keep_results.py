"""Keeps what is small of a finished study: its tidy tables and its figures at reading size.

python tests/performance/keep_results.py results/real_sample_size docs/results
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from benchmarks.formats import read_table, write_table

TABLES = (
    "scores",
    "summary",
    "comparisons",
    "ranking",
    "mean_ranks",
    "variance",
    "variance_trends",
    "learning_curves",
    "plateaus",
    "advice",
    "exchange",
    "claims",
)
WIDTH, COLOURS = 1300, 256


def main() -> None:
    """Copy tables as Parquet, the runs without their paths, and shrunken figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("output", type=Path, help="a folder named by the study is made in it")
    arguments = parser.parse_args()
    target = arguments.output / arguments.study.name
    target.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        shutil.copyfile(arguments.study / f"{name}.parquet", target / f"{name}.parquet")
    runs = read_table(arguments.study / "runs.parquet")
    write_table(target / "runs.parquet", runs.drop(columns=["visible", "truth", "embedding", "prediction", "record"]))
    for figure in sorted((arguments.study / "figures").glob("*.png")):
        image = Image.open(figure).convert("RGB")
        image.thumbnail((WIDTH, 10 * WIDTH))
        image.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(target / figure.name, optimize=True)
    print(f"{sum(path.stat().st_size for path in target.iterdir()) / 1e6:.1f} MB in {target}")


if __name__ == "__main__":
    main()
