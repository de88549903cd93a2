"""One model gains more along an axis than each of others."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, changes, paired
from benchmarks.claims.judgement import Finding, above, attempt
from benchmarks.claims.keys import Key, Wrong

KEYS = {"model": Key("model"), "than": Key("models"), "along": Key(("n_cells", "unpaired_fraction"))}
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """No model is compared with itself."""
    if test["model"] in test["than"]:
        raise Wrong(f"than: holds {test['model']!r} itself; take it out")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a rival: the difference of the two fitted changes on the designs that both have a value for."""
    result = []
    for other in test["than"]:
        label = f"gain of {test['model']} against {other}, {metric}"

        def measure(other=other, label=label) -> Finding:
            table = paired(evidence.values(test["model"], metric), evidence.values(other, metric))
            # The slope is linear in the values, so that the slope of differences is the difference of slopes.
            table["value"] = table["value_first"] - table["value_second"]
            return above(label, changes(table, test["along"]))

        result.append(attempt(label, measure))
    return result
