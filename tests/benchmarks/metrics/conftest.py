"""Simulated embeddings with known truth, and ways to degrade them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context


def simulate(
    n_cells: int = 300,
    dimensions: int = 8,
    types: int = 5,
    batches: int = 3,
    unpaired: float = 0.5,
    noise: float = 0.3,
    batch_shift: float = 0.5,
    modality_shift: float = 0.2,
    isolated: bool = True,
    seed: int = 0,
) -> SimpleNamespace:
    """Cells of several types and batches, some split into an RNA and an ATAC half; returns ``values``, ``truth``.

    With `isolated`, type 0 occurs in batch 0 only. Types lie on a line through ``pseudotime_line``.
    """
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(types, 4.0))
    label = np.r_[np.arange(types), rng.choice(types, n_cells - types, p=shares)]
    batch = rng.integers(0, batches, n_cells)
    if isolated:
        batch[label == 0] = 0
    centres = rng.normal(size=(types, dimensions)) * 2
    centres[:, 0] = np.arange(types) * 3.0
    cells = centres[label] + rng.normal(size=(n_cells, dimensions))
    cells += (rng.normal(size=(batches, dimensions)) * batch_shift)[batch]
    split = rng.random(n_cells) < unpaired
    cell = np.r_[np.flatnonzero(~split), np.flatnonzero(split), np.flatnonzero(split)]
    group = np.array(["paired"] * int((~split).sum()) + ["rna"] * int(split.sum()) + ["atac"] * int(split.sum()))
    order = rng.permutation(len(cell))
    cell, group = cell[order], group[order]
    offset = rng.normal(size=dimensions) * modality_shift
    values = cells[cell] + noise * rng.normal(size=(len(cell), dimensions)) + (group == "rna")[:, None] * offset
    obs = pd.DataFrame(
        {
            "cell": [f"cell{i}" for i in cell],
            "group": group,
            "cell_type": [f"type{i}" for i in label[cell]],
            "batch": [f"batch{i}" for i in batch[cell]],
            "site": [f"site{i % 2}" for i in batch[cell]],
            "pseudotime_line": cells[cell, 0] - cells[:, 0].min(),
        },
        index=[f"o{i}" for i in range(len(cell))],
    )
    return SimpleNamespace(values=values.astype(np.float32), truth=Multimodal(obs, {}, {}), cells=cells, cell=cell)


@pytest.fixture(scope="session")
def world() -> SimpleNamespace:
    """One simulated embedding with its context, shared by the tests that only read."""
    made = simulate()
    made.context = Context(made.values, made.truth, threads=1)
    made.labels = made.truth.obs["cell_type"].to_numpy()
    made.batches = made.truth.obs["batch"].to_numpy()
    return made


@pytest.fixture(scope="session")
def make():
    """The simulator itself."""
    return simulate
