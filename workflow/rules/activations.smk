# Activations of every model on every dataset that a later stage asks for.


rule dump_activations:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
    output:
        store=directory(STORE),
        rows=ROWS,
    log:
        "logs/activations/{model}/{dataset}/dump_activations.log",
    benchmark:
        "logs/activations/{model}/{dataset}/dump_activations.tsv"
    wildcard_constraints:
        model=dumped_by(one_job=True),
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        # Weights pass to a GPU tensor by tensor, in at most two bytes each.
        mem_mb=model_memory(4, 4000, on_gpu=2),
        runtime=growing(480),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "activations": stored(),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
            "tokenizer": CONFIG.tokenizer(w.model),
            "aggregation": CONFIG.datasets[w.dataset].aggregation,
        },
        code=code("activations/dump_activations.py"),
    message:
        "Dumping the activations of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/activations/dump_activations.py"


# The same in shares: independent jobs run consecutive batches of the one plan, and the store has the
# same bytes. The shares take as much space as the store, and go when it is there.
rule dump_share:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
    output:
        folder=temp(directory("results/activations/{model}/{dataset}/shares/{share}")),
    log:
        "logs/activations/{model}/{dataset}/dump_share/{share}.log",
    benchmark:
        "logs/activations/{model}/{dataset}/dump_share/{share}.tsv"
    wildcard_constraints:
        model=dumped_by(one_job=False),
    # As dump_activations.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        # Weights pass to a GPU tensor by tensor, in at most two bytes each.
        mem_mb=model_memory(4, 4000, on_gpu=2),
        runtime=growing(480),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "activations": stored(),
            "jobs": CONFIG.activations.jobs_of(w.model),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
            "aggregation": CONFIG.datasets[w.dataset].aggregation,
        },
        code=code("activations/dump_share.py"),
    message:
        "Dumping share {wildcards.share} of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/activations/dump_share.py"


rule merge_shares:
    input:
        shares=dump_shares,
        info=rules.fetch_model.output.info,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
    output:
        store=directory(STORE),
        rows=ROWS,
    log:
        "logs/activations/{model}/{dataset}/merge_shares.log",
    benchmark:
        "logs/activations/{model}/{dataset}/merge_shares.tsv"
    wildcard_constraints:
        model=dumped_by(one_job=False),
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000 + 3 * CONFIG.activations.shard_mb),
        runtime=growing(480),
    params:
        cfg=lambda w: {
            "activations": stored(),
            "tokenizer": CONFIG.tokenizer(w.model),
        },
        code=code("activations/merge_shares.py"),
    message:
        "Merging the shares of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/activations/merge_shares.py"


rule dump_entities:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokens=prompt_path("tokens"),
        sequences=prompt_path("sequences"),
        labels=prompt_path("labels"),
    output:
        store=directory(
            "results/activations/{model}/entities/{entities}/{prompt}/activations.zarr"
        ),
        rows="results/activations/{model}/entities/{entities}/{prompt}/rows.parquet",
    log:
        "logs/activations/{model}/entities/{entities}/{prompt}/dump_entities.log",
    benchmark:
        "logs/activations/{model}/entities/{entities}/{prompt}/dump_entities.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        # Weights pass to a GPU tensor by tensor, in at most two bytes each.
        mem_mb=model_memory(4, 4000, on_gpu=2),
        runtime=growing(480),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "activations": {
                **stored(),
                "sites": ["resid_post"],
                "layers": CONFIG.spacetime.layers,
                "dtype": CONFIG.spacetime.dtype,
            },
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
            "tokenizer": CONFIG.tokenizer(w.model),
        },
        code=code("activations/dump_entities.py"),
    message:
        "Dumping {wildcards.model} at names of {wildcards.entities}, prompt {wildcards.prompt}"
    script:
        "../scripts/activations/dump_entities.py"
