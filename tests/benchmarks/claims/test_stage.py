"""The statistics stage writes the table of claims beside the others."""

from __future__ import annotations

import numpy as np

from benchmarks.__main__ import main
from benchmarks.claims.registry import load_claims
from benchmarks.formats import read_table, write_table
from tests.benchmarks.claims.conftest import table


def test_claims_are_written_and_the_same_every_time(tmp_path):
    levels = {"portal": 0.7, "cobolt": 0.6, "multivi": 0.5, "scmm": 0.5, "scmvp": 0.5, "davae": 0.4}
    scores = table(
        lambda model, n, f, r: levels[model] + 0.01 * np.sin(r + n + ord(model[1])), models=tuple(levels), metric="nmi_louvain", datasets=("bmmc_multiome",)
    )  # fmt: skip
    runs = scores.drop(columns=["metric", "value"]).assign(
        collapsed=False, duplicate_fraction=0.0, wall_seconds=1.0, cpu_seconds=1.0, peak_rss_mb=1.0
    )
    for name, content in (("scores", scores), ("runs", runs)):
        write_table(tmp_path / f"{name}.parquet", content)
    contents = []
    for _ in range(2):
        assert main(["statistics", "--study-dir", str(tmp_path)]) == 0
        contents.append((tmp_path / "claims.tsv").read_bytes())
    assert contents[0] == contents[1]
    claims = read_table(tmp_path / "claims.parquet").set_index("claim")
    assert len(claims) == len(load_claims())
    assert claims.loc["nmi-portal-best", "verdict"] == "supported"
    assert claims.loc["nmi-cobolt-best-cite", "verdict"] == "not testable here"
