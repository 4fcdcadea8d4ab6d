# Pinned inputs and models, fetched or trained. Only the rules that fetch touch the network, and
# read_documents where a corpus is streamed from the hub or from an address.


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
        runtime=growing(60),
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
    wildcard_constraints:
        model=one_of(name for name in CONFIG.models if name not in CONFIG.trained()),
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=fetch_memory,
        runtime=growing(120),
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


rule train_tokenizer:
    input:
        documents=recipe_documents,
    output:
        tokenizer=directory("results/models/recipes/{recipe}/tokenizer"),
    log:
        "logs/models/recipes/{recipe}/train_tokenizer.log",
    benchmark:
        "logs/models/recipes/{recipe}/train_tokenizer.tsv"
    # The longest chain of jobs: what waits for it should not have to.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "recipe": recipe_part(w.recipe, "held_out", "vocabulary", "n_ctx")
        },
        code=code("models/train_tokenizer.py"),
    message:
        "Training the tokenizer of the recipe {wildcards.recipe}"
    script:
        "../scripts/models/train_tokenizer.py"


rule tokenize_documents:
    input:
        documents=recipe_documents,
        tokenizer=rules.train_tokenizer.output.tokenizer,
    output:
        tokens="results/models/recipes/{recipe}/tokens.parquet",
    log:
        "logs/models/recipes/{recipe}/tokenize_documents.log",
    benchmark:
        "logs/models/recipes/{recipe}/tokenize_documents.tsv"
    # The longest chain of jobs: what waits for it should not have to.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        cfg=lambda w: {"recipe": recipe_part(w.recipe, "held_out")},
        code=code("models/tokenize_documents.py"),
    message:
        "Tokenizing the documents of the recipe {wildcards.recipe}"
    script:
        "../scripts/models/tokenize_documents.py"


rule train_model:
    input:
        tokens=recipe_file("tokens.parquet"),
        tokenizer=recipe_file("tokenizer"),
    output:
        weights=directory("results/models/{model}/weights"),
        info="results/models/{model}/model.json",
        curve="results/models/{model}/training.parquet",
    log:
        "logs/models/{model}/train_model.log",
    benchmark:
        "logs/models/{model}/train_model.tsv"
    wildcard_constraints:
        model=one_of(CONFIG.trained()),
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: CONFIG.recipe_of(w.model).threads
    resources:
        mem_mb=model_memory(16, 4000),
        runtime=growing(2880),
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "recipe": recipe_part(CONFIG.models[w.model].source.recipe),
            "source": dump(CONFIG.models[w.model].source),
        },
        code=code("models/train_model.py"),
    message:
        "Training the model {wildcards.model}"
    script:
        "../scripts/models/train_model.py"
