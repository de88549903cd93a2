"""Commands about a study as a whole: ``python -m workflow {validate,plan,retry-failed,forget-data} --configfile FILE``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.documents import load_yaml
from benchmarks.errors import InputError, one_line
from benchmarks.formats import write_json
from workflow.configuration import load_study
from workflow.planning import make_plan
from workflow.retry import candidates, forget
from workflow.sources import forget_changed


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (2 for bad input, with the message alone)."""
    parser = argparse.ArgumentParser(prog="python -m workflow", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("validate", "check a study and say what it would run"),
        ("plan", "write the plan of a study as JSON"),
        ("retry-failed", "remove the outputs of runs that failed, so that the next run trains them again"),
        ("forget-data", "remove all that was made from data sets whose files have been replaced"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--configfile", action="append", default=[], help="study file (default: config/config.yaml)"
        )
        command.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="overrides, as in Snakemake")
        command.add_argument("--config-json", help="the whole configuration as JSON, in place of files")
        if name == "plan":
            command.add_argument("--output", required=True)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    import yaml

    files = options.configfile or ([] if options.config_json is not None else ["config/config.yaml"])
    config: dict = {} if options.config_json is None else _json_object(options.config_json)
    for file in files:
        config.update(load_yaml(file))
    for item in options.config:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"--config {item}: give it as KEY=VALUE")
        try:
            config[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            text = " ".join((getattr(error, "problem", None) or str(error)).split())
            raise InputError(f"--config {one_line(item)[:80]}: not a YAML value ({text}); correct it") from error
    study = load_study(config, files)
    plan = make_plan(study)
    if options.command == "plan":
        write_json(options.output, plan.to_mapping())
        return 0
    if options.command == "validate":
        skipped = len(plan.runs) - len(plan.trained)
        print(
            f"study {study.name}: {len(plan.datasets)} data sets, {len(plan.designs)} designs, "
            f"{len(plan.trained)} runs to train, {skipped} not applicable, {len(study.metrics)} metrics"
        )
        return 0
    results_dir = Path(study.results_dir)
    if options.command == "forget-data":
        keys = forget_changed(plan, results_dir)
        for key in keys:
            print(f"{key}: all that was made from it is removed, and made anew by the next run of the workflow")
        if not keys:
            print("no data set has other files than its results were made from")
        return 0
    found = candidates(plan, results_dir)
    for run, status in found:
        spec = run.design.spec
        print(f"{status}: {spec.dataset} {spec.name} {run.variant.name} seed {run.seed}: to be trained again")
    forget(plan, [run for run, _ in found], results_dir)
    print(f"{len(found)} of {len(plan.trained)} runs will be trained again by the next run of the workflow")
    return 0


def _json_object(text: str) -> dict:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config-json: not JSON ({error}); give the whole configuration as one object") from error
    if not isinstance(content, dict):
        raise InputError("--config-json: no JSON object; give the whole configuration as one")
    return content


if __name__ == "__main__":
    sys.exit(main())
