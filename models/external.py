"""A model that is a program: reached by files and a command line only, in whatever language and environment.

``command`` of a subclass names the program; it is started in a folder with

=============================  ======================================================================
file                           content
=============================  ======================================================================
``<modality>.mtx``             matrix-market, raw counts, features x cells
``<modality>_features.tsv``    ``feature`` and, for peaks, ``chrom``, ``start``, ``end``; in the matrix's order
``<modality>_cells.tsv``       ``cell``, in the matrix's order: the observations that have this modality
``obs.tsv``                    ``cell``, ``batch``, ``group`` of all observations
``settings.tsv``               ``name``, ``value`` of each hyperparameter, and of ``seed`` and ``threads``
``embedding.csv`` (result)     with a header; cell name, then one column a dimension; rows in any order
``notes.txt`` (result)         optional: warnings for the run record, one a line
=============================  ======================================================================

What the program prints goes to the training's log. An exit status other than 0 is a failed run, with the last line
printed as the reason; a program that is not there makes the run ``not_available``.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from abc import abstractmethod
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.formats import Multimodal
from models.base import IntegrationModel, NotAvailableError


class ExternalModel(IntegrationModel):
    """Base of models that are programs. A subclass gives ``declaration`` and :meth:`command`."""

    remedy = "install it, or put it on PATH"
    """What to do where the program is missing: the end of the reason in the run record."""

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments; it is started in the folder of the files, without a shell."""

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Write the files, run the program, read the embedding.

        Raises
        ------
        NotAvailableError
            If the program is not there.
        RuntimeError
            If it ended with another status than 0, or left no usable embedding.
        """
        command = [str(part) for part in self.command()]
        if shutil.which(command[0]) is None:
            raise NotAvailableError(f"{command[0]} is not on this machine: {self.remedy}")
        with tempfile.TemporaryDirectory(prefix="external-") as name:
            folder = Path(name)
            threads = os.environ.get("OMP_NUM_THREADS", "1")
            write_design(folder, design, {**self.hyperparameters, "seed": seed, "threads": threads})
            _run(command, folder)
            self._embedding = read_embedding(folder / "embedding.csv", design.obs.index)
            notes = folder / "notes.txt"
            if notes.is_file():
                self.warnings += [line for line in notes.read_text(encoding="utf-8").splitlines() if line.strip()]

    def embed(self) -> np.ndarray:
        """The program's embedding, observations x latent."""
        return self._embedding.astype(np.float32)


def write_design(folder: Path, design: Multimodal, settings: dict[str, object]) -> None:
    """Write a design as the files of this module's table."""
    from scipy.io import mmwrite

    for modality in design.modalities:
        # Whole numbers by contract: as such they are exact, and shorter.
        mmwrite(folder / f"{modality}.mtx", design.counts[modality].T.astype(np.int64), field="integer")
        var = design.var[modality]
        features = pd.DataFrame({"feature": var.index.astype(str)})
        for column in ("chrom", "start", "end"):
            if column in var:
                features[column] = var[column].to_numpy()
        _write(folder / f"{modality}_features.tsv", features)
        cells = design.obs.index[design.rows[modality]]
        _write(folder / f"{modality}_cells.tsv", pd.DataFrame({"cell": cells.astype(str)}))
    obs = design.obs[[name for name in ("batch", "group") if name in design.obs]].astype(str)
    _write(folder / "obs.tsv", obs.rename_axis("cell").reset_index())
    pairs = {name: "" if value is None else str(value) for name, value in settings.items()}
    _write(folder / "settings.tsv", pd.DataFrame({"name": list(pairs), "value": list(pairs.values())}))


def read_embedding(path: Path, cells: pd.Index) -> np.ndarray:
    """The embedding in the order of `cells`: float64, observations x latent.

    Raises
    ------
    RuntimeError
        If the file is missing, or its cells are not these, each once.
    """
    if not path.is_file():
        raise RuntimeError(f"the program left no {path.name}")
    # Names stay text: a cell may be called 001 or NA.
    table = pd.read_csv(path, dtype={0: str}, na_filter=False, encoding="utf-8")
    table = table.set_index(table.columns[0])
    if not table.index.is_unique or set(table.index) != set(cells.astype(str)):
        raise RuntimeError(f"{path.name} has {len(table)} rows; wanted each of the {len(cells)} cells of obs.tsv once")
    try:
        return table.loc[cells.astype(str)].to_numpy(dtype=float)
    except ValueError as error:
        raise RuntimeError(f"{path.name} holds something that is no number ({error})") from error


def _run(command: list[str], folder: Path) -> None:
    """Run the program to its end, its output going to the log line by line."""
    last = ""
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )  # fmt: skip
    for line in process.stdout:
        sys.stderr.write(line)
        last = line.strip() or last
    if process.wait():
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}: {last[:300]}")


def _write(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_NONE, escapechar="\\", lineterminator="\n")
