"""How the simulator's defaults compare with real bone marrow: the same statistics of both, as a table and a figure.

The real files (``bmmc_multiome.h5mu``, ``bmmc_cite.h5mu``) hold 500 and 600 cells of two batches, so the simulation
that they are compared with has that shape too: what small groups do to an estimate, they do to both.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.datasets.simulate import SimulationParameters, simulate
from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, atomic_path, read_h5mu, write_table

REAL_FILES = {"bmmc_multiome": "bmmc_multiome.h5mu", "bmmc_cite": "bmmc_cite.h5mu"}
"""Column of the table -> file in the data folder."""

MATCHED = {"n_cells": 550, "n_types": 23, "n_sites": 1, "donors_per_site": 2}
"""What differs from the defaults in the simulation that is compared: the shape of the real files."""

SMALLEST_GROUP = 8
"""Cells of one type and batch that a dispersion is estimated in."""


@dataclass
class Statistics:
    """Statistics of one data set.

    Attributes
    ----------
    values
        (modality, statistic) -> value; modality ``cells`` for what belongs to none.
    curves
        Name -> arrays for the figure.
    """

    values: dict[tuple[str, str], float] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)


def size_normalised(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Dense counts over size factors (cells x features), and the size factors (library over mean library)."""
    library = np.asarray(matrix.sum(axis=1)).ravel()
    size = np.maximum(library, 1) / max(library.mean(), 1e-12)
    return matrix.toarray() / size[:, None], size


def dispersion_by_mean(matrix: sp.csr_matrix, groups: np.ndarray, n_bins: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Median NB dispersion of the features in each of `n_bins` equally filled bins of their mean.

    The method of moments on size-factor normalised counts, ``(variance - mean E[1/s]) / mean^2``, numerator and
    denominator pooled over groups of at least :data:`SMALLEST_GROUP` cells weighted by their cells; features of mean
    above 0.02. Negative means less variance than Poisson, which small groups give at low means by chance.

    Parameters
    ----------
    matrix
        Counts, cells x features.
    groups
        Label of each cell's group (cell type and batch).

    Returns
    -------
    tuple
        Means and median dispersions, `n_bins` each; empty where no group is large enough.
    """
    values, size = size_normalised(matrix)
    excess, squares = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for group in np.unique(groups):
        rows = groups == group
        if rows.sum() < SMALLEST_GROUP:
            continue
        mean, variance = values[rows].mean(axis=0), values[rows].var(axis=0, ddof=1)
        excess += rows.sum() * (variance - mean * (1 / size[rows]).mean())
        squares += rows.sum() * mean**2
    mean = values.mean(axis=0)
    kept = (mean > 0.02) & (squares > 0)
    if kept.sum() < n_bins:
        return np.empty(0), np.empty(0)
    order = np.argsort(mean[kept], kind="stable")
    dispersion = (excess[kept] / squares[kept])[order]
    bins = np.array_split(np.arange(len(order)), n_bins)
    return (
        np.array([mean[kept][order][bin_].mean() for bin_ in bins]),
        np.array([np.median(dispersion[bin_]) for bin_ in bins]),
    )


def batch_shift(
    matrix: sp.csr_matrix, types: np.ndarray, batches: np.ndarray, smallest: int = 12
) -> tuple[float, float]:
    """Standard deviation over features of the log fold change between the first two batches, within types.

    Computed in types with at least `smallest` cells in either batch, on features whose mean exceeds 0.3 in both, with
    the sampling variance (delta method) subtracted.

    Returns
    -------
    tuple
        Of the fold change common to the types (weighted by inverse variance), and of that in single types; NaN where no
        type or no feature qualifies.
    """
    values, _ = size_normalised(matrix)
    first, second = sorted(set(batches))[:2]
    shifts, errors = [], []
    for kind in np.unique(types):
        parts = [values[(types == kind) & (batches == batch)] for batch in (first, second)]
        if min(len(part) for part in parts) < smallest:
            continue
        means = [part.mean(axis=0) for part in parts]
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = np.log(means[1] / means[0])
            error = sum(part.var(axis=0, ddof=1) / len(part) / mean**2 for part, mean in zip(parts, means))
        usable = (means[0] > 0.3) & (means[1] > 0.3) & (error > 0)
        shift[~usable], error[~usable] = np.nan, np.nan
        shifts.append(shift - np.nanmedian(shift) if usable.any() else shift)
        errors.append(error)
    if not shifts or np.isnan(shifts).all():
        return math.nan, math.nan
    shift, error = np.array(shifts), np.array(errors)
    everywhere = ~np.isnan(shift).any(axis=0)
    single = math.sqrt(max(0.0, np.nanmean(shift**2) - np.nanmean(error)))
    if everywhere.sum() < 2:
        return math.nan, single
    weight = 1 / error[:, everywhere]
    common = (weight * shift[:, everywhere]).sum(axis=0) / weight.sum(axis=0)
    return math.sqrt(max(0.0, common.var() - (1 / weight.sum(axis=0)).mean())), single


def embed(matrix: sp.csr_matrix, modality: str) -> np.ndarray:
    """Embed one modality plainly: PCA of log-normalised RNA (20) or of CLR protein (15), LSI of TF-IDF ATAC (20)."""
    from sklearn.decomposition import PCA, TruncatedSVD

    library = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    if modality == "atac":
        open_ = (matrix > 0).astype(np.float64)
        cells = np.maximum(np.asarray(open_.sum(axis=1)).ravel(), 1)
        peaks = np.maximum(np.asarray(open_.sum(axis=0)).ravel(), 1)
        weighted = sp.csr_matrix(sp.diags(1e4 / cells) @ open_ @ sp.diags(np.log1p(matrix.shape[0] / peaks)))
        weighted.data = np.log1p(weighted.data)
        components = min(21, matrix.shape[1] - 1)
        # The first component is sequencing depth.
        return TruncatedSVD(components, random_state=0).fit_transform(weighted)[:, 1:]
    if modality == "rna":
        values = np.log1p(matrix.toarray() * (np.median(library) / library)[:, None])
        return PCA(min(20, *values.shape), random_state=0).fit_transform(values)
    values = np.log1p(matrix.toarray())
    values -= values.mean(axis=1, keepdims=True)
    return PCA(min(15, *values.shape), random_state=0).fit_transform(values)


def neighbour_purity(embedding: np.ndarray, labels: np.ndarray, k: int = 15) -> float:
    """Fraction of the `k` nearest neighbours that share a cell's label, mean over cells."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=k + 1).fit(embedding).kneighbors(return_distance=False)[:, :k]
    return float((labels[neighbours] == labels[:, None]).mean())


def predicted_variance(source: np.ndarray, target: np.ndarray) -> float:
    """Cross-validated (5-fold) R2 of the first 10 components of `target` from `source` by ridge regression."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    target = target[:, :10]
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(RidgeCV(np.logspace(-2, 4, 7)), source, target, cv=folds)
    return float(1 - ((target - predicted) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


def background_foreground(counts: np.ndarray) -> dict[str, float]:
    """Fit two Gaussians to the log1p counts of one protein.

    Returns
    -------
    dict
        ``background`` and ``gap`` (log mean, and how much higher the foreground's is), ``background_sd``,
        ``foreground_sd``, ``fraction`` of cells in the foreground, and ``bimodal`` (1 or 0): BIC better by more than 10
        than one Gaussian's, means more than 2 pooled standard deviations apart, 2 to 98 % foreground.
    """
    from sklearn.mixture import GaussianMixture

    values = np.log1p(counts)[:, None]
    two = GaussianMixture(2, random_state=0, reg_covar=1e-4).fit(values)
    one = GaussianMixture(1, random_state=0, reg_covar=1e-4).fit(values)
    low, high = np.argsort(two.means_.ravel())
    mean, sd = two.means_.ravel(), np.sqrt(two.covariances_.ravel())
    gap, fraction = mean[high] - mean[low], two.weights_[high]
    pooled = math.sqrt((sd[low] ** 2 + sd[high] ** 2) / 2)
    bimodal = one.bic(values) - two.bic(values) > 10 and gap > 2 * pooled and 0.02 < fraction < 0.98
    return {
        "background": mean[low],
        "background_sd": sd[low],
        "gap": gap,
        "foreground_sd": sd[high],
        "fraction": fraction,
        "bimodal": float(bimodal),
    }


def statistics(data: Multimodal) -> Statistics:
    """Compute every statistic of the comparison on one data set."""
    result = Statistics()
    column = "cell_type_harmonised" if "cell_type_harmonised" in data.obs else "cell_type"
    types = data.obs[column].astype(str).to_numpy()
    batches = data.obs["batch"].astype(str).to_numpy()
    groups = np.char.add(np.char.add(types.astype(str), "|"), batches.astype(str))
    share = np.sort(pd.Series(types).value_counts(normalize=True).to_numpy())[::-1]
    result.curves["proportions"] = share
    result.values["cells", "cell types"] = len(share)
    result.values["cells", "largest type, fraction"] = share[0]
    result.values["cells", "entropy of types, nats"] = float(-(share * np.log(share)).sum())
    values = result.values
    libraries, embeddings = {}, {}
    for modality in data.modalities:
        matrix = data.counts[modality]
        library = np.asarray(matrix.sum(axis=1)).ravel()
        libraries[modality] = np.log(np.maximum(library, 1))
        result.curves[f"{modality} library"] = library / matrix.shape[1]
        values[modality, "library, median count a feature"] = float(np.median(library)) / matrix.shape[1]
        values[modality, "log library, standard deviation"] = float(libraries[modality].std())
        values[modality, "fraction of zeros"] = 1 - matrix.nnz / math.prod(matrix.shape)
        detected = np.asarray((matrix > 0).mean(axis=0)).ravel()
        result.curves[f"{modality} detection"] = np.sort(detected)
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
            values[modality, f"detection rate, quantile {quantile:g}"] = float(np.quantile(detected, quantile))
        mean, dispersion = dispersion_by_mean(matrix, groups)
        result.curves[f"{modality} dispersion mean"], result.curves[f"{modality} dispersion"] = mean, dispersion
        if len(mean):
            values[modality, "dispersion, median of middle octiles"] = float(np.median(dispersion[2:6]))
            values[modality, "dispersion, highest octile"] = float(dispersion[-1])
        common, single = batch_shift(matrix, types, batches)
        values[modality, "batch log fold change, common, sd"] = common
        values[modality, "batch log fold change, within a type, sd"] = single
        embeddings[modality] = embed(matrix, modality)
        values[modality, "label purity of 15 neighbours"] = neighbour_purity(embeddings[modality], types)
        values[modality, "batch purity of 15 neighbours, over chance"] = neighbour_purity(
            embeddings[modality], batches
        ) / float((pd.Series(batches).value_counts(normalize=True) ** 2).sum())
        if modality != "rna":
            values[modality, "log library, correlation with RNA"] = float(
                np.corrcoef(libraries["rna"], libraries[modality])[0, 1]
            )
            values[modality, "R2 of its components from RNA"] = predicted_variance(
                embeddings["rna"], embeddings[modality]
            )
            values[modality, "R2 of RNA components from it"] = predicted_variance(
                embeddings[modality], embeddings["rna"]
            )
        if modality == "atac":
            nonzero = matrix.data
            shares = np.array([(nonzero == value).mean() for value in range(1, 9)])
            result.curves["atac values"] = shares
            for value in (1, 2, 4):
                values[modality, f"nonzero counts equal to {value}, fraction"] = float(shares[value - 1])
        if modality == "protein":
            fits = pd.DataFrame([background_foreground(x) for x in matrix.toarray().T])
            bimodal = fits[fits["bimodal"] > 0]
            result.curves["background"], result.curves["gap"] = (
                bimodal["background"].to_numpy(),
                bimodal["gap"].to_numpy(),
            )
            values[modality, "bimodal proteins, fraction"] = float(fits["bimodal"].mean())
            for name in ("background", "background_sd", "gap", "foreground_sd", "fraction"):
                word = {"gap": "foreground over background", "fraction": "cells with foreground"}.get(name, name)
                values[modality, f"bimodal: {word.replace('_', ' ')}, median"] = (
                    float(bimodal[name].median()) if len(bimodal) else math.nan
                )
    return result


def compare(
    real: dict[str, Multimodal], parameters: SimulationParameters, seeds: tuple[int, ...]
) -> tuple[pd.DataFrame, dict[str, Statistics], list[Statistics]]:
    """Compute the statistics of real and of simulated data.

    Returns
    -------
    tuple
        The table (``modality``, ``statistic``, one column for each real file, and ``simulated``,
        ``simulated_lowest``, ``simulated_highest``: mean and range over `seeds`); the statistics of the real files; of
        the simulations.
    """
    measured = {name: statistics(data) for name, data in real.items()}
    simulated = [statistics(simulate(parameters, seed)) for seed in seeds]
    rows = []
    for key in simulated[0].values:
        drawn = np.array([item.values.get(key, math.nan) for item in simulated])
        row = {"modality": key[0], "statistic": key[1]}
        row |= {name: item.values.get(key, math.nan) for name, item in measured.items()}
        row |= {"simulated": drawn.mean(), "simulated_lowest": drawn.min(), "simulated_highest": drawn.max()}
        rows.append(row)
    return pd.DataFrame(rows).round(4), measured, simulated


def run_calibration(
    data_dir: str | os.PathLike,
    figure: str | os.PathLike,
    table: str | os.PathLike,
    parameters: SimulationParameters | None = None,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
) -> pd.DataFrame:
    """Compare the simulator with the real bone marrow files; write a figure (PNG) and a table (TSV).

    Parameters
    ----------
    data_dir
        Folder with the :data:`REAL_FILES`.
    figure, table
        Files to write.
    parameters
        Default: the simulator's defaults in the real files' shape (:data:`MATCHED`).
    seeds
        Simulations to take mean and range over.

    Returns
    -------
    pandas.DataFrame
        The table.

    Raises
    ------
    InputError
        If a real file is missing.
    """
    real = {}
    for name, file in REAL_FILES.items():
        path = Path(data_dir) / file
        if not path.is_file():
            raise InputError(
                f"--data-dir: {path} is missing; name the folder that holds {', '.join(REAL_FILES.values())}"
            )
        real[name] = read_h5mu(path)
    parameters = parameters or SimulationParameters(**MATCHED)
    compared, measured, simulated = compare(real, parameters, tuple(seeds))
    write_table(table, compared)
    _draw(figure, measured, simulated)
    return compared


def _draw(path: str | os.PathLike, measured: dict[str, Statistics], simulated: list[Statistics]) -> None:
    """Draw eight panels: real files coloured, each simulation a thin grey line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = dict(zip(measured, ("#0072B2", "#D55E00")))
    labels = {"bmmc_multiome": "BMMC Multiome", "bmmc_cite": "BMMC CITE-seq"}
    figure = Figure(figsize=(14, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4)
    grey = {"color": "0.35", "linewidth": 0.9, "alpha": 0.7, "zorder": 1}

    def series(name: str):
        for number, item in enumerate(simulated):
            if name in item.curves:
                yield item.curves, {**grey, "label": "simulated (one line a seed)" if number == 0 else None}
        for key, item in measured.items():
            if name in item.curves:
                yield item.curves, {"color": colours[key], "linewidth": 1.8, "label": labels.get(key, key), "zorder": 2}

    for axis, modality, title in (
        (axes[0, 0], "rna", "RNA library size"),
        (axes[1, 0], "atac", "ATAC library size"),
        (axes[1, 2], "protein", "Protein library size"),
    ):
        for curves, style in series(f"{modality} library"):
            values = np.sort(curves[f"{modality} library"])
            axis.plot(values, np.linspace(0, 1, len(values)), **style)
        axis.set(xscale="log", xlabel="counts a cell and feature", ylabel="fraction of cells below", title=title)
    for axis, modality, title in (
        (axes[0, 1], "rna", "RNA detection rates"),
        (axes[1, 1], "atac", "ATAC detection rates"),
    ):
        for curves, style in series(f"{modality} detection"):
            values = curves[f"{modality} detection"]
            axis.plot(values, np.linspace(0, 1, len(values)), **style)
        axis.set(xlabel="fraction of cells with a count", ylabel="fraction of features below", title=title)
    for curves, style in series("rna dispersion"):
        axes[0, 2].plot(curves["rna dispersion mean"], curves["rna dispersion"], marker="o", markersize=3, **style)
    axes[0, 2].set(
        xscale="log",
        xlabel="mean count (octiles of genes)",
        ylabel="NB dispersion",
        title="RNA dispersion within types",
        ylim=(-1, 2),
    )
    for curves, style in series("proportions"):
        axes[0, 3].plot(np.arange(1, len(curves["proportions"]) + 1), curves["proportions"], **style)
    axes[0, 3].set(yscale="log", xlabel="rank of cell type", ylabel="fraction of cells", title="Cell type proportions")
    for curves, style in series("gap"):
        style = {key: value for key, value in style.items() if key != "linewidth"}
        axes[1, 3].scatter(curves["background"], curves["gap"], s=10, linewidths=0, **style)
    axes[1, 3].set(xlabel="log background count", ylabel="log foreground - background", title="Bimodal proteins")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    for letter, axis in zip("abcdefgh", axes.flat):
        axis.set_title(letter, loc="left", fontweight="bold")
    with atomic_path(path) as temporary:
        # Without the software's version in it, the same figure has the same bytes.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
