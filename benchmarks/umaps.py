"""UMAPs of the embeddings, for looking at them and for nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.formats import H5mu, read_embedding

COLUMNS = (
    "dataset",
    "design",
    "n_cells",
    "unpaired_fraction",
    "model",
    "variant",
    "x",
    "y",
    "cell_type",
    "batch",
    "condition",
    "group",
    "seed",
    "n_observations",
)
"""Columns of the table of UMAPs: one row an observation of an embedding; ``n_observations`` of which these are some."""


def choose_runs(runs: pd.DataFrame, max_embeddings: int | None = None) -> pd.DataFrame:
    """The runs to draw: successful ones of the first replicate and seed, at each data set's largest and smallest size.

    All variants of a design are drawn or none, so that they can be compared. The smallest size is drawn at the lowest
    fraction alone, beside the largest: what more cells do. When `max_embeddings` allows only some designs, fractions
    far apart are taken first (lowest, highest, then between), data sets in turn; the first design is always drawn.
    """
    ok = runs[runs["status"] == "ok"]
    if "embedding" in ok:
        ok = ok[ok["embedding"].notna()]
    chosen = []
    for _, part in ok.groupby("dataset", sort=True):
        smallest, largest = part["n_cells"].min(), part["n_cells"].max()
        designs = [(largest, fraction) for fraction in _far_apart(_fractions(part, largest))]
        if smallest < largest:
            designs.insert(1, (smallest, _fractions(part, smallest)[0]))
        for turn, (size, fraction) in enumerate(designs):
            design = part[(part["n_cells"] == size) & (part["unpaired_fraction"] == fraction)]
            # The first replicate and seed of every design: one of them may have failed at another size.
            design = design[design["replicate"] == design["replicate"].min()]
            chosen.append((turn, design[design["seed"] == design["seed"].min()]))
    chosen.sort(key=lambda item: item[0])
    total, kept = 0, []
    for _, part in chosen:
        if kept and max_embeddings is not None and total + len(part) > max_embeddings:
            continue
        kept.append(part)
        total += len(part)
    if not kept:
        return ok.iloc[:0]
    order = ["dataset", "n_cells", "unpaired_fraction", "model", "variant"]
    return pd.concat(kept).sort_values(order, ignore_index=True)


def not_drawn(runs: pd.DataFrame, drawn: pd.DataFrame) -> tuple[str, ...]:
    """Designs that :func:`choose_runs` would draw if it had no limit and that are not among those `drawn`.

    Parameters
    ----------
    runs
        One row a run, as for :func:`choose_runs`.
    drawn
        Rows with ``dataset``, ``n_cells`` and ``unpaired_fraction``: runs, or the table of UMAPs.

    Returns
    -------
    tuple of str
        Such as ``snare_mouse_cortex, 500 cells, 0 % unpaired (11 embeddings)``.
    """
    design = ["dataset", "n_cells", "unpaired_fraction"]
    there = set(drawn[design].drop_duplicates().itertuples(index=False, name=None))
    counts = choose_runs(runs).groupby(design, sort=True).size()
    return tuple(
        f"{dataset}, {n_cells:,.0f} cells, {100 * fraction:g} % unpaired ({count} embedding{'s' * (count > 1)})"
        for (dataset, n_cells, fraction), count in counts.items()
        if (dataset, n_cells, fraction) not in there
    )


def _fractions(runs: pd.DataFrame, size: float) -> list:
    """Unpaired fractions that there are at one size, ascending."""
    return sorted(runs.loc[runs["n_cells"] == size, "unpaired_fraction"].unique())


def _far_apart(values: list) -> list:
    """Sorted values in an order in which each next one is furthest from those before it, ends first."""
    order = [values[0], values[-1]] if len(values) > 1 else list(values)
    rest = values[1:-1]
    while rest:
        farthest = max(rest, key=lambda value: min(abs(value - other) for other in order))
        order.append(farthest)
        rest = [value for value in rest if value != farthest]
    return order


def compute_umaps(
    runs: pd.DataFrame,
    results_dir: str | os.PathLike,
    max_embeddings: int | None = 40,
    max_observations: int = 1500,
    seed: int = 0,
) -> pd.DataFrame:
    """Lay out embeddings in two dimensions with UMAP, one table for all (one process: its compilation is slow).

    Parameters
    ----------
    runs
        One row a run, with ``embedding`` and ``truth``: paths relative to `results_dir`.
    results_dir
        Folder of the results.
    max_embeddings
        Most embeddings (:func:`choose_runs`); ``None`` for all of them.
    max_observations
        Most observations drawn of an embedding; the same ones for all variants of a design, at random.
    seed
        Seeds the draw and UMAP.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`; ``x`` and ``y`` in UMAP's arbitrary units, float32; labels as text, missing ones ``None``.
    """
    results_dir = Path(results_dir)
    tables, labels = [], {}
    for run in choose_runs(runs, max_embeddings).itertuples(index=False):
        if run.truth not in labels:
            labels[run.truth] = _labels(results_dir / run.truth)
        obs = labels[run.truth]
        values = read_embedding(results_dir / run.embedding).values
        rows = np.arange(len(values))
        if len(rows) > max_observations:
            rows = np.sort(
                np.random.default_rng([seed, len(values)]).choice(len(values), max_observations, replace=False)
            )
        xy = layout(values[rows], seed)
        table = obs.iloc[rows].assign(x=xy[:, 0], y=xy[:, 1])
        for name in ("dataset", "design", "n_cells", "unpaired_fraction", "model", "variant", "seed"):
            table[name] = getattr(run, name)
        table["n_observations"] = len(values)
        tables.append(table[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def _labels(path: Path) -> pd.DataFrame:
    with H5mu(path) as file:
        obs = file.obs
    table = pd.DataFrame(index=range(len(obs)))
    for name in ("cell_type", "batch", "condition", "group"):
        column = obs[name].astype(object).to_numpy() if name in obs else np.full(len(obs), None, dtype=object)
        table[name] = [None if value is None or value != value else str(value) for value in column]
    return table


def layout(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two-dimensional UMAP of an embedding; the same bytes for the same input and seed on one machine.

    It starts from the first two principal components rather than from a spectral layout, which fails for few or
    duplicated points. Below ten observations, or when all coincide, these components are all that is returned.

    Parameters
    ----------
    values
        Observations x latent dimensions, finite.
    seed
        Seeds UMAP, which then runs in one thread.

    Returns
    -------
    numpy.ndarray
        float32, observations x 2.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    start = np.zeros((n, 2))
    if n and values.shape[1]:
        centred = values - values.mean(axis=0)
        left, singular, _ = np.linalg.svd(centred, full_matrices=False)
        # The sign of a singular vector is arbitrary: fixed here, or pictures would flip between machines.
        sign = np.where(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])] < 0, -1.0, 1.0)
        components = min(2, len(singular))
        start[:, :components] = (left * singular * sign)[:, :components]
    spread = np.abs(start).max(initial=0.0)
    if n < 10 or spread == 0:
        return start.astype(np.float32)
    import warnings

    from umap import UMAP

    start = start / spread * 10 + np.random.default_rng(seed).normal(0, 1e-4, start.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reducer = UMAP(
            n_neighbors=min(15, n - 1),
            min_dist=0.3,
            n_epochs=200,
            init=start.astype(np.float32),
            random_state=seed,
            n_jobs=1,
        )
        return reducer.fit_transform(values.astype(np.float32)).astype(np.float32)
