"""``docs/adding_a_model.md``, followed step by step with its blocks as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml

from benchmarks.formats import read_embedding, read_record, write_h5mu
from models import environments

BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.S)


@pytest.fixture(scope="module")
def blocks(root):
    """Language -> the page's blocks, without the indentation of a list."""
    found: dict[str, list[str]] = {}
    text = (root / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
    for language, body in BLOCK.findall(text):
        found.setdefault(language, []).append(textwrap.dedent(body))
    return found


@pytest.fixture
def folder(make, tmp_path):
    """A folder with a design in it."""
    visible, _ = make(("rna",), 0.0, 60)
    write_h5mu(tmp_path / "visible.h5mu", visible)
    return tmp_path


def follow(command: str, folder, root, **variables):
    """Run one of the page's commands in `folder`."""
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", **variables}
    command = command.replace("PYTHONPATH=.", f"PYTHONPATH=.:{root}")
    return subprocess.run(["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_python_model(blocks, folder, root):
    package = folder / "first_modality_svd.py"
    package.write_text(blocks["python"][0], encoding="utf-8")
    command = blocks["sh"][0].replace("models.first_modality_svd", "first_modality_svd")
    done = follow(command, folder, root, PYTHONPATH=f"{folder}:{root}")
    assert done.returncode == 0, done.stderr
    record = read_record(folder / "record.json")
    assert record.status == "ok", record.reason
    assert read_embedding(folder / "embedding.h5ad").values.shape == (60, 8)


def test_an_environment(blocks, tmp_path, monkeypatch):
    """The files of the page describe an environment, and the command that it names is the one that a missing one asks for."""
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "built"))
    (tmp_path / "my-tool.yaml").write_text(blocks["yaml"][0], encoding="utf-8")
    (tmp_path / "my-tool.lock").write_text(blocks["text"][0], encoding="utf-8")
    assert environments.names() == ["my-tool"]
    assert environments.write_conda_files() == ["my-tool"] and environments.write_conda_files() == []
    content = yaml.safe_load((tmp_path / "my-tool.yaml").read_text(encoding="utf-8"))
    assert content["dependencies"] == ["python=3.11", "pip", {"pip": blocks["text"][0].splitlines()}]
    assert content["channels"][-1] == "nodefaults"
    assert environments.locate("my-tool").reason.endswith("make env NAME=my-tool")
    assert "make env NAME=my-tool " in blocks["sh"][1]


def test_the_page_names_the_versions_of_the_main_lock(blocks, root):
    main = environments.requirements(root / "envs" / "main.lock")
    assert set(environments.requirements_of(blocks["text"][0])) <= set(main)


def test_a_program(blocks, folder, root):
    program = blocks["awk"][0]
    assert len(program.splitlines()) <= 30
    (folder / "random_groups.awk").write_text(program, encoding="utf-8")
    (folder / "random_groups.py").write_text(blocks["python"][1], encoding="utf-8")
    done = follow(blocks["sh"][2], folder, root)
    assert done.returncode == 0, done.stderr
    record = read_record(folder / "record.json")
    assert record.status == "ok", record.reason
    first = read_embedding(folder / "embedding.h5ad").values
    assert first.shape == (60, 8) and np.isfinite(first).all() and first.std(axis=0).min() > 0
    follow(blocks["sh"][2], folder, root)
    assert read_embedding(folder / "embedding.h5ad").values.tobytes() == first.tobytes()
    check_sums(folder, first)


def check_sums(folder, values):
    """The groups share out a cell's counts: the shares that the log took sum to one."""
    np.testing.assert_allclose((np.exp(values.astype(float)) - 1).sum(axis=1), 100, rtol=1e-4)


def test_a_program_that_is_not_there(blocks, folder, root):
    (folder / "random_groups.py").write_text(
        blocks["python"][1].replace('["sh",', '["no-such-program",'), encoding="utf-8"
    )
    assert follow(blocks["sh"][2], folder, root).returncode == 0
    record = read_record(folder / "record.json")
    assert record.status == "not_available" and record.reason.endswith("apt-get install mawk")


def test_awk_is_there():
    assert shutil.which("awk")
