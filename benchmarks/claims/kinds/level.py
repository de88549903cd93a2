"""Models reach a stated number: about it, at least it or at most it."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import Finding, above, attempt, within
from benchmarks.claims.keys import Key, Wrong

KEYS = {
    "models": Key("models"), "about": Key("number", required=False), "margin": Key("positive", required=False),
    "at_least": Key("number", required=False), "at_most": Key("number", required=False),
}  # fmt: skip
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """Refuse a test without exactly one number to reach."""
    given = [name for name in ("about", "at_least", "at_most") if name in test]
    if len(given) != 1:
        raise Wrong(f"has {' and '.join(given) or 'no number'}; give exactly one of about, at_least, at_most")
    if ("about" in test) != ("margin" in test):
        raise Wrong("'about' and 'margin' go together; give both or neither")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: its mean over blocks, in the units of the metric, and not signed."""
    result = []
    for model in test["models"]:
        label = f"{model}, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.values(model, metric)
            values = table["raw"].groupby(table["block"]).mean().to_numpy()
            if "about" in test:
                return within(label, values, test["margin"], test["about"])
            if "at_least" in test:
                return above(label, values, test["at_least"])
            turned = above(label, -values, -test["at_most"])
            return Finding(label, -turned.effect, -turned.high, -turned.low, turned.p_for, turned.p_against, turned.n)

        result.append(attempt(label, measure))
    return result
