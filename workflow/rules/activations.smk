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
    conda:
        "../../envs/environment.yaml"
    threads: one_core_each(len(PROBED), 8)
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
