"""Models hardly depend on the number of cells or the unpaired fraction: they change by less than a margin."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, changes, without
from benchmarks.claims.judgement import Finding, attempt, within
from benchmarks.claims.keys import Key

KEYS = {
    "models": Key("models"),
    "along": Key(("n_cells", "unpaired_fraction")),
    "margin": Key("positive"),
    "span": Key("positive"),
}
NEEDS_METRICS = True


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: the fitted change from one end of the axis to the other is within the margin.

    Only series that span at least ``span`` of the axis count (a factor for ``n_cells``, a difference for
    ``unpaired_fraction``): over two sizes that are alike everything is flat.
    """
    result = []
    for model in test["models"]:
        label = f"{model} along {test['along']}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.along(model, metric, test["along"])
            said = label + without(table, test["along"])
            return within(said, changes(table, test["along"], span=test["span"]), test["margin"])

        result.append(attempt(label, measure))
    return result
