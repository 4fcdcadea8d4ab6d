# Figures and the report.


def probing_tables(table, pairs=PROBED):
    return [f"results/probing/{m}/{d}/{table}.parquet" for m, d in pairs]


def dataset_tables(table):
    return list(dict.fromkeys(dataset_path(table)(pair) for pair in PROBED))


TRANSFERRED = [pair for pair in PROBED if pair.dataset in CONFIG.probing.transfer]
FIGURE = "results/report/{model}/{dataset}/"


rule plot_scores:
    input:
        scores=rules.fit_probes.output.scores,
        best_neurons=rules.collect_best_neurons.output.neurons,
    output:
        by_layer=report(
            FIGURE + "f1_by_layer.svg",
            caption="../report/f1_by_layer.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "F1 by layer"},
        ),
        by_k=report(
            FIGURE + "f1_by_k.svg",
            caption="../report/f1_by_k.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "F1 by number of neurons"},
        ),
        histograms=report(
            FIGURE + "best_neurons.svg",
            caption="../report/best_neurons.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "best neurons"},
        ),
    log:
        "logs/report/{model}/{dataset}/plot_scores.log",
    benchmark:
        "logs/report/{model}/{dataset}/plot_scores.tsv"
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
            FIGURE + "transfer.svg",
            caption="../report/transfer.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels={"model": "{model}", "figure": "second domain"},
        ),
    log:
        "logs/report/{model}/{dataset}/plot_transfer.log",
    benchmark:
        "logs/report/{model}/{dataset}/plot_transfer.tsv"
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


def figures(wildcards):
    names = ["f1_by_layer", "f1_by_k", "best_neurons"]
    found = [f"results/report/{m}/{d}/{name}.svg" for m, d in PROBED for name in names]
    return found + [f"results/report/{m}/{d}/transfer.svg" for m, d in TRANSFERRED]


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
