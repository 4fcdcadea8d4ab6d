# Sparse probes: scores of every method, the best neurons, and their scores on other datasets.


rule fit_probes:
    input:
        store=rules.dump_activations.output.store,
        rows=rules.dump_activations.output.rows,
        labels=dataset_path("labels"),
    output:
        scores=report(
            "results/probing/{model}/{dataset}/scores.parquet",
            caption="../report/scores.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "table": "scores of all probes"},
        ),
    log:
        "logs/probing/{model}/{dataset}/fit_probes.log",
    benchmark:
        "logs/probing/{model}/{dataset}/fit_probes.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 16
    resources:
        mem_mb=growing(16000),
        runtime=480,
    params:
        cfg=lambda w: {"probing": PROBING},
        code=code("probing/fit_probes.py"),
    message:
        "Fitting the probes of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/fit_probes.py"


rule collect_best_neurons:
    input:
        store=rules.dump_activations.output.store,
        rows=rules.dump_activations.output.rows,
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
        mem_mb=growing(8000),
        runtime=60,
    params:
        cfg=lambda w: {"probing": PROBING},
        code=code("probing/collect_best_neurons.py"),
    message:
        "Collecting the best neurons of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/probing/collect_best_neurons.py"


rule score_transfer:
    input:
        store=rules.dump_activations.output.store,
        rows=rules.dump_activations.output.rows,
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
        mem_mb=growing(8000),
        runtime=60,
    params:
        cfg=lambda w: {"probing": PROBING},
        code=code("probing/score_transfer.py"),
    message:
        "Scoring the neurons of {wildcards.model} on {wildcards.dataset} as a second domain"
    script:
        "../scripts/probing/score_transfer.py"
