"""All metrics by name."""

from __future__ import annotations

from benchmarks.errors import InputError, did_you_mean
from benchmarks.metrics import (
    clustering,
    composite,
    cost,
    diagnostics,
    mixing,
    pairing,
    prediction,
    silhouette,
    structure,
)
from benchmarks.metrics.declaration import Metric

FAMILIES = (clustering, silhouette, structure, mixing, pairing, prediction, cost, diagnostics, composite)
"""The families' modules, in the order of the documentation; composites last, for they are made of the others."""

METRICS: dict[str, Metric] = {}
"""Name -> declaration."""

for _family in FAMILIES:
    for _metric in _family.METRICS:
        if _metric.name in METRICS:
            raise ValueError(f"two metrics are called {_metric.name!r}")
        METRICS[_metric.name] = _metric


def find(name: str) -> Metric:
    """The metric of a row of the score table: ``rank_distance_rna_to_atac`` belongs to ``rank_distance``.

    Raises
    ------
    InputError
        If no metric's name is `name` or a beginning of it.
    """
    if name in METRICS:
        return METRICS[name]
    owners = [known for known in METRICS if name.startswith(known + "_")]
    if not owners:
        raise InputError(f"unknown metric {name!r}{did_you_mean(name, METRICS)}")
    return METRICS[max(owners, key=len)]
