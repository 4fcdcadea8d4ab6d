# Linear models of space and time: probes of every layer, how they generalise, and single neurons.


rule fit_entity_probes:
    input:
        store=rules.dump_entities.output.store,
        rows=rules.dump_entities.output.rows,
        tokens=prompt_path("tokens"),
        sequences=prompt_path("sequences"),
        entities=rules.build_entities.output.entities,
    output:
        scores=report(
            "results/spacetime/{model}/{entities}/{prompt}/scores.parquet",
            caption="../report/entity_scores.rst",
            category="Space and time",
            subcategory="{entities}",
            labels=with_hash(
                "scores", {"model": "{model}", "prompt": "{prompt}", "table": "probes"}
            ),
        ),
        predictions="results/spacetime/{model}/{entities}/{prompt}/predictions.parquet",
        directions=directory(
            "results/spacetime/{model}/{entities}/{prompt}/directions.zarr"
        ),
        dimensions="results/spacetime/{model}/{entities}/{prompt}/dimensions.parquet",
    log:
        "logs/spacetime/{model}/{entities}/{prompt}/fit_entity_probes.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/{prompt}/fit_entity_probes.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=entity_memory(6),
        runtime=growing(480),
    params:
        cfg=lambda w: {"probes": probes_of(w)},
        code=code("spacetime/fit_entity_probes.py"),
    message:
        "Probing {wildcards.model} for {wildcards.entities}, prompt {wildcards.prompt}"
    script:
        "../scripts/spacetime/fit_entity_probes.py"


rule score_holdouts:
    input:
        store=main_prompt("activations/{model}/entities", "activations.zarr"),
        rows=main_prompt("activations/{model}/entities", "rows.parquet"),
        sequences=prompt_path("sequences", CONFIG.spacetime.main_prompt),
        entities=rules.build_entities.output.entities,
        scores=main_prompt("spacetime/{model}", "scores.parquet"),
    output:
        holdouts=report(
            "results/spacetime/{model}/{entities}/holdouts.parquet",
            caption="../report/holdouts.rst",
            category="Space and time",
            subcategory="{entities}",
            labels=with_hash(
                "holdouts", {"model": "{model}", "table": "held-out blocks and types"}
            ),
        ),
    log:
        "logs/spacetime/{model}/{entities}/score_holdouts.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/score_holdouts.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=entity_memory(6),
        runtime=growing(240),
    params:
        cfg=lambda w: {"holdouts": dump(CONFIG.spacetime.holdouts)},
        code=code("spacetime/score_holdouts.py"),
    message:
        "Holding out blocks and types of {wildcards.entities} from probes of {wildcards.model}"
    script:
        "../scripts/spacetime/score_holdouts.py"


rule score_prompts:
    input:
        stores=all_prompts(
            "results/activations/{model}/entities/{entities}/{prompt}/activations.zarr"
        ),
        rows=all_prompts(
            "results/activations/{model}/entities/{entities}/{prompt}/rows.parquet"
        ),
        sequences=all_prompts(
            "results/datasets/{tokenizer}/entities/{entities}/{prompt}/sequences.parquet"
        ),
        entities=rules.build_entities.output.entities,
        directions=all_prompts(
            "results/spacetime/{model}/{entities}/{prompt}/directions.zarr"
        ),
    output:
        transfer="results/spacetime/{model}/{entities}/prompt_transfer.parquet",
        prompts="results/spacetime/{model}/{entities}/prompts.parquet",
    log:
        "logs/spacetime/{model}/{entities}/score_prompts.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/score_prompts.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=entity_memory(12),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "prompts": list(CONFIG.entities[w.entities].prompts),
            "main_prompt": CONFIG.spacetime.main_prompt,
        },
        code=code("spacetime/score_prompts.py"),
    message:
        "Comparing prompts of {wildcards.entities} with probes of {wildcards.model}"
    script:
        "../scripts/spacetime/score_prompts.py"


rule find_entity_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        store=main_prompt("activations/{model}/entities", "activations.zarr"),
        rows=main_prompt("activations/{model}/entities", "rows.parquet"),
        tokens=prompt_path("tokens", CONFIG.spacetime.main_prompt),
        sequences=prompt_path("sequences", CONFIG.spacetime.main_prompt),
        entities=rules.build_entities.output.entities,
        directions=main_prompt("spacetime/{model}", "directions.zarr"),
    output:
        neurons=report(
            "results/spacetime/{model}/{entities}/neurons.parquet",
            caption="../report/entity_neurons.rst",
            category="Space and time",
            subcategory="{entities}",
            labels=with_hash(
                "neurons", {"model": "{model}", "table": "space and time neurons"}
            ),
        ),
        projections="results/spacetime/{model}/{entities}/neuron_projections.parquet",
    log:
        "logs/spacetime/{model}/{entities}/find_entity_neurons.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/find_entity_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=lambda w, attempt: model_memory(4, 4000)(w, attempt)
        + entity_memory(6)(w, attempt),
        runtime=growing(120),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "neurons": CONFIG.spacetime.neurons.model_dump(
                mode="json", exclude={"tables"}
            ),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
        },
        code=code("spacetime/find_entity_neurons.py"),
    message:
        "Looking for neurons of {wildcards.model} along the probes of {wildcards.entities}"
    script:
        "../scripts/spacetime/find_entity_neurons.py"


rule pin_entity_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokenizer=tokenizer_folder,
        entities=rules.build_entities.output.entities,
        neurons=rules.find_entity_neurons.output.neurons,
    output:
        predictions="results/spacetime/{model}/{entities}/pinned_predictions.parquet",
    log:
        "logs/spacetime/{model}/{entities}/pin_entity_neurons.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/pin_entity_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 4000),
        runtime=growing(120),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "pinning": CONFIG.spacetime.pinning.model_dump(
                mode="json", exclude={"tables"}
            ),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
        },
        code=code("spacetime/pin_entity_neurons.py"),
    message:
        "Holding time neurons of {wildcards.model} at values, found on {wildcards.entities}"
    script:
        "../scripts/spacetime/pin_entity_neurons.py"


rule ablate_entity_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokenizer=tokenizer_folder,
        neurons=rules.find_entity_neurons.output.neurons,
        tokens=ablation_text("tokens"),
        sequences=ablation_text("sequences"),
    output:
        ablations="results/spacetime/{model}/{entities}/ablations.parquet",
        contexts=report(
            "results/spacetime/{model}/{entities}/ablation_contexts.parquet",
            caption="../report/ablation_contexts.rst",
            category="Space and time",
            subcategory="{entities}",
            labels=with_hash(
                "contexts",
                {
                    "model": "{model}",
                    "table": "contexts that an ablation harms most",
                },
            ),
        ),
    log:
        "logs/spacetime/{model}/{entities}/ablate_entity_neurons.log",
    benchmark:
        "logs/spacetime/{model}/{entities}/ablate_entity_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 4000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "ablation": CONFIG.spacetime.ablation.model_dump(
                mode="json", exclude={"text", "tables"}
            ),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
        },
        code=code("spacetime/ablate_entity_neurons.py"),
    message:
        "Holding neurons of {wildcards.model} at zero, found on {wildcards.entities}"
    script:
        "../scripts/spacetime/ablate_entity_neurons.py"
