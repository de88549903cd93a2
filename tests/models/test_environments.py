"""Environments: found, missing, outdated and built; a model in another environment trains there, through files alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import InputError
from benchmarks.formats import read_embedding, write_h5mu
from models import environments
from models.runner import TrainingJob, train

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A folder in place of ``envs/`` with an environment ``elsewhere``, and a folder of built environments."""
    files = tmp_path / "envs"
    files.mkdir()
    (files / "main.yaml").write_text("dependencies: [python=3.11]\n")
    (files / "elsewhere.yaml").write_text("dependencies: [python=3.11]\n")
    (files / "elsewhere.lock").write_text("# nothing\n")
    monkeypatch.setattr(environments, "ENVIRONMENTS", files)
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "built"))
    return files


def make_interpreter(built: Path, lock: str) -> Path:
    """An environment whose interpreter is this one, but which says so in a variable."""
    python = built / "elsewhere" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexport INTERPRETER=elsewhere\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (built / "elsewhere" / environments.STAMP).write_text(lock)
    return python


@pytest.fixture
def job(make, tmp_path, monkeypatch):
    """A training of the model that lives elsewhere."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    visible, _ = make(("rna", "atac"), 0.5, 40)
    write_h5mu(tmp_path / "visible.h5mu", visible)
    return TrainingJob(
        design=tmp_path / "visible.h5mu",
        model="bad_models:Elsewhere",
        variant="elsewhere",
        embedding=tmp_path / "e.h5ad",
        prediction=tmp_path / "p.h5mu",
        record=tmp_path / "r.json",
        device="cpu",
    )


def test_main_is_the_running_interpreter():
    place = environments.locate("main")
    assert place.python == sys.executable and place.reason == ""
    assert place.lock and place.installed != "absent"


def test_missing_environment_is_a_result_that_names_the_command(described, job):
    record = train(job)
    assert record.status == "not_available" and record.reason.endswith("make env NAME=elsewhere")
    assert record.versions["environment"] == "elsewhere" and record.versions["environment_installed"] == "absent"
    assert read_embedding(job.embedding).values.shape == (60, 0)


def test_a_model_is_trained_by_the_interpreter_of_its_environment(described, job, tmp_path):
    lock = environments.lock_digest("elsewhere")
    make_interpreter(tmp_path / "built", lock)
    record = train(job)
    assert record.status == "ok", record.reason
    assert record.warnings == ["interpreter elsewhere"]
    assert record.versions["environment_lock"] == lock
    assert np.isfinite(read_embedding(job.embedding).values).all()


def test_a_relative_folder_of_environments_is_found(described, job, tmp_path, monkeypatch):
    make_interpreter(tmp_path / "built", environments.lock_digest("elsewhere"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environments.VARIABLE, "built")
    assert train(job).status == "ok"


def test_an_environment_built_from_another_lock_is_not_used(described, tmp_path):
    make_interpreter(tmp_path / "built", environments.lock_digest("elsewhere"))
    assert environments.locate("elsewhere").python
    (described / "elsewhere.lock").write_text("numpy==1.0\n")
    place = environments.locate("elsewhere")
    assert place.python is None and "another lock" in place.reason and place.installed == "outdated"


def test_an_interrupted_build_is_no_environment(described, tmp_path):
    python = make_interpreter(tmp_path / "built", "x")
    (python.parent.parent / environments.STAMP).unlink()
    assert environments.locate("elsewhere").python is None


def test_inside_an_active_environment_everything_runs_here(described, job, monkeypatch):
    monkeypatch.setenv(environments.VARIABLE, environments.ACTIVE)
    place = environments.locate("elsewhere")
    assert place.python == sys.executable and place.installed.startswith("deployed")
    record = train(job)
    assert record.status == "ok" and record.warnings == ["interpreter None"]


def test_what_is_installed_is_told_apart(described, tmp_path):
    make_interpreter(tmp_path / "built", environments.lock_digest("elsewhere"))
    packages = tmp_path / "built" / "elsewhere" / "lib" / "python3.11" / "site-packages"
    (packages / "one-1.0.dist-info").mkdir(parents=True)
    before = environments.locate("elsewhere").installed
    assert before == environments.locate("elsewhere").installed
    (packages / "two-1.0.dist-info").mkdir()
    assert environments.locate("elsewhere").installed != before


def test_digest_counts_requirements_and_not_comments_or_order(described):
    lock = described / "elsewhere.lock"
    lock.write_text("b==1\na==2\n")
    first = environments.lock_digest("elsewhere")
    lock.write_text("# said anew\na==2  # why\n\nb==1\n")
    assert environments.lock_digest("elsewhere") == first
    lock.write_text("a==2\nb==2\n")
    assert environments.lock_digest("elsewhere") != first
    lock.write_text("b==1\na==2\n")
    (described / "elsewhere.post-deploy.sh").write_text("pip install --no-deps c==1\n")
    assert environments.lock_digest("elsewhere") != first


def test_the_conda_file_holds_the_lock_and_its_digest_is_that_of_the_lock(described):
    conda = described / "elsewhere.yaml"
    conda.write_text("# why\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n")
    (described / "elsewhere.lock").write_text("# all\nb==1\na==2  # note\n")
    digest = environments.lock_digest("elsewhere")
    assert environments.write_conda_files() == ["elsewhere"]
    assert conda.read_text() == "# why\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - b==1\n      - a==2\n"
    assert environments.write_conda_files() == [] and environments.lock_digest("elsewhere") == digest
    conda.write_text(conda.read_text().replace("python=3.11", "python=3.12"))
    assert environments.lock_digest("elsewhere") != digest
    conda.write_text("dependencies: []\n")
    with pytest.raises(InputError, match="no line '- pip:'"):
        environments.write_conda_files()


def test_packages_of_the_system(described, monkeypatch):
    (described / "rs.yaml").write_text("dependencies: [r-base]\n")
    (described / "rs.apt").write_text("# R\nr-cran-one One\nr-cran-two Two\n")
    monkeypatch.setattr(environments, "r_packages", lambda: frozenset({"One", "base"}))
    place = environments.locate("rs")
    assert place.python is None and "(Two)" in place.reason and place.reason.endswith("r-cran-two")
    with pytest.raises(InputError, match="as root run: apt-get install -y --no-install-recommends r-cran-two"):
        environments.build("rs")
    monkeypatch.setattr(environments, "r_packages", lambda: frozenset({"One", "Two"}))
    assert environments.locate("rs").python == sys.executable
    assert environments.locate("rs").installed != place.installed
    assert "are here" in environments.build("rs")


def test_without_r_there_are_no_packages(monkeypatch):
    environments.r_packages.cache_clear()
    monkeypatch.setattr(environments.shutil, "which", lambda name: None)
    assert environments.r_packages() == frozenset()
    environments.r_packages.cache_clear()


def test_build_installs_the_lock_then_the_script_and_is_done_once(described, tmp_path):
    """A real virtual environment, from an empty lock: nothing is fetched."""
    (described / "elsewhere.post-deploy.sh").write_text(f'command -v python > "{tmp_path}/which"\n')
    assert environments.build("elsewhere").endswith("done")
    built = tmp_path / "built" / "elsewhere"
    assert (tmp_path / "which").read_text().strip() == str(built / "bin" / "python")
    assert environments.locate("elsewhere").python == str(built / "bin" / "python")
    assert environments.build("elsewhere").endswith("up to date")
    # A build that stopped before its end goes on in the same folder; one of another lock starts from nothing.
    kept = built / "kept"
    kept.write_text("")
    (built / environments.STAMP).unlink()
    (built / ".building").write_text(environments.lock_digest("elsewhere"))
    environments.build("elsewhere")
    assert kept.exists()
    (described / "elsewhere.lock").write_text("# other\n--no-index\n")
    environments.build("elsewhere")
    assert not kept.exists() and environments.locate("elsewhere").python


def test_missing_ones_are_built_and_what_cannot_be_is_only_said(described, monkeypatch, capsys):
    (described / "broken.lock").write_text("# nothing\n")
    (described / "broken.post-deploy.sh").write_text("false\n")
    environments.build_missing(["main", "elsewhere", "broken", "elsewhere"])
    said = capsys.readouterr()
    assert environments.locate("elsewhere").python and environments.locate("broken").python is None
    assert "make env NAME=broken" in said.out + said.err
    monkeypatch.setattr(environments, "build", lambda name: pytest.fail("it is here"))
    environments.build_missing(["elsewhere"])


def test_a_failing_build_leaves_no_environment(described):
    (described / "elsewhere.post-deploy.sh").write_text("false\ntrue\n")
    with pytest.raises(InputError, match=r"ended with status 1 .* make env NAME=elsewhere goes on from here"):
        environments.build("elsewhere")
    assert environments.locate("elsewhere").installed == "absent"


@pytest.mark.parametrize(
    ("name", "message"),
    [("elsewher", "did you mean 'elsewhere'"), ("main", "make setup"), ("../x", "known: elsewhere")],
)
def test_unknown_names_are_refused(described, name, message):
    with pytest.raises(InputError, match=message):
        environments.build(name)


def test_make_env_names_the_environments():
    known = [name for name in environments.names() if name != "main"]
    for arguments in (["env"], ["env", "NAME=no-such"]):
        done = subprocess.run(
            ["make", "-s", *arguments, f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert all(name in done.stderr for name in known)


def test_nothing_but_the_standard_library_is_needed():
    """``make env`` runs before anything is installed."""
    code = "import sys, models.environments; assert not {'numpy', 'yaml', 'pandas'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
