"""What a job asks of a cluster: memory in MB and run time in minutes, by cells and features and by attempt.

Every request is a fixed part, what the programs need for themselves, and a part that grows with the data. The constants
were measured; ``docs/cluster.md`` says on what and by which command. They are meant for a first attempt that fits
nearly always and wastes little: a job that is killed for asking too little is submitted again by the cluster profile
(``retries``) and then asks for twice as much. Without a cluster nobody reads these requests, unless ``--resources
mem_mb=N`` makes Snakemake share out so much memory among its jobs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.designs import DesignSpec
from workflow.configuration import Study
from workflow.planning import PlannedDataset, PlannedDesign

UNKNOWN_CELLS = 10_000
UNKNOWN_FEATURES = 30_000
UNKNOWN_DENSITY = 0.1
"""Cells, features and share of nonzero counts of a data set that is neither prepared nor declared."""

JOB_MB = 500
"""Memory of what runs beside a rule's own process: SLURM's step, two Snakemakes, the training's supervisor (MB)."""

DATASET_MB, DATASET_MB_PER_SOURCE_MB = 1500, 12
"""Preparing: MB, and MB a MB of (compressed) source files."""

DESIGN_MB, DESIGN_BYTES_PER_NONZERO = 500, 60
"""Making a design: MB, and bytes a nonzero count of the data set."""

TRAINING_MB, TRAINING_BYTES_PER_ENTRY = 1500, 16
"""Training: MB, and bytes an entry (observation x feature) of the design, stored densely; see `training_memory_mb`."""

TRAINING_MINUTES, TRAINING_SECONDS_PER_ENTRY = 10, 6e-5
"""Training: minutes, and seconds an entry of the design."""

SCORE_MB, SCORE_BYTES_PER_OBSERVATION, SCORE_BYTES_PER_PREDICTED_ENTRY = 500, 12_500, 8
"""Scoring: MB, bytes an observation, and bytes an entry of a prediction (mean and standard deviation, float32)."""

DESIGN_MINUTES, DESIGN_NONZEROS_PER_MINUTE = 5, 10_000_000
SCORE_MINUTES, SCORE_OBSERVATIONS_PER_MINUTE = 5, 20_000
"""Minutes, and how much more of the data a further minute is for."""

LIMIT_ATTEMPT = 3
"""From this attempt on a training asks for all that the study's limits allow."""

MARGIN_MINUTES = 5
"""Between the time limit of a training, which ends in a record, and that of its job, which would not (minutes)."""

MEGABYTE = 2**20


@dataclass(frozen=True)
class Size:
    """How much data there is.

    Attributes
    ----------
    n_observations
        Rows; an unpaired cell is one in each modality.
    n_features
        Features of all modalities together.
    density
        Share of the counts that are not zero, in [0, 1].
    """

    n_observations: int
    n_features: int
    density: float

    @property
    def n_entries(self) -> int:
        """Entries of the matrix when stored densely."""
        return self.n_observations * self.n_features

    @property
    def n_nonzero(self) -> int:
        """Counts that are not zero."""
        return round(self.n_entries * self.density)


class Sizes:
    """Sizes of a study's data sets and designs.

    A prepared data set is known by its ``summary.json``. Before that (in a dry run) the registry's declared number of
    cells stands for it, and failing that :data:`UNKNOWN_CELLS`; Snakemake asks again when a job becomes ready.
    """

    def __init__(self, study: Study) -> None:
        self._folder = Path(study.results_dir) / "shared" / "datasets"
        self._declared: dict[str, int] = {}
        for item in study.datasets:
            n_cells = item.entry.n_cells or (item.entry.simulate or {}).get("n_cells")
            if n_cells:
                self._declared[item.name] = int(n_cells)

    def dataset(self, dataset: PlannedDataset) -> Size:
        """The size of a data set, of all its cells and features."""
        facts = self._facts(dataset)
        if facts is None:
            return Size(self._declared.get(dataset.name, UNKNOWN_CELLS), UNKNOWN_FEATURES, UNKNOWN_DENSITY)
        features = facts["n_features"]
        total = max(1, sum(features.values()))
        nonzero = sum(count * (1 - facts["zero_fraction"][name]) for name, count in features.items())
        return Size(int(facts["n_cells"]), total, nonzero / total)

    def design(self, design: PlannedDesign) -> Size:
        """The size of a design: its cells, as observations, and the features that its filters leave at most."""
        whole = self.dataset(design.dataset)
        facts = self._facts(design.dataset)
        spec = design.spec
        n_features = whole.n_features
        if facts is not None:
            n_features = sum(_n_features(spec, name, facts["n_features"].get(name, 0)) for name in spec.modalities)
        n_cells = min(spec.n_cells or whole.n_observations, whole.n_observations)
        n_cells += math.ceil(spec.test_fraction * whole.n_observations)
        split = spec.unpaired_fraction * (len(spec.modalities) - 1)
        return Size(math.ceil(n_cells * (1 + split)), n_features, whole.density)

    def _facts(self, dataset: PlannedDataset) -> Mapping[str, Any] | None:
        file = self._folder / dataset.key / "summary.json"
        try:
            return _read_summary(file, file.stat().st_mtime_ns)
        except (OSError, ValueError):
            return None


def _n_features(spec: DesignSpec, modality: str, available: int) -> int:
    settings = spec.features.get(modality, {})
    kept = available
    if "top_fraction" in settings:
        kept = min(kept, math.ceil(settings["top_fraction"] * available))
    if "highly_variable" in settings:
        kept = min(kept, int(settings["highly_variable"]))
    return kept


@lru_cache(maxsize=4096)
def _read_summary(file: Path, changed: int) -> Mapping[str, Any]:
    """A summary, read once as long as the file does not change: a study asks for it once a job."""
    return json.loads(file.read_text(encoding="utf-8"))


def source_mb(dataset: PlannedDataset) -> float:
    """Size of a data set's source files, as far as they are here; MB."""
    files = (Path(name) for name in dataset.sources)
    return sum(file.stat().st_size for file in files if file.is_file()) / MEGABYTE


def _grown(first: float, attempt: int) -> int:
    """A request of the first attempt, doubled by each further one."""
    return math.ceil(first * 2 ** (attempt - 1))


def dataset_memory_mb(source_mb: float, attempt: int = 1) -> int:
    """Memory to prepare a data set whose source files take `source_mb` MB; MB."""
    return _grown(JOB_MB + DATASET_MB + DATASET_MB_PER_SOURCE_MB * source_mb, attempt)


def dataset_minutes(source_mb: float, attempt: int = 1) -> int:
    """Run time to prepare a data set; minutes, an hour of them for a slow download."""
    return _grown(60 + source_mb / 50, attempt)


def design_memory_mb(size: Size, attempt: int = 1) -> int:
    """Memory to make a design of a data set of `size`, all of which is read; MB."""
    return _grown(JOB_MB + DESIGN_MB + DESIGN_BYTES_PER_NONZERO * size.n_nonzero / MEGABYTE, attempt)


def design_minutes(size: Size, attempt: int = 1) -> int:
    """Run time to make a design of a data set of `size`; minutes."""
    return _grown(DESIGN_MINUTES + size.n_nonzero / DESIGN_NONZEROS_PER_MINUTE, attempt)


def training_memory_mb(size: Size, limit_mb: float, attempt: int = 1) -> int:
    """Memory of a training on a design of `size`; MB.

    Parameters
    ----------
    size
        The design.
    limit_mb
        The study's ``limits.memory_mb``. A model that needs more is stopped by its supervisor, which is a result and
        recorded; so no job asks for more than this and what runs beside the model. A job that the cluster kills
        leaves no record, so the attempt :data:`LIMIT_ATTEMPT` asks for all of it.
    attempt
        1 for the first.
    """
    needed = TRAINING_MB + TRAINING_BYTES_PER_ENTRY * size.n_entries / MEGABYTE
    return JOB_MB + _within(limit_mb, needed, attempt)


def training_minutes(size: Size, limit_minutes: float, attempt: int = 1) -> int:
    """Run time of a training on a design of `size`, of at most the study's ``limits.wall_minutes``; minutes."""
    needed = TRAINING_MINUTES + TRAINING_SECONDS_PER_ENTRY * size.n_entries / 60
    return MARGIN_MINUTES + _within(limit_minutes, needed, attempt)


def _within(limit: float, first: float, attempt: int) -> int:
    return math.ceil(limit if attempt >= LIMIT_ATTEMPT else min(limit, _grown(first, attempt)))


def score_memory_mb(size: Size, predict: bool, attempt: int = 1) -> int:
    """Memory to score a run on a design of `size`, with or without a prediction of withheld counts; MB."""
    grows = SCORE_BYTES_PER_OBSERVATION * size.n_observations
    if predict:
        grows += SCORE_BYTES_PER_PREDICTED_ENTRY * size.n_entries
    return _grown(JOB_MB + SCORE_MB + grows / MEGABYTE, attempt)


def score_minutes(size: Size, attempt: int = 1) -> int:
    """Run time to score a run on a design of `size`; minutes."""
    return _grown(SCORE_MINUTES + size.n_observations / SCORE_OBSERVATIONS_PER_MINUTE, attempt)
