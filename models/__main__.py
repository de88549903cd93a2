"""Command line of the models: ``python -m models {train,list,declare,document}`` (``fit`` is the child of ``train``)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, NoReturn, Sequence

from benchmarks.errors import InputError
from models import registry
from models.checkpoint import SECONDS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage: the reader is usually a log."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    train = commands.add_parser("train", help="train one model on one design, under limits, in a process of its own")
    train.add_argument("--design", type=Path, required=True, help="visible.h5mu of the design")
    train.add_argument("--truth", type=Path, help="truth.h5mu; for controls that need it, refused for all others")
    train.add_argument("--model", required=True, help="name in the registry, or module:Class")
    train.add_argument("--variant", help="name under which the run is reported (default: the model's)")
    train.add_argument("--hyperparameters", default="{}", help="JSON object of what differs from the defaults")
    train.add_argument("--modalities", default="", help="comma-separated; default: all of the design's")
    train.add_argument("--seed", type=_seed, default=0)
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    train.add_argument("--threads", type=_positive_int, default=1, help="threads of every thread pool")
    train.add_argument("--wall-seconds", type=_positive, help="time limit, start-up included")
    train.add_argument("--memory-mb", type=_positive, help="limit on resident memory of all its processes, in MB")
    train.add_argument("--predict", action="store_true", help="also predict missing modalities, where the model can")
    train.add_argument(
        "--nondeterministic",
        action="store_true",
        help="allow kernels of the device that are faster and not reproducible",
    )
    train.add_argument(
        "--checkpoint-seconds",
        type=_not_negative,
        default=SECONDS,
        help="least time between two checkpoints, from which a killed training goes on, of a model that can resume "
        f"(default: {SECONDS:g}; 0 for none)",
    )
    train.add_argument("--embedding", type=Path, required=True, help="output: embedding.h5ad")
    train.add_argument("--prediction", type=Path, required=True, help="output: prediction.h5mu")
    train.add_argument("--record", type=Path, required=True, help="output: record.json, written last")

    fit = commands.add_parser("fit", help="the child of train; not for people")
    fit.add_argument("specification", type=Path)

    commands.add_parser("list", help="list the models: name, kind, modalities, whether unpaired cells are taken")
    declare = commands.add_parser("declare", help="print a model's declaration as JSON")
    declare.add_argument("name")
    document = commands.add_parser("document", help="write the table of all models (docs/models.md)")
    document.add_argument("--output", type=Path, required=True)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed in [0, 2147483647]")
    return value


def _hyperparameters(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--hyperparameters: not JSON ({error}): {text[:80]!r}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"--hyperparameters: {text[:80]!r} is no JSON object; write for example '{{\"max_epochs\": 20}}'"
        )
    return content


def _train(arguments: argparse.Namespace) -> int:
    from models.runner import HarnessError, TrainingJob, train

    job = TrainingJob(
        design=arguments.design,
        truth=arguments.truth,
        model=arguments.model,
        variant=arguments.variant or arguments.model,
        hyperparameters=_hyperparameters(arguments.hyperparameters),
        modalities=tuple(name.strip() for name in arguments.modalities.split(",") if name.strip()),
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        wall_seconds=arguments.wall_seconds,
        memory_mb=arguments.memory_mb,
        predict=arguments.predict,
        deterministic=not arguments.nondeterministic,
        checkpoint_seconds=arguments.checkpoint_seconds or None,
        embedding=arguments.embedding,
        prediction=arguments.prediction,
        record=arguments.record,
    )
    try:
        record = train(job)
    except HarnessError as error:
        print(f"fault in the runner, not in the model; nothing is recorded:\n{error}", file=sys.stderr)
        return 1
    outcome = record.status if record.status == "ok" else f"{record.status}: {record.reason}"
    print(
        f"{record.model} ({record.variant}), {record.n_observations} observations, {record.wall_seconds:.1f} s: {outcome}",
        file=sys.stderr,
    )
    return 0


def _list() -> int:
    for name in registry.names():
        declaration = registry.declaration(name)
        sets = " ".join("+".join(names) for names in declaration.modality_sets)
        takes = "unpaired" if declaration.unpaired else "paired"
        print(f"{name}\t{declaration.kind}\t{takes}\t{sets}\t{declaration.summary}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for bad input, with one line on stderr)."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "train":
            return _train(arguments)
        if arguments.command == "fit":
            from models.runner import fit

            return fit(arguments.specification)
        if arguments.command == "list":
            return _list()
        if arguments.command == "document":
            from models.document import write

            write(arguments.output)
            return 0
        print(json.dumps(dataclasses.asdict(registry.declaration(arguments.name)), indent=2, ensure_ascii=False))
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
