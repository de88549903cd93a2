"""Hand-made tables of which every verdict is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from benchmarks.claims.claim import Claim
from benchmarks.claims.evaluate import evaluate
from benchmarks.claims.keys import converted
from benchmarks.claims.registry import kind_module
from benchmarks.formats import SCORE_COLUMNS


@dataclass(frozen=True)
class StandIn:
    """What the statistics read of a metric's declaration."""

    name: str
    direction: str = "higher"
    target: float | None = None


METRICS = {
    "good": StandIn("good"),
    "bad": StandIn("bad", "lower"),
    "near": StandIn("near", "target", 1.0),
}

MODELS = {"A": ("a", "a-native"), "B": ("b",), "C": ("c",), "Absent": ("absent",)}


def table(value, models=("a", "b"), sizes=(500, 1000, 2000), fractions=(0.0,), replicates=6, seeds=(0,), datasets=("d",), metric="good", status="ok"):  # fmt: skip
    """Scores with ``value(model, n_cells, unpaired_fraction, replicate)``."""
    rows = []
    for dataset in datasets:
        for n in sizes:
            for fraction in fractions:
                for replicate in range(replicates):
                    for seed in seeds:
                        for model in models:
                            own = float(value(model, n, fraction, replicate)) if status == "ok" else np.nan
                            key = (
                                "study",
                                dataset,
                                f"{n}-{fraction}-{replicate}",
                                n,
                                fraction,
                                replicate,
                                model,
                                model,
                            )
                            rows.append(dict(zip(SCORE_COLUMNS, (*key, seed, metric, own, status, ""))))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def claim(kind, metrics=("good",), **arguments):
    """A claim with only a test; what belongs to the claim itself is told from the test's arguments by its name."""
    fields = ("metric_of", "datasets", "n_cells", "unpaired_fraction", "sizes", "over", "logarithm")
    own = {name: arguments.pop(name) for name in fields if name in arguments}
    module = kind_module(kind)
    test = {name: converted(module.KEYS[name], value, MODELS) for name, value in arguments.items()}
    if hasattr(module, "check"):
        module.check(test)
    metrics = tuple(metrics) if module.NEEDS_METRICS else ()
    return Claim("claim", "paper", "Figure 1", "something", kind, test, metrics, models=MODELS, **own)


@pytest.fixture
def verdict():
    """``verdict(claim, scores, runs=None)``: the row of the table."""

    def of(one, scores, runs=None):
        return evaluate([one], scores, runs, METRICS).iloc[0]

    return of


@pytest.fixture
def scores():
    return table


@pytest.fixture
def make_claim():
    return claim
