"""Models do better on one form of a data set than on another, or alike on both."""

from __future__ import annotations

from typing import Any, Mapping

import pandas as pd

from benchmarks.claims.evidence import Evidence, paired
from benchmarks.claims.judgement import Finding, NotTestable, above, attempt, within
from benchmarks.claims.keys import Key, Wrong

KEYS = {
    "models": Key("models"), "pairs": Key("pairs"), "relation": Key(("better", "alike")), "margin": Key("positive", required=False),
}  # fmt: skip
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """A margin goes with ``alike`` and only with it."""
    if (test["relation"] == "alike") != ("margin" in test):
        raise Wrong("'margin' goes with 'relation: alike' and only with it; add or remove it")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: first less second of each pair of data sets that are both there, by replicate."""
    result = []
    for model in test["models"]:
        label = f"{model} on {' and '.join(f'{first} against {second}' for first, second in test['pairs'])}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.values(model, metric)
            differences = []
            for names in test["pairs"]:
                halves = [
                    table[table["dataset"] == name].groupby("replicate", as_index=False)["value"].mean()
                    for name in names
                ]
                both = paired(*halves, on=["replicate"])
                differences.append(both["value_first"] - both["value_second"])
            values = pd.concat(differences)
            if values.empty:
                raise NotTestable("missing design", "no pair of the data sets asked for is in the study")
            if test["relation"] == "alike":
                return within(label, values, test["margin"])
            return above(label, values)

        result.append(attempt(label, measure))
    return result
