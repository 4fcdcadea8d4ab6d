# Units of a model held at values, and what that does to its loss.


rule ablate_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokenizer=tokenizer_folder,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
        scores=rules.fit_probes.output.scores,
    output:
        ablations=report(
            "results/interventions/{model}/{dataset}/ablations.parquet",
            caption="../report/ablations.rst",
            category="Interventions",
            subcategory="{dataset}",
            labels={"model": "{model}", "table": "losses under ablation"},
        ),
        activations="results/interventions/{model}/{dataset}/activations.parquet",
        tokens="results/interventions/{model}/{dataset}/tokens.parquet",
    log:
        "logs/interventions/{model}/{dataset}/ablate_neurons.log",
    benchmark:
        "logs/interventions/{model}/{dataset}/ablate_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 8
    resources:
        mem_mb=model_memory(4, 4000),
        runtime=480,
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "context_neurons": CONFIG.interventions.context_neurons.model_dump(
                mode="json", exclude={"datasets"}
            ),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
            "document_token": CONFIG.datasets[w.dataset].document_token,
        },
        code=code("interventions/ablate_neurons.py"),
    message:
        "Ablating neurons of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/interventions/ablate_neurons.py"
