"""Pairing: how close the two halves of an artificially unpaired cell lie to each other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.metrics.context import Context
from benchmarks.metrics.declaration import Metric, NotApplicable
from benchmarks.metrics.mixing import MULTIVI

TOP = (1, 5, 10, 50)


def _directions(context: Context):
    """Yield (name of the direction, mask over the pairs) and the pairs' ranks."""
    halves, ranks, group_ranks, group_sizes = context.half_ranks
    names = context.covariate("group").names
    masks = {}
    for first, second in sorted({*zip(halves.first_group.tolist(), halves.second_group.tolist())}):
        mask = (halves.first_group == first) & (halves.second_group == second)
        masks[f"{names[first]}_to_{names[second]}"] = mask
    return masks, ranks, group_ranks, group_sizes


def _summarise(context: Context, summary) -> dict[str, float]:
    masks, ranks, _, _ = _directions(context)
    # The mean over directions, not over pairs, so that with three modalities no direction outweighs another.
    parts = {name: float(summary(ranks[mask])) for name, mask in masks.items()}
    return {"": float(np.mean(list(parts.values()))), **parts}


def rank_distance(context: Context) -> dict[str, float]:
    """Mean rank of the other half, and of each direction alone."""
    return _summarise(context, np.mean)


def rank_distance_fraction(context: Context) -> dict[str, float]:
    """:func:`rank_distance` over the number of observations."""
    return {name: value / context.n_obs for name, value in rank_distance(context).items()}


def rank_distance_median(context: Context) -> dict[str, float]:
    """Median rank of the other half."""
    return _summarise(context, np.median)


def rank_distance_mutual(context: Context) -> float:
    """Mean over pairs of the larger of both ranks: the smallest K at which each is among the other's K nearest."""
    halves, ranks, _, _ = context.half_ranks
    lower = np.minimum(halves.first, halves.second)
    upper = np.maximum(halves.first, halves.second)
    order = np.lexsort((upper, lower))
    lower, upper, ranks = lower[order], upper[order], ranks[order]
    paired = np.flatnonzero((np.diff(lower) == 0) & (np.diff(upper) == 0))
    if not len(paired):
        # A sample of rows (above the exact limit) may hold no pair in both directions.
        return float(np.mean(ranks))
    return float(np.mean(np.maximum(ranks[paired], ranks[paired + 1])))


def foscttm(context: Context) -> dict[str, float]:
    """Mean share of the other modality's observations that are closer than the true match."""
    masks, _, group_ranks, group_sizes = _directions(context)
    if int(group_sizes.min()) <= 1:
        raise NotApplicable("a modality has a single observation to choose the match from")
    share = (group_ranks - 1) / (group_sizes - 1)
    parts = {name: float(np.mean(share[mask])) for name, mask in masks.items()}
    return {"": float(np.mean(list(parts.values()))), **parts}


def top_k_match(context: Context) -> dict[str, float]:
    """Share of halves whose other half is among their k nearest in the other modality, for k in 1, 5, 10, 50."""
    masks, _, group_ranks, group_sizes = _directions(context)
    smallest = int(group_sizes.min())
    if smallest <= TOP[0]:
        raise NotApplicable("a modality has a single observation to choose the match from")
    return {
        str(k): float(np.mean([np.mean(group_ranks[mask] <= k) for mask in masks.values()]))
        for k in TOP
        if k < smallest
    }


def rank_distribution(context: Context, quantiles: int = 100) -> pd.DataFrame:
    """Quantiles of the rank in each direction: direction, quantile in [0, 1], rank."""
    masks, ranks, _, _ = _directions(context)
    at = np.linspace(0, 1, quantiles + 1)
    return pd.concat(
        [
            pd.DataFrame({"direction": name, "quantile": at, "rank": np.quantile(ranks[mask], at)})
            for name, mask in masks.items()
        ],
        ignore_index=True,
    )


_TIES = (
    " Ranks start at 1 and leave the observation itself out; an observation exactly as far as the other half counts "
    "half (the expected rank when ties are ordered at random), so that a collapsed embedding is at chance."
)
_SAMPLING = (
    " Exact up to 100,000 observations; above, the halves are a random sample of 20,000, each ranked exactly against "
    "all observations (standard error of a mean rank fraction below 0.3 / sqrt(20,000) = 0.002)."
)

METRICS = [
    Metric(
        name="rank_distance",
        title="Neighbour rank distance",
        family="pairing",
        compute=rank_distance,
        range=(1.0, float("inf")),
        direction="lower",
        group="pairing",
        needs=("embedding", "halves"),
        paper=MULTIVI + ", Methods, Neighbor rank distance calculation",
        equation="delta(c_a, c_b) = min{k : c_b in S(c_a, k)}, averaged over cells, then over directions",
        description="How many neighbours of one half one has to look at to find the other half; one row a direction too."
        + _TIES
        + _SAMPLING,
    ),
    Metric(
        name="rank_distance_fraction",
        title="Neighbour rank distance / cells",
        family="pairing",
        compute=rank_distance_fraction,
        range=(0.0, 1.0),
        direction="lower",
        group="pairing",
        needs=("embedding", "halves"),
        paper=MULTIVI + ", Methods, Neighbor rank distance calculation",
        equation="mean delta / number of observations",
        description="Rank distance over the number of observations of the design: 0.5 is chance." + _SAMPLING,
        scale=lambda value: 1.0 - 2.0 * value,
    ),
    Metric(
        name="rank_distance_median",
        title="Median neighbour rank distance",
        family="pairing",
        compute=rank_distance_median,
        range=(1.0, float("inf")),
        direction="lower",
        group="pairing",
        needs=("embedding", "halves"),
        paper=MULTIVI + ", Methods, Neighbor rank distance calculation",
        equation="median delta, averaged over directions",
        description="As rank_distance, with the median over cells." + _TIES,
    ),
    Metric(
        name="rank_distance_mutual",
        title="Mutual neighbour rank distance",
        family="pairing",
        compute=rank_distance_mutual,
        range=(1.0, float("inf")),
        direction="lower",
        group="pairing",
        needs=("embedding", "halves"),
        paper=MULTIVI + ", Results (integration of multiome data)",
        equation="mean over pairs of max(delta(c_a, c_b), delta(c_b, c_a))",
        description=(
            "The paper's Results speak of the minimal K at which the halves are within each other's neighbours (this "
            "metric), its Methods of one direction (rank_distance)." + _TIES
        ),
    ),
    Metric(
        name="foscttm",
        title="FOSCTTM",
        family="pairing",
        compute=foscttm,
        range=(0.0, 1.0),
        direction="lower",
        group="pairing",
        needs=("embedding", "halves"),
        paper="Liu et al. 2019, WABI (MMD-MA); fraction of samples closer than the true match",
        equation="mean over halves of #{j in the other modality : d_ij < d_i,match} / (n_other - 1), over directions",
        description="0 if every match is the nearest of its modality, 0.5 by chance. Not applicable where a modality has a "
        "single observation." + _TIES,
        scale=lambda value: 1.0 - 2.0 * value,
    ),
    Metric(
        name="top_k_match",
        title="Top-k match rate",
        family="pairing",
        compute=top_k_match,
        range=(0.0, 1.0),
        group="pairing",
        needs=("embedding", "halves"),
        paper="NeurIPS 2021 multimodal integration task, match modality (Lance et al. 2022)",
        equation="share of halves with the match among the k nearest of its modality, k = 1, 5, 10, 50",
        description=(
            "One row for each k: top_k_match_1, _5, _10, _50. Chance is k over the observations of the modality. Values of "
            "k that cover a modality of the design (every match is found) have no row."
        ),
    ),
]
"""The pairing metrics."""
