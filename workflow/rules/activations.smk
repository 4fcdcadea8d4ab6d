# Activations of every model on every dataset that a later stage asks for.


rule dump_activations:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
    output:
        store=directory("results/activations/{model}/{dataset}/activations.zarr"),
        rows="results/activations/{model}/{dataset}/rows.parquet",
    log:
        "logs/activations/{model}/{dataset}/dump_activations.log",
    benchmark:
        "logs/activations/{model}/{dataset}/dump_activations.tsv"
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 4000),
        runtime=480,
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "activations": dump(CONFIG.activations),
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
        mem_mb=model_memory(4, 4000),
        runtime=480,
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "activations": {
                **dump(CONFIG.activations),
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
