"""Each of some models is better than each of others, on the same cells."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence, paired
from benchmarks.claims.judgement import Finding, above, attempt
from benchmarks.claims.keys import Key, Wrong

KEYS = {"models": Key("models"), "than": Key("models"), "by": Key("number", required=False)}
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """No model is compared with itself."""
    for name in set(test["models"]) & set(test["than"]):
        raise Wrong(f"{name!r} stands under 'models' and 'than'; take it out of one")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a pair: the mean over blocks of the difference, positive where the first is better.

    ``by`` is the least difference that is claimed (default 0; below 0 it is a margin, "not worse than").
    """
    result = []
    for first in test["models"]:
        for second in test["than"]:
            label = f"{first} against {second}, {metric}"

            def measure(first=first, second=second, label=label) -> Finding:
                table = paired(evidence.values(first, metric), evidence.values(second, metric))
                difference = table["value_first"] - table["value_second"]
                return above(label, difference.groupby(table["block"]).mean(), test.get("by", 0.0))

            result.append(attempt(label, measure))
    return result
