"""The figures by name: whose figure it is, which study it is of, and what draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping

from matplotlib.figure import Figure

from benchmarks.errors import InputError, did_you_mean
from benchmarks.figures import (
    clustering_scores,
    clustering_umaps,
    latent_dimensions,
    mixing,
    multidgd_benchmark,
    sample_size_boxes,
    sample_size_tiles,
    sample_size_umaps,
    scaling,
    studies,
    study_scores,
    trimodal,
    unpairing,
)
from benchmarks.figures.values import datasets, sub_study
from benchmarks.report.study import Study

BROMBACHER = "Brombacher et al. 2022, Frontiers in Molecular Biosciences"
MULTIVI = "Ashuach et al. 2023, Nature Methods (MultiVI)"
SCMVP = "Li et al. 2022, Genome Biology (scMVP)"
MULTIDGD = "Schuster et al. 2024, Nature Communications (multiDGD)"


def by_dataset(study: Study) -> dict[str, Study]:
    """The study's data sets, each apart."""
    return {name: sub_study(study, [name]) for name in datasets(study)}


def whole(study: Study) -> dict[str, Study]:
    """The study as it is."""
    return {"": study}


@dataclass(frozen=True)
class PaperFigure:
    """One figure of a paper.

    Attributes
    ----------
    study
        Study in ``config/studies`` that it is of; ``<study>_small`` is as good.
    paper, number
        Paper, and the figure's number there.
    draw
        Function of a study's tables; returns a matplotlib figure.
    split
        Parts of the study of which one figure each is drawn, by name.
    """

    study: str
    paper: str
    number: str
    draw: Callable[[Study], Figure]
    split: Callable[[Study], Mapping[str, Study]] = whole


FIGURES = {
    "brombacher_2": PaperFigure("brombacher_sample_size", BROMBACHER, "2", sample_size_tiles.draw_biology),
    "brombacher_3": PaperFigure("brombacher_sample_size", BROMBACHER, "3", sample_size_tiles.draw_technical),
    "brombacher_4_5": PaperFigure("brombacher_sample_size", BROMBACHER, "4, 5", sample_size_umaps.draw, by_dataset),
    "brombacher_s1_s2": PaperFigure("brombacher_sample_size", BROMBACHER, "S1, S2", sample_size_boxes.draw, by_dataset),
    "multivi_2": PaperFigure("multivi_unpairing", MULTIVI, "2", unpairing.draw, by_dataset),
    "multivi_s3": PaperFigure("multivi_mixing", MULTIVI, "S3", mixing.draw),
    "multivi_3_s4": PaperFigure("multivi_studies", MULTIVI, "3, S4", studies.draw, by_dataset),
    "multivi_s5": PaperFigure("multivi_studies", MULTIVI, "S5, S6c", study_scores.draw),
    "multivi_6": PaperFigure("multivi_trimodal", MULTIVI, "6, S9", trimodal.draw, trimodal.split),
    "scmvp_1b": PaperFigure("scmvp_latent_dimensions", SCMVP, "1b", latent_dimensions.draw),
    "scmvp_1c": PaperFigure("scmvp_scaling", SCMVP, "1c", scaling.draw),
    "scmvp_3abc": PaperFigure("scmvp_clustering", SCMVP, "3a to c", clustering_umaps.draw, by_dataset),
    "scmvp_3d_4a": PaperFigure("scmvp_clustering", SCMVP, "3d, 4a", clustering_scores.draw),
    "multidgd_2": PaperFigure("multidgd_benchmark", MULTIDGD, "2", multidgd_benchmark.draw),
}
"""All figures, in the papers' order."""


def figures_of(study_name: str) -> list[str]:
    """Names of the figures of a study.

    Raises
    ------
    InputError
        If there are none.
    """
    found = [name for name, figure in FIGURES.items() if study_name in (figure.study, f"{figure.study}_small")]
    if not found:
        known = sorted({figure.study for figure in FIGURES.values()})
        raise InputError(
            f"study {study_name!r} has no figures of a paper{did_you_mean(study_name, known)}; --names draws any figure from it"
        )
    return found


def figure(name: str) -> PaperFigure:
    """The figure called `name`.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in FIGURES:
        raise InputError(f"no figure {name!r}{did_you_mean(name, FIGURES)}")
    return FIGURES[name]
