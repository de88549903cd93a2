"""Models do better on one form of a data set than on another, or alike on both."""

from __future__ import annotations

from typing import Any, Mapping

import pandas as pd

from benchmarks.claims.evidence import Evidence, paired
from benchmarks.claims.judgement import Finding, NotTestable, above, attempt, within
from benchmarks.claims.keys import Key, Wrong

KEYS = {
    "models": Key("models"), "pairs": Key("pairs"), "relation": Key(("better", "alike")), "margin": Key("positive", required=False),
    "by": Key("number", required=False), "than": Key("models", required=False),
}  # fmt: skip
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """A margin goes with ``alike`` and only with it, a least difference and rivals with ``better``."""
    if (test["relation"] == "alike") != ("margin" in test):
        raise Wrong("'margin' goes with 'relation: alike' and only with it; add or remove it")
    for name in ("by", "than"):
        if name in test and test["relation"] == "alike":
            raise Wrong(f"{name!r} goes with 'relation: better' and only with it; remove it")
    if set(test["models"]) & set(test.get("than", ())):
        raise Wrong("a model stands under 'models' and 'than'; take it out of one")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: first less second of each pair of data sets that are both there, by replicate.

    ``by`` is the least difference that is claimed. With ``than`` it is one finding a pair of models: by how much the
    difference of the first model is above that of the second one (a difference of differences).
    """
    result = []
    names = " and ".join(f"{first} against {second}" for first, second in test["pairs"])
    for model in test["models"]:
        for rival in test.get("than", (None,)):
            label = f"{model}{f' more than {rival}' if rival else ''} on {names}, {metric}"

            def measure(model=model, rival=rival, label=label) -> Finding:
                values = _differences(test["pairs"], evidence, model, rival, metric)
                if test["relation"] == "alike":
                    return within(label, values, test["margin"])
                return above(label, values, test.get("by", 0.0))

            result.append(attempt(label, measure))
    return result


def _differences(pairs: Any, evidence: Evidence, model: str, rival: str | None, metric: str) -> pd.Series:
    """First less second of each pair of data sets, by replicate; less that of a rival where there is one."""
    tables = [evidence.values(name, metric) for name in (model, rival) if name]
    differences = []
    for names in pairs:
        by_model = []
        for table in tables:
            halves = [
                table[table["dataset"] == name].groupby("replicate", as_index=False)["value"].mean() for name in names
            ]
            both = paired(*halves, on=["replicate"])
            by_model.append(both.assign(value=both["value_first"] - both["value_second"])[["replicate", "value"]])
        if rival is None:
            differences.append(by_model[0]["value"])
        else:
            both = paired(*by_model, on=["replicate"])
            differences.append(both["value_first"] - both["value_second"])
    values = pd.concat(differences)
    if values.empty:
        raise NotTestable("missing design", "no pair of the data sets asked for is in the study")
    return values
