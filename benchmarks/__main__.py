"""The stages of a study as commands: ``python -m benchmarks STAGE --help``.

Every Snakemake rule but training calls one of these, and each can be run by hand on files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.errors import InputError
from benchmarks.formats import (
    check_results,
    read_embedding,
    read_h5mu,
    read_json,
    read_predictions,
    read_record,
    read_table,
    write_h5mu,
    write_json,
    write_table,
    write_text,
)


def _prepare(options: argparse.Namespace) -> None:
    from benchmarks.datasets.prepare import prepare
    from benchmarks.datasets.registry import load_registry

    registry = load_registry(options.registry)
    if options.dataset not in registry:
        raise InputError(f"{options.registry}: no data set {options.dataset!r}")
    prepare(registry[options.dataset], options.data_dir or None, options.output, options.summary)


def _design(options: argparse.Namespace) -> None:
    from benchmarks.designs import DesignSpec, make_design_from_file

    try:
        spec = DesignSpec.from_mapping(json.loads(options.spec))
    except InputError as error:
        raise InputError(f"--spec: {error}; correct it") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"--spec: no JSON object that describes a design ({error}); see benchmarks/designs.py"
        ) from error
    visible, truth = make_design_from_file(options.dataset, spec)
    write_h5mu(options.truth, truth)
    write_h5mu(options.visible, visible)


def _score(options: argparse.Namespace) -> None:
    from benchmarks.metrics.context import Context
    from benchmarks.metrics.score import score

    context = Context(
        embedding=read_embedding(options.embedding),
        truth=read_h5mu(options.truth),
        visible=read_h5mu(options.visible),
        record=read_record(options.record),
        predictions=read_predictions(options.prediction) if options.prediction else {},
    )
    table, seconds = score(context, options.metrics or None)
    write_json(options.seconds, {"seconds": seconds, "diagnostics": context.diagnostics})
    write_table(options.scores, table)


def _collect(options: argparse.Namespace) -> None:
    from benchmarks.collect import collect
    from benchmarks.provenance import provenance

    plan = read_json(options.plan)
    folder = Path(options.output_dir)
    scores, runs, seconds = collect(plan, Path(options.results_dir))
    for name, table in (("scores", scores), ("runs", runs), ("metric_seconds", seconds)):
        write_table(folder / f"{name}.tsv", table)
        write_table(folder / f"{name}.parquet", table)
    write_json(folder / "provenance.json", provenance(plan))


def _statistics(options: argparse.Namespace) -> None:
    from benchmarks.claims.evaluate import evaluate
    from benchmarks.claims.registry import CLAIMS_FILE, load_claims
    from benchmarks.statistics.advice import advise
    from benchmarks.statistics.compare import compare
    from benchmarks.statistics.critical_difference import rank_over_blocks
    from benchmarks.statistics.keys import metric_declarations
    from benchmarks.statistics.ranking import rank
    from benchmarks.statistics.summary import summarise
    from benchmarks.statistics.variance import variance_split, variance_trends

    folder = Path(options.study_dir)
    check_results(folder)
    scores, runs = read_table(folder / "scores.parquet"), read_table(folder / "runs.parquet")
    for name, table in (
        ("summary", summarise(scores, runs)),
        ("ranking", rank(scores, runs)),
        ("comparisons", compare(scores, runs)),
        ("mean_ranks", rank_over_blocks(scores, runs)),
        ("variance", variance_split(scores, runs)),
        ("variance_trends", variance_trends(scores, runs)),
        *advise(scores, runs).tables.items(),
        ("claims", evaluate(load_claims(options.claims or CLAIMS_FILE, metrics=metric_declarations()), scores, runs)),
    ):
        write_table(folder / f"{name}.tsv", table)
        write_table(folder / f"{name}.parquet", table)


def _umaps(options: argparse.Namespace) -> None:
    from benchmarks.umaps import compute_umaps, not_drawn

    folder = Path(options.study_dir)
    check_results(folder)
    runs = read_table(folder / "runs.parquet")
    table = compute_umaps(runs, Path(options.results_dir), options.max_embeddings, options.max_observations)
    for design in not_drawn(runs, table):
        print(f"UMAPs: {design} not drawn; raise umaps.max_embeddings ({options.max_embeddings})", file=sys.stderr)
    write_table(folder / "umaps.parquet", table)


def _label_agreement(options: argparse.Namespace) -> None:
    from benchmarks.label_agreement import compute_label_agreement

    folder = Path(options.study_dir)
    check_results(folder)
    runs, scores = (read_table(folder / f"{name}.parquet") for name in ("runs", "scores"))
    write_table(folder / "label_agreement.parquet", compute_label_agreement(runs, scores, Path(options.results_dir)))


def _report(options: argparse.Namespace) -> None:
    from benchmarks.report.page import write_report

    write_report(Path(options.study_dir), Path(options.output))


def _figures(options: argparse.Namespace) -> None:
    from benchmarks.figures.write import write_figures

    skipped: list[str] | None = [] if options.skip_empty else None
    for path in write_figures(options.study_folder, options.output, options.names or (), skipped):
        print(path)
    if skipped is not None:
        Path(options.output).mkdir(parents=True, exist_ok=True)
        for reason in skipped:
            print(reason, file=sys.stderr)


def _calibrate(options: argparse.Namespace) -> None:
    from benchmarks.datasets.calibration import run_calibration

    run_calibration(options.data_dir, options.output, options.table)


def _document_metrics(options: argparse.Namespace) -> None:
    from benchmarks.metrics.document import metrics_document

    write_text(options.output, metrics_document())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)

    def stage(name, function, text, **arguments):
        command = stages.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        for key, settings in arguments.items():
            command.add_argument(f"--{key.replace('_', '-')}", **settings)

    needed = {"required": True}
    stage("prepare", _prepare, "load, check and write a registered data set", registry=needed, dataset=needed,
          data_dir={"default": ""}, output=needed, summary=needed)  # fmt: skip
    stage(
        "design", _design, "subsample and unpair a data set", dataset=needed, spec=needed, visible=needed, truth=needed
    )
    stage("score", _score, "score one run", embedding=needed, prediction={}, record=needed, visible=needed, truth=needed,
          metrics={"nargs": "*", "help": "names (default: all)"}, scores=needed, seconds=needed)  # fmt: skip
    stage("collect", _collect, "collect a study's tidy tables", plan=needed, results_dir=needed, output_dir=needed)
    stage(
        "statistics",
        _statistics,
        "intervals, comparisons, ranking, learning curves, advice and claims of a study",
        study_dir=needed,
        claims={"help": "YAML file of claims (default: the papers', config/claims.yaml)"},
    )
    stage("umaps", _umaps, "two-dimensional pictures of a study's embeddings", study_dir=needed, results_dir=needed,
          max_embeddings={"type": int, "default": 40}, max_observations={"type": int, "default": 1500})  # fmt: skip
    stage("label-agreement", _label_agreement, "labels of neighbours in other modalities, label by label",
          study_dir=needed, results_dir=needed)  # fmt: skip
    stage("report", _report, "write a study's report", study_dir=needed, output=needed)
    stage("figures", _figures, "draw the papers' figures from a study", study_folder=needed, output=needed,
          names={"nargs": "*", "help": "figures (default: those of the study)"},
          skip_empty={"action": "store_true", "help": "leave out figures for which nothing ran"})  # fmt: skip
    stage("calibrate", _calibrate, "compare the simulator with real data", data_dir=needed, output=needed, table=needed)
    stage("document-metrics", _document_metrics, "write docs/metrics.md from the declarations", output=needed)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return its exit status (2 for bad input, with the message alone)."""
    options = _parser().parse_args(arguments)
    try:
        options.function(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
