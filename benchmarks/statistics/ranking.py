"""Ranking of models by composite scores, with ties where the replicates cannot tell them apart."""

from __future__ import annotations

from itertools import pairwise
from typing import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.statistics.compare import ALPHA, compare_units, smallest_p
from benchmarks.statistics.intervals import bootstrap_intervals
from benchmarks.statistics.keys import (
    CONDITION,
    CONTROLS,
    VARIANT,
    declared,
    first_reason,
    metric_declarations,
    with_clean_status,
)
from benchmarks.statistics.scaling import scale
from benchmarks.statistics.summary import flags, replicate_means

CONSERVATION = ("bio_conservation", "pairing")
"""Groups that random noise fails: what the cells are, and which halves belong together."""

INTEGRATION = ("mixing", "batch_removal")
"""Groups that random noise passes: whether modalities and batches are mixed."""

CONSERVATION_WEIGHT = 0.6
"""Weight of conservation in the overall score, integration having the rest (scIB: Luecken et al. 2022, Methods)."""

RANKING_METRICS = {
    "NMI": ("nmi_leiden", "nmi_louvain", "nmi_kmeans"),
    "ARI": ("ari_leiden", "ari_louvain", "ari_kmeans"),
    "cell-type ASW": ("asw_cell_type",),
    "label accuracy": ("label_knn_accuracy",),
    "trajectory": ("trajectory_conservation",),
    "rank distance": ("rank_distance_fraction",),
    "modality enrichment": ("modality_enrichment",),
    "batch ASW": ("asw_batch",),
    "graph connectivity": ("graph_connectivity",),
}
"""Concepts in the composites, each with its metrics, the preferred one first. A study's composites have one metric a
concept, so that a concept with many variants does not outweigh the others; papers cluster differently, and a study that
repeats one may measure another variant than the preferred one."""


def ranking_metrics(available: Sequence[str], metrics: Mapping[str, object]) -> list[str]:
    """The metrics that enter the composites, and on which advice is given.

    Of each concept in :data:`RANKING_METRICS` the first metric that is available; if there is none of any concept, all
    metrics of the four groups.
    """
    groups = (*CONSERVATION, *INTEGRATION)
    grouped = [name for name in available if declared(metrics, name, "group") in groups]
    chosen = [next((name for name in names if name in grouped), None) for names in RANKING_METRICS.values()]
    return [name for name in chosen if name is not None] or sorted(grouped)


def composites(units: pd.DataFrame, metrics: Mapping[str, object], names: Sequence[str]) -> pd.DataFrame:
    """Composite scores of each variant in each replicate of one condition.

    Scaled values are clipped to [0, 1] (so that one metric far below chance cannot decide the mean), averaged within
    each group, then: conservation = mean of ``bio_conservation`` and ``pairing``, integration = mean of ``mixing`` and
    ``batch_removal``, overall = 0.6 conservation + 0.4 integration. A group without metrics in the condition is left
    out of these means for all models alike; a group or mean with any metric missing is NaN, never a mean of the rest.

    Parameters
    ----------
    units
        Replicate-wise scores of one condition, with ``scaled``.
    names
        Metrics to be averaged.

    Returns
    -------
    pandas.DataFrame
        Condition, variant, replicate, the groups that occur, ``overall``, and ``missing`` (comma-separated metrics).
    """
    keys = [*CONDITION, *VARIANT, "replicate"]
    units = units[units["metric"].isin(names) & units["scaled"].notna()]
    cells = list(zip(units["model"], units["variant"], units["replicate"]))
    rows = {cell: number for number, cell in enumerate(sorted(set(cells)))}
    used = [name for name in names if name in set(units["metric"])]
    values = np.full((len(rows), len(used)), np.nan)
    columns = {name: number for number, name in enumerate(used)}
    values[[rows[cell] for cell in cells], [columns[name] for name in units["metric"]]] = units["scaled"]
    values = np.clip(values, 0, 1)

    table = {name: np.full(len(rows), units[name].iloc[0], dtype=object) if len(rows) else [] for name in CONDITION}
    table |= {name: [cell[place] for cell in rows] for place, name in enumerate((*VARIANT, "replicate"))}
    table["missing"] = [", ".join(name for name, gap in zip(used, row) if gap) for row in np.isnan(values)]
    means = {}
    for group in (*CONSERVATION, *INTEGRATION):
        members = [columns[name] for name in used if declared(metrics, name, "group") == group]
        if members:
            means[group] = values[:, members].mean(axis=1)
    conservation = [means[group] for group in CONSERVATION if group in means]
    integration = [means[group] for group in INTEGRATION if group in means]
    overall = np.mean(conservation, axis=0) if conservation else np.full(len(rows), np.nan)
    if integration:
        overall = CONSERVATION_WEIGHT * overall + (1 - CONSERVATION_WEIGHT) * np.mean(integration, axis=0)
    return pd.DataFrame({**table, **means, "overall": overall}, columns=[*keys, *means, "missing", "overall"])


def rank(
    scores: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    metrics: Mapping[str, object] | None = None,
    names: Sequence[str] | None = None,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """Rank the variants within each condition by their overall composite.

    A rank is a range: ``rank_low`` is 1 + the number of variants that are significantly better, ``rank_high`` the
    number of ranked variants less those significantly worse (paired sign-flip test on the overall composite, Holm over
    all pairs of the condition). With too few replicates nothing can be significant, and every range is 1 to m.

    Not ranked, with the reason: controls; variants with a flagged embedding; variants without a replicate in which
    every metric has a value. A metric that does not apply to one of the variants is left out for all of them.

    Parameters
    ----------
    scores, runs, metrics
        As for :func:`benchmarks.statistics.summary.summarise`.
    names
        Metrics in the composites; :func:`ranking_metrics` where left out.
    alpha
        Family-wise error rate within a condition.

    Returns
    -------
    pandas.DataFrame
        One row a (condition, variant): ``overall``, ``overall_low``, ``overall_high`` and the means of the groups;
        ``ranked``, ``reason``; ``position`` (by the mean alone), ``rank_low``, ``rank_high``; ``coverage`` (share of
        the planned values of the ranking metrics that are there, in [0, 1]); ``n_replicates`` (complete ones),
        ``n_planned`` (all); ``smallest_p`` (what the replicates could show at best); ``metrics_used``,
        ``metrics_left_out``; ``flagged``.
    """
    metrics = metric_declarations(metrics)
    clean = with_clean_status(scores)
    units = scale(replicate_means(scores), metrics)
    flagged_runs = flags(runs) if runs is not None and len(runs) else None
    chosen = list(names) if names is not None else ranking_metrics(sorted(clean["metric"].unique()), metrics)
    conditions = clean[list(CONDITION)].drop_duplicates().sort_values(list(CONDITION), ignore_index=True)
    parts = [_by_condition(table, conditions) for table in (clean, units)]
    parts.append([None] * len(conditions) if flagged_runs is None else _by_condition(flagged_runs, conditions))
    tables = [_rank_condition(*own, metrics, chosen, alpha) for own in zip(*parts)]
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _by_condition(table: pd.DataFrame, conditions: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of `table` that belong to each row of `conditions`."""
    numbered = conditions.assign(_number=np.arange(len(conditions)))
    number = table[list(CONDITION)].merge(numbered, on=list(CONDITION), how="left")["_number"].to_numpy()
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(conditions) + 1))
    return [table.iloc[order[first:last]] for first, last in pairwise(bounds)]


def _rank_condition(
    scores: pd.DataFrame,
    units: pd.DataFrame,
    flagged_runs: pd.DataFrame | None,
    metrics: Mapping[str, object],
    chosen: list[str],
    alpha: float,
) -> pd.DataFrame:
    """Rank within one condition; see :func:`rank`."""
    scored = scores[scores["metric"].isin(chosen)]
    if scored.empty:
        return pd.DataFrame()
    cells: dict[tuple, list[tuple]] = {}
    for model, variant, *rest in zip(*(scored[name] for name in (*VARIANT, "metric", "replicate", "status", "reason"))):
        cells.setdefault((model, variant), []).append(tuple(rest))
    # A variant whose every metric is "not applicable" was never planned: it must not take metrics from the others.
    not_for_all = set()
    for key, own in cells.items():
        absent = {name for name, _, status, _ in own if status == "not_applicable"}
        if key[0] not in CONTROLS and any(status != "not_applicable" for _, _, status, _ in own):
            not_for_all |= absent
    with_value = set(units.loc[units["scaled"].notna() & ~units["model"].isin(CONTROLS), "metric"])
    occurring = {name for own in cells.values() for name, *_ in own}
    used = [name for name in chosen if name in with_value and name not in not_for_all]
    left_out = [name for name in chosen if name in occurring and name not in used]
    table = composites(units, metrics, used)

    flagged: dict[tuple, list[str]] = {}
    if flagged_runs is not None:
        for model, variant, reason in zip(*(flagged_runs[name] for name in (*VARIANT, "flag_reason"))):
            flagged.setdefault((model, variant), []).append(reason)
    groups = [group for group in (*CONSERVATION, *INTEGRATION) if group in table]
    own_rows: dict[tuple, list[int]] = {}
    for number, key in enumerate(zip(table["model"], table["variant"])):
        own_rows.setdefault(key, []).append(number)
    values = table[[*groups, "overall"]].to_numpy(float)
    rows = []
    for key in sorted(cells):
        own, numbers = cells[key], own_rows.get(key, [])
        complete = values[numbers][~np.isnan(values[numbers, -1])] if numbers else values[:0]
        wanted = [status == "ok" for name, _, status, _ in own if name in used]
        row = {name: scored[name].iloc[0] for name in CONDITION} | dict(zip(VARIANT, key))
        row |= {"n_planned": len({replicate for _, replicate, _, _ in own}), "n_replicates": len(complete)}
        row["coverage"] = float(np.mean(wanted)) if wanted else 0.0
        row |= dict.fromkeys((*CONSERVATION, *INTEGRATION, "overall", "overall_low", "overall_high"), np.nan)
        if len(complete):
            row |= dict(zip([*groups, "overall"], complete.mean(axis=0)))
            (row["overall_low"],), (row["overall_high"],) = bootstrap_intervals(complete[None, :, -1])
        row["flagged"] = key in flagged
        missing = {name for number in numbers for name in table["missing"].iloc[number].split(", ") if name}
        row["reason"] = _reason_not_ranked(key, own, len(complete), missing, flagged)
        row["ranked"] = row["reason"] == ""
        rows.append(row)
    result = pd.DataFrame(rows)
    result["metrics_used"], result["metrics_left_out"] = ", ".join(used), ", ".join(left_out)

    ranked = result[result["ranked"]]
    keys = set(zip(ranked["model"], ranked["variant"]))
    ranks = np.array([key in keys for key in zip(table["model"], table["variant"])], dtype=bool)
    contest = table[ranks & table["overall"].notna().to_numpy()]
    better, worse = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0)
    if len(keys) > 1:
        pairs = compare_units(contest.assign(metric="overall", value=contest["overall"]), {}, CONDITION, alpha)
        for pair in pairs[pairs["better"] != "unresolved"].itertuples():
            first, second = (pair.model_a, pair.variant_a), (pair.model_b, pair.variant_b)
            worse[first if pair.better == "a" else second] += 1
            better[second if pair.better == "a" else first] += 1
    own_keys = list(zip(result["model"], result["variant"]))
    result["position"] = result["overall"].where(result["ranked"]).rank(ascending=False, method="min")
    result["rank_low"] = [1.0 + better[key] if key in keys else np.nan for key in own_keys]
    result["rank_high"] = [float(len(keys)) - worse[key] if key in keys else np.nan for key in own_keys]
    result["smallest_p"] = [
        smallest_p(n) if key in keys else np.nan for key, n in zip(own_keys, result["n_replicates"])
    ]
    order = ["ranked", "overall", *VARIANT]
    return result.sort_values(order, ascending=[False, False, True, True], na_position="last", ignore_index=True)


def _reason_not_ranked(
    key: tuple, scores: list[tuple], n_complete: int, missing: set[str], flagged: Mapping[tuple, list[str]]
) -> str:
    """Why a variant is not ranked, empty if it is; `scores` are its (metric, replicate, status, reason)."""
    if key[0] in CONTROLS:
        return "control"
    statuses = [status for _, _, status, _ in scores]
    if all(status == "not_applicable" for status in statuses):
        return f"not applicable: {first_reason(reason for *_, reason in scores)}"
    if key in flagged:
        return f"flagged: {first_reason(flagged[key])}"
    if n_complete:
        return ""
    if "ok" not in statuses:
        return f"{statuses[0].replace('_', ' ')}: {first_reason(reason for *_, reason in scores)}"
    return (
        f"no replicate with every metric; missing: {', '.join(sorted(missing))}"
        if missing
        else "no metric could be scaled"
    )
