"""The loaders: the same data in every format give the same object, and faults of files are named."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.datasets.load import load
from benchmarks.datasets.loaders.intervals import chromosome, interval_table, parse_interval
from benchmarks.datasets.registry import DatasetEntry, load_registry
from benchmarks.datasets.validate import validate
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, write_h5mu

N_CELLS = 30
GENES, PEAKS, PROTEINS = 12, 8, 5


@pytest.fixture(scope="module")
def example() -> Multimodal:
    """Thirty cells with three modalities, in the form in which :func:`load` gives a data set."""
    rng = np.random.default_rng(7)
    names = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(N_CELLS)]
    labels = np.array(["B", "T", None], dtype=object)[rng.integers(0, 3, N_CELLS)]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(labels, categories=["B", "T"]),
            "batch": pd.Categorical(np.where(np.arange(N_CELLS) % 2, "s1d1", "s1d2")),
            "site": pd.Categorical(["s1"] * N_CELLS),
            "donor": pd.Categorical(np.where(np.arange(N_CELLS) % 2, "11", "12")),
            "pseudotime_x": np.where(np.arange(N_CELLS) < 10, np.linspace(0, 1, N_CELLS), np.nan),
        },
        index=pd.Index(names, dtype=object),
    )
    counts = {
        modality: sp.csr_matrix(rng.poisson(rate, (N_CELLS, width)).astype(np.float32))
        for modality, width, rate in (("rna", GENES, 1.0), ("atac", PEAKS, 0.7), ("protein", PROTEINS, 6.0))
    }
    symbols = [f"GENE{i}" for i in range(GENES)]
    intervals = [(f"chr{1 + i % 3}", 1000 * (i + 1), 1000 * (i + 1) + 500) for i in range(PEAKS)]
    var = {
        "rna": pd.DataFrame({"gene_id": [f"ENSG{i:05d}" for i in range(GENES)], "gene_symbol": symbols}, index=symbols),
        "atac": pd.DataFrame(
            intervals, columns=["chrom", "start", "end"], index=[f"{c}:{s}-{e}" for c, s, e in intervals]
        ),
        "protein": pd.DataFrame(index=[f"CD{i}" for i in range(PROTEINS)]),
    }
    return Multimodal(obs, counts, var)


def assert_same(found: Multimodal, wanted: Multimodal, modalities: tuple[str, ...], labelled: bool = True) -> None:
    """Equal counts, names, coordinates and, where the format has them, labels."""
    assert found.modalities == modalities
    for modality in modalities:
        assert found.counts[modality].dtype == np.float32
        assert isinstance(found.counts[modality], sp.csr_matrix)
        np.testing.assert_array_equal(found.counts[modality].toarray(), wanted.counts[modality].toarray())
        assert list(found.var[modality].index) == list(wanted.var[modality].index)
        assert list(found.rows[modality]) == list(range(wanted.n_obs))
    assert list(found.obs.index) == list(wanted.obs.index)
    if "rna" in modalities:
        assert list(found.var["rna"]["gene_id"]) == list(wanted.var["rna"]["gene_id"])
        assert list(found.var["rna"]["gene_symbol"]) == list(wanted.var["rna"]["gene_symbol"])
    if "atac" in modalities:
        for column in ("chrom", "start", "end"):
            assert list(found.var["atac"][column]) == list(wanted.var["atac"][column])
    if labelled:
        for column in ("cell_type", "batch", "site", "donor"):
            assert found.obs[column].dtype.name == "category"
            expected = [None if pd.isna(value) else value for value in wanted.obs[column]]
            assert [None if pd.isna(value) else value for value in found.obs[column]] == expected
        np.testing.assert_allclose(found.obs["pseudotime_x"], wanted.obs["pseudotime_x"])


# --------------------------------------------------------------------------------------------------------
# Writers of each format, as the programs that make them write it
# --------------------------------------------------------------------------------------------------------


def others_obs(example: Multimodal) -> pd.DataFrame:
    """The cell table under the names of GSE194122."""
    obs = example.obs.rename(
        columns={"cell_type": "celltype_l2", "site": "Site", "donor": "DonorNumber", "pseudotime_x": "x"}
    )
    obs["DonorNumber"] = obs["DonorNumber"].astype(str).astype(np.int64)
    obs["GEX_n_genes"] = 1.0
    return obs


OTHERS = {"labels": "celltype_l2", "batch": "batch", "site": "Site", "donor": "DonorNumber", "pseudotime": ("x",)}


def others_var(example: Multimodal, modality: str) -> pd.DataFrame:
    return (
        example.var["rna"].drop(columns="gene_symbol")
        if modality == "rna"
        else pd.DataFrame(index=example.var[modality].index)
    )


def write_anndata(path: Path, obs, matrix, var, layers=None, raw=None) -> None:
    import anndata

    adata = anndata.AnnData(X=matrix, obs=obs.copy(), var=var.copy(), layers=layers)
    if raw is not None:
        adata.raw = anndata.AnnData(X=raw, obs=obs.copy(), var=var.copy())
    adata.write_h5ad(path)


def write_tenx(path: Path, example: Multimodal, modalities: tuple[str, ...], interval: bool = True) -> None:
    kinds = {"rna": "Gene Expression", "atac": "Peaks", "protein": "Antibody Capture"}
    ids, names, types, intervals = [], [], [], []
    for modality in modalities:
        var = example.var[modality]
        ids += list(var["gene_id"] if modality == "rna" else var.index)
        names += list(var.index)
        types += [kinds[modality]] * len(var)
        intervals += list(var.index) if modality == "atac" else ["NA"] * len(var)
    matrix = sp.csc_matrix(sp.hstack([example.counts[modality] for modality in modalities]).T)
    text = {
        name: np.array(values, dtype="S") for name, values in (("id", ids), ("name", names), ("feature_type", types))
    }
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(list(example.obs.index), dtype="S")
        group["data"] = matrix.data.astype(np.int32)
        group["indices"] = matrix.indices.astype(np.int64)
        group["indptr"] = matrix.indptr.astype(np.int64)
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        features = group.create_group("features")
        for name, values in text.items():
            features[name] = values
        features["genome"] = np.array(["GRCh38"] * len(ids), dtype="S")
        features["_all_tag_keys"] = np.array(["genome", "interval"] if interval else ["genome"], dtype="S")
        if interval:
            features["interval"] = np.array(intervals, dtype="S")


def write_triplet(
    folder: Path, example: Multimodal, modalities: tuple[str, ...], packed: bool, prefix: str = "", typed: bool = True
) -> None:
    kinds = {"rna": "Gene Expression", "atac": "Peaks", "protein": "Antibody Capture"}
    folder.mkdir(parents=True, exist_ok=True)
    matrix = sp.coo_matrix(sp.hstack([example.counts[modality] for modality in modalities]).T)
    lines = ["%%MatrixMarket matrix coordinate integer general", '%metadata_json: {"software_version": "cellranger"}']
    lines.append(f"{matrix.shape[0]} {matrix.shape[1]} {matrix.nnz}")
    lines += [f"{row + 1} {column + 1} {int(value)}" for row, column, value in zip(matrix.row, matrix.col, matrix.data)]
    features = []
    for modality in modalities:
        for name, facts in example.var[modality].iterrows():
            identifier = facts["gene_id"] if modality == "rna" else name
            features.append("\t".join([identifier, name, *([kinds[modality]] if typed else [])]))
    for name, content in (("matrix.mtx", lines), ("barcodes.tsv", list(example.obs.index)), ("features.tsv", features)):
        data = ("\n".join(content) + "\n").encode()
        target = folder / f"{prefix}{name}{'.gz' if packed else ''}"
        target.write_bytes(gzip.compress(data, mtime=0) if packed else data)


def write_annotations(path: Path, example: Multimodal) -> None:
    obs = example.obs.iloc[::-1].copy()
    obs.index.name = "barcode"
    obs.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", na_rep="NA")


def entry(format: str, modalities: tuple[str, ...] = ("rna", "atac", "protein"), **keys) -> DatasetEntry:
    return DatasetEntry(name="example", format=format, modalities=modalities, **keys)


# --------------------------------------------------------------------------------------------------------
# The same object from every format
# --------------------------------------------------------------------------------------------------------


def test_h5mu_of_ours(example, tmp_path):
    write_h5mu(tmp_path / "data.h5mu", example)
    found = load(entry("h5mu"), {"data": tmp_path / "data.h5mu"})
    assert_same(found, example, ("rna", "atac", "protein"))


def test_h5mu_of_muon_with_other_names_and_columns_in_a_modality(example, tmp_path):
    import anndata
    import mudata

    names = {"rna": "gex", "atac": "atac", "protein": "adt_raw"}
    with mudata.set_options(pull_on_update=False):
        parts = {}
        for modality, name in names.items():
            obs = others_obs(example) if modality == "rna" else pd.DataFrame(index=example.obs.index)
            parts[name] = anndata.AnnData(example.counts[modality].copy(), obs=obs, var=others_var(example, modality))
        mudata.MuData(parts).write_h5mu(tmp_path / "data.h5mu")
    found = load(entry("h5mu", modality_names={"protein": "adt_raw"}, **OTHERS), {"data": tmp_path / "data.h5mu"})
    assert_same(found, example, ("rna", "atac", "protein"))


def test_h5mu_of_muon_with_columns_pulled_up(example, tmp_path):
    import anndata
    import mudata

    with mudata.set_options(pull_on_update=True):
        parts = {}
        for modality in example.modalities:
            obs = others_obs(example) if modality == "rna" else pd.DataFrame(index=example.obs.index)
            parts[modality] = anndata.AnnData(
                example.counts[modality].copy(), obs=obs, var=others_var(example, modality)
            )
        mudata.MuData(parts).write_h5mu(tmp_path / "data.h5mu")
    found = load(entry("h5mu", **OTHERS), {"data": tmp_path / "data.h5mu"})
    assert_same(found, example, ("rna", "atac", "protein"))


def test_h5mu_counts_from_a_layer_are_preferred_to_normalised_values(example, tmp_path):
    import anndata
    import mudata

    with mudata.set_options(pull_on_update=False):
        parts = {}
        for modality in ("rna", "protein"):
            matrix = example.counts[modality]
            obs = others_obs(example) if modality == "rna" else pd.DataFrame(index=example.obs.index)
            parts[modality] = anndata.AnnData(
                matrix.log1p(), obs=obs, var=others_var(example, modality), layers={"counts": matrix.copy()}
            )
        mudata.MuData(parts).write_h5mu(tmp_path / "data.h5mu")
    paths = {"data": tmp_path / "data.h5mu"}
    assert_same(load(entry("h5mu", ("rna", "protein"), **OTHERS), paths), example, ("rna", "protein"))
    normalised = load(entry("h5mu", ("rna", "protein"), counts_from="X", **OTHERS), paths)
    with pytest.raises(InputError, match=r"not a whole number.*counts_from"):
        validate(normalised, "example")


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_h5ad_files_in_different_orders(example, tmp_path, kind):
    form = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": lambda matrix: matrix.toarray()}[kind]
    order = {
        "rna": np.arange(N_CELLS),
        "atac": np.arange(N_CELLS)[::-1],
        "protein": np.random.default_rng(1).permutation(N_CELLS),
    }
    for modality in example.modalities:
        obs = others_obs(example) if modality == "rna" else pd.DataFrame(index=example.obs.index)
        rows = order[modality]
        write_anndata(
            tmp_path / f"{modality}.h5ad",
            obs.iloc[rows],
            form(example.counts[modality][rows]),
            others_var(example, modality),
        )
    paths = {modality: tmp_path / f"{modality}.h5ad" for modality in example.modalities}
    assert_same(load(entry("h5ad_pair", **OTHERS), paths), example, ("rna", "atac", "protein"))


def test_h5ad_counts_from_raw(example, tmp_path):
    matrix = example.counts["rna"]
    write_anndata(tmp_path / "rna.h5ad", others_obs(example), matrix.log1p(), others_var(example, "rna"), raw=matrix)
    found = load(entry("h5ad_pair", ("rna",), counts_from="raw", **OTHERS), {"rna": tmp_path / "rna.h5ad"})
    assert_same(found, example, ("rna",))


@pytest.mark.parametrize("modalities", [("rna", "atac"), ("rna", "protein"), ("rna", "atac", "protein")])
@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_tenx_h5(example, tmp_path, modalities, ending):
    write_tenx(tmp_path / "filtered_feature_bc_matrix.h5", example, modalities, interval="atac" in modalities)
    write_annotations(tmp_path / f"cells.{ending}", example)
    paths = {"data": tmp_path / "filtered_feature_bc_matrix.h5", "annotations": tmp_path / f"cells.{ending}"}
    found = load(entry("10x_h5", modalities, annotations=f"cells.{ending}"), paths)
    assert_same(found, example, modalities)
    without = load(entry("10x_h5", modalities), {"data": paths["data"]})
    assert_same(without, example, modalities, labelled=False)
    assert list(without.obs.columns) == []


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("prefix", ["", "GSM0000001_"])
def test_matrix_market_folder(example, tmp_path, packed, prefix):
    write_triplet(tmp_path / "folder", example, ("rna", "atac", "protein"), packed, prefix)
    write_annotations(tmp_path / "cells.tsv", example)
    paths = {"data": tmp_path / "folder", "annotations": tmp_path / "cells.tsv"}
    found = load(entry("matrix_market", annotations="cells.tsv", annotations_key="barcode"), paths)
    assert_same(found, example, ("rna", "atac", "protein"))
    assert found.uns["repairs"] == []


def test_matrix_market_triplet_for_each_modality_with_a_bed_file(example, tmp_path):
    for modality in ("rna", "atac"):
        write_triplet(tmp_path / modality, example, (modality,), packed=False, typed=False)
    (tmp_path / "atac" / "features.tsv").unlink()
    peaks = example.var["atac"][["chrom", "start", "end"]]
    peaks.to_csv(tmp_path / "atac" / "peaks.bed", sep="\t", header=False, index=False)
    found = load(entry("matrix_market", ("rna", "atac")), {"rna": tmp_path / "rna", "atac": tmp_path / "atac"})
    assert_same(found, example, ("rna", "atac"), labelled=False)
    roles = {
        f"{modality}.{role}": tmp_path / modality / name
        for modality in ("rna", "atac")
        for role, name in (
            ("matrix", "matrix.mtx"),
            ("barcodes", "barcodes.tsv"),
            ("features", "features.tsv" if modality == "rna" else "peaks.bed"),
        )
    }
    assert_same(load(entry("matrix_market", ("rna", "atac")), roles), example, ("rna", "atac"), labelled=False)


def test_matrix_market_features_with_coordinates(example, tmp_path):
    """Cell Ranger ARC: six columns, also for genes."""
    write_triplet(tmp_path, example, ("rna", "atac"), packed=False)
    lines = (tmp_path / "features.tsv").read_text().splitlines()
    peaks = example.var["atac"]
    for number in range(GENES + PEAKS):
        place = (
            ["chr9", "5", "900"]
            if number < GENES
            else [str(value) for value in peaks.iloc[number - GENES][["chrom", "start", "end"]]]
        )
        lines[number] += "\t" + "\t".join(place)
    (tmp_path / "features.tsv").write_text("\n".join(lines) + "\n")
    found = load(entry("matrix_market", ("rna", "atac")), {"data": tmp_path})
    assert_same(found, example, ("rna", "atac"), labelled=False)
    assert set(found.var["rna"]["chrom"]) == {"chr9"}


def test_matrix_market_of_cells_x_features_is_turned_and_said(example, tmp_path):
    write_triplet(tmp_path, example, ("rna", "protein"), packed=False)
    path = tmp_path / "matrix.mtx"
    head, comment, sizes, *entries = path.read_text().splitlines()
    turned = [" ".join([line.split()[1], line.split()[0], line.split()[2]]) for line in [sizes, *entries]]
    path.write_text("\n".join([head, comment, *turned]) + "\n")
    found = load(entry("matrix_market", ("rna", "protein")), {"data": tmp_path})
    assert_same(found, example, ("rna", "protein"), labelled=False)
    assert found.uns["repairs"] == [f"matrix.mtx: transposed, it is cells x features ({N_CELLS} x {GENES + PROTEINS})"]
    assert validate(found, "example")[1][0].startswith("matrix.mtx: transposed")
    with pytest.raises(InputError, match="labels"):
        validate(found, "example", repair=False)


@pytest.mark.parametrize("modalities", [("rna", "atac"), ("rna", "protein")])
def test_feature_types_as_in_gse194122(example, tmp_path, modalities):
    kinds = {"rna": "GEX", "atac": "ATAC", "protein": "ADT"}
    matrix = sp.csr_matrix(sp.hstack([example.counts[modality] for modality in modalities]))
    var = pd.concat([others_var(example, modality).assign(feature_types=kinds[modality]) for modality in modalities])
    if "atac" in modalities:  # GSE194122 writes chr1-9776-10668.
        var.index = [name.replace(":", "-") if name.startswith("chr") else name for name in var.index]
    write_anndata(tmp_path / "data.h5ad", others_obs(example), matrix.log1p(), var, layers={"counts": matrix})
    found = load(entry("h5ad_feature_types", modalities, **OTHERS), {"data": tmp_path / "data.h5ad"})
    if "atac" in modalities:
        assert list(found.var["atac"].index) == [name.replace(":", "-") for name in example.var["atac"].index]
        found.var["atac"].index = example.var["atac"].index
    assert_same(found, example, modalities)


def test_feature_types_in_the_layout_of_anndata_0_7(example, tmp_path):
    """GSE194122 was written by anndata 0.7: categories apart from their codes, tables of encoding 0.1.0."""
    matrix = sp.csr_matrix(sp.hstack([example.counts["rna"], example.counts["protein"]]))
    obs = others_obs(example)
    text = h5py.string_dtype()
    with h5py.File(tmp_path / "data.h5ad", "w") as file:
        table = file.create_group("obs")
        table.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
        table.attrs["column-order"] = np.array(["celltype_l2", "batch", "Site", "DonorNumber", "x"], dtype=text)
        table.create_dataset("_index", data=np.array(obs.index, dtype=object), dtype=text)
        table["DonorNumber"], table["x"] = obs["DonorNumber"].to_numpy(), obs["x"].to_numpy()
        for column in ("celltype_l2", "batch", "Site"):
            categories = table.require_group("__categories").create_dataset(
                column, data=np.array(obs[column].cat.categories, dtype=object), dtype=text
            )
            table[column] = obs[column].cat.codes.to_numpy().astype(np.int8)
            table[column].attrs["categories"] = categories.ref
        var = file.create_group("var")
        var.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
        var.attrs["column-order"] = np.array(["feature_types", "gene_id"], dtype=text)
        names = [*example.var["rna"].index, *example.var["protein"].index]
        var.create_dataset("_index", data=np.array(names, dtype=object), dtype=text)
        kinds = ["GEX"] * GENES + ["ADT"] * PROTEINS
        var.create_dataset("feature_types", data=np.array(kinds, dtype=object), dtype=text)
        identifiers = [*example.var["rna"]["gene_id"], *example.var["protein"].index]
        var.create_dataset("gene_id", data=np.array(identifiers, dtype=object), dtype=text)
        for place, values in (("X", matrix.log1p()), ("layers/counts", matrix)):
            group = file.create_group(place)
            group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": matrix.shape})
            group["data"], group["indices"], group["indptr"] = values.data, values.indices, values.indptr
    found = load(entry("h5ad_feature_types", ("rna", "protein"), **OTHERS), {"data": tmp_path / "data.h5ad"})
    assert_same(found, example, ("rna", "protein"))


def test_tables_as_one_compound_dataset(example, tmp_path):
    """The layout before anndata 0.7."""
    matrix = example.counts["rna"]
    with h5py.File(tmp_path / "rna.h5ad", "w") as file:
        obs = np.array(
            list(zip(example.obs.index, example.obs["batch"].astype(str))), dtype=[("index", "S40"), ("batch", "S10")]
        )
        var = np.array(
            list(zip(example.var["rna"].index, example.var["rna"]["gene_id"])),
            dtype=[("index", "S40"), ("gene_ids", "S20")],
        )
        file["obs"], file["var"] = obs, var
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": matrix.shape})
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
    found = load(entry("h5ad_pair", ("rna",), batch="batch"), {"rna": tmp_path / "rna.h5ad"})
    assert_same(found, example, ("rna",), labelled=False)
    assert list(found.obs["batch"]) == list(example.obs["batch"])


# --------------------------------------------------------------------------------------------------------
# Cells in some files only, labels
# --------------------------------------------------------------------------------------------------------


def test_cells_of_one_file_only_keep_their_place(example, tmp_path):
    write_anndata(
        tmp_path / "rna.h5ad", others_obs(example).iloc[:20], example.counts["rna"][:20], others_var(example, "rna")
    )
    write_anndata(
        tmp_path / "adt.h5ad",
        others_obs(example).iloc[10:],
        example.counts["protein"][10:],
        others_var(example, "protein"),
    )
    paths = {"rna": tmp_path / "rna.h5ad", "protein": tmp_path / "adt.h5ad"}
    found = load(entry("h5ad_pair", ("rna", "protein"), **OTHERS), paths)
    assert list(found.obs.index) == list(example.obs.index)
    assert list(found.rows["rna"]) == list(range(20))
    assert list(found.rows["protein"]) == list(range(10, 30))
    assert list(found.obs["batch"]) == list(example.obs["batch"])
    kept, repairs = validate(found, "example")
    assert list(kept.obs.index) == list(example.obs.index[10:20])
    assert repairs[0].startswith("20 cells not in every modality")
    np.testing.assert_array_equal(kept.counts["protein"].toarray(), example.counts["protein"][10:20].toarray())


def test_files_that_contradict_each_other(example, tmp_path):
    other = example.obs.copy()
    other["batch"] = other["batch"].astype(object)
    other.iloc[4, other.columns.get_loc("batch")] = "s9"
    write_anndata(tmp_path / "rna.h5ad", example.obs, example.counts["rna"], others_var(example, "rna"))
    write_anndata(tmp_path / "adt.h5ad", other, example.counts["protein"], others_var(example, "protein"))
    with pytest.raises(InputError, match=rf"adt.h5ad.*'batch'.*{example.obs.index[4]}.*'s9'"):
        load(entry("h5ad_pair", ("rna", "protein")), {"rna": tmp_path / "rna.h5ad", "protein": tmp_path / "adt.h5ad"})


def test_no_cell_in_common(example, tmp_path):
    renamed = others_obs(example).set_axis([name.replace("-1", "-2") for name in example.obs.index], axis=0)
    write_anndata(tmp_path / "rna.h5ad", others_obs(example), example.counts["rna"], others_var(example, "rna"))
    write_anndata(tmp_path / "adt.h5ad", renamed, example.counts["protein"], others_var(example, "protein"))
    with pytest.raises(InputError, match=r"no cell in common.*suffixes"):
        load(entry("h5ad_pair", ("rna", "protein")), {"rna": tmp_path / "rna.h5ad", "protein": tmp_path / "adt.h5ad"})


def test_one_file_transposed(example, tmp_path):
    write_anndata(tmp_path / "rna.h5ad", others_obs(example), example.counts["rna"], others_var(example, "rna"))
    write_anndata(
        tmp_path / "adt.h5ad",
        others_var(example, "protein"),
        example.counts["protein"].T.tocsr(),
        pd.DataFrame(index=example.obs.index),
    )
    with pytest.raises(InputError, match=r"adt.h5ad is transposed"):
        load(entry("h5ad_pair", ("rna", "protein")), {"rna": tmp_path / "rna.h5ad", "protein": tmp_path / "adt.h5ad"})


def test_duplicated_cells_in_one_of_two_files(example, tmp_path):
    names = list(example.obs.index)
    names[5] = names[2]
    write_anndata(tmp_path / "rna.h5ad", others_obs(example), example.counts["rna"], others_var(example, "rna"))
    write_anndata(
        tmp_path / "adt.h5ad", pd.DataFrame(index=names), example.counts["protein"], others_var(example, "protein")
    )
    with pytest.raises(InputError, match=rf"adt.h5ad: cell name '{names[2]}' is there 2 times"):
        load(entry("h5ad_pair", ("rna", "protein")), {"rna": tmp_path / "rna.h5ad", "protein": tmp_path / "adt.h5ad"})


def test_missing_labels_are_missing_however_they_are_written(example, tmp_path):
    write_tenx(tmp_path / "m.h5", example, ("rna",), interval=False)
    words = ["", "NA", "nan", "None", "null", " B ", "N/A"]
    lines = ["barcode,kind"] + [f"{name},{words[i % len(words)]}" for i, name in enumerate(example.obs.index[:14])]
    (tmp_path / "cells.csv").write_text("\n".join(lines) + "\n")
    found = load(
        entry("10x_h5", ("rna",), annotations="cells.csv", labels="kind"),
        {"data": tmp_path / "m.h5", "annotations": tmp_path / "cells.csv"},
    )
    assert list(found.obs["cell_type"].cat.categories) == ["B"]
    assert int(found.obs["cell_type"].notna().sum()) == 2


def test_annotations_written_by_r_lack_the_first_head(example, tmp_path):
    write_tenx(tmp_path / "m.h5", example, ("rna",), interval=False)
    lines = ["kind\tbatch"] + [f"{name}\tB\t1" for name in example.obs.index]
    with gzip.open(tmp_path / "cells.tsv.gz", "wt") as stream:
        stream.write("\n".join(lines) + "\n")
    paths = {"data": tmp_path / "m.h5", "annotations": tmp_path / "cells.tsv.gz"}
    found = load(entry("10x_h5", ("rna",), annotations="cells.tsv.gz", labels="kind"), paths)
    assert set(found.obs["cell_type"]) == {"B"}
    assert set(found.obs["batch"]) == {"1"}


# --------------------------------------------------------------------------------------------------------
# Faults of files
# --------------------------------------------------------------------------------------------------------


def test_a_missing_column_is_named_with_the_closest(example, tmp_path):
    write_anndata(tmp_path / "rna.h5ad", others_obs(example), example.counts["rna"], others_var(example, "rna"))
    for key, column, close in (
        ("labels", "celltype", "celltype_l2"),
        ("batch", "Batch", "batch"),
        ("site", "sites", "Site"),
    ):
        with pytest.raises(
            InputError, match=rf"rna.h5ad.*no column '{column}' \(did you mean '{close}'\?\); correct {key}"
        ):
            load(entry("h5ad_pair", ("rna",), **{**OTHERS, key: column}), {"rna": tmp_path / "rna.h5ad"})


def test_pseudotime_that_is_text(example, tmp_path):
    write_anndata(tmp_path / "rna.h5ad", example.obs, example.counts["rna"], others_var(example, "rna"))
    with pytest.raises(InputError, match=r"'batch' of cell .* is 's1d\d', no number; correct pseudotime"):
        load(entry("h5ad_pair", ("rna",), pseudotime=("batch",)), {"rna": tmp_path / "rna.h5ad"})


def test_a_modality_that_is_not_there(example, tmp_path):
    write_tenx(tmp_path / "m.h5", example, ("rna", "protein"), interval=False)
    with pytest.raises(
        InputError, match=r"m.h5: no modality 'atac'.*'Antibody Capture', 'Gene Expression'.*modality_names"
    ):
        load(entry("10x_h5", ("rna", "atac")), {"data": tmp_path / "m.h5"})
    with pytest.raises(InputError, match=r"no 'Peptides' for modality 'protein'"):
        load(entry("10x_h5", ("rna", "protein"), modality_names={"protein": "Peptides"}), {"data": tmp_path / "m.h5"})


def test_the_feature_type_column_is_not_there(example, tmp_path):
    write_anndata(
        tmp_path / "a.h5ad",
        others_obs(example),
        example.counts["rna"],
        others_var(example, "rna").assign(feature_type="GEX"),
    )
    with pytest.raises(InputError, match=r"no column 'feature_types' \(did you mean 'feature_type'\?\)"):
        load(entry("h5ad_feature_types", ("rna",), **OTHERS), {"data": tmp_path / "a.h5ad"})


def test_a_layer_that_is_not_there(example, tmp_path):
    write_anndata(
        tmp_path / "rna.h5ad",
        others_obs(example),
        example.counts["rna"],
        others_var(example, "rna"),
        layers={"counts": example.counts["rna"]},
    )
    with pytest.raises(InputError, match=r"no layer 'count' \(did you mean 'counts'\?\); correct counts_from"):
        load(entry("h5ad_pair", ("rna",), counts_from="count"), {"rna": tmp_path / "rna.h5ad"})
    with pytest.raises(InputError, match=r"no raw/X; correct counts_from"):
        load(entry("h5ad_pair", ("rna",), counts_from="raw"), {"rna": tmp_path / "rna.h5ad"})


def test_a_matrix_whose_shape_is_that_of_the_other_axis(example, tmp_path):
    write_anndata(
        tmp_path / "rna.h5ad", others_obs(example), example.counts["rna"].toarray(), others_var(example, "rna")
    )
    with h5py.File(tmp_path / "rna.h5ad", "a") as file:
        values = file["X"][:]
        del file["X"]
        file["X"] = values.T
    with pytest.raises(InputError, match=r"rna.h5ad: X is transposed: 12 x 30, but there are 30 cells and 12 features"):
        load(entry("h5ad_pair", ("rna",)), {"rna": tmp_path / "rna.h5ad"})


def test_tenx_h5_with_shape_exchanged(example, tmp_path):
    write_tenx(tmp_path / "m.h5", example, ("rna",), interval=False)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["matrix/shape"][:] = file["matrix/shape"][:][::-1]
    with pytest.raises(InputError, match=r"m.h5: matrix is transposed"):
        load(entry("10x_h5", ("rna",)), {"data": tmp_path / "m.h5"})


def test_indices_beyond_the_matrix_are_refused(example, tmp_path):
    write_tenx(tmp_path / "m.h5", example, ("rna",), interval=False)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["matrix/indices"][3] = 10_000
    with pytest.raises(InputError, match=r"m.h5: not readable as '10x_h5'.*fetch or make it again"):
        load(entry("10x_h5", ("rna",)), {"data": tmp_path / "m.h5"})


@pytest.mark.parametrize("format", ["h5mu", "h5ad_pair", "10x_h5", "h5ad_feature_types"])
@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"no HDF5 at all\n" * 100], ids=["empty", "cut off", "text"]
)
def test_files_that_are_no_hdf5(tmp_path, format, content):
    (tmp_path / "x").write_bytes(content)
    role = "rna" if format == "h5ad_pair" else "data"
    with pytest.raises(InputError, match=r"x: not a readable HDF5 file"):
        load(entry(format, ("rna",)), {role: tmp_path / "x"})


@pytest.mark.parametrize("format", ["h5mu", "h5ad_pair", "10x_h5", "h5ad_feature_types"])
def test_hdf5_of_another_kind(tmp_path, format):
    with h5py.File(tmp_path / "x", "w") as file:
        file["something"] = [1, 2, 3]
    role = "rna" if format == "h5ad_pair" else "data"
    with pytest.raises(InputError, match=r"x: no "):
        load(entry(format, ("rna",)), {role: tmp_path / "x"})


def test_a_truncated_h5mu(example, tmp_path):
    write_h5mu(tmp_path / "whole.h5mu", example)
    content = (tmp_path / "whole.h5mu").read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "x.h5mu").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"x\.h5mu"):
            load(entry("h5mu"), {"data": tmp_path / "x.h5mu"})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"gone.h5mu: no such file.*data_dir"):
        load(entry("h5mu"), {"data": tmp_path / "gone.h5mu"})


def test_matrix_market_faults(example, tmp_path):
    def again() -> dict[str, Path]:
        write_triplet(tmp_path, example, ("rna", "protein"), packed=False)
        return {"data": tmp_path}

    wanted = entry("matrix_market", ("rna", "protein"))
    content = (again()["data"] / "barcodes.tsv").read_text()
    (tmp_path / "barcodes.tsv").write_text("barcode\n" + content)
    message = "matrix.mtx: 17 x 30, but features.tsv has 17 lines and barcodes.tsv"
    with pytest.raises(InputError, match=rf"{message} 31; does a table have a header line\? remove it"):
        load(wanted, {"data": tmp_path})
    (tmp_path / "barcodes.tsv").write_text("\n".join(content.splitlines()[1:]) + "\n")
    with pytest.raises(InputError, match=rf"{message} 29; fetch the files that belong together"):
        load(wanted, {"data": tmp_path})
    lines = (again()["data"] / "matrix.mtx").read_text().splitlines()
    (tmp_path / "matrix.mtx").write_text("\n".join(lines[:20]) + "\n")
    with pytest.raises(InputError, match=r"matrix.mtx"):
        load(wanted, {"data": tmp_path})
    lines[2] = "17 30 999999999999"
    (tmp_path / "matrix.mtx").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"matrix.mtx: is too short for its 999999999999 entries"):
        load(wanted, {"data": tmp_path})
    (tmp_path / "matrix.mtx").write_text("gene,cell,count\n")
    with pytest.raises(InputError, match=r"does not start with '%%MatrixMarket"):
        load(wanted, {"data": tmp_path})
    (again()["data"] / "genes.tsv").write_text("x\n")
    with pytest.raises(InputError, match=r"several files \(features.tsv, genes.tsv\)"):
        load(wanted, {"data": tmp_path})
    (tmp_path / "genes.tsv").unlink()
    (tmp_path / "barcodes.tsv").unlink()
    with pytest.raises(InputError, match=r"no file ending in barcodes.tsv"):
        load(wanted, {"data": tmp_path})


def test_matrix_market_cut_off_gz(example, tmp_path):
    write_triplet(tmp_path, example, ("rna",), packed=True)
    content = (tmp_path / "matrix.mtx.gz").read_bytes()
    (tmp_path / "matrix.mtx.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"not readable as 'matrix_market'"):
        load(entry("matrix_market", ("rna",)), {"data": tmp_path})


def test_matrix_market_without_feature_types(example, tmp_path):
    write_triplet(tmp_path, example, ("rna", "protein"), packed=False, typed=False)
    with pytest.raises(InputError, match=r"features.tsv: no third column with feature types"):
        load(entry("matrix_market", ("rna", "protein")), {"data": tmp_path})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("barcode\tkind\n", "no table with a head line"),
        ("barcode\tkind\nx\tB\ny\n", r"line 3 has 1 columns, the head has 2"),
        ("barcode\tkind\nx\tB\nx\tB\n", r"cell 'x' is named twice"),
        ("barcode\tkind\nx\tB\n", r"names no cell of the data \(first here 'x', there '[ACGT]{16}-1'\)"),
        ("cell\tkind\nx\tB\n", r"no column 'barcode' \(known: cell, kind\); correct annotations_key"),
    ],
)
def test_faults_of_annotations(example, tmp_path, text, message):
    write_tenx(tmp_path / "m.h5", example, ("rna",), interval=False)
    (tmp_path / "cells.tsv").write_text(text)
    paths = {"data": tmp_path / "m.h5", "annotations": tmp_path / "cells.tsv"}
    with pytest.raises(InputError, match=rf"cells.tsv: {message}"):
        load(entry("10x_h5", ("rna",), annotations="cells.tsv", annotations_key="barcode"), paths)


# --------------------------------------------------------------------------------------------------------
# Intervals
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("chr1:100-200", ("chr1", 100, 200)),
        ("chr1-100-200", ("chr1", 100, 200)),
        ("chr1_100_200", ("chr1", 100, 200)),
        ("1-100-200", ("chr1", 100, 200)),
        ("X:5-5", ("chrX", 5, 5)),
        ("MT:1-2", ("chrM", 1, 2)),
        ("chr1:1,000-2,000", ("chr1", 1000, 2000)),
        ("GL000194.1:55758-56597", ("GL000194.1", 55758, 56597)),
        ("chr1_KI270706v1_random-100-200", ("chr1_KI270706v1_random", 100, 200)),
        ("chr1:200-100", None),
        ("CD3", None),
        ("chr1", None),
        ("chr1:-5-10", None),
        ("", None),
        ("chr1:,-,", None),
    ],
)
def test_parse_interval(name, wanted):
    assert parse_interval(name) == wanted


@given(
    chrom=st.one_of(
        st.integers(1, 22).map(lambda i: f"chr{i}"), st.sampled_from(["chrX", "chrM", "KI270728.1", "chrUn_GL000195v1"])
    ),
    start=st.integers(0, 10**9),
    length=st.integers(0, 10**6),
    form=st.sampled_from(["{}:{}-{}", "{}-{}-{}", "{}_{}_{}", "{}:{:,}-{:,}", "{}-{}_{}"]),
)
def test_parse_interval_inverts_every_form(chrom, start, length, form):
    assert parse_interval(form.format(chrom, start, start + length)) == (chrom, start, start + length)


@given(st.text(max_size=40))
def test_parse_interval_takes_any_text(text):
    parsed = parse_interval(text)
    assert parsed is None or (parsed[0] and 0 <= parsed[1] <= parsed[2])


def test_chromosome_and_table():
    assert [chromosome(name) for name in ("1", "22", "30", "X", "M", "chr7", "2L")] == [
        "chr1",
        "chr22",
        "30",
        "chrX",
        "chrM",
        "chr7",
        "2L",
    ]
    assert interval_table(["a", "b"]) is None
    table = interval_table(["chr1:1-2", "odd"])
    assert table["chrom"].tolist() == ["chr1", None]
    assert table["start"].tolist() == [1, -1]


# --------------------------------------------------------------------------------------------------------
# Real files
# --------------------------------------------------------------------------------------------------------

REAL = {
    "snare_mouse_cortex": (10_309, {"rna": 1_677, "atac": 25_734}, 23, 12, 0),
    "scicar_a549": (2_641, {"rna": 1_185, "atac": 28_196}, 3, 5, 0),
    "pbmc10k_cite": (6_855, {"rna": 4_000, "protein": 14}, 7, 1, 861),
    "teaseq_rna_protein": (1_262, {"rna": 9_855, "protein": 46}, 11, 1, 0),
    "bmmc_multiome": (500, {"rna": 1_134, "atac": 600}, 21, 2, 0),
    "bmmc_cite": (600, {"rna": 1_158, "protein": 134}, 41, 2, 0),
}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_files(root, data_dir, name):
    n_cells, n_features, n_types, n_batches, n_unlabelled = REAL[name]
    registered = load_registry(root / "config" / "datasets.yaml")[name]
    assert registered.n_cells_available(data_dir) == n_cells
    data = load(registered, registered.resolve(data_dir))
    assert {modality: matrix.shape for modality, matrix in data.counts.items()} == {
        modality: (n_cells, width) for modality, width in n_features.items()
    }
    checked, repairs = validate(data, name)
    assert checked.n_obs == n_cells
    assert all("without any count" in text for text in repairs)
    for modality, width in n_features.items():
        dropped = sum(int(text.split()[0]) for text in repairs if f"of {modality!r}" in text)
        assert checked.counts[modality].shape[1] == width - dropped
    assert checked.obs["cell_type"].nunique() == n_types
    assert checked.obs["batch"].nunique() == n_batches
    assert int(checked.obs["cell_type"].isna().sum()) == n_unlabelled
    if "atac" in n_features:
        assert checked.var["atac"]["chrom"].notna().all()
        assert checked.var["atac"]["chrom"].str.startswith("chr").mean() > 0.99  # The rest are scaffolds.
        assert (checked.var["atac"]["start"] < checked.var["atac"]["end"]).all()
