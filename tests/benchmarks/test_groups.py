"""Groups and sources: exact shares, every count accounted for, nothing withheld that leaks into the features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.designs import HIDDEN_BATCH, make_design
from benchmarks.errors import InputError
from benchmarks.groups import group_modalities, group_name, share_out
from tests.benchmarks.design_data import make_data, spec

ALL = ("rna", "atac", "protein")
PAIRS = {"rna+atac": 1, "rna+protein": 1, "atac+protein": 1}
EVERY = {**PAIRS, "paired": 1, "rna": 1, "atac": 1, "protein": 1}


def check_counts(data, visible, truth):
    """Visible and withheld counts of every modality are those of the observation's own cell, and cover all cells."""
    number = {name: i + 1 for i, name in enumerate(data.obs.index)}
    for modality in visible.modalities:
        for part in (visible, truth):
            if modality in part.counts:
                cells = truth.obs["cell"].iloc[part.rows[modality]]
                assert part.counts[modality][:, 0].toarray().ravel().tolist() == [number[cell] for cell in cells]
        rows = [part.rows[modality] for part in (visible, truth) if modality in part.rows]
        assert np.sort(np.concatenate(rows)).tolist() == list(range(visible.n_obs))


@pytest.mark.parametrize("name", ["rna", "atac+protein", "paired"])
def test_names_of_groups_are_names_of_modality_sets(name):
    assert group_name(group_modalities(name, ALL), ALL) == name
    assert group_modalities("protein+rna", ALL) == ("rna", "protein")


def test_pairs_alone_leave_no_cell_with_three_modalities():
    data = make_data()
    visible, truth = make_design(data, spec(n_cells=90, groups=PAIRS))
    assert visible.obs["group"].value_counts().to_dict() == {"rna+atac": 30, "rna+protein": 30, "atac+protein": 30}
    assert truth.obs["cell"].is_unique and not visible.complete.any()
    assert set(truth.modalities) == set(ALL)
    check_counts(data, visible, truth)


def test_every_combination_occurs_with_its_share():
    data = make_data()
    visible, truth = make_design(data, spec(groups={**EVERY, "paired": 5}))
    counts = visible.obs["group"].value_counts()
    assert set(counts.index) == set(EVERY) and counts.sum() == 120
    assert abs(counts["paired"] - 120 * 5 / 11) < 1
    assert all(abs(counts[name] - 120 / 11) < 1 for name in EVERY if name != "paired")
    check_counts(data, visible, truth)


@given(
    st.integers(1, 100),
    st.dictionaries(st.sampled_from(sorted(EVERY)), st.floats(0.01, 10), min_size=1),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_shares_are_met_to_a_cell_and_do_not_depend_on_their_order(n_cells, groups, seed):
    design = spec(groups=groups, seed=seed)
    has = share_out(100, np.arange(n_cells), design)
    names = [group_name(np.array(ALL)[row].tolist(), ALL) for row in has]
    for name, share in design.groups.items():
        assert abs(names.count(name) - share * n_cells) <= 1
    assert design.name == spec(groups=dict(reversed(groups.items())), seed=seed).name
    assert design.name == spec(groups={name: 2 * share for name, share in groups.items()}, seed=seed).name


def test_sources_keep_what_they_measure():
    data = make_data()
    sources = {"by": "batch", "modalities": {"one": ["atac", "rna"]}, "others": ["protein"]}
    visible, truth = make_design(data, spec(n_cells=80, sources=sources))
    is_one = (truth.obs["batch"] == "one").to_numpy()
    assert 0 < is_one.sum() < 80
    assert (visible.obs["group"].to_numpy() == np.where(is_one, "rna+atac", "protein")).all()
    assert (visible.obs["batch"].to_numpy() == truth.obs["batch"].to_numpy()).all()
    check_counts(data, visible, truth)


def test_a_hidden_batch_is_hidden_from_the_model_alone():
    data = make_data()
    shown, hidden = (make_design(data, spec(n_cells=80, hide_batch=flag)) for flag in (False, True))
    assert set(hidden[0].obs["batch"]) == {HIDDEN_BATCH}
    assert set(hidden[1].obs["batch"]) == {"one", "two"}
    # The same cells, in another order.
    assert set(shown[1].obs["cell"]) == set(hidden[1].obs["cell"])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"by": "site", "modalities": {"one": ["rna"]}}, "no column 'site'; use one of batch"),
        ({"by": "batch", "modalities": {"three": ["rna"]}, "others": ["atac"]}, "'three' is not among.*one, two"),
        ({"by": "batch", "modalities": {"one": ["rna"]}}, "batch 'two' is not listed.*'others'"),
    ],
)
def test_sources_that_do_not_fit_the_data_are_refused(sources, message):
    with pytest.raises(InputError, match=message):
        make_design(make_data(), spec(sources=sources))


def test_features_are_chosen_without_the_withheld_counts():
    data = make_data()
    matrix = data.counts["protein"].tolil()
    matrix[np.flatnonzero(data.obs["batch"] == "two"), 5] = 7
    matrix[np.flatnonzero(data.obs["batch"] == "one"), 5] = 0
    data.counts["protein"] = matrix.tocsr()
    sources = {"by": "batch", "modalities": {"one": ["rna", "protein"], "two": ["rna", "atac"]}}
    visible, truth = make_design(data, spec(sources=sources))
    assert "protein_5" not in visible.var["protein"].index and "protein_5" not in truth.var["protein"].index
    with pytest.raises(InputError, match="no feature of atac is left"):
        make_design(data, spec(sources={"by": "batch", "modalities": {"one": ["rna"], "two": ["protein"]}}))
