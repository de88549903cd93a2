"""The simulator: paired RNA, ATAC and protein counts of cells whose types, trajectories and factors are known.

The generative model, in the order in which it is drawn (``docs/simulator.md`` has the reasons and the comparison
with real data):

1. A *tree of cell types*: a stem type, differentiation trajectories that leave it through a shared trunk, and
   mature types at the leaves of a random binary tree. Every type has a centre in the space of latent factors.
2. *Cells*: batch (site and donor), type given the batch's own composition, pseudotime along the type's piece of
   its trajectory, and latent factors ``z = centre(type, pseudotime) + noise``, shared by all modalities.
3. *Features*: genes load on few factors (programs); peaks that are linked to a gene load as that gene does, up to
   noise, and lie near its transcription start; proteins load as the gene that encodes them does.
4. *Counts*: RNA is negative binomial around ``library * softmax(base + loadings z + batch)`` with a dispersion that
   falls with the mean; ATAC fragments are Poisson around the like, and each fragment counts one or two cut sites;
   a protein is a sum of an ambient background and a foreground that cells switch on.

Randomness comes in blocks of :data:`BLOCK` cells, each with its own streams (one for the cells and one for each
modality). So cell *i* is the same whatever the number of cells, the chunk size of a stream to disk, and the other
modalities asked for.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError, did_you_mean
from benchmarks.formats import MODALITIES, Multimodal, atomic_path, h5mu_file, ordered_modalities, write_modality

BLOCK = 256
"""Cells that share random streams; part of the definition of a simulated data set."""

_WORLD, _CELLS, _COUNTS = 0, 1, 2
"""First number of the spawn keys: what a random stream is for."""

PEAK_BIN = 1_000
"""Peaks lie in bins of this many base pairs, one a bin at most, so that no two overlap."""


def _whole(default: int, low: int, high: int) -> Any:
    return dataclasses.field(default=default, metadata={"kind": int, "low": low, "high": high})


def _real(default: float, low: float, high: float) -> Any:
    return dataclasses.field(default=default, metadata={"kind": float, "low": low, "high": high})


@dataclass(frozen=True)
class SimulationParameters:
    """Everything about a simulated data set but its seed. Logarithms are natural.

    Attributes
    ----------
    modalities
        Which of ``rna``, ``atac``, ``protein`` to simulate; leaving one out does not change the others.
    n_cells, n_genes, n_peaks, n_proteins
        Sizes.
    n_types
        Cell types: one stem type and `trajectory_stages` for each trajectory, the rest mature types.
    proportion_ratio
        Expected abundance of the commonest type over that of the rarest; log abundance is linear in the rank.
    composition_sd
        Standard deviation over batches of a type's log abundance.
    trajectories
        Names of the differentiation trajectories; obs gets one column ``pseudotime_<name>`` in [0, 1] for each, NaN
        for cells outside. Stem cells are on the shared trunk and have all of them.
    trajectory_stages
        Cell types along each trajectory after the stem; they are equally long pieces of it.
    trajectory_length
        How far a trajectory's own factor rises along it.
    n_factors
        Latent factors (gene programs) shared by the modalities; the first ones belong to the trajectories.
    type_separation
        Standard deviation of the type centres, for each factor.
    sibling_similarity
        How much less mature types differ from their sibling in the tree than from the far end of it: the variance
        of a branch is multiplied by ``1 - sibling_similarity`` at every split. 0: no tree structure.
    within_type_sd
        Standard deviation of a cell's factors around its centre.
    n_private_factors, private_effect
        Factors that one modality alone sees (technical or biological), and the standard deviation of their loadings.
    regulated_fraction
        Fraction of the genes, and of the peaks that have no linked gene, that load on factors at all.
    programs_per_gene
        Factors that a regulated feature loads on.
    gene_effect, peak_effect
        Standard deviation of the loadings of regulated genes and peaks: log fold change for one unit of a factor.
        `gene_effect` 0 takes the signal from linked peaks and proteins too, since they follow their genes.
    linked_fraction
        Fraction of the peaks that are linked to a gene.
    link_coupling
        Correlation of the loadings of a linked peak with those of its gene, and of a protein with its gene.
    promoter_fraction
        Fraction of the linked peaks that lie within 1,000 base pairs upstream of the transcription start.
    link_distance
        Mean distance in base pairs of the other linked peaks from the transcription start (exponential, cut at 49,000).
    rna_library_median, rna_library_sd
        Median count a cell over the simulated genes, and standard deviation of its logarithm within type and batch.
    atac_library_median, atac_library_sd
        The same of ATAC *fragments* over the simulated peaks.
    library_correlation
        Correlation of the modalities' log library sizes within type and batch.
    library_type_sd
        Standard deviation over types of the log library sizes.
    gene_mean_sd
        Standard deviation over genes of the log mean (log-normal).
    peak_mean_shape
        Shape of the gamma distribution of the peaks' means; 1 is exponential, smaller is more unequal.
    dispersion, dispersion_half_mean, dispersion_scatter
        RNA: a gene of mean m has NB dispersion ``dispersion / (1 + m / dispersion_half_mean)`` times a log-normal
        factor with this log standard deviation (variance = mean + dispersion mean^2). 0: Poisson.
    paired_cut_fraction
        Fraction of the ATAC fragments both of whose ends lie in the peak and therefore count 2.
    protein_library_sd
        Standard deviation of the log factor that scales all of a cell's protein counts.
    protein_background_mean, protein_background_sd
        Mean and standard deviation over proteins of the log mean background count.
    ambient_sd
        Standard deviation over cells of the log background.
    protein_foreground, protein_foreground_sd
        Mean and standard deviation over bimodal proteins of log foreground over background.
    foreground_fraction
        Mean over proteins of the fraction of cells that have foreground.
    bimodal_fraction
        Fraction of the proteins that have a clear foreground; the rest have a quarter of it, in the logarithm.
    foreground_cell_sd
        Standard deviation over cells of the log foreground.
    foreground_sharpness
        How sharply foreground switches on as the program passes its threshold; small values mean noisy proteins.
    protein_stability
        How little the foreground follows a cell's own deviation from its type: 0 as much as RNA and ATAC do, 1 not
        at all (proteins outlive the fluctuations of their transcripts).
    protein_dispersion
        NB dispersion of proteins.
    n_sites, donors_per_site
        Batches: donors are nested in sites, and each donor is a batch (``s1d1``, ``s1d2``, ``s2d3``, ...).
    rna_site_sd, rna_donor_sd, atac_site_sd, atac_donor_sd, protein_site_sd, protein_donor_sd
        Standard deviation over features of the log fold change of a site and, on top, of a donor.
    program_batch_sd
        Relative change of a loading from batch to batch: a batch effect that differs between types.
    library_batch_sd
        Standard deviation over batches of the log library size.
    batch_strength
        Multiplies all of the batch effects above but not `composition_sd`.

    Raises
    ------
    InputError
        On construction, if a value is out of its range or the types do not suffice for the trajectories.
    """

    modalities: tuple[str, ...] = MODALITIES
    n_cells: int = _whole(2_000, 1, 100_000_000)
    n_genes: int = _whole(1_000, 2, 200_000)
    n_peaks: int = _whole(4_000, 2, 2_000_000)
    n_proteins: int = _whole(40, 1, 10_000)
    n_types: int = _whole(12, 1, 1_000)
    proportion_ratio: float = _real(20.0, 1.0, 1e6)
    composition_sd: float = _real(0.5, 0.0, 10.0)
    trajectories: tuple[str, ...] = ("erythroid", "lymphoid")
    trajectory_stages: int = _whole(3, 1, 100)
    trajectory_length: float = _real(3.0, 0.0, 20.0)
    n_factors: int = _whole(12, 1, 500)
    type_separation: float = _real(1.0, 0.0, 10.0)
    sibling_similarity: float = _real(0.4, 0.0, 0.95)
    within_type_sd: float = _real(0.32, 0.0, 10.0)
    n_private_factors: int = _whole(3, 0, 100)
    private_effect: float = _real(0.2, 0.0, 10.0)
    regulated_fraction: float = _real(0.5, 0.0, 1.0)
    programs_per_gene: int = _whole(2, 1, 100)
    gene_effect: float = _real(0.58, 0.0, 5.0)
    peak_effect: float = _real(0.25, 0.0, 5.0)
    linked_fraction: float = _real(0.4, 0.0, 1.0)
    link_coupling: float = _real(0.8, 0.0, 1.0)
    promoter_fraction: float = _real(0.35, 0.0, 1.0)
    link_distance: float = _real(10_000.0, 0.0, 50_000.0)
    rna_library_median: float = _real(600.0, 1.0, 1e7)
    rna_library_sd: float = _real(0.5, 0.0, 5.0)
    atac_library_median: float = _real(600.0, 1.0, 1e7)
    atac_library_sd: float = _real(0.6, 0.0, 5.0)
    library_correlation: float = _real(0.43, 0.0, 1.0)
    library_type_sd: float = _real(0.25, 0.0, 5.0)
    gene_mean_sd: float = _real(1.35, 0.0, 5.0)
    peak_mean_shape: float = _real(0.85, 0.05, 1e4)
    dispersion: float = _real(0.8, 0.0, 100.0)
    dispersion_half_mean: float = _real(0.6, 1e-6, 1e6)
    dispersion_scatter: float = _real(0.4, 0.0, 5.0)
    paired_cut_fraction: float = _real(0.88, 0.0, 1.0)
    protein_library_sd: float = _real(0.35, 0.0, 5.0)
    protein_background_mean: float = _real(1.35, -5.0, 10.0)
    protein_background_sd: float = _real(0.7, 0.0, 5.0)
    ambient_sd: float = _real(0.25, 0.0, 5.0)
    protein_foreground: float = _real(3.1, 0.0, 10.0)
    protein_foreground_sd: float = _real(1.0, 0.0, 5.0)
    foreground_fraction: float = _real(0.34, 0.0, 1.0)
    bimodal_fraction: float = _real(0.82, 0.0, 1.0)
    foreground_cell_sd: float = _real(0.35, 0.0, 5.0)
    foreground_sharpness: float = _real(10.0, 0.0, 100.0)
    protein_stability: float = _real(0.6, 0.0, 1.0)
    protein_dispersion: float = _real(0.2, 0.0, 100.0)
    n_sites: int = _whole(2, 1, 20)
    donors_per_site: int = _whole(2, 1, 20)
    rna_site_sd: float = _real(0.14, 0.0, 5.0)
    rna_donor_sd: float = _real(0.1, 0.0, 5.0)
    atac_site_sd: float = _real(0.14, 0.0, 5.0)
    atac_donor_sd: float = _real(0.1, 0.0, 5.0)
    protein_site_sd: float = _real(0.2, 0.0, 5.0)
    protein_donor_sd: float = _real(0.15, 0.0, 5.0)
    program_batch_sd: float = _real(0.15, 0.0, 5.0)
    library_batch_sd: float = _real(0.15, 0.0, 5.0)
    batch_strength: float = _real(1.0, 0.0, 20.0)

    def __post_init__(self) -> None:
        where = "simulate"
        for item in dataclasses.fields(self):
            if "kind" in item.metadata:
                object.__setattr__(self, item.name, _checked(item, getattr(self, item.name), where))
        try:
            object.__setattr__(self, "modalities", tuple(ordered_modalities(self.modalities)))
        except InputError as error:
            raise InputError(f"{where}.modalities: {error}") from error
        object.__setattr__(self, "trajectories", tuple(self.trajectories))
        if not self.modalities:
            raise InputError(f"{where}.modalities: empty; name at least one of {', '.join(MODALITIES)}")
        if len(set(self.trajectories)) < len(self.trajectories) or not all(
            isinstance(name, str) and name.isidentifier() for name in self.trajectories
        ):
            raise InputError(
                f"{where}.trajectories: {list(self.trajectories)!r}; give different names of letters, digits and _"
            )
        needed = 1 + len(self.trajectories) * self.trajectory_stages if self.trajectories else 1
        if self.n_types < needed:
            raise InputError(
                f"{where}.n_types: {self.n_types} is too few for {len(self.trajectories)} trajectories of "
                f"{self.trajectory_stages} stages and their stem, which take {needed}; raise n_types, or lower "
                "trajectory_stages, or set trajectories: []"
            )
        if self.n_factors < max(len(self.trajectories), self.programs_per_gene):
            raise InputError(
                f"{where}.n_factors: {self.n_factors} is fewer than the trajectories ({len(self.trajectories)}) or "
                f"programs_per_gene ({self.programs_per_gene}); raise n_factors"
            )
        if self.n_peaks > 100 * self.n_genes:
            raise InputError(
                f"{where}.n_peaks: {self.n_peaks} peaks find no place around {self.n_genes} genes; raise n_genes to at "
                f"least {-(-self.n_peaks // 100)} or lower n_peaks"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None, where: str = "simulate") -> "SimulationParameters":
        """Read parameters from a configuration; what is not named keeps its default.

        Parameters
        ----------
        mapping
            Field name -> value; besides, ``preset`` may name one of :data:`PRESETS` to start from.
        where
            File and key that the mapping comes from, for messages.

        Raises
        ------
        InputError
            If a key is unknown, or a value has the wrong type or is out of range.
        """
        mapping = {} if mapping is None else mapping
        if not isinstance(mapping, Mapping):
            raise InputError(f"{where}: {mapping!r} is not a mapping of parameters to values; write 'n_cells: 2000'")
        fields = {item.name: item for item in dataclasses.fields(cls)}
        for key in mapping:
            if key not in fields and key != "preset":
                raise InputError(f"{where}: unknown parameter {key!r}{did_you_mean(str(key), [*fields, 'preset'])}")
        preset = mapping.get("preset", "bmmc")
        if preset not in PRESETS:
            raise InputError(f"{where}.preset: unknown preset {preset!r}{did_you_mean(str(preset), PRESETS)}")
        values = dict(PRESETS[preset])
        for key, value in mapping.items():
            if key == "preset":
                continue
            if "kind" in fields[key].metadata:
                values[key] = _checked(fields[key], value, where)
            elif isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
                values[key] = tuple(value)
            else:
                raise InputError(f"{where}.{key}: {value!r} is not a list of names; write [name, ...]")
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(where + str(error).removeprefix("simulate")) from error

    @property
    def n_batches(self) -> int:
        """Number of batches: one a donor."""
        return self.n_sites * self.donors_per_site

    def n_features(self, modality: str) -> int:
        """Number of features of `modality`."""
        return {"rna": self.n_genes, "atac": self.n_peaks, "protein": self.n_proteins}[modality]


PRESETS: dict[str, dict[str, Any]] = {
    "bmmc": {},
    "snare": {
        "modalities": ("rna", "atac"),
        "n_genes": 1_677,
        "n_peaks": 25_734,
        "n_types": 23,
        "rna_library_median": 240.0,
        "rna_library_sd": 0.6,
        "gene_mean_sd": 1.65,
        "atac_library_median": 83.0,
        "atac_library_sd": 0.6,
        "peak_mean_shape": 0.6,
        "paired_cut_fraction": 0.0,
    },
}
"""Named starting points: ``bmmc`` (the defaults) and ``snare``, SNARE-seq of mouse cortex with its very sparse ATAC."""


def _checked(item: dataclasses.Field, value: Any, where: str) -> int | float:
    kind, low, high = item.metadata["kind"], item.metadata["low"], item.metadata["high"]
    number = not isinstance(value, (bool, np.bool_)) and isinstance(value, (int, float, np.integer, np.floating))
    if number and kind is int:
        number = float(value).is_integer()
    if not number or not low <= value <= high:
        word = "a whole number" if kind is int else "a number"
        raise InputError(f"{where}.{item.name}: {value!r} is not {word} from {low:g} to {high:g}; correct it")
    return kind(value)


# --------------------------------------------------------------------------------------------------------
# The world: what is fixed before any cell is drawn
# --------------------------------------------------------------------------------------------------------


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass
class _Features:
    """Of one modality: base log mean (F), loadings (K x F), private loadings (P x F), batch log fold change (B x F)."""

    var: pd.DataFrame
    base: np.ndarray
    loadings: np.ndarray
    private: np.ndarray
    batch: np.ndarray
    batch_loadings: list[np.ndarray]
    dispersion: np.ndarray
    extra: dict[str, np.ndarray]


@dataclass
class _World:
    types: list[str]
    newick: str
    centres: np.ndarray
    paths: list[tuple[np.ndarray, np.ndarray]]
    trajectory: np.ndarray
    stage: np.ndarray
    composition: np.ndarray
    batches: list[str]
    sites: list[str]
    donors: list[str]
    library_type: dict[str, np.ndarray]
    library_batch: dict[str, np.ndarray]
    features: dict[str, _Features]


def _leaf_tree(
    rng: np.random.Generator, names: list[str], centre: np.ndarray, variance: float, similarity: float
) -> tuple[list[np.ndarray], str]:
    """Split `names` at random, over and over; every branch is a Gaussian step, shorter the deeper it lies."""
    if len(names) == 1:
        return [centre], names[0]
    cut = len(names) // 2 if len(names) < 4 else int(rng.integers(len(names) // 3, len(names) - len(names) // 3 + 1))
    centres, newicks = [], []
    for part in (names[:cut], names[cut:]):
        child = centre + math.sqrt(variance) * rng.standard_normal(len(centre))
        below, text = _leaf_tree(rng, part, child, variance * (1 - similarity), similarity)
        centres += below
        newicks.append(text)
    return centres, f"({','.join(newicks)})"


def _world(parameters: SimulationParameters, seed: int) -> _World:
    """Draw the tree, the batches and the features of every modality (also of those that are not asked for)."""
    p = parameters
    rng = _generator(seed, _WORLD, 0)
    k, stages = p.n_factors, p.trajectory_stages

    n_staged = len(p.trajectories) * stages
    n_mature = p.n_types - n_staged - (1 if p.trajectories else 0)
    stem = p.type_separation * rng.standard_normal(k)
    # The trajectories' own factors start at zero, so that what rises along a trajectory is high nowhere else.
    stem[: len(p.trajectories)] = 0.0
    types: list[str] = ["stem"] if p.trajectories else []
    trajectory = [-1] * len(types)
    stage = [0] * len(types)
    centres = [stem] * len(types)
    paths = []
    times = np.linspace(0.0, 1.0, stages + 2)
    branching = stem.copy()
    branching[: len(p.trajectories)] += p.trajectory_length * times[1]
    newicks = []
    for number, name in enumerate(p.trajectories):
        nodes = [stem, branching]
        for time in times[2:]:
            step = p.type_separation * math.sqrt(2.0 / (stages + 1)) * rng.standard_normal(k)
            step[: len(p.trajectories)] = 0.0
            node = nodes[-1] + step
            node[number] = p.trajectory_length * time
            nodes.append(node)
        curve = np.array(nodes)
        paths.append((times, curve))
        text = ""
        for j in range(1, stages + 1):
            types.append(f"{name}_{j}")
            trajectory.append(number)
            stage.append(j)
            centres.append((curve[j] + curve[j + 1]) / 2)
        for j in range(stages, 0, -1):
            text = f"({text}){name}_{j}" if text else f"{name}_{j}"
        newicks.append(text)
    mature = [f"mature_{j + 1}" for j in range(n_mature)]
    if mature:
        similarity = p.sibling_similarity
        depth = max(1.0, math.log2(n_mature))
        total = sum((1 - similarity) ** level for level in range(math.ceil(depth)))
        start = np.zeros(k)
        leaves, text = _leaf_tree(rng, mature, start, p.type_separation**2 / total, similarity)
        for leaf in leaves:
            leaf[: len(p.trajectories)] *= 0.5
        types += mature
        trajectory += [-1] * n_mature
        stage += [0] * n_mature
        centres += leaves
        newicks.append(text)
    if p.trajectories:
        stem_text = f"({','.join(newicks[: len(p.trajectories)])})stem"
        newick = f"({stem_text},{newicks[-1]})root;" if mature else f"{stem_text};"
    else:
        newick = f"{newicks[0]};"

    log_abundance = -np.linspace(0.0, math.log(p.proportion_ratio), p.n_types)
    order = rng.permutation(p.n_types)
    if p.trajectories:
        # Stem cells are rare in tissue.
        rare = int(np.flatnonzero(order == min(p.n_types - 1, round(0.75 * p.n_types)))[0])
        order[[0, rare]] = order[[rare, 0]]
    log_abundance = log_abundance[order]

    batches, sites, donors = [], [], []
    for site in range(p.n_sites):
        for _ in range(p.donors_per_site):
            sites.append(f"s{site + 1}")
            donors.append(f"d{len(donors) + 1}")
            batches.append(sites[-1] + donors[-1])
    logits = log_abundance + p.composition_sd * rng.standard_normal((len(batches), p.n_types))
    composition = np.exp(logits - logits.max(axis=1, keepdims=True))
    composition /= composition.sum(axis=1, keepdims=True)

    type_quality = rng.standard_normal(p.n_types)
    library_type, library_batch = {}, {}
    for modality in MODALITIES:
        own = rng.standard_normal(p.n_types)
        library_type[modality] = p.library_type_sd * (0.7 * type_quality + math.sqrt(1 - 0.49) * own)
        library_batch[modality] = p.batch_strength * p.library_batch_sd * rng.standard_normal(len(batches))

    world = _World(
        types=types,
        newick=newick,
        centres=np.array(centres),
        paths=paths,
        trajectory=np.array(trajectory),
        stage=np.array(stage),
        composition=composition,
        batches=batches,
        sites=sites,
        donors=donors,
        library_type=library_type,
        library_batch=library_batch,
        features={},
    )
    genes = _genes(p, seed)
    world.features["rna"] = genes
    world.features["atac"] = _peaks(p, seed, genes)
    world.features["protein"] = _proteins(p, seed, genes, world)
    return world


def _program_loadings(rng: np.random.Generator, p: SimulationParameters, n: int, effect: float) -> np.ndarray:
    """K x n loadings, sparse: `programs_per_gene` factors a regulated feature, none for the others."""
    loadings = np.zeros((p.n_factors, n))
    regulated = np.flatnonzero(rng.random(n) < p.regulated_fraction)
    chosen = np.argsort(rng.random((n, p.n_factors)), axis=1)[:, : p.programs_per_gene]
    weights = effect * rng.standard_normal((n, p.programs_per_gene))
    for j in range(p.programs_per_gene):
        loadings[chosen[regulated, j], regulated] = weights[regulated, j]
    return loadings


def _batch_effects(
    rng: np.random.Generator, p: SimulationParameters, loadings: np.ndarray, site_sd: float, donor_sd: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log fold changes (B x F), and each batch's own version of the loadings (K x F)."""
    n = loadings.shape[1]
    site = site_sd * rng.standard_normal((p.n_sites, n))
    donor = donor_sd * rng.standard_normal((p.n_batches, n))
    shift = p.batch_strength * (np.repeat(site, p.donors_per_site, axis=0) + donor)
    change = p.batch_strength * p.program_batch_sd
    return shift, [loadings * (1 + change * rng.standard_normal(loadings.shape)) for _ in range(p.n_batches)]


def _private_loadings(rng: np.random.Generator, p: SimulationParameters, n: int) -> np.ndarray:
    """P x n loadings on the factors that this modality alone sees; each touches a fifth of the features."""
    touched = rng.random((p.n_private_factors, n)) < 0.2
    return np.where(touched, p.private_effect * rng.standard_normal(touched.shape), 0.0)


def _genes(p: SimulationParameters, seed: int) -> _Features:
    """Genes, laid along chromosomes with at least 100,000 base pairs between one and the next."""
    rng = _generator(seed, _WORLD, 1)
    n = p.n_genes
    base = p.gene_mean_sd * rng.standard_normal(n)
    loadings = _program_loadings(rng, p, n, p.gene_effect)
    private = _private_loadings(rng, p, n)
    share = np.exp(base - base.max())
    mean = p.rna_library_median * share / share.sum()
    dispersion = (
        p.dispersion / (1 + mean / p.dispersion_half_mean) * np.exp(p.dispersion_scatter * rng.standard_normal(n))
    )
    batch, batch_loadings = _batch_effects(rng, p, loadings, p.rna_site_sd, p.rna_donor_sd)

    n_chromosomes = min(22, n)
    chromosome = np.sort(rng.integers(0, n_chromosomes, n))
    length = np.clip(np.exp(rng.normal(math.log(20_000), 1.0, n)), 1_000, 200_000).astype(np.int64)
    gap = 100_000 + rng.integers(0, 100_000, n)
    strand = np.where(rng.random(n) < 0.5, "+", "-")
    start = np.cumsum(gap + np.concatenate([[0], length[:-1]]))
    first = np.concatenate([[True], chromosome[1:] != chromosome[:-1]])
    offset = np.maximum.accumulate(np.where(first, start - gap, 0))
    start = start - offset
    width = max(4, len(str(n)))
    symbol = [f"Gene{i + 1:0{width}d}" for i in range(n)]
    var = pd.DataFrame(
        {
            "gene_id": [f"SIMG{i + 1:08d}" for i in range(n)],
            "gene_symbol": symbol,
            "chrom": pd.Categorical([f"chr{c + 1}" for c in chromosome]),
            "start": start,
            "end": start + length,
            "strand": pd.Categorical(strand),
        },
        index=pd.Index(symbol, dtype=object),
    )
    for name in ("gene_id", "gene_symbol"):
        var[name] = pd.Categorical(var[name])
    return _Features(var, base, loadings, private, batch, batch_loadings, dispersion, {})


def _peaks(p: SimulationParameters, seed: int, genes: _Features) -> _Features:
    """Peaks: linked ones around their gene's transcription start, the others anywhere on its chromosomes."""
    rng = _generator(seed, _WORLD, 2)
    n = p.n_peaks
    linked = rng.random(n) < p.linked_fraction
    gene = np.where(linked, rng.integers(0, p.n_genes, n), -1)
    loadings = _program_loadings(rng, p, n, p.peak_effect)
    scale = p.peak_effect / p.gene_effect if p.gene_effect > 1e-9 else 0.0  # a quotient by next to nothing is infinite
    own = np.where(genes.loadings[:, gene] != 0, p.peak_effect * rng.standard_normal(loadings.shape), 0.0)
    coupled = p.link_coupling * scale * genes.loadings[:, gene] + math.sqrt(1 - p.link_coupling**2) * own
    loadings = np.where(linked, coupled, loadings)
    base = np.log(np.maximum(rng.standard_gamma(p.peak_mean_shape, n), 1e-6))
    private = _private_loadings(rng, p, n)
    batch, batch_loadings = _batch_effects(rng, p, loadings, p.atac_site_sd, p.atac_donor_sd)

    chroms = genes.var["chrom"].astype(str).to_numpy()
    starts, ends = genes.var["start"].to_numpy(), genes.var["end"].to_numpy()
    plus = (genes.var["strand"] == "+").to_numpy()
    transcription_start = np.where(plus, starts, ends)
    names, last = np.unique(chroms, return_inverse=True)
    chromosome_end = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(chromosome_end, last, ends)
    promoter = rng.random(n) < p.promoter_fraction
    upstream = np.where(plus[gene], -1, 1)
    side = np.where(promoter | (rng.random(n) < 0.5), upstream, -upstream)
    far = np.minimum(rng.exponential(1.0, n) * p.link_distance, 49_000)
    distance = np.where(promoter, rng.random(n) * 1_000, far)
    home = np.where(linked, last[gene], rng.integers(0, len(names), n))
    near = transcription_start[gene] + side * distance
    anywhere = rng.random(n) * (chromosome_end[home] + 50_000)
    wanted = np.maximum(np.where(linked, near, anywhere), 0).astype(np.int64) // PEAK_BIN
    taken: set[tuple[int, int]] = set()
    bins = np.zeros(n, dtype=np.int64)
    # Linked peaks first: they have a place to be at.
    for i in np.argsort(~linked, kind="stable"):
        offset = 0
        while True:
            place = (int(home[i]), int(wanted[i]) + offset)
            if place[1] >= 0 and place not in taken:
                break
            offset = -offset if offset > 0 else 1 - offset
        taken.add(place)
        bins[i] = place[1]
    width = np.clip(rng.normal(880, 45, n), 300, 990).astype(np.int64)
    start = bins * PEAK_BIN + 1 + (rng.random(n) * (PEAK_BIN - 1 - width)).astype(np.int64)
    chromosome_rank = np.array([int(name[3:]) for name in names])
    order = np.lexsort((start, chromosome_rank[home]))
    chrom = names[home]
    symbols = genes.var.index.to_numpy()
    loadings, batch_loadings = loadings[:, order], [item[:, order] for item in batch_loadings]
    linked_gene = np.where(linked, symbols[gene], None)[order]
    var = pd.DataFrame(
        {
            "chrom": pd.Categorical(chrom[order]),
            "start": start[order],
            "end": (start + width)[order],
            "linked_gene": pd.Categorical(linked_gene),
        },
        index=pd.Index(
            [f"{c}-{s}-{e}" for c, s, e in zip(chrom[order], start[order], (start + width)[order])], dtype=object
        ),
    )
    return _Features(var, base[order], loadings, private[:, order], batch[:, order], batch_loadings, np.zeros(n), {})


def _proteins(p: SimulationParameters, seed: int, genes: _Features, world: _World) -> _Features:
    """Proteins, each encoded by a regulated gene (while there are any) whose programs switch its foreground on."""
    rng = _generator(seed, _WORLD, 3)
    n = p.n_proteins
    strength = np.sqrt((genes.loadings**2).sum(axis=0))
    candidates = np.argsort(-(strength > 0).astype(int) - rng.random(p.n_genes) * 0.5, kind="stable")
    gene = candidates[np.arange(n) % p.n_genes]
    of_gene = genes.loadings[:, gene]
    own = np.where(of_gene != 0, rng.standard_normal(of_gene.shape), 0.0)
    direction = []
    for part in (of_gene, own):
        norm = np.sqrt((part**2).sum(axis=0))
        direction.append(part / np.where(norm > 0, norm, 1.0))
    loadings = p.link_coupling * direction[0] + math.sqrt(1 - p.link_coupling**2) * direction[1]
    base = p.protein_background_mean + p.protein_background_sd * rng.standard_normal(n)
    bimodal = rng.random(n) < p.bimodal_fraction
    gap = np.maximum(p.protein_foreground + p.protein_foreground_sd * rng.standard_normal(n), 0.5)
    gap = np.where(bimodal, gap, 0.25 * gap)
    fraction = np.clip(p.foreground_fraction * np.exp(0.5 * rng.standard_normal(n) - 0.125), 0.0, 1.0)
    batch, batch_loadings = _batch_effects(rng, p, loadings, p.protein_site_sd, p.protein_donor_sd)
    private = _private_loadings(rng, p, n)

    # Surface markers separate populations, so the threshold lies where reference cells are few: of those that make
    # nearly the wanted fraction of cells positive, the one with the fewest cells around it.
    reference = _generator(seed, _WORLD, 4)
    kinds = reference.choice(p.n_types, 4_000, p=world.composition.mean(axis=0))
    noise = (1 - p.protein_stability) * p.within_type_sd
    factors = world.centres[kinds] + noise * reference.standard_normal((4_000, p.n_factors))
    score = np.sort(factors @ loadings, axis=0)
    threshold = np.empty(n)
    for i in range(n):
        levels = np.clip(fraction[i] * np.linspace(0.6, 1.6, 41), 0.0, 1.0)
        candidates = np.quantile(score[:, i], 1 - levels)
        around = np.searchsorted(score[:, i], candidates + 0.3) - np.searchsorted(score[:, i], candidates - 0.3)
        threshold[i] = candidates[np.argmin(around)]
    width = max(2, len(str(n)))
    var = pd.DataFrame(
        {"encoding_gene": pd.Categorical(genes.var.index.to_numpy()[gene]), "bimodal": bimodal},
        index=pd.Index([f"Protein{i + 1:0{width}d}" for i in range(n)], dtype=object),
    )
    extra = {"gap": gap, "threshold": threshold}
    return _Features(var, base, loadings, private, batch, batch_loadings, np.full(n, p.protein_dispersion), extra)


# --------------------------------------------------------------------------------------------------------
# Cells and counts, a block at a time
# --------------------------------------------------------------------------------------------------------


@dataclass
class _Cells:
    batch: np.ndarray
    kind: np.ndarray
    pseudotime: np.ndarray
    centres: np.ndarray
    factors: np.ndarray
    library: dict[str, np.ndarray]


def _cells(p: SimulationParameters, world: _World, seed: int, block: int) -> _Cells:
    """Draw the :data:`BLOCK` cells of a block, whole even where fewer of them are wanted."""
    rng = _generator(seed, _CELLS, block)
    batch = rng.integers(0, p.n_batches, BLOCK)
    cumulative = np.cumsum(world.composition, axis=1)[batch]
    kind = np.minimum((rng.random(BLOCK)[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1), p.n_types - 1)
    uniform = rng.random(BLOCK)
    noise = rng.standard_normal((BLOCK, p.n_factors))
    quality = rng.standard_normal(BLOCK)

    centres = world.centres[kind]
    pseudotime = np.full((BLOCK, len(p.trajectories)), np.nan)
    segments = p.trajectory_stages + 1
    for number, (times, curve) in enumerate(world.paths):
        on_path = (world.trajectory[kind] == number) | (kind == 0)
        time = (world.stage[kind[on_path]] + uniform[on_path]) / segments
        pseudotime[on_path, number] = time
        for j in range(p.n_factors):
            centres[on_path, j] = np.interp(time, times, curve[:, j])
    factors = centres + p.within_type_sd * noise

    library = {}
    medians = {"rna": p.rna_library_median, "atac": p.atac_library_median, "protein": 1.0}
    deviations = {"rna": p.rna_library_sd, "atac": p.atac_library_sd, "protein": p.protein_library_sd}
    shared, own = math.sqrt(p.library_correlation), math.sqrt(1 - p.library_correlation)
    for modality in MODALITIES:
        depth = shared * quality + own * rng.standard_normal(BLOCK)
        shift = world.library_type[modality][kind] + world.library_batch[modality][batch]
        library[modality] = medians[modality] * np.exp(deviations[modality] * depth + shift)
    return _Cells(batch, kind, pseudotime, centres, factors, library)


def _counts(
    p: SimulationParameters, world: _World, seed: int, block: int, cells: _Cells, modality: str, n: int
) -> sp.csr_matrix:
    """Counts of the first `n` cells of a block, n x features, CSR float32."""
    rng = _generator(seed, _COUNTS, MODALITIES.index(modality), block)
    features = world.features[modality]
    private = rng.standard_normal((BLOCK, p.n_private_factors))
    factors = cells.factors
    if modality == "protein":
        factors = cells.centres + (1 - p.protein_stability) * (cells.factors - cells.centres)
    signal = np.empty((BLOCK, len(features.base)))
    for number in range(p.n_batches):
        rows = np.flatnonzero(cells.batch == number)
        signal[rows] = factors[rows] @ features.batch_loadings[number]
    effect = private @ features.private + features.batch[cells.batch] + features.base
    if modality == "protein":
        mean = _protein_mean(p, features, cells, signal, effect, rng)
    else:
        signal += effect
        signal -= signal.max(axis=1, keepdims=True)
        mean = np.exp(signal, out=signal)
        mean *= (cells.library[modality] / mean.sum(axis=1))[:, None]
    # Bounds the memory and the time of absurd parameters; no real count is near.
    np.minimum(mean, 1e8, out=mean)
    if np.any(features.dispersion > 0):
        dispersion = np.maximum(features.dispersion, 1e-8)
        mean *= rng.standard_gamma(1 / dispersion, size=mean.shape) * dispersion
    drawn = rng.poisson(mean)
    if modality == "atac" and p.paired_cut_fraction > 0:
        rows, columns = np.nonzero(drawn)
        fragments = drawn[rows, columns]
        drawn[rows, columns] = fragments + rng.binomial(fragments, p.paired_cut_fraction)
    return sp.csr_matrix(drawn[:n].astype(np.float32))


def _protein_mean(
    p: SimulationParameters,
    features: _Features,
    cells: _Cells,
    score: np.ndarray,
    effect: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Expected protein counts: ambient background in every cell, foreground in those that have it on."""
    ambient = np.exp(p.ambient_sd * rng.standard_normal(BLOCK) - p.ambient_sd**2 / 2)
    logit = np.clip(p.foreground_sharpness * (score - features.extra["threshold"]), -500, 500)
    on = rng.random(score.shape) < 1 / (1 + np.exp(-logit))
    level = np.exp(p.foreground_cell_sd * rng.standard_normal(score.shape) + features.extra["gap"])
    scale = cells.library["protein"][:, None] * np.exp(np.minimum(effect, 50))
    return scale * (ambient[:, None] + on * level)


def _blocks(n_cells: int) -> Iterator[tuple[int, int]]:
    """(number, cells wanted) of each block."""
    for block in range(-(-n_cells // BLOCK)):
        yield block, min(BLOCK, n_cells - block * BLOCK)


def _obs(p: SimulationParameters, world: _World, seed: int) -> pd.DataFrame:
    """The table of all cells; costs a few dozen bytes a cell."""
    batch = np.empty(p.n_cells, dtype=np.int16)
    kind = np.empty(p.n_cells, dtype=np.int16)
    pseudotime = np.empty((p.n_cells, len(p.trajectories)))
    for block, n in _blocks(p.n_cells):
        cells = _cells(p, world, seed, block)
        rows = slice(block * BLOCK, block * BLOCK + n)
        batch[rows], kind[rows], pseudotime[rows] = cells.batch[:n], cells.kind[:n], cells.pseudotime[:n]
    obs = pd.DataFrame(index=pd.Index([f"cell{i:08d}" for i in range(p.n_cells)], dtype=object))
    for name, codes, labels in (
        ("cell_type", kind, world.types),
        ("batch", batch, world.batches),
        ("site", batch, world.sites),
        ("donor", batch, world.donors),
    ):
        used = sorted({labels[code] for code in np.unique(codes)})
        position = np.array([used.index(label) if label in used else -1 for label in labels])
        obs[name] = pd.Categorical.from_codes(position[codes], categories=used)
    for number, name in enumerate(p.trajectories):
        obs[f"pseudotime_{name}"] = pseudotime[:, number]
    return obs


def _facts(p: SimulationParameters, world: _World, seed: int) -> dict[str, Any]:
    changed = {
        item.name: getattr(p, item.name) for item in dataclasses.fields(p) if getattr(p, item.name) != item.default
    }
    return {
        "source": "simulated by benchmarks.datasets.simulate",
        "seed": int(seed),
        "parameters": {key: list(value) if isinstance(value, tuple) else value for key, value in changed.items()},
        "cell_type_tree": world.newick,
    }


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed: {seed!r} is not a whole number of at least 0; choose another")
    return int(seed)


def simulate(parameters: SimulationParameters | None = None, seed: int = 0) -> Multimodal:
    """Simulate a paired data set in memory.

    Parameters
    ----------
    parameters
        What to simulate; the defaults are calibrated to bone marrow (``docs/simulator.md``).
    seed
        At least 0. The same parameters and seed give the same data.

    Returns
    -------
    Multimodal
        obs: ``cell_type``, ``batch``, ``site``, ``donor``, ``pseudotime_<trajectory>`` ([0, 1], NaN outside).
        var: ``rna`` has ``gene_id``, ``gene_symbol``, ``chrom``, ``start``, ``end``, ``strand``; ``atac`` has
        ``chrom``, ``start``, ``end``, ``linked_gene`` (missing where none); ``protein`` has ``encoding_gene`` and
        ``bimodal``. uns: the seed, the parameters that are not at their default, the tree in Newick form.

    Raises
    ------
    InputError
        If the seed is negative or no whole number.
    """
    p = parameters or SimulationParameters()
    seed = _checked_seed(seed)
    world = _world(p, seed)
    parts: dict[str, list[sp.csr_matrix]] = {modality: [] for modality in p.modalities}
    for block, n in _blocks(p.n_cells):
        cells = _cells(p, world, seed, block)
        for modality in p.modalities:
            parts[modality].append(_counts(p, world, seed, block, cells, modality, n))
    counts = {modality: sp.vstack(matrices, format="csr") for modality, matrices in parts.items()}
    var = {modality: world.features[modality].var for modality in p.modalities}
    return Multimodal(_obs(p, world, seed), counts, var, uns=_facts(p, world, seed))


def simulate_to_file(
    path: str | os.PathLike, parameters: SimulationParameters | None = None, seed: int = 0, chunk_cells: int = 4_096
) -> None:
    """Simulate a data set straight into an ``.h5mu`` file; memory does not grow with the counts.

    Parameters
    ----------
    path
        File to write (atomically). Its content equals :func:`simulate`'s.
    parameters, seed
        As in :func:`simulate`.
    chunk_cells
        Cells that are held in memory at once, rounded up to whole blocks; changes nothing in the content.
    """
    p = parameters or SimulationParameters()
    seed = _checked_seed(seed)
    world = _world(p, seed)
    obs = _obs(p, world, seed)
    blocks_at_once = max(1, -(-chunk_cells // BLOCK))
    with atomic_path(path) as temporary, h5mu_file(temporary, obs, _facts(p, world, seed)) as file:
        groups = {m: write_modality(file, m, obs, None, world.features[m].var) for m in p.modalities}
        appenders = {m: _CsrAppender(group, p.n_cells, p.n_features(m)) for m, group in groups.items()}
        del obs
        waiting: dict[str, list[sp.csr_matrix]] = {modality: [] for modality in p.modalities}
        n_blocks = -(-p.n_cells // BLOCK)
        for block, n in _blocks(p.n_cells):
            cells = _cells(p, world, seed, block)
            for modality in p.modalities:
                waiting[modality].append(_counts(p, world, seed, block, cells, modality, n))
                if len(waiting[modality]) == blocks_at_once or block == n_blocks - 1:
                    appenders[modality].append(waiting[modality])
                    waiting[modality] = []
        for appender in appenders.values():
            appender.finish()


class _CsrAppender:
    """Writes a CSR matrix into ``group["X"]``, rows after rows, in anndata's layout."""

    def __init__(self, group: h5py.Group, n_rows: int, n_columns: int) -> None:
        self.matrix = group.create_group("X")
        self.matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        self.matrix.attrs["shape"] = np.array([n_rows, n_columns], dtype=np.int64)
        options = {"maxshape": (None,), "chunks": (1 << 16,), "compression": "gzip", "compression_opts": 1}
        self.data = self.matrix.create_dataset("data", shape=(0,), dtype=np.float32, **options)
        self.indices = self.matrix.create_dataset("indices", shape=(0,), dtype=np.int32, **options)
        self.indptr = np.zeros(n_rows + 1, dtype=np.int64)
        self.rows = 0

    def append(self, parts: list[sp.csr_matrix]) -> None:
        """Append the rows of `parts`."""
        for part in parts:
            stored, n = int(self.indptr[self.rows]), part.shape[0]
            self.indptr[self.rows + 1 : self.rows + n + 1] = stored + part.indptr[1:]
            self.rows += n
        stored, total = self.data.shape[0], int(self.indptr[self.rows])
        for dataset, name in ((self.data, "data"), (self.indices, "indices")):
            dataset.resize((total,))
            if total > stored:
                dataset[stored:] = np.concatenate([getattr(part, name) for part in parts])

    def finish(self) -> None:
        """Write the row pointers."""
        kind = np.int32 if self.indptr[-1] < 2**31 else np.int64
        self.matrix.create_dataset("indptr", data=self.indptr.astype(kind), compression="gzip", compression_opts=1)


# --------------------------------------------------------------------------------------------------------
# The truth behind the counts
# --------------------------------------------------------------------------------------------------------


@dataclass
class LatentFactors:
    """The truth of a simulation, for oracles and tests; no design and no model gets to see it.

    Attributes
    ----------
    cells
        float32, cells x factors: the factors that all modalities share.
    loadings
        Modality -> float64, factors x features: log fold change for one unit of a factor, before batch effects. For
        proteins, direction (length about 1) of the score that switches the foreground on.
    """

    cells: np.ndarray
    loadings: dict[str, np.ndarray]


def latent_factors(parameters: SimulationParameters | None = None, seed: int = 0) -> LatentFactors:
    """Return the latent factors behind :func:`simulate` with the same `parameters` and `seed`, in its cells' order."""
    p = parameters or SimulationParameters()
    seed = _checked_seed(seed)
    world = _world(p, seed)
    cells = np.empty((p.n_cells, p.n_factors), dtype=np.float32)
    for block, n in _blocks(p.n_cells):
        cells[block * BLOCK : block * BLOCK + n] = _cells(p, world, seed, block).factors[:n]
    return LatentFactors(cells, {modality: world.features[modality].loadings for modality in p.modalities})
