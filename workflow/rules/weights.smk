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
        runtime=60,
    params:
        cfg=lambda w: {},
        code=code("weights/summarise_weights.py"),
    message:
        "Summarising the weights of {wildcards.model}"
    script:
        "../scripts/weights/summarise_weights.py"
