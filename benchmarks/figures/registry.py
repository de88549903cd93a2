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
from benchmarks.figures.papers import REFERENCES, Reference, names_of
from benchmarks.figures.values import datasets, require_scores, sub_study
from benchmarks.report.study import Study


def by_dataset(study: Study) -> dict[str, Study]:
    """The study's data sets, each apart."""
    return {name: sub_study(study, [name]) for name in datasets(study)}


def whole(study: Study) -> dict[str, Study]:
    """The study as it is."""
    return {"": study}


@dataclass(frozen=True)
class PaperFigure(Reference):
    """One figure of a paper, with what draws it.

    Attributes
    ----------
    drawing
        Function of a study's tables; returns a matplotlib figure.
    split
        Parts of the study of which one figure each is drawn, by name.
    """

    drawing: Callable[[Study], Figure]
    split: Callable[[Study], Mapping[str, Study]] = whole

    def draw(self, study: Study) -> Figure:
        """The figure of a study.

        Raises
        ------
        InputError
            If the study has no successful run.
        """
        require_scores(study)
        return self.drawing(study)


DRAWINGS = {
    "brombacher_2": (sample_size_tiles.draw_biology,),
    "brombacher_3": (sample_size_tiles.draw_technical,),
    "brombacher_4_5": (sample_size_umaps.draw, by_dataset),
    "brombacher_s1_s2": (sample_size_boxes.draw, by_dataset),
    "multivi_2": (unpairing.draw, by_dataset),
    "multivi_s3": (mixing.draw,),
    "multivi_3_s4": (studies.draw, by_dataset),
    "multivi_s5": (study_scores.draw,),
    "multivi_s5d": (study_scores.draw_labels, by_dataset),
    "multivi_6": (trimodal.draw, trimodal.split),
    "scmvp_1b": (latent_dimensions.draw,),
    "scmvp_1c": (scaling.draw,),
    "scmvp_3abc": (clustering_umaps.draw, by_dataset),
    "scmvp_3d_4a": (clustering_scores.draw,),
    "multidgd_2": (multidgd_benchmark.draw,),
}
"""What draws each figure, and how its study is split where not one figure holds all."""

FIGURES = {
    name: PaperFigure(**vars(own), **dict(zip(("drawing", "split"), DRAWINGS[name])))
    for name, own in REFERENCES.items()
}
"""All figures, in the papers' order."""


def figures_of(study_name: str) -> list[str]:
    """Names of the figures of a study.

    Raises
    ------
    InputError
        If there are none.
    """
    found = names_of(study_name)
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
