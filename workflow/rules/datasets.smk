# Documents, token datasets and their labels.


rule read_documents:
    input:
        sources=corpus_sources,
        files=corpus_files,
    output:
        documents="results/datasets/documents/{corpus}.parquet",
    log:
        "logs/datasets/documents/{corpus}/read_documents.log",
    benchmark:
        "logs/datasets/documents/{corpus}/read_documents.tsv"
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=documents_memory,
        runtime=growing(240),
    params:
        cfg=lambda w: {"corpus": dump(CONFIG.corpora[w.corpus])},
        code=code("datasets/read_documents.py"),
    message:
        "Reading the documents of {wildcards.corpus}"
    script:
        "../scripts/datasets/read_documents.py"


rule read_people:
    input:
        sources=people_sources,
        dump=people_dump,
    output:
        people="results/datasets/people/{people}.parquet",
    log:
        "logs/datasets/people/{people}/read_people.log",
    benchmark:
        "logs/datasets/people/{people}/read_people.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
    params:
        cfg=lambda w: {"people": dump(CONFIG.people[w.people])},
        code=code("datasets/read_people.py"),
    message:
        "Reading the people of {wildcards.people}"
    script:
        "../scripts/datasets/read_people.py"


rule query_dbpedia:
    input:
        files=dbpedia_files,
    output:
        things="results/datasets/dbpedia/{query}/things.parquet",
        problems="results/datasets/dbpedia/{query}/problems.parquet",
    log:
        "logs/datasets/dbpedia/{query}/query_dbpedia.log",
    benchmark:
        "logs/datasets/dbpedia/{query}/query_dbpedia.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
    params:
        cfg=lambda w: {"dbpedia": dump(CONFIG.dbpedia[w.query])},
        code=code("datasets/query_dbpedia.py"),
    message:
        "Asking DBpedia for {wildcards.query}"
    script:
        "../scripts/datasets/query_dbpedia.py"


rule build_entities:
    input:
        sources=entity_sources,
        files=entity_files,
        queries=entity_queries,
    output:
        entities="results/datasets/entities/{entities}/entities.parquet",
        leakage="results/datasets/entities/{entities}/leakage.parquet",
    log:
        "logs/datasets/entities/{entities}/build_entities.log",
    benchmark:
        "logs/datasets/entities/{entities}/build_entities.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "entities": CONFIG.entities[w.entities].model_dump(
                mode="json", exclude={"prompts"}
            )
        },
        code=code("datasets/build_entities.py"),
    message:
        "Building the table of entities {wildcards.entities}"
    script:
        "../scripts/datasets/build_entities.py"


rule build_prompts:
    input:
        entities=rules.build_entities.output.entities,
        tokenizer="results/models/{tokenizer}/weights",
    output:
        tokens="results/datasets/{tokenizer}/entities/{entities}/{prompt}/tokens.parquet",
        sequences="results/datasets/{tokenizer}/entities/{entities}/{prompt}/sequences.parquet",
        labels="results/datasets/{tokenizer}/entities/{entities}/{prompt}/labels.parquet",
    log:
        "logs/datasets/{tokenizer}/entities/{entities}/{prompt}/build_prompts.log",
    benchmark:
        "logs/datasets/{tokenizer}/entities/{entities}/{prompt}/build_prompts.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"prompt": dump(CONFIG.entities[w.entities].prompts[w.prompt])},
        code=code("datasets/build_prompts.py"),
    message:
        "Writing {wildcards.entities} as prompts {wildcards.prompt} for {wildcards.tokenizer}"
    script:
        "../scripts/datasets/build_prompts.py"


rule build_tokens:
    input:
        people=people_table,
        documents=lambda w: f"results/datasets/documents/{CONFIG.datasets[w.dataset].corpus}.parquet",
        tokenizer="results/models/{tokenizer}/weights",
    output:
        tokens="results/datasets/{tokenizer}/{dataset}/tokens.parquet",
        sequences="results/datasets/{tokenizer}/{dataset}/sequences.parquet",
    log:
        "logs/datasets/{tokenizer}/{dataset}/build_tokens.log",
    benchmark:
        "logs/datasets/{tokenizer}/{dataset}/build_tokens.tsv"
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        cfg=lambda w: {"dataset": token_dataset(w.dataset)},
        code=code("datasets/build_tokens.py"),
    message:
        "Building the token dataset {wildcards.dataset} for {wildcards.tokenizer}"
    script:
        "../scripts/datasets/build_tokens.py"


rule build_text:
    input:
        documents=lambda w: f"results/datasets/documents/{CONFIG.texts[w.text].corpus}.parquet",
        tokenizer="results/models/{tokenizer}/weights",
    output:
        tokens="results/datasets/{tokenizer}/texts/{text}/tokens.parquet",
        sequences="results/datasets/{tokenizer}/texts/{text}/sequences.parquet",
    log:
        "logs/datasets/{tokenizer}/texts/{text}/build_text.log",
    benchmark:
        "logs/datasets/{tokenizer}/texts/{text}/build_text.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        # About 16 bytes of arrays and as many of text for each token, and the documents.
        mem_mb=lambda w, attempt: int(
            (4000 + CONFIG.texts[w.text].max_tokens * 8e-5) * (1 + attempt) / 2
        ),
        runtime=growing(240),
    params:
        cfg=lambda w: {"text": dump(CONFIG.texts[w.text])},
        code=code("datasets/build_text.py"),
    message:
        "Building the text {wildcards.text} for {wildcards.tokenizer}"
    script:
        "../scripts/datasets/build_text.py"


rule label_features:
    input:
        tokens=rules.build_tokens.output.tokens,
        sequences=rules.build_tokens.output.sequences,
        tokenizer="results/models/{tokenizer}/weights",
    output:
        labels="results/datasets/{tokenizer}/{dataset}/labels.parquet",
    log:
        "logs/datasets/{tokenizer}/{dataset}/label_features.log",
    benchmark:
        "logs/datasets/{tokenizer}/{dataset}/label_features.tsv"
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        cfg=lambda w: {"dataset": token_dataset(w.dataset)},
        code=code("datasets/label_features.py"),
    message:
        "Labelling the features of {wildcards.dataset} for {wildcards.tokenizer}"
    script:
        "../scripts/datasets/label_features.py"
