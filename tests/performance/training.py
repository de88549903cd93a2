"""Time an epoch of MultiVI native against scvi-tools' MULTIVI on the same cells, alternating, and print ratios.

Run as ``python tests/performance/training.py --cells 1800 --genes 2000 --peaks 10000 --threads 1``. Processor
seconds of the process stand beside wall seconds: on a busy machine only they mean something.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import time

import numpy as np


def design(n_cells: int, n_genes: int, n_peaks: int):
    """A paired simulated design."""
    from benchmarks.datasets.simulate import SimulationParameters, simulate
    from benchmarks.designs import DesignSpec, make_design

    modalities = ("rna", "atac")
    parameters = SimulationParameters(modalities=modalities, n_cells=n_cells, n_genes=n_genes, n_peaks=n_peaks)
    return make_design(simulate(parameters, seed=0), DesignSpec("simulated", modalities, n_cells=n_cells))[0]


def native(visible, epochs: int, device: str) -> tuple[float, float]:
    """Median wall and processor seconds an epoch, the first one left out."""
    from models.multivi_native import MultiVINative

    model, wall, cpu = MultiVINative(epochs=epochs + 1), [], []

    def progress(epoch: int, total: int, **losses: float) -> None:
        wall.append(time.perf_counter())
        cpu.append(time.process_time())

    model.progress = progress
    model.fit(visible, 0, device)
    return float(np.median(np.diff(wall))), float(np.median(np.diff(cpu)))


def upstream(visible, epochs: int, device: str) -> tuple[float, float]:
    """Mean wall and processor seconds an epoch, after a first training of one epoch."""
    import scvi

    data = visible.to_mudata()
    data.obs["batch"] = visible.obs["batch"].astype(str).to_numpy()
    layers = {"rna_layer": "rna", "atac_layer": "atac"}
    scvi.model.MULTIVI.setup_mudata(data, batch_key="batch", modalities=layers)
    model = scvi.model.MULTIVI(data)
    options = {"accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1, "enable_progress_bar": False}
    model.train(max_epochs=1, **options)
    wall, cpu = time.perf_counter(), time.process_time()
    model.train(max_epochs=epochs, **options)
    return (time.perf_counter() - wall) / epochs, (time.process_time() - cpu) / epochs


def main() -> None:
    """Print one line a repeat and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("cells", 1800),
        ("genes", 2000),
        ("peaks", 10000),
        ("epochs", 4),
        ("repeats", 2),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--native-only", action="store_true", help="skip scvi-tools (scaling with size)")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    visible = design(arguments.cells, arguments.genes, arguments.peaks)
    for modality, counts in visible.counts.items():
        print(f"{modality}: {counts.shape[0]} x {counts.shape[1]}, {counts.nnz / np.prod(counts.shape):.3f} nonzero")
    ratios = []
    for repeat in range(arguments.repeats):
        ours = native(visible, arguments.epochs, arguments.device)
        line = f"repeat {repeat}: native {ours[0]:.3f} s wall, {ours[1]:.3f} s processor an epoch"
        if not arguments.native_only:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                theirs = upstream(visible, arguments.epochs, arguments.device)
            ratios.append((theirs[0] / ours[0], theirs[1] / ours[1]))
            line += f"; scvi-tools {theirs[0]:.3f}, {theirs[1]:.3f}; ratio {ratios[-1][0]:.2f}, {ratios[-1][1]:.2f}"
        print(line, flush=True)
    if ratios:
        wall, cpu = np.median(ratios, axis=0)
        print(f"median ratio: {wall:.2f} wall, {cpu:.2f} processor")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
