"""Train models on the CPU, on the GPU, and on the GPU with kernels that need not be reproducible; compare cost and scores.

    python tests/performance/devices.py --cells 800 --epochs 60 --seeds 0 1 2 --output devices.tsv

Every training goes through the runner, as in the workflow. Printed are, for each model that uses a GPU, medians over the
seeds of seconds, seconds an epoch, host and device memory and scores; for each score the largest difference between CPU and
GPU beside the spread over seeds on the CPU, which is what agreement can mean for stochastic training; and whether two
trainings with the same seed on the GPU gave the same bytes. Where there is no CUDA device the CPU part runs, and the rest
is said to be missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.formats import file_sha256, read_embedding, write_h5mu
from models import devices, registry
from models.runner import TrainingJob, train

SCORES = ("nmi_leiden", "label_knn_accuracy", "rank_distance")
SETTINGS = (("cpu", True), ("cuda", True), ("cuda", False))
"""Device, and whether kernels have to be reproducible."""


def design(n_cells: int, folder: Path):
    """A simulated design of RNA and ATAC, half unpaired, and one all paired; name -> (visible, truth, path)."""
    from benchmarks.datasets.simulate import SimulationParameters, simulate
    from benchmarks.designs import DesignSpec, make_design

    modalities = ("rna", "atac", "protein")
    parameters = SimulationParameters(modalities=modalities, n_cells=n_cells)
    data, made = simulate(parameters, seed=0), {}
    for name, chosen, fraction in (
        ("unpaired", ("rna", "atac"), 0.5),
        ("paired", ("rna", "atac"), 0.0),
        ("cite", ("rna", "protein"), 0.0),
    ):
        visible, truth = make_design(data, DesignSpec("simulated", chosen, n_cells=n_cells, unpaired_fraction=fraction))
        write_h5mu(folder / f"{name}.h5mu", visible)
        made[name] = (visible, truth, folder / f"{name}.h5mu")
    return made


def suitable(declared, designs) -> tuple[str, tuple[str, ...]] | None:
    """The first of the designs that a model can take, and the modalities that it uses of it."""
    for name, (visible, _, _) in designs.items():
        fraction = 0.5 if name == "unpaired" else 0.0
        if declared.reason_not_applicable(tuple(visible.modalities), fraction) is None:
            return name, declared.modalities_for(tuple(visible.modalities))
    return None


def measure(model: str, designs, options, folder: Path, device: str, deterministic: bool, seed: int) -> dict:
    """One training: cost, scores and digest of the embedding."""
    from benchmarks.metrics.context import Context
    from benchmarks.metrics.score import score

    declared = registry.declaration(model)
    name, modalities = suitable(declared, designs)
    visible, truth, path = designs[name]
    changes = {key: options.epochs for key in ("max_epochs", "n_epochs", "epochs") if key in declared.defaults}
    job = TrainingJob(
        design=path, model=model, variant=model, hyperparameters=changes, modalities=modalities, seed=seed, device=device,
        threads=options.threads, wall_seconds=options.wall_seconds, deterministic=deterministic,
        embedding=folder / "e.h5ad", prediction=folder / "p.h5mu", record=folder / "r.json",
    )  # fmt: skip
    record = train(job)
    row = {
        "model": model, "design": name, "device": device, "deterministic": deterministic, "seed": seed,
        **{key: getattr(record, key) for key in ("status", "reason", "wall_seconds", "seconds_per_epoch", "gpu_seconds",
                                                   "peak_rss_mb", "peak_device_mb", "epochs")},
        "warnings": "; ".join(record.warnings), "sha256": file_sha256(job.embedding),
    }  # fmt: skip
    if record.status == "ok":
        table, _ = score(Context(read_embedding(job.embedding), truth, visible, record=record), SCORES)
        for item in table[table["status"] == "ok"].itertuples():
            row[item.metric] = item.value
    return row


def report(table: pd.DataFrame, cuda: bool) -> None:
    """Print what was measured."""
    cost = ["wall_seconds", "seconds_per_epoch", "peak_rss_mb", "peak_device_mb"]
    scores = [name for name in table.columns if name.startswith(SCORES)]
    ok = table[table["status"] == "ok"]
    keys = ["model", "device", "deterministic"]
    print(ok.groupby(keys)[cost + scores].median(numeric_only=True).round(3).to_string())
    for row in table[table["status"] != "ok"].itertuples():
        print(f"{row.model} on {row.device}, seed {row.seed}: {row.status}: {row.reason}")
    if not cuda:
        print(
            "No CUDA device: time and memory on a GPU, its agreement with the CPU, and the cost of determinism are missing."
        )
        return
    for model, rows in ok.groupby("model"):
        cpu = rows[rows["device"] == "cpu"].set_index("seed")
        gpu = rows[(rows["device"] == "cuda") & rows["deterministic"]]
        fast = rows[(rows["device"] == "cuda") & ~rows["deterministic"]]
        same = gpu.groupby("seed")["sha256"].nunique().eq(1).all()
        gpu = gpu.drop_duplicates("seed").set_index("seed")
        parts = [f"same bytes twice on the GPU: {'yes' if same else 'NO'}"]
        if len(cpu) and len(gpu):
            parts.append(f"GPU {cpu['wall_seconds'].median() / gpu['wall_seconds'].median():.1f} times as fast")
            for name in scores:
                difference = (cpu[name] - gpu[name]).abs().max()
                if np.isfinite(difference):
                    parts.append(
                        f"{name}: CPU - GPU at most {difference:.3f}, spread over seeds {np.ptp(cpu[name]):.3f}"
                    )
        if len(gpu) and len(fast):
            ratio = gpu["wall_seconds"].median() / fast["wall_seconds"].median()
            parts.append(f"determinism costs a factor {ratio:.2f}")
        print(f"{model}: {'; '.join(parts)}")


def main() -> None:
    """Measure, print, and write the table if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="default: all of the registry that use a GPU and are installed")
    parser.add_argument("--cells", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall-seconds", type=float, default=1800)
    parser.add_argument("--output", type=Path, help="write every training as a row of this TSV file")
    options = parser.parse_args()
    names = options.models or [name for name in registry.names() if registry.declaration(name).gpu]
    cuda = bool(devices.visible())
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        designs = design(options.cells, folder)
        for model in names:
            if suitable(registry.declaration(model), designs) is None:
                print(f"{model}: takes none of the designs ({', '.join(designs)}); left out", file=sys.stderr)
                continue
            for device, deterministic in SETTINGS if cuda else SETTINGS[:1]:
                for seed in options.seeds:
                    # Twice on the GPU: whether the kernels are reproducible is measured, not believed.
                    for _ in range(2 if device == "cuda" and deterministic else 1):
                        rows.append(measure(model, designs, options, folder, device, deterministic, seed))
    table = pd.DataFrame(rows)
    if options.output:
        table.to_csv(options.output, sep="\t", index=False)
    report(table, cuda)


if __name__ == "__main__":
    main()
