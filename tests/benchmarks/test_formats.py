"""The file contracts: round trips, equal bytes, atomic writes, and mudata reads what we write."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import formats
from benchmarks.errors import InputError
from benchmarks.formats import Embedding, H5mu, Multimodal, Prediction, RunRecord


def make(n_obs: int = 12, seed: int = 0) -> Multimodal:
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame(
        {
            "batch": rng.choice(["one", "two"], n_obs),
            "value": rng.random(n_obs),
            "label": [None, *["é<script>"] * (n_obs - 1)],
        },
        index=[f"cell {i}" for i in range(n_obs)],
    )
    rows = np.sort(rng.choice(n_obs, n_obs // 2, replace=False))
    counts = {
        "atac": sp.csr_matrix(rng.poisson(0.3, (len(rows), 9)).astype(np.float32)),
        "rna": sp.csr_matrix(rng.poisson(0.5, (n_obs, 7)).astype(np.float32)),
    }
    var = {
        "rna": pd.DataFrame({"gene_symbol": list("abcdefg")}, index=[f"g{i}" for i in range(7)]),
        "atac": pd.DataFrame(
            {"chrom": "chr1", "start": np.arange(9), "end": np.arange(9) + 5}, index=[f"p{i}" for i in range(9)]
        ),
    }
    return Multimodal(obs, counts, var, {"atac": rows}, {"n_cell_types": 3})


def assert_equal(left: Multimodal, right: Multimodal) -> None:
    assert left.modalities == right.modalities
    for modality in left.modalities:
        assert (left.counts[modality] != right.counts[modality]).nnz == 0
        assert np.array_equal(left.rows[modality], right.rows[modality])
        assert list(left.var[modality].index) == list(right.var[modality].index)
    assert list(left.obs.index) == list(right.obs.index)


def test_round_trip_and_equal_bytes(tmp_path):
    data = make()
    for name in ("a", "b"):
        formats.write_h5mu(tmp_path / f"{name}.h5mu", data)
    assert (tmp_path / "a.h5mu").read_bytes() == (tmp_path / "b.h5mu").read_bytes()
    back = formats.read_h5mu(tmp_path / "a.h5mu")
    assert_equal(data, back)
    assert back.uns["n_cell_types"] == 3
    assert back.obs["label"].isna().sum() == 1 and back.obs["label"].iloc[1] == "é<script>"


def test_modalities_come_in_one_order_and_masks_agree():
    data = make()
    assert data.modalities == ("rna", "atac")
    assert np.array_equal(data.complete, data.has("atac")) and data.has("rna").all()
    assert not data.has("protein").any()
    padded = data.padded("atac")
    assert padded.shape == (12, 9)
    assert np.array_equal(padded[data.rows["atac"]].toarray(), data.counts["atac"].toarray())
    assert padded[~data.has("atac")].nnz == 0


def test_mudata_reads_our_files_and_we_read_its(tmp_path):
    import mudata

    data = make()
    formats.write_h5mu(tmp_path / "ours.h5mu", data)
    theirs = mudata.read_h5mu(tmp_path / "ours.h5mu")
    assert theirs["atac"].n_obs == len(data.rows["atac"]) and theirs.n_obs == data.n_obs
    assert np.array_equal(theirs["rna"].X.toarray(), data.counts["rna"].toarray())
    data.to_mudata().write(tmp_path / "theirs.h5mu")
    back = formats.read_h5mu(tmp_path / "theirs.h5mu")
    assert_equal(data, back)


def test_filled_mudata_has_zeros_where_a_modality_is_missing():
    data = make()
    filled = data.to_mudata(fill_missing=True)
    assert filled["atac"].n_obs == data.n_obs
    assert np.array_equal(filled["atac"].X.toarray(), data.padded("atac").toarray())
    assert list(filled.obs_names) == list(data.obs.index)


@given(st.lists(st.integers(0, 11), unique=True, min_size=1))
@settings(max_examples=30, deadline=None)
def test_subset_takes_rows_in_the_order_asked_for(positions):
    data = make()
    part = data.subset(np.array(positions))
    assert list(part.obs.index) == [data.obs.index[i] for i in positions]
    for modality in data.modalities:
        assert np.array_equal(part.padded(modality).toarray(), data.padded(modality)[positions].toarray())


@given(st.lists(st.integers(0, 199), unique=True, min_size=1, max_size=40))
@settings(max_examples=20, deadline=None)
def test_rows_are_read_from_disk_in_any_order(streamed_file, positions):
    path, matrix = streamed_file
    with H5mu(path) as file:
        assert np.array_equal(file.counts("rna", np.array(positions)).toarray(), matrix[positions])
        assert file.shape("rna") == matrix.shape


@pytest.fixture(scope="module")
def streamed_file(tmp_path_factory):
    matrix = np.random.default_rng(0).poisson(0.4, (200, 30)).astype(np.float32)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(200)])
    path = tmp_path_factory.mktemp("streamed") / "data.h5mu"
    formats.write_h5mu(
        path, Multimodal(obs, {"rna": sp.csr_matrix(matrix)}, {"rna": pd.DataFrame(index=[f"g{i}" for i in range(30)])})
    )
    return path, matrix


def test_embedding_round_trip_also_of_no_dimensions(tmp_path):
    names = np.array(["x", "y", "z"])
    for values in (np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((3, 0), np.float32)):
        formats.write_embedding(tmp_path / "e.h5ad", Embedding(values, names, np.array([0, 1, 1])))
        back = formats.read_embedding(tmp_path / "e.h5ad")
        assert (
            np.array_equal(back.values, values)
            and list(back.names) == list(names)
            and back.components.tolist() == [0, 1, 1]
        )
    import anndata

    assert anndata.read_h5ad(tmp_path / "e.h5ad").shape == (3, 0)


def test_prediction_round_trip(tmp_path):
    var = {"rna": pd.DataFrame(index=["a", "b"]), "atac": pd.DataFrame(index=["p"])}
    predictions = {
        "atac": Prediction(np.ones((2, 1)), np.array([0, 2])),
        "rna": Prediction(np.ones((1, 2)), np.array([1]), np.full((1, 2), 0.5)),
    }
    formats.write_predictions(tmp_path / "p.h5mu", np.array(["x", "y", "z"]), var, predictions)
    back = formats.read_predictions(tmp_path / "p.h5mu")
    assert list(back) == ["rna", "atac"]
    assert back["atac"].rows.tolist() == [0, 2] and back["atac"].deviation is None
    assert np.array_equal(back["rna"].deviation, [[0.5, 0.5]])
    formats.write_predictions(tmp_path / "p.h5mu", np.array(["x"]), var, {})
    assert formats.read_predictions(tmp_path / "p.h5mu") == {}


def test_run_record_round_trip_and_checks(tmp_path):
    record = RunRecord("pca", "pca", "ok", loss_history={"train": [1.0, 0.5]}, wall_seconds=1.5)
    formats.write_record(tmp_path / "r.json", record)
    assert formats.read_record(tmp_path / "r.json") == record
    with pytest.raises(ValueError, match="unknown status"):
        RunRecord("pca", "pca", "fine")
    with pytest.raises(ValueError, match="needs a reason"):
        RunRecord("pca", "pca", "failed")
    facts = json.loads((tmp_path / "r.json").read_text())
    for change, message in (({"schema_version": 99}, "schema version 99"), ({"extra": 1}, "unknown key 'extra'")):
        (tmp_path / "bad.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(InputError, match=message):
            formats.read_record(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: not a JSON file"):
        formats.read_record(tmp_path / "bad.json")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    formats.write_text(tmp_path / "f.txt", "old")
    with pytest.raises(RuntimeError), formats.atomic_path(tmp_path / "f.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "f.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]


def test_tables_keep_every_digit_and_missing_values(tmp_path):
    table = pd.DataFrame(
        {"value": [0.1 + 0.2, np.nan, 1e-300], "reason": ["", "NA-like", 'tab\tquote"'], "n": [1, 2, 3]}
    )
    for ending in ("tsv", "parquet"):
        formats.write_table(tmp_path / f"t.{ending}", table)
        pd.testing.assert_frame_equal(formats.read_table(tmp_path / f"t.{ending}"), table, check_exact=True)


def test_digest_does_not_depend_on_order_or_number_type():
    assert formats.digest({"a": 1, "b": [1.0, 2]}) == formats.digest({"b": (1, 2), "a": np.int64(1)})
    assert formats.digest({"a": 1}) != formats.digest({"a": 2})
    assert formats.digest({"a": True}) != formats.digest({"a": 1})


@pytest.mark.parametrize("content", [b"", b"no HDF5 here", b"\x89HDF\r\n\x1a\n" + b"\0" * 64])
def test_a_file_that_is_no_h5mu_is_named(tmp_path, content):
    path = tmp_path / "bad.h5mu"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.h5mu"):
        formats.read_h5mu(path)
    with pytest.raises(InputError, match="no such file"):
        formats.read_h5mu(tmp_path / "none.h5mu")


def test_other_schema_versions_are_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "SCHEMA_VERSION", 99)
    formats.write_h5mu(tmp_path / "new.h5mu", make())
    monkeypatch.undo()
    with pytest.raises(InputError, match="choose a new results_dir"):
        formats.read_h5mu(tmp_path / "new.h5mu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"atac": np.arange(3)}}, "rows of counts"),
        ({"rows": {"atac": np.arange(6)[::-1]}}, "must increase"),
        ({"rows": {"atac": np.arange(6) + 100}}, "must increase and lie"),
    ],
)
def test_inconsistent_objects_are_refused(change, message):
    data = make()
    with pytest.raises(ValueError, match=message):
        Multimodal(data.obs, dict(data.counts), data.var, **change)
