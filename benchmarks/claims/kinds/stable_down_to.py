"""Models lose no more than a margin when they get only so many cells."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from benchmarks.claims.evidence import Evidence
from benchmarks.claims.judgement import Finding, NotTestable, above, attempt
from benchmarks.claims.keys import Key

KEYS = {"models": Key("models"), "cells": Key("positive"), "largest": Key("positive"), "margin": Key("positive")}
NEEDS_METRICS = True


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a model: smallest size of ``cells`` or more against the largest size, not worse by the margin.

    Only blocks whose smallest size is below ten times ``cells`` and whose largest one is at least ``largest`` take
    part: others say nothing about the claim.
    """
    result = []
    for model in test["models"]:
        label = f"{model} with the fewest cells against the most, {metric}"

        def measure(model=model, label=label) -> Finding:
            table = evidence.along(model, metric, "n_cells", least=test["cells"])
            losses = []
            for _, block in table.groupby("block", sort=True):
                ends = block["n_cells"].min(), block["n_cells"].max()
                if ends[0] == ends[1] or ends[0] >= 10 * test["cells"] or ends[1] < test["largest"]:
                    continue
                small, large = (block.loc[block["n_cells"] == end, "value"].mean() for end in ends)
                losses.append(small - large)
            if not losses:
                limits = f"{test['cells']:g} to {10 * test['cells']:g} and with {test['largest']:g} or more"
                raise NotTestable("missing design", f"no replicate with {limits} cells")
            return above(label, np.array(losses), -test["margin"])

        result.append(attempt(label, measure))
    return result
