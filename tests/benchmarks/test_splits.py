"""Test cells: the same at every size, of every type, whole for the model to place, and out of all that is learned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.designs import make_design, make_design_from_file
from benchmarks.errors import InputError
from benchmarks.formats import write_h5mu
from benchmarks.splits import choose_cells, choose_test, ranks
from tests.benchmarks.design_data import content_digest, make_data, spec


def test_test_cells_are_a_stratified_tenth_and_the_same_at_every_size():
    labels = make_data(1000).obs["cell_type"]
    small, large = spec(n_cells=90, test_fraction=0.1), spec(n_cells=900, test_fraction=0.1)
    test = choose_test(labels, small)
    assert len(test) == 100 and np.array_equal(test, choose_test(labels, large))
    drawn, all_cells = labels.iloc[test].value_counts(), labels.value_counts()
    assert np.all(np.abs(drawn[all_cells.index] - all_cells * 0.1) <= 1)
    chosen = [choose_cells(labels, design) for design in (small, large)]
    assert [len(cells) for cells in chosen] == [190, 1000]
    assert set(test) <= set(chosen[0]) <= set(chosen[1])
    assert set(test) != set(choose_test(labels, spec(test_fraction=0.1, seed=37)))
    assert len(choose_cells(labels, spec(test_fraction=0.1))) == 1000


def test_ranks_are_a_permutation():
    labels = pd.Series(["a"] * 5 + [None] * 4 + ["b"])
    for stratified in (False, True):
        assert sorted(ranks(labels, np.random.default_rng(0), stratified)) == list(range(10))


def test_test_cells_are_whole_for_the_model_and_a_target_for_the_metrics(tmp_path):
    data = make_data()
    design = spec(n_cells=60, test_fraction=0.2, unpaired_fraction=0.5, held_out=(("alpha", "rna"),))
    visible, truth = make_design(data, design)
    is_test = (visible.obs["split"] == "test").to_numpy()
    assert is_test.sum() == 24 and (truth.obs["split"] == visible.obs["split"]).all()
    assert set(visible.obs["group"][is_test]) == {"paired"}
    assert "rna+atac" not in set(visible.obs["group"]) and {"rna", "atac", "protein"} <= set(visible.obs["group"])
    assert truth.uns["n_unpaired"] == 30
    number = {name: i + 1 for i, name in enumerate(data.obs.index)}
    for modality in visible.modalities:
        assert set(np.flatnonzero(is_test)) <= set(truth.rows[modality])
        assert set(truth.rows[modality]) == set(np.flatnonzero(is_test | ~visible.has(modality)))
        cells = truth.obs["cell"].iloc[truth.rows[modality]]
        assert truth.counts[modality][:, 0].toarray().ravel().tolist() == [number[cell] for cell in cells]
    write_h5mu(tmp_path / "data.h5mu", data)
    assert content_digest(*make_design_from_file(tmp_path / "data.h5mu", design)) == content_digest(visible, truth)


def test_a_design_without_test_cells_has_no_split():
    visible, truth = make_design(make_data(), spec(n_cells=20))
    assert "split" not in visible.obs and "split" not in truth.obs


def test_features_are_chosen_on_the_training_cells():
    data = make_data()
    test = choose_test(data.obs["cell_type"], spec(test_fraction=0.25))
    matrix = data.counts["rna"].tolil()
    matrix[:, 3] = 0
    matrix[test, 3] = 50
    data.counts["rna"] = matrix.tocsr()
    visible, _ = make_design(data, spec(test_fraction=0.25))
    assert "rna_3" not in visible.var["rna"].index


def test_too_many_training_cells_are_refused():
    with pytest.raises(InputError, match="n_cells 100 asked for, 90 there beside 30 test cells"):
        make_design(make_data(), spec(n_cells=100, test_fraction=0.25))
