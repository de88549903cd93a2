"""From a checked study to the list of what has to be made, and where each file goes.

Data sets, designs, runs and scores are shared between studies: their paths come from their identity (a digest of
everything that determines their content), never from the study. Changing a model's hyperparameters therefore
makes new paths for that model's runs alone, and changing a metric makes new paths for scores alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmarks.designs import DesignSpec
from benchmarks.errors import InputError
from benchmarks.formats import SCHEMA_VERSION, canonical_json, digest, ordered_modalities
from models import environments
from models import registry as model_registry
from models.base import Declaration
from workflow.configuration import ROOT, Study, Variant, design_sizes, design_spec, replicates_of


@dataclass(frozen=True)
class PlannedDataset:
    """A data set to prepare; `key` is its folder, ``<name>.<digest of its registry entry>``."""

    key: str
    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class PlannedDesign:
    """A design to make; `key` is its folder under ``shared/designs``, `label` what the study's tables call its data."""

    key: str
    label: str
    dataset: PlannedDataset
    spec: DesignSpec


@dataclass(frozen=True)
class PlannedRun:
    """A model to train on a design, or the reason why it is not.

    `key` is its folder under ``shared/runs``; it is unique also for runs that are not applicable.
    """

    key: str
    design: PlannedDesign
    variant: Variant
    hyperparameters: dict[str, Any]
    modalities: tuple[str, ...]
    seed: int
    predict: bool
    threads: int
    not_applicable: str | None


@dataclass(frozen=True)
class Plan:
    """Everything that a study asks for."""

    study: Study
    datasets: tuple[PlannedDataset, ...]
    designs: tuple[PlannedDesign, ...]
    runs: tuple[PlannedRun, ...]
    metrics_key: str

    @property
    def trained(self) -> tuple[PlannedRun, ...]:
        """The runs that are applicable."""
        return tuple(run for run in self.runs if run.not_applicable is None)

    @property
    def digest(self) -> str:
        """Digest of :meth:`to_mapping`: another one as soon as any run, or what determines it, is another."""
        return digest(self.to_mapping())

    def to_mapping(self) -> dict[str, Any]:
        """What aggregation needs, as JSON: one entry a run, with its paths relative to the results folder."""
        runs = []
        for run in self.runs:
            spec = run.design.spec
            runs.append(
                {
                    "study": self.study.name,
                    "dataset": run.design.label,
                    "design": spec.name,
                    "n_cells": spec.n_cells,
                    "unpaired_fraction": spec.unpaired_fraction,
                    "test_fraction": spec.test_fraction,
                    "replicate": spec.replicate,
                    "model": run.variant.model,
                    "variant": run.variant.name,
                    "kind": model_registry.declaration(run.variant.model).kind,
                    "seed": run.seed,
                    "not_applicable": run.not_applicable,
                    "dataset_summary": f"shared/datasets/{run.design.dataset.key}/summary.json",
                    "visible": f"shared/designs/{run.design.key}/visible.h5mu",
                    "truth": f"shared/designs/{run.design.key}/truth.h5mu",
                    "embedding": f"shared/runs/{run.key}/embedding.h5ad",
                    "prediction": f"shared/runs/{run.key}/prediction.h5mu",
                    "record": f"shared/runs/{run.key}/record.json",
                    "scores": f"shared/scores/{self.metrics_key}/{run.key}/scores.tsv",
                    "seconds": f"shared/scores/{self.metrics_key}/{run.key}/seconds.json",
                }
            )
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study.name,
            "description": self.study.description,
            "config": dict(self.study.config),
            "metrics": list(self.study.metrics),
            "umaps": dict(self.study.umaps),
            "runs": runs,
        }


def environments_of(plan: Plan) -> set[str]:
    """Names of the environments in which the plan's applicable runs are trained."""
    return {model_registry.declaration(run.variant.model).environment for run in plan.trained}


def make_plan(study: Study) -> Plan:
    """Cross data sets, sizes, fractions, replicates, variants and seeds; mark what is not applicable."""
    datasets, designs, runs = {}, {}, {}  # Designs and runs by label and key: two labels may share files.
    folders: dict[tuple, str] = {}
    for item in study.datasets:
        sources = tuple(str(path) for path in item.entry.local_files(study.data_dir))
        key = f"{item.name}.{digest({**item.entry.identity(), 'schema_version': SCHEMA_VERSION})}"
        dataset = datasets.setdefault(key, PlannedDataset(key, item.name, sources))
        settings = item.designs
        sizes = [
            (n_cells, fraction, replicate)
            for n_cells, fraction in design_sizes(settings)
            for replicate in range(replicates_of(settings, n_cells))
        ]
        for n_cells, fraction, replicate in sizes:
            spec = design_spec(item.name, item.modalities, settings, n_cells, fraction, replicate)
            design = PlannedDesign(f"{key}/{spec.name}", item.label, dataset, spec)
            if (item.label, design.key) in designs:
                continue
            designs[item.label, design.key] = design
            for variant, seed in itertools.product(study.variants, study.training_seeds):
                run = _plan_run(study, design, variant, seed, folders)
                runs[item.label, run.key] = run
    return Plan(
        study, tuple(datasets.values()), tuple(designs.values()), tuple(runs.values()), metrics_key(study.metrics)
    )


def _plan_run(study: Study, design: PlannedDesign, variant: Variant, seed: int, folders: dict) -> PlannedRun:
    """Plan one run; `folders` remembers what variants are called, for that does not depend on the design or the seed."""
    declared = model_registry.declaration(variant.model)
    hyperparameters = declared.hyperparameters(variant.hyperparameters)
    available = design.spec.modalities
    if variant.modalities is not None:
        available = tuple(name for name in available if name in variant.modalities)
        if set(available) != set(variant.modalities):
            return PlannedRun(
                f"{design.key}/{variant.name}.-/seed{seed}", design, variant, hyperparameters, (), seed, False, study.threads,
                f"set to {'+'.join(variant.modalities)}; the design has {'+'.join(design.spec.modalities)}",
            )  # fmt: skip
    reason = _reason_not_applicable(declared, available, design.spec)
    modalities = declared.modalities_for(available) or ()
    predict = study.predict and declared.predicts
    named = variant.name, modalities
    if named not in folders:
        folders[named] = _run_folder(study, variant, declared, hyperparameters, modalities)
    key = f"{design.key}/{folders[named]}/seed{seed}"
    return PlannedRun(key, design, variant, hyperparameters, modalities, seed, predict, study.threads, reason)


def _run_folder(
    study: Study, variant: Variant, declared: Declaration, hyperparameters: dict[str, Any], modalities: tuple[str, ...]
) -> str:
    """Folder of a variant's runs in a design's: its name, and a digest of what determines them."""
    identity = {
        "model": variant.model,
        "version": declared.version,
        "hyperparameters": hyperparameters,
        "modalities": modalities,
        "threads": study.threads,
        "device": study.device,
        "predict": study.predict and declared.predicts,
        "schema_version": SCHEMA_VERSION,
    }
    if declared.environment != "main":
        # Such an environment holds what its models need and nothing else, so that another lock means other results.
        # The main lock names the linter and the report's fonts, too: there, a model's `version` says when to train again.
        identity["environment"] = _lock_digest(declared.environment)
    if not study.deterministic and declared.gpu and study.device != "cpu":
        identity["deterministic"] = False
    return f"{variant.name}.{digest(identity)}"


def _reason_not_applicable(declared: Declaration, available: tuple[str, ...], spec: DesignSpec) -> str | None:
    """Why a model cannot run on a design of which it is given the modalities `available`, or ``None`` if it can."""
    # A design whose observations all keep what the model uses is paired for that model.
    unpaired = spec.unpaired_fraction if len(spec.modalities) > 1 else 0.0
    if spec.held_out:
        unpaired = max(unpaired, 1e-9)
    used = set(declared.modalities_for(available) or ())
    mosaic = bool(spec.groups or spec.sources)
    seen = [used & set(members) for members in spec.observed_sets]
    # The message about pairs is the better one for models that would not take halves in any case.
    if used and not all(seen) and (mosaic or declared.unpaired):
        lost = "+".join(next(members for members, part in zip(spec.observed_sets, seen) if not part))
        return f"uses {'+'.join(ordered_modalities(used))}; some observations have {lost} alone"
    if used and mosaic:
        complete = [part == used for part in seen]
        unpaired = max(unpaired, 0.0 if all(complete) else 1e-9 if any(complete) else 1.0)
    reason = declared.reason_not_applicable(available, unpaired)
    if reason is None and spec.test_fraction and not declared.embeds_new_cells:
        return "does not place cells that it has not been trained on"
    return reason


@cache
def _lock_digest(environment: str) -> str:
    """Digest of the files that describe an environment, read once."""
    return environments.lock_digest(environment)


@cache
def _metrics_source() -> str:
    """Digest of the metrics' own source code: scores made by other code are other scores."""
    sha = hashlib.sha256()
    folder = ROOT / "benchmarks" / "metrics"
    for file in sorted(folder.rglob("*.py")):
        sha.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return sha.hexdigest()


def metrics_key(names: tuple[str, ...]) -> str:
    """Folder name of the scores: a digest of the metrics asked for, and of the code that computes them."""
    return digest({"names": sorted(names), "source": _metrics_source(), "schema_version": SCHEMA_VERSION})


def check_sources(plan: Plan) -> None:
    """Check that the files of every data set are there, except those still to be downloaded.

    Raises
    ------
    InputError
        One line a missing file, with the remedy.
    """
    problems = []
    for item in plan.study.datasets:
        # A declared number of cells lets a data set be planned without its files; here they have to be there.
        entry = dataclasses.replace(item.entry, n_cells=None, registry=item.entry.registry)
        try:
            entry.local_files(plan.study.data_dir)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


def spec_argument(spec: DesignSpec) -> str:
    """A design specification as one line of JSON, for a command line."""
    return canonical_json(spec.to_mapping())
