"""Loaders of delimited tables, of combined parts, and the filters: limits, and faults that are named."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.datasets.filters import apply_filters
from benchmarks.datasets.load import load
from benchmarks.datasets.loaders.names import cell_name
from benchmarks.datasets.loaders.peaks import unify_peaks
from benchmarks.datasets.prepare import fetch, prepare
from benchmarks.datasets.registry import DatasetEntry, load_registry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal

DENSE = {"format": "dense_table", "path": "counts.tsv", "modalities": ["rna"]}
TABLES = {
    "format": "matrix_market_tables",
    "path": {"matrix": "m.mtx", "cells": "cells.csv", "features": "features.csv"},
    "modalities": ["rna"],
}
GOOD = {
    "counts.tsv": "gene\ta\tb\nG1\t1\t0\nG2\t0\t3\n",
    "m.mtx": "%%MatrixMarket matrix coordinate integer general\n2 3 3\n1 1 5\n2 2 1\n2 3 4\n",
    "cells.csv": "name,type\na,T\nb,B\nc,T\n",
    "features.csv": "gene_id,gene_short_name\nE1,G1\nE2,G2\n",
    "adt.csv": "cell_barcode,total,CD3\na,7,7\nb,2,2\n",
}


def entry(folder: Path, **keys) -> DatasetEntry:
    (folder / "d.yaml").write_text(yaml.safe_dump({"x": keys}, sort_keys=False))
    return load_registry(folder / "d.yaml")["x"]


def read(folder: Path, keys: dict, **files: str) -> Multimodal:
    for name, text in {**GOOD, **{name.replace("__", "."): text for name, text in files.items()}}.items():
        (folder / name).write_text(text)
    one = entry(folder, **keys)
    return load(one, one.resolve(folder))


def dense(data: Multimodal, modality: str = "rna") -> list[list[int]]:
    return data.counts[modality].toarray().astype(int).tolist()


# --------------------------------------------------------------------------------------------------------
# dense_table
# --------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "named corner": ("gene\ta\tb\nG1\t1\t0\nG2\t0\t3\n", {}),
    "no corner, as R writes it": ('"a"\t"b"\n"G1"\t1\t0\n"G2"\t0\t3\n', {}),
    "empty corner and commas": (",a,b\nG1,1,0\nG2,0,3\n", {}),
    "Windows lines and blank ones": ("gene\ta\tb\r\nG1\t1\t0\r\n\r\nG2\t0\t3\r\n", {}),
    "whole numbers as decimals": ("gene\ta\tb\nG1\t1.0\t0.0\nG2\t0\t3e0\n", {}),
    "quoted numbers": ('gene,a,b\nG1,"1","0"\nG2,0,3\n', {}),
    "a line a cell": ("cell\tG1\tG2\na\t1\t0\nb\t0\t3\n", {"cells_in": "rows"}),
    "dropped column": (
        "cell,total,G1,G2,note\na,1,1,0,9\nb,3,0,3,9\n",
        {"cells_in": "rows", "drop": ["total", "note"]},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True])
def test_dense_layouts(tmp_path, layout, packed):
    text, options = LAYOUTS[layout]
    (tmp_path / "counts.tsv").write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    one = entry(tmp_path, **{**DENSE, **({"table": options} if options else {})})
    data = load(one, one.resolve(tmp_path))
    assert list(data.obs.index) == ["a", "b"]
    assert list(data.var["rna"].index) == ["G1", "G2"]
    assert dense(data) == [[1, 0], [0, 3]]
    assert data.counts["rna"].nnz == 2 and data.counts["rna"].dtype == np.float32


def test_dense_numbers_alone_with_tables_beside_them(tmp_path):
    """As the human cortex of GSE162170: no names at all among the counts."""
    keys = {
        **DENSE,
        "modalities": ["atac"],
        "path": {"counts": "n.tsv", "cells": "c.txt", "features": "p.txt"},
        "table": {"header": False, "row_names": False, "cells_key": "Cell.ID", "features_key": "name"},
        "labels": "type",
    }
    files = {
        "n__tsv": "1\t0\n0\t3\n2\t2\n",
        "c__txt": "type\tCell.ID\nT\ta\nB\tb\n",
        "p__txt": "seqnames\tstart\tend\tname\nchr1\t5\t9\tp1\n2\t10\t20\tp2\nchrX\t1\t4\tp3\n",
    }
    data = read(tmp_path, keys, **files)
    assert dense(data, "atac") == [[1, 0, 2], [0, 3, 2]]
    assert list(data.obs["cell_type"]) == ["T", "B"]
    places = data.var["atac"][["chrom", "start", "end"]].to_numpy().tolist()
    assert places == [["chr1", 5, 9], ["chr2", 10, 20], ["chrX", 1, 4]]
    with pytest.raises(InputError, match=r"n\.tsv: 2 cells, but c\.txt has 1 lines; fetch the files that belong"):
        read(tmp_path, keys, **{**files, "c__txt": "type\tCell.ID\nT\ta\n"})
    keys["path"] = {"counts": "n.tsv", "cells": "c.txt"}
    with pytest.raises(
        InputError, match=r"no names of features, as table\.row_names is false; name their table in path\.f"
    ):
        read(tmp_path, keys, **files)


DENSE_FAULTS = {
    "empty": ("", r"counts\.tsv: no line of counts"),
    "head line alone": ("gene\ta\n", r"counts\.tsv: no line of counts"),
    "short line": ("gene\ta\tb\nG1\t1\t0\nG2\t3\n", r"line 3 has 1 counts, the first line has 2 \(cut off\?\)"),
    "long line": ("gene\ta\tb\nG1\t1\t0\nG2\t3\t1\t1\n", r"line 3 has 3 counts, the first line has 2"),
    "empty field": ("gene\ta\tb\nG1\t1\t0\nG2\t\t3\n", r"line 3, column 'a': '' is no number; correct it"),
    "text": ("gene\ta\tb\nG1\t1\tmany\nG2\t0\t3\n", r"line 2, column 'b': 'many' is no number"),
    "no head line": ("G1\t1\t0\t4\nG2\t0\t3\t4\nG3\t1\t1\t1\n", None),
    "head line of another width": (
        "gene\ta\tb\tc\tx\nG1\t1\t0\nG2\t0\t3\n",
        r"line 2 has 2 counts, the head line names 5",
    ),
}


@pytest.mark.parametrize("fault", DENSE_FAULTS)
def test_dense_faults_are_named(tmp_path, fault):
    text, message = DENSE_FAULTS[fault]
    if message is None:  # Cannot be told from names: the first line becomes the cells; two of three genes are left.
        assert list(read(tmp_path, DENSE, counts__tsv=text).obs.index) == ["1", "0", "4"]
        return
    with pytest.raises(InputError, match=message):
        read(tmp_path, DENSE, counts__tsv=text)


def test_a_dropped_column_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no column 'totl' \(did you mean 'total'\?\); correct table\.drop"):
        read(tmp_path, {**DENSE, "path": "adt.csv", "table": {"cells_in": "rows", "drop": ["totl"]}})


def test_damaged_gzip(tmp_path):
    packed = gzip.compress("".join(["gene\ta\tb\n", *[f"G{i}\t{i}\t{i * i}\n" for i in range(5000)]]).encode())
    (tmp_path / "counts.tsv").write_bytes(packed[: len(packed) // 2])
    one = entry(tmp_path, **DENSE)
    with pytest.raises(
        InputError, match=r"counts\.tsv: not readable as 'dense_table' \(EOFError.*fetch or make it again"
    ):
        load(one, one.resolve(tmp_path))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), min_size=1, max_size=6))
def test_dense_values_survive(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("dense")
    lines = ["gene\ta\tb\tc", *["\t".join([f"G{i}", *map(str, row)]) for i, row in enumerate(values)]]
    assert dense(read(folder, DENSE, counts__tsv="\n".join(lines) + "\n")) == np.array(values).T.tolist()


# --------------------------------------------------------------------------------------------------------
# matrix_market_tables
# --------------------------------------------------------------------------------------------------------


def test_tables_beside_a_matrix(tmp_path):
    keys = {**TABLES, "labels": "type", "table": {"cells_key": "name", "features_key": "gene_id"}}
    data = read(tmp_path, keys)
    assert dense(data) == [[5, 0], [0, 1], [0, 4]]
    assert list(data.obs["cell_type"]) == ["T", "B", "T"]
    assert list(data.var["rna"]["gene_id"]) == ["E1", "E2"]
    assert list(data.var["rna"]["gene_symbol"]) == ["G1", "G2"]
    turned = "%%MatrixMarket matrix coordinate integer general\n3 2 3\n1 1 5\n2 2 1\n3 2 4\n"
    data = read(tmp_path, keys, m__mtx=turned)
    assert dense(data) == [[5, 0], [0, 1], [0, 4]]
    assert data.uns["repairs"] == ["m.mtx: transposed, it is cells x features (3 x 2)"]


TABLE_FAULTS = {
    "no such column": (
        {"table": {"cells_key": "nam"}},
        {},
        r"cells\.csv: no column 'nam' .*'name'.*correct table\.cells_key",
    ),
    "short line": ({}, {"cells__csv": "name,type\na,T\nb\nc,T\n"}, r"cells\.csv: line 3 has 1 columns, the head has 2"),
    "no lines": ({}, {"features__csv": "gene_id\n"}, r"features\.csv: no table with a head line and at least one line"),
    "other size": (
        {},
        {"cells__csv": "name\na\nb\n"},
        r"m\.mtx: 2 x 3, but features\.csv has 2 lines and cells\.csv 2",
    ),
    "no matrix": ({}, {"m__mtx": "1 2 3\n"}, r"m\.mtx: does not start with '%%MatrixMarket matrix coordinate'"),
}


@pytest.mark.parametrize("fault", TABLE_FAULTS)
def test_table_faults_are_named(tmp_path, fault):
    keys, files, message = TABLE_FAULTS[fault]
    with pytest.raises(InputError, match=message):
        read(tmp_path, {**TABLES, **keys}, **files)


# --------------------------------------------------------------------------------------------------------
# Names, labels
# --------------------------------------------------------------------------------------------------------


def test_cell_names():
    assert cell_name("R1.01,P1.02", {"replace": {",": ".", "P1.02": "P1.50"}}) == "R1.01.P1.50"
    assert cell_name("AAAC-1", {"remove_suffix": "-1", "prefix": "s_", "suffix": "_x"}) == "s_AAAC_x"
    assert cell_name("AAAC-2", {"remove_suffix": "-1"}) == "AAAC-2"


def test_cells_that_would_become_one_are_refused(tmp_path):
    keys = {**DENSE, "cell_names": {"replace": {"a": "b"}}}
    with pytest.raises(
        InputError, match=r"counts\.tsv: cells 'a' and 'b' both become 'b'; correct cell_names of .*'x'"
    ):
        read(tmp_path, keys)


def test_features_without_the_separator_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"no name of a feature has '_' \(first 'G1'\); correct or remove split_features"
    ):
        read(tmp_path, {**DENSE, "split_features": "_"})


LABELLED = {**TABLES, "labels": "type", "label_names": {"table": "l.tsv", "key": "id", "name": "what"}}


def test_labels_by_name(tmp_path):
    data = read(tmp_path, LABELLED, l__tsv="id\twhat\nT\tT cell\nB\tB cell\nX\tother\n")
    assert list(data.obs["cell_type"]) == ["T cell", "B cell", "T cell"]


LABEL_FAULTS = {
    "unnamed": ("id\twhat\nT\tT cell\n", r"l\.tsv: no name for label 'B' of cell 'b'.*correct label_names"),
    "several": ("id\twhat\nT\t1\nT\t2\nB\t3\n", r"l\.tsv: 'T' has several names; choose its lines with where"),
    "no column": ("id\twhatt\nT\t1\nB\t3\n", r"l\.tsv: no column 'what' \(did you mean 'whatt'\?\)"),
}


@pytest.mark.parametrize("fault", LABEL_FAULTS)
def test_label_faults_are_named(tmp_path, fault):
    text, message = LABEL_FAULTS[fault]
    with pytest.raises(InputError, match=message):
        read(tmp_path, LABELLED, l__tsv=text)


def test_labels_that_mean_none(tmp_path):
    data = read(tmp_path, {**TABLES, "labels": "type", "unlabelled": ["B"]})
    assert [None if pd.isna(label) else label for label in data.obs["cell_type"]] == ["T", None, "T"]
    with pytest.raises(InputError, match=r"no cell has label 'b' \(known: B, T\); correct unlabelled"):
        read(tmp_path, {**TABLES, "labels": "type", "unlabelled": ["b"]})


# --------------------------------------------------------------------------------------------------------
# combined
# --------------------------------------------------------------------------------------------------------

PARTS = [
    {**DENSE},
    {
        "format": "dense_table",
        "path": "adt.csv",
        "modalities": ["protein"],
        "table": {"cells_in": "rows", "drop": ["total"]},
    },
]


def test_parts_by_modality(tmp_path):
    data = read(tmp_path, {"format": "combined", "parts": PARTS})
    assert data.modalities == ("rna", "protein")
    assert dense(data) == [[1, 0], [0, 3]] and dense(data, "protein") == [[7], [2]]
    assert list(data.obs.index) == ["a", "b"] and data.complete.all()


def test_samples_are_stacked_by_identifier(tmp_path):
    """Genes are matched by identifier, so two of one symbol stay apart; what a sample lacks counts 0."""
    keys = {
        "format": "combined",
        "batch": "sample",
        "sample_separator": "#",
        "parts": [
            {**TABLES, "sample": "s1"},
            {**TABLES, "sample": "s2", "path": {"matrix": "m.mtx", "cells": "cells.csv", "features": "other.csv"}},
        ],
    }
    data = read(tmp_path, keys, other__csv="gene_id,gene_short_name\nE3,G1\nE1,G1\n")
    assert list(data.obs.index) == ["s1#a", "s1#b", "s1#c", "s2#a", "s2#b", "s2#c"]
    assert list(data.obs["batch"]) == ["s1"] * 3 + ["s2"] * 3
    assert list(data.var["rna"]["gene_id"]) == ["E1", "E2", "E3"]
    assert dense(data) == [[5, 0, 0], [0, 1, 0], [0, 4, 0], [0, 0, 5], [1, 0, 0], [4, 0, 0]]


def test_counts_of_peaks_that_become_one_are_added(tmp_path):
    """Two peaks of the first sample meet one of the second: one feature with the sum, stored once."""
    atac = {"format": "dense_table", "modalities": ["atac"]}
    parts = [{**atac, "sample": "s1", "path": "one.tsv"}, {**atac, "sample": "s2", "path": "two.tsv"}]
    files = {
        "one__tsv": "peak\ta\tb\nchr1:10-20\t2\t0\nchr1:30-40\t3\t1\nchr2:1-9\t1\t1\n",
        "two__tsv": "peak\tc\nchr1:15-35\t7\nchr3:5-6\t1\n",
    }
    data = read(tmp_path, {"format": "combined", "parts": parts, "merge_peaks": True}, **files)
    assert list(data.var["atac"].index) == ["chr1:10-40", "chr2:1-9", "chr3:5-6"]
    assert dense(data, "atac") == [[5, 1, 0], [1, 1, 0], [7, 0, 1]]
    assert data.counts["atac"].nnz == 6
    assert data.uns["repairs"] == ["overlapping peaks of 2 samples united: 3 (up to 3 in one sample)"]
    apart = read(tmp_path, {"format": "combined", "parts": parts}, **files)
    assert apart.var["atac"].shape[0] == 5 and apart.counts["atac"].nnz == 7


def test_a_sample_may_lack_a_modality(tmp_path):
    keys = {
        "format": "combined",
        "parts": [{**PARTS[0], "sample": "s1"}, {**PARTS[1], "sample": "s1"}, {**PARTS[0], "sample": "s2"}],
    }
    data = read(tmp_path, keys)
    assert data.n_obs == 4 and list(data.complete) == [True, True, False, False]


REFUSED = {
    "path beside parts": (
        {"path": "a", "parts": PARTS},
        r"x\.path: a combined data set has it in its parts; move it there",
    ),
    "no parts": ({}, r"x\.parts: missing; list the parts"),
    "modality twice": (
        {"parts": [DENSE, DENSE]},
        r"x\.parts\[1\]\.modalities: 'rna' of the same sample is in parts\[0\]",
    ),
    "sample for some": (
        {"parts": [{**PARTS[0], "sample": "s"}, PARTS[1]]},
        r"x\.parts: some have a sample and some have none",
    ),
    "other modalities": (
        {"modalities": ["rna"], "parts": PARTS},
        r"x\.modalities: rna, but the parts hold rna, protein",
    ),
    "part of parts": ({"parts": [{**DENSE, "format": "combined"}]}, r"x\.parts\[0\]\.format: 'combined' is none of"),
    "fault in a part": (
        {"parts": [{**DENSE, "path": {"matrix": "a"}}]},
        r"x\.parts\[0\]\.path: names matrix; give the table's",
    ),
    "filter of a modality that is not there": (
        {"parts": PARTS, "filters": {"min_cells": {"atac": 3}}},
        r"x\.filters\.min_cells\.atac: not among modalities \(rna, protein\)",
    ),
    "unknown filter": ({"parts": PARTS, "filters": {"min_cell": {"rna": 3}}}, r"filters\.min_cell: unknown key"),
    "share above 1": ({"parts": PARTS, "filters": {"min_fraction": {"rna": 5}}}, r"filters\.min_fraction\.rna"),
    "origin of no file": (
        {"parts": PARTS, "origin": {"matrix": "https://e.org/a"}},
        r"x\.origin\.matrix: no such file in path",
    ),
    "origin is no URL": (
        {"parts": PARTS, "origin": "see the paper"},
        r"x\.origin\.0: 'see the paper' is no http|x\.origin",
    ),
    "unlabelled without labels": ({"parts": PARTS, "unlabelled": ["x"]}, r"x\.unlabelled: needs labels"),
    "header for tables": (
        {"parts": [{**TABLES, "table": {"header": False}}]},
        r"x\.parts\[0\]\.table\.header: is for format dense_table; remove it",
    ),
    "two modalities in a dense table": (
        {"parts": [{**DENSE, "modalities": ["rna", "atac"]}]},
        r"'dense_table' holds one; use format combined",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refused_entries(tmp_path, fault):
    keys, message = REFUSED[fault]
    with pytest.raises(InputError, match=message):
        entry(tmp_path, format="combined", **keys)


def test_parts_determine_the_data_and_origins_do_not(tmp_path):
    plain = entry(tmp_path, format="combined", parts=PARTS)
    described = entry(tmp_path, format="combined", parts=PARTS, origin="https://e.org/page")
    other = entry(tmp_path, format="combined", parts=[{**PARTS[0], "table": {"header": True}}, PARTS[1]])
    assert plain.identity() == described.identity() != other.identity()
    assert str(tmp_path) not in str(plain.identity())


def test_a_missing_file_says_where_to_get_it(tmp_path):
    parts = [{**PARTS[0], "origin": "https://e.org/rna"}, PARTS[1]]
    one = entry(tmp_path, format="combined", parts=parts, origin="https://e.org/page")
    message = r"x\.path\.0\.data: .*counts\.tsv: no such file; get it from https://e\.org/rna and put it there"
    with pytest.raises(InputError, match=message):
        fetch(one, tmp_path, tmp_path)
    with pytest.raises(InputError, match=message):
        one.n_cells_available(tmp_path)
    with pytest.raises(InputError, match=message):
        load(one, one.resolve(tmp_path))
    (tmp_path / "counts.tsv").write_text(GOOD["counts.tsv"])
    with pytest.raises(InputError, match=r"x\.path\.1\.data: .*get it from https://e\.org/page"):
        fetch(one, tmp_path, tmp_path)


def test_prepared_parts_are_the_same_bytes_each_time(tmp_path):
    for name, text in GOOD.items():
        (tmp_path / name).write_text(text)
    one = entry(tmp_path, format="combined", parts=PARTS, filters={"min_features": {"rna": 1}})
    for name in ("one", "two"):
        summary = prepare(one, tmp_path, tmp_path / f"{name}.h5mu", tmp_path / f"{name}.json", progress=False)
    assert (tmp_path / "one.h5mu").read_bytes() == (tmp_path / "two.h5mu").read_bytes()
    assert [source["role"] for source in summary["sources"]] == ["0.data", "1.data"]


# --------------------------------------------------------------------------------------------------------
# Peaks of several samples
# --------------------------------------------------------------------------------------------------------


def peaks(*names: str) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(names, dtype=object))


def test_peaks_that_overlap_are_one():
    places, var = unify_peaks([peaks("chr1:10-20", "chr1:40-50", "odd"), peaks("chr1:15-42", "chr2:10-20", "odd")])
    assert list(var.index) == ["chr1:10-50", "chr2:10-20", "odd"]
    assert [list(place) for place in places] == [[0, 0, 2], [0, 1, 2]]


def test_peaks_that_touch_are_two_and_one_inside_another_is_one():
    places, var = unify_peaks(
        [peaks("chr1:10-20", "chr1:20-30"), peaks("chr1:100-500", "chr1:450-480", "chr1:499-510")]
    )
    assert list(var.index) == ["chr1:10-20", "chr1:20-30", "chr1:100-510"]
    assert [list(place) for place in places] == [[0, 1], [2, 2, 2]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 2), st.integers(0, 60), st.integers(1, 15)), min_size=1, max_size=8, unique=True
        ),
        min_size=1,
        max_size=3,
    )
)
def test_united_peaks_cover_the_same_bases_and_do_not_overlap(samples):
    tables = [peaks(*[f"chr{c}:{start}-{start + width}" for c, start, width in sample]) for sample in samples]
    places, var = unify_peaks(tables)
    covered = {
        (f"chr{c}", base) for sample in samples for c, start, width in sample for base in range(start, start + width)
    }
    united = [(chrom, base) for chrom, start, end in var.itertuples(index=False) for base in range(start, end)]
    assert len(united) == len(set(united)) and set(united) == covered
    for sample, place in zip(samples, places):
        for (c, start, width), position in zip(sample, place):
            chrom, first, last = var.iloc[position]
            assert chrom == f"chr{c}" and first <= start and start + width <= last


# --------------------------------------------------------------------------------------------------------
# Filters
# --------------------------------------------------------------------------------------------------------


def example() -> Multimodal:
    """Four cells; the last is not in ATAC. RNA has one stored zero, which is none of a cell's features."""
    rna = sp.csr_matrix(np.array([[1, 1, 1, 9], [0, 0, 1, 0], [2, 0, 1, 0], [1, 1, 1, 1]], dtype=np.float32))
    rna.data[rna.indptr[2]] = 0
    atac = sp.csr_matrix(np.array([[1, 1], [1, 0], [1, 1]], dtype=np.float32))
    obs = pd.DataFrame({"cell_type": pd.Categorical(["T", None, "B", "T"])}, index=list("abcd"))
    names = {"rna": ["g1", "g2", "g3", "g4"], "atac": ["chr1:1-2", "chr1:3-4"]}
    var = {modality: pd.DataFrame(index=pd.Index(items, dtype=object)) for modality, items in names.items()}
    return Multimodal(obs, {"rna": rna, "atac": atac}, var, {"rna": np.arange(4), "atac": np.arange(3)})


def run(filters: dict, columns: pd.DataFrame | None = None) -> tuple[Multimodal, list[str]]:
    one = DatasetEntry(name="x", format="h5mu", modalities=("rna", "atac"), filters=filters)
    data = example()
    return apply_filters(one, data, pd.DataFrame(index=data.obs.index) if columns is None else columns)


def kept(filters: dict) -> tuple[str, str]:
    data, _ = run(filters)
    return "".join(data.obs.index), "".join(name[-1] for name in data.var["rna"].index)


def test_no_filters_leave_the_data_alone():
    data, said = run({})
    assert data.n_obs == 4 and said == []


def test_each_rule():
    assert kept({"labelled": True}) == ("ac", "1234")
    assert kept({"min_features": {"rna": 1}}) == ("abc", "1234")  # Cells that lack a modality go in any case.
    assert kept({"min_features": {"rna": 2}}) == ("a", "1234")  # c has one, for a stored zero is none.
    assert kept({"min_features": {"atac": 2}}) == ("ac", "1234")
    assert kept({"min_cells": {"rna": 2}}) == ("abc", "3")
    assert kept({"max_cells": {"rna": 2}}) == ("abc", "124")
    assert kept({"min_fraction": {"rna": 0.5}}) == ("abc", "3")
    assert kept({"min_fraction": {"rna": 1 / 3}}) == ("abc", "1234")  # In one cell of three: exactly a third.
    assert kept({"top_features": {"rna": 1}}) == ("abc", "4")
    assert kept({"top_features": {"rna": 3}}) == ("abc", "134")  # g1 and g2 are equal: the first one.
    assert kept({"top_features": {"rna": 9}}) == ("abc", "1234")


def test_features_are_judged_on_the_cells_that_are_left():
    assert kept({"min_features": {"atac": 2}, "min_cells": {"rna": 2}}) == ("ac", "3")
    assert kept({"labelled": True, "min_features": {"rna": 2}, "max_cells": {"rna": 1}}) == ("a", "1234")


def test_what_was_dropped_is_said():
    _, said = run({"min_features": {"atac": 2}, "min_cells": {"rna": 2}})
    assert said == [
        "filter cells in every modality: 1 of 4 cells dropped",
        "filter min_features: 1 of 3 cells dropped",
        "filters: 3 of 4 features of 'rna' dropped",
    ]


def test_keep_takes_columns_of_the_files():
    columns = pd.DataFrame({"pass": ["TRUE", "TRUE", "FALSE", None]}, index=list("abcd"))
    data, said = run({"keep": {"pass": ["TRUE"]}}, columns)
    assert list(data.obs.index) == ["a", "b"]
    assert said == ["filter keep.pass: 2 of 4 cells dropped"]
    with pytest.raises(InputError, match=r"filters\.keep: the cells have no column 'pas' \(did you mean 'pass'\?\)"):
        run({"keep": {"pas": ["TRUE"]}}, columns)
    with pytest.raises(InputError, match=r"filters\.keep\.pass: leaves no cell of 4; correct it"):
        run({"keep": {"pass": ["yes"]}}, columns)


def test_filters_that_leave_nothing():
    with pytest.raises(InputError, match=r"filters\.min_features: leaves no cell of 3; correct it"):
        run({"min_features": {"rna": 5}})
    with pytest.raises(InputError, match=r"filters: leave no feature of 2 of 'atac'; correct them"):
        run({"min_cells": {"atac": 4}})


def test_filters_are_part_of_the_identity():
    one = DatasetEntry(name="x", format="h5mu", modalities=("rna",))
    assert one.identity() != dataclasses.replace(one, filters={"labelled": True}, registry=None).identity()
