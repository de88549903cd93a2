"""Work done, counted rather than timed: it may grow with what a study asks for, and with nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from benchmarks.formats import H5mu, Multimodal, write_h5mu
from workflow import planning
from workflow.configuration import load_study

CHUNK = 256


def study(replicates: int, seeds: int) -> dict:
    return {
        "study": "many",
        "datasets": ["simulated"],
        "designs": {"n_cells": [100, 200], "replicates": replicates},
        "models": ["random", "pca", "cobolt"],
        "training_seeds": list(range(seeds)),
        "metrics": ["nmi_leiden"],
    }


def work_of_planning(monkeypatch, content: dict) -> tuple[int, int, int]:
    """Digests that the planner takes, files opened, and runs planned."""
    taken, opened = [], []
    digest, opening = planning.digest, io.open
    with monkeypatch.context() as patch:
        patch.setattr(planning, "digest", lambda *given: taken.append(given) or digest(*given))
        patch.setattr(io, "open", lambda *given, **named: opened.append(given) or opening(*given, **named))
        plan = planning.make_plan(load_study(content, check_output=False))
    return len(taken), len(opened), len(plan.runs)


def test_planning_reads_no_more_files_and_takes_no_more_digests_for_more_runs(monkeypatch):
    work_of_planning(monkeypatch, study(1, 1))  # What is read once a process has been read.
    *few, runs = work_of_planning(monkeypatch, study(2, 1))
    *many, more_runs = work_of_planning(monkeypatch, study(20, 3))
    assert (runs, more_runs) == (2 * 2 * 3, 2 * 20 * 3 * 3)
    assert many == few and few[0] > 3  # Of the data set, the metrics and the variants.


def test_runs_of_equal_variants_differ_by_design_and_seed_alone():
    plan = planning.make_plan(load_study(study(3, 2), check_output=False))
    folders = {}
    for run in plan.runs:
        design, folder, seed = run.key.rsplit("/", 2)
        assert design == run.design.key and seed == f"seed{run.seed}"
        folders.setdefault(run.variant.name, set()).add(folder)
    assert {len(names) for names in folders.values()} == {1} and len(folders) == 3
    assert len({run.key for run in plan.runs}) == len(plan.runs)


@pytest.fixture
def chunked(tmp_path):
    """A function: number of cells -> (path of a data set in small chunks, its counts)."""

    def make(n_cells: int) -> tuple[Path, sp.csr_matrix]:
        counts = sp.random(n_cells, 300, density=0.1, format="csr", dtype=np.float32, random_state=n_cells)
        counts.data = np.ceil(counts.data * 5)
        obs = pd.DataFrame({"cell_type": "a"}, index=[f"cell_{number}" for number in range(n_cells)])
        var = pd.DataFrame(index=[f"gene_{number}" for number in range(300)])
        path = tmp_path / f"{n_cells}.h5mu"
        write_h5mu(path, Multimodal(obs, {"rna": counts}, {"rna": var}))
        with h5py.File(path, "r+") as file:
            matrix = file["mod/rna/X"]
            for name in ("data", "indices"):
                values = matrix[name][:]
                del matrix[name]
                matrix.create_dataset(name, data=values, chunks=(CHUNK,), compression="gzip")
        return path, counts

    return make


def values_read(monkeypatch, path: Path, rows: np.ndarray) -> tuple[sp.csr_matrix, int]:
    """Counts of the rows, and how many values were read from the file to get them, row pointers aside."""
    amounts, getitem = [], h5py.Dataset.__getitem__

    def counted(self, key, *further):
        found = getitem(self, key, *further)
        if self.name.endswith(("/X/data", "/X/indices")):
            amounts.append(np.size(found))
        return found

    with monkeypatch.context() as patch, H5mu(path) as file:
        patch.setattr(h5py.Dataset, "__getitem__", counted)
        return file.counts("rna", rows), sum(amounts)


def test_drawing_rows_reads_the_chunks_that_hold_them(monkeypatch, chunked):
    amounts = []
    for n_cells in (1000, 4000):
        path, counts = chunked(n_cells)
        rows = np.random.default_rng(0).permutation(n_cells)[:20]
        drawn, amount = values_read(monkeypatch, path, rows)
        assert (drawn != counts[rows]).nnz == 0
        amounts.append(amount)
        # Each row lies in one chunk or on a border of two; what is between the chunks is not read.
        assert amount < 2 * len(rows) * 2 * CHUNK < 2 * counts.nnz
    assert amounts[1] < 1.5 * amounts[0]


@pytest.mark.parametrize("rows", [[], [3], [5, 5, 4], list(range(200, 0, -1))])
def test_rows_come_in_the_order_asked_for(monkeypatch, chunked, rows):
    path, counts = chunked(500)
    drawn, amount = values_read(monkeypatch, path, np.array(rows, dtype=np.int64))
    assert drawn.shape == (len(rows), 300) and (drawn != counts[rows]).nnz == 0
    # Neighbours are read in one go: no value twice.
    assert amount <= 2 * counts.nnz
