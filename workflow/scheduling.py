"""Snakemake's scheduler, kept from waking itself more and more often."""

from __future__ import annotations


def stop_rate_limit(workflow) -> None:
    """Take away the limit on jobs started a second, whose timers multiply.

    With the limit (``--max-jobs-per-timespan``, by default 100 a second) Snakemake 9 starts a timer each time it looks
    for work, and looks for work each time a timer or a job ends: after N jobs it looks N times a second
    (snakemake/snakemake#3744). In a study of 314 jobs that was 12 minutes of processor time
    (docs/scale.md). To be called in
    ``onstart``, when the scheduler is there. Clusters limit submissions on their own (``--jobs``, the executor).
    """
    scheduler = getattr(workflow, "scheduler", None)
    if hasattr(scheduler, "job_rate_limiter"):
        scheduler.job_rate_limiter = None
