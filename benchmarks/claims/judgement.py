"""From differences over replicates to a verdict.

Every test comes down to *findings*: statements about the mean of a number over independent blocks (subsamples or
training seeds). A claim is supported if every finding is, each at level :data:`ALPHA`, so that a claim of which any
part is untrue is called supported at most that often (intersection-union test). It is contradicted if the findings
together are opposed by Simes' test (1986, Biometrika 73:751) at :data:`ALPHA`: all of them at :data:`ALPHA`, or one at
:data:`ALPHA` over their number, or whatever lies between. All else is not testable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Sequence

import numpy as np

from benchmarks.statistics.compare import sign_flip_test
from benchmarks.statistics.intervals import bootstrap_intervals

ALPHA = 0.05
"""One-sided error rate: a claim with no truth to it is supported, or contradicted, at most this often (each)."""

LEVEL = 1 - 2 * ALPHA
"""Coverage of the intervals: :data:`ALPHA` on either side, to match the verdict."""

SMALL_MARGIN = 0.25
"""Margins below this share of the standard deviation over blocks leave room for both tails; see :func:`within`."""

MINIMUM = 5
"""Fewest blocks from which anything can follow: with four, the smallest one-sided p-value is 1/16."""

SUPPORTED, CONTRADICTED, NOT_TESTABLE = "supported", "contradicted", "not testable here"

CAUSES = (
    "no such quantity",
    "missing model",
    "missing metric",
    "missing design",
    "no value",
    "too few replicates",
    "not resolved",
)
"""Why a claim is not testable here."""


class NotTestable(Exception):
    """The tables lack what a test needs.

    Attributes
    ----------
    cause
        One of :data:`CAUSES`.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Finding:
    """What the replicates say about one part of a claim.

    Attributes
    ----------
    label
        What is compared.
    effect, low, high
        Estimate and interval (:data:`LEVEL`), positive in the direction that the claim says where it has one; NaN
        where there is none.
    p_for, p_against
        One-sided p-values of the part being true, and of its opposite; NaN for too few blocks.
    n
        Blocks.
    cause, reason
        Set where nothing could be measured.
    """

    label: str
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p_for: float = float("nan")
    p_against: float = float("nan")
    n: int = 0
    cause: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, with the finding that decides it."""

    verdict: str
    cause: str
    reason: str
    finding: Finding
    n_findings: int
    n_as_claimed: int


def _one_sided(differences: np.ndarray) -> float:
    """p-value of a mean above zero by sign flips (exact up to 12 blocks); 1 if the mean is not above zero."""
    if differences.mean() <= 0:
        return 1.0
    # The distribution of the mean over sign flips is symmetric, so half the two-sided p-value is the one-sided one.
    return float(sign_flip_test(differences[None, :])[0]) / 2


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = bootstrap_intervals(values[None, :], LEVEL)
    return float(low[0]), float(high[0])


def above(label: str, values: Sequence[float], threshold: float = 0.0) -> Finding:
    """Whether the mean of `values` (one a block) is above `threshold`."""
    values = np.sort(np.asarray(values, dtype=float))
    if len(values) == 0:
        return Finding(label, cause="missing design", reason=f"{label}: no design in common")
    effect, (low, high) = float(values.mean()), _interval(values)
    if len(values) < MINIMUM:
        return Finding(label, effect, low, high, n=len(values))
    # A p-value alone is not enough: the interval that is shown must say the same.
    p_for = _one_sided(values - threshold) if low > threshold else 1.0
    p_against = _one_sided(threshold - values) if high < threshold else 1.0
    return Finding(label, effect, low, high, p_for, p_against, len(values))


def within(label: str, values: Sequence[float], margin: float, centre: float = 0.0) -> Finding:
    """Whether the mean of `values` is within `margin` of `centre` (two one-sided tests); outside it speaks against.

    The opposite has two tails. Where the mean lies at one edge of the margin, only the tail beyond that edge has its
    full size; the other begins two margins away. So the smaller p-value is not doubled, unless the margin is below
    :data:`SMALL_MARGIN` standard deviations, where two margins are so little that both tails count.
    """
    values = np.asarray(values, dtype=float)
    over = above(label, values, centre - margin)
    under = above(label, -values, -(centre + margin))
    if np.isnan(over.p_for):
        return over
    tails = 1 if margin >= SMALL_MARGIN * values.std(ddof=1) else 2
    p_against = min(1.0, tails * min(over.p_against, under.p_against))
    return replace(over, p_for=max(over.p_for, under.p_for), p_against=p_against)


def beyond(label: str, values: Sequence[float], margin: float) -> Finding:
    """Whether the mean of `values` is further than `margin` from zero, on either side: the opposite of :func:`within`."""
    inside = within(label, values, margin)
    return replace(inside, p_for=inside.p_against, p_against=inside.p_for)


def attempt(label: str, measure: Callable[[], Finding]) -> Finding:
    """The finding that `measure` gives, or one that says why there is none."""
    try:
        return measure()
    except NotTestable as error:
        return Finding(label, cause=error.cause, reason=str(error))


def _listed(texts: Sequence[str], most: int = 3) -> str:
    """The first `most` texts, and how many more there are."""
    more = f"; and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more


def opposed(findings: Sequence[Finding]) -> list[Finding]:
    """The findings for which Simes' test rejects that all of them are as claimed; empty where it does not.

    The i smallest p-values, for the largest i of which the i-th is at most i :data:`ALPHA` over the number of findings
    (those without a p-value among them). The parts of a claim share models and cells, which makes their p-values
    positively dependent; the test keeps its level then.
    """
    ordered = sorted((item for item in findings if not np.isnan(item.p_against)), key=lambda item: item.p_against)
    reached = [
        place for place, item in enumerate(ordered, start=1) if item.p_against <= place * ALPHA / len(findings) + 1e-12
    ]
    return ordered[: max(reached, default=0)]


def judge(findings: Sequence[Finding]) -> Verdict:
    """The verdict that follows from the findings on all parts of a claim."""
    if not findings:
        raise ValueError("a claim without findings")
    count = len(findings)
    measured = [finding for finding in findings if not finding.cause]
    decided = [finding for finding in measured if not np.isnan(finding.p_for)]
    as_claimed = [finding for finding in decided if finding.p_for <= ALPHA]
    against = opposed(findings)
    if against:
        worst = against[0]
        part = "" if count == 1 else f"{len(against)} of {count} parts against it: "
        labels = _listed([finding.label for finding in against])
        return Verdict(CONTRADICTED, "", part + labels, worst, count, len(as_claimed))
    missing = [finding for finding in findings if finding.cause]
    if missing:
        first = min(missing, key=lambda finding: CAUSES.index(finding.cause))
        shown = max(measured, key=lambda finding: finding.n) if measured else first
        reasons = _listed(list(dict.fromkeys(finding.reason for finding in missing)))
        return Verdict(NOT_TESTABLE, first.cause, reasons, shown, count, len(as_claimed))
    few = [finding for finding in findings if np.isnan(finding.p_for)]
    if few:
        shown = min(few, key=lambda finding: finding.n)
        reason = f"{shown.label}: {shown.n} replicate{'s' if shown.n != 1 else ''}; {MINIMUM} are needed"
        return Verdict(NOT_TESTABLE, "too few replicates", reason, shown, count, len(as_claimed))
    weakest = max(findings, key=lambda finding: finding.p_for)
    if len(as_claimed) == count:
        return Verdict(
            SUPPORTED,
            "",
            "" if count == 1 else f"all {count} parts; the weakest: {weakest.label}",
            weakest,
            count,
            count,
        )
    open_ = [finding.label for finding in findings if finding.p_for > ALPHA]
    reason = f"{len(as_claimed)} of {count} parts are resolved as claimed; not resolved: {_listed(open_)}"
    return Verdict(NOT_TESTABLE, "not resolved", reason, weakest, count, len(as_claimed))
