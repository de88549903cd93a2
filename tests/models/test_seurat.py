"""Seurat in R: files there and back, gene activity, agreement with Seurat called directly, and scores above chance."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.designs import DesignSpec, make_design
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, read_embedding, write_h5mu
from models import registry
from models.base import NotAvailableError
from models.parts.gene_activity import region_gene_overlap
from models.parts.linked_regions import linked_regions
from models.runner import TrainingJob, train
from models.seurat import exchange
from models.seurat.activity import activity_without_rna

NAMES = ("seurat-gene-activity", "seurat-imputed", "seurat-wnn")


def has_seurat() -> bool:
    try:
        exchange.check_seurat()
    except NotAvailableError:
        return False
    return True


def needs_r(function):
    function = pytest.mark.skipif(
        not has_seurat(), reason="R with Seurat 4 is not here (apt-get install r-cran-seurat)"
    )(function)
    return pytest.mark.r(function)


@pytest.fixture(scope="module")
def simulated():
    """Simulated bone marrow of 500 cells, with the genes' and regions' coordinates."""
    return simulate(SimulationParameters(n_cells=500), 0)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A function that runs R code in place of our scripts, after ``exchange.R``, on the files in a folder."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "exchange.R").write_text((exchange.SCRIPTS / "exchange.R").read_text())
    monkeypatch.setattr(exchange, "SCRIPTS", scripts)

    def run(code, folder, cells):
        head = "arguments <- commandArgs(TRUE)\nsource(file.path(arguments[[1]], 'exchange.R'))\nfolder <- arguments[[2]]\n"
        (scripts / "test.R").write_text(head + code)
        return exchange.run_script("test.R", folder, cells)

    return run


class TestExchange:
    """Values, names and order survive the way to R and back."""

    nasty = ["a b", 'quo"te', "tab\there", "NA", "001", "1e5", "comma,", "#hash", "Zellö", "$(touch x)"]

    def write(self, folder):
        rng = np.random.default_rng(0)
        counts = sp.csr_matrix(rng.poisson(0.7, (len(self.nasty), 7)).astype(np.float32))
        cells = pd.Index(self.nasty, dtype=object)
        features = pd.Index(["g_1", "g-1", "NA", "x y", "007", "G.1", '"'], dtype=object)
        exchange.write_observations(folder, pd.DataFrame({"batch": "b", "group": "paired"}, index=cells))
        exchange.write_counts(folder, "rna", counts, features, cells)
        return counts.toarray(), cells, features

    @needs_r
    def test_values_keep_their_cells_and_features(self, tmp_path, script):
        counts, cells, features = self.write(tmp_path)
        # A second modality has some of the cells, in another order, and some of the genes.
        chosen, genes = [7, 2, 5], [6, 0, 3]
        exchange.write_counts(
            tmp_path, "activity", sp.csr_matrix(counts[np.ix_(chosen, genes)]), features[genes], cells[chosen]
        )
        code = """
        observations <- read_names(file.path(folder, "obs.tsv"))
        rna <- as.matrix(read_counts(folder, "rna", observations))
        activity <- as.matrix(read_counts(folder, "activity", observations, "rna"))
        stopifnot(identical(rna[rownames(activity), colnames(activity)], activity))
        note(folder, "first"); note(folder, "second")
        write_embedding(folder, t(rna)[rev(seq_len(ncol(rna))), ] / 3, observations)
        write_versions(folder, "Matrix")
        """
        answer = script(code, tmp_path, cells)
        np.testing.assert_allclose(answer.embedding, counts.astype(float) / 3, rtol=1e-14)
        assert answer.notes == ["first", "second"]
        assert set(answer.versions) == {"R", "Matrix"} and answer.versions["R"][0].isdigit()
        assert not (tmp_path / "x").exists(), "a name reached a shell"

    @needs_r
    def test_an_error_of_r_is_told_with_its_stage(self, tmp_path, script):
        _, cells, _ = self.write(tmp_path)
        with pytest.raises(RuntimeError, match=r"^counting: too few of them here$"):
            script(
                'guarded(folder, function() { stage("counting"); stop("too few\\n of them here") })', tmp_path, cells
            )
        with pytest.raises(MemoryError, match="cannot allocate vector"):
            script('guarded(folder, function() stop("cannot allocate vector of size 9 Gb"))', tmp_path, cells)

    def test_other_cells_are_refused(self, tmp_path):
        cells = pd.Index(["a", "b"])
        with pytest.raises(RuntimeError, match="no embedding"):
            exchange.read_embedding(tmp_path, cells)
        (tmp_path / "embedding.csv").write_text('cell,1\n"b",1\n"a",2\n')
        with pytest.raises(RuntimeError, match="not those of the design"):
            exchange.read_embedding(tmp_path, cells)
        (tmp_path / "embedding.csv").write_text('cell,1,2\n"a",1,NA\n"b",2,Inf\n')
        np.testing.assert_array_equal(exchange.read_embedding(tmp_path, cells), [[1, np.nan], [2, np.inf]])

    @pytest.mark.parametrize(("answer", "message"), [("none", "no package Seurat"), ("5.1.0", "Seurat 5.1.0")])
    def test_missing_seurat_is_not_available(self, tmp_path, monkeypatch, answer, message):
        program = tmp_path / "Rscript"
        program.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NotAvailableError, match=message) as caught:
            registry.model_class("seurat-wnn").load_packages()
        assert "apt-get install r-cran-seurat" in str(caught.value)

    def test_missing_r_is_not_available(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NotAvailableError, match="no Rscript on PATH: apt-get install r-cran-seurat"):
            registry.model_class("seurat-wnn").load_packages()


class TestActivity:
    """Gene activity of the cells without RNA."""

    def test_from_coordinates(self, simulated):
        design, _ = make_design(simulated, DesignSpec("x", ("rna", "atac"), unpaired_fraction=0.5))
        activity = activity_without_rna(design, 10)
        assert activity.way == "coordinates"
        np.testing.assert_array_equal(activity.rows, np.flatnonzero(design.obs["group"].to_numpy() == "atac"))
        overlap = region_gene_overlap(design.var["atac"], design.var["rna"]).toarray()
        kept = np.flatnonzero(overlap.any(axis=0))
        assert list(activity.genes) == list(design.var["rna"].index[kept])
        counts = design.padded("atac").toarray()[activity.rows]
        np.testing.assert_allclose(activity.counts.toarray(), counts @ overlap[:, kept])

    def test_links_are_the_best_positive_correlations(self):
        rng = np.random.default_rng(1)
        expression = sp.csr_matrix(rng.poisson(3.0, (40, 5)).astype(np.float32))
        accessibility = sp.csr_matrix(rng.poisson(1.0, (40, 12)).astype(np.float32))
        links = linked_regions(expression, accessibility, 3, block=2).toarray()
        x, y = expression.toarray(), (accessibility.toarray() > 0).astype(float)
        x = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
        y = np.log1p(1e4 * y / y.sum(1, keepdims=True) * len(y) / y.sum(0))
        for gene in range(5):
            correlation = np.array([np.corrcoef(x[:, gene], y[:, region])[0, 1] for region in range(12)])
            expected = [region for region in np.argsort(-correlation)[:3] if correlation[region] > 0]
            assert sorted(np.flatnonzero(links[:, gene])) == sorted(expected)

    def test_without_coordinates_links_are_learned(self, make):
        design, _ = make(("rna", "atac"), 0.5, 60)
        activity = activity_without_rna(design, 4)
        assert activity.way == "links learned from paired cells"
        assert activity.counts.shape == (30, len(activity.genes)) and len(activity.genes) > 50

    def test_nothing_to_do_and_nothing_to_be_done(self, make):
        design, _ = make(("rna", "atac"), 0.0, 60)
        assert activity_without_rna(design, 4) is None
        design, _ = make(("rna", "atac"), 0.95, 60)
        with pytest.raises(InputError, match=r"rna.var and atac.var the columns chrom, start, end"):
            activity_without_rna(design, 4)


def fitted(name, design, **hyperparameters):
    model = registry.model_class(name)(**hyperparameters)
    model.fit(design, 5, "cpu")
    values = model.embed()
    assert values.dtype == np.float32 and values.shape[0] == design.n_obs and values.shape[1] > 1
    assert np.isfinite(values).all() and values.std(axis=0).max() > 0
    return model


@needs_r
@pytest.mark.parametrize("name", NAMES)
def test_contract_unpaired(make, name):
    """The contract tests run what is in the main environment; here is what they ask, for the models in R."""
    design, _ = make(("rna", "atac"), 0.5, 60)
    before = {modality: matrix.copy() for modality, matrix in design.counts.items()}
    first = fitted(name, design)
    assert all((design.counts[modality] != matrix).nnz == 0 for modality, matrix in before.items())
    assert first.versions["Seurat"].startswith("4.")
    assert any("links learned" in text for text in first.warnings)
    assert any("lowered from 50" in text for text in first.warnings), "fewer components are no secret"
    assert fitted(name, design).embed().tobytes() == first.embed().tobytes(), "same seed, other bytes"


@needs_r
def test_wnn_with_three_modalities_each_missing_somewhere(make):
    design, truth = make(("rna", "atac", "protein"), 0.5, 120, 2.0)
    values = fitted("seurat-wnn", design).embed()
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    complete = design.complete
    # Every kind of cell must lie with the complete cells of its own type.
    for group in ("rna", "atac", "protein"):
        members = design.obs["group"].to_numpy() == group
        assert members.sum() == 60
        nearest = distances(values[members], values[complete]).argmin(axis=1)
        assert (labels[complete][nearest] == labels[members]).mean() > 0.6, group


@needs_r
def test_wnn_agrees_with_seurat_called_directly(simulated, tmp_path):
    """Paired cells and RNA queries, against a plain script in the manner of Seurat's vignettes, with MapQuery."""
    paired, _ = make_design(simulated, DesignSpec("x", ("rna", "protein"), n_cells=300))
    # A third of the cells lose their proteins.
    rows = np.arange(200)
    counts = {"rna": paired.counts["rna"], "protein": paired.counts["protein"][rows]}
    design = Multimodal(paired.obs, counts, paired.var, {"protein": rows})
    model = fitted("seurat-wnn", design)
    values = model.embed()
    for modality in design.modalities:
        np.savetxt(tmp_path / f"{modality}.txt", design.counts[modality].toarray().T, fmt="%d")
    (tmp_path / "direct.R").write_text(
        """
        suppressPackageStartupMessages(library(Seurat))
        rna <- as.matrix(read.table("rna.txt")); rownames(rna) <- paste0("gene", seq_len(nrow(rna)))
        adt <- as.matrix(read.table("protein.txt")); rownames(adt) <- paste0("protein", seq_len(nrow(adt)))
        colnames(rna) <- paste0("cell", seq_len(ncol(rna))); colnames(adt) <- colnames(rna)[1:200]
        set.seed(5)
        object <- CreateSeuratObject(as(rna[, 1:200], "dgCMatrix"))
        object[["ADT"]] <- CreateAssayObject(as(adt, "dgCMatrix"))
        object <- RunPCA(SCTransform(object, seed.use = 5, verbose = FALSE), npcs = 50, seed.use = 5, verbose = FALSE)
        DefaultAssay(object) <- "ADT"; VariableFeatures(object) <- rownames(object[["ADT"]])
        object <- ScaleData(NormalizeData(object, normalization.method = "CLR", margin = 2))
        object <- RunPCA(object, npcs = 18, reduction.name = "apca", approx = FALSE, seed.use = 5, verbose = FALSE)
        object <- FindMultiModalNeighbors(object, list("pca", "apca"), list(1:50, 1:18), knn.range = 100, verbose = FALSE)
        object <- RunSPCA(object, assay = "SCT", graph = "wsnn", npcs = 50, seed.use = 5)
        DefaultAssay(object) <- "SCT"
        query <- CreateSeuratObject(as(rna[, 201:300], "dgCMatrix"))
        anchors <- FindTransferAnchors(object, query, normalization.method = "SCT", reference.reduction = "spca", dims = 1:50)
        write.csv(Embeddings(object, "spca"), "reference.csv")
        mapped <- MapQuery(anchors, query, object, reference.reduction = "spca",
          integrateembeddings.args = list(k.weight = as.integer(commandArgs(TRUE)[[1]])))
        write.csv(Embeddings(mapped, "ref.spca"), "query.csv")
        """
    )
    lowered = [text for text in model.warnings if text.startswith("k.weight lowered")]
    k_weight = lowered[0].split(" to ")[1].split(":")[0] if lowered else "100"
    subprocess.run(["Rscript", "--vanilla", "direct.R", k_weight], cwd=tmp_path, check=True)
    reference = pd.read_csv(tmp_path / "reference.csv", index_col=0).to_numpy()
    np.testing.assert_allclose(values[:200], reference, rtol=1e-4, atol=1e-4 * np.abs(reference).max())
    query = pd.read_csv(tmp_path / "query.csv", index_col=0).to_numpy()
    np.testing.assert_allclose(values[200:], query, rtol=1e-4, atol=1e-4 * np.abs(query).max())


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(float) - b[None]) ** 2).sum(axis=2)


@needs_r
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_halves_of_a_cell_lie_nearer_than_chance(simulated, name):
    design, truth = make_design(simulated, DesignSpec("x", ("rna", "atac"), unpaired_fraction=0.5))
    values = fitted(name, design).embed()
    cell, group = truth.obs["cell"].astype(str).to_numpy(), truth.obs["group"].to_numpy()
    rna, atac = np.flatnonzero(group == "rna"), np.flatnonzero(group == "atac")
    atac = atac[np.argsort(cell[atac])][np.argsort(np.argsort(cell[rna]))]
    assert (cell[rna] == cell[atac]).all()
    apart = distances(values[rna], values[atac])
    # As the metric rank_distance_fraction: the mean of both directions.
    partner = np.diag(apart)
    rank = ((apart < partner[:, None]).mean(axis=1) + (apart < partner[None]).mean(axis=0)) / 2
    # The mean of n uniform numbers has standard deviation sqrt(1 / 12 n); that of two directions has no larger one.
    assert rank.mean() < 0.5 - 4 * np.sqrt(1 / 12 / len(rank))


@needs_r
@pytest.mark.slow
@pytest.mark.parametrize("name", ("seurat-gene-activity", "seurat-wnn"))
def test_paired_cells_lie_with_their_type(simulated, name):
    design, truth = make_design(simulated, DesignSpec("x", ("rna", "atac")))
    values = fitted(name, design).embed()
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    apart = distances(values, values)
    np.fill_diagonal(apart, np.inf)
    nearest = labels[np.argsort(apart, axis=1)[:, :10]]
    chance = (pd.Series(labels).value_counts(normalize=True) ** 2).sum()
    assert (nearest == labels[:, None]).mean() > 2 * chance


@needs_r
def test_too_few_paired_cells_are_a_recorded_failure(simulated, tmp_path):
    """At 99 % unpaired cells the paper's WNN failed, and so does this one, with Seurat's message in the record."""
    design, _ = make_design(simulated, DesignSpec("x", ("rna", "atac"), unpaired_fraction=0.99))
    write_h5mu(tmp_path / "visible.h5mu", design)
    record = train(
        TrainingJob(
            design=tmp_path / "visible.h5mu",
            model="seurat-wnn",
            variant="seurat-wnn",
            embedding=tmp_path / "e.h5ad",
            prediction=tmp_path / "p.h5mu",
            record=tmp_path / "r.json",
            device="cpu",
        )
    )
    assert record.status == "failed", record.reason
    assert record.reason.startswith("RuntimeError: ") and "\n" not in record.reason and len(record.reason) > 30
    assert json.loads((tmp_path / "r.json").read_text())["reason"] == record.reason
    assert read_embedding(tmp_path / "e.h5ad").values.shape == (design.n_obs, 0)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("seurat-")]
