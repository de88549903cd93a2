"""Cost: what a training took, from its run record."""

from __future__ import annotations

from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import Metric, NotApplicable


def _field(name: str):
    def compute(context: Context) -> float:
        if context.record is None:
            raise NotApplicable("there is no run record")
        value = getattr(context.record, name)
        if value is None:
            raise NotApplicable(f"the run record has no {name.replace('_', ' ')} (not measured on this device)")
        return float(value)

    return compute


def cells_per_second(context: Context) -> float:
    """Cells over wall seconds."""
    if context.record is None:
        raise NotApplicable("there is no run record")
    if context.record.wall_seconds <= 0:
        raise NotApplicable("the run record has no wall seconds")
    if context.record.status != "ok":
        raise NotApplicable("the run gave no embedding of any cell")
    if "cell" not in context.truth.obs:
        raise NotApplicable("the design does not say which observations are halves of one cell")
    return context.truth.obs["cell"].nunique() / context.record.wall_seconds


def _metric(name: str, title: str, compute, equation: str, direction: str = "lower", note: str = "") -> Metric:
    return Metric(
        name=name,
        title=title,
        family="cost",
        compute=compute,
        range=(0.0, float("inf")),
        direction=direction,
        group="cost",
        needs=("record",),
        paper="Brombacher et al. 2022, Supplementary Figures S1 and S2; Li et al. 2022 (scMVP), Figure 1c",
        equation=equation,
        description=f"From the run record: the whole training of the model on this design. {note}".strip(),
    )


METRICS = [
    _metric("wall_seconds", "Wall time (s)", _field("wall_seconds"), "seconds from start to embedding"),
    _metric("cpu_seconds", "CPU time (s)", _field("cpu_seconds"), "user + system seconds of all threads"),
    _metric(
        "gpu_seconds", "GPU time (s)", _field("gpu_seconds"), "seconds on the device", note="Not applicable on a CPU."
    ),
    _metric("peak_rss_mb", "Peak memory (MB)", _field("peak_rss_mb"), "largest resident set, MB of 2**20 bytes"),
    _metric(
        "peak_device_mb",
        "Peak device memory (MB)",
        _field("peak_device_mb"),
        "largest device allocation, MB of 2**20 bytes",
        note="Not applicable on a CPU.",
    ),
    _metric(
        "cells_per_second",
        "Cells per second",
        cells_per_second,
        "cells / wall seconds",
        "higher",
        note="Halves of one cell are one cell. Not applicable to a run that gave no embedding.",
    ),
]
"""The cost metrics."""
