"""Small data for the tests of the models: counts with three types, two batches and a modality of each kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from benchmarks.designs import DesignSpec, make_design
from benchmarks.formats import Multimodal

MODALITIES = ("rna", "atac", "protein")


def small_dataset(n_cells: int = 90, seed: int = 0, strength: float = 1.0) -> Multimodal:
    """Cells of three types whose features differ by type and by a continuous position that all modalities share."""
    rng = np.random.default_rng(seed)
    types = rng.integers(0, 3, n_cells)
    position = rng.uniform(-1, 1, n_cells)
    counts, var = {}, {}
    for modality, n_features, level in (("rna", 60, 0.5), ("atac", 80, -1.5), ("protein", 12, 2.5)):
        by_type = rng.normal(0, strength, (3, n_features))
        slope = rng.normal(0, 0.5 * strength, n_features)
        depth = rng.normal(0, 0.2, n_cells)
        rate = np.exp(level + by_type[types] + position[:, None] * slope + depth[:, None])
        values = rng.poisson(rate)
        values[:, 0] += 1
        counts[modality] = sp.csr_matrix(values.astype(np.float32))
        var[modality] = pd.DataFrame(index=pd.Index([f"{modality}_{i}" for i in range(n_features)], dtype=object))
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.array(["A", "B", "C"])[types]),
            "batch": pd.Categorical(np.array(["b1", "b2"])[rng.integers(0, 2, n_cells)]),
            "pseudotime_main": np.where(types < 2, position + 2 * types, np.nan),
        },
        index=pd.Index([f"cell_{i}" for i in range(n_cells)], dtype=object),
    )
    return Multimodal(obs, counts, var)


@pytest.fixture(scope="session")
def make():
    """A function (modalities, unpaired fraction, number of cells) -> (visible, truth), each made once."""
    known: dict = {}

    def build(modalities=("rna", "atac"), unpaired_fraction=0.0, n_cells=90, strength=1.0):
        key = (tuple(modalities), unpaired_fraction, n_cells, strength)
        if key not in known:
            spec = DesignSpec("small", tuple(modalities), unpaired_fraction=unpaired_fraction)
            known[key] = make_design(small_dataset(n_cells, strength=strength), spec)
        return known[key]

    return build
