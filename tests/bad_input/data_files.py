"""A good data set of thirty cells in every format, from which tests make malformed ones."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.formats import Multimodal, write_h5mu

N_CELLS, GENES, PEAKS = 30, 12, 8
CELLS = [f"{''.join('ACGT'[(number // 4**place) % 4] for place in range(10))}-1" for number in range(N_CELLS)]
SYMBOLS = [f"GENE{number}" for number in range(GENES)]
INTERVALS = [f"chr1:{1000 * number}-{1000 * number + 500}" for number in range(1, PEAKS + 1)]


def example(cell_types: tuple[str, ...] = ("B cell", "T cell"), batches: tuple[str, ...] = ("b1", "b2")) -> Multimodal:
    """Thirty cells with RNA and ATAC; every cell and feature has counts."""
    rng = np.random.default_rng(3)
    obs = pd.DataFrame(
        {
            "cell_type": np.array(cell_types, dtype=object)[np.arange(N_CELLS) % len(cell_types)],
            "batch": np.array(batches, dtype=object)[np.arange(N_CELLS) // 3 % len(batches)],
        },
        index=pd.Index(CELLS, dtype=object),
    )
    counts = {name: rng.poisson(2.0, (N_CELLS, width)) for name, width in (("rna", GENES), ("atac", PEAKS))}
    for matrix in counts.values():
        matrix[:, 0] += 1
        matrix[0, :] += 1
    rna = pd.DataFrame({"gene_id": [f"ENSG{i:05d}" for i in range(GENES)], "gene_symbol": SYMBOLS}, index=SYMBOLS)
    var = {"rna": rna, "atac": pd.DataFrame(index=pd.Index(INTERVALS, dtype=object))}
    return Multimodal(obs, {name: sp.csr_matrix(m.astype(np.float32)) for name, m in counts.items()}, var)


ENTRIES: dict[str, dict[str, Any]] = {
    "h5mu": {"format": "h5mu", "path": "a.h5mu", "modalities": ["rna", "atac"], "labels": "cell_type", "batch": "batch"},
    "pair": {"format": "h5ad_pair", "path": {"rna": "rna.h5ad", "atac": "atac.h5ad"}, "modalities": ["rna", "atac"],
             "labels": "cell_type", "batch": "batch"},
    "typed": {"format": "h5ad_feature_types", "path": "typed.h5ad", "modalities": ["rna", "atac"]},
    "tenx": {"format": "10x_h5", "path": "tenx.h5", "modalities": ["rna", "atac"], "annotations": "cells.tsv",
             "labels": "cell_type"},
    "triplet": {"format": "matrix_market", "path": "triplet", "modalities": ["rna", "atac"], "annotations": "cells.tsv",
                "labels": "cell_type"},
    "dense": {"format": "dense_table", "path": "dense.tsv", "modalities": ["rna"], "annotations": "cells.tsv",
              "labels": "cell_type"},
    "tables": {"format": "matrix_market_tables", "modalities": ["rna"],
               "path": {"matrix": "triplet/rna.mtx", "cells": "cells.tsv", "features": "genes.tsv"}},
    "named": {"format": "h5mu", "path": "a.h5mu", "modalities": ["rna"], "labels": "cell_type",
              "label_names": {"table": "labels.tsv", "key": "id", "name": "name"}},
    "parts": {"format": "combined", "parts": [{"format": "dense_table", "path": "dense.tsv", "modalities": ["rna"]},
                                              {"format": "h5mu", "path": "a.h5mu", "modalities": ["atac"]}]},
    "packed": {"format": "10x_h5", "path": "tenx.h5.gz", "modalities": ["rna", "atac"]},
}  # fmt: skip
"""Entries of a registry, one a format, for the files that :func:`write_files` writes."""

FILES = {
    "a.h5mu": "h5mu", "rna.h5ad": "pair", "atac.h5ad": "pair", "typed.h5ad": "typed", "tenx.h5": "tenx", "cells.tsv": "tenx",
    "triplet/matrix.mtx": "triplet", "triplet/barcodes.tsv": "triplet", "triplet/features.tsv": "triplet", "dense.tsv": "dense",
    "triplet/rna.mtx": "tables", "genes.tsv": "tables", "labels.tsv": "named", "tenx.h5.gz": "packed",
}  # fmt: skip
"""File -> entry that reads it."""


def write_files(folder: Path) -> None:
    """Write the example in every format into `folder`."""
    data = example()
    (folder / "triplet").mkdir(parents=True)
    write_h5mu(folder / "a.h5mu", data)
    for name in data.modalities:
        anndata.AnnData(X=data.counts[name], obs=data.obs.copy(), var=data.var[name].copy()).write_h5ad(
            folder / f"{name}.h5ad"
        )
    both = sp.csr_matrix(sp.hstack([data.counts["rna"], data.counts["atac"]]))
    types = ["Gene Expression"] * GENES + ["Peaks"] * PEAKS
    names = [*SYMBOLS, *INTERVALS]
    typed = anndata.AnnData(X=both, obs=data.obs.copy(), var=pd.DataFrame({"feature_types": types}, index=names))
    typed.write_h5ad(folder / "typed.h5ad")
    with h5py.File(folder / "tenx.h5", "w") as file:
        group = file.create_group("matrix")
        for name, values in (("data", both.data), ("indices", both.indices), ("indptr", both.indptr)):
            group[name] = values.astype(np.int64)
        group["shape"] = np.array([GENES + PEAKS, N_CELLS])
        group["barcodes"] = np.array(CELLS, dtype="S")
        for name, values in (("id", names), ("name", names), ("feature_type", types)):
            group[f"features/{name}"] = np.array(values, dtype="S")
    (folder / "tenx.h5.gz").write_bytes(gzip.compress((folder / "tenx.h5").read_bytes(), mtime=0))
    write_triplet(folder / "triplet" / "matrix.mtx", both.T)
    write_triplet(folder / "triplet" / "rna.mtx", data.counts["rna"].T)
    (folder / "triplet" / "barcodes.tsv").write_text("".join(f"{name}\n" for name in CELLS))
    rows = [f"{name}\t{name}\t{kind}\n" for name, kind in zip(names, types)]
    (folder / "triplet" / "features.tsv").write_text("".join(rows))
    cells = ["cell\tcell_type\tbatch\n", *(f"{c}\t{t}\t{b}\n" for c, t, b in data.obs.itertuples())]
    (folder / "cells.tsv").write_text("".join(cells))
    (folder / "genes.tsv").write_text("gene\tgene_id\n" + "".join(f"{name}\tE{name}\n" for name in SYMBOLS))
    (folder / "labels.tsv").write_text("id\tname\nB cell\tBee\nT cell\tTee\n")
    table = data.counts["rna"].toarray().astype(int)
    lines = ["\t".join(["gene", *CELLS]), *("\t".join([g, *map(str, table[:, i])]) for i, g in enumerate(SYMBOLS))]
    (folder / "dense.tsv").write_text("\n".join(lines) + "\n")


def write_triplet(path: Path, matrix: sp.spmatrix) -> None:
    """Matrix Market coordinates of whole numbers."""
    matrix = sp.coo_matrix(matrix)
    lines = ["%%MatrixMarket matrix coordinate integer general", f"{matrix.shape[0]} {matrix.shape[1]} {matrix.nnz}"]
    lines += [f"{i + 1} {j + 1} {int(value)}" for i, j, value in zip(matrix.row, matrix.col, matrix.data)]
    path.write_text("\n".join(lines) + "\n")
