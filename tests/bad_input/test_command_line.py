"""A spread of bad input through the real commands, as a person or a job script calls them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from tests.bad_input.command import SECONDS, content
from tests.bad_input.data_files import ENTRIES, example
from tests.bad_input.study_cases import GOOD, MODELS, NAN, REGISTRY, changed, dumped

SNAKEMAKE = ("snakemake", "-n", "-s", "{root}/Snakefile", "--configfile", "study.yaml")
VALIDATE = ("workflow", "validate", "--configfile", "study.yaml")
PREPARE = ("benchmarks", "prepare", "--registry", "data.yaml", "--dataset", "h5mu", "--data-dir", "data", "--output", "out/data.h5mu",
           "--summary", "out/summary.json")  # fmt: skip
TRAIN = (
    "models",
    "train",
    "--design",
    "data/a.h5mu",
    "--model",
    "pca",
    "--embedding",
    "out/e",
    "--prediction",
    "out/p",
    "--record",
    "out/r",
)
DESIGN = ("benchmarks", "design", "--dataset", "data/a.h5mu", "--visible", "out/v", "--truth", "out/t", "--spec")


def study(path: str, value: object) -> dict[str, bytes]:
    return {"study.yaml": dumped(changed(GOOD, path, value))}


CASES: dict[str, tuple[tuple[str, ...], dict[str, bytes], tuple[str, ...]]] = {
    # What Snakemake's users see.
    "snakemake: unknown model": (SNAKEMAKE, study("models", ["pcaa"]), ("study.yaml: models[0]", "did you mean 'pca'")),
    "snakemake: needed key missing": (SNAKEMAKE, {"study.yaml": b"study: s\nmodels: [pca]\n"}, ("study.yaml: datasets", "add it")),
    "snakemake: no finite number": (SNAKEMAKE, study("limits.wall_minutes", NAN), ("study.yaml: limits.wall_minutes", "give one")),
    "snakemake: hostile name": (SNAKEMAKE, study("study", "$(touch x)"), ("study.yaml: study", "use lower-case")),
    "snakemake: key given twice": (SNAKEMAKE, {"study.yaml": dumped(GOOD) + b"study: t\n"}, ("study.yaml: line", "given twice")),
    "snakemake: command line": ((*SNAKEMAKE, "--config", "device=gpu"), {}, ("(--config): device", "give one of them")),
    "snakemake: registry not there": (SNAKEMAKE, study("datasets_file", "no.yaml"), ("study.yaml: datasets_file", "correct the path")),
    # Snakemake reads the file before the workflow does: its own words, but no traceback.
    "snakemake: no YAML": (SNAKEMAKE, {"study.yaml": b"study: [\n"}, ("not valid JSON or YAML",)),
    # The same check without Snakemake.
    "validate: no YAML": (VALIDATE, {"study.yaml": b"study: [\n"}, ("study.yaml: line 2", "correct the line")),
    "validate: Latin-1": (VALIDATE, {"study.yaml": b"study: \xe9\n"}, ("study.yaml: not UTF-8", "save it as UTF-8")),
    "validate: python tag": (VALIDATE, {"study.yaml": b"a: !!python/object/apply:os.system ['touch x']\n"}, ("study.yaml: line 1", "correct")),
    "validate: out of range": (VALIDATE, study("designs.unpaired_fraction", [1.5]), ("designs.unpaired_fraction[0]", "give at most 1")),
    "validate: no such file": ((*VALIDATE[:-1], "no.yaml"), {}, ("no.yaml: no such file", "check the path")),
    "validate: value that is no YAML": ((*VALIDATE, "--config", "threads=["), {}, ("--config threads=[", "correct it")),
    "plan: no JSON": (("workflow", "plan", "--config-json", "{", "--output", "out/p.json"), {}, ("--config-json: not JSON", "give")),
    "retry-failed: unknown data set": (("workflow", "retry-failed", "--configfile", "study.yaml"), study("datasets", ["tny"]),
                                       ("study.yaml: datasets[0]", "did you mean 'tiny'")),
    "prepare: no HDF5": (PREPARE, {"data/a.h5mu": b"<html>"}, ("data/a.h5mu: not a readable HDF5 file", "fetch")),
    "prepare: unknown format": (PREPARE, {"data.yaml": dumped({"h5mu": {**ENTRIES["h5mu"], "format": "pickle"}})}, ("data.yaml: h5mu.format", "give one")),
    "prepare: no such column": (PREPARE, {"data.yaml": dumped({"h5mu": {**ENTRIES["h5mu"], "labels": "no"}})}, ("a.h5mu", "correct labels")),
    "prepare: no such file": (PREPARE, {"data.yaml": dumped({"h5mu": {**ENTRIES["h5mu"], "path": "../x"}})}, ("../x: no such file", "correct")),
    "design: no JSON": ((*DESIGN, "{"), {}, ("--spec", "benchmarks/designs.py")),
    "design: too many cells": ((*DESIGN, '{"dataset": "d", "modalities": ["rna"], "n_cells": 999}'), {}, ("999", "30")),
    "train: hyperparameters": ((*TRAIN, "--hyperparameters", '{"n_latent": NaN}'), {}, ("n_latent", "give")),
    "train: unknown model": ((*TRAIN[:5], "os:system", *TRAIN[6:]), {}, ("os:system", "no subclass")),
    "train: seed": ((*TRAIN, "--seed", "-1"), {}, ("--seed", "not a seed")),
    "declare: unknown model": (("models", "declare", "pcaa"), {}, ("'pcaa'", "did you mean 'pca'")),
    "report: no study": (("benchmarks", "report", "--study-dir", "data", "--output", "out/r.html"), {}, ("data: neither scores", "run the workflow")),
    "statistics: damaged table": (("benchmarks", "statistics", "--study-dir", "data"), {"data/scores.parquet": b"x"}, ("scores.parquet", "delete it")),
}  # fmt: skip
"""Case -> command, files in place of the good ones, words of the message."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_command_says_what_is_wrong_and_writes_nothing(root, tmp_path, name):
    command, files, words = CASES[name]
    from benchmarks.formats import write_h5mu

    write_h5mu(tmp_path / "data" / "a.h5mu", example())
    good = {
        "study.yaml": dumped(GOOD),
        "datasets.yaml": dumped(REGISTRY),
        "models.yaml": dumped(MODELS),
        "data.yaml": dumped(ENTRIES),
    }
    for file, text in {**good, **files}.items():
        (tmp_path / file).write_bytes(text)
    before = content(tmp_path)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-m", *(word.format(root=root) if "{root}" in word else word for word in command)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = result.stdout + result.stderr
    assert result.returncode in (1, 2), output
    assert "Traceback" not in output and "  File " not in output, output
    assert [word for word in words if word not in output] == [], output
    # Processor time, which a busy machine does not stretch.
    assert now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime < SECONDS
    after = content(tmp_path)
    assert after == before, sorted(set(after) - set(before))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["study", "dry-run"])
def test_make_names_the_file_that_snakemake_could_not_read(root, tmp_path, target):
    if not (root / ".venv" / ".lock-hash").exists():
        pytest.skip("make setup has not been run in this checkout")
    file = tmp_path / "study.yaml"
    file.write_bytes(b"study: \xe9\n")
    result = subprocess.run(
        ["make", "-s", target, f"STUDY={file}"], cwd=root, capture_output=True, text=True, timeout=600
    )
    output = result.stdout + result.stderr
    assert result.returncode == 2
    assert "Traceback" not in output and f"{file}: not UTF-8 text" in output and "save it as UTF-8" in output


def test_enough_of_them_are_real():
    assert len(CASES) >= 25
    assert sum(command[0] == "snakemake" for command, _, _ in CASES.values()) >= 7
