"""From the shared scores to one study's tables, statistics, figures and report."""

from benchmarks.figures.papers import names_of
from benchmarks.label_agreement import METRIC as LABEL_AGREEMENT

# An input of what reads it, so that a changed claim is tested anew.
CLAIMS = str(Path(workflow.basedir) / "config" / "claims.yaml")

# The report asks for all of them: what nobody asks for is not made again if the job was killed before it got there.
STATISTICS = [
    "summary",
    "ranking",
    "comparisons",
    "mean_ranks",
    "best",
    "variance",
    "variance_trends",
    "learning_curves",
    "plateaus",
    "exchange",
    "advice",
    "claims",
]

TABLE_OF_LABELS = f"{FOLDER}/label_agreement.parquet" if LABEL_AGREEMENT in STUDY.metrics else []


rule write_plan:
    """Write down what the study consists of."""
    output:
        f"{FOLDER}/plan.json",
    log:
        f"{FOLDER}/logs/plan.log",
    benchmark:
        f"{FOLDER}/logs/plan.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        # A function: of a text, Snakemake would take braces (in a description) for wildcards.
        config=lambda wildcards: as_json(dict(config)),
        # Other runs or scores (a model's or a metric's code) make another plan although the configuration is the same.
        plan=PLAN.digest,
    shell:
        "python -m workflow plan --config-json {params.config:q} --output {output:q} 2> {log:q}"


rule collect_scores:
    """Collect runs and scores of the study into tidy tables."""
    input:
        plan=f"{FOLDER}/plan.json",
        scores=[f"{SHARED}/scores/{PLAN.metrics_key}/{run.key}/scores.tsv" for run in PLAN.trained],
        summaries=[f"{SHARED}/datasets/{dataset.key}/summary.json" for dataset in PLAN.datasets],
    output:
        scores=f"{FOLDER}/scores.parquet",
        scores_tsv=f"{FOLDER}/scores.tsv",
        runs=f"{FOLDER}/runs.parquet",
        runs_tsv=f"{FOLDER}/runs.tsv",
        seconds=f"{FOLDER}/metric_seconds.parquet",
        seconds_tsv=f"{FOLDER}/metric_seconds.tsv",
        provenance=f"{FOLDER}/provenance.json",
    log:
        f"{FOLDER}/logs/collect.log",
    benchmark:
        f"{FOLDER}/logs/collect.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
        gpu=0,
    params:
        results=lambda wildcards, output: str(Path(output[0]).parents[1]),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m benchmarks collect --plan {input.plan:q} --results-dir {params.results:q} "
        "--output-dir {params.folder:q} 2> {log:q}"


rule compute_statistics:
    """Intervals over replicates, comparisons between models, ranking."""
    input:
        scores=f"{FOLDER}/scores.parquet",
        runs=f"{FOLDER}/runs.parquet",
        claims=CLAIMS,
    output:
        expand(f"{FOLDER}/{{table}}.{{ending}}", table=STATISTICS, ending=["tsv", "parquet"]),
    log:
        f"{FOLDER}/logs/statistics.log",
    benchmark:
        f"{FOLDER}/logs/statistics.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
        gpu=0,
    params:
        folder=lambda wildcards, input: str(Path(input[0]).parent),
    shell:
        "python -m benchmarks statistics --study-dir {params.folder:q} --claims {input.claims:q} 2> {log:q}"


rule compute_umaps:
    """Two-dimensional pictures of some of the study's embeddings."""
    input:
        f"{FOLDER}/runs.parquet",
    output:
        f"{FOLDER}/umaps.parquet",
    log:
        f"{FOLDER}/logs/umaps.log",
    benchmark:
        f"{FOLDER}/logs/umaps.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=0,
    params:
        results=lambda wildcards, output: str(Path(output[0]).parents[1]),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        embeddings=STUDY.umaps["max_embeddings"],
        observations=STUDY.umaps["max_observations"],
    shell:
        "NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks umaps --study-dir {params.folder:q} "
        "--results-dir {params.results:q} --max-embeddings {params.embeddings} "
        "--max-observations {params.observations} 2> {log:q}"


rule compute_label_agreement:
    """Labels of neighbours in other modalities, label by label; only for studies with the metric of that name."""
    input:
        scores=f"{FOLDER}/scores.parquet",
        runs=f"{FOLDER}/runs.parquet",
    output:
        f"{FOLDER}/label_agreement.parquet",
    log:
        f"{FOLDER}/logs/label_agreement.log",
    benchmark:
        f"{FOLDER}/logs/label_agreement.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=0,
    params:
        results=lambda wildcards, output: str(Path(output[0]).parents[1]),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks label-agreement --study-dir {params.folder:q} "
        "--results-dir {params.results:q} 2> {log:q}"


rule draw_figures:
    """The papers' figures of the study, as vector PDF and PNG; only for the papers' studies."""
    input:
        scores=f"{FOLDER}/scores.parquet",
        runs=f"{FOLDER}/runs.parquet",
        umaps=f"{FOLDER}/umaps.parquet",
        label_agreement=TABLE_OF_LABELS,
        provenance=f"{FOLDER}/provenance.json",
    output:
        report(
            directory(f"{FOLDER}/figures"),
            patterns=["{figure}.png"],
            category="Figures",
            caption="../report/figures.rst",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{FOLDER}/logs/figures.log",
    benchmark:
        f"{FOLDER}/logs/figures.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
        gpu=0,
    params:
        folder=lambda wildcards, input: str(Path(input[0]).parent),
    shell:
        "python -m benchmarks figures --study-folder {params.folder:q} --output {output:q} --skip-empty > {log:q} 2>&1"


rule write_report:
    """One self-contained page about the study."""
    input:
        scores=f"{FOLDER}/scores.parquet",
        runs=f"{FOLDER}/runs.parquet",
        seconds=f"{FOLDER}/metric_seconds.parquet",
        provenance=f"{FOLDER}/provenance.json",
        statistics=expand(f"{FOLDER}/{{table}}.parquet", table=STATISTICS),
        umaps=f"{FOLDER}/umaps.parquet",
        figures=f"{FOLDER}/figures" if names_of(STUDY.name) else [],
        # Not on the page: asked for, so that every study with the metric has the table.
        label_agreement=TABLE_OF_LABELS,
        claims=CLAIMS,
    output:
        report(
            f"{FOLDER}/report.html",
            category="Report",
            caption="../report/report.rst",
        ),
    log:
        f"{FOLDER}/logs/report.log",
    benchmark:
        f"{FOLDER}/logs/report.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
        gpu=0,
    params:
        folder=lambda wildcards, input: str(Path(input[0]).parent),
    shell:
        "python -m benchmarks report --study-dir {params.folder:q} --output {output:q} 2> {log:q}"
