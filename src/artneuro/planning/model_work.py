"""Work of the jobs that fetch, train and run models, and of those that make what models read."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from artneuro.models.info import ModelShape
from artneuro.planning.shapes import ITEMSIZE, PlannedModel
from artneuro.planning.sizes import Sizes
from artneuro.planning.work import Cost, Wildcards, Work, never, once
from artneuro.universality.paper import Machine, plan_on_paper

# Stored bytes over written bytes of numbers in float16, compressed (docs/scale.md).
COMPRESSION = 1.07
# A GPU computes in bfloat16 unless the config says otherwise.
_DEVICE_TYPE = {"auto": "bfloat16"}


def device_bytes(sizes: Sizes, model: str) -> float:
    """Bytes of a model's weights where it runs, on a CPU as much as on a GPU's `auto`."""
    dtype = sizes.config.models[model].dtype
    return sizes.models[model].parameters * ITEMSIZE[_DEVICE_TYPE.get(dtype, dtype)]


def chosen_layers(chosen: Literal["all"] | list[int], model: PlannedModel) -> tuple[int, float]:
    """How many layers a config chooses, and the share of them that is run up to the highest."""
    n = model.shape.n_layers
    known = list(range(n)) if chosen == "all" else [i for i in chosen if i < n]
    return len(known), (max(known, default=0) + 1) / n


def run(
    sizes: Sizes,
    model: str,
    tokens: float,
    n_ctx: float,
    batch: float,
    head: bool = False,
    depth: float = 1.0,
) -> Work:
    """Forward passes of one model over tokens, through a share of its layers; `units` are their
    operations.
    """
    planned = sizes.models[model]
    flop = depth * planned.forward_flop(tokens, n_ctx, head)
    # Every batch reads all weights; activations of a layer and of attention live at a time.
    weights = device_bytes(sizes, model)
    wide = 4 * batch * (3 * planned.shape.d_mlp + 8 * planned.shape.d_model)
    logits = 4 * batch * planned.shape.vocab if head else 0
    return Work(
        units=flop,
        flop=flop,
        traffic=weights * max(1.0, tokens / batch),
        reads=planned.stored_bytes,
        device_memory=weights + wide + logits,
    )


def _units_of(site: str, model: PlannedModel, n_ctx: float) -> float:
    shape = model.shape
    if site == "attn_pattern":
        return shape.n_heads * n_ctx
    return shape.d_mlp if site.startswith("mlp") else shape.d_model


def stored_rows(sizes: Sizes, model: str, dataset: str) -> float:
    """Numbers of a row of activations, over all sites and layers."""
    config, planned = sizes.config.activations, sizes.models[model]
    layers, _ = chosen_layers(config.layers, planned)
    n_ctx = sizes.datasets[dataset].n_ctx
    return layers * sum(_units_of(site, planned, n_ctx) for site in config.sites)


def _dump(sizes: Sizes, w: Wildcards) -> Work:
    data, config = sizes.datasets[w["dataset"]], sizes.config.activations
    numbers = data.rows * stored_rows(sizes, w["model"], w["dataset"])
    _, depth = chosen_layers(config.layers, sizes.models[w["model"]])
    work = run(sizes, w["model"], data.tokens, data.n_ctx, config.batch_tokens, depth=depth)
    stored = numbers * ITEMSIZE[config.dtype] / COMPRESSION
    return replace(work, stored=stored, rows=data.rows)


def _dump_share(sizes: Sizes, w: Wildcards) -> Work:
    whole, share = _dump(sizes, w), 1 / sizes.config.activations.jobs_of(w["model"])
    return replace(
        whole,
        units=share * whole.units,
        flop=share * whole.flop,
        traffic=share * whole.traffic,
        stored=share * whole.stored,
        rows=share * whole.rows,
    )


def _merge_shares(sizes: Sizes, w: Wildcards) -> Work:
    whole = _dump(sizes, w)
    # Shares are read, compressed again and then deleted, so that the store counts once.
    return Work(units=whole.stored, reads=whole.stored, rows=whole.rows)


def _dump_entities(sizes: Sizes, w: Wildcards) -> Work:
    config, prompt = sizes.config.spacetime, sizes.prompt(w["entities"], w["prompt"])
    planned = sizes.models[w["model"]]
    layers, depth = chosen_layers(config.layers, planned)
    batch = sizes.config.activations.batch_tokens
    work = run(sizes, w["model"], prompt.tokens, prompt.n_ctx, batch, depth=depth)
    stored = prompt.entities * layers * planned.shape.d_model * ITEMSIZE[config.dtype] / COMPRESSION
    return replace(work, stored=stored, rows=prompt.entities)


def _fetch(sizes: Sizes, w: Wildcards) -> Work:
    kind, size = sizes.config.models[w["model"]].source.kind, sizes.models[w["model"]].stored_bytes
    # GGUF files are converted, others hashed; local ones are linked.
    return Work(
        units=size if kind == "gguf" else 0,
        parts={"hash": size},
        downloads=size if kind == "hub" else 0,
        stored=0 if kind == "local" else size,
    )


def _train(sizes: Sizes, w: Wildcards) -> Work:
    recipe = sizes.config.recipe_of(w["model"])
    assert recipe is not None
    planned = sizes.models[w["model"]]
    tokens = recipe.steps * recipe.batch * recipe.n_ctx
    # Forward and twice as much backward.
    flop = 3 * planned.forward_flop(tokens, recipe.n_ctx, head=True)
    batch = (recipe.micro_batch or recipe.batch) * recipe.n_ctx
    # Weights, gradients and two moments in float32; activations of all layers.
    memory = 16 * planned.parameters + 4 * batch * (
        planned.shape.n_layers * (3 * planned.shape.d_mlp + 12 * planned.shape.d_model)
        + 2 * planned.shape.vocab
    )
    return Work(units=flop, flop=flop, stored=4 * planned.parameters, device_memory=memory)


def _documents(sizes: Sizes, w: Wildcards) -> Work:
    characters = sizes.characters(w["corpus"])
    parts = {"annotation": characters} if annotated(sizes, w["corpus"]) else {}
    return Work(units=characters, parts=parts, rows=characters)


def annotated(sizes: Sizes, corpus: str) -> bool:
    """Whether grammar is told of the words of a corpus as it is read."""
    parts = sizes.config.corpora[corpus].parts
    return any(part.annotate_with is not None for part in parts)


def _documents_told(sizes: Sizes, w: Wildcards) -> bool:
    # A stream from the hub is read to its end, or to enough documents of each part.
    return all(
        getattr(part, "hub", None) is None for part in sizes.config.corpora[w["corpus"]].parts
    )


def _tokens(sizes: Sizes, w: Wildcards) -> Work:
    data = sizes.config.datasets[w["dataset"]]
    return Work(units=sizes.characters(data.corpus), rows=sizes.datasets[w["dataset"]].tokens)


def _labels(sizes: Sizes, w: Wildcards) -> Work:
    data = sizes.datasets[w["dataset"]]
    return Work(units=data.tokens, rows=data.examples * data.features)


def _text(sizes: Sizes, w: Wildcards) -> Work:
    tokens = sizes.text_tokens(w["text"])
    return Work(units=tokens, rows=tokens)


def _prompts(sizes: Sizes, w: Wildcards) -> Work:
    prompt = sizes.prompt(w["entities"], w["prompt"])
    return Work(units=prompt.entities, rows=prompt.tokens)


def _table(sizes: Sizes, w: Wildcards) -> Work:
    return Work(units=sizes.entities(w["entities"]), rows=sizes.entities(w["entities"]))


def _summary(sizes: Sizes, w: Wildcards) -> Work:
    planned = sizes.models[w["model"]]
    return Work(units=planned.parameters, rows=planned.neurons, reads=planned.stored_bytes)


def _effects(sizes: Sizes, w: Wildcards) -> Work:
    planned = sizes.models[w["model"]]
    effects = planned.neurons * planned.shape.vocab
    return Work(
        units=effects,
        products=2.0 * effects * planned.shape.d_model,
        # The products, their powers and their extremes: about ten passes in float32.
        traffic=40.0 * effects,
        reads=planned.stored_bytes,
        rows=planned.neurons,
        device_memory=4.0 * planned.parameters,
    )


def _sums(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.universality
    group = config.groups[w["group"]]
    shape = sizes.models[group.reference].shape
    told = ModelShape("", shape.n_layers, shape.d_model, shape.d_mlp, 0, 0, 0, 0)
    # Rates are the estimate's: here only operations and bytes are taken.
    paper = plan_on_paper(config, group, told, sizes.text_tokens(group.text), Machine(1, 1, 1))
    share = 1 / paper.n_jobs
    products = share * (paper.cross_flop + paper.within_flop)
    members = [sizes.models[model] for model in group.members]
    weights = sum(device_bytes(sizes, m) for m in group.members)
    return Work(
        units=products + share * paper.forward_flop,
        flop=share * paper.forward_flop,
        products=products,
        reads=sum(m.stored_bytes for m in members),
        stored=share * paper.sums_bytes,
        device_memory=paper.job_bytes + weights,
    )


def _excess(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.universality
    group = config.groups[w["group"]]
    planned = sizes.models[group.reference]
    pairs = len(group.others)
    # Each random matrix turns the products of every pair of layers.
    turned = 2.0 * planned.neurons**2 * planned.shape.d_mlp * pairs * config.rotations
    sums = 8.0 * planned.neurons**2 * pairs
    return Work(
        units=planned.neurons**2 * pairs,
        products=turned,
        traffic=sums * (2 + config.rotations),
        reads=sums,
        rows=planned.neurons * pairs,
    )


def _explain(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.universality.explanations
    pair = config.pair(w["model"], w["text"])
    known = sizes.text_tokens(w["text"])
    tokens = min(pair.max_tokens or known, known)
    planned = sizes.models[w["model"]]
    n_ctx = sizes.config.texts[w["text"]].n_ctx
    work = run(sizes, w["model"], tokens, n_ctx, config.batch_tokens)
    values = tokens * planned.neurons
    # Labels of a token and of the one before, for the activation and its square, in float32.
    labels = 64
    return replace(
        work,
        units=values,
        traffic=work.traffic + 8.0 * labels * values,
        rows=planned.neurons,
        device_memory=work.device_memory + 16.0 * 600 * planned.neurons,
    )


def _trace(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.universality.explanations
    tokens = min(config.pair(w["model"], w["text"]).example_tokens, sizes.text_tokens(w["text"]))
    n_ctx = sizes.config.texts[w["text"]].n_ctx
    return replace(run(sizes, w["model"], tokens, n_ctx, config.batch_tokens), rows=1)


def _families(sizes: Sizes, w: Wildcards) -> Work:
    neurons = sizes.models[w["model"]].neurons
    return Work(units=neurons, rows=neurons)


def _ablate(sizes: Sizes, w: Wildcards) -> Work:
    config, data = sizes.config.interventions.context_neurons, sizes.datasets[w["dataset"]]
    tokens = data.features * config.sequences_per_class * data.n_ctx
    # Every unit is ablated in every class, from its layer on; random ones too, as far as asked.
    controls = config.random_neurons * (1.0 if config.control_contexts == "all" else 0.0)
    copies = data.features * (1 + controls) + config.random_neurons * (controls == 0)
    runs = tokens * (1 + copies / 2)
    work = run(sizes, w["model"], runs, data.n_ctx, config.batch_tokens, head=True)
    return replace(work, rows=data.features**2 * (1 + config.random_neurons))


def _entropy(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.interventions.entropy_neurons
    shape = sizes.models[w["model"]].shape
    values = (
        len(config.deviations) + len(config.gated_values) if shape.gated else len(config.values)
    )
    held = (2 * config.neurons + config.controls) * values
    measured = config.sequences * min(config.positions, config.n_ctx)
    work = run(sizes, w["model"], config.sequences * config.n_ctx, config.n_ctx, 4096)
    logits = 2.0 * measured * held * shape.vocab * shape.d_model
    return replace(
        work,
        units=work.units + logits,
        flop=work.flop + logits,
        traffic=work.traffic + 40.0 * measured * held * shape.vocab,
        rows=held,
    )


def _attention(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.interventions.attention_neurons
    planned = sizes.models[w["model"]]
    work = run(sizes, w["model"], config.sequences * config.n_ctx, config.n_ctx, 4096)
    return replace(work, rows=planned.neurons)


def _next_tokens(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.interventions.next_tokens
    work = run(sizes, w["model"], config.sequences * config.n_ctx, config.n_ctx, 4096, head=True)
    return replace(work, rows=1)


def _in_context(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.dynamics.in_context
    sequence = config.systems[w["system"]]
    planned = sizes.models[w["model"]]
    # A token for the separator, the decimals and the prefix each, at the most.
    width = 1 + min(sequence.decimals, 3) + min(len(sequence.prefix), 2)
    runs = sequence.sequences * (1 + len(config.controls))
    tokens = runs * sequence.values * width
    nodes = config.tree.positions * 10**sequence.decimals / 10 * runs
    work = run(
        sizes, w["model"], tokens + nodes, sequence.values * width, config.tree.batch_tokens, True
    )
    layers, _ = chosen_layers(config.probes.layers, planned)
    stored = 4.0 * runs * layers * sequence.values * planned.shape.d_model
    return replace(work, stored=stored / COMPRESSION, rows=1)


def _refine(sizes: Sizes, w: Wildcards) -> Work:
    data = sizes.datasets[w["dataset"]]
    tokens = min(sizes.config.probing.refinement.max_tokens, data.tokens)
    return replace(run(sizes, w["model"], tokens, data.n_ctx, 4096), rows=data.features)


MODEL_COSTS = {
    "fetch_source": Cost("job", once),
    "fetch_model": Cost("byte converted", _fetch),
    "train_tokenizer": Cost("job", once),
    "tokenize_documents": Cost("job", once),
    "train_model": Cost("FLOP", _train, torch=True),
    "read_documents": Cost("character", _documents, told=_documents_told),
    "read_people": Cost(
        "job", once, told=lambda s, w: s.config.people[w["people"]].reader != "wikidata"
    ),
    "query_dbpedia": Cost("job", once, told=never),
    "build_entities": Cost("entity", _table),
    "build_prompts": Cost("entity", _prompts),
    "build_tokens": Cost("character", _tokens),
    "label_features": Cost("token", _labels),
    "build_text": Cost("token", _text),
    "dump_activations": Cost("FLOP", _dump, torch=True),
    "dump_share": Cost("FLOP", _dump_share, torch=True),
    "merge_shares": Cost("byte", _merge_shares),
    "dump_entities": Cost("FLOP", _dump_entities, torch=True),
    "summarise_weights": Cost("parameter", _summary),
    "measure_effects": Cost("effect of a neuron on a token", _effects, torch=True),
    "accumulate_correlations": Cost("FLOP", _sums, torch=True),
    "score_universality": Cost("pair of neurons", _excess, torch=True),
    "export_correlations": Cost("pair of neurons", _excess),
    "explain_neurons": Cost("activation", _explain, torch=True),
    "assign_families": Cost("neuron", _families),
    "name_universal_neurons": Cost("job", once),
    "trace_examples": Cost("FLOP", _trace, torch=True),
    "ablate_neurons": Cost("FLOP", _ablate, torch=True),
    "pin_entropy_neurons": Cost("FLOP", _entropy, torch=True),
    "score_attention_neurons": Cost("FLOP", _attention, torch=True),
    "score_next_tokens": Cost("FLOP", _next_tokens, torch=True),
    "predict_in_context": Cost("FLOP", _in_context, torch=True),
    "refine_neurons": Cost("FLOP", _refine, torch=True),
}
