from snakemake.utils import min_version

min_version("9.27")

# A config file given on the command line replaces the demo's instead of being merged into it.
if not workflow.overwrite_configfiles:

    configfile:
        str(
            workflow.current_basedir.join("config/config.yaml").get_path_or_uri(
                secret_free=False
            )
        )


include: "workflow/rules/common.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/probing.smk"
include: "workflow/rules/universality.smk"
include: "workflow/rules/interventions.smk"
include: "workflow/rules/spacetime.smk"
include: "workflow/rules/dynamics.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


# What the results were made with, for the question that a later lock file asks.
onstart:
    record_lock(ROOT, "results")
    # Snakemake waits in silence for jobs that Slurm holds back or does not tell of.
    if workflow.executor_plugin.name == "slurm":
        QueueWatch(logger.warning, workflow.workdir_init).start()


onsuccess:
    record_lock(ROOT, "results")


rule all:
    default_target: True
    input:
        rules.build_report.output.page if PROBED else [],
        figures,
        case_pages,
        universality_tables("neurons"),
    message:
        "The report is at results/report/index.html"


rule models:
    input:
        expand("results/models/{model}/model.json", model=CONFIG.models),
    message:
        "All models are in results/models"


rule datasets:
    input:
        [dataset_path("labels")(Pair(*pair)) for pair in PROBED],
    message:
        "All token datasets and labels are in results/datasets"


rule activations:
    input:
        [
            expand(rules.dump_activations.output.store, model=m, dataset=d)
            for m, d in PROBED
        ],
    message:
        "All activations are in results/activations"


rule weights:
    input:
        [
            f"results/weights/{m}/neurons.parquet"
            for m in dict.fromkeys(p.model for p in PROBED)
        ],
    message:
        "What the weights of the models say is in results/weights"


rule probing:
    input:
        [
            expand(rules.collect_best_neurons.output.neurons, model=m, dataset=d)
            for m, d in PROBED
        ],
        probing_tables("sparsity", CURVES),
        probing_tables("single_neurons", ENUMERATED),
        probing_tables("superposition", SUPERPOSED),
        probing_tables("refinement_neurons", REFINED),
        rules.collect_methods.output.methods,
    message:
        "All probes are in results/probing"


rule universality:
    input:
        universality_tables("neurons"),
        explained_tables("families"),
        group_families(),
        [
            f"results/universality/{group}/correlations.zarr"
            for group in CONFIG.universality.groups
            if CONFIG.universality.store_matrix
        ],
    message:
        "Which neurons models share is in results/universality"


rule interventions:
    input:
        intervention_tables("ablations"),
        role_tables("entropy_neurons", "entropy"),
        role_tables("attention_neurons", "attention"),
        role_tables("next_tokens", "next_tokens"),
    message:
        "All interventions are in results/interventions"


rule spacetime:
    input:
        entity_tables("holdouts"),
        compared_tables("prompt_transfer"),
        neuron_tables("neurons"),
        held_tables("pinning", "pinned_predictions"),
        held_tables("ablation", "ablation_contexts"),
        [f"results/report/{p}.html" for p in PAGES if p in ("maps", "space_time")],
    message:
        "Linear models of space and time are in results/spacetime"


rule dynamics:
    input:
        dynamics_tables("recovery", "recovery"),
        dynamics_tables("forces", "constraints"),
        dynamics_tables("fields", "fields"),
        dynamics_tables("runtime", "runtime"),
        in_context_tables("probes"),
        [f"results/report/{p}.html" for p in PAGES if p in ("dynamics", "in_context")],
    message:
        "All trajectories and equations are in results/dynamics"


rule methods_table:
    input:
        rules.collect_methods.output.methods,
        rules.plot_methods.output.figure,
    message:
        "The methods are compared in results/probing/methods.parquet and results/report/methods.svg"
