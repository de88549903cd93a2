"""The simulator: reproducible to the byte, as the real data in its numbers, and true to its recorded truth."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.datasets.calibration import (
    MATCHED,
    REAL_FILES,
    background_foreground,
    batch_shift,
    dispersion_by_mean,
    embed,
    neighbour_purity,
    predicted_variance,
    run_calibration,
    statistics,
)
from benchmarks.datasets.simulate import (
    BLOCK,
    PRESETS,
    SimulationParameters,
    latent_factors,
    simulate,
    simulate_to_file,
)
from benchmarks.errors import InputError
from benchmarks.formats import MODALITIES, H5mu, file_sha256, read_h5mu, write_h5mu

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("MOSAICBENCH_DATA_DIR", ROOT.parent / "shared" / "data"))
SMALL = SimulationParameters(n_cells=2 * BLOCK + 37, n_genes=120, n_peaks=300, n_proteins=8)


@pytest.fixture(scope="module")
def default():
    """The defaults at 1,000 cells, seed 0."""
    return simulate(SimulationParameters(n_cells=1_000), 0)


@pytest.fixture(scope="module")
def truth():
    """The latent factors behind `default`."""
    return latent_factors(SimulationParameters(n_cells=1_000), 0)


@pytest.fixture(scope="module")
def embeddings(default):
    """Plain embeddings of the three modalities of `default`."""
    return {modality: embed(default.counts[modality], modality) for modality in MODALITIES}


def assert_same(first, second):
    """Equal counts, tables and facts."""
    pd.testing.assert_frame_equal(first.obs, second.obs, check_index_type=False, check_categorical=False)
    assert first.modalities == second.modalities
    for modality in first.modalities:
        one, other = first.counts[modality], second.counts[modality]
        assert one.shape == other.shape
        assert (one != other).nnz == 0
        left, right = first.var[modality], second.var[modality]
        pd.testing.assert_frame_equal(left, right, check_index_type=False, check_categorical=False, check_dtype=False)


def test_same_seed_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_h5mu(tmp_path / f"{name}.h5mu", simulate(SMALL, 3))
        simulate_to_file(tmp_path / f"{name}_stream.h5mu", SMALL, 3)
    assert file_sha256(tmp_path / "a.h5mu") == file_sha256(tmp_path / "b.h5mu")
    assert file_sha256(tmp_path / "a_stream.h5mu") == file_sha256(tmp_path / "b_stream.h5mu")


def test_another_seed_another_world():
    one, other = simulate(SMALL, 3), simulate(SMALL, 4)
    assert (one.counts["rna"] != other.counts["rna"]).nnz > 0.1 * one.counts["rna"].nnz
    assert not np.array_equal(one.var["atac"]["start"], other.var["atac"]["start"])


@pytest.mark.parametrize("chunk_cells", [1, BLOCK + 1, 10_000])
def test_stream_equals_memory_for_any_chunk(tmp_path, chunk_cells):
    simulate_to_file(tmp_path / "stream.h5mu", SMALL, 7, chunk_cells=chunk_cells)
    write_h5mu(tmp_path / "memory.h5mu", simulate(SMALL, 7))
    streamed, memory = read_h5mu(tmp_path / "stream.h5mu"), read_h5mu(tmp_path / "memory.h5mu")
    assert_same(streamed, memory)
    assert streamed.uns == memory.uns
    assert_same(streamed, simulate(SMALL, 7))


def test_stream_opens_with_mudata(tmp_path):
    import mudata

    simulate_to_file(tmp_path / "data.h5mu", SMALL, 0)
    opened = mudata.read_h5mu(tmp_path / "data.h5mu")
    assert opened.shape == (SMALL.n_cells, 120 + 300 + 8)
    assert (simulate(SMALL, 0).counts["atac"] != opened["atac"].X).nnz == 0


def test_cells_do_not_depend_on_their_number_nor_on_other_modalities():
    full = simulate(SMALL, 5)
    fewer = simulate(dataclasses.replace(SMALL, n_cells=BLOCK + 5, modalities=("protein",)), 5)
    assert fewer.modalities == ("protein",)
    assert (full.counts["protein"][: BLOCK + 5] != fewer.counts["protein"]).nnz == 0
    expected = full.obs.iloc[: BLOCK + 5]
    assert list(expected["cell_type"]) == list(fewer.obs["cell_type"])
    np.testing.assert_array_equal(expected["pseudotime_lymphoid"], fewer.obs["pseudotime_lymphoid"])
    assert list(expected.index) == list(fewer.obs.index)


def test_random_streams_of_blocks_and_modalities_differ():
    data = simulate(SMALL, 0)
    rna = data.counts["rna"]
    assert (rna[:BLOCK] != rna[BLOCK : 2 * BLOCK]).nnz > 0
    factors = latent_factors(SMALL, 0).cells
    assert len(np.unique(factors.round(5), axis=0)) == SMALL.n_cells


def test_tables(default):
    assert list(default.obs.columns[:4]) == ["cell_type", "batch", "site", "donor"]
    assert default.obs.index.is_unique
    for batch, site, donor in default.obs[["batch", "site", "donor"]].astype(str).itertuples(index=False):
        assert batch == site + donor
    assert default.obs.groupby("donor", observed=True)["site"].nunique().max() == 1
    assert default.obs["batch"].nunique() == 4
    assert default.obs["cell_type"].nunique() == 12
    share = default.obs["cell_type"].value_counts(normalize=True)
    assert 5 < share.max() / share.min() < 100
    assert default.uns["cell_type_tree"].endswith(";")
    for name in default.obs["cell_type"].unique():
        assert name in default.uns["cell_type_tree"]
    rna, atac = default.var["rna"], default.var["atac"]
    assert rna["gene_id"].is_unique and rna.index.is_unique and atac.index.is_unique
    assert set(rna["strand"]) == {"+", "-"}
    for table in (rna, atac):
        assert (table["start"] > 0).all() and (table["end"] > table["start"]).all()
    for _, chromosome in atac.groupby("chrom", observed=True):
        assert (chromosome["start"].to_numpy()[1:] > chromosome["end"].to_numpy()[:-1]).all()
    assert set(default.var["protein"]["encoding_gene"]) <= set(rna.index)


def test_linked_peaks_lie_at_their_gene(default):
    rna, atac = default.var["rna"], default.var["atac"]
    linked = atac[atac["linked_gene"].notna()]
    assert 0.35 < len(linked) / len(atac) < 0.45
    gene = rna.loc[linked["linked_gene"].astype(str)]
    assert (gene["chrom"].astype(str).to_numpy() == linked["chrom"].astype(str).to_numpy()).all()
    start = np.where(gene["strand"] == "+", gene["start"], gene["end"])
    distance = np.abs((linked["start"] + linked["end"]) / 2 - start)
    assert distance.max() < 60_000
    assert 0.3 < (distance < 3_000).mean() < 0.8
    # So that gene activity (gene body and 2,000 base pairs upstream) finds them.
    low = np.where(gene["strand"] == "+", gene["start"] - 2_000, gene["start"])
    high = np.where(gene["strand"] == "+", gene["end"], gene["end"] + 2_000)
    assert ((linked["end"] > low) & (linked["start"] < high)).mean() > 0.5


def test_linked_peaks_follow_their_gene(default, truth):
    """Correlation over cells of true expression and accessibility, and of pseudobulk counts: linked above unlinked."""
    atac = default.var["atac"]
    has = atac["linked_gene"].notna().to_numpy()
    position = default.var["rna"].index.get_indexer(atac["linked_gene"].astype(object).where(has, None))
    other = np.random.default_rng(0).permutation(position[has])
    expression = truth.cells @ truth.loadings["rna"]
    accessibility = truth.cells @ truth.loadings["atac"]

    def correlation(x, y):
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
        return (x * y).sum(axis=0)[norm > 1e-9] / norm[norm > 1e-9]

    linked = correlation(expression[:, position[has]], accessibility[:, has])
    unlinked = correlation(expression[:, other], accessibility[:, has])
    assert np.median(linked) > 0.6
    assert abs(np.mean(unlinked)) < 0.1

    group = default.obs["cell_type"].cat.codes.to_numpy()
    pool = sp.csr_matrix((np.ones(1_000), (group, np.arange(1_000))))
    rates = {}
    for modality in ("rna", "atac"):
        counts = default.counts[modality]
        library = np.asarray(counts.sum(axis=1)).ravel()
        rates[modality] = np.log((pool @ counts).toarray() / (pool @ library)[:, None] + 1e-5)
    observed = correlation(rates["rna"][:, position[has]], rates["atac"][:, has])
    shuffled = correlation(rates["rna"][:, other], rates["atac"][:, has])
    assert observed.mean() - shuffled.mean() > 0.1


def test_signal_in_each_modality(default, embeddings):
    labels = default.obs["cell_type"].astype(str).to_numpy()
    chance = float((default.obs["cell_type"].value_counts(normalize=True) ** 2).sum())
    purity = {modality: neighbour_purity(embeddings[modality], labels) for modality in MODALITIES}
    assert 0.65 < purity["rna"] < 0.95
    assert chance + 0.15 < purity["atac"] < purity["rna"] - 0.1
    assert purity["protein"] > chance + 0.3


def test_one_modality_predicts_the_other(embeddings):
    for other in ("atac", "protein"):
        assert 0.3 < predicted_variance(embeddings[other], embeddings["rna"]) < 0.85
        shuffled = np.random.default_rng(0).permutation(embeddings[other])
        assert predicted_variance(shuffled, embeddings["rna"]) < 0.03


def test_no_effect_no_signal():
    silent = SimulationParameters(
        n_cells=600, gene_effect=0, peak_effect=0, library_type_sd=0, composition_sd=0, modalities=("rna", "atac")
    )
    data = simulate(silent, 0)
    labels = data.obs["cell_type"].astype(str).to_numpy()
    chance = float((data.obs["cell_type"].value_counts(normalize=True) ** 2).sum())
    for modality in data.modalities:
        assert abs(neighbour_purity(embed(data.counts[modality], modality), labels) - chance) < 0.03


def test_proteins_are_bimodal(default):
    counts, bimodal = default.counts["protein"].toarray(), default.var["protein"]["bimodal"].to_numpy()
    fits = pd.DataFrame([background_foreground(column) for column in counts.T])
    found = fits["bimodal"].to_numpy() > 0
    assert found[bimodal].mean() > 0.5
    assert found[~bimodal].mean() < 0.5
    assert 1.8 < fits["gap"][found].median() < 4.5
    assert 0.1 < fits["fraction"][found].median() < 0.6


def test_pseudotime(default, truth):
    for number, name in enumerate(("erythroid", "lymphoid")):
        time = default.obs[f"pseudotime_{name}"].to_numpy()
        inside = ~np.isnan(time)
        types = default.obs["cell_type"].astype(str)
        assert set(types[inside]) == {"stem", *(f"{name}_{stage}" for stage in (1, 2, 3))}
        assert types.isin(["stem", *(f"{name}_{stage}" for stage in (1, 2, 3))]).to_numpy()[~inside].sum() == 0
        assert (time[inside] >= 0).all() and (time[inside] <= 1).all()
        # Monotone: the trajectory's own factor rises along it in a straight line, up to the cells' noise.
        factor = truth.cells[inside, number]
        slope, intercept = np.polyfit(time[inside], factor, 1)
        assert slope == pytest.approx(SimulationParameters().trajectory_length, abs=0.35)
        assert intercept == pytest.approx(0, abs=0.2)
        residual = factor - slope * time[inside] - intercept
        assert residual.std() == pytest.approx(SimulationParameters().within_type_sd, rel=0.2)
        stages = [time[(types == f"{name}_{stage}").to_numpy()] for stage in (1, 2, 3)]
        assert stages[0].max() < stages[1].min() and stages[1].max() < stages[2].min()


def test_without_noise_the_factor_is_monotone_in_pseudotime():
    exact = SimulationParameters(
        n_cells=300, n_genes=20, n_peaks=20, n_proteins=2, within_type_sd=0, modalities=("rna",)
    )
    time = simulate(exact, 1).obs["pseudotime_erythroid"].to_numpy()
    inside = np.flatnonzero(~np.isnan(time))
    order = inside[np.argsort(time[inside])]
    assert (np.diff(latent_factors(exact, 1).cells[order, 0]) > 0).all()


def test_batch_effect_grows_with_its_strength():
    purity, shift = [], []
    for strength in (0.0, 1.0, 3.0):
        data = simulate(
            SimulationParameters(n_cells=800, composition_sd=0, batch_strength=strength, modalities=("rna",)), 0
        )
        batches = data.obs["batch"].astype(str).to_numpy()
        types = data.obs["cell_type"].astype(str).to_numpy()
        purity.append(neighbour_purity(embed(data.counts["rna"], "rna"), batches))
        shift.append(batch_shift(data.counts["rna"], types, batches)[1])
    assert purity[0] == pytest.approx(0.25, abs=0.03)
    assert purity[0] + 0.08 < purity[1] < purity[2] - 0.1
    assert shift[0] < shift[2]


def test_sites_separate_more_than_donors():
    quiet = SimulationParameters(n_cells=200, n_genes=400, n_peaks=10, n_proteins=2, rna_site_sd=0.5, rna_donor_sd=0.1)
    data = simulate(quiet, 2)
    batches, rna = data.obs["batch"].astype(str).to_numpy(), data.counts["rna"]
    profile = {}
    for batch in sorted(set(batches)):
        total = np.asarray(rna[batches == batch].sum(axis=0)).ravel()
        profile[batch] = np.log(total / total.sum() + 1e-4)
    same = np.std(profile["s1d1"] - profile["s1d2"])
    different = np.std(profile["s1d1"] - profile["s2d3"])
    assert different > 1.2 * same


def test_calibration_bounds(default):
    """Bounds around the real bone marrow (measured: docs/simulator.md), on the defaults."""
    zeros = {m: 1 - x.nnz / np.prod(x.shape) for m, x in default.counts.items()}
    assert 0.68 < zeros["rna"] < 0.80
    assert 0.80 < zeros["atac"] < 0.90
    assert 0.03 < zeros["protein"] < 0.18
    library = {m: np.asarray(x.sum(axis=1)).ravel() for m, x in default.counts.items()}
    assert 0.45 < np.log(library["rna"]).std() < 0.75
    assert 0.45 < np.log(library["atac"]).std() < 0.85
    assert 400 < np.median(library["rna"]) < 850
    assert 0.25 < np.corrcoef(np.log(library["rna"]), np.log(library["atac"]))[0, 1] < 0.6
    atac = default.counts["atac"].data
    assert (atac == 2).mean() == pytest.approx(0.71, abs=0.06)
    assert (atac == 1).mean() == pytest.approx(0.094, abs=0.03)


def test_dispersion_falls_with_the_mean_and_is_what_was_asked_for():
    """With no other variation, the method of moments recovers the NB dispersion, and 0 gives Poisson."""
    plain = {
        "n_cells": 3 * BLOCK, "n_genes": 300, "n_peaks": 10, "n_proteins": 2, "modalities": ("rna",), "n_types": 1,
        "trajectories": (), "within_type_sd": 0, "n_private_factors": 0, "n_sites": 1, "donors_per_site": 1,
        "rna_library_median": 3_000, "rna_library_sd": 0, "library_type_sd": 0, "dispersion_scatter": 0,
        "gene_mean_sd": 1.0,
    }  # fmt: skip
    group = np.zeros(3 * BLOCK)
    noisy = SimulationParameters(**plain, dispersion=1.0, dispersion_half_mean=5.0)
    mean, dispersion = dispersion_by_mean(simulate(noisy, 0).counts["rna"], group)
    np.testing.assert_allclose(dispersion, 1 / (1 + mean / 5.0), atol=0.12)
    assert dispersion[0] > dispersion[-1] + 0.3
    poisson = SimulationParameters(**plain, dispersion=0.0)
    _, dispersion = dispersion_by_mean(simulate(poisson, 0).counts["rna"], group)
    assert np.abs(dispersion).max() < 0.05


def test_presets():
    parameters = SimulationParameters.from_mapping({"preset": "snare", "n_cells": 400})
    data = simulate(parameters, 0)
    assert data.modalities == ("rna", "atac")
    zeros = {m: 1 - x.nnz / np.prod(x.shape) for m, x in data.counts.items()}
    assert zeros["rna"] == pytest.approx(0.9365, abs=0.03)
    assert zeros["atac"] == pytest.approx(0.9962, abs=0.002)
    for name in PRESETS:
        SimulationParameters.from_mapping({"preset": name})


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"n_cell": 10}, ["unknown parameter 'n_cell'", "did you mean 'n_cells'"]),
        ({"n_cells": 0}, ["n_cells: 0", "from 1"]),
        ({"n_cells": 1.5}, ["n_cells: 1.5", "whole number"]),
        ({"n_cells": True}, ["n_cells: True"]),
        ({"link_coupling": 1.2}, ["link_coupling: 1.2", "from 0 to 1"]),
        ({"gene_effect": float("nan")}, ["gene_effect: nan"]),
        ({"gene_effect": "big"}, ["gene_effect: 'big'"]),
        ({"modalities": ["rna", "dna"]}, ["modalities", "'dna'", "rna, atac, protein"]),
        ({"modalities": []}, ["modalities: empty"]),
        ({"modalities": "rna"}, ["modalities: 'rna' is not a list"]),
        ({"trajectories": ["a b"]}, ["trajectories", "a b"]),
        ({"trajectories": ["a", "a"]}, ["trajectories"]),
        ({"n_types": 5}, ["n_types: 5", "take 7"]),
        ({"n_factors": 1}, ["n_factors: 1"]),
        ({"n_genes": 10}, ["n_peaks: 4000", "n_genes to at least 40"]),
        ({"preset": "snar"}, ["preset 'snar'", "did you mean 'snare'"]),
        ([1], ["[1] is not a mapping"]),
    ],
)
def test_bad_parameters_are_refused(mapping, words):
    with pytest.raises(InputError) as caught:
        SimulationParameters.from_mapping(mapping, "datasets.yaml: demo.simulate")
    assert str(caught.value).startswith("datasets.yaml: demo.simulate")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "x"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        simulate(SMALL, seed)


def test_parameters_are_taken_as_numbers():
    parameters = SimulationParameters.from_mapping({"n_cells": 20.0, "gene_effect": 1})
    assert isinstance(parameters.n_cells, int) and isinstance(parameters.gene_effect, float)
    assert SimulationParameters.from_mapping(None) == SimulationParameters()


@st.composite
def any_parameters(draw):
    trajectories = draw(st.sampled_from([(), ("one",), ("one", "two"), ("one", "two", "three")]))
    stages = draw(st.integers(1, 3))
    least = 1 + len(trajectories) * stages
    unit = st.floats(0, 1)
    return SimulationParameters(
        modalities=draw(st.lists(st.sampled_from(MODALITIES), min_size=1, unique=True).map(tuple)),
        n_cells=draw(st.integers(1, 300)),
        n_genes=draw(st.integers(2, 40)),
        n_peaks=draw(st.integers(2, 80)),
        n_proteins=draw(st.integers(1, 12)),
        n_types=draw(st.integers(least, least + 5)),
        trajectories=trajectories,
        trajectory_stages=stages,
        n_factors=draw(st.integers(3, 8)),
        sibling_similarity=draw(st.floats(0, 0.95)),
        within_type_sd=draw(st.floats(0, 3)),
        n_private_factors=draw(st.integers(0, 3)),
        regulated_fraction=draw(unit),
        linked_fraction=draw(unit),
        link_coupling=draw(unit),
        gene_effect=draw(st.floats(0, 5)),
        peak_effect=draw(st.floats(0, 5)),
        dispersion=draw(st.floats(0, 50)),
        paired_cut_fraction=draw(unit),
        foreground_fraction=draw(unit),
        protein_stability=draw(unit),
        n_sites=draw(st.integers(1, 3)),
        donors_per_site=draw(st.integers(1, 3)),
        batch_strength=draw(st.floats(0, 20)),
    )


@settings(max_examples=40, deadline=None)
@given(parameters=any_parameters(), seed=st.integers(0, 2**64))
def test_any_parameters_give_valid_data(parameters, seed, tmp_path_factory):
    data = simulate(parameters, seed)
    assert data.n_obs == parameters.n_cells and set(data.modalities) == set(parameters.modalities)
    assert not data.obs[["cell_type", "batch", "site", "donor"]].isna().any().any()
    for modality, counts in data.counts.items():
        assert counts.format == "csr" and counts.dtype == np.float32 and counts.has_sorted_indices
        assert counts.shape == (parameters.n_cells, parameters.n_features(modality))
        assert np.isfinite(counts.data).all() and (counts.data > 0).all()
        assert (counts.data == np.floor(counts.data)).all()
    factors = latent_factors(parameters, seed)
    assert factors.cells.shape == (parameters.n_cells, parameters.n_factors) and np.isfinite(factors.cells).all()
    path = tmp_path_factory.mktemp("simulated") / "data.h5mu"
    simulate_to_file(path, parameters, seed)
    assert_same(read_h5mu(path), data)


def test_stream_memory_is_bounded(tmp_path):
    """20,000 cells take hardly more memory than 2,000, and far less than their counts do."""
    script = (
        "import resource, sys\n"
        "from benchmarks.datasets.simulate import SimulationParameters, simulate_to_file\n"
        "p = SimulationParameters(n_cells=int(sys.argv[2]), n_genes=400, n_peaks=400, rna_library_median=1500,"
        " modalities=('rna',))\n"
        "simulate_to_file(sys.argv[1], p, 0, chunk_cells=1024)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    peak = {}
    for n_cells in (2_000, 20_000):
        path = tmp_path / f"{n_cells}.h5mu"
        command = [sys.executable, "-c", script, str(path), str(n_cells)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peak[n_cells] = int(done.stdout)
    with H5mu(tmp_path / "20000.h5mu") as file:
        assert file.shape("rna") == (20_000, 400)
        stored = 8 * file.file["mod/rna/X/data"].shape[0]
    assert stored > 20e6
    assert peak[20_000] - peak[2_000] < stored / 2


def test_statistics_of_known_counts():
    """Poisson counts have no dispersion, a planted shift between batches is found, and a planted mixture too."""
    rng = np.random.default_rng(0)
    types = np.repeat(["a", "b"], 400)
    batches = np.tile(["x", "y"], 400)
    fold = np.exp(0.4 * rng.standard_normal(200))
    mean = np.where((batches == "y")[:, None], 3 * fold, 3.0)
    counts = sp.csr_matrix(rng.poisson(mean).astype(np.float32))
    _, dispersion = dispersion_by_mean(counts, np.char.add(types, batches))
    assert np.abs(dispersion).max() < 0.03
    common, single = batch_shift(counts, types, batches)
    assert common == pytest.approx(np.log(fold).std(), rel=0.1)
    assert single == pytest.approx(np.log(fold).std(), rel=0.1)
    on = rng.random(2_000) < 0.3
    fit = background_foreground(rng.poisson(np.where(on, 80, 4)))
    assert fit["bimodal"] == 1
    assert fit["fraction"] == pytest.approx(on.mean(), abs=0.03)
    assert fit["gap"] == pytest.approx(np.log(81) - np.log(5), abs=0.25)


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "bmmc_cite.h5mu").is_file(), reason="needs the real data sets")
def test_calibration_against_real_data(tmp_path):
    """The headline statistics of simulation and real bone marrow agree within the stated factors."""
    table = run_calibration(DATA, tmp_path / "figure.png", tmp_path / "table.tsv", seeds=(0, 1))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert list(table.columns[:4]) == ["modality", "statistic", *REAL_FILES]
    rows = table.set_index(["modality", "statistic"])
    for modality, real, statistic, tolerance in (
        ("rna", "bmmc_multiome", "fraction of zeros", 0.05),
        ("atac", "bmmc_multiome", "fraction of zeros", 0.05),
        ("protein", "bmmc_cite", "fraction of zeros", 0.06),
        ("rna", "bmmc_multiome", "log library, standard deviation", 0.15),
        ("atac", "bmmc_multiome", "log library, standard deviation", 0.15),
        ("rna", "bmmc_multiome", "dispersion, median of middle octiles", 0.3),
        ("rna", "bmmc_multiome", "detection rate, quantile 0.5", 0.08),
        ("atac", "bmmc_multiome", "detection rate, quantile 0.75", 0.08),
        ("protein", "bmmc_cite", "bimodal: background, median", 0.5),
        ("protein", "bmmc_cite", "bimodal: foreground over background, median", 0.7),
        ("cells", "bmmc_cite", "entropy of types, nats", 0.4),
    ):
        row = rows.loc[(modality, statistic)]
        assert abs(row["simulated"] - row[real]) < tolerance, (modality, statistic)


def test_calibration_names_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"bmmc_multiome\.h5mu is missing"):
        run_calibration(tmp_path, tmp_path / "figure.png", tmp_path / "table.tsv")


def test_statistics_cover_every_modality():
    data = simulate(dataclasses.replace(SimulationParameters(**MATCHED), n_genes=200, n_peaks=300, n_proteins=6), 0)
    values = statistics(data).values
    assert {modality for modality, _ in values} == {"cells", *MODALITIES}
    assert values["cells", "cell types"] <= 23
