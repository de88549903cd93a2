"""A claim about a quantity that the tables do not hold: listed, so that nothing is left out in silence."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import Finding
from benchmarks.claims.keys import Key

KEYS = {"reason": Key("text")}
NEEDS_METRICS = False


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """Never testable, for the given reason."""
    return [Finding(evidence.claim.id, cause="no such quantity", reason=test["reason"])]
