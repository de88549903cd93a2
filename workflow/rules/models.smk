"""From a visible design to a model's outputs and the record of its run."""


rule train_model:
    """Train one model variant on one design; a model that fails leaves a record that says so."""
    input:
        visible=f"{SHARED}/designs/{{dataset}}/{{design}}/visible.h5mu",
        truth=truth_for_control,
    output:
        embedding=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/embedding.h5ad",
        prediction=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/prediction.h5mu",
        record=f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/record.json",
    log:
        f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/train.log",
    benchmark:
        f"{SHARED}/runs/{{dataset}}/{{design}}/{{run}}/seed{{seed}}/train.benchmark.tsv"
    conda:
        environment_of
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: requests.training_memory_mb(design_size(wildcards), STUDY.memory_mb, attempt),
        runtime=lambda wildcards, attempt: requests.training_minutes(
            design_size(wildcards), STUDY.wall_minutes, attempt
        ),
        gpu=lambda wildcards: int(uses_gpu(wildcards)),
        # The limits at which the runner ends a training. They are resources, not params, for a change trains nothing again.
        wall_seconds=max(1, round(STUDY.wall_minutes * 60)),
        memory_limit=STUDY.memory_mb,
    params:
        truth=lambda wildcards, input: f"--truth {shlex.quote(input.truth)}" if input.truth else "",
        model=lambda wildcards: run_of(wildcards).variant.model,
        variant=lambda wildcards: run_of(wildcards).variant.name,
        hyperparameters=lambda wildcards: as_json(run_of(wildcards).hyperparameters),
        modalities=lambda wildcards: ",".join(run_of(wildcards).modalities),
        predict=lambda wildcards: "--predict" if run_of(wildcards).predict else "",
        device=STUDY.device if STUDY.deterministic else f"{STUDY.device} --nondeterministic",
        # The number of threads changes the order of floating-point sums, so it is the study's, not --cores'.
        threads=STUDY.threads,
    shell:
        "python -m models train --design {input.visible:q} {params.truth} --model {params.model:q} "
        "--variant {params.variant:q} --hyperparameters {params.hyperparameters:q} "
        "--modalities {params.modalities:q} --seed {wildcards.seed} --device {params.device} "
        "--threads {params.threads} --wall-seconds {resources.wall_seconds} --memory-mb {resources.memory_limit} "
        "{params.predict} --embedding {output.embedding:q} --prediction {output.prediction:q} "
        "--record {output.record:q} > {log:q} 2>&1"
