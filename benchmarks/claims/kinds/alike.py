"""Models score alike: within a stated margin of a reference, on the same cells."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, paired
from benchmarks.claims.judgement import Finding, attempt, within
from benchmarks.claims.keys import Key, Wrong

KEYS = {"reference": Key("model"), "models": Key("models"), "margin": Key("positive")}
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """No model is compared with itself."""
    if test["reference"] in test["models"]:
        raise Wrong(f"models: holds the reference {test['reference']!r}; take it out")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: its mean difference from the reference is within the margin (two one-sided tests)."""
    result = []
    for model in test["models"]:
        label = f"{model} against {test['reference']}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = paired(evidence.values(model, metric), evidence.values(test["reference"], metric))
            difference = table["value_first"] - table["value_second"]
            return within(label, difference.groupby(table["block"]).mean(), test["margin"])

        result.append(attempt(label, measure))
    return result
