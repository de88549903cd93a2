"""One claim of a paper as ``config/claims.yaml`` states it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping


@dataclass(frozen=True)
class Claim:
    """One testable claim.

    Attributes
    ----------
    id
        Its name in tables.
    paper
        Citation.
    place
        Figure or section of the paper.
    says
        The claim in our words.
    stated
        The number that the paper gives, as text; empty where there is none.
    reading
        How we map it onto our metrics, and which thresholds are ours.
    kind
        Kind of test (:data:`benchmarks.claims.registry.KINDS`).
    test
        Arguments of the test, complete and of the declared types.
    metrics
        Metrics that it is tested on; it has to hold on each.
    metric_of
        Paper's model -> metric that stands in for it, where models are scored differently.
    models
        Paper's model -> our implementations, the first one with values is taken.
    datasets
        Patterns of data set names (``*`` and ``?``); empty for all.
    n_cells, unpaired_fraction
        Inclusive bounds (low, high) on designs.
    sizes
        ``all`` that the bounds leave, or the ``largest`` of them in each data set.
    over
        Unit of replication: ``subsamples`` (training seeds are averaged) or ``seeds``.
    logarithm
        Whether values are compared as ratios.
    """

    id: str
    paper: str
    place: str
    says: str
    kind: str
    test: Mapping[str, Any]
    metrics: tuple[str, ...] = ()
    stated: str = ""
    reading: str = ""
    metric_of: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    n_cells: tuple[float, float] = (0.0, float("inf"))
    unpaired_fraction: tuple[float, float] = (0.0, 1.0)
    sizes: str = "all"
    over: str = "subsamples"
    logarithm: bool = False
