"""What several rules need: lookups from a file's folder to what is planned for it, and resources."""

MAIN_ENVIRONMENT = "../../envs/main.yaml"

DATASETS = {dataset.key: dataset for dataset in PLAN.datasets}
DESIGNS = {design.key: design for design in PLAN.designs}
RUNS = {run.key: run for run in PLAN.trained}


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


def cells_of(design):
    """Number of cells in a design, as far as it is known before the data set is prepared."""
    return design.spec.n_cells or 10000


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
    """Whether a run asks for a GPU: one that can use it, and a study that may."""
    declared = planning.model_registry.declaration(run_of(wildcards).variant.model)
    return declared.gpu and STUDY.device == "cuda"


def chosen_metrics():
    """The metrics as an argument of the command; without it, all are computed."""
    return "" if STUDY.config.get("metrics", "all") == "all" else f"--metrics {' '.join(STUDY.metrics)}"
