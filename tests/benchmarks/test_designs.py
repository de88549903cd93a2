"""Designs: exact sizes, nesting, identity, and nothing in the visible file that gives the truth away."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.designs import (
    DesignSpec,
    choose_cells,
    choose_unpaired,
    make_design,
    make_design_from_file,
    select_features,
)
from benchmarks.errors import InputError
from benchmarks.formats import file_sha256, read_h5mu, write_h5mu
from tests.benchmarks.design_data import content_digest, make_data, spec


def test_paired_design_holds_every_chosen_cell_once_with_all_modalities():
    data = make_data()
    visible, truth = make_design(data, spec(n_cells=50))
    assert visible.n_obs == truth.n_obs == 50
    assert truth.obs["cell"].is_unique
    assert set(visible.obs["group"]) == {"paired"}
    assert visible.complete.all() and truth.modalities == ()


def test_split_cells_appear_once_a_modality_with_their_own_counts():
    data = make_data()
    visible, truth = make_design(data, spec(n_cells=60, unpaired_fraction=0.25))
    assert truth.uns["n_unpaired"] == 15
    assert visible.n_obs == 45 + 3 * 15
    number = {name: i for i, name in enumerate(data.obs.index)}
    for modality in visible.modalities:
        cells = truth.obs["cell"].iloc[visible.rows[modality]]
        assert np.array_equal(visible.counts[modality][:, 0].toarray().ravel(), [number[cell] + 1 for cell in cells])
        cells = truth.obs["cell"].iloc[truth.rows[modality]]
        assert np.array_equal(truth.counts[modality][:, 0].toarray().ravel(), [number[cell] + 1 for cell in cells])
        # Visible and withheld rows of a modality share no observation and together cover all of them.
        assert np.array_equal(
            np.sort(np.concatenate([visible.rows[modality], truth.rows[modality]])), np.arange(visible.n_obs)
        )
    sizes = truth.obs.groupby("cell").size()
    assert sorted(sizes.unique()) == [1, 3]
    groups = truth.obs[truth.obs["cell"].isin(sizes.index[sizes == 3])].groupby("cell")["group"].agg(set)
    assert all(group == {"rna", "atac", "protein"} for group in groups)


def test_truth_and_visible_agree_on_labels_and_batches():
    data = make_data()
    visible, truth = make_design(data, spec(n_cells=70, unpaired_fraction=0.5))
    source = data.obs.loc[truth.obs["cell"]]
    assert np.array_equal(truth.obs["cell_type"].astype(str), source["cell_type"].astype(str))
    assert np.array_equal(visible.obs["batch"].astype(str), source["batch"].astype(str))
    assert np.array_equal(truth.obs["pseudotime_x"], source["pseudotime_x"])
    assert "secret" not in truth.obs


@given(
    st.integers(2, 119),
    st.integers(2, 119),
    st.sampled_from(["uniform", "stratified"]),
    st.integers(0, 5),
    st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_smaller_designs_nest_in_larger_ones(first, second, sampling, seed, replicate):
    labels = make_data().obs["cell_type"]
    small, large = sorted([first, second])
    chosen = [
        choose_cells(labels, spec(n_cells=n, sampling=sampling, seed=seed, replicate=replicate)) for n in (small, large)
    ]
    assert len(chosen[0]) == small and len(chosen[1]) == large
    assert set(chosen[0]) <= set(chosen[1])


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_unpaired_cells_nest_in_the_fraction(first, second, seed):
    low, high = sorted([first, second])
    chosen = np.arange(0, 100, 2)
    masks = [choose_unpaired(100, chosen, spec(unpaired_fraction=fraction, seed=seed)) for fraction in (low, high)]
    assert not np.any(masks[0] & ~masks[1])
    assert masks[1].sum() == int(np.floor(high * 50 + 0.5))


def test_stratified_sampling_keeps_proportions():
    labels = make_data(1000).obs["cell_type"]
    chosen = choose_cells(labels, spec(n_cells=200, sampling="stratified"))
    counts = labels.value_counts()
    drawn = labels.iloc[chosen].value_counts()
    assert np.all(np.abs(drawn[counts.index] - counts * 0.2) <= 1)


def test_stratified_sampling_takes_unlabelled_cells_as_a_type():
    labels = pd.Series(["a"] * 60 + [None] * 40)
    chosen = choose_cells(labels, spec(n_cells=50, sampling="stratified"))
    assert (chosen >= 60).sum() == 20


def test_replicates_and_seeds_draw_other_cells():
    labels = make_data().obs["cell_type"]
    base = set(choose_cells(labels, spec(n_cells=40)))
    assert base != set(choose_cells(labels, spec(n_cells=40, replicate=1)))
    assert base != set(choose_cells(labels, spec(n_cells=40, seed=1)))


def test_every_field_is_part_of_the_identity():
    base = spec(n_cells=50)
    changes = {
        "dataset": "e", "modalities": ("rna", "atac"), "n_cells": 51, "unpaired_fraction": 0.1, "replicate": 1, "seed": 1,
        "sampling": "stratified", "features": {"rna": {"highly_variable": 5}}, "held_out": (("alpha", "rna"),),
        "groups": {"rna+atac": 1, "protein": 1}, "sources": {"by": "batch", "modalities": {"one": ["rna"]}},
        "hide_batch": True, "test_fraction": 0.1,
    }  # fmt: skip
    assert set(changes) == {item.name for item in dataclasses.fields(DesignSpec)}
    names = {dataclasses.replace(base, **{key: value}).name for key, value in changes.items()}
    assert len(names | {base.name}) == len(changes) + 1
    for design in (base, *(dataclasses.replace(base, **{key: value}) for key, value in changes.items())):
        assert DesignSpec.from_mapping(json.loads(json.dumps(design.to_mapping()))).name == design.name


def test_same_specification_same_bytes_from_memory_and_from_file(tmp_path):
    data = make_data()
    write_h5mu(tmp_path / "data.h5mu", data)
    design = spec(n_cells=50, unpaired_fraction=0.4, features={"rna": {"top_fraction": 0.5}})
    digests = set()
    for number, (visible, truth) in enumerate(
        [make_design(data, design), make_design_from_file(tmp_path / "data.h5mu", design)] * 2
    ):
        write_h5mu(tmp_path / f"v{number}.h5mu", visible)
        write_h5mu(tmp_path / f"t{number}.h5mu", truth)
        digests.add((file_sha256(tmp_path / f"v{number}.h5mu"), file_sha256(tmp_path / f"t{number}.h5mu")))
    assert len(digests) == 1


def test_the_bytes_of_a_known_design_have_not_changed():
    """A change here means that published designs are no longer reproduced: raise DESIGN_VERSION and say so."""
    chosen = choose_cells(pd.Series(["a", "b"] * 50), spec(n_cells=5, seed=7))
    assert chosen.tolist() == [4, 42, 45, 58, 86]


KNOWN = {
    "all cells": ({}, "nall-u0-r0-3c7adc2f", "da0fdb71daa89402"),
    "subsample": ({"n_cells": 50}, "n50-u0-r0-b953d1f3", "256a8f341db8415e"),
    "stratified, replicate, seed": (
        {"n_cells": 40, "sampling": "stratified", "replicate": 2, "seed": 9},
        "n40-u0-r2-8e71da77",
        "49839bdd8a72e4fc",
    ),
    "unpaired": ({"n_cells": 60, "unpaired_fraction": 0.25}, "n60-u0.25-r0-21a0d06c", "95e3f2e43153a08a"),
    "all unpaired": (
        {"unpaired_fraction": 1.0, "modalities": ("rna", "protein")},
        "nall-u1-r0-cb6ad822",
        "96fcb60c8b625fa6",
    ),
    "filtered": (
        {
            "n_cells": 60,
            "unpaired_fraction": 0.5,
            "features": {"rna": {"top_fraction": 0.5}, "atac": {"min_cell_fraction": 0.5}},
        },
        "n60-u0.5-r0-701646e8",
        "04074faf20a1c737",
    ),
    "held out": (
        {"n_cells": 80, "unpaired_fraction": 0.5, "held_out": (("beta", "rna"),)},
        "n80-u0.5-r0-6364a49d",
        "85c8d429fadbcfce",
    ),
}
"""Name and content of designs as they were before groups, sources, hidden batches and test cells came.

Designs that hold populations out have another name since these have no say in the choice of features.
"""


@pytest.mark.parametrize("changes, name, content", KNOWN.values(), ids=KNOWN)
def test_designs_that_were_there_first_keep_their_identity_and_content(changes, name, content):
    design = spec(**changes)
    assert design.name == name
    assert content_digest(*make_design(make_data(), design)) == content


def test_visible_file_does_not_give_the_truth_away(tmp_path):
    data = make_data(400)
    design = spec(n_cells=300, unpaired_fraction=0.5)
    visible, truth = make_design(data, design)
    write_h5mu(tmp_path / "visible.h5mu", visible)
    raw = (tmp_path / "visible.h5mu").read_bytes()
    with h5py.File(tmp_path / "visible.h5mu") as file:
        names, text = [], []

        def visit(name, item):
            names.append(name)
            text.extend(f"{key}={value}" for key, value in item.attrs.items())
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "O":
                text.extend(np.atleast_1d(item[()]).astype(str))

        file.visititems(visit)
        text += [f"{key}={value}" for key, value in file.attrs.items()]
    joined = "\n".join(names + text).replace("n_cell_types", "")
    raw = raw.replace(b"n_cell_types", b"")
    for secret in ("alpha", "beta", "gamma", "delta", "BARCODE", "cell_type", "pseudotime", "secret", "true_loading"):
        assert secret not in joined and secret.encode() not in raw
    back = read_h5mu(tmp_path / "visible.h5mu")
    assert set(back.obs.columns) == {"batch", "group"}

    # The order and the names carry no information on which halves belong together or on the label.
    halves = truth.obs[truth.obs["group"] != "paired"].assign(position=np.flatnonzero(truth.obs["group"] != "paired"))
    pairs = halves.pivot(index="cell", columns="group", values="position")
    correlation = np.corrcoef(pairs["rna"], pairs["atac"])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(pairs))
    source = pd.Index(data.obs.index).get_indexer(truth.obs["cell"])
    assert abs(np.corrcoef(source, np.arange(len(source)))[0, 1]) < 4 / np.sqrt(len(source))
    codes = pd.factorize(truth.obs["cell_type"])[0]
    assert abs(np.corrcoef(codes, np.arange(len(codes)))[0, 1]) < 4 / np.sqrt(len(codes))
    ranks = {g: np.argsort(np.argsort(pairs[g].to_numpy())) for g in ("rna", "atac")}
    assert (ranks["rna"] == ranks["atac"]).mean() < 0.1


def test_held_out_population_loses_a_modality_everywhere():
    data = make_data(200)
    visible, truth = make_design(data, spec(n_cells=150, unpaired_fraction=0.5, held_out=(("beta", "rna"),)))
    is_beta = (truth.obs["cell_type"] == "beta").to_numpy()
    assert not visible.has("rna")[is_beta].any()
    assert visible.has("rna")[~is_beta].any()
    assert (truth.obs["group"][is_beta] != "paired").all()
    assert "atac+protein" in set(truth.obs["group"][is_beta])
    # An RNA half of a held-out cell would have nothing left: it is not there at all.
    assert np.array_equal(
        visible.has("rna") | visible.has("atac") | visible.has("protein"), np.ones(visible.n_obs, bool)
    )


def test_held_out_counts_have_no_say_in_the_choice_of_features():
    # Feature 5 is open in the held-out cells alone, feature 6 mostly there.
    data = make_data(200)
    beta = (data.obs["cell_type"] == "beta").to_numpy()
    counts = data.counts["rna"].toarray()
    counts[:, 5] = 50.0 * beta
    counts[:, 6] = 50.0 * beta
    counts[np.flatnonzero(~beta)[0], 6] = 1.0
    data.counts["rna"] = sp.csr_matrix(counts)
    filters = {"features": {"rna": {"top_fraction": 0.5}}}
    held = {"held_out": (("beta", "rna"),)}
    for changes, kept in ((filters, True), ({**filters, **held}, False), (held, False)):
        visible, _ = make_design(data, spec(**changes))
        assert ("rna_5" in visible.var["rna"].index) == kept
        assert ("rna_6" in visible.var["rna"].index) == (kept or changes is held)
        assert "rna_0" in visible.var["rna"].index
    assert visible.counts["rna"].getnnz(axis=0).min() > 0


def test_feature_filters():
    counts = sp.csr_matrix(np.array([[5, 0, 1, 9], [0, 0, 1, 9], [0, 0, 1, 9], [0, 0, 0, 9]], dtype=np.float32))
    assert select_features(counts, {}).tolist() == [0, 2, 3]
    assert select_features(counts, {"min_cell_fraction": 0.5}).tolist() == [2, 3]
    assert select_features(counts, {"top_fraction": 0.5}).tolist() == [0, 3]


def test_highly_variable_genes_are_the_variable_ones():
    rng = np.random.default_rng(0)
    matrix = rng.poisson(rng.uniform(1, 9, 200), (200, 200))
    matrix[:, :5] = np.where(np.arange(200)[:, None] < 100, rng.poisson(10.0, (200, 5)), 0)
    kept = select_features(sp.csr_matrix(matrix.astype(np.float32)), {"highly_variable": 5})
    assert kept.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unpaired_fraction": 1.5}, "outside"),
        ({"unpaired_fraction": -0.1}, "outside"),
        ({"n_cells": 0}, "below 1"),
        ({"sampling": "sorted"}, "neither"),
        ({"modalities": ("rna", "methylation")}, "unknown modality"),
        ({"modalities": ("rna",), "unpaired_fraction": 0.5}, "needs two modalities"),
        ({"test_fraction": 1.0}, r"test_fraction 1.0 is outside \[0, 1\)"),
        ({"groups": {"rna+methylation": 1}}, "group 'rna\\+methylation'.*rna, atac, protein"),
        ({"groups": {"rna+rna": 1}}, "group 'rna\\+rna'"),
        ({"groups": {"rna+atac": 1, "atac+rna": 1}}, "given twice"),
        ({"groups": {"rna": 0.0}}, "positive number"),
        ({"groups": {"rna": 1}, "unpaired_fraction": 0.5}, "unpaired_fraction and groups both"),
        ({"sources": {"by": "batch"}}, "'modalities'"),
        ({"sources": {"by": "plate", "modalities": {"one": ["rna"]}}}, "'plate' is none of batch"),
        ({"sources": {"by": "batch", "modalities": {"one": []}}}, "'one' has nothing"),
        ({"sources": {"by": "batch", "modalities": {"one": ["methylation"]}}}, "'one' has methylation"),
    ],
)
def test_bad_specifications_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        spec(**changes)


def test_more_cells_than_there_are_is_refused():
    with pytest.raises(InputError, match="n_cells 500 asked for, 120 there"):
        make_design(make_data(), spec(n_cells=500))
