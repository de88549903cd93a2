"""From a registered source to a checked data set."""


rule prepare_dataset:
    """Load a registered data set, check it and write it in the common format."""
    input:
        # Their checksums tell whether they have changed (workflow/sources.py), not their dates.
        lambda wildcards: ancient(DATASETS[wildcards.dataset].sources),
    output:
        data=f"{SHARED}/datasets/{{dataset}}/data.h5mu",
        summary=f"{SHARED}/datasets/{{dataset}}/summary.json",
    log:
        f"{SHARED}/datasets/{{dataset}}/prepare.log",
    benchmark:
        f"{SHARED}/datasets/{{dataset}}/prepare.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: requests.dataset_memory_mb(
            requests.source_mb(DATASETS[wildcards.dataset]), attempt
        ),
        runtime=lambda wildcards, attempt: requests.dataset_minutes(
            requests.source_mb(DATASETS[wildcards.dataset]), attempt
        ),
        gpu=0,
    params:
        registry=STUDY.datasets_file,
        name=lambda wildcards: DATASETS[wildcards.dataset].name,
        data_dir=f"--data-dir {shlex.quote(STUDY.data_dir)}" if STUDY.data_dir else "",
    shell:
        "python -m benchmarks prepare --registry {params.registry:q} --dataset {params.name:q} "
        "{params.data_dir} --output {output.data:q} --summary {output.summary:q} 2> {log:q}"
