"""Diagnostics: embeddings whose scores mean nothing, to be flagged before anything is ranked."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.metrics.declaration import Metric

RELATIVE_SPREAD = 1e-3
FLOAT_NOISE = 1e-6
DUPLICATE_FRACTION = 0.5


def diagnostics(values: np.ndarray, cells: np.ndarray | None = None) -> dict[str, Any]:
    """Say whether an embedding is degenerate, by criteria that do not depend on its scale.

    An embedding is *collapsed* if its spread (root mean square distance from the mean) is below 1e-3 of the norm of
    its mean: a constant plus tiny noise. Scaling a legitimate embedding scales both alike, and centred embeddings
    (principal components, most latent spaces with a prior at 0) have a mean far below their spread; an embedding
    that is merely small is not flagged. A spread below 1e-6 of the largest absolute value is the noise of float32
    and is collapsed too, and so is a spread of exactly zero. An embedding is *filled with duplicates* if
    fewer than half of its observations are distinct points; halves of one cell on one point are a perfect
    pairing and count as one observation.

    Parameters
    ----------
    values
        Observations x dimensions.
    cells
        int, one an observation: halves of one cell share it, negative where unknown. Left out, each is a cell.

    Returns
    -------
    dict
        ``degenerate`` (bool, any of the following), ``collapsed`` (bool), ``duplicate_fraction`` (share of the
        observations that repeat one of another cell, in [0, 1]), ``relative_spread`` (spread over norm of the mean; inf
        where the mean is 0), ``finite`` (bool), ``reason`` (text, empty if not degenerate).
    """
    values = np.asarray(values)
    result = {
        "degenerate": True,
        "collapsed": False,
        "duplicate_fraction": 0.0,
        "relative_spread": float("nan"),
        "finite": True,
        "reason": "",
    }
    if values.ndim != 2 or values.shape[1] == 0 or len(values) == 0:
        return result | {"reason": "the embedding is empty"}
    if not np.isfinite(values).all():
        return result | {"finite": False, "reason": "the embedding holds NaN or infinite values"}
    largest = float(np.abs(values).max())
    if largest > 0:
        # In units of the largest value: squares neither overflow nor vanish.
        values = values.astype(np.float64) / largest
    else:
        values = values.astype(np.float64)
    mean = values.mean(axis=0)
    spread = float(np.sqrt(np.square(values - mean).sum(axis=1).mean()))
    norm = float(np.linalg.norm(mean))
    points = np.unique(np.ascontiguousarray(values).view([("", values.dtype)] * values.shape[1]), return_inverse=True)[
        1
    ]
    result["duplicate_fraction"] = _duplicates(points.ravel(), cells)
    result["relative_spread"] = spread / norm if norm > 0 else (float("inf") if spread > 0 else 0.0)
    reasons = []
    if len(values) > 1:
        if spread <= FLOAT_NOISE or result["relative_spread"] < RELATIVE_SPREAD:
            result["collapsed"] = True
            reasons.append(f"collapsed: its spread is {result['relative_spread']:.1e} of the norm of its mean")
        if result["duplicate_fraction"] > DUPLICATE_FRACTION:
            reasons.append(f"{result['duplicate_fraction']:.0%} of the observations are duplicates")
    result["degenerate"] = bool(reasons)
    result["reason"] = "; ".join(reasons)
    return result


def _duplicates(points: np.ndarray, cells: np.ndarray | None) -> float:
    """Share of observations on a point where there was one before, with one observation for each (cell, point)."""
    distinct, counted = int(points.max()) + 1, len(points)
    if cells is not None:
        cells = np.where(cells >= 0, cells, int(cells.max(initial=0)) + 1 + np.arange(len(cells)))
        counted = len(np.unique(cells * distinct + points))
    return 1.0 - distinct / counted


def degenerate(context) -> float:
    """1 if the embedding is degenerate (see :func:`diagnostics`), else 0."""
    return float(context.diagnostics["degenerate"])


METRICS = [
    Metric(
        name="degenerate",
        title="Degenerate",
        family="diagnostics",
        compute=degenerate,
        range=(0.0, 1.0),
        direction="lower",
        group="diagnostics",
        needs=("embedding",),
        paper="MosaicBench",
        equation="[spread / |mean| < 1e-3 or spread <= 1e-6 max|x| or more than half of the observations are duplicates of other cells']",
        description=(
            "A flag, not a score: 1 for a collapsed embedding (a constant plus noise) and one filled with duplicates, "
            "which some metrics reward (batch ASW 1.0, label ASW 0.5). Flagged embeddings are shown and not ranked."
        ),
    )
]
"""The flag."""
