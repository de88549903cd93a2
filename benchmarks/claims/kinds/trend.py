"""Models improve or get worse along the number of cells or the unpaired fraction."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, changes, without
from benchmarks.claims.judgement import Finding, above, attempt
from benchmarks.claims.keys import Key

KEYS = {
    "models": Key("models"),
    "along": Key(("n_cells", "unpaired_fraction")),
    "direction": Key(("improves", "worsens")),
}
NEEDS_METRICS = True


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: the fitted change from one end of the axis to the other, positive as claimed."""
    sign = 1.0 if test["direction"] == "improves" else -1.0
    result = []
    for model in test["models"]:
        label = f"{model} along {test['along']}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.along(model, metric, test["along"])
            return above(label + without(table, test["along"]), sign * changes(table, test["along"]))

        result.append(attempt(label, measure))
    return result
