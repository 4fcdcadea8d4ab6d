# What the weights of a model say without running it.


rule summarise_weights:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
    output:
        neurons="results/weights/{model}/neurons.parquet",
    log:
        "logs/weights/{model}/summarise_weights.log",
    benchmark:
        "logs/weights/{model}/summarise_weights.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        cfg=lambda w: {},
        code=code("weights/summarise_weights.py"),
    message:
        "Summarising the weights of {wildcards.model}"
    script:
        "../scripts/weights/summarise_weights.py"


rule measure_effects:
    input:
        weights=rules.fetch_model.output.weights,
        info=rules.fetch_model.output.info,
        tokenizer=tokenizer_folder,
    output:
        effects="results/weights/{model}/effects.parquet",
        examples="results/weights/{model}/effect_examples.parquet",
    log:
        "logs/weights/{model}/measure_effects.log",
    benchmark:
        "logs/weights/{model}/measure_effects.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        # A layer and the unembedding in float64, and copies of both.
        mem_mb=model_memory(1.5, 4000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: CONFIG.weights.model_dump(mode="json", exclude={"models"}),
        code=code("weights/measure_effects.py"),
    message:
        "Measuring what the neurons of {wildcards.model} do to its output"
    script:
        "../scripts/weights/measure_effects.py"
