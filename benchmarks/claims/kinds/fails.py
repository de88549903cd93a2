"""Models fail in at least a share of the runs."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from benchmarks.claims.evidence import FAILURES, Evidence
from benchmarks.claims.judgement import ALPHA, MINIMUM, Finding, attempt
from benchmarks.claims.keys import Key

KEYS = {
    "models": Key("models"),
    "at_least": Key("share"),
    "statuses": Key(frozenset(FAILURES), required=False),
}
NEEDS_METRICS = False

DRAWS = 200_000
"""Random weights for the bounds of a mean share; p-values are good to about 0.001."""


def bounds(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws of a lower and of an upper bound of the mean of shares in [0, 1].

    Gaffke's (2005, Mathematical Methods of Statistics 14:451; Learned-Miller and Thomas 2020, arXiv:1905.06208): means
    of the observed shares and of 0 (or 1) under random weights that are uniform on the simplex. Their quantiles are
    one-sided bounds of a mean of bounded values, whatever these are: Clopper and Pearson's if all shares are 0 or 1.
    """
    generator = np.random.default_rng(0)
    weights = generator.standard_exponential((len(shares) + 1, DRAWS))
    total = weights.sum(axis=0)
    observed = np.sort(shares) @ weights[:-1]
    return observed / total, (observed + weights[-1]) / total


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: mean over blocks of the share of runs that gave nothing, against ``at_least``.

    With ``statuses`` only failures of these kinds count, and runs that failed otherwise are left out.
    """
    result = []
    for model in test["models"]:
        label = f"runs of {model} {' or '.join(test.get('statuses', ['without a result']))}"

        def measure(model=model, label=label) -> Finding:
            shares = evidence.outcomes(model, test.get("statuses", FAILURES))["failed"].to_numpy(float)
            n, mean = len(shares), float(shares.mean())
            lower, upper = bounds(shares)
            low = float(np.quantile(lower, ALPHA)) if mean > 0 else 0.0
            high = float(np.quantile(upper, 1 - ALPHA)) if mean < 1 else 1.0
            if n < MINIMUM:
                return Finding(label, mean, low, high, n=n)
            p_for = float(np.mean(lower <= test["at_least"]))
            return Finding(label, mean, low, high, p_for, float(np.mean(upper >= test["at_least"])), n)

        result.append(attempt(label, measure))
    return result
