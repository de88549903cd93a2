"""All claims against a study's tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.claims.claim import Claim
from benchmarks.claims.evidence import Evidence, Tables
from benchmarks.claims.judgement import Verdict, judge
from benchmarks.claims.registry import kind_module
from benchmarks.statistics.keys import metric_declarations

COLUMNS = (
    "claim", "paper", "place", "says", "stated", "reading", "kind", "metrics", "verdict", "cause", "reason", "effect", "low", "high",
    "scale", "p_for", "p_against", "n_blocks", "over", "decided_by", "n_parts", "n_parts_as_claimed", "implementations", "datasets",
)  # fmt: skip
"""Columns of the table of claims."""


def evaluate_claim(claim: Claim, tables: Tables) -> tuple[Verdict, Evidence]:
    """The verdict on one claim, and what it was looked for in."""
    evidence = Evidence(claim, tables)
    module = kind_module(claim.kind)
    found = []
    for metric in claim.metrics or ("",):
        found += module.findings(claim.test, evidence, metric)
    return judge(found), evidence


def evaluate(
    claims: Sequence[Claim],
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """Test `claims` on a study.

    Parameters
    ----------
    claims
        From :func:`benchmarks.claims.registry.load_claims`.
    scores, runs
        Tidy tables; without `runs` no embedding is flagged and no failure is counted.
    metrics
        Metric declarations; the registry where left out.

    Returns
    -------
    pandas.DataFrame
        One row a claim, in the given order (:data:`COLUMNS`). ``verdict`` is ``supported``, ``contradicted`` or ``not
        testable here``, the last with its ``cause`` (:data:`benchmarks.claims.judgement.CAUSES`) and ``reason``.
        ``effect``, ``low`` and ``high`` (90 %) are those of the part that decides (``decided_by``): the weakest one of
        a supported claim, the most strongly opposed one of a contradicted one. They are in the units of the metric
        (``scale`` ``difference`` or ``level``), factors (``ratio``), shares of runs (``share``) or minus the exponent
        of n (``exponent``); differences and ratios are positive (above 1) where they go as claimed.
    """
    names = {name for claim in claims for name in (*claim.metrics, *claim.metric_of.values())}
    tables = Tables(scores, runs, metric_declarations(metrics), names)
    rows = []
    for claim in claims:
        verdict, evidence = evaluate_claim(claim, tables)
        finding, scale = verdict.finding, _scale(claim)
        if claim.logarithm:
            finding = replace(
                finding, effect=np.exp(finding.effect), low=np.exp(finding.low), high=np.exp(finding.high)
            )
        rows.append(
            {
                "claim": claim.id, "paper": claim.paper, "place": claim.place, "says": claim.says, "stated": claim.stated,
                "reading": claim.reading, "kind": claim.kind, "metrics": ", ".join(claim.metrics), "verdict": verdict.verdict,
                "cause": verdict.cause, "reason": verdict.reason, "effect": finding.effect, "low": finding.low, "high": finding.high,
                "scale": scale, "p_for": finding.p_for, "p_against": finding.p_against, "n_blocks": finding.n, "over": evidence.over,
                "decided_by": "" if finding.cause else finding.label, "n_parts": verdict.n_findings, "n_parts_as_claimed": verdict.n_as_claimed,
                "implementations": ", ".join(sorted(evidence.used)), "datasets": ", ".join(sorted(evidence.datasets)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scale(claim: Claim) -> str:
    """What kind of number the effect is."""
    named = {"fails": "share", "variance_falls": "exponent", "outside": ""}
    if claim.kind in named:
        return named[claim.kind]
    if claim.kind == "level":
        return "level"
    return "ratio" if claim.logarithm else "difference"
