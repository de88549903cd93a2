"""The papers' data sets: each entry of the registry reads generated files of the form that its authors distribute.

The files are written here by hand, with the names, head lines, orders and quirks of the real ones (see the comments
in ``config/datasets.yaml``), in the size of a few cells. What the entry makes of them is compared with the tables
that they were made from, and its filters with the same rules applied to dense tables.
"""

from __future__ import annotations

import dataclasses
import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from benchmarks.datasets.load import load
from benchmarks.datasets.prepare import prepare
from benchmarks.datasets.registry import DatasetEntry, load_registry
from benchmarks.datasets.validate import validate
from benchmarks.formats import Multimodal, read_h5mu

OURS = {"snare_mouse_cortex", "scicar_a549", "pbmc10k_cite", "teaseq_rna_protein", "bmmc_multiome", "bmmc_cite"}
"""Entries of small files that were prepared for this project; ``test_loaders.py`` reads the files themselves."""


@dataclass
class Truth:
    """What the files of a data set say: counts (cells x features, under the final names) and columns of the cells."""

    counts: dict[str, pd.DataFrame]
    obs: pd.DataFrame
    coordinates: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    gene_ids: dict[str, str] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------------
# Tables and files
# --------------------------------------------------------------------------------------------------------


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, name)))


def barcodes(rng: np.random.Generator, n: int, suffix: str = "") -> list[str]:
    names = {"".join(rng.choice(list("ACGT"), 16)) + suffix for _ in range(2 * n)}
    return sorted(names)[:n]


def table(rng: np.random.Generator, cells: list[str], features: list[str], rate: float | None = None) -> pd.DataFrame:
    """Counts with sparse features (the last tenth), a poor cell (the first) and an absent feature (the last)."""
    if rate is None:
        rate = 6.0 if len(features) > 200 else 1.2  # So that cells have the 200 features that filters ask for.
    rates = np.full(len(features), rate)
    rates[-max(1, len(features) // 10) :] = rate / 20
    counts = rng.poisson(rates, (len(cells), len(features)))
    counts[0, rng.random(len(features)) < 0.75] = 0
    counts[0, 0] = 1
    counts[:, -1] = 0
    return pd.DataFrame(counts, index=cells, columns=features)


def genes(n: int) -> list[str]:
    return [f"GENE{i}" for i in range(n)]


def intervals(n: int, form: str = "chr{}:{}-{}") -> tuple[list[str], dict[str, tuple[str, int, int]]]:
    where = [(1 + i % 5, 1000 * (i + 1), 1000 * (i + 1) + 400) for i in range(n)]
    names = [form.format(*place) for place in where]
    return names, {name: (f"chr{c}", start, end) for name, (c, start, end) in zip(names, where)}


def write(path: Path, text: str, packed: bool | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = path.suffix == ".gz" if packed is None else packed
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if packed else text.encode())


def write_lines(path: Path, lines: list[str], packed: bool | None = None) -> None:
    write(path, "".join(f"{line}\n" for line in lines), packed)


def write_matrix(path: Path, features_by_cells: pd.DataFrame, packed: bool | None = None) -> None:
    matrix = sp.coo_matrix(features_by_cells.to_numpy())
    lines = ["%%MatrixMarket matrix coordinate integer general", "%"]
    lines.append(f"{matrix.shape[0]} {matrix.shape[1]} {matrix.nnz}")
    lines += [f"{row + 1} {column + 1} {value}" for row, column, value in zip(matrix.row, matrix.col, matrix.data)]
    write_lines(path, lines, packed)


def write_tenx(path: Path, counts: dict[str, pd.DataFrame], ids: dict[str, str]) -> None:
    """``filtered_feature_bc_matrix.h5`` of Cell Ranger ARC; the features of all modalities under each other."""
    kinds = {"rna": "Gene Expression", "atac": "Peaks"}
    joined = pd.concat(counts.values(), axis=1)
    kind = [kinds[modality] for modality, frame in counts.items() for _ in frame.columns]
    matrix = sp.csc_matrix(joined.to_numpy().T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(list(joined.index), dtype="S")
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        for name, values in (("data", np.int32), ("indices", np.int64), ("indptr", np.int64)):
            group[name] = getattr(matrix, name).astype(values)
        features = group.create_group("features")
        features["id"] = np.array([ids.get(name, name) for name in joined.columns], dtype="S")
        features["name"] = np.array(list(joined.columns), dtype="S")
        features["feature_type"] = np.array(kind, dtype="S")
        features["genome"] = np.array(["GRCh38"] * len(kind), dtype="S")
        features["interval"] = np.array(
            [name if one == "Peaks" else "NA" for name, one in zip(joined.columns, kind)], dtype="S"
        )


def write_triplet(
    folder: Path,
    names: dict[str, str],
    counts: dict[str, pd.DataFrame],
    ids: dict[str, str],
    coordinates: dict[str, tuple[str, int, int]],
) -> None:
    """Triplet of Cell Ranger ARC: six columns of features, the last three coordinates."""
    joined = pd.concat(counts.values(), axis=1)
    write_matrix(folder / names["matrix"], joined.T)
    write_lines(folder / names["barcodes"], list(joined.index))
    lines = []
    for modality, frame in counts.items():
        for name in frame.columns:
            kind = {"rna": "Gene Expression", "atac": "Peaks"}[modality]
            chrom, start, end = coordinates.get(name, ("chr1", 5, 9))
            lines.append(f"{ids.get(name, name)}\t{name}\t{kind}\t{chrom}\t{start}\t{end}")
    write_lines(folder / names["features"], lines)


def part_paths(entry: DatasetEntry, number: int) -> dict[str, str]:
    return dict(entry.parts[number].entry.path)


# --------------------------------------------------------------------------------------------------------
# The data sets, each by its real form
# --------------------------------------------------------------------------------------------------------


def neurips(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE194122: one gzip-compressed .h5ad, modalities in var["feature_types"], counts in a layer, X normalised."""
    import anndata

    rng = rng_of(entry.name)
    other = entry.modalities[1]
    cells = [f"{name}-{batch}" for name, batch in zip(barcodes(rng, 24), ["s1d1"] * 12 + ["s2d4"] * 12)]
    names, where = intervals(15, "chr{}-{}-{}")
    names = names if other == "atac" else [f"CD{i}" for i in range(15)]
    counts = {"rna": table(rng, cells, genes(20)), other: table(rng, cells, names)}
    joined = pd.concat(counts.values(), axis=1)
    kinds = {"rna": "GEX", "atac": "ATAC", "protein": "ADT"}
    types = [kinds[modality] for modality, frame in counts.items() for _ in frame.columns]
    order = [f"{'ADT' if other == 'protein' else 'ATAC'}_pseudotime_order", "GEX_pseudotime_order"]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.where(np.arange(24) % 3, "HSC", "B1 B")),
            "batch": pd.Categorical(["s1d1"] * 12 + ["s2d4"] * 12),
            "Site": pd.Categorical(["site1"] * 12 + ["site2"] * 12),
            "DonorNumber": pd.Categorical(["donor1"] * 12 + ["donor4"] * 12),
            **{column: np.where(np.arange(24) < 8, np.linspace(0, 1, 24), np.nan) for column in order},
        },
        index=cells,
    )
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(counts["rna"].columns)}
    var = pd.DataFrame(
        {"feature_types": pd.Categorical(types), "gene_id": [ids.get(name, name) for name in joined.columns]},
        index=joined.columns,
    )
    matrix = sp.csr_matrix(joined.to_numpy().astype(np.float32))
    adata = anndata.AnnData(matrix.log1p(), obs=obs, var=var, layers={"counts": matrix})
    plain = folder / "plain.h5ad"
    adata.write_h5ad(plain)
    (folder / entry.path["data"]).write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    truth = obs.rename(columns={"Site": "site", "DonorNumber": "donor"})[["cell_type", "batch", "site", "donor"]]
    truth = truth.assign(batch=obs[entry.batch])
    return Truth(counts, truth.astype(object), where if other == "atac" else {}, ids)


def tenx_multiome(entry: DatasetEntry, folder: Path) -> Truth:
    """Cell Ranger ARC's file; for the PBMC of scMVP also a table of R whose names lack the suffix of the barcodes."""
    rng = rng_of(entry.name)
    cells = barcodes(rng, 150, "-1")
    names, where = intervals(260)
    counts = {"rna": table(rng, cells, genes(270)), "atac": table(rng, cells, names)}
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(counts["rna"].columns)}
    write_tenx(folder / entry.path["data"], counts, ids)
    obs = pd.DataFrame(index=cells)
    if entry.annotations is not None:
        stems = [name.removesuffix("-1") for name in cells]
        labels = [("CD4 Naive", "B cell")[i % 2] for i in range(len(cells))]
        lines = [f'"{name}"\t{i}\t"{label}"' for i, (name, label) in enumerate(zip(stems, labels))]
        write_lines(folder / entry.annotations, ['"nCount_RNA"\t"celltype"', *reversed(lines[:-5])])
        obs = pd.DataFrame({"cell_type": [*labels[:-5], *[None] * 5]}, index=stems)
        counts = {modality: frame.set_axis(stems, axis=0) for modality, frame in counts.items()}
    return Truth(counts, obs, where, ids)


def hematopoiesis(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE129785: tables with head lines, peaks as chr_start_end, and a matrix that is not packed, despite its name."""
    rng = rng_of(entry.name)
    cells = [f"{group}#{name}" for group, name in zip(["PBMC_Rep1", "CD34_Rep2"] * 15, barcodes(rng, 30, "-1"))]
    names, where = intervals(40, "chr{}_{}_{}")
    counts = table(rng, cells, names)
    write_matrix(folder / entry.path["matrix"], counts.T, packed=False)
    groups = [cell.split("#")[0] for cell in cells]
    clusters = [f"Cluster{1 + i % 4}" for i in range(30)]
    lines = ["UMAP1\tUMAP2\tClusters\tGroup\tBarcodes\tInternal_Name\tGroup_Barcode"]
    lines += [
        f"0.5\t-1.5\t{cluster}\t{group}\t{cell.split('#')[1]}\tx{i}\t{cell}"
        for i, (cluster, group, cell) in enumerate(zip(clusters, groups, cells))
    ]
    write_lines(folder / entry.path["cells"], lines)
    write_lines(folder / entry.path["features"], ["Feature", *names])
    return Truth({"atac": counts}, pd.DataFrame({"cell_type": clusters, "batch": groups}, index=cells), where)


def ding(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE132044: a column of names each, genes as id_symbol; labels of SCP424, whose second line says the types."""
    rng = rng_of(entry.name)
    stems = barcodes(rng, 6)
    pairs = [(f"PBMC1.10x-Chromium-v2-A.{stems[0]}", f"pbmc1_10x_v2_A_{stems[0]}")]
    pairs += [(f"PBMC2.10x-Chromium-v2.{stems[1]}", f"pbmc2_10x_v2_{stems[1]}")]
    pairs += [("PBMC1.Smart-seq2.Cell-3", "pbmc1_SM2_Cell_3"), ("PBMC2.CEL-Seq2.Cell-4", "pbmc2_Celseq2_Cell_4")]
    pairs += [(f"PBMC1.Drop-seq.{stems[2]}", f"pbmc1_Drop_{stems[2]}")]
    pairs += [(f"PBMC1.10x-Chromium-v3.{stems[3]}", f"pbmc1_10x_v3_{stems[3]}")]
    pairs += [(f"PBMC2.inDrops.1-{stems[4]}", f"pbmc2_inDrops_1_{stems[4]}")]
    pairs += [(f"PBMC1.Seq-Well.1-{stems[5]}", f"pbmc1_Seqwell_1_{stems[5]}")]
    cells = [ours for _, ours in pairs]
    symbols = genes(30)
    symbols[4] = "HLA_X"  # Only the first separator splits.
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(symbols)}
    counts = table(rng, cells, symbols)
    write_matrix(folder / entry.path["matrix"], counts.T)
    write_lines(folder / entry.path["barcodes"], [theirs for theirs, _ in pairs])
    write_lines(folder / entry.path["features"], [f"{ids[name]}_{name}" for name in symbols])
    labels = ["B cell", "CD4+ T cell", None, "B cell", "Natural killer cell", "B cell", "B cell", None]
    methods = [theirs.split(".")[1] for theirs, _ in pairs]
    lines = ["NAME\tnGene\tnUMI\tExperiment\tMethod\tCellType", "TYPE\tnumeric\tnumeric\tgroup\tgroup\tgroup"]
    lines += [
        f"{cell}\t9\t20\tpbmc1\t{method}\t{label or 'Unassigned'}"
        for cell, method, label in list(zip(cells, methods, labels))[:-1]
    ]
    write_lines(folder / entry.annotations, lines)
    obs = pd.DataFrame({"cell_type": labels, "batch": methods}, index=cells)
    return Truth({"rna": counts}, obs, gene_ids=ids)


def dogma(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE166188: a triplet of Cell Ranger ARC a sample; proteins as cells x proteins, all droplets, bare barcodes."""
    rng = rng_of(entry.name)
    several = any(part.sample for part in entry.parts)
    blocks: dict[str, list[pd.DataFrame]] = {"rna": [], "atac": [], "protein": []}
    batches: list[str] = []
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(genes(25))}
    where = {}
    for number in range(0, len(entry.parts), 2):
        sample = entry.parts[number].sample
        stems = barcodes(rng, 20)
        cells = [f"{name}-1" for name in stems]
        # Peaks are called by sample: of each pair two overlap those of the other samples, and one is its own.
        shift = 50 * number
        places = [
            ("chr1", 1000 + shift, 1500 + shift),
            ("chr2", 4000, 4300),
            ("chr3", 10_000 * (number + 1), 10_000 * (number + 1) + 300),
        ]
        peaks = {f"{c}:{s}-{e}": (c, s, e) for c, s, e in places}
        counts = {"rna": table(rng, cells, list(ids)), "atac": table(rng, cells, [*peaks, "KI270728.1:10-20"], 2.0)}
        counts["atac"].iloc[:, -2] += 1  # `table` empties the last feature; the sample's own peak is to be seen.
        write_triplet(
            folder, part_paths(entry, number), counts, ids, {**peaks, "KI270728.1:10-20": ("KI270728.1", 10, 20)}
        )
        droplets = [*barcodes(rng, 15), *reversed(stems)]
        proteins = table(rng, droplets, ["CD3-1", "CD4-1", "CD8", "CD19"], 4.0)
        proteins.iloc[0] += 1
        files = part_paths(entry, number + 1)
        write_matrix(folder / files["matrix"], proteins)  # Cells x proteins.
        write_lines(folder / files["barcodes"], droplets)
        write_lines(folder / files["features"], list(proteins.columns))
        final = [f"{sample}_{cell}" for cell in cells] if several else cells
        blocks["rna"].append(counts["rna"].set_axis(final, axis=0))
        atac = counts["atac"].set_axis(final, axis=0)
        if several:
            united = {next(iter(peaks)): f"chr1:1000-{1500 + 50 * (len(entry.parts) - 2)}"}
            atac = atac.rename(columns=united)
        blocks["atac"].append(atac)
        blocks["protein"].append(proteins.loc[stems].set_axis(final, axis=0))
        where.update({name: place for name, place in peaks.items() if name in atac})
        batches += [sample] * len(final)
    counts = {modality: pd.concat(frames).fillna(0).astype(int) for modality, frames in blocks.items()}
    obs = pd.DataFrame({"batch": batches} if several else {}, index=counts["rna"].index)
    return Truth(counts, obs, where, ids)


def tea(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE158013: Cell Ranger ARC's file and a CSV of proteins, a line a cell, with totals and bare barcodes."""
    rng = rng_of(entry.name)
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(genes(25))}
    names, where = intervals(12)
    blocks: dict[str, list[pd.DataFrame]] = {"rna": [], "atac": [], "protein": []}
    batches: list[str] = []
    for number in range(0, len(entry.parts), 2):
        sample = entry.parts[number].sample
        stems = barcodes(rng, 15)
        cells = [f"{name}-1" for name in stems]
        counts = {"rna": table(rng, cells, list(ids)), "atac": table(rng, cells, names)}
        write_tenx(folder / part_paths(entry, number)["data"], counts, ids)
        proteins = table(rng, stems[::-1], ["CD10", "CD11b", "IgG1-K-Isotype-Control"], 4.0)
        lines = [",".join(["cell_barcode", "total", *proteins.columns])]
        lines += [
            ",".join([name, str(sum(row)), *map(str, row)]) for name, row in zip(proteins.index, proteins.to_numpy())
        ]
        write_lines(folder / part_paths(entry, number + 1)["data"], lines)
        final = [f"{sample}_{cell}" for cell in cells]
        for modality, frame in {**counts, "protein": proteins.loc[stems]}.items():
            blocks[modality].append(frame.set_axis(final, axis=0))
        batches += [sample] * len(final)
    counts = {modality: pd.concat(frames) for modality, frames in blocks.items()}
    return Truth(counts, pd.DataFrame({"batch": batches}, index=counts["rna"].index), where, ids)


def scicar(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE117089: comma-separated tables, other cells in each modality, peaks as 1-1000-1400 under a column of numbers."""
    rng = rng_of(entry.name)
    both, alone = [f"sci-RNA-ATAC.{name}" for name in barcodes(rng, 30)], ["sci.ONLYRNA", "sci.ONLYATAC"]
    ids = {name: f"ENSG{i:011d}.2" for i, name in enumerate(genes(260))}
    names, where = intervals(250, "{}-{}-{}")
    rna = table(rng, [alone[0], *both], list(ids))
    atac = table(rng, [*both[::-1], alone[1]], names)
    labels = {cell: ("A549", "293T", "3T3")[i % 3] for i, cell in enumerate([*both, *alone])}
    hours = {cell: ("0", "1", "3")[i % 3] if labels[cell] == "A549" else None for i, cell in enumerate([*both, *alone])}
    files = part_paths(entry, 0)
    write_matrix(folder / files["matrix"], rna.T)
    lines = ["sample,all_exon,cell_name,experiment,treatment_time"]
    lines += [f"{cell},100,{labels[cell]},sci-CAR,{hours[cell] or 'NA'}" for cell in rna.index]
    write_lines(folder / files["cells"], lines)
    lines = ["gene_id,gene_type,gene_short_name", *[f"{ids[name]},protein_coding,{name}" for name in ids]]
    write_lines(folder / files["features"], lines)
    files = part_paths(entry, 1)
    write_matrix(folder / files["matrix"], atac.T)
    write_lines(
        folder / files["cells"], ["sample,source,group", *[f"{cell},sci-CAR,{labels[cell]}_x" for cell in atac.index]]
    )
    lines = ['"","id","peak","chr","start","end"']
    lines += [
        f'"{i}",{i},"{name}","{where[name][0].removeprefix("chr")}",{where[name][1]},{where[name][2]}'
        for i, name in enumerate(names)
    ]
    write_lines(folder / files["features"], lines)
    rna = rna.rename(columns=ids).loc[both]
    obs = pd.DataFrame({"cell_type": labels, "condition": hours}, dtype=object).loc[both]
    return Truth({"rna": rna, "atac": atac.loc[both]}, obs, where, {value: value for value in ids.values()})


def pairedseq(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE130399, unpacked: a folder a modality with genes.tsv, also for the peaks; more than 336 cells have some."""
    rng = rng_of(entry.name)
    cells = [f"{a:02d}:{b:02d}:01" for a in range(20) for b in range(20)]
    names, where = intervals(230)
    counts = {"rna": table(rng, cells, genes(240)), "atac": table(rng, cells, names)}
    counts["atac"].iloc[:, 220:] = (rng.random((400, 10)) < 0.5).astype(int)
    counts["atac"].iloc[:, :3] = 1  # In every cell: too common.
    for modality, frame in counts.items():
        place = folder / entry.path[modality]
        write_matrix(place / "matrix.mtx", frame.T)
        write_lines(place / "barcodes.tsv", list(frame.index))
        write_lines(place / "genes.tsv", [f"{name}\t{name}" for name in frame.columns])
    return Truth(counts, pd.DataFrame(index=cells), where)


def snare_lines(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE126074, cell lines: dense tables as R writes them, the head line a field short; other cell orders."""
    rng = rng_of(entry.name)
    cells = [f"{name}_M" for name in barcodes(rng, 40)]
    names, where = intervals(260)
    counts = {"rna": table(rng, cells, genes(250)), "atac": table(rng, cells[::-1], names)}
    for number, frame in enumerate(counts.values()):
        lines = ["\t".join(f'"{cell}"' if number else cell for cell in frame.index)]
        lines += ["\t".join([f'"{name}"' if number else name, *map(str, frame[name])]) for name in frame.columns]
        write_lines(folder / part_paths(entry, number)["data"], lines)
    return Truth({"rna": counts["rna"], "atac": counts["atac"].loc[cells]}, pd.DataFrame(index=cells), where)


def snare_cortex(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE126074, newborn cortex: triplets with a column of names each; labels in a table of R beside it."""
    rng = rng_of(entry.name)
    cells = [f"09A_{name}" for name in barcodes(rng, 40)]
    names, where = intervals(260)
    counts = {"rna": table(rng, cells, genes(250)), "atac": table(rng, cells, names)}
    for modality, frame in counts.items():
        write_matrix(folder / entry.path[f"{modality}.matrix"], frame.T)
        write_lines(folder / entry.path[f"{modality}.barcodes"], list(frame.index))
        write_lines(folder / entry.path[f"{modality}.features"], list(frame.columns))
    labels = ["IP-Eomes" if i % 2 else "Ex-L2/3-Cux1" for i in range(40)]
    lines = ["umap_1\tIdentChar", *[f"{cell}\t0.1\t{label}" for cell, label in zip(cells, labels)]]
    write_lines(folder / entry.annotations, lines)
    return Truth(counts, pd.DataFrame({"cell_type": labels}, index=cells), where)


def share(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE140203: RNA dense with commas in the names of the cells, ATAC as matrix, barcodes and BED, other numbers at
    the end of the names in GM12878's third replicate, points for commas in the skin."""
    rng = rng_of(entry.name)
    skin = entry.name == "share_mouse_skin"
    wells = [f"R1.{1 + i:02d},R2.{1 + i % 7:02d},R3.{1 + i % 5:02d}" for i in range(40)]
    names, where = intervals(260)
    blocks: dict[str, list[pd.DataFrame]] = {"rna": [], "atac": []}
    batches: list[str] = []
    for number in range(0, len(entry.parts), 2):
        sample = entry.parts[number].sample
        third = skin or sample in (None, "rep3")
        cells = [f"{well},P1.{(50 if third else 7) + i % 2}" for i, well in enumerate(wells)]
        rna = table(rng, [*cells, "R1.99,R2.99,R3.99,P1.50"], genes(250))
        atac = table(rng, cells[::-1], names)
        lines = ["\t".join(["gene", *rna.index])]
        lines += ["\t".join([name, *map(str, rna[name])]) for name in rna.columns]
        files = {key: folder / f"{entry.name}.{number}.{key}.gz" for key in ("counts", "matrix", "barcodes")}
        files["peaks"] = folder / f"{entry.name}.{number}.peaks.bed.gz"
        write_lines(files["counts"], lines)
        write_matrix(files["matrix"], atac.T)
        theirs = [
            cell.replace(",", ".") if skin else cell.replace("P1.50", "P1.02").replace("P1.51", "P1.03")
            for cell in atac.index
        ]
        write_lines(files["barcodes"], theirs)
        write_lines(files["peaks"], ["\t".join(map(str, where[name])) for name in names])
        final = [f"{sample}_{cell}" if sample else cell for cell in (cell.replace(",", ".") for cell in cells)]
        blocks["rna"].append(rna.loc[cells].set_axis(final, axis=0))
        blocks["atac"].append(atac.loc[cells].set_axis(final, axis=0))
        batches += [sample] * len(final)
    counts = {modality: pd.concat(frames) for modality, frames in blocks.items()}
    obs = pd.DataFrame(index=counts["rna"].index)
    if entry.batch:
        obs["batch"] = batches
    if skin:
        obs["cell_type"] = ["TAC-1" if i % 3 else "Mix" for i in range(len(obs))]
        lines = ["atac.bc\trna.bc\tcelltype"]
        lines += [f"{cell.replace('P1.5', 'P1.0')}\t{cell}\t{label}" for cell, label in obs["cell_type"].items()]
        write_lines(folder / entry.annotations, lines)
    return Truth(counts, obs, where)


def share_paths(entry: DatasetEntry, folder: Path) -> dict[str, Path]:
    """Role -> the files of :func:`share`, which stand for downloads."""
    paths = {}
    for number in range(0, len(entry.parts), 2):
        stem = f"{entry.name}.{number}"
        paths[f"{number}.data"] = folder / f"{stem}.counts.gz"
        for role, key in (("matrix", "matrix"), ("barcodes", "barcodes"), ("features", "peaks.bed")):
            paths[f"{number + 1}.{role}"] = folder / f"{stem}.{key}.gz"
    if entry.annotations:
        paths["annotations"] = folder / entry.annotations
    return paths


def cortex(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE162170: Cell Ranger ARC's file of one sample; metadata of three; clusters whose names are in a third table."""
    rng = rng_of(entry.name)
    cells = barcodes(rng, 130, "-1")
    names, where = intervals(60)
    counts = {"rna": table(rng, cells, genes(70)), "atac": table(rng, cells, names)}
    counts["rna"].iloc[:, -3:-1] = 0
    counts["rna"].iloc[2, -3] = counts["rna"].iloc[[3, 4], -2] = 1  # In one and in two cells of the 120 that are left.
    ids = {name: f"ENSG{i:011d}" for i, name in enumerate(counts["rna"].columns)}
    write_tenx(folder / entry.path["data"], counts, ids)
    prefix = "hft_ctx_w21_dc1r3_r1_"
    final = [f"{prefix}{cell.removesuffix('-1')}" for cell in cells]
    lines = ["Cell.ID\tSample.ID\tCell.Barcode\tseurat_clusters\tATAC_cluster"]
    lines += [f"hft_ctx_w21_dc2r2_r1_{cell.removesuffix('-1')}\ts2\t{cell}\tc0\tc1" for cell in cells]
    lines += [f"{name}\ts1\t{name[-16:]}\tc1\tc{i % 2}" for i, name in enumerate(final[:120])]
    write_lines(folder / entry.annotations, lines)
    lines = ["Assay\tCluster.ID\tCluster.Name", "Multiome RNA\tc0\tnIPC", "Multiome RNA\tc1\tGluN1"]
    lines += ["Multiome ATAC\tc0\tRG", "Multiome ATAC\tc1\tGluN2"]
    write_lines(folder / entry.label_names["table"], lines)
    labels = [("RG", "GluN2")[i % 2] if i < 120 else None for i in range(130)]
    counts = {modality: frame.set_axis(final, axis=0) for modality, frame in counts.items()}
    return Truth(counts, pd.DataFrame({"cell_type": labels}, index=final), where, ids)


def gastrulation(entry: DatasetEntry, folder: Path) -> Truth:
    """Figshare of multiDGD: MuData with rna and atac, columns of the cells in the common table."""
    import anndata
    import mudata

    rng = rng_of(entry.name)
    cells = [f"E7.5_rep1#{name}" for name in barcodes(rng, 20, "-1")]
    names, where = intervals(15)
    counts = {"rna": table(rng, cells, genes(18)), "atac": table(rng, cells, names)}
    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData(
            {
                key: anndata.AnnData(
                    sp.csr_matrix(frame.to_numpy().astype(np.float32)),
                    obs=pd.DataFrame(index=cells),
                    var=pd.DataFrame(index=frame.columns),
                )
                for key, frame in counts.items()
            }
        )
        data.obs["celltype"] = ["Epiblast" if i % 2 else "Gut" for i in range(20)]
        data.obs["stage"] = ["E7.5"] * 10 + ["E8.0"] * 10
        data.obs["train_val_test"] = "train"
        data.write_h5mu(folder / entry.path["data"])
    obs = pd.DataFrame({"cell_type": list(data.obs["celltype"]), "batch": list(data.obs["stage"])}, index=cells)
    return Truth(counts, obs, where)


def gastrulation_all(entry: DatasetEntry, folder: Path) -> Truth:
    """GSE205117: a triplet of Cell Ranger ARC a sample; metadata whose cells are sample#barcode, with flags of R."""
    rng = rng_of(entry.name)
    ids = {name: f"ENSMUSG{i:011d}" for i, name in enumerate(genes(20))}
    names, where = intervals(10)
    blocks: dict[str, list[pd.DataFrame]] = {"rna": [], "atac": []}
    lines = ["cell\tbarcode\tsample\tstage\tgenotype\tcelltype.mapped\tpass_rnaQC\tpass_atacQC\tdoublet_call"]
    columns: dict[str, tuple[str | None, str]] = {}
    for number, part in enumerate(entry.parts):
        cells = barcodes(rng, 8, "-1")
        counts = {"rna": table(rng, cells, list(ids)), "atac": table(rng, cells, names)}
        write_triplet(folder, part_paths(entry, number), counts, ids, where)
        stage = part.sample.split("_")[0]
        for i, cell in enumerate(cells):
            final = f"{part.sample}#{cell}"
            good = i not in (2, 3)
            label = None if i == 4 else "Gut"
            flags = "TRUE\tTRUE" if good else ("FALSE\tTRUE", "TRUE\tFALSE")[i - 2]
            lines.append(f"{final}\t{cell}\t{part.sample}\t{stage}\tWT\t{label or 'NA'}\t{flags}\tFALSE")
            if good:
                columns[final] = (label, stage)
        for modality, frame in counts.items():
            blocks[modality].append(frame.set_axis([f"{part.sample}#{cell}" for cell in cells], axis=0))
    write_lines(folder / entry.annotations, lines)
    counts = {modality: pd.concat(frames).loc[list(columns)] for modality, frames in blocks.items()}
    obs = pd.DataFrame(list(columns.values()), columns=["cell_type", "batch"], index=list(columns))
    return Truth(counts, obs, where, ids)


BUILDERS: dict[str, Callable[[DatasetEntry, Path], Truth]] = {
    "neurips_bmmc_multiome": neurips,
    "neurips_bmmc_multiome_sites": neurips,
    "neurips_bmmc_cite": neurips,
    "pbmc_unsorted_multiome": tenx_multiome,
    "hematopoiesis_atac": hematopoiesis,
    "pbmc_rna_methods": ding,
    "dogma_pbmc": dogma,
    "dogma_pbmc_dig_ctrl": dogma,
    "tea_pbmc": tea,
    "scicar_cell_lines": scicar,
    "pairedseq_cell_lines": pairedseq,
    "snare_cell_lines": snare_lines,
    "snare_p0_cortex": snare_cortex,
    "share_gm12878_rep3": share,
    "share_gm12878_batches": share,
    "share_mouse_skin": share,
    "pbmc_granulocyte_multiome": tenx_multiome,
    "lymph_node_multiome": tenx_multiome,
    "human_cortex_multiome": cortex,
    "gastrulation_multiome": gastrulation,
    "gastrulation_multiome_all": gastrulation_all,
}


# --------------------------------------------------------------------------------------------------------
# The comparison
# --------------------------------------------------------------------------------------------------------


def filtered(truth: Truth, filters: dict) -> Truth:
    """The rules on dense tables, written down a second time."""
    counts, obs = dict(truth.counts), truth.obs
    if filters.get("labelled"):
        obs = obs[obs["cell_type"].notna()]
    enough = pd.Series(True, index=obs.index)
    for modality, least in filters.get("min_features", {}).items():
        enough &= (counts[modality].loc[obs.index] > 0).sum(axis=1) >= least
    obs = obs[enough]
    for modality, frame in counts.items():
        frame = frame.loc[obs.index]
        n_cells = (frame > 0).sum(axis=0)
        keep = n_cells >= filters.get("min_cells", {}).get(modality, 0)
        keep &= n_cells <= filters.get("max_cells", {}).get(modality, len(frame))
        keep &= n_cells >= filters.get("min_fraction", {}).get(modality, 0) * len(frame)
        frame = frame.loc[:, keep]
        if modality in filters.get("top_features", {}):
            order = frame.sum(axis=0).sort_values(ascending=False, kind="stable").index
            frame = frame[[name for name in frame if name in set(order[: filters["top_features"][modality]])]]
        counts[modality] = frame
    return dataclasses.replace(truth, counts=counts, obs=obs)


def assert_holds(data: Multimodal, truth: Truth) -> None:
    """Validated data hold exactly the cells, features, counts and columns of the truth; nothing else."""
    cells = set(truth.obs.index)
    filled = [set(frame.index[frame.sum(axis=1) > 0]) for frame in truth.counts.values()]
    assert set(data.obs.index) == cells.intersection(*filled)
    for modality, frame in truth.counts.items():
        frame = frame.loc[list(data.obs.index)]
        assert set(data.var[modality].index) == set(frame.columns[frame.sum(axis=0) > 0])
        assert isinstance(data.counts[modality], sp.csr_matrix)
        np.testing.assert_array_equal(data.counts[modality].toarray(), frame[list(data.var[modality].index)].to_numpy())
    for column in ("cell_type", "batch", "site", "donor", "condition"):
        if column not in truth.obs:
            assert column not in data.obs or column in ("cell_type", "batch")
            continue
        wanted = [None if pd.isna(value) else str(value) for value in truth.obs.loc[list(data.obs.index), column]]
        assert [None if pd.isna(value) else value for value in data.obs[column]] == wanted
    if "cell_type" not in truth.obs:
        assert data.obs["cell_type"].isna().all()
    if "batch" not in truth.obs:
        assert set(data.obs["batch"]) == {"all"}
    if "atac" in data.modalities:
        var = data.var["atac"]
        found = {
            name: tuple(row) for name, row in zip(var.index, var[["chrom", "start", "end"]].itertuples(index=False))
        }
        known = {name: place for name, place in truth.coordinates.items() if name in found}
        assert known and all(found[name] == place for name, place in known.items())
    if "rna" in data.modalities and truth.gene_ids:
        assert list(data.var["rna"]["gene_id"]) == [truth.gene_ids[name] for name in data.var["rna"].index]


@pytest.fixture(scope="module")
def registry(root):
    return load_registry(root / "config" / "datasets.yaml")


def test_every_entry_of_a_paper_is_tested(registry):
    named = {name for name, entry in registry.items() if entry.format != "simulated"}
    assert named == OURS | set(BUILDERS)


SMALLER = {"share_gm12878_rep3": {"top_features": {"rna": 100, "atac": 90}}}
"""Filters that need larger numbers than a test has, with smaller ones."""


@pytest.mark.parametrize("name", BUILDERS)
def test_an_entry_reads_files_of_the_real_form(registry, tmp_path, name):
    entry = registry[name]
    entry = dataclasses.replace(entry, filters={**entry.filters, **SMALLER.get(name, {})}, registry=entry.registry)
    truth = BUILDERS[name](entry, tmp_path)
    if name.startswith("share"):
        paths = share_paths(entry, tmp_path)
        data, _ = validate(load(entry, paths), name)
        without, _ = validate(load(dataclasses.replace(entry, filters={}), paths), name)
    else:
        paths = entry.resolve(tmp_path)
        assert entry.local_files(tmp_path)
        summary = prepare(entry, tmp_path, tmp_path / "out" / "data.h5mu", tmp_path / "out" / "summary.json", False)
        data = read_h5mu(tmp_path / "out" / "data.h5mu")
        assert summary["n_cells"] == data.n_obs and summary["validated"]
        without = None
    wanted = filtered(truth, entry.filters)
    assert_holds(data, wanted)
    if without is not None:
        assert_holds(without, truth)
    # A filter that drops nothing here would not be tested.
    if entry.filters.get("min_features"):
        assert len(wanted.obs) < len(truth.obs)
    for rule in ("min_cells", "min_fraction", "max_cells", "top_features"):
        for modality in entry.filters.get(rule, {}):
            assert wanted.counts[modality].shape[1] < truth.counts[modality].shape[1]


def test_the_sizes_that_the_papers_state(registry):
    stated = {
        "neurips_bmmc_multiome": 69_249,
        "neurips_bmmc_multiome_sites": 69_249,
        "pbmc_unsorted_multiome": 12_012,
        "hematopoiesis_atac": 47_148,
        "pbmc_rna_methods": 30_495,
        "snare_p0_cortex": 5_081,
        "share_gm12878_rep3": 67_418,
        "share_gm12878_batches": 2_973 + 8_803,
        "human_cortex_multiome": 3_534,
        "gastrulation_multiome": 56_861,
        "gastrulation_multiome_all": 56_861,
    }
    for name, n_cells in stated.items():
        assert registry[name].n_cells_available(None) == n_cells
    for name in BUILDERS:  # So that a full study can be planned without the files.
        assert registry[name].n_cells_available(None) > 0
        assert registry[name].citation and registry[name].organism


def test_each_file_without_a_checksum_says_where_it_is_from(registry):
    for name in BUILDERS:
        entry = registry[name]
        for role in entry.path:
            assert role in entry.origin or role in entry.url, (name, role)
