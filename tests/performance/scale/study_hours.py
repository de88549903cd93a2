"""Jobs, CPU hours and overhead of every full study, extrapolated from trainings that were recorded.

Two steps, of which the first has been done (its table lies beside this file):

    python tests/performance/scale/study_hours.py collect FOLDER_OF_RESULTS ... > measured_seconds.tsv
    python tests/performance/scale/study_hours.py estimate

`collect` reads the run records under ``shared/runs`` of results folders. `estimate` plans each study of
``config/studies`` and multiplies, for every run, the largest recorded training of its model by

- the length that its hyperparameters ask for over that of the record (epochs, iterations or steps; without early
  stopping, so that it is an upper bound);
- (observations / recorded observations) ** 1, or, of models whose length is in mini-batches, ** 0;
- (features / recorded features) ** 0.82 for models trained by epochs or mini-batches, ** 1 for the others.

The exponents are those of ``docs/performance_training.md``, measured with `multivi-native`, and are assumed to hold for the
others. Scoring is that of ``docs/performance.md``. Features of data sets that no paper states are marked as assumed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT))

TABLE = Path(__file__).with_name("measured_seconds.tsv")
LENGTHS = ("epochs", "max_epochs", "n_iterations", "training_steps", "max_iteration", "iteration", "max_iter")
"""Hyperparameters that say how long a model trains."""

BY_STEPS = {"portal", "scalex", "scmomat", "portal-sc", "scalex-package"}
"""Models whose length is a number of mini-batches, whatever the number of cells."""

FEATURES = {
    # genes, peaks, proteins, and whether a paper or the data's release states them
    "neurips_bmmc_multiome": ((13431, 116490, 0), True),
    "neurips_bmmc_multiome_sites": ((13431, 116490, 0), True),
    "neurips_bmmc_cite": ((13953, 0, 134), True),
    "share_gm12878_rep3": ((8000, 23000, 0), True),
    "human_cortex_multiome": ((15172, 95677, 0), True),
    "gastrulation_multiome": ((11792, 69862, 0), True),
    "gastrulation_multiome_all": ((32285, 192251, 0), True),
    "pbmc_unsorted_multiome": ((15000, 90000, 0), False),
    "snare_mouse_cortex": ((1677, 25734, 0), True),
    "scicar_a549": ((1185, 28196, 0), True),
    "pbmc10k_cite": ((4000, 0, 14), True),
    "bmmc_multiome": ((1134, 600, 0), True),
    "bmmc_cite": ((1158, 0, 134), True),
    "simulated_multiome": ((1000, 4000, 0), True),
    "simulated_multiome_large": ((8000, 23000, 0), True),
    "simulated_cite": ((1000, 0, 40), True),
    "simulated": ((1000, 4000, 40), True),
    "dogma_pbmc": ((15000, 60000, 210), False),
    "tea_pbmc": ((12000, 60000, 46), False),
}
FILTERED = {"gastrulation_multiome_all": (11792, 69862, 0)}
"""Features in 5 % of the cells, as the paper counts them, where a design filters by `min_cell_fraction`."""

ASSUMED = (15000, 60000, 0)
"""Of the remaining ones."""

OVERHEAD = {"training": 2.7, "scoring": 1.4, "design": 1.4, "snakemake": 0.04}
"""CPU seconds a job beside its work, from `overhead.py`: see docs/scale.md."""


def scoring_seconds(observations: float) -> float:
    """CPU seconds of all metrics: 2.5, and from 10,000 observations on 8.2 (n / 10,000) ** 1.37 (docs/performance.md)."""
    return max(2.5, 8.2 * (observations / 1e4) ** 1.37)


def length(hyperparameters: dict) -> float:
    """Epochs, iterations or steps that a model is asked to train for; 1 for a model without any."""
    for name in LENGTHS:
        if hyperparameters.get(name):
            return float(hyperparameters[name])
    return 1.0


def collect(folders: list[Path]) -> pd.DataFrame:
    """Medians of the recorded trainings that ended well: one row a model, design's size and length."""
    from benchmarks.formats import H5mu, read_json
    from models import registry

    rows = []
    for folder in folders:
        for path in sorted((folder / "shared" / "runs").glob("*/*/*/*/record.json")):
            record, design = read_json(path), path.parents[2]
            visible = folder / "shared" / "designs" / design.parent.name / design.name / "visible.h5mu"
            if record["status"] != "ok" or record["model"] not in registry.names() or not visible.is_file():
                continue
            with H5mu(visible) as file:
                used = registry.declaration(record["model"]).modalities_for(tuple(file.modalities)) or ()
                features = sum(file.shape(modality)[1] for modality in used)
            rows.append(
                {
                    "model": record["model"],
                    "dataset": design.parent.name.split(".")[0],
                    "observations": record["n_observations"],
                    "features": features,
                    "length": length(record["hyperparameters"]),
                    "epochs": record["epochs"],
                    "cpu_seconds": round(record["cpu_seconds"], 2),
                    "wall_seconds": round(record["wall_seconds"], 2),
                }
            )
    keys = ["model", "dataset", "observations", "features", "length"]
    return pd.DataFrame(rows).groupby(keys)[["epochs", "cpu_seconds", "wall_seconds"]].median().round(2).reset_index()


def training_seconds(table: pd.DataFrame, run, observations: float, features: float) -> float | None:
    """CPU seconds of a planned training; ``None`` where no training of its model was recorded."""
    rows = table[table["model"] == run.variant.model]
    if not len(rows):
        return None
    record = rows.iloc[int((rows["observations"] * rows["features"]).to_numpy().argmax())]
    iterative = length(run.hyperparameters) > 1
    cells = 1.0 if run.variant.model in BY_STEPS else observations / record["observations"]
    width = (features / record["features"]) ** (0.82 if iterative else 1.0)
    return float(record["cpu_seconds"] * length(run.hyperparameters) / record["length"] * cells * width)


def features_of(design) -> dict[str, float]:
    """Modality -> features of a design, before those that its cells lack are dropped."""
    counts, _ = FEATURES.get(design.spec.dataset, (ASSUMED, False))
    result = {}
    for place, (modality, number) in enumerate(zip(("rna", "atac", "protein"), counts)):
        settings = design.spec.features.get(modality, {})
        if settings.get("min_cell_fraction"):
            number = FILTERED.get(design.spec.dataset, counts)[place]
        number = number * settings.get("top_fraction", 1.0)
        result[modality] = min(number, settings.get("highly_variable", number))
    return result


def observations_of(design, study) -> float:
    """Observations of a design: cells, halves of split cells, and test cells."""
    entry = next(item.entry for item in study.datasets if item.name == design.spec.dataset)
    available = entry.n_cells_available(study.data_dir) or 10000
    cells = design.spec.n_cells or available * (1 - design.spec.test_fraction)
    split = design.spec.unpaired_fraction * (len(design.spec.modalities) - 1)
    return cells * (1 + split) + available * design.spec.test_fraction


def estimate(path: Path, table: pd.DataFrame, data_dir: str | None = None) -> dict:
    """Totals of one study."""
    from benchmarks.documents import load_yaml
    from workflow.configuration import load_study
    from workflow.planning import make_plan

    config = load_yaml(path) if data_dir is None else {**load_yaml(path), "data_dir": data_dir}
    plan = make_plan(load_study(config, [path], check_output=False))
    seconds, unknown, longest, scoring, share = 0.0, set(), (0.0, ""), 0.0, {}
    for run in plan.trained:
        observations, features = observations_of(run.design, plan.study), features_of(run.design)
        cost = training_seconds(table, run, observations, sum(features.get(name, 0) for name in run.modalities))
        scoring += scoring_seconds(observations)
        if cost is None:
            unknown.add(run.variant.model)
            continue
        cost = min(cost, plan.study.wall_minutes * 60)
        seconds += cost
        longest = max(longest, (cost, f"{run.variant.name}, {observations:,.0f} observations"))
        share[run.variant.name] = share.get(run.variant.name, 0.0) + cost
    n = len(plan.trained)
    jobs = len(plan.datasets) + len(plan.designs) + 2 * n + 7
    overhead = n * (OVERHEAD["training"] + OVERHEAD["scoring"]) + len(plan.designs) * OVERHEAD["design"]
    overhead += jobs * OVERHEAD["snakemake"]
    first = max(share, key=share.get)
    return {
        "study": f"`{plan.study.name}`",
        "jobs": f"{jobs:,}",
        "training, CPU h": f"{seconds / 3600:,.0f}",
        "scoring, CPU h": f"{scoring / 3600:,.1f}",
        "overhead, CPU h": f"{overhead / 3600:,.1f}",
        "overhead / work": f"{overhead / (seconds + scoring):.1%}",
        "longest training": f"{longest[0] / 3600:.1f} h ({longest[1]})",
        "most of the time": f"{first}, {share[first] / seconds:.0%}",
        "not counted": ", ".join(sorted(unknown)),
    }


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("collect")
    mode.add_argument("folders", type=Path, nargs="+")
    mode = modes.add_parser("estimate")
    mode.add_argument("studies", type=Path, nargs="*", help="study files (default: the papers' full studies)")
    mode.add_argument("--data-dir", help="data folder, for studies of files that are there")
    options = parser.parse_args()
    if options.mode == "collect":
        collect(options.folders).to_csv(sys.stdout, sep="\t", index=False, lineterminator="\n")
        return
    table = pd.read_csv(TABLE, sep="\t")
    small = sorted((ROOT / "config" / "studies").glob("*_small.yaml"))
    studies = options.studies or [path.with_name(path.name.replace("_small", "")) for path in small]
    rows = [estimate(path, table, options.data_dir) for path in studies]
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
