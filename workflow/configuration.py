"""Reading and checking a study's configuration, before any job starts.

Every problem is reported with the file, the key, the value and the remedy; all problems of one study are
reported together.
"""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping

from benchmarks.datasets.registry import DatasetEntry, load_registry
from benchmarks.designs import DesignSpec
from benchmarks.documents import load_yaml, schema_problems
from benchmarks.errors import InputError, did_you_mean, one_line
from benchmarks.formats import check_results
from models import registry as model_registry
from models.base import Declaration

ROOT = Path(__file__).resolve().parent.parent
"""The repository's folder: default registries and schemas are found from here, wherever Snakemake runs."""

SCHEMAS = ROOT / "workflow" / "schemas"

DESIGN_DEFAULTS: dict[str, Any] = {
    "n_cells": ["all"],
    "unpaired_fraction": [0.0],
    "replicates": 1,
    "seed": 0,
    "sampling": "uniform",
    "modalities": "all",
    "features": {},
    "held_out": [],
    "n_paired": [],
    "n_unpaired": [],
    "groups": {},
    "sources": {},
    "hide_batch": False,
    "test_fraction": 0.0,
}

DEFAULTS: dict[str, Any] = {
    "description": "",
    "results_dir": "results",
    "data_dir": None,
    "datasets_file": "config/datasets.yaml",
    "models_file": "config/models.yaml",
    "designs": {},
    "hyperparameters": {},
    "training_seeds": [0],
    "predict": False,
    "metrics": "all",
    "device": "auto",
    "deterministic": True,
    "build_environments": False,
    "gpu_jobs_per_device": 1,
    "threads": 1,
    "limits": {},
    "umaps": {},
}

SWITCHES = tuple(key for key, value in DEFAULTS.items() if isinstance(value, bool))
"""Keys that are true or false."""

MAX_RUNS = 1_000_000
"""Runs of one study, applicable or not. More are a slip (a list too long, seeds for replicates) and would plan for hours."""

LIMIT_DEFAULTS = {"wall_minutes": 120.0, "memory_mb": 8000}
UMAP_DEFAULTS = {"max_embeddings": 40, "max_observations": 1500}


@dataclass(frozen=True)
class Variant:
    """A model under a name, with its hyperparameters and, optionally, fewer modalities than it could take."""

    name: str
    model: str
    hyperparameters: Mapping[str, Any]
    modalities: tuple[str, ...] | None = None
    description: str = ""


@dataclass(frozen=True)
class StudyDataset:
    """A data set of a study with the designs made of it; `label` is what the study's tables call them."""

    name: str
    label: str
    entry: DatasetEntry
    modalities: tuple[str, ...]
    designs: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """A checked configuration."""

    name: str
    description: str
    results_dir: str
    data_dir: str | None
    datasets_file: str
    datasets: tuple[StudyDataset, ...]
    variants: tuple[Variant, ...]
    training_seeds: tuple[int, ...]
    predict: bool
    metrics: tuple[str, ...]
    device: str
    deterministic: bool
    build_environments: bool
    gpu_jobs_per_device: int
    threads: int
    wall_minutes: float
    memory_mb: int
    umaps: Mapping[str, int]
    config: Mapping[str, Any] = field(repr=False, default_factory=dict)


def load_variants(path: str | os.PathLike) -> dict[str, Variant]:
    """All variants by name: every model of the registry, and what the models file adds.

    Raises
    ------
    InputError
        For an unknown model, an unknown hyperparameter, modalities that the model cannot take, or a variant that
        takes the name of a model.
    """
    variants = {name: Variant(name, name, {}) for name in model_registry.names()}
    content = load_yaml(path)
    problems = schema_problems(content, SCHEMAS / "models.schema.yaml", str(path))
    if not problems:
        for name, entry in content.items():
            where = f"{path}: {name}"
            if name in model_registry.names():
                problems.append(f"{where}: this name is a model's own; choose another for the variant")
                continue
            if entry["model"] not in model_registry.names():
                problems.append(
                    f"{where}.model: unknown model {entry['model']!r}{did_you_mean(entry['model'], model_registry.names())}"
                )
                continue
            declared = model_registry.declaration(entry["model"])
            modalities = tuple(entry["modalities"]) if "modalities" in entry else None
            for key, value in entry.get("hyperparameters", {}).items():
                for problem in _hyperparameter_problems(declared, key, value):
                    problems.append(one_line(f"{where}.hyperparameters.{key}: {problem}"))
            if modalities is not None and set(modalities) not in [set(names) for names in declared.modality_sets]:
                wanted = " or ".join("+".join(names) for names in declared.modality_sets)
                problems.append(
                    f"{where}.modalities: {declared.name} takes {wanted}, not {'+'.join(modalities)}; change the list"
                )
            variants[name] = Variant(
                name, entry["model"], entry.get("hyperparameters", {}), modalities, entry.get("description", "")
            )
    if problems:
        raise InputError("\n".join(problems))
    return variants


def _hyperparameter_problems(declared: Declaration, key: str, value: Any) -> Iterable[str]:
    if key not in declared.defaults:
        yield f"unknown hyperparameter of {declared.name!r}{did_you_mean(key, declared.defaults)}"
        return
    try:
        declared.hyperparameters({key: value})
    except InputError as error:
        yield str(error)


class _Locator:
    """Names the file that a top-level key came from, or the command line."""

    def __init__(self, files: Iterable[str | os.PathLike]) -> None:
        self.contents = [(str(file), load_yaml(file)) for file in files]

    def __call__(self, key: str, config: Mapping[str, Any]) -> str:
        for file, content in reversed(self.contents):
            # By their text: a NaN is not equal to itself.
            if key not in config or (key in content and repr(content[key]) == repr(config[key])):
                return file
        return "command line (--config)" if self.contents else "configuration"


def _typed(text: Any) -> Any:
    """A number or a truth value that came as text; anything else as it is."""
    if not isinstance(text, str):
        return text
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def load_study(config: Mapping[str, Any], files: Iterable[str | os.PathLike] = (), check_output: bool = True) -> Study:
    """Check a configuration and return the study.

    Parameters
    ----------
    config
        The merged configuration: files, then command line.
    files
        The files that it came from, for the messages.
    check_output
        Whether to check that the results folder can be written.

    Raises
    ------
    InputError
        With one line a problem: file, key, value, remedy.
    """
    config = copy.deepcopy(dict(config))
    files = [str(file) for file in files]
    locate = _Locator(files)
    for key in SWITCHES:
        # Snakemake hands YAML's true on the command line over as text.
        if config.get(key) in ("true", "false") and locate(key, config) not in files:
            config[key] = config[key] == "true"
    for key, value in config.items():
        # And the elements of a list, [0, 37].
        if isinstance(value, list) and locate(key, config) not in files:
            config[key] = [_typed(element) for element in value]
    problems = []
    for line in schema_problems(config, SCHEMAS / "config.schema.yaml", "{file}"):
        key = line.split(": ")[1].split(".")[0].split("[")[0]
        problems.append(line.replace("{file}", locate(key, config), 1))
    if problems:
        raise InputError("\n".join(problems))
    settings = {**DEFAULTS, **config}

    def say(key: str, text: str) -> None:
        top = key.split(".")[0].split("[")[0]
        problems.append(one_line(f"{locate(top, config)}: {key}: {text}"))

    registry, variants = {}, {}
    for key in ("datasets_file", "models_file"):
        if not os.path.isfile(_find(settings[key])):
            say(key, f"{settings[key]!r}: no such file; correct the path")
    if problems:
        raise InputError("\n".join(problems))
    try:
        registry = load_registry(_find(settings["datasets_file"]))
    except InputError as error:
        problems.append(str(error))
    try:
        variants = load_variants(_find(settings["models_file"]))
    except InputError as error:
        problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))

    for key in ("results_dir", "data_dir", "datasets_file"):
        for problem in _path_problems(settings[key]):
            say(key, problem)
    data_dir = settings["data_dir"]
    if data_dir is not None and not os.path.isdir(data_dir):
        say("data_dir", f"{data_dir!r} is no folder; give the folder that holds the data files")

    datasets, n_runs = [], 0
    for index, item in enumerate(settings["datasets"]):
        item = {"name": item} if isinstance(item, str) else item
        overrides = {key: value for key, value in item.items() if key not in ("name", "label")}
        name, label = item["name"], item.get("label", item["name"])
        if name not in registry:
            say(
                f"datasets[{index}]",
                f"unknown data set {name!r}{did_you_mean(name, registry)}; register it in {settings['datasets_file']}",
            )
            continue
        if label in [item.label for item in datasets if item is not None]:
            say(f"datasets[{index}]", f"data set {label!r} is listed twice; list it once, or give each its own label")
            continue
        designs = {**DESIGN_DEFAULTS, **settings["designs"], **overrides}
        n_runs += _number_of_designs(designs) * len(settings["models"]) * len(settings["training_seeds"])
        if n_runs > MAX_RUNS:
            say(
                f"datasets[{index}]",
                f"makes the study {n_runs} runs, more than {MAX_RUNS}; ask for fewer sizes, fractions, replicates, models "
                "or training_seeds, or make it several studies",
            )
            break
        datasets.append(_check_dataset(f"datasets[{index}]", registry[name], label, designs, data_dir, overrides, say))

    chosen = []
    for index, name in enumerate(settings["models"]):
        if name not in variants:
            say(
                f"models[{index}]",
                f"unknown model {name!r}{did_you_mean(name, variants)}; see models/registry.py and {settings['models_file']}",
            )
            continue
        variant = variants[name]
        extra = settings["hyperparameters"].get(name, {})
        declared = model_registry.declaration(variant.model)
        for key, value in extra.items():
            for problem in _hyperparameter_problems(declared, key, value):
                say(f"hyperparameters.{name}.{key}", problem)
        chosen.append(
            Variant(name, variant.model, {**variant.hyperparameters, **extra}, variant.modalities, variant.description)
        )
    for name in settings["hyperparameters"]:
        if name not in settings["models"]:
            say(
                f"hyperparameters.{name}",
                f"not among this study's models{did_you_mean(name, settings['models'])}; list it under models or remove it",
            )

    metrics = _check_metrics(settings["metrics"], say)
    for problem in _output_problems(settings["results_dir"], settings["study"]) if check_output else ():
        say("results_dir", problem)
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
    limits = {**LIMIT_DEFAULTS, **settings["limits"]}
    return Study(
        name=settings["study"],
        description=settings["description"],
        results_dir=settings["results_dir"].rstrip("/") or "/",
        data_dir=data_dir,
        datasets_file=str(_find(settings["datasets_file"])),
        datasets=tuple(item for item in datasets if item is not None),
        variants=tuple(chosen),
        training_seeds=tuple(settings["training_seeds"]),
        predict=settings["predict"],
        metrics=metrics,
        device=settings["device"],
        deterministic=settings["deterministic"],
        build_environments=settings["build_environments"],
        gpu_jobs_per_device=settings["gpu_jobs_per_device"],
        threads=settings["threads"],
        wall_minutes=float(limits["wall_minutes"]),
        memory_mb=int(limits["memory_mb"]),
        umaps={**UMAP_DEFAULTS, **settings["umaps"]},
        config=config,
    )


def _find(path: str) -> Path:
    """A registry file: as given from the working directory or, failing that, from the repository."""
    if os.path.exists(path) or os.path.isabs(path):
        return Path(path)
    return ROOT / path if os.path.exists(ROOT / path) else Path(path)


def _check_dataset(
    key: str, entry: DatasetEntry, label: str, designs: dict[str, Any], data_dir: str | None, overrides: Mapping, say
) -> StudyDataset | None:
    def where(name: str) -> str:
        return f"{key}.{name}" if name in overrides else f"designs.{name}"

    modalities = tuple(entry.modalities) if designs["modalities"] == "all" else tuple(designs["modalities"])
    lacking = [name for name in modalities if name not in entry.modalities]
    if lacking:
        say(
            where("modalities"),
            f"data set {entry.name!r} has no modality {lacking[0]!r} (it has {', '.join(entry.modalities)}); remove it from the list",
        )
    if any(fraction > 0 for fraction in designs["unpaired_fraction"]) and len(modalities) < 2:
        say(
            where("unpaired_fraction"),
            f"{designs['unpaired_fraction']}: data set {entry.name!r} is used with one modality; unpairing needs two",
        )
    for name in designs["features"]:
        if name not in modalities:
            say(
                where("features"),
                f"modality {name!r} is not in the design of {entry.name!r} ({', '.join(modalities)}); remove it",
            )
    for cell_type, name in designs["held_out"]:
        if name not in modalities:
            say(
                where("held_out"),
                f"[{cell_type!r}, {name!r}]: modality {name!r} is not in the design of {entry.name!r}; use one of {', '.join(modalities)}",
            )
    for first, second in (("n_paired", "n_unpaired"), ("n_unpaired", "n_paired")):
        if designs[first] and not designs[second]:
            say(where(first), f"goes with {second}; add it")
    if designs["n_paired"]:
        for name in ("n_cells", "unpaired_fraction"):
            if designs[name] != DESIGN_DEFAULTS[name]:
                say(where("n_paired"), f"n_paired and n_unpaired stand for {name}; leave {name} out")
    replicates = designs["replicates"]
    if isinstance(replicates, list):
        if designs["n_paired"]:
            say(where("replicates"), "a list goes with n_cells; give one number beside n_paired and n_unpaired")
        elif len(replicates) != len(designs["n_cells"]):
            say(
                where("replicates"),
                f"{replicates} has {len(replicates)} numbers for the {len(designs['n_cells'])} of n_cells; give one for "
                "each of them, or one number for all",
            )
    sizes = design_sizes(designs)
    if not sizes and designs["n_paired"] and designs["n_unpaired"]:
        say(where("n_paired"), "with these n_unpaired no design has two cells; give larger numbers")
    if not lacking:
        try:
            for _, fraction in sizes:
                design_spec(entry.name, modalities, designs, None, fraction, 0)
        except InputError as error:
            text = str(error)
            guilty = next(
                (name for name in ("sources", "groups", "test_fraction") if designs[name]), "unpaired_fraction"
            )
            # Unpairing that needs two modalities has been reported above, with its values.
            if "needs two modalities" not in text:
                say(where(guilty), text)
    try:
        available = entry.n_cells_available(data_dir)
    except InputError as error:
        say(key, str(error))
        return None
    n_test = 0 if available is None else int(available * designs["test_fraction"] + 0.5)
    for size, _ in sizes:
        if size is not None and available is not None and size > available - n_test:
            beside = f" beside {n_test} test cells" if n_test else ""
            name = where("n_paired" if designs["n_paired"] else "n_cells")
            what = f"{size}, the sum with n_unpaired," if designs["n_paired"] else size
            say(
                name, f"{what} is more than the {available - n_test} cells of data set {entry.name!r}{beside}; lower it"
            )
    return StudyDataset(entry.name, label, entry, modalities, designs)


def _number_of_designs(designs: Mapping[str, Any]) -> int:
    if isinstance(designs["replicates"], list):
        return sum(designs["replicates"]) * len(designs["unpaired_fraction"])
    first, second = ("n_paired", "n_unpaired") if designs["n_paired"] else ("n_cells", "unpaired_fraction")
    return len(designs[first]) * len(designs[second]) * designs["replicates"]


def replicates_of(designs: Mapping[str, Any], n_cells: int | None) -> int:
    """How many replicates a data set's `designs` ask for at the size `n_cells` (``None`` for all cells)."""
    replicates = designs["replicates"]
    if not isinstance(replicates, list):
        return replicates
    return replicates[designs["n_cells"].index("all" if n_cells is None else n_cells)]


def design_sizes(designs: Mapping[str, Any]) -> list[tuple[int | None, float]]:
    """(number of cells, unpaired fraction) of every size that a data set's `designs` ask for; ``None`` for all cells.

    ``n_cells`` and ``unpaired_fraction`` are crossed, or else ``n_paired`` and ``n_unpaired``, of which p and u cells
    are p + u cells with a fraction of u / (p + u).
    """
    if not designs["n_paired"]:
        sizes = [None if size == "all" else size for size in designs["n_cells"]]
        return [(size, float(fraction)) for size in sizes for fraction in designs["unpaired_fraction"]]
    pairs = [(paired, unpaired) for paired in designs["n_paired"] for unpaired in designs["n_unpaired"]]
    return [(p + u, u / (p + u)) for p, u in pairs if p + u >= 2]


def design_spec(
    name: str,
    modalities: tuple[str, ...],
    designs: Mapping[str, Any],
    n_cells: int | None,
    fraction: float,
    replicate: int,
) -> DesignSpec:
    """The design of one size and replicate of the data set `name`, as its `designs` say."""
    return DesignSpec(
        dataset=name,
        modalities=modalities,
        n_cells=n_cells,
        unpaired_fraction=fraction,
        replicate=replicate,
        held_out=tuple(tuple(pair) for pair in designs["held_out"]),
        **{key: designs[key] for key in ("seed", "sampling", "features", "groups", "sources", "hide_batch")},
        test_fraction=float(designs["test_fraction"]),
    )


def _check_metrics(metrics: Any, say) -> tuple[str, ...]:
    from benchmarks.metrics.registry import METRICS

    if metrics == "all":
        return tuple(METRICS)
    for index, name in enumerate(metrics):
        if name not in METRICS:
            say(
                f"metrics[{index}]", f"unknown metric {name!r}{did_you_mean(name, METRICS)}; docs/metrics.md lists them"
            )
    return tuple(metrics)


def _path_problems(path: str | None) -> Iterable[str]:
    """What a path must not have because Snakemake, or a command line, would take it for something else."""
    if path and ("{" in path or "}" in path):
        yield f"{path!r} has a brace, which Snakemake takes for a wildcard; choose a path without"
    if path and not path.isprintable():
        yield f"{path!r} has a control character; choose a path without"
    if path and path.startswith("-"):
        yield f"{path!r} looks like an option of a command; write './{path}'"


def _output_problems(results_dir: str, study: str) -> Iterable[str]:
    """Whether results can go there: no results of another schema version, and a folder that can be written.

    Writing is tried on the nearest folder above it that exists, leaving nothing behind.
    """
    folder = Path(results_dir)
    if "\0" in results_dir:
        yield f"{results_dir!r} is no path; remove the NUL character"
        return
    while not os.path.exists(folder) and folder != folder.parent:
        # A link that leads nowhere, or a name that no file system takes (too long): no folder can be made of it.
        if os.path.islink(folder) or len(os.fsencode(folder.name)) > 255:
            break
        folder = folder.parent
    try:
        check_results(Path(results_dir) / study)
    except InputError as error:
        yield str(error)
    if not os.path.isdir(folder):
        yield f"{results_dir!r}: {str(folder)!r} is not a folder; choose another results folder"
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield f"{results_dir!r} cannot be written ({error.strerror}); choose another or change its permissions"
