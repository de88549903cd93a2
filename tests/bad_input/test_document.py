"""The table of docs/bad_input.md counts what is there."""

from __future__ import annotations

import re
from collections import Counter

from tests.bad_input.data_cases import data_cases
from tests.bad_input.registry_cases import registry_cases, variant_cases
from tests.bad_input.study_cases import cases
from tests.bad_input.test_command_line import CASES


def test_the_table_is_that_of_the_corpus(root):
    text = (root / "docs" / "bad_input.md").read_text(encoding="utf-8")
    table = {kind: int(number) for kind, number in re.findall(r"^\| ([^|]+: [^|]+) \| (\d+) \|", text, flags=re.M)}
    counted = Counter(f"study: {case.kind}" for case in cases())
    counted.update(f"registry: {case.kind}" for case in (*registry_cases(), *variant_cases()))
    counted.update(f"data: {case.kind}" for case in data_cases())
    counted["command: a process of its own"] = len(CASES)
    assert table == dict(counted)
    assert sum(table.values()) > 150
