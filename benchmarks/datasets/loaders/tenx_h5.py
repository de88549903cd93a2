"""Format ``10x_h5``: ``filtered_feature_bc_matrix.h5`` of Cell Ranger 3 and later and of Cell Ranger ARC.

Layout: group ``matrix`` with ``barcodes``, ``shape`` (features, barcodes), ``data``, ``indices``, ``indptr`` (one
column a barcode), and group ``features`` with ``id``, ``name``, ``feature_type``, ``genome`` and, of ARC,
``interval`` (https://www.10xgenomics.com/support/software/cell-ranger/latest/analysis/outputs/cr-outputs-h5-matrices).
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.loaders.anndata_file import check_shape, open_hdf5
from benchmarks.datasets.loaders.modalities import split_by_type
from benchmarks.datasets.registry import SINGLE, DatasetEntry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the file and split its features by ``feature_type``; there are no labels in it (see ``annotations``)."""
    path = paths[SINGLE]
    with open_hdf5(path) as file:
        if "matrix" not in file:
            raise InputError(
                f"{path}: no group 'matrix'; this is not a feature-barcode matrix of Cell Ranger 3 or later "
                "(files of version 2 hold RNA alone)"
            )
        matrix = file["matrix"]
        for name in (
            "barcodes",
            "data",
            "indices",
            "indptr",
            "shape",
            "features/id",
            "features/name",
            "features/feature_type",
        ):
            if name not in matrix:
                raise InputError(f"{path}: matrix/{name} is missing; fetch or make the file again")
        barcodes = _text(matrix["barcodes"])
        features = {name: _text(matrix["features"][name]) for name in ("id", "name", "feature_type")}
        for name in ("genome", "interval"):
            if name in matrix["features"]:
                features[name] = _text(matrix["features"][name])
        var = pd.DataFrame(features, index=pd.Index(features["name"], dtype=object))
        n_features, n_cells = (int(size) for size in matrix["shape"][:])
        check_shape((n_cells, n_features), len(barcodes), len(var), f"{path}: matrix")
        # One pointer a barcode: the columns of the file are the rows of ours.
        counts = sp.csr_matrix(
            (matrix["data"][:], matrix["indices"][:].astype(np.int64), matrix["indptr"][:].astype(np.int64)),
            shape=(n_cells, n_features),
        )
        counts.check_format(full_check=True)
    obs = pd.DataFrame(index=pd.Index(barcodes, dtype=object))
    return split_by_type(entry, obs, counts, var, var["feature_type"], str(path), "feature_type")


def _text(dataset: h5py.Dataset) -> np.ndarray:
    return np.array(
        [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in dataset[:]], dtype=object
    )
