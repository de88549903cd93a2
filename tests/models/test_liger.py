"""LIGER: the shared genes that the package is given, and, where its environment is built, the package itself."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.designs import DesignSpec, make_design
from benchmarks.errors import InputError
from benchmarks.formats import read_embedding, read_record, write_h5mu
from models import environments
from models.liger import LIGER
from models.parts.gene_activity import gene_activity


@pytest.fixture(scope="module")
def simulated():
    """400 simulated cells with gene coordinates, half of them split: (visible, truth)."""
    parameters = SimulationParameters(n_cells=400, n_genes=400, n_peaks=800, n_proteins=10)
    return make_design(simulate(parameters, 1), DesignSpec("simulated", ("rna", "atac"), unpaired_fraction=0.5))


def test_shared_genes_by_coordinates(simulated):
    visible, _ = simulated
    model = LIGER()
    counts, genes = model._shared_counts(visible)
    expected = gene_activity(visible.counts["atac"], visible.var["atac"], visible.var["rna"])
    columns = visible.var["rna"].index.get_indexer(genes)
    assert len(genes) >= 50 and not model.warnings
    assert (counts["atac"] != expected[:, columns]).nnz == 0
    assert (counts["rna"] != visible.counts["rna"][:, columns]).nnz == 0
    for matrix in counts.values():
        assert np.all(np.asarray(matrix.sum(axis=0)) > 0)


def test_shared_genes_from_paired_cells(make):
    design, _ = make(("rna", "atac"), 0.5, 90)
    model = LIGER()
    counts, genes = model._shared_counts(design)
    assert counts["rna"].shape == (len(design.rows["rna"]), len(genes))
    assert counts["atac"].shape == (len(design.rows["atac"]), len(genes))
    assert "coordinates are missing" in model.warnings[0]


def test_neither_coordinates_nor_pairs(make):
    design, _ = make(("rna", "atac"), 1.0, 60)
    with pytest.raises(InputError, match=r"rna.var and atac.var the columns chrom, start, end"):
        LIGER()._shared_counts(design)


@pytest.mark.slow
@pytest.mark.skipif(environments.locate("liger").python is None, reason="make env NAME=liger")
def test_beats_chance_in_its_environment(simulated, tmp_path):
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    from models.runner import TrainingJob, train

    visible, truth = simulated
    write_h5mu(tmp_path / "visible.h5mu", visible)
    outputs = {name: tmp_path / name for name in ("embedding", "prediction", "record")}
    record = train(TrainingJob(tmp_path / "visible.h5mu", "liger", "liger", device="cpu", wall_seconds=300, **outputs))
    assert record.status == "ok", record.reason
    assert read_record(outputs["record"]).epochs == 30
    labels = truth.obs["cell_type"].astype(str).to_numpy()
    folds = KFold(5, shuffle=True, random_state=0)
    values = read_embedding(outputs["embedding"]).values
    accuracy = cross_val_score(KNeighborsClassifier(10), values, labels, cv=folds).mean()
    shuffled = np.random.default_rng(0).permutation(labels)
    assert accuracy > cross_val_score(KNeighborsClassifier(10), values, shuffled, cv=folds).mean() + 0.1
