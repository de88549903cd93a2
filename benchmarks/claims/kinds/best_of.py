"""One model or setting is the best of several."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import Finding
from benchmarks.claims.keys import Key, Wrong
from benchmarks.claims.kinds import better_than

KEYS = {"best": Key("model"), "among": Key("models")}
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """There has to be a rival."""
    if set(test["among"]) <= {test["best"]}:
        raise Wrong(f"among: names no rival of {test['best']!r}; add one")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a rival: the best is better than each of the others."""
    others = tuple(name for name in test["among"] if name != test["best"])
    return better_than.findings({"models": (test["best"],), "than": others}, evidence, metric)
