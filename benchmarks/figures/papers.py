"""Which figure is whose: the papers' figures by name, without anything that draws (the planner reads this)."""

from __future__ import annotations

from dataclasses import dataclass

BROMBACHER = "Brombacher et al. 2022, Frontiers in Molecular Biosciences"
MULTIVI = "Ashuach et al. 2023, Nature Methods (MultiVI)"
SCMVP = "Li et al. 2022, Genome Biology (scMVP)"
MULTIDGD = "Schuster et al. 2024, Nature Communications (multiDGD)"


@dataclass(frozen=True)
class Reference:
    """One figure of a paper.

    Attributes
    ----------
    study
        Study in ``config/studies`` that it is of; ``<study>_small`` is as good.
    paper, number
        Paper, and the figure's number there.
    shows
        What it shows, as a clause.
    """

    study: str
    paper: str
    number: str
    shows: str


REFERENCES = {
    "brombacher_2": Reference("brombacher_sample_size", BROMBACHER, "2", "conservation of biology by number of cells"),
    "brombacher_3": Reference("brombacher_sample_size", BROMBACHER, "3", "removal of technical effects by number of cells"),
    "brombacher_4_5": Reference("brombacher_sample_size", BROMBACHER, "4, 5", "UMAPs at the smallest and the largest number of cells"),
    "brombacher_s1_s2": Reference("brombacher_sample_size", BROMBACHER, "S1, S2", "every score and CPU time over subsamples, by number of cells"),
    "multivi_2": Reference("multivi_unpairing", MULTIVI, "2", "what unpairing cells does to mixing and to the halves of a cell"),
    "multivi_s3": Reference("multivi_mixing", MULTIVI, "S3", "ways of bringing modalities together"),
    "multivi_3_s4": Reference("multivi_studies", MULTIVI, "3, S4", "sources that measure different things in one embedding"),
    "multivi_s5": Reference("multivi_studies", MULTIVI, "S5, S6c", "scores of embeddings of different sources"),
    "multivi_s5d": Reference("multivi_studies", MULTIVI, "S5d", "labels of neighbours in other modalities"),
    "multivi_6": Reference("multivi_trimodal", MULTIVI, "6, S9", "three modalities, complete or in part"),
    "scmvp_1b": Reference("scmvp_latent_dimensions", SCMVP, "1b", "clustering by number of latent dimensions"),
    "scmvp_1c": Reference("scmvp_scaling", SCMVP, "1c", "time and memory by number of cells"),
    "scmvp_3abc": Reference("scmvp_clustering", SCMVP, "3a to c", "UMAPs of all models"),
    "scmvp_3d_4a": Reference("scmvp_clustering", SCMVP, "3d, 4a", "agreement of clusters with labels"),
    "multidgd_2": Reference("multidgd_benchmark", MULTIDGD, "2", "reconstruction, clustering, batches, data and feature efficiency"),
}  # fmt: skip
"""All figures, in the papers' order."""


def names_of(study_name: str) -> list[str]:
    """Names of the figures of a study, in its full or its small form; none for other studies."""
    return [name for name, own in REFERENCES.items() if study_name in (own.study, f"{own.study}_small")]
