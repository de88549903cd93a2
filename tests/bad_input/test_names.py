"""Names that data bring are text and nothing else: no shell runs them, no path is made of them, no page executes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import anndata
import numpy as np
import pytest

from benchmarks.formats import read_h5mu, read_table, write_h5mu
from benchmarks.report.page import report_html
from benchmarks.report.study import Study
from tests.bad_input.data_files import example
from tests.bad_input.study_cases import dumped
from tests.benchmarks.report.conftest import (
    FICTITIOUS_METRICS,
    FICTITIOUS_PROVENANCE,
    fictitious_tables,
    fictitious_umaps,
)
from workflow.configuration import load_study
from workflow.planning import make_plan

HOSTILE = ("$(touch x)", "`touch x`", "; touch x #", "' ; touch x ; '", '" && touch x "', "../../x", "{wildcards.x}", "<script>alert(1)</script>",
           "-rf", "%s %(x)s", "\u202egnp", "a\tb", "NULL")  # fmt: skip


def hostile_study(folder) -> dict:
    """A study whose cells, batches, genes and folders have such names; written into `folder`."""
    data = example(cell_types=HOSTILE[:4], batches=HOSTILE[4:9])
    data.var["rna"].index = [f"{HOSTILE[number % len(HOSTILE)]} {number}" for number in range(len(data.var["rna"]))]
    data.var["rna"]["gene_symbol"] = list(data.var["rna"].index)
    place = folder / "data $(touch x)"
    write_h5mu(place / "a.h5mu", data)
    entry = {"format": "h5mu", "path": "a.h5mu", "modalities": ["rna", "atac"], "labels": "cell_type", "batch": "batch",
             "description": HOSTILE[0], "source": HOSTILE[7]}  # fmt: skip
    (folder / "datasets.yaml").write_bytes(dumped({"odd": entry}))
    (folder / "models.yaml").write_bytes(b"{}\n")
    study = {
        "study": "s", "description": " ".join(HOSTILE), "results_dir": "results; touch x", "data_dir": place.name,
        "datasets_file": "datasets.yaml", "models_file": "models.yaml", "datasets": ["odd"], "models": ["random"],
        "designs": {"sources": {"by": "batch", "modalities": {HOSTILE[4]: ["rna"]}, "others": ["rna", "atac"]},
                    "held_out": [[HOSTILE[0], "atac"]]},
        "metrics": ["nmi_leiden", "asw_batch"],
    }  # fmt: skip
    (folder / "study.yaml").write_bytes(dumped(study))
    return study


@pytest.mark.slow
@pytest.mark.end_to_end
def test_a_run_with_hostile_names_executes_none_of_them(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = hostile_study(tmp_path)
    plan = make_plan(load_study(study, ["study.yaml"]))
    (run,) = plan.trained
    results = tmp_path / study["results_dir"]
    wanted = [
        f"{study['results_dir']}/shared/scores/{plan.metrics_key}/{run.key}/scores.tsv",
        f"{study['results_dir']}/s/plan.json",
    ]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(root / "Snakefile"),
        "--configfile",
        "study.yaml",
        "--cores",
        "1",
    ]
    result = subprocess.run(
        [*command, "--", *wanted],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert [path for path in tmp_path.rglob("x")] == [] and not (tmp_path.parent / "x").exists()
    truth = read_h5mu(results / "shared" / "designs" / run.design.key / "truth.h5mu")
    assert set(truth.obs["cell_type"]) == set(HOSTILE[:4]), "names are changed by nobody"
    assert set(truth.obs["batch"]) == set(HOSTILE[4:9])
    visible = read_h5mu(results / "shared" / "designs" / run.design.key / "visible.h5mu")
    assert "{wildcards.x} 6" in visible.var["rna"].index and "a\tb 11" in visible.var["rna"].index
    embedding = anndata.read_h5ad(results / "shared" / "runs" / run.key / "embedding.h5ad")
    assert embedding.n_obs == truth.n_obs and np.isfinite(embedding.X).all()
    assert set(read_table(tmp_path / wanted[0])["metric"]) == set(study["metrics"])


class Page(HTMLParser):
    """The elements of a page, the names of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.attributes |= {(tag, name) for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def page_of(names: tuple[str, ...]) -> Page:
    """The report of a small study that uses `names` wherever text comes from outside."""
    dataset, variant, reason, device, cell_type, version = names
    scores, runs = fictitious_tables((dataset,), (500,), (0.0, 0.5), 2)
    scores, runs = (
        table[table["variant"].isin(["random", "oracle", "pca", "wnn"])].reset_index(drop=True)
        for table in (scores, runs)
    )
    failed = (runs["variant"] == "wnn") & (runs["replicate"] == 1)
    runs.loc[failed, ["status", "reason"]] = ["failed", reason]
    runs["device"] = device
    for table in (scores, runs):
        table["variant"] = table["variant"].replace("pca", variant)
        table["design"] = table["design"] + names[0]
    umaps = fictitious_umaps(runs, 50)
    for column in ("cell_type", "batch", "group"):
        umaps[column] = cell_type
    provenance = {
        **FICTITIOUS_PROVENANCE, "command": version, "versions": {version: version}, "description": version,
        "config": {"study": version, "hyperparameters": {variant: {version: version}}},
    }  # fmt: skip
    return Page(report_html(Study(scores, runs, provenance, umaps, FICTITIOUS_METRICS)))


def test_a_report_of_hostile_names_has_the_elements_of_a_harmless_one():
    names = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table><iframe src=//x>", "'\"><svg onload=alert(1)>",
             "]]><!--<script>", "{{ 7 * 7 }}{% raw %}</pre><b>")  # fmt: skip
    harmless, hostile = page_of(("a0", "b1", "c2", "d3", "e4", "f5")), page_of(names)
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    assert hostile.elements["script"] == 2 and "iframe" not in hostile.elements
    assert not [name for _, name in hostile.attributes if name.startswith("on")]
    text = " ".join(hostile.text)
    assert names[2] in text and names[5] in text and "49" not in names[5]
