"""Counts to R and an embedding back, by files and an argument list; the R side is ``models/r/exchange.R``.

=============================  ======================================================================
file                           content
=============================  ======================================================================
``<modality>.mtx``             matrix-market, features x cells
``<modality>_features.tsv``    column ``feature``, in the order of the matrix
``<modality>_cells.tsv``       column ``cell``, in the order of the matrix
``obs.tsv``                    columns ``cell``, ``batch``, ``group``, all observations
``settings.tsv``               columns ``name``, ``value``
``embedding.csv`` (from R)     cell name first, then one column a dimension
``versions.tsv`` (from R)      columns ``name``, ``version``
``notes.txt`` (from R)         one warning a line
``error.txt`` (from R)         stage and message, where R stopped
=============================  ======================================================================
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from models.base import NotAvailableError

SCRIPTS = Path(__file__).resolve().parent.parent / "r"
"""Folder of the R scripts."""

REMEDY = "apt-get install r-cran-seurat (Debian 12), or conda with envs/seurat.yaml"


@dataclass
class Answer:
    """What R left: ``embedding`` (float64, observations x dimensions), package versions and warnings."""

    embedding: np.ndarray
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def rscript() -> str:
    """Path of Rscript.

    Raises
    ------
    NotAvailableError
        If there is none on PATH.
    """
    path = shutil.which("Rscript")
    if path is None:
        raise NotAvailableError(f"no Rscript on PATH: {REMEDY}")
    return path


def check_seurat() -> str:
    """Version of the installed Seurat, asked of R without loading it.

    Raises
    ------
    NotAvailableError
        If R, or Seurat in version 4, is missing.
    """
    code = 'cat(tryCatch(as.character(packageVersion("Seurat")), error = function(e) "none"))'
    done = subprocess.run(
        [rscript(), "--vanilla", "-e", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    version = done.stdout.strip()
    if done.returncode != 0:
        raise NotAvailableError(f"R does not start ({' '.join(done.stderr.split())[:200]}): {REMEDY}")
    if version == "none":
        raise NotAvailableError(f"R has no package Seurat: {REMEDY}")
    if version.split(".")[0] != "4":
        raise NotAvailableError(f"R has Seurat {version}, and the models are calls of Seurat 4: {REMEDY}")
    return version


def write_counts(
    folder: Path, modality: str, counts: sp.spmatrix, features: pd.Index, cells: pd.Index | np.ndarray
) -> None:
    """Write one modality: `counts` is cells x features, as everywhere here; the file has features x cells."""
    from scipy.io import mmwrite

    turned = sp.coo_matrix(counts).T
    whole = not len(turned.data) or np.array_equal(turned.data, np.rint(turned.data))
    mmwrite(folder / f"{modality}.mtx", turned.astype(np.int64) if whole else turned, symmetry="general")
    _write_table(folder / f"{modality}_features.tsv", {"feature": np.asarray(features, dtype=object)})
    _write_table(folder / f"{modality}_cells.tsv", {"cell": np.asarray(cells, dtype=object)})


def write_observations(folder: Path, obs: pd.DataFrame) -> None:
    """Write ``obs.tsv``: names, and of the columns ``batch`` and ``group`` those that there are."""
    columns = {name: obs[name].astype(str).to_numpy() for name in ("batch", "group") if name in obs.columns}
    _write_table(folder / "obs.tsv", {"cell": obs.index.to_numpy(), **columns})


def write_settings(folder: Path, settings: Mapping[str, object]) -> None:
    """Write ``settings.tsv``."""
    _write_table(folder / "settings.tsv", {"name": list(settings), "value": [str(x) for x in settings.values()]})


def run_script(name: str, folder: Path, cells: pd.Index) -> Answer:
    """Run ``models/r/<name>`` on the files in `folder` and read what it left.

    R's output goes where this process's goes. It is an own process, started without a shell; the names in the data
    are in the files alone.

    Raises
    ------
    RuntimeError
        If R stopped with an error; the message is R's own, with the stage in which it came.
    MemoryError
        If R could not allocate memory, or was killed.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", threads),
        "R_DATATABLE_NUM_THREADS": threads,
        # Names may hold any character; sorting must not depend on the machine's language.
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [rscript(), "--vanilla", str(SCRIPTS / name), str(SCRIPTS), str(folder)],
        stdin=subprocess.DEVNULL,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise _failure(folder, done.returncode)
    return Answer(read_embedding(folder, cells), _read_versions(folder), _read_notes(folder))


def read_embedding(folder: Path, cells: pd.Index) -> np.ndarray:
    """Read ``embedding.csv``; its rows must be `cells` in their order.

    Raises
    ------
    RuntimeError
        If the file is missing, or has other cells.
    """
    path = folder / "embedding.csv"
    if not path.is_file():
        raise RuntimeError("R delivered no embedding")
    table = pd.read_csv(path, dtype={0: str}, na_filter=False, encoding="utf-8")
    if not np.array_equal(table.iloc[:, 0].to_numpy(dtype=object), cells.to_numpy(dtype=object)):
        raise RuntimeError("the cells of R's embedding are not those of the design")
    # R writes NA for a missing value; the runner refuses it by name.
    return table.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)


def _failure(folder: Path, code: int) -> Exception:
    path = folder / "error.txt"
    if code == -signal.SIGKILL:
        return MemoryError("R was killed by signal 9, probably by the kernel for memory")
    message = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    if "cannot allocate" in message:
        return MemoryError(message)
    return RuntimeError(message or f"R ended with status {code} and no message; see the log")


def _read_versions(folder: Path) -> dict[str, str]:
    path = folder / "versions.tsv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, sep="\t", dtype=str)
    return dict(zip(table["name"], table["version"]))


def _read_notes(folder: Path) -> list[str]:
    path = folder / "notes.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _write_table(path: Path, columns: Mapping[str, object]) -> None:
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, lineterminator="\n", encoding="utf-8")
