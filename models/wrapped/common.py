"""What the wrapped packages share: seeds, AnnData objects, the parts of a mosaic, means of two codes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import DivergedError, IntegrationModel


@dataclass(frozen=True)
class Part:
    """Observations of one batch that have the same modalities.

    Attributes
    ----------
    name
        Unique within the design.
    batch
        Their batch.
    positions
        int64 positions in the design, increasing.
    modalities
        Those that they have.
    """

    name: str
    batch: str
    positions: np.ndarray
    modalities: tuple[str, ...]


def prepare(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators; use the threads that the runner allows."""
    import random

    import torch

    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def restore_numpy_names() -> None:
    """Give NumPy 2 the names ``Inf`` and ``NaN`` back, which some packages still use."""
    if not hasattr(np, "Inf"):
        np.Inf, np.NaN = np.inf, np.nan


def parts(design: Multimodal) -> list[Part]:
    """The mosaic: observations by batch and by the modalities that they have, the largest set of modalities first."""
    batches = design.obs["batch"].astype(str).to_numpy()
    has = np.column_stack([design.has(modality) for modality in design.modalities])
    found = []
    for pattern in sorted({tuple(row) for row in has.tolist()}, key=lambda row: (-sum(row), [not x for x in row])):
        here = (has == np.array(pattern)).all(axis=1)
        modalities = tuple(name for name, present in zip(design.modalities, pattern) if present)
        for batch in np.unique(batches[here]):
            positions = np.flatnonzero(here & (batches == batch))
            found.append(Part(f"part{len(found):03d}", str(batch), positions, modalities))
    return found


def counts_of(design: Multimodal, modality: str, positions: np.ndarray) -> sp.csr_matrix:
    """Counts of the observations at `positions`, all of which have `modality`."""
    return design.counts[modality][np.searchsorted(design.rows[modality], positions)]


def annotated(design: Multimodal, modality: str, values=None):
    """All observations that have `modality` as an AnnData: counts (or `values`), ``obs`` with batch and group."""
    import anndata

    obs = design.obs.iloc[design.rows[modality]][["batch", "group"]].astype(str)
    values = design.counts[modality].copy() if values is None else values
    return anndata.AnnData(values, obs=obs, var=design.var[modality][[]].copy())


def mean_of_codes(design: Multimodal, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean of the codes of the modalities that each observation has.

    Parameters
    ----------
    design
        The design.
    codes
        Modality -> observations with the modality x latent.

    Returns
    -------
    np.ndarray
        float32, observations x latent.
    """
    width = next(iter(codes.values())).shape[1]
    total, count = np.zeros((design.n_obs, width)), np.zeros((design.n_obs, 1))
    for modality, values in codes.items():
        total[design.rows[modality]] += values
        count[design.rows[modality]] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)


def keep_losses(model: IntegrationModel, **losses) -> None:
    """Put a finished training's losses, one value an epoch, into the run record.

    Raises
    ------
    DivergedError
        If the last loss is not finite.
    """
    for name, values in losses.items():
        history = [float(value) for value in values]
        model.loss_history[name] = history
        model.epochs = len(history)
        if history and not np.isfinite(history[-1]):
            raise DivergedError(f"the {name} loss is not finite after {len(history)} epochs")
