"""Does a learning curve hold at twice the largest size that it was fitted on? Measured on the simulator.

    OMP_NUM_THREADS=1 python tests/performance/predicted_size.py --models pca cca rna-pca --studies 10
    OMP_NUM_THREADS=1 python tests/performance/predicted_size.py --models cobolt --epochs 30 --studies 3

A study is a set of replicates of the fitted sizes, cut from one large simulated data set as the workflow cuts them; its
curves, made by the statistics that the report uses, are read at the predicted size. That size is then run on replicates
which no study has. Printed, for each model and metric: the first study's prediction with its 95 % interval, the measured
mean with its standard error, the share of studies whose interval holds the measured mean, and the mean error of the
predictions beside that of taking the mean at the largest fitted size.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

METRICS = ("nmi_leiden", "asw_cell_type", "label_knn_accuracy", "graph_connectivity", "trajectory_conservation")
FIRST_CHECK = 1000
"""Number of the first replicate of the predicted size; those of the studies count from 0."""


def measure(data, model: str, n_cells: int, replicate: int, epochs: int | None) -> list[dict]:
    """Train one model on one replicate; one row a metric."""
    from benchmarks.designs import DesignSpec, make_design
    from benchmarks.metrics.context import Context
    from benchmarks.metrics.score import score
    from models import registry
    from models.runner import choose_modalities

    spec = DesignSpec("simulated", tuple(data.modalities), n_cells=n_cells, replicate=replicate)
    visible, truth = make_design(data, spec)
    declared = registry.declaration(model)
    changes = {"epochs": epochs} if epochs and "epochs" in declared.defaults else {}
    trained = registry.model_class(model)(**declared.hyperparameters(changes))
    trained.fit(choose_modalities(visible, declared.modalities_for(tuple(visible.modalities))), 0, "cpu")
    table, _ = score(Context(trained.embed(), truth, visible, threads=1), METRICS)
    return [
        {"model": model, "n_cells": n_cells, "replicate": replicate, "metric": row.metric, "value": row.value}
        for row in table.itertuples()
        if row.status == "ok" and row.metric in METRICS  # without the parts of a metric
    ]


def compare(table: pd.DataFrame, sizes: list[int], target: int, replicates: int) -> pd.DataFrame:
    """Predictions of every study against what was measured: one row a (model, metric)."""
    from benchmarks.statistics.learning_curves import FORMS, fit_curve

    rows = []
    for (model, metric), part in table.groupby(["model", "metric"], sort=False):
        measured = part.loc[part["n_cells"] == target, "value"].to_numpy()
        wide = part[part["n_cells"] != target].pivot(index="replicate", columns="n_cells", values="value")[sizes]
        studies = []
        for start in range(0, len(wide), replicates):
            values = wide.iloc[start : start + replicates].to_numpy()
            curve = fit_curve(np.array(sizes), values)
            (predicted,), (low,), (high,) = curve.predict(target)
            studies.append((predicted, low, high, values[:, -1].mean(), curve.form))
        predicted, low, high, last = (np.array([study[i] for study in studies]) for i in range(4))
        forms = [study[4] for study in studies]
        rows.append(
            {
                "model": model,
                "metric": metric,
                "form": max(FORMS, key=forms.count),
                "predicted": f"{predicted[0]:.3f} ({low[0]:.3f} to {high[0]:.3f})",
                "measured": f"{measured.mean():.3f} ± {measured.std(ddof=1) / np.sqrt(len(measured)):.3f}",
                "held": f"{int(((low <= measured.mean()) & (measured.mean() <= high)).sum())} of {len(studies)}",
                "width": round(float(np.mean(high - low)), 4),
                "error": round(float(np.abs(predicted - measured.mean()).mean()), 4),
                "error of the last size": round(float(np.abs(last - measured.mean()).mean()), 4),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Run the studies and the predicted size, and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["pca", "cca", "rna-pca"])
    parser.add_argument("--epochs", type=int, help="of models that are trained for epochs (default: their own)")
    parser.add_argument("--sizes", nargs="+", type=int, default=[250, 350, 500, 700, 1000])
    parser.add_argument("--target", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=6, help="of a study")
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--checks", type=int, default=20, help="replicates of the predicted size")
    parser.add_argument("--population", type=int, default=20_000, help="cells that all replicates are drawn from")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated data set")
    options = parser.parse_args()

    from benchmarks.datasets.simulate import SimulationParameters, simulate

    started = time.process_time()
    data = simulate(SimulationParameters(modalities=("rna", "atac"), n_cells=options.population), seed=options.seed)
    designs = [(size, replicate) for size in options.sizes for replicate in range(options.studies * options.replicates)]
    designs += [(options.target, FIRST_CHECK + number) for number in range(options.checks)]
    rows = []
    for model in options.models:
        for size, replicate in designs:
            rows += measure(data, model, size, replicate, options.epochs)
    result = compare(pd.DataFrame(rows), options.sizes, options.target, options.replicates)
    print("| " + " | ".join(result.columns) + " |\n|" + "---|" * len(result.columns))
    for row in result.itertuples(index=False):
        print("| " + " | ".join(str(value) for value in row) + " |")
    print(f"\n{time.process_time() - started:.0f} processor seconds")


if __name__ == "__main__":
    main()
