"""The registry: what it accepts, what it refuses and how, and where it looks for files."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.datasets.registry import (
    FORMATS,
    SCHEMA_FILE,
    DatasetEntry,
    download_name,
    find_triplet,
    get_entry,
    load_registry,
)
from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.errors import InputError
from benchmarks.formats import digest

SUM = "ab" * 32
MULTIOME = {"format": "h5mu", "path": "a.h5mu", "modalities": ["rna", "atac"]}


def write(folder, /, **entries):
    path = folder / "datasets.yaml"
    path.write_text(yaml.safe_dump(entries, sort_keys=False))
    return path


def write_obs(path, n_cells: int) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("obs")
        group.attrs["_index"] = "_index"
        group["_index"] = np.array([f"c{i}" for i in range(n_cells)], dtype="S")


def test_the_registry_of_the_repository(root):
    registry = load_registry(root / "config" / "datasets.yaml")
    simulated = {name for name, entry in registry.items() if entry.format == "simulated"}
    assert {
        "simulated",
        "simulated_multiome",
        "simulated_cite",
        "simulated_tiny",
        "simulated_multiome_large",
    } <= simulated
    real = {"snare_mouse_cortex", "scicar_a549", "pbmc10k_cite", "teaseq_rna_protein", "bmmc_multiome", "bmmc_cite"}
    assert real <= set(registry)
    for entry in registry.values():
        assert entry.description, entry.name
        assert entry.format == "simulated" or (entry.source and entry.licence and entry.citation), entry.name
    assert registry["simulated"].modalities == ("rna", "atac", "protein")
    assert registry["simulated_cite"].modalities == ("rna", "protein")
    assert registry["simulated_tiny"].n_cells_available() == 200
    assert registry["simulated"].n_cells_available(None) == 2000
    assert registry["simulated"].local_files(None) == []


def test_the_large_simulated_data_have_the_shape_of_the_figure_that_they_stand_for(root):
    """Li et al. 2022, Figure 1c: 100,000 cells, 8,000 genes and 23,000 peaks. Cell i is the same at any number of cells."""
    entry = load_registry(root / "config" / "datasets.yaml")["simulated_multiome_large"]
    assert entry.modalities == ("rna", "atac") and entry.n_cells_available(None) == 100_000
    data = simulate(SimulationParameters.from_mapping({**entry.simulate, "n_cells": 256}), entry.seed)
    assert {name: counts.shape for name, counts in data.counts.items()} == {"rna": (256, 8000), "atac": (256, 23000)}
    assert data.obs["batch"].nunique() == 1
    # Sparse enough to be held in memory: 100,000 cells of so many nonzeros take 8 bytes each, 2.4 GB at most.
    assert 1000 < sum(counts.nnz for counts in data.counts.values()) / 256 < 3000


def test_the_schema_is_a_schema_and_knows_every_key_and_format():
    from jsonschema import Draft202012Validator

    schema = yaml.safe_load(SCHEMA_FILE.read_text())
    Draft202012Validator.check_schema(schema)
    keys = schema["additionalProperties"]["properties"]
    assert tuple(keys["format"]["enum"]) == FORMATS
    assert set(keys) == {item.name for item in dataclasses.fields(DatasetEntry)} - {"name"}


def test_an_entry_is_the_same_on_every_machine(tmp_path):
    entries = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        entries.append(load_registry(write(tmp_path / name, x=MULTIOME))["x"])
    assert dataclasses.asdict(entries[0]) == dataclasses.asdict(entries[1])
    assert digest(dataclasses.asdict(entries[0])) == digest(dataclasses.asdict(entries[1]))
    assert str(tmp_path) not in str(dataclasses.asdict(entries[0]))
    assert dataclasses.replace(entries[0], batch="b").registry == entries[0].registry


def test_identity_covers_what_makes_the_data_and_no_more(tmp_path):
    plain = load_registry(write(tmp_path, x=MULTIOME))["x"]
    described = load_registry(write(tmp_path, x={**MULTIOME, "description": "other", "n_cells": 5}))["x"]
    relabelled = load_registry(write(tmp_path, x={**MULTIOME, "labels": "type"}))["x"]
    assert plain.identity() == described.identity()
    assert plain.identity() != relabelled.identity()


# --------------------------------------------------------------------------------------------------------
# Refused
# --------------------------------------------------------------------------------------------------------

REFUSED = {
    "unknown format": ({**MULTIOME, "format": "h5md"}, r"x\.format: 'h5md' is none of .*did you mean 'h5mu'"),
    "no format": ({"path": "a"}, r"x\.format: missing"),
    "unknown key": ({**MULTIOME, "label": "y"}, r"x\.label: unknown key \(did you mean 'labels'\?\)"),
    "unknown modality": (
        {**MULTIOME, "modalities": ["rna", "gex"]},
        r"x\.modalities\[1\]: 'gex' is none of rna, atac, protein",
    ),
    "modality twice": ({**MULTIOME, "modalities": ["rna", "rna"]}, r"x\.modalities: .*lists a value twice"),
    "no modalities": ({"format": "h5mu", "path": "a"}, r"x\.modalities: missing; list"),
    "empty modalities": ({**MULTIOME, "modalities": []}, r"x\.modalities"),
    "labels are no text": ({**MULTIOME, "labels": 3}, r"x\.labels: 3 is not text"),
    "cells are no number": ({**MULTIOME, "n_cells": "many"}, r"x\.n_cells: 'many' is not a whole number"),
    "no cells": ({**MULTIOME, "n_cells": 0}, r"x\.n_cells: 0 is below 1"),
    "entry is text": ("a.h5mu", r"x: 'a.h5mu' is not a mapping"),
    "neither path nor url": (
        {"format": "h5mu", "modalities": ["rna"]},
        r"x\.path: missing; give path, or url and sha256",
    ),
    "url without checksum": (
        {"format": "h5mu", "url": "https://e.org/a", "modalities": ["rna"]},
        r"x\.sha256: missing",
    ),
    "checksum too short": ({**MULTIOME, "sha256": "abc"}, r"x\.sha256: 'abc' is not 64 hexadecimal digits"),
    "ftp": (
        {**MULTIOME, "url": "ftp://e.org/a", "sha256": SUM},
        r"x\.url: 'ftp://e.org/a' is no http, https or file URL",
    ),
    "no host": ({**MULTIOME, "url": "https:a", "sha256": SUM}, r"x\.url: 'https:a' is no http"),
    "no IPv6 address": ({**MULTIOME, "url": "http://[e/a", "sha256": SUM}, r"x\.url: .* is no http"),
    "space in a url": ({**MULTIOME, "url": "http://e.org/a b", "sha256": SUM}, r"x\.url: .* is no http"),
    "download out of the folder": (
        {**MULTIOME, "path": "../a", "url": "https://e.org/a", "sha256": SUM},
        r"x\.path: '\.\./a' leads out of the data folder",
    ),
    "pair is one file": (
        {**MULTIOME, "format": "h5ad_pair"},
        r"x\.path: names data; name one file for each of modalities \(rna, atac\)",
    ),
    "pair lacks one": (
        {"format": "h5ad_pair", "path": {"rna": "a"}, "modalities": ["rna", "protein"]},
        r"names rna; name one file for each",
    ),
    "two files for h5mu": ({**MULTIOME, "path": {"rna": "a", "atac": "b"}}, r"x\.path: format 'h5mu' is one file"),
    "triplet lacks one": (
        {"format": "matrix_market", "path": {"matrix": "a", "barcodes": "b"}, "modalities": ["rna"]},
        r"names matrix, barcodes; name a folder",
    ),
    "folder by url": (
        {"format": "matrix_market", "url": "https://e.org/a", "sha256": SUM, "modalities": ["rna"]},
        r"x\.url: names data; name matrix, barcodes and features",
    ),
    "path and url differ": (
        {
            "format": "h5ad_pair",
            "path": {"rna": "a", "atac": "b"},
            "url": {"rna": "https://e.org/a"},
            "sha256": {"rna": SUM},
            "modalities": ["rna", "atac"],
        },
        r"x\.path: names other files than the rest \('atac'\)",
    ),
    "simulate elsewhere": ({**MULTIOME, "simulate": {}}, r"x\.simulate: is for format simulated, not 'h5mu'"),
    "counts_from elsewhere": (
        {**MULTIOME, "format": "10x_h5", "counts_from": "X"},
        r"x\.counts_from: is for format h5mu or",
    ),
    "path of simulated": ({"format": "simulated", "path": "a"}, r"x\.path: a simulated data set takes none"),
    "n_cells of simulated": ({"format": "simulated", "n_cells": 5}, r"x\.n_cells: .*sizes go under simulate"),
    "unknown parameter": (
        {"format": "simulated", "simulate": {"n_cell": 5}},
        r"x\.simulate: unknown parameter 'n_cell' \(did you mean 'n_cells'",
    ),
    "parameter out of range": ({"format": "simulated", "simulate": {"n_cells": 0}}, r"x\.simulate\.n_cells: 0"),
    "modalities disagree": (
        {"format": "simulated", "modalities": ["rna"]},
        r"x\.modalities: \['rna'\] but simulate makes",
    ),
    "negative seed": ({"format": "simulated", "seed": -1}, r"x\.seed: -1 is below 0"),
    "names of others": (
        {**MULTIOME, "modality_names": {"protein": "adt"}},
        r"x\.modality_names\.protein: not among modalities",
    ),
    "key without table": ({**MULTIOME, "annotations_key": "barcode"}, r"x\.annotations_key: needs annotations"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_key_and_remedy(tmp_path, case):
    keys, message = REFUSED[case]
    path = write(tmp_path, good=MULTIOME, x=keys)
    with pytest.raises(InputError, match=message) as raised:
        load_registry(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert ";" in str(raised.value) or "did you mean" in str(raised.value)


@pytest.mark.parametrize("name", ["Upper", "a b", "../x", "$(touch x)", "<script>", "_a", "a" * 61])
def test_names_that_would_be_no_folder(tmp_path, name):
    with pytest.raises(InputError, match=r"not a usable name"):
        load_registry(write(tmp_path, **{name: MULTIOME}))


def test_all_problems_at_once(tmp_path):
    with pytest.raises(InputError) as raised:
        load_registry(write(tmp_path, a={**MULTIOME, "sha256": "x"}, b={"format": "h5mu", "path": "a"}))
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"line 1:|line 2:"),
        ("- a\n- b\n", "holds a list, not a mapping"),
        ("just text", "holds a str, not a mapping"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("a: {format: h5mu}\na: {format: h5mu}\n", r"line 2: not valid YAML \(key 'a' is given twice\)"),
        ("1: {format: h5mu}\n", r"key 1 is no text"),
        ("a: {1: x}\n", r"key 1 is no text"),
    ],
)
def test_files_that_are_no_registry(tmp_path, text, message):
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_registry(tmp_path / "d.yaml")


def test_a_registry_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match=r"gone.yaml: no such file"):
        load_registry(tmp_path / "gone.yaml")
    (tmp_path / "d.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match=r"not UTF-8 text \(.* at byte 3\)"):
        load_registry(tmp_path / "d.yaml")


def test_get_entry(tmp_path):
    registry = load_registry(write(tmp_path, bmmc=MULTIOME))
    assert get_entry(registry, "bmmc", "r.yaml") is registry["bmmc"]
    with pytest.raises(InputError, match=r"r.yaml: no data set 'bmcc' \(did you mean 'bmmc'\?\)"):
        get_entry(registry, "bmcc", "r.yaml")


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.dates(),
        st.sampled_from([SUM, "rna", "https://e.org/a"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.integers(), st.sampled_from(["rna", "matrix"])), inner, max_size=3
        ),
    ),
    max_leaves=5,
)
_KEYS = sorted(yaml.safe_load(SCHEMA_FILE.read_text())["additionalProperties"]["properties"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(format=st.sampled_from(FORMATS), changes=st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=3))
def test_any_entry_is_read_or_refused_by_name(tmp_path, format, changes):
    path = write(tmp_path, x={**MULTIOME, "format": format, **changes})
    try:
        entry = load_registry(path)["x"]
    except InputError as error:
        assert all(line.startswith(f"{path}: ") for line in str(error).splitlines())
    else:
        assert len(digest(dataclasses.asdict(entry))) == 8
        for data_dir in (None, tmp_path):
            with contextlib.suppress(InputError):
                assert entry.n_cells_available(data_dir) is None or entry.n_cells_available(data_dir) > 0
                assert isinstance(entry.local_files(data_dir), list)


@pytest.mark.parametrize("place", ["a" * 5000, "/dev/zero", "\0", "/", "~/x", "a\nb"])
@pytest.mark.parametrize("format", ["h5mu", "matrix_market", "10x_h5"])
def test_odd_paths_are_refused(tmp_path, place, format):
    entry = load_registry(write(tmp_path, x={**MULTIOME, "format": format, "path": place}))["x"]
    with pytest.raises(InputError):
        entry.n_cells_available(tmp_path)


def test_every_example_in_the_documentation_is_accepted(root, tmp_path):
    text = (root / "docs" / "datasets.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    formats = set()
    for block in blocks:
        (tmp_path / "d.yaml").write_text(block)
        formats |= {entry.format for entry in load_registry(tmp_path / "d.yaml").values()}
    assert formats == set(FORMATS)


# --------------------------------------------------------------------------------------------------------
# Places and sizes
# --------------------------------------------------------------------------------------------------------


def test_a_file_is_found_in_the_data_folder_then_beside_the_registry(tmp_path):
    data, config = tmp_path / "data", tmp_path / "config"
    data.mkdir(), config.mkdir()
    entry = load_registry(write(config, x=MULTIOME))["x"]
    with pytest.raises(
        InputError, match=r"x\.path: 'a.h5mu' lies in the data folder, and none is set; set it with --config data_dir"
    ):
        entry.n_cells_available(None)
    with pytest.raises(InputError, match=r"data/a.h5mu: no such file; put it there"):
        entry.local_files(data)
    write_obs(config / "a.h5mu", 3)
    assert entry.resolve(None) == {"data": config / "a.h5mu"}
    assert entry.n_cells_available(None) == 3
    assert entry.resolve(data) == {"data": config / "a.h5mu"}
    write_obs(data / "a.h5mu", 4)
    assert entry.resolve(data) == {"data": data / "a.h5mu"}
    assert entry.n_cells_available(data) == 4
    assert entry.local_files(str(data)) == [data / "a.h5mu"]


def test_a_declared_size_stands_for_a_missing_file_only(tmp_path):
    entry = load_registry(write(tmp_path, x={**MULTIOME, "n_cells": 69_249}))["x"]
    assert entry.n_cells_available(None) == 69_249
    assert entry.local_files(None) == []
    assert entry.n_cells_available(tmp_path) == 69_249
    write_obs(tmp_path / "a.h5mu", 7)
    assert entry.n_cells_available(tmp_path) == 7
    assert entry.local_files(tmp_path) == [tmp_path / "a.h5mu"]


def test_a_download_is_planned_before_it_is_there(tmp_path):
    keys = {"format": "h5mu", "url": "https://e.org/b.h5mu?x=1", "sha256": SUM, "modalities": ["rna"]}
    entry = load_registry(write(tmp_path, x=keys))["x"]
    assert entry.n_cells_available(None) is None
    assert entry.n_cells_available(tmp_path) is None
    assert entry.local_files(tmp_path) == []
    with pytest.raises(InputError, match=r"needs a folder for its download"):
        entry.resolve(None)
    place = entry.resolve(tmp_path)["data"]
    assert place == tmp_path / "downloads" / SUM[:16] / "b.h5mu"
    place.parent.mkdir(parents=True)
    write_obs(place, 9)
    assert entry.n_cells_available(tmp_path) == 9
    named = load_registry(write(tmp_path, x={**keys, "path": "c.h5mu"}))["x"]
    assert named.resolve(tmp_path) == {"data": tmp_path / "c.h5mu"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://e.org/a/b.h5ad.gz", "b.h5ad.gz"),
        ("https://e.org/", "file"),
        ("https://e.org/a/%2e%2e", "file"),
        ("https://e.org/a%2F..%2F..%2Fx", "x"),
        ("https://e.org/$(touch x);rm", "__touch_x__rm"),
        ("https://e.org/.bashrc", "bashrc"),
        ("https://e.org/" + "a" * 300, "a" * 100),
    ],
)
def test_download_names_are_harmless(url, name):
    assert download_name(url, SUM) == f"downloads/{SUM[:16]}/{name}"


def test_cells_are_counted_in_every_format(tmp_path):
    write_obs(tmp_path / "rna.h5ad", 11)
    write_obs(tmp_path / "adt.h5ad", 8)
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["obs"] = np.zeros(5, dtype=[("index", "S4")])
    with h5py.File(tmp_path / "nullable.h5ad", "w") as file:
        group = file.create_group("obs")
        group.attrs["_index"] = "names"
        group["names/values"], group["names/mask"] = np.array([b"a", b"b"]), np.zeros(2, dtype=bool)
    with h5py.File(tmp_path / "10x.h5", "w") as file:
        file["matrix/barcodes"] = np.array([b"a", b"b", b"c"])
    (tmp_path / "mtx").mkdir()
    for name in ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"):
        with gzip.open(tmp_path / "mtx" / name, "wt") as stream:
            stream.write("a\nb\nc\nd\n\n")
    two = ["rna", "protein"]
    triplet = {
        role: f"mtx/{role}.{'mtx' if role == 'matrix' else 'tsv'}.gz" for role in ("matrix", "barcodes", "features")
    }
    registry = load_registry(
        write(
            tmp_path,
            pair={"format": "h5ad_pair", "path": {"rna": "rna.h5ad", "protein": "adt.h5ad"}, "modalities": two},
            old={"format": "h5ad_feature_types", "path": "old.h5ad", "modalities": two},
            nullable={"format": "h5ad_feature_types", "path": "nullable.h5ad", "modalities": two},
            tenx={"format": "10x_h5", "path": "10x.h5", "modalities": two, "annotations": "mtx/features.tsv.gz"},
            folder={"format": "matrix_market", "path": "mtx", "modalities": two},
            files={"format": "matrix_market", "path": triplet, "modalities": two},
            each={"format": "matrix_market", "path": {"rna": triplet, "protein": triplet}, "modalities": two},
        )
    )
    found = {name: entry.n_cells_available(None) for name, entry in registry.items()}
    assert found == {"pair": 8, "old": 5, "nullable": 2, "tenx": 3, "folder": 4, "files": 4, "each": 4}
    assert [path.name for path in registry["folder"].local_files(None)] == [
        "matrix.mtx.gz",
        "barcodes.tsv.gz",
        "features.tsv.gz",
    ]
    assert set(registry["each"].resolve(None)) == {f"{m}.{role}" for m in two for role in triplet}
    assert registry["tenx"].local_files(None) == [tmp_path / "10x.h5", tmp_path / "mtx" / "features.tsv.gz"]


@pytest.mark.parametrize("format", ["h5mu", "10x_h5", "h5ad_feature_types"])
def test_counting_the_cells_of_something_else(tmp_path, format):
    (tmp_path / "a.h5mu").write_bytes(b"not HDF5")
    entry = load_registry(write(tmp_path, x={**MULTIOME, "format": format}))["x"]
    with pytest.raises(InputError, match=rf"x: .*a.h5mu: not a readable {format} file"):
        entry.n_cells_available(None)
    (tmp_path / "a.h5mu").unlink()
    (tmp_path / "a.h5mu").mkdir()
    with pytest.raises(InputError, match=r"a.h5mu: (a folder|no file ending)"):
        entry.n_cells_available(None)


def test_a_packed_hdf5_file_is_counted_as_declared(tmp_path):
    (tmp_path / "a.h5mu").write_bytes(gzip.compress(b"x"))
    assert load_registry(write(tmp_path, x=MULTIOME))["x"].n_cells_available(None) is None
    assert load_registry(write(tmp_path, x={**MULTIOME, "n_cells": 12}))["x"].n_cells_available(None) == 12


def test_find_triplet_takes_old_names(tmp_path):
    for name in ("matrix.mtx", "genes.tsv", "barcodes.tsv", "notes.txt"):
        (tmp_path / name).write_text("")
    assert {role: path.name for role, path in find_triplet(tmp_path, "x").items()} == {
        "matrix": "matrix.mtx",
        "barcodes": "barcodes.tsv",
        "features": "genes.tsv",
    }


def test_planning_imports_nothing_heavy(root):
    code = (
        "import sys; from benchmarks.datasets.registry import load_registry; "
        "[entry.n_cells_available() for entry in load_registry('config/datasets.yaml').values() if entry.format == 'simulated']; "
        "print([name for name in ('anndata', 'scanpy', 'mudata', 'sklearn', 'torch', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
