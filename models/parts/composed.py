"""What all composed models share: from a design to a trained network and its embedding."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.formats import Multimodal
from models.base import IntegrationModel, may_learn_from

if TYPE_CHECKING:
    import torch

    from models.parts.counts import DesignCounts
    from models.parts.trainer import TrainingPlan


class ComposedModel(IntegrationModel):
    """A model composed of ``models.parts``; a subclass says which network and which training plan.

    The networks live in ``models.networks`` and are imported when a model is trained: the planner imports this
    module, and torch takes seconds.
    """

    resumable = True

    @abstractmethod
    def build(self, data: "DesignCounts", design: Multimodal) -> "torch.nn.Module":
        """The network; called with torch seeded."""

    @abstractmethod
    def plan(self) -> "TrainingPlan":
        """The training plan."""

    def modalities(self, design: Multimodal) -> tuple[str, ...]:
        """The modalities to use: the largest set that the declaration allows."""
        return self.declaration.modalities_for(design.modalities)

    def eligible(self, design: Multimodal) -> np.ndarray | None:
        """Positions of the observations to train on; ``None`` for all."""
        allowed = may_learn_from(design)
        return None if allowed.all() else np.flatnonzero(allowed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Build the network and train it."""
        from models.parts.counts import DesignCounts
        from models.parts.trainer import Trainer, seeded

        modalities = self.modalities(design)
        self.design, self.seed, self.device = design, int(seed), device
        self.data = DesignCounts(design, modalities, device)
        with seeded(self.seed, device):
            self.network = self.build(self.data, design).to(device)
        training = self.eligible(design)
        Trainer(
            self.network, self.data, self.plan(), self.seed, self.progress, self.checkpoint, eligible=training
        ).fit()

    def embed(self) -> np.ndarray:
        """Posterior means, float32, observations x latent."""
        from models.parts.encoders import embed_in_order

        return embed_in_order(self.data, self.network.embed).cpu().numpy().astype(np.float32)

    def lacking(self, modality: str) -> np.ndarray:
        """int64 positions of the observations that lack `modality`, and of the test cells."""
        return np.flatnonzero(~self.design.has(modality) | ~may_learn_from(self.design))

    def learned_with(self, modality: str) -> "torch.Tensor":
        """int64 positions, on the device, of the observations that have `modality` and are not test cells."""
        import torch

        positions = np.flatnonzero(self.design.has(modality) & may_learn_from(self.design))
        return torch.from_numpy(positions).to(self.data.device)


def common_plan(hyperparameters: dict[str, Any], **fixed: Any) -> "TrainingPlan":
    """A training plan from the hyperparameters whose names it knows, and from `fixed`."""
    import dataclasses

    from models.parts.trainer import TrainingPlan

    known = {field.name for field in dataclasses.fields(TrainingPlan)}
    return TrainingPlan(**{name: value for name, value in hyperparameters.items() if name in known}, **fixed)
