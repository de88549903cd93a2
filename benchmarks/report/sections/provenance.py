"""Where the numbers come from."""

from __future__ import annotations

import json
from typing import Any, Mapping

from benchmarks.report.section import Section, render
from benchmarks.report.study import Study

TITLES = {
    "date": "Date",
    "commit": "Commit",
    "mosaicbench": "MosaicBench",
    "command": "Command",
    "seeds": "Seeds",
    "machine": "Machine",
}
"""Entries that are shown first, with their titles; every other one follows under its own name."""


def section(study: Study) -> Section:
    """Version, commit, command, seeds, machine, package versions and the whole configuration."""
    provenance = dict(study.provenance)
    config, versions = provenance.pop("config", None), provenance.pop("versions", None)
    keys = [key for key in TITLES if key in provenance] + sorted(set(provenance) - set(TITLES))
    facts = [(TITLES.get(key, key.replace("_", " ").capitalize()), _text(provenance[key])) for key in keys]
    html = render(
        "provenance.html.j2",
        facts=facts,
        versions=sorted(versions.items()) if isinstance(versions, Mapping) else [],
        config=None
        if config is None
        else config
        if isinstance(config, str)
        else json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True),
        seeds=sorted(int(seed) for seed in study.runs["seed"].dropna().unique()),
    )
    return Section("provenance", "Provenance", html)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')}: {_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(value)
