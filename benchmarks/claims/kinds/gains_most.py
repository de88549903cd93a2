"""One model gains more along an axis than each of others, or depends on it more."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from benchmarks.claims.evidence import Evidence, at_common_levels, change, changes, paired, without
from benchmarks.claims.judgement import Finding, NotTestable, above, attempt
from benchmarks.claims.keys import Key, Wrong

KEYS = {
    "model": Key("model"),
    "than": Key("models"),
    "along": Key(("n_cells", "unpaired_fraction")),
    "what": Key(("gain", "dependence"), required=False),
}
NEEDS_METRICS = True


def check(test: Mapping[str, Any]) -> None:
    """No model is compared with itself."""
    if test["model"] in test["than"]:
        raise Wrong(f"than: holds {test['model']!r} itself; take it out")


def findings(test: Mapping[str, Any], evidence: Evidence, metric: str) -> list[Finding]:
    """One finding a rival, on the designs that both have a value for.

    The difference of the two fitted changes in each block; with ``what: dependence`` the difference of their sizes
    whatever their signs, to which noise adds: a model whose values scatter more depends more.
    """
    along, what = test["along"], test.get("what", "gain")
    result = []
    for other in test["than"]:
        label = f"{what} of {test['model']} against {other}, {metric}"

        def measure(other=other, label=label) -> Finding:
            table = paired(*(evidence.along(name, metric, along) for name in (test["model"], other)))
            said = label + without(table, along)
            if what == "dependence":
                return above(said, _differences_of_sizes(table, along))
            # The slope is linear in the values, so that the slope of differences is the difference of slopes.
            table["value"] = table["value_first"] - table["value_second"]
            return above(said, changes(table, along))

        result.append(attempt(label, measure))
    return result


def _differences_of_sizes(table: Any, along: str) -> np.ndarray:
    """Size of the first model's change less that of the second one's, one a block."""
    both = [
        [abs(change(block, along, column)) for column in ("value_first", "value_second")]
        for _, block in at_common_levels(table, along).groupby("block", sort=True)
    ]
    found = np.array([first - second for first, second in both if not np.isnan(first)])
    if len(found) == 0:
        raise NotTestable("missing design", f"no replicate with both models has a range of {along}")
    return found
