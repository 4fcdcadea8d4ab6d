# Sparse probes: scores of every method, the best neurons, and their scores on other datasets.


rule fit_probes:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
    output:
        scores=report(
            "results/probing/{model}/{dataset}/scores.parquet",
            caption="../report/scores.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels=with_hash(
                "scores", {"model": "{model}", "table": "scores of all probes"}
            ),
        ),
        times="results/probing/{model}/{dataset}/times.parquet",
        certificates="results/probing/{model}/{dataset}/certificates.parquet",
    log:
        "logs/probing/{model}/{dataset}/fit_probes.log",
    benchmark:
        "logs/probing/{model}/{dataset}/fit_probes.tsv"
    # The second longest chain, behind those of priority 10.
    priority: 5
    conda:
        "../../envs/environment.yaml"
    threads: probe_cores(16)
    resources:
        mem_mb=probe_memory(16000),
        runtime=growing(480),
    params:
        cfg=lambda w: {"probing": probing_of(w)},
        code=code("probing/fit_probes.py"),
    message:
        "Fitting the probes of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/fit_probes.py"


rule collect_best_neurons:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
        scores=rules.fit_probes.output.scores,
    output:
        neurons="results/probing/{model}/{dataset}/best_neurons.parquet",
    log:
        "logs/probing/{model}/{dataset}/collect_best_neurons.log",
    benchmark:
        "logs/probing/{model}/{dataset}/collect_best_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=probe_memory(8000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"probing": PROBING},
        code=code("probing/collect_best_neurons.py"),
    message:
        "Collecting the best neurons of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/collect_best_neurons.py"


rule score_transfer:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
        source_scores=transfer_scores,
    output:
        transfer="results/probing/{model}/{dataset}/transfer.parquet",
    log:
        "logs/probing/{model}/{dataset}/score_transfer.log",
    benchmark:
        "logs/probing/{model}/{dataset}/score_transfer.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=probe_memory(8000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"probing": PROBING},
        code=code("probing/score_transfer.py"),
    message:
        "Scoring the neurons of {wildcards.model} on {wildcards.dataset} as a second domain"
    script:
        "../scripts/probing/score_transfer.py"


rule fit_sparsity_curves:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
    output:
        sparsity="results/probing/{model}/{dataset}/sparsity.parquet",
    log:
        "logs/probing/{model}/{dataset}/fit_sparsity_curves.log",
    benchmark:
        "logs/probing/{model}/{dataset}/fit_sparsity_curves.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: probe_cores(16)
    resources:
        mem_mb=probe_memory(16000),
        runtime=growing(480),
    params:
        cfg=lambda w: {
            "probing": probing_part("sparsity", "sites", "C", "scale", "seed")
        },
        code=code("probing/fit_sparsity_curves.py"),
    message:
        "Fitting sparsity curves of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/fit_sparsity_curves.py"


rule enumerate_neurons:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
    output:
        single="results/probing/{model}/{dataset}/single_neurons.parquet",
        pruning="results/probing/{model}/{dataset}/pruning.parquet",
    log:
        "logs/probing/{model}/{dataset}/enumerate_neurons.log",
    benchmark:
        "logs/probing/{model}/{dataset}/enumerate_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: probe_cores(16)
    resources:
        mem_mb=probe_memory(16000),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "probing": probing_part(
                "enumeration", "sites", "prefilter", "C", "l1_C", "scale"
            )
        },
        code=code("probing/enumerate_neurons.py"),
    message:
        "Listing all neurons of {wildcards.model} that tell features of {wildcards.dataset}"
    script:
        "../scripts/probing/enumerate_neurons.py"


rule collect_methods:
    input:
        scores=probing_tables("scores"),
        times=probing_tables("times"),
    output:
        by_dataset="results/probing/methods_by_dataset.parquet",
        methods=report(
            "results/probing/methods.parquet",
            caption="../report/methods.rst",
            category="Sparse probing",
            labels=with_hash("methods", {"table": "methods of choosing neurons"}),
        ),
    log:
        "logs/probing/collect_methods.log",
    benchmark:
        "logs/probing/collect_methods.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("probing/collect_methods.py"),
    message:
        "Comparing the methods of choosing neurons over all models and datasets"
    script:
        "../scripts/probing/collect_methods.py"


rule measure_superposition:
    input:
        store=STORE,
        rows=ROWS,
        labels=dataset_path("labels"),
        sequences=dataset_path("sequences"),
        scores=rules.fit_probes.output.scores,
        background_stores=background(STORE),
        background_rows=background(ROWS),
        background_sequences=background(rules.build_tokens.output.sequences),
        background_tokens=background(rules.build_tokens.output.tokens),
    output:
        superposition="results/probing/{model}/{dataset}/superposition.parquet",
        histograms="results/probing/{model}/{dataset}/superposition_histograms.parquet",
        basis="results/probing/{model}/{dataset}/superposition_basis.parquet",
    log:
        "logs/probing/{model}/{dataset}/measure_superposition.log",
    benchmark:
        "logs/probing/{model}/{dataset}/measure_superposition.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(16)
    resources:
        mem_mb=probe_memory(16000, CONFIG.probing.superposition.background, processes=1),
        runtime=growing(120),
    params:
        cfg=lambda w: {
            "probing": probing_part("superposition", "sites", "C", "scale", "seed")
        },
        code=code("probing/measure_superposition.py"),
    message:
        "Measuring superposition of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/measure_superposition.py"


rule refine_neurons:
    input:
        weights=rules.fetch_model.output.weights,
        tokenizer=tokenizer_folder,
        tokens=dataset_path("tokens"),
        sequences=dataset_path("sequences"),
        labels=dataset_path("labels"),
        scores=rules.fit_probes.output.scores,
    output:
        neurons="results/probing/{model}/{dataset}/refinement_neurons.parquet",
        tokens="results/probing/{model}/{dataset}/refinement_tokens.parquet",
        effects="results/probing/{model}/{dataset}/refinement_effects.parquet",
        ngrams="results/probing/{model}/{dataset}/refinement_ngrams.parquet",
        examples="results/probing/{model}/{dataset}/refinement_examples.parquet",
    log:
        "logs/probing/{model}/{dataset}/refine_neurons.log",
    benchmark:
        "logs/probing/{model}/{dataset}/refine_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 8000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: refinement_of(w),
        code=code("probing/refine_neurons.py"),
    message:
        "Looking closely at neurons of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/refine_neurons.py"
