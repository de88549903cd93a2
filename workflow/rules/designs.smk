"""From a data set to what a model may see, and what it may not."""


rule make_design:
    """Subsample a data set and take some of its cells apart."""
    input:
        f"{SHARED}/datasets/{{dataset}}/data.h5mu",
    output:
        visible=f"{SHARED}/designs/{{dataset}}/{{design}}/visible.h5mu",
        truth=f"{SHARED}/designs/{{dataset}}/{{design}}/truth.h5mu",
    log:
        f"{SHARED}/designs/{{dataset}}/{{design}}/design.log",
    benchmark:
        f"{SHARED}/designs/{{dataset}}/{{design}}/design.benchmark.tsv"
    conda:
        MAIN_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: requests.design_memory_mb(dataset_size(wildcards), attempt),
        runtime=lambda wildcards, attempt: requests.design_minutes(dataset_size(wildcards), attempt),
        gpu=0,
    params:
        spec=lambda wildcards: planning.spec_argument(design_of(wildcards).spec),
    shell:
        "python -m benchmarks design --dataset {input:q} --spec {params.spec:q} "
        "--visible {output.visible:q} --truth {output.truth:q} 2> {log:q}"
