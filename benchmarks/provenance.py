"""Provenance: what a result was made with."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Mapping

from benchmarks.formats import SCHEMA_VERSION

_PACKAGES = (
    "anndata", "faiss-cpu", "igraph", "matplotlib", "mofapy2", "mudata", "muon", "numpy", "pandas", "pyarrow", "scanpy",
    "scikit-learn", "scipy", "scvi-tools", "snakemake", "torch", "umap-learn",
)  # fmt: skip


def provenance(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, commit, configuration, seeds, date and machine, as JSON-like facts."""
    runs = plan["runs"]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": plan["study"],
        "description": plan["description"],
        "config": plan["config"],
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "seeds": {
            "training": sorted({run["seed"] for run in runs}),
            "replicates": sorted({run["replicate"] for run in runs}),
        },
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """The commit of this code, with ``+changes`` if the tree differs from it; ``unknown`` outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True, timeout=20
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")
