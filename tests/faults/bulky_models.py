"""Models that take, print or hand over more than there is room for (named in tests as ``bulky_models:Class``)."""

from __future__ import annotations

import sys

import numpy as np

from models.base import Declaration, IntegrationModel


class Wide(IntegrationModel):
    """An embedding of half a megabyte for sixty cells."""

    declaration = Declaration(
        name="wide", title="Wide", summary="A large embedding.", kind="composed", modality_sets=(("rna", "atac", "protein"),),
        unpaired=True, needs_paired=False, defaults={}, origins={},
    )  # fmt: skip

    def fit(self, design, seed, device):
        self.values = np.random.default_rng(seed).standard_normal((design.n_obs, 1000)).astype(np.float32)

    def embed(self):
        return self.values


class PrintsAGigabyte(Wide):
    """Lines of a kilobyte, a million of them, and one last line."""

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        block = ("x" * 1023 + "\n") * 1024
        for _ in range(1024):
            sys.stdout.write(block)
        print("the last line", flush=True)


class Hungry(Wide):
    """Takes memory, 32 MB at a time, until somebody stops it."""

    def fit(self, design, seed, device):
        blocks = []
        while True:
            blocks.append(np.ones(4 << 20))


class Forks(Wide):
    """Starts a process in a session of its own, which outlives its parent, and then waits for long."""

    declaration = Declaration(
        name="forks", title="Forks", summary="Lingers.", kind="composed", modality_sets=(("rna", "atac", "protein"),),
        unpaired=True, needs_paired=False, defaults={"note": ""}, origins={"note": "test"},
    )  # fmt: skip

    def fit(self, design, seed, device):
        import os
        import subprocess
        import time
        from pathlib import Path

        lingering = subprocess.Popen(["sleep", "900"], start_new_session=True)
        note = Path(self.hyperparameters["note"])
        note.with_suffix(".part").write_text(f"{lingering.pid} {os.getcwd()}")
        note.with_suffix(".part").rename(note)
        time.sleep(900)
