# Figures and the report.


rule plot_scores:
    input:
        scores=rules.fit_probes.output.scores,
        best_neurons=rules.collect_best_neurons.output.neurons,
    output:
        by_layer=report(
            "results/report/{model}/{dataset}/f1_by_layer.svg",
            caption="../report/f1_by_layer.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "F1 by layer"},
        ),
        by_k=report(
            "results/report/{model}/{dataset}/f1_by_k.svg",
            caption="../report/f1_by_k.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "F1 by number of neurons"},
        ),
        histograms=report(
            "results/report/{model}/{dataset}/best_neurons.svg",
            caption="../report/best_neurons.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "best neurons"},
        ),
    log:
        "logs/report/{model}/{dataset}/plot_scores.log",
    benchmark:
        "logs/report/{model}/{dataset}/plot_scores.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        cfg=lambda w: {},
        code=code("report/plot_scores.py"),
    message:
        "Plotting the scores of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/report/plot_scores.py"


rule plot_transfer:
    input:
        transfer=rules.score_transfer.output.transfer,
    output:
        figure=report(
            "results/report/{model}/{dataset}/transfer.svg",
            caption="../report/transfer.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "second domain"},
        ),
    log:
        "logs/report/{model}/{dataset}/plot_transfer.log",
    benchmark:
        "logs/report/{model}/{dataset}/plot_transfer.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        cfg=lambda w: {},
        code=code("report/plot_transfer.py"),
    message:
        "Plotting the second domain {wildcards.dataset} of {wildcards.model}"
    script:
        "../scripts/report/plot_transfer.py"


rule plot_sparsity:
    input:
        sparsity=rules.fit_sparsity_curves.output.sparsity,
    output:
        figure=report(
            "results/report/{model}/{dataset}/sparsity.svg",
            caption="../report/sparsity.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "F1 by sparsity"},
        ),
    log:
        "logs/report/{model}/{dataset}/plot_sparsity.log",
    benchmark:
        "logs/report/{model}/{dataset}/plot_sparsity.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        cfg=lambda w: {},
        code=code("report/plot_sparsity.py"),
    message:
        "Plotting the sparsity curves of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/report/plot_sparsity.py"


rule plot_methods:
    input:
        methods=rules.collect_methods.output.methods,
    output:
        figure=report(
            "results/report/methods.svg",
            caption="../report/methods.rst",
            category="Sparse probing",
            labels={"figure": "methods of choosing neurons"},
        ),
    log:
        "logs/report/plot_methods.log",
    benchmark:
        "logs/report/plot_methods.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        cfg=lambda w: {},
        code=code("report/plot_methods.py"),
    message:
        "Drawing the table of methods"
    script:
        "../scripts/report/plot_methods.py"


rule build_report:
    input:
        models=[
            f"results/models/{m}/model.json"
            for m in dict.fromkeys(p.model for p in PROBED)
        ],
        sequences=dataset_tables("sequences"),
        labels=dataset_tables("labels"),
        rows=[f"results/activations/{m}/{d}/rows.parquet" for m, d in PROBED],
        scores=probing_tables("scores"),
        best_neurons=probing_tables("best_neurons"),
        transfer=probing_tables("transfer", TRANSFERRED),
        sources=[f"resources/fetched/{name}" for name in USED_SOURCES],
    output:
        page=report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "the report"},
        ),
    log:
        "logs/report/build_report.log",
    benchmark:
        "logs/report/build_report.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        cfg=lambda w: {"report": dump(CONFIG.report)},
        code=code("report/build_report.py"),
    message:
        "Building the report"
    script:
        "../scripts/report/build_report.py"
