# What the rules share: the validated config, its slices, and the hashes of the code they run.
import os
import re
import sys
from collections import namedtuple
from glob import glob
from pathlib import Path

ROOT = (
    Path(workflow.current_basedir.get_path_or_uri(secret_free=False))
    .resolve()
    .parents[1]
)

# The code that runs is the code that was hashed: this checkout's, whatever else is installed.
sys.path.insert(0, str(ROOT / "src"))
os.environ.update(PYTHONPATH=str(ROOT / "src"))

from artneuro.config import load_config
from artneuro.core.errors import ArtneuroError
from artneuro.core.slurm_watch import QueueWatch
from artneuro.core.values import read_yaml
from artneuro.models.licences import CARD, LICENCE_FILES
from artneuro.planning.worker_memory import layer_bytes
from artneuro.provenance.code import code_hashes
from artneuro.provenance.lock import lock_question, lock_state, record_lock
from artneuro.universality.config import ComparisonConfig
from artneuro.universality.tiles import tiles_of

try:
    # Snakemake's own reader takes the last of two equal keys without a word.
    for configfile in workflow.configfiles if workflow.is_main_process else ():
        read_yaml(Path(configfile), "the config")
    CONFIG, SOURCES = load_config(config, ROOT)
except ArtneuroError as error:
    raise WorkflowError(str(error)) from None

# A new lock file is told of at every call until it is answered, and reruns nothing.
if workflow.is_main_process:
    with_conda = "conda" in map(str, workflow.deployment_settings.deployment_method)
    question = lock_question(lock_state(ROOT, "results"), uses_conda=with_conda)
    if question:
        logger.warning(question)

# Scripts find where to compute here; it is in no rule's params, so that it reruns nothing.
config["compute"] = CONFIG.compute.model_dump(mode="json")
config["compute"]["checkpoint_minutes"] = {
    name: recipe.checkpoint_minutes for name, recipe in CONFIG.training.items()
}
# Sidecars tell which config it was, so that the audit can compare them with it.
config["configfiles"] = [
    os.path.relpath(f) if Path(f).is_relative_to(Path.cwd()) else str(f)
    for f in map(os.path.abspath, workflow.configfiles)
]

Pair = namedtuple("Pair", "model dataset")
PROBED = [Pair(*pair) for pair in CONFIG.probed()]
TRANSFERRED = [pair for pair in PROBED if pair.dataset in CONFIG.probing.transfer]
USED_SOURCES = CONFIG.used_sources()
GPUS = 1 if CONFIG.compute.device == "cuda" else 0

# Which models and datasets are probed decides which jobs there are, not what a job does.
PROBING = CONFIG.probing.model_dump(
    mode="json",
    exclude={
        "models",
        "datasets",
        "transfer",
        "comparison",
        "sparsity",
        "enumeration",
        "superposition",
        "refinement",
    },
)
COMPARED = CONFIG.probing.comparison
CURVES = [pair for pair in PROBED if pair.dataset in CONFIG.probing.sparsity.datasets]
ENUMERATED = [
    pair for pair in PROBED if pair.dataset in CONFIG.probing.enumeration.datasets
]
SUPERPOSED = [
    pair for pair in PROBED if pair.dataset in CONFIG.probing.superposition.datasets
]
REFINED = [
    pair for pair in PROBED if pair.dataset in CONFIG.probing.refinement.datasets
]
ABLATED = [
    pair
    for pair in PROBED
    if pair.dataset in CONFIG.interventions.context_neurons.datasets
]

IN_CONTEXT = CONFIG.dynamics.in_context.pairs()

# Models and the tables of entities that they read.
MAPPED = CONFIG.mapped()

# Systems whose equations are looked for in their trajectories.
IDENTIFIED = CONFIG.dynamics.identified()

# Models whose neurons are explained on a text, and groups whose universal neurons are.
EXPLANATIONS = CONFIG.universality.explanations
EXPLAINED = [(pair.model, pair.text) for pair in EXPLANATIONS.pairs]
NAMED_GROUPS = {
    name: EXPLANATIONS.text_of(group.reference)
    for name, group in CONFIG.universality.groups.items()
    if EXPLANATIONS.text_of(group.reference)
}

# Models whose neurons' functional roles are looked at.
ROLE_MODELS = list(
    dict.fromkeys(
        model
        for section in (*CONFIG.interventions.roles().values(), CONFIG.weights)
        for model in section.models
    )
)

# Pages beside the report, each with the pairs that it is about: a page about none is not made.
CASES = {
    "methods": PROBED,
    "superposition": SUPERPOSED,
    "context_neurons": ABLATED,
    "refinement": REFINED,
    "scale": PROBED,
    "universality": list(CONFIG.universality.groups),
    "families": EXPLAINED,
    "roles": ROLE_MODELS,
    "maps": MAPPED,
    "space_time": MAPPED,
    "dynamics": IDENTIFIED,
    "in_context": IN_CONTEXT,
}
PAGES = [name for name, pairs in CASES.items() if pairs]


wildcard_constraints:
    source=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    model=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    tokenizer=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    corpus=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    people=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    text=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    group=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    tile=r"\d+",
    part=r"\d+",
    share=r"\d+",
    recipe=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    system=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    entities=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    prompt=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    query=r"[A-Za-z0-9][A-Za-z0-9_.-]*",


def code(script):
    """Hashes of a script, named as in `script:`, and of the first-party code that it imports."""
    return code_hashes(ROOT / "workflow" / "scripts" / script, ROOT)


def with_hash(name, labels):
    """Labels of the output `name` in Snakemake's report, with the start of its recorded hash."""

    def found(wildcards, output):
        # Imported here: only a report needs it.
        from artneuro.provenance.graph import recorded_sha256

        return {**labels, "sha256": recorded_sha256(getattr(output, name))[:16]}

    return found


def dump(section):
    """A section of the config as plain values."""
    return section.model_dump(mode="json")


def dynamics_of(system, *keys):
    """The config of one dynamical system with the seed, the trials, and some further keys."""
    found = CONFIG.dynamics.model_dump(mode="json", include={"seed", "trials", *keys})
    # Which systems take part decides which jobs there are, not what a job does.
    for key in ("constraints", "fields", "runtime"):
        found.get(key, {}).pop("systems", None)
    return {**found, "systems": {system: dump(CONFIG.dynamics.systems[system])}}


def dynamics_tables(table, experiment):
    """A table of each system that takes part in an experiment of the dynamics stage."""
    systems = getattr(CONFIG.dynamics, experiment).systems
    return [f"results/dynamics/{system}/{table}.parquet" for system in systems]


# What is stored of {model} on {dataset}, by one job or by the shares of several.
STORE = "results/activations/{model}/{dataset}/activations.zarr"
ROWS = "results/activations/{model}/{dataset}/rows.parquet"


def dumped_by(one_job):
    """A pattern for the models that are dumped by one job, or by several."""
    jobs = {model: CONFIG.activations.jobs_of(model) for model in CONFIG.models}
    return one_of([model for model, n in jobs.items() if (n == 1) == one_job])


def dump_shares(wildcards):
    """Input function: the shares that {model} on {dataset} is dumped in."""
    folder = f"results/activations/{wildcards.model}/{wildcards.dataset}/shares"
    return [f"{folder}/{i}" for i in range(CONFIG.activations.jobs_of(wildcards.model))]


def stored():
    """What is stored of every model; how many jobs share the work changes no number."""
    return CONFIG.activations.model_dump(mode="json", exclude={"jobs"})


def dataset_path(table):
    """Input function: a table of the token dataset that {model} and {dataset} use."""

    def path(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        return f"results/datasets/{tokenizer}/{wildcards.dataset}/{table}.parquet"

    return path


def tokenizer_folder(wildcards):
    """Input function: the model folder whose tokenizer {model} uses."""
    return f"results/models/{CONFIG.tokenizer(wildcards.model)}/weights"


def refinement_of(wildcards):
    """The config of the closer look at neurons of {model} on {dataset}."""
    model = CONFIG.models[wildcards.model]
    return {
        "probing": probing_part("refinement", "histogram_bins", "seed"),
        "dataset": token_dataset(wildcards.dataset),
        "dtype": model.dtype,
        "trust_remote_code": model.trust_remote_code,
    }


def existing_files(path):
    """Files at a local path, folder or glob, so that a change in them is noticed."""
    if Path(path).is_dir():
        return sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
    return sorted(glob(path, recursive=True))


def model_memory(bytes_per_parameter, base_mb, on_gpu=None):
    """Resource function: memory for a model's weights and a fixed rest, more with each attempt.

    `on_gpu` are the bytes of a parameter in main memory where the model runs on a GPU, if they differ.
    """
    if GPUS and on_gpu:
        bytes_per_parameter = on_gpu

    def mem_mb(wildcards, attempt):
        parameters = CONFIG.parameters_of(wildcards.model) or 5e8
        return int(
            (base_mb + 1.2 * bytes_per_parameter * parameters / 1e6) * (1 + attempt) / 2
        )

    return mem_mb


def fetch_memory(wildcards, attempt):
    """Resource function: memory for fetching {model}, which is decoded whole if it is a GGUF file."""
    whole = CONFIG.models[wildcards.model].source.kind == "gguf"
    parameters = (CONFIG.parameters_of(wildcards.model) or 5e8) if whole else 0
    return int((3000 + 4.8 * parameters / 1e6) * (1 + attempt) / 2)


def machine_cores():
    """Cores that jobs share: those of one machine; None on a cluster, where each asks for its own.

    A job of a cluster plans itself anew on its node, where all cores that it sees are its own.
    """
    return None if workflow.remote_exec else workflow.resource_settings.cores


def model_gpus(wildcards):
    """Resource function: the GPUs that hold {model}, where GPUs are asked for."""
    return GPUS * CONFIG.models[wildcards.model].gpus


def share_of_cores(jobs, most=8):
    """Threads of each of some jobs that can run side by side: one thread each beats all for one."""
    cores = machine_cores()
    return max(1, min(most, cores // max(1, jobs))) if cores else most


def some_cores(most):
    """Threads of a job among many: on one machine a quarter of its cores, on a cluster `most`.

    What a job does on one core (imports, hashes, tables) leaves the others idle if it has them all.
    """
    cores = machine_cores()
    return max(1, min(most, cores // 4)) if cores else most


def dask_cores(most):
    """Threads of a job of many Dask tasks: one where they run on workers elsewhere."""
    return some_cores(most) if CONFIG.compute.dask.kind == "local" else 1


# Memory of the nodes that jobs of many workers are made for, where none is at hand to be asked.
NODE_MB = 256000
# Of a worker besides its layer.
WORKER_MB = 700


def machine_mb():
    """Memory that workers share: this machine's, on a cluster that of a usual node."""
    cores = machine_cores()
    # With more cores than there are here, jobs are planned for other machines (`artneuro plan`).
    if cores is None or cores > (os.cpu_count() or 1):
        return NODE_MB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6


def layer_mb(wildcards, datasets=()):
    """MB of the largest layer of {model} on {dataset}, or on further ones, in a worker."""
    sizes = [
        layer_bytes(CONFIG, ROOT, Path.cwd(), wildcards.model, dataset) or 0
        for dataset in (wildcards.dataset, *datasets)
    ]
    return max(sizes) / 1e6


def probe_cores(most):
    """Resource function: as many workers as have room for a layer each."""

    def threads(wildcards):
        room = machine_mb() // (WORKER_MB + layer_mb(wildcards))
        return max(1, min(dask_cores(most), int(room)))

    return threads


def probe_memory(least_mb, datasets=(), processes=None):
    """Resource function: a layer of {model} on {dataset} in each process, more with each attempt.

    There are the config's Dask workers if no number is given, or else a process for each thread.
    """
    dask = CONFIG.compute.dask
    if processes is None and dask.kind == "local":
        processes = dask.workers

    def mem_mb(wildcards, attempt, threads):
        layers = (processes or threads) * (WORKER_MB + layer_mb(wildcards, datasets))
        return int(max(least_mb, 2000 + layers) * (1 + attempt) / 2)

    return mem_mb


def growing(amount):
    """Resource function: some MB or minutes, and half as much again with each further attempt."""
    return lambda wildcards, attempt: int(amount * (1 + attempt) / 2)


def model_source(wildcards):
    """Input function: the fetched package that a GGUF model lies in."""
    source = CONFIG.models[wildcards.model].source
    return f"resources/fetched/{source.source}" if source.kind == "gguf" else []


def local_model_files(wildcards):
    """Input function: the files of a local model, among which are no other formats of its weights."""
    source = CONFIG.models[wildcards.model].source
    if source.kind != "local":
        return []
    kinds = (".safetensors", ".json", ".model", ".txt", ".jinja")
    named = (*kinds, *LICENCE_FILES, CARD)
    return [f for f in existing_files(f"{source.path}/*") if f.endswith(named)]


def one_of(names):
    """A pattern for these names alone; one that nothing fits where there are none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def documents_memory(wildcards, attempt):
    """Resource function: memory for the documents of {corpus}, as far as their number is known."""
    parts = CONFIG.corpora[wildcards.corpus].parts
    records = sum(getattr(part, "max_records", None) or 0 for part in parts)
    return int((4000 + 0.02 * records) * (1 + attempt) / 2)


def recipe_documents(wildcards):
    """Input function: the documents that the models of {recipe} learn from."""
    corpus = CONFIG.training[wildcards.recipe].corpus
    return f"results/datasets/documents/{corpus}.parquet"


def recipe_file(name):
    """Input function: what was made of the documents of {model}'s recipe, for all its seeds."""
    return (
        lambda w: f"results/models/recipes/{CONFIG.models[w.model].source.recipe}/{name}"
    )


def recipe_part(recipe, *keys):
    """A recipe, or some keys of it beside the corpus; how often it is saved changes no model."""
    part = {"corpus", *keys} if keys else None
    found = CONFIG.training[recipe].model_dump(mode="json", include=part)
    return {k: v for k, v in found.items() if k != "checkpoint_minutes"}


def corpus_sources(wildcards):
    """Input function: the fetched packages of a corpus."""
    names = CONFIG.corpora[wildcards.corpus].source_names()
    return [f"resources/fetched/{name}" for name in names]


def corpus_files(wildcards):
    """Input function: the local files of a corpus that are there."""
    paths = [part.path for part in CONFIG.corpora[wildcards.corpus].parts if part.path]
    return [file for path in dict.fromkeys(paths) for file in existing_files(path)]


def token_dataset(name):
    """The config of a token dataset without `aggregation`, which concerns the dump alone."""
    return CONFIG.datasets[name].model_dump(mode="json", exclude={"aggregation"})


def probing_of(wildcards):
    """The config of the probes on {dataset}: with the further rankings that it is to have."""
    further = COMPARED.rankings if wildcards.dataset in COMPARED.datasets else []
    rankings = [*CONFIG.probing.rankings, *further]
    found = {
        k: v for k, v in PROBING.items() if k not in ("best_neurons", "histogram_bins")
    }
    if further:
        found["comparison"] = {"rankings": further}
    if "best_subset" in rankings:
        prefilter = COMPARED.subset_prefilter
        found.setdefault("comparison", {})["subset_prefilter"] = prefilter
    if "optimal" in rankings:
        found.setdefault("comparison", {}).update(
            optimal_prefilter=COMPARED.optimal_prefilter,
            optimal_time_limit=COMPARED.optimal_time_limit,
        )
    if "adaptive" in rankings:
        found["sparsity"] = CONFIG.probing.sparsity.model_dump(
            mode="json", include={"schedule", "prefilter"}
        )
    return found


def probing_part(section, *keys):
    """Some keys of the probing config, and one section of it without its datasets."""
    part = getattr(CONFIG.probing, section).model_dump(
        mode="json", exclude={"datasets"}
    )
    return {**{key: PROBING[key] for key in keys}, section: part}


def report_part(*keys):
    """Some keys of the report's config."""
    return CONFIG.report.model_dump(mode="json", include=set(keys))


def transfer_scores(wildcards):
    """Input function: the scores that chose the neurons which are scored on {dataset}."""
    origin = CONFIG.probing.transfer[wildcards.dataset]
    return f"results/probing/{wildcards.model}/{origin}/scores.parquet"


def probing_tables(table, pairs=PROBED):
    """A table of the probing stage for each pair."""
    return [f"results/probing/{m}/{d}/{table}.parquet" for m, d in pairs]


def dataset_tables(table):
    """A table of each token dataset that is probed on."""
    return list(dict.fromkeys(dataset_path(table)(pair) for pair in PROBED))


def figures(wildcards):
    """Input function: every static figure."""
    names = ["f1_by_layer", "f1_by_k", "best_neurons"]
    found = [f"results/report/{m}/{d}/{name}.svg" for m, d in PROBED for name in names]
    found += [f"results/report/{m}/{d}/transfer.svg" for m, d in TRANSFERRED]
    found += [f"results/report/{m}/{d}/sparsity.svg" for m, d in CURVES]
    return found + (["results/report/methods.svg"] if PROBED else [])


def background(path):
    """Input function: a file of each dataset of {model} that superposition is held against."""

    def paths(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        return [
            path.format(model=wildcards.model, tokenizer=tokenizer, dataset=dataset)
            for dataset in CONFIG.probing.superposition.background
        ]

    return paths


def intervention_tables(table):
    """A table of the interventions stage for each pair whose neurons are ablated."""
    return [f"results/interventions/{m}/{d}/{table}.parquet" for m, d in ABLATED]


def role_of(wildcards, section):
    """A section about functional roles, without whom it is about, and how {model} runs."""
    roles = CONFIG.interventions.roles()[section]
    model = CONFIG.models[wildcards.model]
    return {
        section: roles.model_dump(mode="json", exclude={"models", "text"}),
        "dtype": model.dtype,
        "trust_remote_code": model.trust_remote_code,
    }


def role_tables(section, table):
    """A table of each model and text of a section about functional roles."""
    pairs = CONFIG.interventions.roles()[section].model_texts()
    return [f"results/interventions/{m}/{t}/{table}.parquet" for m, t in pairs]


def effect_tables(table):
    """A table of effects of each model whose functional roles are looked at."""
    return [f"results/weights/{m}/{table}.parquet" for m in ROLE_MODELS]


def in_context_tables(table):
    """A table of each model and each system that it learns in context."""
    return [
        f"results/dynamics/in_context/{m}/{s}/{table}.parquet" for m, s in IN_CONTEXT
    ]


def case_pages(wildcards):
    """Input function: the pages of the case studies that the config asks for."""
    return [f"results/report/{name}.html" for name in PAGES]


def people_sources(wildcards):
    """Input function: the fetched package that a table of people is read from."""
    people = CONFIG.people[wildcards.people]
    return [f"resources/fetched/{people.source}"] if people.reader == "wordnet" else []


def people_dump(wildcards):
    """Input function: the local dump that a table of people is read from, if it is there."""
    people = CONFIG.people[wildcards.people]
    return existing_files(people.path) if people.reader == "wikidata" else []


def people_table(wildcards):
    """Input function: the table of people that {dataset} needs, if it needs one."""
    name = CONFIG.people_of(wildcards.dataset)
    return [f"results/datasets/people/{name}.parquet"] if name else []


def group_models(group):
    """The models of a group, its reference first."""
    return CONFIG.universality.groups[group].members


def group_tokenizer(group):
    """The model whose tokenizer the models of a group share."""
    return CONFIG.tokenizer(group_models(group)[0])


def text_of_group(group):
    """The config of the text that the models of a group read."""
    return CONFIG.texts[CONFIG.universality.groups[group].text]


def group_text(table):
    """Input function: a table of the text that the models of {group} read."""

    def path(wildcards):
        text = CONFIG.universality.groups[wildcards.group].text
        tokenizer = group_tokenizer(wildcards.group)
        return f"results/datasets/{tokenizer}/texts/{text}/{table}.parquet"

    return path


def group_jobs(group):
    """The sums of products of a group: one for each tile and part of the tokens."""
    config = CONFIG.universality.groups[group]
    return [
        f"results/universality/{group}/sums/{tile.number}-{part}.zarr"
        for tile in tiles_of(config)
        for part in range(config.token_parts)
    ]


def tile_of(wildcards):
    """What the job of {group} and {tile} multiplies."""
    tiles = tiles_of(CONFIG.universality.groups[wildcards.group])
    if int(wildcards.tile) >= len(tiles):
        raise ValueError(f"{wildcards.group} has the tiles 0 to {len(tiles) - 1}")
    return tiles[int(wildcards.tile)]


def tile_models(name):
    """Input function: a file or folder of each model of {group} and {tile}."""
    return lambda wildcards: [
        f"results/models/{model}/{name}" for model in tile_of(wildcards).members
    ]


def tile_memory(wildcards, attempt):
    """Resource function: the sums and blocks of {group}, the models of {tile} and a fixed rest."""
    models = [CONFIG.models[m].parameters or 5e8 for m in tile_of(wildcards).members]
    sums = CONFIG.universality.groups[wildcards.group].memory_mb
    return int((sums + 4.8e-6 * sum(models) + 3000) * (1 + attempt) / 2)


def universality_part(*keys):
    """Some keys of the config of universal neurons."""
    return CONFIG.universality.model_dump(mode="json", include=set(keys))


def comparison():
    """How neurons are compared: what the sums over tokens depend on."""
    return universality_part(*ComparisonConfig.model_fields)


def universality_tables(table):
    """A table of each group of models."""
    return [
        f"results/universality/{group}/{table}.parquet"
        for group in CONFIG.universality.groups
    ]


def universality_curves(wildcards):
    """Input function: the training curves of the models of groups that are trained here."""
    models = dict.fromkeys(
        m for g in CONFIG.universality.groups for m in group_models(g)
    )
    return [
        f"results/models/{m}/training.parquet" for m in models if m in CONFIG.trained()
    ]


def reference_effects(wildcards):
    """Input function: what the neurons of each group's reference do to the vocabulary."""
    references = [g.reference for g in CONFIG.universality.groups.values()]
    return [f"results/weights/{m}/effects.parquet" for m in dict.fromkeys(references)]


def text_table(table):
    """Input function: a table of the text that {model} reads of {text}."""

    def path(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        return f"results/datasets/{tokenizer}/texts/{wildcards.text}/{table}.parquet"

    return path


def explanation_of(wildcards, *keys):
    """How {model} is explained on {text}: some keys of the config, and how the model runs."""
    model = CONFIG.models[wildcards.model]
    wanted = {"categories", "min_positives", "unigrams", "topics", "small_norm", "seed"}
    return {
        "explanations": EXPLANATIONS.model_dump(
            mode="json", include=wanted | set(keys)
        ),
        "max_tokens": EXPLANATIONS.pair(wildcards.model, wildcards.text).max_tokens,
        "exclude": CONFIG.universality.exclude,
        "document_token": CONFIG.texts[wildcards.text].document_token,
        "dtype": model.dtype,
        "trust_remote_code": model.trust_remote_code,
    }


def explained_tables(table):
    """A table of each model and the text that it is explained on."""
    return [f"results/universality/{m}/{t}/{table}.parquet" for m, t in EXPLAINED]


def reference_table(table):
    """Input function: a table of the explained reference of {group}."""

    def path(wildcards):
        reference = CONFIG.universality.groups[wildcards.group].reference
        text = NAMED_GROUPS[wildcards.group]
        return f"results/universality/{reference}/{text}/{table}.parquet"

    return path


def named_groups(wildcards):
    """Input function: families of the universal neurons that are explained by {model} and {text}."""
    return [
        f"results/universality/{group}/families.parquet"
        for group, text in NAMED_GROUPS.items()
        if text == wildcards.text
        and CONFIG.universality.groups[group].reference == wildcards.model
    ]


def group_families(table="families"):
    """A table of each group whose universal neurons are named."""
    return [f"results/universality/{group}/{table}.parquet" for group in NAMED_GROUPS]


def reference_statistics(wildcards):
    """Input function: statistics of the neurons of each explained reference of a group."""
    return [
        f"results/universality/{CONFIG.universality.groups[group].reference}/{text}/statistics.parquet"
        for group, text in NAMED_GROUPS.items()
    ]


def prompt_path(table, prompt=None):
    """Input function: a table of the prompt that {model} reads of {entities}."""

    def path(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        folder = f"results/datasets/{tokenizer}/entities/{wildcards.entities}"
        return f"{folder}/{prompt or wildcards.prompt}/{table}.parquet"

    return path


def main_prompt(folder, name):
    """A file of the main prompt, for rules without {prompt}."""
    return f"results/{folder}/{{entities}}/{CONFIG.spacetime.main_prompt}/{name}"


def probes_of(wildcards):
    """How {prompt} is probed: with a hidden layer in the main prompt alone."""
    mlp = (
        CONFIG.spacetime.probes.mlp and wildcards.prompt == CONFIG.spacetime.main_prompt
    )
    return {**dump(CONFIG.spacetime.probes), "mlp": mlp}


def all_prompts(path):
    """Input function: a file of each prompt of {entities}, in the order of the config."""

    def paths(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        prompts = CONFIG.entities[wildcards.entities].prompts
        return expand(path, prompt=prompts, tokenizer=tokenizer, **wildcards)

    return paths


def entity_memory(copies):
    """Resource function: some copies of a layer of {entities}, as far as their number is known."""

    def mem_mb(wildcards, attempt):
        table = CONFIG.entities[wildcards.entities]
        rows = table.max_entities or 50_000
        # A residual stream is at most this wide in a model of so many parameters.
        width = min(
            16_384, 0.17 * (CONFIG.parameters_of(wildcards.model) or 1e9) ** 0.45
        )
        return int((3000 + copies * 8e-6 * rows * width) * (1 + attempt) / 2)

    return mem_mb


def entity_sources(wildcards):
    """Input function: the fetched packages of a table of entities."""
    names = CONFIG.entities[wildcards.entities].source_names()
    return [f"resources/fetched/{name}" for name in names]


def entity_files(wildcards):
    """Input function: the local files of a table of entities that are there."""
    paths = CONFIG.entities[wildcards.entities].local_paths()
    return [file for path in dict.fromkeys(paths) for file in existing_files(path)]


def dbpedia_files(wildcards):
    """Input function: the files of page views that {query} is filtered by and that are there."""
    paths = CONFIG.dbpedia[wildcards.query].local_paths()
    return [file for path in paths for file in existing_files(path)]


def entity_queries(wildcards):
    """Input function: the tables from DBpedia that a table of entities is read from."""
    names = CONFIG.entities[wildcards.entities].query_names()
    return [f"results/datasets/dbpedia/{name}/things.parquet" for name in names]


def entity_tables(table):
    """A table of each model and the entities that it reads."""
    return [f"results/spacetime/{m}/{e}/{table}.parquet" for m, e in MAPPED]


def compared_tables(table):
    """A table of each model and the entities that it reads in several prompts."""
    return [
        f"results/spacetime/{m}/{e}/{table}.parquet"
        for m, e in MAPPED
        if len(CONFIG.entities[e].prompts) > 1
    ]


def prompt_tables(table):
    """A table of each model, its entities, and each of their prompts."""
    return [
        f"results/spacetime/{m}/{e}/{prompt}/{table}.parquet"
        for m, e in MAPPED
        for prompt in CONFIG.entities[e].prompts
    ]


def main_tables(table):
    """A table of each model and its entities, in the main prompt."""
    prompt = CONFIG.spacetime.main_prompt
    return [f"results/spacetime/{m}/{e}/{prompt}/{table}.parquet" for m, e in MAPPED]


def neuron_tables(table):
    """A table of each model and the entities along whose probes neurons are looked for."""
    chosen = CONFIG.spacetime.neurons.tables
    return [
        f"results/spacetime/{m}/{e}/{table}.parquet"
        for m, e in MAPPED
        if chosen == "all" or e in chosen
    ]


def held_tables(section, table):
    """A table of each model and the entities whose neurons are held at values."""
    chosen = getattr(CONFIG.spacetime, section).tables
    return [
        f"results/spacetime/{m}/{e}/{table}.parquet" for m, e in MAPPED if e in chosen
    ]


def tables_of_entities(name):
    """A table of each table of entities that is read."""
    return [
        f"results/datasets/entities/{entities}/{name}.parquet"
        for entities in dict.fromkeys(e for _, e in MAPPED)
    ]


def atlas(source):
    """The fetched coastlines or borders of maps, where there are places and the source is pinned."""
    is_needed = any(CONFIG.entities[e].target == "space" for _, e in MAPPED)
    return [f"resources/fetched/{source}"] if is_needed and source in SOURCES else []


def ablation_text(table):
    """Input function: a table of the text on which neurons of {model} are ablated."""

    def path(wildcards):
        tokenizer = CONFIG.tokenizer(wildcards.model)
        text = CONFIG.spacetime.ablation.text
        return f"results/datasets/{tokenizer}/texts/{text}/{table}.parquet"

    return path
