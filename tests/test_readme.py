"""The README's examples work as they stand there; what the documents link to and name exists."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from benchmarks.designs import DesignSpec, make_design
from benchmarks.documents import schema_problems
from benchmarks.formats import Multimodal, read_embedding, read_record, write_h5mu

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("config/**/*.md"), ROOT / "results" / "README.md"]
)


@pytest.fixture(params=[*DOCUMENTS, ROOT / "Makefile"], ids=lambda path: str(path.relative_to(ROOT)))
def document(request) -> Path:
    return request.param


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.S)


def test_every_make_target_named_in_the_documents_exists(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, flags=re.M))
    assert named <= targets
    if document.name == "README.md" and document.parent == ROOT:
        assert {"demo", "test"} <= named


def test_every_linked_file_and_heading_exists(document):
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s:]+)\)", text):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.M)
            assert heading in {anchor(title) for title in titles}, link


def anchor(title: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def test_every_environment_named_to_be_built_exists(document):
    from models import environments

    named = set(re.findall(r"make env NAME=([\w-]+)", document.read_text(encoding="utf-8")))
    assert named - {"my-tool"} <= set(environments.names())


def test_the_example_study_can_resolve_its_models():
    from benchmarks.statistics.advice import replicates_needed

    (study,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.S)]
    compared = set(study["models"]) - {"random", "oracle"}
    assert study["designs"]["replicates"] >= replicates_needed(len(compared))


def test_the_example_study_fits_the_schema():
    (study,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.S)]
    assert not schema_problems(study, ROOT / "workflow" / "schemas" / "config.schema.yaml", "README.md")


def test_the_example_model_is_short_and_runs(tmp_path, monkeypatch):
    from models.__main__ import main

    code = blocks("python")[0]
    assert len(code.splitlines()) < 60
    (tmp_path / "rna_svd.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(1.0, (60, 40)).astype(np.float32))
    obs = pd.DataFrame({"cell_type": ["a", "b"] * 30, "batch": "x"}, index=[f"c{i}" for i in range(60)])
    data = Multimodal(obs, {"rna": counts}, {"rna": pd.DataFrame(index=[f"g{i}" for i in range(40)])})
    visible, _ = make_design(data, DesignSpec("d", ("rna",)))
    write_h5mu(tmp_path / "visible.h5mu", visible)
    arguments = ["train", "--design", tmp_path / "visible.h5mu", "--model", "rna_svd:TruncatedSVDOfRNA", "--variant", "rna-svd",
                 "--modalities", "rna", "--embedding", tmp_path / "e.h5ad", "--prediction", tmp_path / "p.h5mu", "--record", tmp_path / "r.json"]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    assert read_record(tmp_path / "r.json").status == "ok"
    assert read_embedding(tmp_path / "e.h5ad").values.shape == (60, 20)


def test_the_example_metric_can_be_declared():
    from benchmarks.metrics.declaration import Metric

    namespace = {"np": np, "Metric": Metric}
    exec(compile(blocks("python")[1], "README.md", "exec"), namespace)
    (metric,) = namespace["METRICS"]

    class OneValue:
        values = np.array([[3.0, 4.0], [0.0, 0.0]])

    assert metric.compute(OneValue()) == pytest.approx(2.5)
