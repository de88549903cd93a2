"""What a metric says about itself: name, range, direction, needs, source; and how it says that it does not apply."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.metrics.context import Context

GROUPS = ("bio_conservation", "mixing", "batch_removal", "pairing", "prediction", "cost", "diagnostics", "composite")
"""What a metric tells about; the report orders its columns by these."""

NEEDS = (
    "embedding",
    "labels",
    "batches",
    "sites",
    "halves",
    "modality_groups",
    "trajectories",
    "components",
    "visible",
    "prediction",
    "deviation",
    "record",
    "scores",
)
"""What a metric may ask of its context."""


class NotApplicable(Exception):
    """A metric that has no value on this design or for this model; the message is the reason, in one sentence."""


def enough(k: int, others: int, what: str) -> None:
    """Refuse a neighbourhood that says more about the size of a population than about the embedding.

    Of `others` candidates the `k` nearest may be half at most: where k covers them all, the value is a constant, and
    little before that it is nearly one.

    Raises
    ------
    NotApplicable
        If `k` is more than half of `others`.
    """
    if 2 * k > others:
        raise NotApplicable(f"the {k} nearest are more than half of the {others} {what} to choose from")


Value = float | Mapping[str, float]


@dataclass(frozen=True)
class Metric:
    """Declaration of one metric.

    Attributes
    ----------
    name
        Identifier in the score table.
    title
        Name as a reader of the report sees it.
    family
        Name of the module in :mod:`benchmarks.metrics` that defines it.
    compute
        Function of a :class:`~benchmarks.metrics.context.Context` that returns a number, or a mapping from a part
        (a trajectory, a modality, a direction) to a number. Part ``""`` is the metric itself, part ``p`` becomes
        the row ``<name>_<p>``. Raises :class:`NotApplicable` where the metric has no meaning.
    range
        Lowest and highest possible value.
    direction
        ``higher``, ``lower`` or ``target``: which values are good. With ``target``, those near `target`.
    target
        The ideal value, for ``direction='target'``.
    group
        One of :data:`GROUPS`.
    needs
        What the context has to hold, from :data:`NEEDS`.
    paper, equation
        Where it comes from, and the formula in plain text.
    description
        What it measures, its conventions, and where it differs on purpose from other libraries.
    scale
        Optional map from a value to [0, 1] with 1 the best; left out, the range is mapped linearly.
    """

    name: str
    title: str
    family: str
    compute: Callable[["Context"], Value]
    range: tuple[float, float]
    group: str
    description: str
    direction: str = "higher"
    target: float | None = None
    needs: tuple[str, ...] = ("embedding",)
    paper: str = ""
    equation: str = ""
    scale: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"{self.name}: unknown group {self.group!r}")
        if self.direction not in ("higher", "lower", "target"):
            raise ValueError(f"{self.name}: unknown direction {self.direction!r}")
        if (self.direction == "target") != (self.target is not None):
            raise ValueError(f"{self.name}: a target value goes with direction 'target' and only with it")
        unknown = set(self.needs) - set(NEEDS)
        if unknown:
            raise ValueError(f"{self.name}: unknown need {sorted(unknown)[0]!r}")
        if not self.range[0] < self.range[1]:
            raise ValueError(f"{self.name}: empty range {self.range}")

    @property
    def scalable(self) -> bool:
        """Whether :meth:`scaled` has a meaning: a scale of its own or a finite range with a direction."""
        return self.scale is not None or (self.direction != "target" and all(map(math.isfinite, self.range)))

    def scaled(self, value: float) -> float:
        """Map `value` to [0, 1] with 1 the best; NaN stays NaN.

        Raises
        ------
        ValueError
            If the metric has neither a scale nor a finite range.
        """
        if math.isnan(value):
            return math.nan
        if self.scale is not None:
            return min(1.0, max(0.0, self.scale(value)))
        if not self.scalable:
            raise ValueError(f"{self.name}: no scale to [0, 1]")
        low, high = self.range
        fraction = min(1.0, max(0.0, (value - low) / (high - low)))
        return 1.0 - fraction if self.direction == "lower" else fraction
