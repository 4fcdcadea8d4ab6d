# Neurons that models of several seeds share.


rule accumulate_correlations:
    input:
        weights=tile_models("weights"),
        infos=tile_models("model.json"),
        tokenizer=lambda w: f"results/models/{group_tokenizer(w.group)}/weights",
        tokens=group_text("tokens"),
        sequences=group_text("sequences"),
    output:
        sums=directory("results/universality/{group}/sums/{tile}-{part}.zarr"),
    log:
        "logs/universality/{group}/accumulate_correlations/{tile}-{part}.log",
    benchmark:
        "logs/universality/{group}/accumulate_correlations/{tile}-{part}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: share_of_cores(len(group_jobs(w.group)))
    resources:
        mem_mb=tile_memory,
        runtime=growing(1440),
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "comparison": comparison(),
            "group": dump(CONFIG.universality.groups[w.group]),
            "dtypes": {m: CONFIG.models[m].dtype for m in group_models(w.group)},
            "trust_remote_code": [
                m for m in group_models(w.group) if CONFIG.models[m].trust_remote_code
            ],
            "document_token": text_of_group(w.group).document_token,
        },
        code=code("universality/accumulate_correlations.py"),
    message:
        "Summing products of the neurons of {wildcards.group} (tile {wildcards.tile}, part {wildcards.part})"
    script:
        "../scripts/universality/accumulate_correlations.py"


rule score_universality:
    input:
        sums=lambda w: group_jobs(w.group),
    output:
        neurons=report(
            "results/universality/{group}/neurons.parquet",
            caption="../report/universality.rst",
            category="Universality",
            labels=with_hash(
                "neurons", {"group": "{group}", "table": "universal neurons"}
            ),
        ),
        matches="results/universality/{group}/matches.parquet",
    log:
        "logs/universality/{group}/score_universality.log",
    benchmark:
        "logs/universality/{group}/score_universality.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=growing(6000),
        runtime=growing(480),
        gpu=GPUS,
    params:
        cfg=lambda w: {
            "universality": {
                **comparison(),
                **universality_part(
                    "rotation", "rotations", "threshold", "top_k", "seed"
                ),
            },
            "group": dump(CONFIG.universality.groups[w.group]),
        },
        code=code("universality/score_universality.py"),
    message:
        "Looking for the neurons of {wildcards.group} in each other's models"
    script:
        "../scripts/universality/score_universality.py"


rule export_correlations:
    input:
        sums=lambda w: group_jobs(w.group),
    output:
        matrix=directory("results/universality/{group}/correlations.zarr"),
    log:
        "logs/universality/{group}/export_correlations.log",
    benchmark:
        "logs/universality/{group}/export_correlations.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(480),
    params:
        cfg=lambda w: {
            "universality": comparison(),
            "group": dump(CONFIG.universality.groups[w.group]),
        },
        code=code("universality/export_correlations.py"),
    message:
        "Storing all correlations of {wildcards.group}"
    script:
        "../scripts/universality/export_correlations.py"


rule explain_neurons:
    input:
        weights="results/models/{model}/weights",
        tokenizer=tokenizer_folder,
        tokens=text_table("tokens"),
        sequences=text_table("sequences"),
    output:
        statistics="results/universality/{model}/{text}/statistics.parquet",
        explanations="results/universality/{model}/{text}/explanations.parquet",
        positions="results/universality/{model}/{text}/positions.parquet",
    log:
        "logs/universality/{model}/{text}/explain_neurons.log",
    benchmark:
        "logs/universality/{model}/{text}/explain_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 8000),
        runtime=growing(1440),
        gpu=model_gpus,
    params:
        cfg=lambda w: explanation_of(w, "top", "batch_tokens"),
        code=code("universality/explain_neurons.py"),
    message:
        "Explaining the neurons of {wildcards.model} on {wildcards.text}"
    script:
        "../scripts/universality/explain_neurons.py"


rule assign_families:
    input:
        statistics=rules.explain_neurons.output.statistics,
        explanations=rules.explain_neurons.output.explanations,
    output:
        families="results/universality/{model}/{text}/families.parquet",
    log:
        "logs/universality/{model}/{text}/assign_families.log",
    benchmark:
        "logs/universality/{model}/{text}/assign_families.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        cfg=lambda w: {"families": dump(EXPLANATIONS.families)},
        code=code("universality/assign_families.py"),
    message:
        "Putting the neurons of {wildcards.model} into families"
    script:
        "../scripts/universality/assign_families.py"


rule name_universal_neurons:
    input:
        neurons=rules.score_universality.output.neurons,
        families=reference_table("families"),
    output:
        families=report(
            "results/universality/{group}/families.parquet",
            caption="../report/group_families.rst",
            category="Universality",
            labels=with_hash(
                "families",
                {"group": "{group}", "table": "families of universal neurons"},
            ),
        ),
    log:
        "logs/universality/{group}/name_universal_neurons.log",
    benchmark:
        "logs/universality/{group}/name_universal_neurons.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("universality/name_universal_neurons.py"),
    message:
        "Naming the universal neurons of {wildcards.group}"
    script:
        "../scripts/universality/name_universal_neurons.py"


rule trace_examples:
    input:
        weights="results/models/{model}/weights",
        tokenizer=tokenizer_folder,
        tokens=text_table("tokens"),
        sequences=text_table("sequences"),
        families=rules.assign_families.output.families,
        universal=named_groups,
    output:
        examples="results/universality/{model}/{text}/examples.parquet",
    log:
        "logs/universality/{model}/{text}/trace_examples.log",
    benchmark:
        "logs/universality/{model}/{text}/trace_examples.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: some_cores(8)
    resources:
        mem_mb=model_memory(4, 6000),
        runtime=growing(480),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            **explanation_of(w, "examples"),
            "example_tokens": EXPLANATIONS.pair(w.model, w.text).example_tokens,
        },
        code=code("universality/trace_examples.py"),
    message:
        "Tracing neurons of each family of {wildcards.model} on {wildcards.text}"
    script:
        "../scripts/universality/trace_examples.py"
