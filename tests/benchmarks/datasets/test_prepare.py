"""Preparation: from an entry of the registry to a validated file with its summary."""

from __future__ import annotations

import gzip
import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

import benchmarks.datasets.prepare as module
from benchmarks.datasets.prepare import prepare
from benchmarks.datasets.registry import load_registry
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, file_sha256, read_h5mu, read_json, write_h5mu


def register(folder, **keys):
    path = folder / "datasets.yaml"
    path.write_text(yaml.safe_dump({"example": {"format": "h5mu", "modalities": ["rna", "protein"], **keys}}))
    return load_registry(path)["example"]


@pytest.fixture
def source(tmp_path):
    """A file of five cells: one is empty in RNA, one gene has no counts, one label is missing."""
    rna = np.array([[1, 0, 2], [0, 0, 3], [0, 0, 0], [4, 0, 0], [0, 0, 1]], dtype=np.float32)
    protein = np.array([[5, 1], [2, 2], [1, 1], [0, 7], [3, 3]], dtype=np.float32)
    obs = pd.DataFrame(
        {
            "kind": ["B", None, "B", "T", "B"],
            "plate": ["x", "x", "y", "y", "y"],
            "pseudotime_a": [0.1, np.nan, 0.3, 0.4, 1.0],
        },
        index=[f"cell{i}" for i in range(5)],
    )
    var = {"rna": pd.DataFrame(index=["g0", "g1", "g2"]), "protein": pd.DataFrame(index=["p0", "p1"])}
    path = tmp_path / "data" / "a.h5mu"
    write_h5mu(path, Multimodal(obs, {"rna": sp.csr_matrix(rna), "protein": sp.csr_matrix(protein)}, var))
    return path


def test_the_data_and_the_summary(source, tmp_path, capsys):
    entry = register(tmp_path, path="a.h5mu", labels="kind", batch="plate", description="five cells", licence="CC0")
    facts = prepare(entry, source.parent, tmp_path / "out" / "data.h5mu", tmp_path / "out" / "summary.json")
    data = read_h5mu(tmp_path / "out" / "data.h5mu")
    assert list(data.obs.index) == ["cell0", "cell1", "cell3", "cell4"]
    assert list(data.obs["cell_type"].astype(object).fillna("-")) == ["B", "-", "T", "B"]
    np.testing.assert_array_equal(data.counts["rna"].toarray(), [[1, 2], [0, 3], [4, 0], [0, 1]])
    np.testing.assert_array_equal(data.counts["protein"].toarray(), [[5, 1], [2, 2], [0, 7], [3, 3]])
    assert list(data.var["rna"].index) == ["g0", "g2"]
    repairs = [
        "1 cell without any 'rna' count (first 'cell2') dropped",
        "1 feature of 'rna' without any count (first 'g1') dropped",
    ]
    assert data.uns["repairs"] == repairs
    assert read_json(tmp_path / "out" / "summary.json") == facts
    assert facts == {
        "schema_version": 1,
        "dataset": "example",
        "format": "h5mu",
        "n_cells": 4,
        "modalities": ["rna", "protein"],
        "n_features": {"rna": 2, "protein": 2},
        "n_features_with_coordinates": {"rna": 0, "protein": 0},
        "zero_fraction": {"rna": 3 / 8, "protein": 1 / 8},
        "median_counts": {"rna": 3.0, "protein": 6.0},
        "cell_types": {"B": 2, "T": 1},
        "n_unlabelled": 1,
        "batches": {"x": 2, "y": 2},
        "sites": {},
        "donors": {},
        "conditions": {},
        "pseudotimes": {"pseudotime_a": 3},
        "repairs": repairs,
        "sources": [{"role": "data", "name": "a.h5mu", "sha256": file_sha256(source)}],
        "validated": True,
        "description": "five cells",
        "organism": None,
        "genome": None,
        "source": None,
        "licence": "CC0",
        "citation": None,
    }
    assert f"example: {repairs[0]}" in capsys.readouterr().err


def test_the_same_bytes_twice_and_from_another_folder(source, tmp_path):
    entry = register(tmp_path, path="a.h5mu", labels="kind", batch="plate")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.h5mu").write_bytes(source.read_bytes())
    sums = set()
    for number, folder in enumerate((source.parent, source.parent, elsewhere)):
        out = tmp_path / f"out{number}"
        prepare(entry, folder, out / "data.h5mu", out / "summary.json")
        sums.add((file_sha256(out / "data.h5mu"), file_sha256(out / "summary.json")))
    assert len(sums) == 1


def test_nothing_is_written_when_the_data_are_refused(source, tmp_path):
    entry = register(tmp_path, path="a.h5mu", labels="kinds")
    with pytest.raises(InputError, match=r"'kinds' \(did you mean 'kind'\?\)"):
        prepare(entry, source.parent, tmp_path / "out" / "data.h5mu", tmp_path / "out" / "summary.json")
    assert not (tmp_path / "out").exists()


def test_a_local_file_with_another_checksum(source, tmp_path):
    entry = register(tmp_path, path="a.h5mu", sha256="0" * 64)
    with pytest.raises(
        InputError, match=r"example.sha256: .*a.h5mu has [0-9a-f]{64}, expected 0{64}; get the right file"
    ):
        prepare(entry, source.parent, tmp_path / "data.h5mu", tmp_path / "summary.json")


def test_a_missing_file(tmp_path):
    entry = register(tmp_path, path="gone.h5mu", n_cells=5)
    with pytest.raises(InputError, match=r"gone.h5mu: no such file; put it there"):
        prepare(entry, tmp_path, tmp_path / "data.h5mu", tmp_path / "summary.json")


def test_a_packed_file_by_url_into_the_data_folder(source, tmp_path):
    packed = tmp_path / "a.h5mu.gz"
    packed.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    entry = register(tmp_path, url=packed.as_uri(), sha256=sha256, labels="kind", batch="plate")
    folder = tmp_path / "folder"
    folder.mkdir()
    facts = prepare(entry, folder, tmp_path / "out" / "data.h5mu", tmp_path / "out" / "summary.json", progress=False)
    assert facts["n_cells"] == 4
    assert facts["sources"] == [{"role": "data", "name": "a.h5mu.gz", "sha256": sha256}]
    assert (folder / "downloads" / sha256[:16] / "a.h5mu.gz").is_file()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.h5mu", "summary.json"]


def test_a_download_without_a_data_folder_or_into_one_that_cannot_be_written(source, tmp_path, monkeypatch):
    sha256 = file_sha256(source)
    entry = register(tmp_path, url=source.as_uri(), sha256=sha256, labels="kind", batch="plate")
    prepare(entry, None, tmp_path / "one" / "data.h5mu", tmp_path / "one" / "summary.json", progress=False)
    assert (tmp_path / "one" / "downloads" / sha256[:16] / "a.h5mu").is_file()
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)  # Root may write everywhere.
    prepare(
        entry, tmp_path / "closed", tmp_path / "two" / "data.h5mu", tmp_path / "two" / "summary.json", progress=False
    )
    assert os.listdir(tmp_path / "closed") == []
    assert file_sha256(tmp_path / "one" / "data.h5mu") == file_sha256(tmp_path / "two" / "data.h5mu")


def test_a_damaged_packed_file(source, tmp_path):
    content = gzip.compress(source.read_bytes())
    (tmp_path / "a.h5mu.gz").write_bytes(content[: len(content) // 2])
    entry = register(tmp_path, path="a.h5mu.gz")
    with pytest.raises(InputError, match=r"a.h5mu.gz: damaged gzip file .*; fetch it again"):
        prepare(entry, tmp_path, tmp_path / "out" / "data.h5mu", tmp_path / "out" / "summary.json")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_simulated_data_set(root, tmp_path):
    entry = load_registry(root / "config" / "datasets.yaml")["simulated_tiny"]
    facts = prepare(entry, None, tmp_path / "data.h5mu", tmp_path / "summary.json")
    assert facts["n_cells"] == 200
    assert facts["validated"] is True
    assert facts["sources"] == []
    assert len(facts["cell_types"]) == 5
    assert facts["n_unlabelled"] == 0
    assert set(facts["n_features"]) == {"rna", "atac", "protein"}
    data = read_h5mu(tmp_path / "data.h5mu")
    assert data.n_obs == 200
    assert facts["median_counts"]["rna"] == np.median(np.asarray(data.counts["rna"].sum(axis=1)))


def test_a_large_simulated_data_set_is_streamed(root, tmp_path, monkeypatch):
    """The threshold and the chunks are lowered, the way is the real one; the content equals that made in memory."""
    entry = load_registry(root / "config" / "datasets.yaml")["simulated_tiny"]
    whole = prepare(entry, None, tmp_path / "whole.h5mu", tmp_path / "whole.json")
    monkeypatch.setattr(module, "STREAM_ABOVE_CELLS", 100)
    monkeypatch.setattr(module, "_CHUNK_CELLS", 64)
    monkeypatch.setattr(module, "load", None)
    streamed = prepare(entry, None, tmp_path / "streamed.h5mu", tmp_path / "streamed.json")
    assert whole["repairs"] == []
    assert streamed == {**whole, "validated": False}
    one, two = read_h5mu(tmp_path / "whole.h5mu"), read_h5mu(tmp_path / "streamed.h5mu")
    for modality in one.modalities:
        np.testing.assert_array_equal(one.counts[modality].toarray(), two.counts[modality].toarray())


@pytest.mark.data
def test_a_real_file(root, data_dir, tmp_path):
    entry = load_registry(root / "config" / "datasets.yaml")["bmmc_multiome"]
    facts = prepare(entry, data_dir, tmp_path / "data.h5mu", tmp_path / "summary.json")
    assert facts["n_cells"] == 500
    assert facts["n_features"] == {"rna": 1133, "atac": 595}
    assert facts["n_features_with_coordinates"] == {"rna": 0, "atac": 595}
    assert facts["batches"] == {"s1d1": 221, "s1d2": 279}
    assert set(facts["pseudotimes"]) == {"pseudotime_order_GEX", "pseudotime_order_ATAC"}
    assert len(facts["repairs"]) == 2
