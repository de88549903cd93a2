"""Time an epoch of MultiVI native against scvi-tools' MULTIVI on the same cells, alternating, and print ratios.

Run as ``python tests/performance/training.py --cells 1800 --genes 2000 --peaks 10000 --threads 1``. Processor
seconds of the process stand beside wall seconds: on a busy machine only they mean something. Beside them stands the
floor: the decoders' matrix products alone, timed in the same minute, by torch.mm and by what the training uses.
Other modes, without scvi-tools: ``--native-only`` (time and peak memory), ``--scaling`` (exponents of an epoch's
cost) and ``--profile``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))


def design(n_cells: int, n_genes: int, n_peaks: int):
    """A paired simulated design."""
    from benchmarks.datasets.simulate import SimulationParameters, simulate
    from benchmarks.designs import DesignSpec, make_design

    modalities = ("rna", "atac")
    parameters = SimulationParameters(modalities=modalities, n_cells=n_cells, n_genes=n_genes, n_peaks=n_peaks)
    return make_design(simulate(parameters, seed=0), DesignSpec("simulated", modalities, n_cells=n_cells))[0]


def design_from_elsewhere(*sizes: int):
    """The design, made in another process, so that the simulation does not count in this one's peak memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        visible = pool.submit(design, *sizes).result()
    for modality, counts in visible.counts.items():
        print(f"{modality}: {counts.shape[0]} x {counts.shape[1]}, {counts.nnz / np.prod(counts.shape):.3f} nonzero")
    return visible


def peak_memory() -> float:
    """Peak resident memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.train(max_epochs=1, **options)
        wall, cpu = time.perf_counter(), time.process_time()
        model.train(max_epochs=epochs, **options)
    return (time.perf_counter() - wall) / epochs, (time.process_time() - cpu) / epochs


def floor(visible, batch_size: int = 128, validation: float = 0.1, fast: bool = False) -> float:
    """Processor seconds of an epoch's matrix products of the decoders' output layers, and of nothing else.

    By ``torch.mm``, or if `fast` by :func:`models.parts.products.product`, which the training uses.
    """
    import torch

    from models.parts.products import product

    n_genes, n_peaks = (visible.counts[modality].shape[1] for modality in ("rna", "atac"))
    width, n_out = min(128, int(n_peaks**0.5)), 2 * n_genes + n_peaks
    hidden, weight = torch.randn(batch_size, width), torch.randn(n_out, width)
    logits, by_hidden = torch.randn(n_out, batch_size), torch.empty(width, batch_size)
    by_weight, hidden_t, weight_t = torch.empty_like(weight), hidden.t().contiguous(), weight.t().contiguous()
    steps = np.array([1 - validation, validation]) * visible.n_obs / batch_size
    forward, backward = [], []
    for _ in range(10):
        started = time.process_time()
        product(weight, hidden) if fast else torch.mm(weight, hidden_t, out=logits)
        forward.append(time.process_time() - started)
        product(logits, hidden_t) if fast else torch.mm(logits, hidden, out=by_weight)
        product(weight_t, logits.t()) if fast else torch.mm(weight.t(), logits, out=by_hidden)
        backward.append(time.process_time() - started - forward[-1])
    return float(steps.sum() * np.median(forward) + steps[0] * np.median(backward))


def compare(visible, arguments) -> None:
    """Print one line a repeat and the median ratios."""
    rows = []
    for repeat in range(arguments.repeats):
        row = (*native(visible, arguments.epochs, arguments.device), floor(visible), floor(visible, fast=True))
        if not arguments.native_only:
            row += upstream(visible, arguments.epochs, arguments.device)
        rows.append(row)
        line = "repeat {}: native {:.3f} s wall, {:.3f} s processor an epoch; floor {:.3f}, fast {:.3f}"
        line = line.format(repeat, *row)
        print(line + ("; scvi-tools {:.3f}, {:.3f}".format(*row[4:]) if row[4:] else ""), flush=True)
    rows = np.array(rows)
    print("medians: " + " ".join(f"{value:.3f}" for value in np.median(rows, axis=0)))
    over, over_fast = np.median(rows[:, [1]] / rows[:, 2:4], axis=0)
    print(f"processor over floor, median: {over:.2f}, over the fast one {over_fast:.2f}")
    if rows.shape[1] > 4:
        wall, cpu = np.median(rows[:, 4:] / rows[:, :2], axis=0)
        print(f"scvi-tools over native, median: {wall:.2f} wall, {cpu:.2f} processor")
    print(f"peak memory of the process: {peak_memory():.2f} GB")


def scaling(arguments) -> None:
    """Print processor seconds an epoch over several sizes and the exponents fitted to them."""
    cells, genes, peaks = arguments.cells, arguments.genes, arguments.peaks
    series = {
        "cells": [(number, genes, peaks) for number in (500, 1000, 2000, 4000, 8000)],
        "features": [(cells, int(genes * factor), int(peaks * factor)) for factor in (0.5, 1, 2, 4)],
    }
    for name, sizes in series.items():
        seconds = [native(design(*size), arguments.epochs, arguments.device)[1] for size in sizes]
        along = [size[0] if name == "cells" else size[1] + size[2] for size in sizes]
        exponent = np.polyfit(np.log(along), np.log(seconds), 1)[0]
        for size, value in zip(sizes, seconds):
            print(f"{size[0]} cells, {size[1]} genes, {size[2]} peaks: {value:.3f} s processor an epoch")
        print(f"epoch ~ {name}^{exponent:.2f}", flush=True)


def profile(visible, arguments) -> None:
    """Print processor milliseconds an epoch of some functions; a part's time is within that of its caller."""
    import torch

    from models.networks import multivi
    from models.parts import compiled_losses, counts, loss_kernels, output_losses, sparse_linear, trainer

    spent: Counter = Counter()

    def timed(function, label):
        def inner(*positional, **named):
            started = time.process_time()
            result = function(*positional, **named)
            spent[label] += time.process_time() - started
            return result

        return inner

    autograd = {
        "sparse first layers": sparse_linear._SparseProduct,
        "accessibility output and likelihood": output_losses._FactoredBernoulli,
        "expression outputs and likelihood": output_losses._ZeroInflatedNegativeBinomial,
    }
    for label, function in autograd.items():
        for name in ("forward", "backward"):
            setattr(function, name, staticmethod(timed(getattr(function, name), label)))
    for owner, name, label in (
        (trainer.Trainer, "_run_epoch", "epoch"),
        (trainer.Trainer, "_validate", "validation, its parts below included"),
        (counts.DesignCounts, "minibatch", "cutting mini-batches"),
        (counts.CountMatrix, "rows", "of that, rows of counts"),
        (compiled_losses, "product", "products of the output layers"),
        (loss_kernels, "factored_bernoulli", "compiled loop of accessibility"),
        (loss_kernels, "zero_inflated_negative_binomial", "compiled loop of expression"),
        (torch.optim.AdamW, "step", "AdamW"),
        (torch.optim.Adam, "step", "Adam of the adversary"),
        (multivi.MultiVINetwork, "second_loss", "loss of the adversary, forward"),
        (torch.Tensor, "backward", "backward, adversary and sparse layers included"),
        (multivi.MultiVINetwork, "modality_penalty", "penalty, forward"),
    ):
        setattr(owner, name, timed(getattr(owner, name), label))
    native(visible, arguments.epochs, arguments.device)
    for label, seconds in spent.most_common():
        print(f"{label:50s} {1000 * seconds / (arguments.epochs + 1):7.1f} ms an epoch, {seconds / spent['epoch']:.0%}")
    for fast, label in ((False, "floor: the decoders products alone"), (True, "the same by the training's products")):
        print(f"{label:50s} {1000 * floor(visible, fast=fast):7.1f} ms")


def main() -> None:
    """Read the arguments and run one mode."""
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
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--native-only", action="store_true", help="skip scvi-tools")
    mode.add_argument("--scaling", action="store_true", help="several numbers of cells and features")
    mode.add_argument("--profile", action="store_true", help="where the time goes")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    if arguments.scaling:
        scaling(arguments)
        return
    visible = design_from_elsewhere(arguments.cells, arguments.genes, arguments.peaks)
    print(f"memory before training: {peak_memory():.2f} GB")
    (profile if arguments.profile else compare)(visible, arguments)


if __name__ == "__main__":
    main()
