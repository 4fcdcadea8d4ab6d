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
            labels=with_hash(
                "by_layer", {"model": "{model}", "figure": "F1 by layer"}
            ),
        ),
        by_k=report(
            "results/report/{model}/{dataset}/f1_by_k.svg",
            caption="../report/f1_by_k.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels=with_hash(
                "by_k", {"model": "{model}", "figure": "F1 by number of neurons"}
            ),
        ),
        histograms=report(
            "results/report/{model}/{dataset}/best_neurons.svg",
            caption="../report/best_neurons.rst",
            category="Sparse probing",
            subcategory="{dataset}",
            labels=with_hash(
                "histograms", {"model": "{model}", "figure": "best neurons"}
            ),
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
        runtime=growing(30),
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
            labels=with_hash(
                "figure", {"model": "{model}", "figure": "second domain"}
            ),
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
        runtime=growing(30),
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
            labels=with_hash(
                "figure", {"model": "{model}", "figure": "F1 by sparsity"}
            ),
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
        runtime=growing(30),
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
            labels=with_hash("figure", {"figure": "methods of choosing neurons"}),
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
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("report/plot_methods.py"),
    message:
        "Drawing the table of methods"
    script:
        "../scripts/report/plot_methods.py"


rule build_superposition_page:
    input:
        superposition=probing_tables("superposition", SUPERPOSED),
        histograms=probing_tables("superposition_histograms", SUPERPOSED),
        basis=probing_tables("superposition_basis", SUPERPOSED),
        sparsity=probing_tables("sparsity", [p for p in SUPERPOSED if p in CURVES]),
        weights=[
            f"results/weights/{m}/neurons.parquet"
            for m in dict.fromkeys(p.model for p in SUPERPOSED)
        ],
    output:
        page=report(
            "results/report/superposition.html",
            caption="../report/superposition.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "superposition of compound words"}),
        ),
    log:
        "logs/report/build_superposition_page.log",
    benchmark:
        "logs/report/build_superposition_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("report/build_superposition_page.py"),
    message:
        "Writing the page about superposition of compound words"
    script:
        "../scripts/report/build_superposition_page.py"


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
            labels=with_hash("page", {"page": "the report"}),
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
        runtime=growing(60),
    params:
        cfg=lambda w: {
            # Those of other pages are left out.
            "report": CONFIG.report.model_dump(
                mode="json", exclude={"refined_neurons", "scale_tolerance"}
            ),
            "pages": PAGES,
        },
        code=code("report/build_report.py"),
    message:
        "Building the report"
    script:
        "../scripts/report/build_report.py"


rule build_context_page:
    input:
        ablations=intervention_tables("ablations"),
        activations=intervention_tables("activations"),
        tokens=intervention_tables("tokens"),
    output:
        page=report(
            "results/report/context_neurons.html",
            caption="../report/context_neurons.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "context neurons"}),
        ),
    log:
        "logs/report/build_context_page.log",
    benchmark:
        "logs/report/build_context_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("report/build_context_page.py"),
    message:
        "Building the page about context neurons"
    script:
        "../scripts/report/build_context_page.py"


rule build_methods_page:
    input:
        methods=rules.collect_methods.output.methods,
        sparsity=probing_tables("sparsity", CURVES),
        single_neurons=probing_tables("single_neurons", ENUMERATED),
        pruning=probing_tables("pruning", ENUMERATED),
    output:
        page=report(
            "results/report/methods.html",
            caption="../report/methods_page.rst",
            category="Sparse probing",
            labels=with_hash("page", {"page": "methods of choosing neurons"}),
        ),
    log:
        "logs/report/build_methods_page.log",
    benchmark:
        "logs/report/build_methods_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        cfg=lambda w: {},
        code=code("report/build_methods_page.py"),
    message:
        "Writing the page about methods"
    script:
        "../scripts/report/build_methods_page.py"


rule build_refinement_page:
    input:
        neurons=probing_tables("refinement_neurons", REFINED),
        tokens=probing_tables("refinement_tokens", REFINED),
        effects=probing_tables("refinement_effects", REFINED),
        ngrams=probing_tables("refinement_ngrams", REFINED),
        examples=probing_tables("refinement_examples", REFINED),
        scores=probing_tables("scores", REFINED),
    output:
        page=report(
            "results/report/refinement.html",
            caption="../report/refinement.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "what single neurons respond to"}),
        ),
    log:
        "logs/report/build_refinement_page.log",
    benchmark:
        "logs/report/build_refinement_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"report": report_part("refined_neurons")},
        code=code("report/build_refinement_page.py"),
    message:
        "Writing the page about what single neurons respond to"
    script:
        "../scripts/report/build_refinement_page.py"


rule build_scale_page:
    input:
        models=[
            f"results/models/{m}/model.json"
            for m in dict.fromkeys(p.model for p in PROBED)
        ],
        scores=probing_tables("scores"),
    output:
        page=report(
            "results/report/scale.html",
            caption="../report/scale.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "sparsity and scale"}),
        ),
        table="results/report/scale.parquet",
    log:
        "logs/report/build_scale_page.log",
    benchmark:
        "logs/report/build_scale_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"report": report_part("scale_tolerance")},
        code=code("report/build_scale_page.py"),
    message:
        "Writing the page about sparsity and scale"
    script:
        "../scripts/report/build_scale_page.py"


rule build_in_context_page:
    input:
        predictions=in_context_tables("predictions"),
        distributions=in_context_tables("distributions"),
        probes=in_context_tables("probes"),
        outputs=in_context_tables("probe_outputs"),
        equations=in_context_tables("equations"),
    output:
        page=report(
            "results/report/in_context.html",
            caption="../report/in_context.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "systems learned in context"}),
        ),
    log:
        "logs/report/build_in_context_page.log",
    benchmark:
        "logs/report/build_in_context_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {},
        code=code("report/build_in_context_page.py"),
    message:
        "Writing the page about systems learned in context"
    script:
        "../scripts/report/build_in_context_page.py"


rule build_roles_page:
    input:
        effects=effect_tables("effects"),
        examples=effect_tables("effect_examples"),
        entropy=role_tables("entropy_neurons", "entropy"),
        scores=role_tables("attention_neurons", "attention_scores"),
        attention=role_tables("attention_neurons", "attention"),
        next_tokens=role_tables("next_tokens", "next_tokens"),
    output:
        page=report(
            "results/report/roles.html",
            caption="../report/roles.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "functional roles of neurons"}),
        ),
    log:
        "logs/report/build_roles_page.log",
    benchmark:
        "logs/report/build_roles_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"kurtosis": CONFIG.weights.kurtosis},
        code=code("report/build_roles_page.py"),
    message:
        "Writing the page about functional roles of neurons"
    script:
        "../scripts/report/build_roles_page.py"


rule build_dynamics_page:
    input:
        recovery=dynamics_tables("recovery", "recovery"),
        models=dynamics_tables("models", "recovery"),
        inclusion=dynamics_tables("inclusion", "recovery"),
        forces=dynamics_tables("forces", "constraints"),
        fields=dynamics_tables("fields", "fields"),
        runtime=dynamics_tables("runtime", "runtime"),
    output:
        page=report(
            "results/report/dynamics.html",
            caption="../report/dynamics.rst",
            category="Case studies",
            labels=with_hash(
                "page", {"page": "sparse equations of dynamical systems"}
            ),
        ),
    log:
        "logs/report/build_dynamics_page.log",
    benchmark:
        "logs/report/build_dynamics_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {},
        code=code("report/build_dynamics_page.py"),
    message:
        "Writing the page about sparse equations of dynamical systems"
    script:
        "../scripts/report/build_dynamics_page.py"


rule build_universality_page:
    input:
        neurons=universality_tables("neurons"),
        matches=universality_tables("matches"),
        curves=universality_curves,
        statistics=reference_statistics,
        effects=reference_effects,
    output:
        page=report(
            "results/report/universality.html",
            caption="../report/universality_page.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "universal neurons"}),
        ),
    log:
        "logs/report/build_universality_page.log",
    benchmark:
        "logs/report/build_universality_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        cfg=lambda w: universality_part("threshold"),
        code=code("report/build_universality_page.py"),
    message:
        "Writing the page about universal neurons"
    script:
        "../scripts/report/build_universality_page.py"


rule build_families_page:
    input:
        statistics=explained_tables("statistics"),
        families=explained_tables("families"),
        explanations=explained_tables("explanations"),
        positions=explained_tables("positions"),
        examples=explained_tables("examples"),
        groups=group_families(),
    output:
        page=report(
            "results/report/families.html",
            caption="../report/families.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "families of neurons"}),
        ),
    log:
        "logs/report/build_families_page.log",
    benchmark:
        "logs/report/build_families_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"families": dump(EXPLANATIONS.families)},
        code=code("report/build_families_page.py"),
    message:
        "Writing the page about families of neurons"
    script:
        "../scripts/report/build_families_page.py"


rule build_maps_page:
    input:
        predictions=main_tables("predictions"),
        scores=main_tables("scores"),
        holdouts=entity_tables("holdouts"),
        entities=tables_of_entities("entities"),
        world_atlas=atlas("world-atlas"),
        us_atlas=atlas("us-atlas"),
    output:
        page=report(
            "results/report/maps.html",
            caption="../report/maps.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "maps and timelines"}),
        ),
    log:
        "logs/report/build_maps_page.log",
    benchmark:
        "logs/report/build_maps_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {},
        code=code("report/build_maps_page.py"),
    message:
        "Writing the page with maps and timelines"
    script:
        "../scripts/report/build_maps_page.py"


rule build_space_time_page:
    input:
        scores=prompt_tables("scores"),
        dimensions=main_tables("dimensions"),
        prompts=compared_tables("prompts"),
        transfer=compared_tables("prompt_transfer"),
        holdouts=entity_tables("holdouts"),
        neurons=neuron_tables("neurons"),
        projections=neuron_tables("neuron_projections"),
        pinned=held_tables("pinning", "pinned_predictions"),
        ablations=held_tables("ablation", "ablations"),
        contexts=held_tables("ablation", "ablation_contexts"),
        leakage=tables_of_entities("leakage"),
    output:
        page=report(
            "results/report/space_time.html",
            caption="../report/space_time.rst",
            category="Case studies",
            labels=with_hash("page", {"page": "space and time"}),
        ),
    log:
        "logs/report/build_space_time_page.log",
    benchmark:
        "logs/report/build_space_time_page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        cfg=lambda w: {"main_prompt": CONFIG.spacetime.main_prompt},
        code=code("report/build_space_time_page.py"),
    message:
        "Writing the page about space and time"
    script:
        "../scripts/report/build_space_time_page.py"
