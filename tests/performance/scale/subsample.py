"""Seconds and memory of drawing a design of 10,000 cells out of a file of one million.

Run as ``python tests/performance/scale/subsample.py FOLDER --cells 1000000``. The file is made once and kept
(``FOLDER/million.h5mu``; delete it afterwards): a block of simulated cells with as many features and nonzeros as bone
marrow, compressed as data sets are, repeated until there are enough. Repeating copies compressed chunks, so that making
the file takes minutes; what reading costs depends on sizes, not on whether cells are alike. Then the workflow's own
command, ``python -m benchmarks design``, runs as a child, whose seconds and peak memory are printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent))
from planning import ROOT, measured

sys.path.insert(0, str(ROOT))
from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.designs import DesignSpec
from benchmarks.formats import atomic_path, h5mu_file, write_modality

CHUNK = 1 << 16
"""Values in a chunk on disk, as the simulator's streams have them."""


def whole_chunks(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The first rows of a matrix, the last one cut, so that their nonzeros fill whole chunks."""
    stored = matrix.nnz // CHUNK * CHUNK
    pointers = np.minimum(matrix.indptr, stored)
    return sp.csr_matrix((matrix.data[:stored], matrix.indices[:stored], pointers), shape=matrix.shape)


def repeated(path: Path, block, n_cells: int) -> None:
    """Write `block` again and again until there are `n_cells` cells."""
    times = -(-n_cells // block.n_obs)
    n_cells = times * block.n_obs
    obs = pd.concat([block.obs] * times, ignore_index=True)
    obs.index = pd.Index([f"cell_{number:08d}" for number in range(n_cells)], dtype=object)
    with atomic_path(path) as temporary, h5mu_file(temporary, obs, block.uns) as file:
        for modality in block.modalities:
            matrix = whole_chunks(block.counts[modality])
            group = write_modality(file, modality, obs, None, block.var[modality]).create_group("X")
            group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
            group.attrs["shape"] = np.array([n_cells, matrix.shape[1]], dtype=np.int64)
            options = {"chunks": (CHUNK,), "compression": "gzip", "compression_opts": 1}
            for name in ("data", "indices"):
                values = getattr(matrix, name)
                made = group.create_dataset(name, shape=(times * matrix.nnz,), dtype=values.dtype, **options)
                made[: matrix.nnz] = values
                starts = range(0, matrix.nnz, CHUNK)
                chunks = [made.id.read_direct_chunk((start,)) for start in starts]
                for number in range(1, times):
                    for start, (mask, raw) in zip(starts, chunks):
                        made.id.write_direct_chunk((number * matrix.nnz + start,), raw, mask)
            lengths = np.tile(np.diff(matrix.indptr), times)
            group["indptr"] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def make(path: Path, n_cells: int, n_genes: int, n_peaks: int) -> None:
    """Make the file, if it is not there."""
    if path.is_file():
        return
    started = time.perf_counter()
    # Libraries that give the nonzeros of 10x Multiome with all of its features; the defaults are of a filtered subset.
    libraries = {"rna_library_median": 2000.0, "atac_library_median": 2300.0}
    modalities = ("rna", "atac")
    parameters = SimulationParameters(
        n_cells=2048, n_genes=n_genes, n_peaks=n_peaks, modalities=modalities, **libraries
    )
    block = simulate(parameters, 0)
    for modality, matrix in block.counts.items():
        print(f"{modality}: {matrix.shape[1]:,} features, {matrix.nnz / matrix.shape[0]:,.0f} nonzeros a cell")
    repeated(path, block, n_cells)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"made in {time.perf_counter() - started:.0f} s, {peak:.0f} MB, {path.stat().st_size / 1e9:.2f} GB on disk")


def main() -> None:
    """Make the file where it is missing, then draw designs and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=13_000)
    parser.add_argument("--peaks", type=int, default=100_000)
    parser.add_argument("--draw", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--unpaired", type=float, default=0.5)
    parser.add_argument("--file", type=Path, help="another file, of the format of data sets, to draw from")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.file or options.folder / "million.h5mu"
    if options.file is None:
        make(path, options.cells, options.genes, options.peaks)
    with h5py.File(path) as file:
        modalities = tuple(file["mod"])
        for modality in modalities:
            matrix = file["mod"][modality]["X"]
            print(f"{modality}: {matrix.attrs['shape']} with {matrix['data'].size / 1e9:.2f} billion nonzeros")
    print("| cells drawn | sampling | seconds | CPU seconds | peak MB |\n|---|---|---|---|---|")
    for n_cells in options.draw:
        for sampling in ("uniform", "stratified"):
            spec = DesignSpec("million", modalities, n_cells, options.unpaired, sampling=sampling)
            outputs = [options.folder / f"{name}.h5mu" for name in ("visible", "truth")]
            command = [sys.executable, "-m", "benchmarks", "design", "--dataset", str(path), "--spec",
                       json.dumps(spec.to_mapping()), "--visible", str(outputs[0]), "--truth", str(outputs[1])]  # fmt: skip
            wall, cpu, memory, _ = measured(command, ROOT)
            print(f"| {n_cells:,} | {sampling} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)
            for output in outputs:
                output.unlink()


if __name__ == "__main__":
    main()
