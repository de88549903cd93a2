"""MosaicBench: which multimodal integration model, how many cells, and how many of them paired?"""

import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from benchmarks.errors import InputError
from models import devices, environments
from workflow import clock, configuration, leftovers, planning, retry, scheduling, sources
from workflow.session import adopt_interrupted_session, claim_results, refuse

# A study given with --configfile stands alone; without one, the demo runs.
if "study" not in config:

    configfile: Path(workflow.basedir) / "config" / "config.yaml"


try:
    STUDY = configuration.load_study(config, workflow.configfiles)
    PLAN = planning.make_plan(STUDY)
except InputError as error:
    refuse(error)

RESULTS = STUDY.results_dir
SHARED = f"{RESULTS}/shared"
FOLDER = f"{RESULTS}/{STUDY.name}"

# Snakemake's own switch, --sdm (in a profile: software-deployment-method), comes first: without it, models that need an
# environment of their own run in those that `make env` or the study's `build_environments` built.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    os.environ[environments.VARIABLE] = environments.ACTIVE

DRY_RUN = workflow.output_settings.dryrun
try:
    if adopt_interrupted_session(workflow):
        if not DRY_RUN:
            claim_results(RESULTS)
            clock.settle(PLAN, Path(RESULTS))
            leftovers.sweep(PLAN, Path(RESULTS))
            if STUDY.build_environments:
                environments.build_missing(planning.environments_of(PLAN))
        sources.check_unchanged(PLAN, Path(RESULTS), remember=not DRY_RUN)
        retry.revive(PLAN, Path(RESULTS), dry_run=DRY_RUN)
except InputError as error:
    refuse(error)


onstart:
    scheduling.stop_rate_limit(workflow)
    # Not in a dry run: a study can be planned where its data are not.
    try:
        planning.check_sources(PLAN)
        claim_results(RESULTS, create=True)
    except InputError as error:
        raise WorkflowError(str(error)) from None


# Every job sees this repository's packages and, unless a deployment method brings an environment of its own, the
# Python that runs Snakemake, wherever Snakemake was started and whatever is active there.
PREFIX = f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; "
if environments.VARIABLE in os.environ:
    PREFIX += f"export {environments.VARIABLE}={shlex.quote(os.environ[environments.VARIABLE])}; "
if not workflow.deployment_settings.deployment_method:
    PREFIX += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(PREFIX)


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/designs.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/study.smk"


rule all:
    """Everything of the study, up to its report."""
    default_target: True
    input:
        report=f"{FOLDER}/report.html",
        scores=f"{FOLDER}/scores.parquet",
        summary=f"{FOLDER}/summary.parquet",
