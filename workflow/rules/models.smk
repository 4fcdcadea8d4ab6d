# Pinned inputs and models. No other rule touches the network, but for read_documents where a
# corpus is streamed from the hub or from an address.


rule fetch_source:
    output:
        folder=directory("resources/fetched/{source}"),
    log:
        "logs/models/fetch_source/{source}.log",
    benchmark:
        "logs/models/fetch_source/{source}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=60,
        downloads=1,
    params:
        cfg=lambda w: {"source": dump(SOURCES[w.source])},
        code=code("models/fetch_source.py"),
    message:
        "Fetching {wildcards.source}"
    script:
        "../scripts/models/fetch_source.py"


rule fetch_model:
    input:
        source=model_source,
        files=local_model_files,
    output:
        weights=directory("results/models/{model}/weights"),
        info="results/models/{model}/model.json",
    log:
        "logs/models/{model}/fetch_model.log",
    benchmark:
        "logs/models/{model}/fetch_model.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=model_memory(4, 3000),
        runtime=120,
        downloads=1,
    params:
        cfg=lambda w: {
            "model": CONFIG.models[w.model].model_dump(
                mode="json", include={"source", "trust_remote_code"}
            )
        },
        code=code("models/fetch_model.py"),
    message:
        "Fetching the model {wildcards.model}"
    script:
        "../scripts/models/fetch_model.py"
