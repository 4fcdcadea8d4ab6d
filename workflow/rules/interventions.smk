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
            labels=with_hash(
                "ablations", {"model": "{model}", "table": "losses under ablation"}
            ),
        ),
        activations="results/interventions/{model}/{dataset}/activations.parquet",
        tokens="results/interventions/{model}/{dataset}/tokens.parquet",
    log:
        "logs/interventions/{model}/{dataset}/ablate_neurons.log",
    benchmark:
        "logs/interventions/{model}/{dataset}/ablate_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 4000),
        runtime=growing(480),
        gpu=model_gpus,
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


rule pin_entropy_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        effects=rules.measure_effects.output.effects,
        tokens=text_table("tokens"),
        sequences=text_table("sequences"),
    output:
        entropy="results/interventions/{model}/{text}/entropy.parquet",
    log:
        "logs/interventions/{model}/{text}/pin_entropy_neurons.log",
    benchmark:
        "logs/interventions/{model}/{text}/pin_entropy_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 5000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: role_of(w, "entropy_neurons"),
        code=code("interventions/pin_entropy_neurons.py"),
    message:
        "Pinning entropy neurons of {wildcards.model} on {wildcards.text}"
    script:
        "../scripts/interventions/pin_entropy_neurons.py"


rule score_attention_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokens=text_table("tokens"),
        sequences=text_table("sequences"),
    output:
        scores="results/interventions/{model}/{text}/attention_scores.parquet",
        ablations="results/interventions/{model}/{text}/attention.parquet",
    log:
        "logs/interventions/{model}/{text}/score_attention_neurons.log",
    benchmark:
        "logs/interventions/{model}/{text}/score_attention_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 5000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: role_of(w, "attention_neurons"),
        code=code("interventions/score_attention_neurons.py"),
    message:
        "Scoring attention neurons of {wildcards.model} on {wildcards.text}"
    script:
        "../scripts/interventions/score_attention_neurons.py"


rule score_next_tokens:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokenizer=tokenizer_folder,
        effects=rules.measure_effects.output.effects,
        tokens=text_table("tokens"),
        sequences=text_table("sequences"),
    output:
        next_tokens="results/interventions/{model}/{text}/next_tokens.parquet",
    log:
        "logs/interventions/{model}/{text}/score_next_tokens.log",
    benchmark:
        "logs/interventions/{model}/{text}/score_next_tokens.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 5000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: role_of(w, "next_tokens"),
        code=code("interventions/score_next_tokens.py"),
    message:
        "Scoring the next tokens of {wildcards.model} on {wildcards.text}"
    script:
        "../scripts/interventions/score_next_tokens.py"
