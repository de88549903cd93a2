"""The controls that bound every metric: chance, a collapse, and what the truth itself would give."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel

_EVERY_SET = (
    ("rna",),
    ("atac",),
    ("protein",),
    ("rna", "atac"),
    ("rna", "protein"),
    ("atac", "protein"),
    ("rna", "atac", "protein"),
)


class RandomEmbedding(IntegrationModel):
    """Independent standard normal coordinates: the level of every metric that takes no knowledge of the data."""

    declaration = Declaration(
        name="random",
        title="Random embedding",
        summary="Independent standard normal coordinates, without a look at the data.",
        kind="control",
        modality_sets=_EVERY_SET,
        unpaired=True,
        needs_paired=False,
        embeds_new_cells=True,
        defaults={"n_latent": 10},
        origins={"n_latent": "in the range of the models' own defaults (10 to 30)"},
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Draw the coordinates."""
        generator = np.random.default_rng(seed)
        self._embedding = generator.standard_normal((design.n_obs, self.hyperparameters["n_latent"]))

    def embed(self) -> np.ndarray:
        """Coordinates, observations x ``n_latent``."""
        return self._embedding.astype(np.float32)


class CollapsedEmbedding(IntegrationModel):
    """One point for all observations, plus noise of a ten-thousandth of its length.

    A metric that rewards mixing alone rates this as perfect; it is here to show which ones do, and to be flagged.
    """

    declaration = Declaration(
        name="collapsed",
        title="Collapsed embedding",
        summary="A constant plus noise of one ten-thousandth of its length, as a model leaves behind whose latent space collapsed.",
        kind="control",
        modality_sets=_EVERY_SET,
        unpaired=True,
        needs_paired=False,
        embeds_new_cells=True,
        defaults={"n_latent": 10, "relative_noise": 1e-4},
        origins={
            "n_latent": "as of the random control",
            "relative_noise": "well above the resolution of float32 (6e-8), well below any real structure",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Draw the point, then the noise."""
        generator = np.random.default_rng(seed)
        n_latent = self.hyperparameters["n_latent"]
        point = generator.standard_normal(n_latent)
        scale = self.hyperparameters["relative_noise"] * np.linalg.norm(point) / np.sqrt(n_latent)
        self._embedding = point + scale * generator.standard_normal((design.n_obs, n_latent))

    def embed(self) -> np.ndarray:
        """Coordinates, observations x ``n_latent``."""
        return self._embedding.astype(np.float32)


class OracleEmbedding(IntegrationModel):
    """What an embedding looks like that knows labels, pairs and trajectories: the upper bound.

    The position of an observation is the sum of

    - its cell type's own axis (length 1, so that types are sqrt(2) apart; unlabelled cells share one axis of their own),
    - a vector of its cell (normal, 8 dimensions, standard deviation ``cell_spread``), the same for all observations
      of this cell, which makes the halves of a cell nearest neighbours of each other,
    - where the cell has a pseudotime: a coordinate that grows with it, and an offset that draws the earliest and
      the latest cells of a type towards the types before and after it, so that a trajectory is one connected
      curve while the bulk of each type stays at its axis,
    - noise of a hundredth of ``cell_spread``, lest the halves of a cell be exact duplicates.

    Neither batch nor modality enters, so both are mixed as well as the labels allow.
    """

    declaration = Declaration(
        name="oracle",
        title="Oracle",
        summary="Built from the truth: one direction for each cell type, halves of a cell together, trajectories connected.",
        kind="control",
        modality_sets=_EVERY_SET,
        unpaired=True,
        needs_paired=False,
        embeds_new_cells=True,
        batches=True,
        needs_truth=True,
        defaults={"cell_spread": 0.02},
        origins={"cell_spread": "types stay about 17 times as far apart as cells of one type"},
    )

    truth: Multimodal
    """Set by the runner before :meth:`fit`; its observations are the design's."""

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Place the observations."""
        generator = np.random.default_rng(seed)
        obs = self.truth.obs
        types = obs["cell_type"].astype(object)
        # factorize sorts labels and marks missing ones -1: these get the axis after the last label's.
        codes, labels = pd.factorize(types, sort=True)
        codes = np.where(codes < 0, len(labels), codes)
        n_axes, n_cell_axes = len(labels) + 1, 8
        positions = np.zeros((len(obs), n_axes + 1 + n_cell_axes))
        positions[np.arange(len(obs)), codes] = 1.0

        offsets, counted = np.zeros((len(obs), n_axes + 1)), np.zeros(len(obs))
        for time in _trajectories(obs):
            known = np.isfinite(time) & (codes < len(labels))
            offsets[known] += _trajectory_offsets(time[known], codes[known], n_axes)
            counted[known] += 1
        positions[:, : n_axes + 1] += offsets / np.maximum(counted, 1)[:, None]

        cells, cell_names = pd.factorize(obs["cell"].astype(str), sort=True)
        spread = self.hyperparameters["cell_spread"]
        own = generator.standard_normal((len(cell_names), n_cell_axes))
        positions[:, -n_cell_axes:] = spread * own[cells]
        positions += 0.01 * spread * generator.standard_normal(positions.shape)
        rotation, _ = np.linalg.qr(generator.standard_normal((positions.shape[1], positions.shape[1])))
        self._embedding = positions @ rotation

    def embed(self) -> np.ndarray:
        """Coordinates, observations x (cell types + 10)."""
        return self._embedding.astype(np.float32)


def _trajectories(obs: pd.DataFrame) -> list[np.ndarray]:
    """Times of the trajectories: one array of ranks in (0, 1] each, NaN outside.

    Columns that cover mostly the same cells are estimates of one pseudotime (as from RNA and from ATAC): their
    ranks are averaged. A cell on several trajectories, such as their common root, gets the mean of their offsets.
    """
    columns = [pd.to_numeric(obs[name], errors="coerce") for name in obs.columns if name.startswith("pseudotime_")]
    merged: list[list[pd.Series]] = []
    for column in columns:
        for others in merged:
            both, either = (column.notna() & others[0].notna()).sum(), (column.notna() | others[0].notna()).sum()
            if both > either / 2:
                others.append(column)
                break
        else:
            merged.append([column])
    averages = [pd.concat([column.rank(pct=True) for column in group], axis=1).mean(axis=1) for group in merged]
    return [average.rank(pct=True).to_numpy(dtype=float) for average in averages]


def _trajectory_offsets(time: np.ndarray, codes: np.ndarray, n_axes: int) -> np.ndarray:
    """Offsets of cells along one trajectory; cells x (``n_axes`` + 1), the last column being time itself.

    Types follow each other by median pseudotime. A cell of relative rank u in [0, 1] within its type moves by
    u^8 / 2 of the way to the next type, and by (1 - u)^8 / 2 of the way to the previous one: a twelfth of the cells
    at either end bridges the gap, all others hardly move.
    """
    offsets = np.zeros((len(time), n_axes + 1))
    if not len(time):
        return offsets
    order = sorted(np.unique(codes), key=lambda code: (np.median(time[codes == code]), code))
    for position, code in enumerate(order):
        members = np.flatnonzero(codes == code)
        rank = np.empty(len(members))
        rank[np.argsort(time[members], kind="stable")] = np.arange(len(members))
        u = rank / max(len(members) - 1, 1)
        for neighbour, weight in ((position - 1, (1 - u) ** 8 / 2), (position + 1, u**8 / 2)):
            if 0 <= neighbour < len(order):
                offsets[members, order[neighbour]] += weight
                offsets[members, code] -= weight
    offsets[:, -1] = 0.5 * time
    return offsets
