"""The contract that every model fulfils, and the declaration by which it is planned."""

from __future__ import annotations

import math
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping

import numpy as np

from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import Multimodal, Prediction
from models.checkpoint import Checkpoint


class DivergedError(RuntimeError):
    """Training went to NaN, to infinity, or away without return; the run is recorded as ``diverged``."""


class NotAvailableError(RuntimeError):
    """What a model needs is not installed; the run is recorded as ``not_available`` with the remedy."""


class NotApplicableError(InputError):
    """The design lacks what a model cannot do without; the run is recorded as ``not_applicable`` with the reason.

    For what the planner cannot know, since it reads no data: coordinates of genes, for one.
    """


@dataclass(frozen=True)
class Declaration:
    """What a model is and what it can take. The planner reads this, never the user's wishes.

    Attributes
    ----------
    name
        Registry name: lower case, words joined by hyphens.
    title
        Name as its authors write it.
    summary
        One sentence: what the model does.
    kind
        ``control``, ``composed`` (written here from a paper), ``wrapped`` (a package) or ``r``.
    paper
        Citation with DOI; empty for controls.
    licence
        Licence of the wrapped software or, for composed models, of this repository.
    modality_sets
        The sets of modalities that the model can be trained on. The planner gives it the largest one that the
        data set has; a data set with none of them is ``not applicable``.
    unpaired
        Whether observations that lack some of the modalities may be present.
    needs_paired
        Whether at least some observations must have every modality.
    batches
        Whether the model corrects for batches.
    predicts
        Whether it predicts a missing modality.
    uncertainty
        Whether the prediction comes with a standard deviation.
    needs_truth
        True for controls alone: they are handed the truth.
    embeds_new_cells
        Whether it can place, and reconstruct, cells that it has not learned from (see :func:`may_learn_from`).
    environment
        Name of the environment in ``envs/`` that runs it.
    gpu
        Whether a GPU is of use.
    version
        Raise it when the model's code changes its results: finished runs are then trained again.
    defaults
        Hyperparameters with their default values; nothing else may be set.
    origins
        For each hyperparameter, where its default comes from.
    choices
        For each hyperparameter that is a text out of a closed set: the set. A study that sets another one is refused
        when it is planned, where the model would train something else or fail.
    """

    name: str
    title: str
    summary: str
    kind: str
    modality_sets: tuple[tuple[str, ...], ...]
    paper: str = ""
    licence: str = "BSD-3-Clause"
    unpaired: bool = False
    needs_paired: bool = True
    batches: bool = False
    predicts: bool = False
    uncertainty: bool = False
    needs_truth: bool = False
    embeds_new_cells: bool = False
    environment: str = "main"
    gpu: bool = False
    version: int = 1
    defaults: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def modalities_for(self, available: tuple[str, ...]) -> tuple[str, ...] | None:
        """The modalities that the model uses of those `available`; ``None`` if it cannot use them."""
        fitting = [names for names in self.modality_sets if set(names) <= set(available)]
        return max(fitting, key=len) if fitting else None

    def reason_not_applicable(self, available: tuple[str, ...], unpaired_fraction: float) -> str | None:
        """Why the model cannot run on such a design, or ``None`` if it can."""
        modalities = self.modalities_for(available)
        if modalities is None:
            wanted = " or ".join("+".join(names) for names in self.modality_sets)
            return f"takes {wanted}; the data set has {'+'.join(available)}"
        if unpaired_fraction > 0 and not self.unpaired:
            return "takes paired cells only"
        if unpaired_fraction >= 1 and self.needs_paired:
            return "needs some paired cells"
        return None

    def hyperparameters(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults with `overrides`; an unknown name, or a value of another kind, is an :class:`InputError`.

        Another kind is another type, nothing where the default is something, a number that is not finite, or one below
        zero where the default counts something; or a text that is none of the declared ``choices``. Which numbers
        make sense is otherwise for the model to say.
        """
        for name, value in overrides.items():
            if name not in self.defaults:
                raise InputError(
                    f"model {self.name!r} has no hyperparameter {name!r}{did_you_mean(name, self.defaults)}"
                )
            default = self.defaults[name]
            if not _finite(value):
                raise InputError(
                    f"model {self.name!r}: hyperparameter {name!r} is {value!r}; give finite numbers (the default is {default!r})"
                )
            if default is not None and not _same_kind(value, default):
                raise InputError(
                    f"model {self.name!r}: hyperparameter {name!r} is {value!r}; give {_kind_name(default)} (the default is {default!r})"
                )
            if name in self.choices and value not in self.choices[name]:
                allowed = ", ".join(map(repr, self.choices[name]))
                raise InputError(
                    f"model {self.name!r}: hyperparameter {name!r} is {value!r}; give one of {allowed} (the default is {default!r})"
                )
        return {**self.defaults, **overrides}


def _same_kind(value: Any, default: Any) -> bool:
    """Whether `value` can stand for `default`: a whole number also for a number with decimals, nothing for a switch."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, int):
        return isinstance(value, int) and (value >= 0 or default <= 0)
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple))
    return isinstance(value, type(default))


def _finite(value: Any) -> bool:
    """Whether the numbers in `value` are finite, and whole ones of a size that other languages know (64 bits)."""
    if isinstance(value, (list, tuple)):
        return all(map(_finite, value))
    if isinstance(value, int):
        return abs(value) < 2**63
    return not isinstance(value, float) or math.isfinite(value)


def _kind_name(default: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number of at least 0" if isinstance(default, int) and default > 0 else "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        tuple: "a list",
    }
    return names.get(type(default), f"a {type(default).__name__}")


def may_learn_from(design: Multimodal) -> np.ndarray:
    """Boolean mask over the observations: those that training may use, which are all but test cells.

    Test cells (``obs["split"] == "test"``) come with all of their modalities. A model that declares
    ``embeds_new_cells`` places them when it has been trained, and ``predict`` reconstructs their counts.
    """
    if "split" not in design.obs:
        return np.ones(design.n_obs, dtype=bool)
    return (design.obs["split"].astype(str) != "test").to_numpy()


class IntegrationModel(ABC):
    """A model under test: ``fit``, then ``embed`` and, where it declares so, ``predict``.

    A subclass sets ``declaration`` at class level and imports heavy packages inside its methods: the planner
    imports every module of the registry. It raises :class:`DivergedError` when training diverges; any other
    exception is recorded as ``failed`` with its message.

    Attributes
    ----------
    checkpoint
        What a ``resumable`` model keeps the state of its training in, and goes on from; ``None`` for none. The runner
        sets it before ``fit``.
    """

    declaration: ClassVar[Declaration]
    resumable: ClassVar[bool] = False
    checkpoint: Checkpoint | None = None

    def __init__(self, **hyperparameters: Any) -> None:
        self.hyperparameters = self.declaration.hyperparameters(hyperparameters)
        self.loss_history: dict[str, list[float]] = {}
        self.epochs: int | None = None
        self.warnings: list[str] = []
        self.versions: dict[str, str] = {}  # of software outside Python, which the runner cannot see
        self._started = time.monotonic()

    @classmethod
    def load_packages(cls) -> None:
        """Import what training needs. The runner calls this first, so that a run's seconds are those of the training.

        Raises
        ------
        ImportError
            If a package is missing; the run is recorded as ``not_available``.
        """
        if cls.declaration.gpu:
            import torch  # noqa: F401

    @abstractmethod
    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on a visible design.

        Parameters
        ----------
        design
            Raw counts; ``obs`` has ``batch`` and ``group``; ``uns["n_cell_types"]`` is a hint for mixture priors.
            Observations may lack modalities (see :attr:`Multimodal.rows`) if the declaration allows it, and some may
            be test cells (see :func:`may_learn_from`), likewise.
        seed
            Seeds every random number that the model draws.
        device
            ``cpu`` or ``cuda``.
        """

    @abstractmethod
    def embed(self) -> np.ndarray:
        """Return the embedding of all observations of the design: float32, observations x latent."""

    def predict(self, modality: str) -> Prediction:
        """Predict `modality` for the observations that lack it, and reconstruct it for the test cells if there are any."""
        raise NotImplementedError(f"{self.declaration.name} does not predict")

    def components(self) -> np.ndarray | None:
        """Return the model's own mixture component of each observation, where it has a mixture."""
        return None

    def progress(self, epoch: int, total: int, **losses: float) -> None:
        """Record one epoch's losses, print epoch, losses and time left, and stop if a loss is not finite.

        Raises
        ------
        DivergedError
            If a loss is NaN or infinite.
        """
        self.epochs = epoch
        for name, value in losses.items():
            self.loss_history.setdefault(name, []).append(float(value))
        if any(not np.isfinite(value) for value in losses.values()):
            raise DivergedError(f"loss is not finite in epoch {epoch} of {total}: {losses}")
        if epoch == 1 or epoch == total or epoch % max(1, total // 20) == 0:
            elapsed = time.monotonic() - self._started
            if self.checkpoint is not None:
                elapsed += self.checkpoint.before.get("wall_seconds", 0.0)
            left = elapsed / epoch * (total - epoch)
            text = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
            print(
                f"epoch {epoch}/{total}  {text}  {elapsed:.0f} s, about {left:.0f} s left", file=sys.stderr, flush=True
            )
