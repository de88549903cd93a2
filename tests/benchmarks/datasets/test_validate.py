"""Validation: every fault is refused with the place, the value and the remedy, or repaired and stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.datasets.validate import check_size, unique_names, validate
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal


def example(n_cells: int = 6, **changes) -> Multimodal:
    """Six cells, three genes and two proteins, without any fault."""
    rna = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 0, 5], [1, 1, 1], [0, 2, 0]], dtype=np.float32)[:n_cells]
    protein = np.arange(1, 13, dtype=np.float32).reshape(6, 2)[:n_cells]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(["B", "T", "B", None, "T", "B"][:n_cells]),
            "batch": pd.Categorical(list("xyxyxy")[:n_cells]),
        },
        index=pd.Index([f"cell{i}" for i in range(n_cells)], dtype=object),
    )
    var = {"rna": pd.DataFrame(index=["g0", "g1", "g2"]), "protein": pd.DataFrame(index=["p0", "p1"])}
    parts = {
        "obs": obs,
        "counts": {"rna": sp.csr_matrix(rna), "protein": sp.csr_matrix(protein)},
        "var": var,
        **changes,
    }
    return Multimodal(**parts)


def with_value(row: int, column: int, value: float) -> Multimodal:
    data = example()
    dense = data.counts["rna"].toarray()
    dense[row, column] = value
    data.counts["rna"] = sp.csr_matrix(dense)
    return data


def test_a_good_data_set_passes_unchanged():
    data = example()
    checked, repairs = validate(data, "here", repair=False)
    assert repairs == []
    for modality in data.modalities:
        np.testing.assert_array_equal(checked.counts[modality].toarray(), data.counts[modality].toarray())
    pd.testing.assert_frame_equal(checked.obs, data.obs)
    assert int(checked.obs["cell_type"].isna().sum()) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"value nan of cell 'cell3', feature 'g1' is no finite number \(1 such values\)"),
        (np.inf, r"value inf of cell 'cell3', feature 'g1' is no finite number"),
        (-np.inf, r"value -inf of cell 'cell3', feature 'g1' is no finite number"),
        (-2.0, r"value -2 of cell 'cell3', feature 'g1' is negative.*no raw counts"),
        (
            0.5,
            r"value 0.5 of cell 'cell3', feature 'g1' is not a whole number.*log-normalised.*layers\['counts'\].*\.raw",
        ),
    ],
)
@pytest.mark.parametrize("repair", [True, False])
def test_values_that_are_no_counts(value, message, repair):
    with pytest.raises(InputError, match=rf"^here: 'rna': {message}"):
        validate(with_value(3, 1, value), "here", repair)


def test_the_first_offending_value_is_named_in_a_modality_of_some_cells():
    data = example()
    protein = sp.csr_matrix(np.array([[1, 2], [3, 0.25]], dtype=np.float32))
    data = Multimodal(data.obs, {**data.counts, "protein": protein}, data.var, {"protein": np.array([2, 5])})
    with pytest.raises(InputError, match=r"value 0.25 of cell 'cell5', feature 'p1'"):
        validate(data, "here")


def test_log_normalised_values():
    data = example()
    data.counts["rna"] = data.counts["rna"].log1p()
    with pytest.raises(InputError, match=r"value 0.693147 of cell 'cell0', feature 'g0' is not a whole number"):
        validate(data, "here")


@pytest.mark.parametrize("repair", [True, False])
def test_duplicated_cells(repair):
    data = example()
    data.obs.index = pd.Index(["a", "b", "a", "c", "a", "d"], dtype=object)
    with pytest.raises(
        InputError, match=r"here: cell name 'a' is there 3 times \(2 duplicates in all\); make the names unique"
    ):
        validate(data, "here", repair)


def test_an_empty_cell_name():
    data = example()
    data.obs.index = pd.Index(["a", "", "b", "c", "d", "e"], dtype=object)
    with pytest.raises(InputError, match=r"cell 1 \(counted from 0\) has an empty name"):
        validate(data, "here")


def test_duplicated_features():
    data = example()
    data.var["rna"] = pd.DataFrame({"gene_id": ["1", "2", "3"]}, index=["g", "h", "g"])
    checked, repairs = validate(data, "here")
    assert list(checked.var["rna"].index) == ["g", "h", "g-1"]
    assert list(checked.var["rna"]["gene_id"]) == ["1", "2", "3"]
    assert repairs == ["1 feature of 'rna' with a name that another one has (first 'g') renamed, as 'g-1'"]
    with pytest.raises(InputError, match=r"'g'.*make the names unique"):
        validate(data, "here", repair=False)
    assert list(data.var["rna"].index) == ["g", "h", "g"]


@given(st.lists(st.sampled_from(["A", "B", "A-1", "A-2", "A-1-1", "", "-1"]), max_size=25))
def test_unique_names_are_unique_and_keep_the_first(names):
    result = unique_names(names)
    assert len(set(result)) == len(names)
    assert [unique.startswith(name) for unique, name in zip(result, names)] == [True] * len(names)
    first = {name: names.index(name) for name in names}
    assert all(result[position] == name for name, position in first.items())


@given(st.lists(st.text(max_size=3), max_size=25, unique=True))
def test_unique_names_leave_unique_ones_alone(names):
    assert unique_names(names) == names


def test_no_labels_and_no_batches():
    data = example()
    data.obs = data.obs[[]]
    checked, repairs = validate(data, "here")
    assert repairs == ["no column of labels: all cells are unlabelled", "no column of batches: one batch 'all'"]
    assert checked.obs["cell_type"].isna().all()
    assert list(checked.obs["batch"]) == ["all"] * 6
    with pytest.raises(InputError, match=r"here: no column of labels.*; name it in labels"):
        validate(data, "here", repair=False)
    data.obs = pd.DataFrame({"cell_type": ["B"] * 6}, index=data.obs.index)
    with pytest.raises(InputError, match=r"here: no column of batches.*; name it in batch"):
        validate(data, "here", repair=False)


def test_missing_batches():
    data = example()
    data.obs["batch"] = pd.Categorical(["x", "y", None, "y", None, "y"])
    with pytest.raises(InputError, match=r"2 cells without a batch \(first 'cell2'\); fill in the column"):
        validate(data, "here")


def test_different_cells():
    data = example()
    data = Multimodal(
        data.obs,
        {"rna": data.counts["rna"][:4], "protein": data.counts["protein"][1:]},
        data.var,
        {"rna": np.arange(4), "protein": np.arange(1, 6)},
    )
    checked, repairs = validate(data, "here")
    assert list(checked.obs.index) == ["cell1", "cell2", "cell3"]
    assert repairs == ["3 cells not in every modality (first 'cell0', without 'protein') dropped"]
    np.testing.assert_array_equal(checked.counts["protein"].toarray(), [[3, 4], [5, 6], [7, 8]])
    with pytest.raises(InputError, match=r"keep the same cells in each modality"):
        validate(data, "here", repair=False)


def test_no_cell_in_every_modality():
    data = example()
    data = Multimodal(
        data.obs,
        {"rna": data.counts["rna"][:3], "protein": data.counts["protein"][3:]},
        data.var,
        {"rna": np.arange(3), "protein": np.arange(3, 6)},
    )
    with pytest.raises(InputError, match=r"here: no cell is in every modality"):
        validate(data, "here")


def test_empty_cells():
    data = example()
    dense = data.counts["rna"].toarray()
    dense[[1, 4]] = 0
    data.counts["rna"] = sp.csr_matrix(dense)
    checked, repairs = validate(data, "here")
    assert list(checked.obs.index) == ["cell0", "cell2", "cell3", "cell5"]
    assert repairs == ["2 cells without any 'rna' count (first 'cell1') dropped"]
    assert checked.counts["protein"].shape == (4, 2)
    with pytest.raises(InputError, match=r"remove empty cells"):
        validate(data, "here", repair=False)


def test_features_that_are_empty_only_after_cells_were_dropped():
    data = example()
    rna = np.array([[1, 0, 2], [0, 3, 0], [1, 0, 0], [0, 0, 5], [1, 0, 1], [2, 0, 0]], dtype=np.float32)
    protein = data.counts["protein"].toarray()
    protein[1] = 0
    data = Multimodal(data.obs, {"rna": sp.csr_matrix(rna), "protein": sp.csr_matrix(protein)}, data.var)
    checked, repairs = validate(data, "here")
    assert list(checked.var["rna"].index) == ["g0", "g2"]
    assert repairs == [
        "1 cell without any 'protein' count (first 'cell1') dropped",
        "1 feature of 'rna' without any count (first 'g1') dropped",
    ]
    assert validate(checked, "here", repair=True)[1] == repairs  # Nothing is left to repair: only what was said before.


def test_everything_is_empty():
    data = example()
    data.counts["rna"] = sp.csr_matrix((6, 3), dtype=np.float32)
    with pytest.raises(InputError, match=r"every cell is empty"):
        validate(data, "here")


def test_stored_zeros_count_as_zeros():
    data = example()
    data.counts["rna"] = sp.csr_matrix((np.zeros(3, dtype=np.float32), ([0, 1, 2], [0, 1, 2])), shape=(6, 3))
    with pytest.raises(InputError, match=r"every cell is empty"):
        validate(data, "here")


@pytest.mark.parametrize("repair", [True, False])
def test_transposed_as_a_whole(repair):
    rng = np.random.default_rng(0)
    barcodes = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(20)]
    matrix = sp.csr_matrix(rng.poisson(2.0, (5, 20)).astype(np.float32))
    obs = pd.DataFrame({"cell_type": "B", "batch": "x"}, index=pd.Index([f"GENE{i}" for i in range(5)], dtype=object))
    data = Multimodal(obs, {"rna": matrix}, {"rna": pd.DataFrame(index=barcodes)})
    with pytest.raises(
        InputError,
        match=rf"'rna' is transposed: its features have the names of cells \(first '{barcodes[0]}'\).*adata\.T",
    ):
        validate(data, "here", repair)


def test_features_that_are_the_cells():
    data = example()
    turned = sp.csr_matrix(np.ones((6, 6), dtype=np.float32))
    data = Multimodal(
        data.obs, {**data.counts, "protein": turned}, {**data.var, "protein": pd.DataFrame(index=data.obs.index)}
    )
    with pytest.raises(InputError, match=r"'protein' is transposed"):
        validate(data, "here")


def test_no_cells_no_features_no_modality():
    data = example()
    with pytest.raises(InputError, match="no cells"):
        validate(data.subset(np.array([], dtype=int)), "here")
    with pytest.raises(InputError, match="modality 'protein' has no features"):
        validate(
            Multimodal(
                data.obs,
                {**data.counts, "protein": sp.csr_matrix((6, 0))},
                {**data.var, "protein": data.var["protein"][:0]},
            ),
            "here",
        )
    with pytest.raises(InputError, match="no modality"):
        validate(Multimodal(data.obs, {}, {}), "here")


def test_check_size():
    check_size(100, 100, "x")
    with pytest.raises(InputError, match=r"designs: 101 cells asked for, 100 there after validation; lower n_cells"):
        check_size(100, 101, "designs")
    with pytest.raises(InputError, match=r"at least 1"):
        check_size(100, 0, "designs")
