"""Models depend on the number of cells or the unpaired fraction: they change by more than a margin, either way."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, changes, without
from benchmarks.claims.judgement import Finding, attempt, beyond
from benchmarks.claims.keys import Key

KEYS = {"models": Key("models"), "along": Key(("n_cells", "unpaired_fraction")), "margin": Key("positive")}
NEEDS_METRICS = True


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: the mean of the fitted change from end to end is beyond the margin, whichever its sign."""
    result = []
    for model in test["models"]:
        label = f"{model} along {test['along']}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.along(model, metric, test["along"])
            return beyond(label + without(table, test["along"]), changes(table, test["along"]), test["margin"])

        result.append(attempt(label, measure))
    return result
