"""Files of data sets that were replaced after results had been made from them: told by their checksums."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import time
from pathlib import Path

from benchmarks.datasets.registry import DatasetEntry, is_there
from benchmarks.errors import InputError
from benchmarks.formats import file_sha256, read_json, write_json
from workflow.planning import Plan

_SEEN = "sources_seen.json"
"""Beside the prepared data: size, times and number of each source file when its checksum was last computed."""


def check_unchanged(plan: Plan, results_dir: Path, remember: bool = True) -> None:
    """Compare the sources of all prepared data sets with those that they were prepared from.

    A file is read only if its size, times or inode are others than when it was read last.

    Parameters
    ----------
    plan, results_dir
        The study's plan, and the folder of its results.
    remember
        Whether to write down what was found, so that the next call need not read the files.

    Raises
    ------
    InputError
        One line a file that has another content, or that is dated in the future, with the remedies.
    """
    problems = [text for texts in _changed(plan, results_dir, remember).values() for text in texts]
    for entry in _entries(plan).values():
        for _, path in _files(entry, plan.study.data_dir):
            # Snakemake refuses to make a file that would be older than what it is made from.
            if os.stat(path).st_mtime > time.time() + 60:
                problems.append(
                    f"{entry.where}: {path} is dated in the future; set the clock right or give the file the present "
                    f"time: touch {shlex.quote(str(path))}"
                )
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


def forget_changed(plan: Plan, results_dir: Path) -> list[str]:
    """Remove all that was made from data sets whose files have changed; return the folders' names of these data sets.

    The tables of every study that uses them lose their mark of being done, so that their next runs make them anew.
    """
    changed = list(_changed(plan, results_dir, remember=False))
    shared = results_dir / "shared"
    for key in changed:
        # First what is made last: if this is broken off, the next call finds the data set changed again.
        for study in results_dir.glob("*/plan.json"):
            if key in study.read_text(encoding="utf-8"):
                (study.parent / "scores.parquet").unlink(missing_ok=True)
        for folder in (*shared.glob(f"scores/*/{key}"), shared / "runs" / key, shared / "designs" / key):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (_SEEN, "data.h5mu", "summary.json"):
            (shared / "datasets" / key / name).unlink(missing_ok=True)
    return changed


def _changed(plan: Plan, results_dir: Path, remember: bool) -> dict[str, list[str]]:
    """Folder of each prepared data set of which a file has another content -> one line a file."""
    changed: dict[str, list[str]] = {}
    for key, entry in _entries(plan).items():
        folder = results_dir / "shared" / "datasets" / key
        files = dict(_files(entry, plan.study.data_dir))
        if not files or not (folder / "summary.json").is_file():
            continue
        known = {source["role"]: source["sha256"] for source in read_json(folder / "summary.json").get("sources", [])}
        seen, found = _read_seen(folder / _SEEN), {}
        for role, path in files.items():
            found[role] = [known.get(role), *_look(path)]
            if role in known and seen.get(role) != found[role] and (sha256 := file_sha256(path)) != known[role]:
                changed.setdefault(key, []).append(
                    f"{entry.where}: {path} is not the file that the results were made from (SHA-256 {sha256}, was "
                    f"{known[role]}); put that file back, register this one under another name, or remove what was made "
                    "from it: python -m workflow forget-data --configfile STUDY"
                )
        if remember and found != seen and key not in changed:
            with contextlib.suppress(InputError, OSError):
                write_json(folder / _SEEN, found)
    return changed


def _entries(plan: Plan) -> dict[str, DatasetEntry]:
    """Folder of a prepared data set -> its entry in the registry."""
    by_name = {item.name: item.entry for item in plan.study.datasets}
    return {dataset.key: by_name[dataset.name] for dataset in plan.datasets}


def _files(entry: DatasetEntry, data_dir: str | None) -> list[tuple[str, Path]]:
    """Role and path of each file, if all are there; downloads have a declared checksum, and are checked by it."""
    from benchmarks.datasets.prepare import each_file

    if entry.format == "simulated":
        return []
    try:
        paths = entry.resolve(data_dir, Path("downloads"))
        local = {role: path for role, path in paths.items() if role not in entry.url}
        # A study can be planned, and its results be read, where its data are not.
        return list(each_file(entry, local)) if all(map(is_there, local.values())) else []
    except InputError:
        return []


def _look(path: Path) -> list[int]:
    """What changes when a file does: its change time cannot be set by hand, as its modification time can."""
    facts = os.stat(path)
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _read_seen(path: Path) -> dict[str, list]:
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
