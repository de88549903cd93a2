"""The one trainer: optimiser, warm-up, early stopping, clipping, divergence, checkpoint and resume, seeds."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Protocol

import numpy as np
import torch

from models.base import DivergedError
from models.checkpoint import Checkpoint
from models.parts.counts import DesignCounts, Minibatch


@dataclass(frozen=True)
class TrainingPlan:
    """How to train. The defaults are MultiVI's.

    Attributes
    ----------
    epochs
        Most passes over the training observations.
    batch_size
        Observations a step; a last batch of a single one is left out (batch normalisation cannot use it).
    learning_rate, weight_decay, betas, epsilon, amsgrad
        Of the optimiser.
    optimiser
        ``adamw`` (decoupled decay) or ``adam``.
    kl_warmup_epochs
        The weight of the KL term rises linearly from 0 to 1 over so many epochs; 0 for none.
    validation_fraction
        Share of the observations that are held out for early stopping, in [0, 1).
    patience
        Stop when the monitored loss has not fallen for so many epochs; ``None`` never stops early.
    first_stop
        Epochs that early stopping does not watch (a warm-up, in which losses of different weights do not compare).
    monitor
        Loss that is watched, of the validation part if there is one, else of the training part.
    gradient_clip
        Largest norm of the gradient; ``None`` for no clipping.
    restore_best
        Whether to go back to the epoch with the lowest monitored loss at the end.
    """

    epochs: int = 500
    batch_size: int = 128
    learning_rate: float = 1e-4
    optimiser: str = "adamw"
    weight_decay: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    amsgrad: bool = False
    kl_warmup_epochs: int = 50
    validation_fraction: float = 0.1
    patience: int | None = 50
    first_stop: int = 0
    monitor: str = "reconstruction"
    gradient_clip: float | None = None
    restore_best: bool = False


class Trainable(Protocol):
    """What the trainer needs of a module (besides being a :class:`torch.nn.Module`).

    ``losses`` returns named scalars; ``loss`` is minimised. Optional are

    - a second player (an adversary) with an optimiser of its own: ``second_parameters()``, ``second_loss(batch)``
      and ``second_options``, which Adam takes;
    - parameters that the module steps itself (multiDGD's representations): ``own_parameters()``, the hooks
      ``step_end()`` and ``epoch_end(epoch)``, and ``extra_state()`` and ``load_extra_state(state)`` for checkpoints;
    - a validation that needs gradients: ``validation_losses(batch, kl_weight)``.
    """

    def losses(self, batch: Minibatch, kl_weight: float) -> dict[str, torch.Tensor]:
        """Named scalar losses of a mini-batch; ``loss`` is minimised."""


@contextlib.contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed torch's generators inside, and leave them outside as they were."""
    device = torch.device(device)
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Trainer:
    """Trains a module on a design.

    Parameters
    ----------
    module
        See :class:`Trainable`; its parameters without a second player are optimised.
    data
        The counts, or any other object with ``n_observations``, ``device`` and ``minibatch``.
    plan
        How to train.
    seed
        Of the split, of the order of the observations, and of all noise.
    progress
        Called once an epoch with epoch, epochs and the losses; raises when a loss is not finite.
    checkpoint
        Where the state is kept after an epoch, when it is time for that, and from which training goes on.
    eligible
        Positions of the observations that may be used; all if left out.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        data: DesignCounts,
        plan: TrainingPlan,
        seed: int,
        progress: Callable[..., None],
        checkpoint: Checkpoint | None = None,
        eligible: np.ndarray | None = None,
    ) -> None:
        self.module, self.data, self.plan, self.seed, self.progress = module, data, plan, seed, progress
        self.checkpoint = checkpoint
        self.device = torch.device(data.device)
        self.order = np.random.default_rng([seed, 0])
        observations = np.arange(data.n_observations) if eligible is None else np.asarray(eligible)
        shuffled = self.order.permutation(observations)
        n_validation = int(round(plan.validation_fraction * len(shuffled)))
        self.validation = np.sort(shuffled[:n_validation])
        self.training = np.sort(shuffled[n_validation:])
        second = set(getattr(module, "second_parameters", list)())
        first = [value for value in module.parameters() if value.requires_grad and value not in second]
        excluded = set(getattr(module, "own_parameters", list)())
        first = [value for value in first if value not in excluded]
        options = {
            "lr": plan.learning_rate,
            "weight_decay": plan.weight_decay,
            "betas": plan.betas,
            "eps": plan.epsilon,
        }
        if plan.amsgrad:
            options["amsgrad"] = True
        optimiser = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[plan.optimiser]
        self.optimiser = optimiser(first, fused=True, **options)
        self.parameters = first
        self.second = None
        if second:
            options = {"weight_decay": plan.weight_decay, **module.second_options}
            values = [value for value in module.parameters() if value in second]
            self.second = torch.optim.Adam(values, fused=True, **options)
        self.epoch, self.stale, self.best_loss, self.best_state = 0, 0, np.inf, None
        self.history: list[dict[str, float]] = []

    def fit(self) -> None:
        """Train to the end, from the checkpoint if there is one.

        Raises
        ------
        DivergedError
            If a loss is NaN or infinite.
        """
        with seeded(self.seed, self.device):
            flushing = torch.set_flush_denormal(True)
            try:
                state = None if self.checkpoint is None else self.checkpoint.load(self.device)
                if state is not None:
                    self._resume(state)
                while self.epoch < self.plan.epochs and not self._stopped():
                    self._run_epoch()
                if self.plan.restore_best and self.best_state is not None:
                    self.module.load_state_dict(self.best_state)
            finally:
                if flushing:
                    torch.set_flush_denormal(False)
        self.module.eval()

    def _stopped(self) -> bool:
        return self.plan.patience is not None and self.stale >= self.plan.patience

    def kl_weight(self, epoch: int) -> float:
        """Weight of the KL term in `epoch` (from 1), in [0, 1]."""
        warmup = self.plan.kl_warmup_epochs
        return 1.0 if warmup <= 0 else min(1.0, (epoch - 1) / warmup)

    def _batches(self, positions: np.ndarray) -> Iterator[Minibatch]:
        # A mini-batch of one has no statistics; but where cells have parameters of their own, it must learn them.
        singles = len(positions) == 1 or hasattr(self.module, "own_parameters")
        for part in torch.from_numpy(positions).to(self.device).split(self.plan.batch_size):
            if len(part) > 1 or singles:
                yield self.data.minibatch(part)

    def _run_epoch(self) -> None:
        epoch, weight = self.epoch + 1, self.kl_weight(self.epoch + 1)
        self.module.train()
        training = self._mean(
            self._step(batch, weight) for batch in self._batches(self.order.permutation(self.training))
        )
        losses = dict(training)
        watched = training
        if len(self.validation):
            self.module.eval()
            watched = self._mean(self._validate(batch, weight) for batch in self._batches(self.validation))
            losses.update({f"validation_{name}": value for name, value in watched.items()})
        self.epoch = epoch
        self.history.append(losses)
        self.progress(epoch, self.plan.epochs, **losses)
        monitored = watched.get(self.plan.monitor, watched["loss"])
        if not np.isfinite(monitored):
            raise DivergedError(f"{self.plan.monitor} is not finite in epoch {epoch}")
        if hasattr(self.module, "epoch_end"):
            self.module.epoch_end(epoch)
        watching = epoch > self.plan.first_stop
        if watching and monitored < self.best_loss:
            self.best_loss, self.stale = monitored, 0
            if self.plan.restore_best:
                self.best_state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        elif watching:
            self.stale += 1
        if self.checkpoint is not None and self.checkpoint.due():
            self.checkpoint.save(self._state())

    def _step(self, batch: Minibatch, weight: float) -> tuple[dict[str, torch.Tensor], int]:
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.module.losses(batch, weight)
        losses["loss"].backward()
        if self.plan.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.plan.gradient_clip)
        self.optimiser.step()
        if hasattr(self.module, "step_end"):
            self.module.step_end()
        if self.second is not None:
            self.second.zero_grad(set_to_none=True)
            second = self.module.second_loss(batch)
            second.backward()
            self.second.step()
        return {name: value.detach() for name, value in losses.items()}, batch.size

    def _validate(self, batch: Minibatch, weight: float) -> tuple[dict[str, torch.Tensor], int]:
        if hasattr(self.module, "validation_losses"):
            return self.module.validation_losses(batch, weight), batch.size
        with torch.no_grad():
            return self.module.losses(batch, weight), batch.size

    @staticmethod
    def _mean(parts) -> dict[str, float]:
        """Averages over the mini-batches, weighted by their sizes; kept on the device until the end of the epoch."""
        sums: dict[str, torch.Tensor] = {}
        total = 0
        for losses, size in parts:
            total += size
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value * size
        return {name: float(value) / max(total, 1) for name, value in sums.items()}

    def _state(self) -> dict[str, Any]:
        """All that the epochs to come depend on, between two epochs."""
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "second": None if self.second is None else self.second.state_dict(),
            "extra": self.module.extra_state() if hasattr(self.module, "extra_state") else None,
            "epoch": self.epoch,
            "stale": self.stale,
            "best_loss": float(self.best_loss),
            "best_state": self.best_state,
            "history": self.history,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "order": {key: str(value) for key, value in self.order.bit_generator.state["state"].items()},
            "order_buffer": [self.order.bit_generator.state["has_uint32"], self.order.bit_generator.state["uinteger"]],
        }

    def _resume(self, state: dict[str, Any]) -> None:
        """Go back to where a training was that left `state`."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.second is not None:
            self.second.load_state_dict(state["second"])
        if state["extra"] is not None:
            self.module.load_extra_state(state["extra"])
        self.epoch, self.stale, self.best_loss = state["epoch"], state["stale"], state["best_loss"]
        self.best_state, self.history = state["best_state"], state["history"]
        # For the loss history; the log of the training that was interrupted had its lines.
        with contextlib.redirect_stderr(io.StringIO()):
            for epoch, losses in enumerate(self.history, start=1):
                self.progress(epoch, self.plan.epochs, **losses)
        print(f"resumed after epoch {self.epoch} of {self.plan.epochs}", file=sys.stderr, flush=True)
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"].cpu())
        bits = self.order.bit_generator.state
        bits["state"] = {key: int(value) for key, value in state["order"].items()}
        bits["has_uint32"], bits["uinteger"] = state["order_buffer"]
        self.order.bit_generator.state = bits
