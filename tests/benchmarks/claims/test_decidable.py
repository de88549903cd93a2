"""Every claim can get a verdict from a shipped study: its models, metrics, designs and five blocks are in one of them.

A table of random scores with the rows that a study would have is enough to see it: a claim that can be decided ends as
supported, contradicted or not resolved, whatever the values.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.claims.evaluate import evaluate
from benchmarks.claims.judgement import MINIMUM
from benchmarks.claims.registry import CLAIMS_FILE, load_claims
from benchmarks.formats import SCORE_COLUMNS
from benchmarks.metrics.registry import METRICS
from benchmarks.statistics.keys import CONTROLS
from models.registry import declaration
from workflow.configuration import load_study
from workflow.planning import make_plan

CONFIG = CLAIMS_FILE.parent

UNDECIDED = {
    "more-parameters-better": "the run records do not hold numbers of parameters",
    "unseen-batch": "no design leaves a batch out of the training cells",
    "missing-atac-alike-types": "about the cell types of DOGMA-seq, of which no table of labels is registered",
}
"""Claims that no shipped study can decide, and why."""

SMALL_REAL = {
    "snare_mouse_cortex": 10309, "scicar_a549": 2641, "pbmc10k_cite": 6855, "teaseq_rna_protein": 1262, "bmmc_multiome": 500,
    "bmmc_cite": 600,
}  # fmt: skip
"""Cells of the small files, so that studies of them can be planned where the files are not."""

DECIDABLE = ("", "not resolved")
"""Causes of verdicts that hang on the values alone."""

EVERYWHERE = (*UNDECIDED, "mixing-variants-alike", "trimodal-on-par", "trimodal-beats-pca", "trimodal-pca-ari", "missing-atac-alike")  # fmt: skip
"""Claims that are tried on every study; others up to the first that decides them."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Every study of ``config/studies``, planned without any data file."""
    folder = tmp_path_factory.mktemp("planned")
    registry = yaml.safe_load((CONFIG / "datasets.yaml").read_text(encoding="utf-8"))
    for name, number in SMALL_REAL.items():
        registry[name]["n_cells"] = number
    (folder / "datasets.yaml").write_text(yaml.safe_dump(registry), encoding="utf-8")
    loaded = {}
    for path in sorted((CONFIG / "studies").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content |= {"datasets_file": str(folder / "datasets.yaml"), "data_dir": str(folder)}
        loaded[path.stem] = load_study(content, [path], check_output=False)
    return loaded


def parts(metric, run, item):
    """Rows of the score table that the metric has for a run, by what the data set declares; none where it does not apply."""
    entry, spec, declared = item.entry, run.design.spec, declaration(run.variant.model)
    simulated = entry.format == "simulated"
    groups = bool(spec.groups or spec.sources)
    has = {
        "embedding": True,
        "record": True,
        "labels": simulated or entry.labels is not None,
        "batches": simulated or entry.batch is not None,
        "sites": simulated or entry.site is not None,
        "trajectories": simulated or bool(entry.pseudotime),
        "components": run.variant.model in ("multidgd", "scmvp"),
        "halves": spec.unpaired_fraction > 0,
        "modality_groups": spec.unpaired_fraction > 0 or groups,
        "prediction": run.predict and (spec.unpaired_fraction > 0 or groups or spec.test_fraction > 0),
        "deviation": declared.uncertainty,
    }
    if not all(has.get(need, False) for need in metric.needs):
        return []
    if "prediction" not in metric.needs:
        return [metric.name]
    only = ("atac",) if metric.name == "prediction_auprc" else run.modalities
    return [f"{metric.name}_{modality}" for modality in run.modalities if modality in only]


def tables(study):
    """Scores and runs that the study would have if every run ended well, with random values above 0.

    Without controls, which do not count; of several replicates the first five with one seed, since more blocks make no
    claim decidable and seeds are averaged there.
    """
    generator = np.random.default_rng(0)
    items = {item.label: item for item in study.datasets}
    available = {label: item.entry.n_cells_available(study.data_dir) for label, item in items.items()}
    scores, runs = [], []
    for run in make_plan(study).runs:
        item, spec = items[run.design.label], run.design.spec
        replicated = np.max(item.designs["replicates"]) > 1
        seeds = study.training_seeds[: 1 if replicated else MINIMUM]
        if run.variant.model in CONTROLS or spec.replicate >= MINIMUM or run.seed not in seeds:
            continue
        n_cells = spec.n_cells or round(available[item.label] * (1 - spec.test_fraction))
        key = (study.name, item.label, spec.name, n_cells, spec.unpaired_fraction, spec.replicate)
        key = (*key, run.variant.model, run.variant.name, run.seed)
        status = "not_applicable" if run.not_applicable else "ok"
        runs.append((*key, status, "", False, 0.0))
        for name in study.metrics:
            for row in [name] if run.not_applicable else parts(METRICS[name], run, item):
                value = generator.uniform(0.1, 0.9) if status == "ok" else np.nan
                scores.append((*key, row, value, status, ""))
    own = [*SCORE_COLUMNS[:9], "status", "reason", "collapsed", "duplicate_fraction"]
    return pd.DataFrame(scores, columns=list(SCORE_COLUMNS)), pd.DataFrame(runs, columns=own)


@pytest.fixture(scope="module")
def causes(studies):
    """Claim -> study -> why it cannot be decided there (one of :data:`DECIDABLE` where it can)."""
    claims = load_claims(metrics=METRICS)
    found = {claim.id: {} for claim in claims}
    for name, study in studies.items():
        open_ = [claim for claim in claims if claim.id in EVERYWHERE or not deciding(found, claim.id)]
        table = evaluate(open_, *tables(study), METRICS)
        for row in table.itertuples():
            found[row.claim][name] = row.cause if row.cause in DECIDABLE else f"{row.cause}: {row.reason}"
    return found


def deciding(causes, claim):
    return {study for study, cause in causes[claim].items() if cause in DECIDABLE}


def test_every_claim_can_be_decided_by_a_shipped_study(causes):
    for claim, by_study in causes.items():
        if claim not in UNDECIDED:
            assert deciding(causes, claim), (claim, by_study)


def test_exceptions_are_claims_that_no_study_decides(causes):
    """One that became testable has to leave the list."""
    for claim, reason in UNDECIDED.items():
        assert reason and not deciding(causes, claim), claim


def test_claims_on_unlabelled_data_are_decided_by_the_small_forms_and_say_so(causes):
    claims = {claim.id: claim for claim in load_claims(metrics=METRICS)}
    for claim, study in (
        ("mixing-variants-alike", "multivi_mixing"),
        ("trimodal-on-par", "multivi_trimodal"),
        ("trimodal-beats-pca", "multivi_trimodal"),
        ("trimodal-pca-ari", "multivi_trimodal"),
    ):
        assert deciding(causes, claim) == {f"{study}_small"}, claim
        assert "table of labels" in claims[claim].reading, claim
    # The label-free metric makes the unlabelled data enough.
    assert deciding(causes, "missing-atac-alike") == {"multivi_studies"}


def test_times_of_many_cells_are_decided_over_subsamples(studies):
    """Repeated trainings of the same cells would say how the machine was busy, not how time depends on the cells."""
    study = studies["scmvp_scaling"]
    claims = [claim for claim in load_claims(metrics=METRICS) if claim.id in ("time-like-wnn", "cistopic-slower")]
    assert len(claims) == 2
    found = evaluate(claims, *tables(study), METRICS)
    assert found["cause"].isin(DECIDABLE).all() and (found["n_blocks"] >= 5).all()


def test_planned_tables_have_the_rows_of_a_real_study(studies):
    """The stand-in tables are only as good as their likeness: spot checks of what applies where."""
    scores, runs = tables(studies["multidgd_benchmark_small"])
    assert set(scores["metric"]) >= {"prediction_rmse_rna", "prediction_auprc_atac", "ari_components", "one_minus_asw"}
    assert "prediction_auprc_rna" not in set(scores["metric"])
    own = scores[scores["metric"] == "ari_components"]
    assert set(own.loc[own["status"] == "ok", "variant"]) == {"multidgd"}
    assert set(runs.loc[runs["variant"] == "cobolt", "status"]) == {"ok", "not_applicable"}
    scores, _ = tables(studies["multivi_trimodal"])
    assert "ilisi" in set(scores["metric"])
    assert (scores.loc[scores["metric"] == "nmi_leiden", "status"] == "not_applicable").all()
    scores, _ = tables(studies["scmvp_scaling"])
    assert scores["n_cells"].max() == 100_000 and set(scores["metric"]) >= {"wall_seconds", "peak_device_mb"}
