"""What several rules need: lookups from a file's folder to what is planned for it, and resources."""

from workflow import resources as requests
from workflow.slurm import ask_sacct_only_where_it_answers

MAIN_ENVIRONMENT = "../../envs/main.yaml"

# Devices of this machine; on a cluster's head node it says nothing, and the jobs ask by their `gpu` resource.
N_DEVICES = len(devices.visible()) if STUDY.device != "cpu" else 0
if N_DEVICES and workflow.is_main_process and "gpu" not in workflow.global_resources:
    # One device has so many shares; --resources gpu=N says otherwise.
    workflow.register_resource("gpu", N_DEVICES * STUDY.gpu_jobs_per_device)

DATASETS = {dataset.key: dataset for dataset in PLAN.datasets}
DESIGNS = {design.key: design for design in PLAN.designs}
RUNS = {run.key: run for run in PLAN.trained}
SIZES = requests.Sizes(STUDY)

if workflow.is_main_process:
    ask_sacct_only_where_it_answers()


wildcard_constraints:
    dataset=r"[^/]+\.[0-9a-f]{8}",
    design=r"n(?:\d+|all)-u[^/]+",
    run=r"[a-z0-9-]+\.[0-9a-f]{8}",
    seed=r"\d+",
    metrics=r"[0-9a-f]{8}",


def run_of(wildcards):
    """The planned run that a file belongs to."""
    return RUNS[f"{wildcards.dataset}/{wildcards.design}/{wildcards.run}/seed{wildcards.seed}"]


def design_of(wildcards):
    """The planned design that a file belongs to."""
    return DESIGNS[f"{wildcards.dataset}/{wildcards.design}"]


def dataset_size(wildcards):
    """Cells, features and density of a data set, as far as they are known before it is prepared."""
    return SIZES.dataset(DATASETS[wildcards.dataset])


def design_size(wildcards):
    """The same of a design."""
    return SIZES.design(design_of(wildcards))


def as_json(value):
    """One line of JSON for a command line; Snakemake quotes it for the shell (``:q``)."""
    from benchmarks.formats import canonical_json

    return canonical_json(value)


def truth_for_control(wildcards):
    """The truth, for the controls that are made of it, and nothing for everybody else."""
    model = run_of(wildcards).variant.model
    if not planning.model_registry.declaration(model).needs_truth:
        return []
    return f"{SHARED}/designs/{wildcards.dataset}/{wildcards.design}/truth.h5mu"


def uses_gpu(wildcards):
    """Whether a run asks for a GPU: one that can use it, in a study that insists or may and where there is one."""
    declared = planning.model_registry.declaration(run_of(wildcards).variant.model)
    return declared.gpu and (STUDY.device == "cuda" or (STUDY.device == "auto" and N_DEVICES > 0))


def environment_of(wildcards):
    """The conda environment that a run's model declares."""
    declared = planning.model_registry.declaration(run_of(wildcards).variant.model)
    path = f"../../envs/{declared.environment}.yaml"
    # Snakemake refuses a file that is not there even where conda is not used; such a model is recorded as not available.
    return path if (Path(workflow.basedir) / "envs" / Path(path).name).is_file() else MAIN_ENVIRONMENT


def chosen_metrics():
    """The metrics as an argument of the command; without it, all are computed."""
    return "" if STUDY.config.get("metrics", "all") == "all" else f"--metrics {' '.join(STUDY.metrics)}"
