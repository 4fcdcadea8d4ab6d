# Dynamical systems: trajectories, and the sparse equations that are found in them.


rule simulate_system:
    output:
        store=directory("results/dynamics/{system}/trajectories.zarr"),
    log:
        "logs/dynamics/{system}/simulate_system.log",
    benchmark:
        "logs/dynamics/{system}/simulate_system.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        cfg=lambda w: {"dynamics": dump(CONFIG.dynamics.simulation(w.system))},
        code=code("dynamics/simulate_system.py"),
    message:
        "Simulating {wildcards.system}"
    script:
        "../scripts/dynamics/simulate_system.py"


rule score_recovery:
    input:
        store=rules.simulate_system.output.store,
    output:
        recovery=report(
            "results/dynamics/{system}/recovery.parquet",
            caption="../report/recovery.rst",
            category="Dynamics",
            labels=with_hash("recovery", {"system": "{system}", "table": "recovery"}),
        ),
        models="results/dynamics/{system}/models.parquet",
        inclusion="results/dynamics/{system}/inclusion.parquet",
        times="results/dynamics/{system}/times.parquet",
    log:
        "logs/dynamics/{system}/score_recovery.log",
    benchmark:
        "logs/dynamics/{system}/score_recovery.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: dask_cores(16)
    resources:
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        cfg=lambda w: {"dynamics": dynamics_of(w.system, "methods", "validation_share")},
        code=code("dynamics/score_recovery.py"),
    message:
        "Recovering the equations of {wildcards.system}"
    script:
        "../scripts/dynamics/score_recovery.py"


rule score_forces:
    input:
        store=rules.simulate_system.output.store,
    output:
        scores="results/dynamics/{system}/forces.parquet",
        times="results/dynamics/{system}/force_times.parquet",
    log:
        "logs/dynamics/{system}/score_forces.log",
    benchmark:
        "logs/dynamics/{system}/score_forces.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: dask_cores(16)
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "dynamics": dynamics_of(
                w.system, "methods", "constraints", "validation_share"
            )
        },
        code=code("dynamics/score_forces.py"),
    message:
        "Fitting the force of {wildcards.system}"
    script:
        "../scripts/dynamics/score_forces.py"


rule score_fields:
    input:
        store=rules.simulate_system.output.store,
    output:
        scores="results/dynamics/{system}/fields.parquet",
        times="results/dynamics/{system}/field_times.parquet",
    log:
        "logs/dynamics/{system}/score_fields.log",
    benchmark:
        "logs/dynamics/{system}/score_fields.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: dask_cores(16)
    resources:
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        cfg=lambda w: {"dynamics": dynamics_of(w.system, "methods", "fields")},
        code=code("dynamics/score_fields.py"),
    message:
        "Fitting the equations of the field {wildcards.system}"
    script:
        "../scripts/dynamics/score_fields.py"


rule time_regressions:
    input:
        store=rules.simulate_system.output.store,
    output:
        runtime="results/dynamics/{system}/runtime.parquet",
    log:
        "logs/dynamics/{system}/time_regressions.log",
    benchmark:
        "logs/dynamics/{system}/time_regressions.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        cfg=lambda w: {
            "dynamics": dynamics_of(w.system, "methods", "runtime", "validation_share")
        },
        code=code("dynamics/time_regressions.py"),
    message:
        "Timing regressions of {wildcards.system}"
    script:
        "../scripts/dynamics/time_regressions.py"


rule predict_in_context:
    input:
        weights=rules.fetch_model.output.weights,
        tokenizer=tokenizer_folder,
    output:
        predictions="results/dynamics/in_context/{model}/{system}/predictions.parquet",
        distributions="results/dynamics/in_context/{model}/{system}/distributions.parquet",
        residuals=directory(
            "results/dynamics/in_context/{model}/{system}/residuals.zarr"
        ),
    log:
        "logs/dynamics/in_context/{model}/{system}/predict_in_context.log",
    benchmark:
        "logs/dynamics/in_context/{model}/{system}/predict_in_context.tsv"
    # The longest chain of jobs: what waits for it should not have to.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: share_of_cores(len(IN_CONTEXT))
    resources:
        mem_mb=model_memory(4, 6000),
        runtime=growing(240),
        gpu=model_gpus,
    params:
        cfg=lambda w: {
            "in_context": dump(CONFIG.dynamics.in_context.prediction(w.system)),
            "dtype": CONFIG.models[w.model].dtype,
            "trust_remote_code": CONFIG.models[w.model].trust_remote_code,
        },
        code=code("dynamics/predict_in_context.py"),
    message:
        "Giving {wildcards.model} the sequence {wildcards.system}"
    script:
        "../scripts/dynamics/predict_in_context.py"


rule probe_in_context:
    input:
        residuals=rules.predict_in_context.output.residuals,
    output:
        probes=report(
            "results/dynamics/in_context/{model}/{system}/probes.parquet",
            caption="../report/in_context_probes.rst",
            category="Dynamics",
            subcategory="In context",
            labels=with_hash(
                "probes",
                {"model": "{model}", "system": "{system}", "table": "state probes"},
            ),
        ),
        outputs="results/dynamics/in_context/{model}/{system}/probe_outputs.parquet",
        equations="results/dynamics/in_context/{model}/{system}/equations.parquet",
    log:
        "logs/dynamics/in_context/{model}/{system}/probe_in_context.log",
    benchmark:
        "logs/dynamics/in_context/{model}/{system}/probe_in_context.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        cfg=lambda w: {"in_context": dump(CONFIG.dynamics.in_context.probing(w.system))},
        code=code("dynamics/probe_in_context.py"),
    message:
        "Probing the state of {wildcards.system} in {wildcards.model}"
    script:
        "../scripts/dynamics/probe_in_context.py"
