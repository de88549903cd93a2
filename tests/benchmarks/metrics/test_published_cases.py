"""Published scores: every case in the folder that MOSAICBENCH_METRIC_CASES names is run.

A case is a folder with ``case.json`` and the tables that it names::

    {"embedding": "embedding.npy",            # or a .tsv/.csv of numbers, observations x dimensions
     "obs": "obs.tsv",                        # columns cell_type, batch, optional cell, group, site, pseudotime_*
     "expected": {"asw_cell_type": 0.5812},   # metric or row name -> value
     "tolerance": {"nmi_leiden": 0.02},       # optional, absolute; 1e-4 where left out
     "source": "where the values were published"}
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.formats import Multimodal
from benchmarks.metrics.context import Context
from benchmarks.metrics.registry import find
from benchmarks.metrics.score import score


def run_case(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Score one case; row name -> (found, expected, tolerance)."""
    facts = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    path = folder / facts["embedding"]
    if path.suffix == ".npy":
        values = np.load(path, allow_pickle=False)
    else:
        values = np.loadtxt(path, delimiter="\t" if path.suffix == ".tsv" else ",", ndmin=2)
    table = folder / facts["obs"]
    obs = pd.read_csv(table, sep="\t" if table.suffix == ".tsv" else ",")
    obs.index = [f"o{i}" for i in range(len(obs))]
    names = {find(name).name for name in facts["expected"]}
    found = score(Context(values, Multimodal(obs, {}, {})), names)[0].set_index("metric")["value"]
    tolerance = facts.get("tolerance", {})
    return {
        name: (float(found[name]), float(value), float(tolerance.get(name, 1e-4)))
        for name, value in facts["expected"].items()
    }


def test_every_case_in_the_folder(capsys):
    name = os.environ.get("MOSAICBENCH_METRIC_CASES", "")
    cases = sorted(path.parent for path in Path(name).glob("*/case.json")) if name else []
    with capsys.disabled():
        print(
            f"\n{len(cases)} published metric cases"
            + (f" in {name}" if name else " (MOSAICBENCH_METRIC_CASES is not set)")
        )
    wrong = []
    for case in cases:
        for metric, (found, expected, tolerance) in run_case(case).items():
            if not abs(found - expected) <= tolerance:
                wrong.append(f"{case.name}: {metric} {found} instead of {expected} +- {tolerance}")
    assert not wrong, "\n".join(wrong)
    if name:
        assert cases, f"{name} holds no */case.json"


@pytest.mark.parametrize("format_", ["npy", "tsv", "csv"])
def test_a_case_of_our_own_is_read_and_checked(world, tmp_path, format_, monkeypatch, capsys):
    from sklearn.metrics import silhouette_score

    folder = tmp_path / "simulated"
    folder.mkdir()
    if format_ == "npy":
        np.save(folder / "embedding.npy", world.values)
    else:
        np.savetxt(folder / f"embedding.{format_}", world.values, delimiter="\t" if format_ == "tsv" else ",")
    world.truth.obs[["cell_type", "batch"]].to_csv(folder / "obs.tsv", sep="\t", index=False)
    expected = (1 + silhouette_score(world.values.astype(float), world.labels)) / 2
    facts = {"embedding": f"embedding.{format_}", "obs": "obs.tsv", "expected": {"asw_cell_type": expected}}
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")
    monkeypatch.setenv("MOSAICBENCH_METRIC_CASES", str(tmp_path))
    test_every_case_in_the_folder(capsys)
    facts["expected"]["asw_cell_type"] = expected + 0.01
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(AssertionError, match="simulated: asw_cell_type"):
        test_every_case_in_the_folder(capsys)
