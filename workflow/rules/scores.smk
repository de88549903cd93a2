"""From a model's outputs and the truth to scores."""


rule score_run:
    """Score one run with every metric of the study that applies."""
    input:
        visible=f"{SHARED}/designs/{{dataset}}/{{design}}/visible.h5mu",
        truth=f"{SHARED}/designs/{{dataset}}/{{design}}/truth.h5mu",
        embedding=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/embedding.h5ad",
        prediction=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/prediction.h5mu",
        record=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/record.json",
    output:
        scores=f"{SHARED}/scores/{{metrics}}/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/scores.tsv",
        seconds=f"{SHARED}/scores/{{metrics}}/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/seconds.json",
    log:
        f"{SHARED}/scores/{{metrics}}/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/score.log",
    benchmark:
        f"{SHARED}/scores/{{metrics}}/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/score.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: requests.score_memory_mb(
            design_size(wildcards), run_of(wildcards).predict, attempt
        ),
        runtime=lambda wildcards, attempt: requests.score_minutes(design_size(wildcards), attempt),
        gpu=0,
    params:
        metrics=chosen_metrics(),
    shell:
        "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 "
        "python -m benchmarks score --embedding {input.embedding:q} --prediction {input.prediction:q} "
        "--record {input.record:q} --visible {input.visible:q} --truth {input.truth:q} "
        "{params.metrics} --scores {output.scores:q} --seconds {output.seconds:q} 2> {log:q}"
