"""Models that misbehave, each in one way, for the tests of the runner (named there as ``bad_models:Class``)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.formats import Prediction
from models.base import Declaration, DivergedError, IntegrationModel, NotAvailableError

_SETS = (("rna",), ("rna", "atac"))


def _declare(**changes):
    settings = {
        "unpaired": True,
        "needs_paired": False,
        "defaults": {"note": ""},
        "origins": {"note": "test"},
    } | changes
    return Declaration(name="bad", title="Bad", summary="Misbehaves.", kind="composed", modality_sets=_SETS, **settings)


class Good(IntegrationModel):
    """Behaves; the others derive from it."""

    declaration = _declare()

    def fit(self, design, seed, device):
        self.n, self.rng, self.design = design.n_obs, np.random.default_rng(seed), design

    def embed(self):
        return self.rng.standard_normal((self.n, 3)).astype(np.float32)

    def mark(self, text):
        """Tell the test something through the file that the hyperparameter names."""
        path = Path(self.hyperparameters["note"])
        path.with_suffix(".part").write_text(str(text))
        path.with_suffix(".part").rename(path)


class Environment(Good):
    """Says what it finds around it."""

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        Path("left_behind.txt").write_text("a stray file")
        pools = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
        self.warnings += [f"modalities {','.join(design.modalities)}", f"pools {sorted(set(pools.values()))}"]
        self.warnings.append(f"truth {hasattr(self, 'truth')}")


class Raises(Good):
    def fit(self, design, seed, device):
        raise ValueError("the loss\nwent away")


class Exits(Good):
    """As mofapy2 does when it gives up."""

    def fit(self, design, seed, device):
        sys.exit("giving up")


class Diverges(Good):
    def fit(self, design, seed, device):
        for epoch in range(1, 5):
            self.progress(epoch, 10, train=1.0 if epoch < 3 else float("nan"))


class DivergesByName(Good):
    def fit(self, design, seed, device):
        raise DivergedError("loss grew without bound")


class Unavailable(Good):
    def fit(self, design, seed, device):
        raise NotAvailableError("package x is not installed; run make env x")


class ImportsMissing(Good):
    def fit(self, design, seed, device):
        import a_package_that_nobody_has  # noqa: F401


class OutOfMemory(Good):
    def fit(self, design, seed, device):
        raise MemoryError("no room")


class Hangs(Good):
    def fit(self, design, seed, device):
        if self.hyperparameters["note"]:
            self.mark(os.getpid())
        time.sleep(600)


class IgnoresTerm(Good):
    def fit(self, design, seed, device):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


class Allocates(Good):
    def fit(self, design, seed, device):
        self.blocks = []
        while True:
            self.blocks.append(np.ones(4 << 20))
            time.sleep(0.01)


class AllocatesInGrandchild(Good):
    def fit(self, design, seed, device):
        code = "import time\nx = []\nwhile True:\n    x.append(bytearray(b'1' * (32 << 20)))\n    time.sleep(0.01)"
        subprocess.run([sys.executable, "-c", code], check=False)


class KillsItself(Good):
    def fit(self, design, seed, device):
        os.kill(os.getpid(), signal.SIGKILL)


class Segfaults(Good):
    def fit(self, design, seed, device):
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class ExitsSilently(Good):
    """Exit status 0, nothing delivered."""

    def fit(self, design, seed, device):
        os._exit(0)


class ExitsWithStatus(Good):
    def fit(self, design, seed, device):
        print("fatal: no licence", flush=True)
        os._exit(7)


class NotANumber(Good):
    def embed(self):
        values = super().embed()
        values[1, 1] = np.nan
        return values


class Overflows(Good):
    """Finite in float64, infinite in float32."""

    def embed(self):
        return super().embed().astype(np.float64) * 1e300


class WrongShape(Good):
    def embed(self):
        return super().embed()[:-1]


class OneDimensional(Good):
    def embed(self):
        return super().embed()[:, 0]


class NoDimensions(Good):
    def embed(self):
        return super().embed()[:, :0]


class Objects(Good):
    def embed(self):
        return super().embed().astype(object)


class LeavesDaemon(Good):
    """Returns well, and leaves behind a process in a session of its own."""

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.mark(daemon.pid)


class ForksAndHangs(Good):
    def fit(self, design, seed, device):
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.mark(daemon.pid)
        time.sleep(600)


class Floods(Good):
    """Prints 50 MB."""

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        line = "x" * 1023 + "\n"
        for _ in range(50 * 1024):
            sys.stdout.write(line)


class Predicts(Good):
    declaration = _declare(predicts=True)

    def predict(self, modality):
        rows = np.flatnonzero(~self.design.has(modality))[::-1]
        mean = np.tile(rows[:, None].astype(np.float32), (1, len(self.design.var[modality])))
        return Prediction(mean, rows)


class PredictsWrongly(Predicts):
    def predict(self, modality):
        prediction = super().predict(modality)
        return Prediction(prediction.mean[:, :-1], prediction.rows)


class PairedOnly(Good):
    declaration = _declare(unpaired=False)


class NotAModel:
    """Not even one."""


class PackageMissing(Good):
    @classmethod
    def load_packages(cls):
        import a_package_that_nobody_has  # noqa: F401


class SlowImport(Good):
    """Takes a second to import what it needs."""

    @classmethod
    def load_packages(cls):
        time.sleep(1)


class Elsewhere(Good):
    """Needs an environment of its own, and says which interpreter it met."""

    declaration = _declare(environment="elsewhere")

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        self.warnings.append(f"interpreter {os.environ.get('INTERPRETER')}")


class SaysItsKernels(Good):
    """Says which kernels PyTorch would use."""

    @classmethod
    def load_packages(cls):
        import torch  # noqa: F401

    def fit(self, design, seed, device):
        import torch

        super().fit(design, seed, device)
        workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
        self.warnings.append(f"deterministic {torch.are_deterministic_algorithms_enabled()}, workspace {workspace}")


class TakesItsTime(Good):
    """Four epochs of a twentieth of a second, then a slow embedding."""

    def fit(self, design, seed, device):
        super().fit(design, seed, device)
        for epoch in range(1, 5):
            time.sleep(0.05)
            self.progress(epoch, 4, loss=2.0)

    def embed(self):
        time.sleep(0.5)
        return super().embed()
