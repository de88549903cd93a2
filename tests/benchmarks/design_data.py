"""A small data set for tests of designs, and what tells two designs apart."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.designs import DesignSpec
from benchmarks.formats import Multimodal

FEATURES = {"rna": 30, "atac": 50, "protein": 8}


def make_data(n_cells: int = 120, modalities=("rna", "atac", "protein"), seed: int = 0) -> Multimodal:
    """Counts whose first feature encodes the cell's number, so that every row can be traced to its cell."""
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(
                rng.choice(["alpha", "beta", "gamma", "delta"], n_cells, p=[0.5, 0.3, 0.15, 0.05])
            ),
            "batch": pd.Categorical(rng.choice(["one", "two"], n_cells)),
            "pseudotime_x": rng.random(n_cells),
            "secret": "x",
        },
        index=[f"BARCODE-{i}" for i in range(n_cells)],
    )
    counts, var = {}, {}
    for modality in modalities:
        matrix = rng.poisson(1.0, (n_cells, FEATURES[modality]))
        matrix[:, 0] = np.arange(1, n_cells + 1)
        counts[modality] = sp.csr_matrix(matrix.astype(np.float32))
        names = [f"{modality}_{i}" for i in range(FEATURES[modality])]
        var[modality] = pd.DataFrame({"gene_symbol": names, "true_loading": 1.0}, index=names)
    return Multimodal(obs, counts, var)


def spec(**changes) -> DesignSpec:
    return DesignSpec(**{"dataset": "d", "modalities": ("rna", "atac", "protein"), **changes})


def content_digest(*parts: Multimodal) -> str:
    """Of everything that a design holds; unlike the bytes of a file, not of the library that writes it."""
    sha = hashlib.sha256()
    for data in parts:
        sha.update(data.obs.astype(object).to_csv(lineterminator="\n").encode())
        sha.update(json.dumps(data.uns, sort_keys=True).encode())
        for modality in data.modalities:
            matrix = data.counts[modality].copy()
            matrix.sort_indices()
            for values in (data.rows[modality], matrix.indptr, matrix.indices, matrix.data):
                sha.update(values.astype("<f8").tobytes())
            sha.update(data.var[modality].to_csv(lineterminator="\n").encode())
    return sha.hexdigest()[:16]
