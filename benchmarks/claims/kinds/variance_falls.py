"""The variance over subsamples falls with the number of cells."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import Finding, NotTestable, above, attempt
from benchmarks.claims.keys import Key
from benchmarks.statistics.variance import FEWEST

KEYS = {"models": Key("models")}
NEEDS_METRICS = True


def slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """Slope of log variance on log size; `values` is replicates x sizes. NaN if a variance is exactly 0."""
    x = np.log(np.asarray(sizes, dtype=float))
    x = x - x.mean()
    variances = (values - values[0]).var(axis=0, ddof=1)
    return float(np.log(variances) @ x / (x @ x)) if (variances > 0).all() else float("nan")


def pseudo_values(sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values of :func:`slope`, one a replicate: whole replicates are left out, since sizes nest."""
    r = len(values)
    whole = slope(sizes, values)
    return np.array([r * whole - (r - 1) * slope(sizes, np.delete(values, number, axis=0)) for number in range(r)])


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: the mean of minus the slope over pseudo-values, 1 being the variance of a mean of n cells."""
    result = []
    for model in test["models"]:
        label = f"variance of {model}, {metric}"

        def measure(model=model, label=label) -> Finding:
            return above(label, _pseudo_values(evidence.values(model, metric)))

        result.append(attempt(label, measure))
    return result


def _pseudo_values(table) -> np.ndarray:
    """Pseudo-values of all series of a model; a data set counts once, with its fractions averaged."""
    found = []
    for _, part in table.groupby("dataset", sort=True):
        by_fraction = []
        for _, series in part.groupby("unpaired_fraction", sort=True):
            wide = series.pivot_table(index="block", columns="n_cells", values="value")
            wide = wide.loc[:, wide.notna().sum() >= FEWEST].dropna()
            if wide.shape[1] >= 2 and len(wide) >= FEWEST:
                by_fraction.append((wide.index, pseudo_values(wide.columns.to_numpy(float), wide.to_numpy(float))))
        by_fraction = [item for item in by_fraction if not np.isnan(item[1]).any()]
        # Pseudo-values of a replicate at several fractions are about the same cells: one number a replicate.
        blocks = sorted({block for index, _ in by_fraction for block in index})
        for block in blocks:
            found.append(np.mean([values[index.get_loc(block)] for index, values in by_fraction if block in index]))
    if not found:
        raise NotTestable("missing design", "no data set has two sizes and four replicates with a variance above 0")
    return -np.array(found)
