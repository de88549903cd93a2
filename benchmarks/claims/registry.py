"""Reading ``config/claims.yaml``: every name and number in it is checked before anything is tested."""

from __future__ import annotations

import math
import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Collection, Mapping

from benchmarks.claims.claim import Claim
from benchmarks.claims.keys import Key, Wrong, converted, number, text, words
from benchmarks.documents import load_yaml
from benchmarks.errors import InputError, did_you_mean, one_line
from benchmarks.statistics.keys import declaration

CLAIMS_FILE = Path(__file__).resolve().parents[2] / "config" / "claims.yaml"
"""The claims of the four papers."""

KINDS = (
    "better_than",
    "best_of",
    "alike",
    "trend",
    "flat",
    "depends",
    "gains_most",
    "stable_down_to",
    "variance_falls",
    "level",
    "fails",
    "between_datasets",
    "outside",
)
"""Modules of :mod:`benchmarks.claims.kinds`. A new kind is a module and a name here."""

CLAIM_KEYS = {
    "id": True, "paper": True, "place": True, "says": True, "stated": False, "reading": False, "test": True, "metrics": False,
    "metric_of": False, "designs": False, "over": False, "as_ratio": False,
}  # fmt: skip
"""Keys of a claim, and whether they have to be there."""


def kind_module(kind: str) -> ModuleType:
    """The module of a kind of test."""
    return import_module(f"benchmarks.claims.kinds.{kind}")


def load_claims(
    path: str | os.PathLike = CLAIMS_FILE,
    metrics: Mapping[str, object] | None = None,
    model_names: Collection[str] | None = None,
) -> list[Claim]:
    """Read and check claims.

    Parameters
    ----------
    path
        A YAML file with ``papers`` (key -> citation), ``models`` (the paper's name -> our models and variants, the
        preferred one first) and ``claims``; see ``docs/claims.md``.
    metrics
        Metric declarations to check the names of metrics against; unchecked where left out.
    model_names
        Names of all models and variants, to check ``models`` against; unchecked where left out (``benchmarks`` does
        not know the models).

    Raises
    ------
    InputError
        For the first thing that is wrong, with file, key, value and remedy.
    """
    path = Path(path)
    content = load_yaml(path)
    place = str(path)
    try:
        _known_keys(content, {"papers": True, "models": True, "claims": True})
        place = f"{path}: papers"
        papers = {name: text(value) for name, value in _mapping(content["papers"]).items()}
        models = {}
        for name, value in _mapping(content["models"]).items():
            place = f"{path}: models: {one_line(name)}"
            models[name] = words(value)
            for own in models[name]:
                if model_names is not None and own not in model_names:
                    raise Wrong(f"no model or variant {own!r}{did_you_mean(own, model_names)}; correct the name")
        if not isinstance(content["claims"], list):
            place = f"{path}: claims"
            raise Wrong(f"holds a {type(content['claims']).__name__}; write a list of claims")
        claims: list[Claim] = []
        for position, item in enumerate(content["claims"], start=1):
            name = item.get("id") if isinstance(item, dict) else None
            place = f"{path}: claim {one_line(str(name)) if name else f'number {position}'}"
            claims.append(_claim(_mapping(item), papers, models, metrics))
            if sum(claim.id == claims[-1].id for claim in claims) > 1:
                raise Wrong("'id' is given to two claims; rename one")
    except Wrong as error:
        raise InputError(f"{place}: {one_line(str(error))}") from error
    return claims


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(f"{value!r} is no mapping; write 'key: value' lines")
    return value


def _known_keys(content: Mapping[str, Any], keys: Mapping[str, bool]) -> None:
    for name in content:
        if name not in keys:
            raise Wrong(f"unknown key {name!r}{did_you_mean(name, keys)}; correct or remove it")
    for name, required in keys.items():
        if required and name not in content:
            raise Wrong(f"key {name!r} is missing; add it")


def _at(key: str, function: Any, *arguments: Any) -> Any:
    """`function` of `arguments`; a wrong value is reported with its key."""
    try:
        return function(*arguments)
    except Wrong as error:
        raise Wrong(f"{key}: {error}") from error


def _claim(
    item: Mapping[str, Any],
    papers: Mapping[str, str],
    models: Mapping[str, tuple[str, ...]],
    metrics: Mapping[str, object] | None,
) -> Claim:
    _known_keys(item, CLAIM_KEYS)
    paper = _at("paper", text, item["paper"])
    if paper not in papers:
        raise Wrong(f"paper: {paper!r} is not under 'papers'{did_you_mean(paper, papers)}; add it there")
    test = dict(_at("test", _mapping, item["test"]))
    kind = test.pop("kind", None)
    if kind not in KINDS:
        raise Wrong(f"test: kind: {kind!r} is no kind of test{did_you_mean(str(kind), KINDS)}")
    module = kind_module(kind)
    arguments = _at("test", _arguments, test, module.KEYS, models)
    if hasattr(module, "check"):
        _at("test", module.check, arguments)
    names = _at("metrics", words, item["metrics"]) if "metrics" in item else ()
    if bool(names) != module.NEEDS_METRICS:
        raise Wrong(f"metrics: {'needed for' if module.NEEDS_METRICS else 'have no meaning with'} kind {kind!r}")
    metric_of = {
        _at("metric_of", converted, Key("model"), model, models): text(metric)
        for model, metric in _at("metric_of", _mapping, item.get("metric_of", {})).items()
    }
    for name in (*names, *metric_of.values()):
        if metrics is not None and declaration(metrics, name) is None:
            raise Wrong(f"metrics: no metric {name!r}{did_you_mean(name, metrics)}; correct the name")
    designs = _at("designs", _mapping, item.get("designs", {}))
    _at("designs", _known_keys, designs, dict.fromkeys(("datasets", "n_cells", "unpaired_fraction", "sizes"), False))
    sizes = _at("designs: sizes", converted, Key(("all", "largest")), designs.get("sizes", "all"), models)
    if sizes == "largest" and (arguments.get("along") == "n_cells" or kind in ("stable_down_to", "variance_falls")):
        raise Wrong(f"designs: sizes: 'largest' leaves one size, and kind {kind!r} needs several here; remove it")
    over = _at("over", converted, Key(("subsamples", "seeds")), item.get("over", "subsamples"), models)
    logarithm = _at("as_ratio", _truth, item.get("as_ratio", False))
    if logarithm:
        arguments = _at("as_ratio", _as_logarithms, kind, arguments)
    return Claim(
        id=_at("id", text, item["id"]),
        paper=papers[paper],
        place=_at("place", text, item["place"]),
        says=_at("says", text, item["says"]),
        stated=_at("stated", text, str(item["stated"])) if "stated" in item else "",
        reading=_at("reading", text, item["reading"]) if "reading" in item else "",
        kind=kind,
        test=arguments,
        metrics=names,
        metric_of=metric_of,
        models=models,
        datasets=_at("designs: datasets", words, designs["datasets"]) if "datasets" in designs else (),
        n_cells=_at("designs: n_cells", _bounds, designs.get("n_cells", {}), (0.0, float("inf"))),
        unpaired_fraction=_at("designs: unpaired_fraction", _bounds, designs.get("unpaired_fraction", {}), (0.0, 1.0)),
        sizes=sizes,
        over=over,
        logarithm=logarithm,
    )


def _arguments(test: Mapping[str, Any], keys: Mapping[str, Key], models: Mapping[str, Any]) -> dict[str, Any]:
    _known_keys(test, {name: key.required for name, key in keys.items()})
    return {name: _at(name, converted, keys[name], value, models) for name, value in test.items()}


def _as_logarithms(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Factors as the logarithms that values are compared in."""
    if kind in ("level", "variance_falls", "fails", "outside"):
        raise Wrong(f"has no meaning with kind {kind!r}; remove it")
    result = dict(arguments)
    for name in ("margin", "by"):
        if name in result:
            if result[name] <= (1 if name == "margin" else 0):
                raise Wrong(f"test: {name}: {result[name]:g} is no factor; write 1.1 for 10 %")
            result[name] = math.log(result[name])
    return result


def _bounds(value: Any, limits: tuple[float, float]) -> tuple[float, float]:
    _known_keys(_mapping(value), {"min": False, "max": False})
    low, high = (number(value[name]) if name in value else limit for name, limit in zip(("min", "max"), limits))
    if low > high:
        raise Wrong(f"min {low:g} is above max {high:g}; exchange them")
    return low, high


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"{value!r} is neither true nor false")
    return value
