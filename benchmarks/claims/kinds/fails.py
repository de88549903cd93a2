"""Models fail in at least a share of the runs."""

from __future__ import annotations

from typing import Any, Mapping

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import LEVEL, MINIMUM, Finding, attempt
from benchmarks.claims.keys import Key

KEYS = {"models": Key("models"), "at_least": Key("share")}
NEEDS_METRICS = False


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: share of blocks most of whose runs gave nothing, with exact binomial tests and interval."""
    result = []
    for model in test["models"]:
        label = f"runs of {model} without a result"

        def measure(model=model, label=label) -> Finding:
            from scipy.special import bdtr, bdtrc, betaincinv

            failed = evidence.outcomes(model)["failed"] > 0.5
            n, k, share = len(failed), int(failed.sum()), test["at_least"]
            tail = (1 - LEVEL) / 2
            low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
            high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
            if n < MINIMUM:
                return Finding(label, k / n, low, high, n=n)
            p_for = 1.0 if k == 0 else float(bdtrc(k - 1, n, share))
            return Finding(label, k / n, low, high, p_for, float(bdtr(k, n, share)), n)

        result.append(attempt(label, measure))
    return result
