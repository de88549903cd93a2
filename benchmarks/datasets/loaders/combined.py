"""Format ``combined``: parts in files and formats of their own, by modality, by sample, or by both.

SHARE-seq has RNA as a dense table and ATAC as Matrix Market; TEA-seq has RNA and ATAC as a Cell Ranger ARC file and
protein as a table, for each well; DOGMA-seq has two triplets for each sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.loaders.dispatch import read_files
from benchmarks.datasets.loaders.modalities import join_files
from benchmarks.datasets.loaders.peaks import unify_peaks
from benchmarks.datasets.registry import DatasetEntry
from benchmarks.formats import Multimodal

Block = tuple[pd.DataFrame, sp.csr_matrix, pd.DataFrame]
"""Cell table, counts (cells x features) and feature table of one modality of one sample."""


def read(entry: DatasetEntry, paths: Mapping[str, Path]) -> Multimodal:
    """Read the parts, join those of one sample by the names of the cells, and stack the samples.

    Cells of several samples are named ``sample<separator>name``, and the column ``sample`` says where they are from.
    Features are the union over the samples; a feature that a sample lacks counts 0 there. With ``merge_peaks``,
    peaks that overlap are one, and its count is the sum (see :func:`unify_peaks`).
    """
    samples: dict[str | None, dict[str, Block]] = {}
    where: dict[str | None, dict[str, str]] = {}
    repairs: list[str] = []
    for number, part in enumerate(entry.parts):
        own = {role.partition(".")[2]: path for role, path in paths.items() if role.partition(".")[0] == str(number)}
        data = read_files(part.entry, own)
        repairs += data.uns.get("repairs", [])
        for modality in part.entry.modalities:
            obs = data.obs.iloc[data.rows[modality]]
            samples.setdefault(part.sample, {})[modality] = (obs, data.counts[modality], data.var[modality])
            where.setdefault(part.sample, {})[modality] = ", ".join(map(str, own.values()))
    joined = {}
    for sample, blocks in samples.items():
        ordered = {modality: blocks[modality] for modality in entry.modalities if modality in blocks}
        joined[sample] = join_files(ordered, where[sample])
    if list(joined) == [None]:
        result = joined[None]
    else:
        result = _stack(entry, joined, repairs)
    result.uns["repairs"] = repairs
    return result


def _stack(entry: DatasetEntry, samples: Mapping[str, Multimodal], repairs: list[str]) -> Multimodal:
    tables, offsets, total = [], {}, 0
    for sample, data in samples.items():
        names = [f"{sample}{entry.sample_separator}{name}" for name in data.obs.index]
        tables.append(data.obs.set_axis(pd.Index(names, dtype=object), axis=0).assign(sample=sample))
        offsets[sample] = total
        total += data.n_obs
    counts, var, rows = {}, {}, {}
    for modality in entry.modalities:
        holders = {sample: data for sample, data in samples.items() if modality in data.counts}
        matrices = [data.counts[modality] for data in holders.values()]
        features = [data.var[modality] for data in holders.values()]
        if modality == "atac" and entry.merge_peaks and len(holders) > 1:
            columns, var[modality] = unify_peaks(features)
            n_before = max(len(table) for table in features)
            repairs.append(
                f"overlapping peaks of {len(holders)} samples united: {len(var[modality])} "
                f"(up to {n_before} in one sample)"
            )
        else:
            columns, var[modality] = _union(features)
        counts[modality] = sp.vstack(
            [_placed(matrix, place, len(var[modality])) for matrix, place in zip(matrices, columns)], format="csr"
        )
        rows[modality] = np.concatenate([data.rows[modality] + offsets[sample] for sample, data in holders.items()])
    return Multimodal(pd.concat(tables), counts, var, rows)


def _placed(matrix: sp.csr_matrix, place: np.ndarray, width: int) -> sp.csr_matrix:
    """The matrix with column ``i`` at ``place[i]`` of `width`; columns that meet are added."""
    moved = sp.csr_matrix((matrix.data, place[matrix.indices], matrix.indptr), shape=(matrix.shape[0], width))
    moved.sum_duplicates()
    return moved


def _union(tables: list[pd.DataFrame]) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Position of each table's features in the union of all, and the union, in the order of first appearance.

    Features are matched by identifier where all tables have one (gene symbols are not unique), else by name; the
    second feature of a name is matched with the second one of that name.
    """
    column = next((c for c in ("gene_id", "id", "gene_ids") if all(c in table for table in tables)), None)
    keys = []
    for table in tables:
        names = pd.Series(table.index if column is None else table[column].to_numpy(), dtype=object)
        keys.append(pd.MultiIndex.from_arrays([names, names.groupby(names).cumcount()]))
    union, parts = keys[0], [tables[0]]
    for key, table in zip(keys[1:], tables[1:]):
        new = ~key.isin(union)
        union = union.append(key[new])
        parts.append(table[new])
    return [union.get_indexer(key) for key in keys], pd.concat(parts)
