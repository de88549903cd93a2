"""The examples of docs/python.md run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "python.md"


def test_the_examples_run():
    pytest.importorskip("torch")
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)
    genes, regions = (names["visible"].counts[name].shape[1] for name in ("rna", "atac"))
    assert names["accessibility"].shape == (300, regions) and names["walk"].shape == (21, genes)
    assert names["correlations"].shape == (10, genes) and len(names["highest"]) == 10
    assert names["peaks"].shape == (regions,) and np.abs(names["peaks"]).max() > 0
    assert names["cluster"].shape == (250,) and names["placed"].basal.shape == (50, 20)
