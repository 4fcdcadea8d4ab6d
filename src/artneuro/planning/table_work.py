"""Work of the jobs that probe, score, simulate and draw: those that need no GPU."""

from __future__ import annotations

import math
from dataclasses import replace

from artneuro.dynamics.config import numbers_of
from artneuro.planning.model_work import chosen_layers, run, stored_rows
from artneuro.planning.shapes import ITEMSIZE
from artneuro.planning.sizes import Sizes
from artneuro.planning.work import Cost, Wildcards, Work, once
from artneuro.planning.worker_memory import BYTES_A_NUMBER

# Share of its time limit that a fit of the ranking `optimal` takes on average from so many examples
# on: most are proven early, some never (docs/benchmarks.md). With fewer, by their square.
OPTIMAL_SHARE, OPTIMAL_EXAMPLES = 0.1, 700

# `artneuro.probing.fit` and `artneuro.spacetime.mlp` take seconds to import; a test compares these.
FEATURES_PER_TASK = 16
# Defaults of MLPProbe.
MLP = {"hidden": 256, "batch_size": 512, "max_epochs": 20, "min_steps": 1000, "weight_decays": 4}


def _read(sizes: Sizes, w: Wildcards) -> Work:
    """The store of activations that a probe job reads, and a layer of it in each worker."""
    model, dataset = w["model"], w["dataset"]
    data, planned = sizes.datasets[dataset], sizes.models[model]
    numbers = data.rows * stored_rows(sizes, model, dataset)
    layer = BYTES_A_NUMBER * data.rows * planned.shape.d_mlp
    dtype = sizes.config.activations.dtype
    return Work(units=numbers, reads=ITEMSIZE[dtype] * numbers, memory=layer)


def _cases(sizes: Sizes, w: Wildcards) -> int:
    """Features times the layers that are dumped."""
    layers, _ = chosen_layers(sizes.config.activations.layers, sizes.models[w["model"]])
    return layers * sizes.datasets[w["dataset"]].features


def _probes(sizes: Sizes, w: Wildcards) -> Work:
    config, data = sizes.config.probing, sizes.datasets[w["dataset"]]
    compared = w["dataset"] in config.comparison.datasets
    fits = {name: 1 + len(config.controls) for name in config.rankings}
    fits |= dict.fromkeys(config.comparison.rankings, 1) if compared else {}
    cases = _cases(sizes, w) * len(config.sites)
    parts = {
        f"ranking {ranking}": float(cases * times * ranking_units(sizes, ranking, w))
        for ranking, times in fits.items()
    }
    rows = cases * sum(fits.values()) * config.max_k
    read = _read(sizes, w)
    # Each block of features reads its layer.
    blocks = math.ceil(data.features / FEATURES_PER_TASK)
    return replace(read, reads=blocks * read.reads, parts=parts, rows=rows)


def ranking_units(sizes: Sizes, ranking: str, w: Wildcards) -> float:
    """Work of a ranking and its probes for one feature in one layer.

    Seconds of `optimal`; of the others examples times the neurons that they see, of mutual
    information times the logarithm of the examples besides.
    """
    config, data = sizes.config.probing, sizes.datasets[w["dataset"]]
    width = sizes.models[w["model"]].shape.d_mlp
    if ranking == "optimal":
        share = OPTIMAL_SHARE * min(1.0, (data.examples / OPTIMAL_EXAMPLES) ** 2)
        return config.max_k * config.comparison.optimal_time_limit * share
    seen = {
        "mean_difference": width,
        "f_statistic": width,
        "random": config.max_k,
        "best_subset": config.comparison.subset_prefilter,
        "adaptive": config.sparsity.prefilter,
    }.get(ranking, config.prefilter)
    units = float(data.examples * min(seen, width))
    return units * (math.log2(data.examples) if ranking == "mutual_information" else 1.0)


def _best(sizes: Sizes, w: Wildcards) -> Work:
    data, config = sizes.datasets[w["dataset"]], sizes.config.probing
    return replace(_read(sizes, w), rows=data.features * config.best_neurons)


def _sparsity(sizes: Sizes, w: Wildcards) -> Work:
    config, data = sizes.config.probing.sparsity, sizes.datasets[w["dataset"]]
    cases = _cases(sizes, w)
    seen = min(config.prefilter, sizes.models[w["model"]].shape.d_mlp)
    return replace(
        _read(sizes, w),
        units=cases * data.examples * seen * len(config.schedule) * (1 + bool(config.random_draws)),
        rows=cases * len(config.schedule),
    )


def _enumeration(sizes: Sizes, w: Wildcards) -> Work:
    config, data = sizes.config.probing.enumeration, sizes.datasets[w["dataset"]]
    cases = _cases(sizes, w)
    return replace(
        _read(sizes, w),
        units=cases * data.examples * config.neurons_per_layer,
        rows=cases * config.neurons_per_layer,
    )


def _superposition(sizes: Sizes, w: Wildcards) -> Work:
    config, data = sizes.config.probing.superposition, sizes.datasets[w["dataset"]]
    width = sizes.models[w["model"]].shape.d_mlp
    turned = 2.0 * data.features * data.examples * width**2 * config.random_bases
    made = 4.0 * width**3 * config.random_bases
    return replace(_read(sizes, w), units=turned + made, rows=data.features * config.kept)


def ridge_flop(rows: float, units: float) -> float:
    """Operations of a ridge regression with each row left out, in float64, about: the products of
    the smaller side and their decomposition, predictions, and errors.
    """
    few, many = min(rows, units), max(rows, units)
    return 8.0 * many * few**2 + 12.0 * few**3


def _entity_probes(sizes: Sizes, w: Wildcards) -> Work:
    config, prompt = sizes.config.spacetime, sizes.prompt(w["entities"], w["prompt"])
    planned = sizes.models[w["model"]]
    n, d = prompt.entities, planned.shape.d_model
    layers, _ = chosen_layers(config.layers, planned)
    # All layers, the counts of tokens, of which names have no more than there are, and 1.5 random
    # features a unit.
    bag = min(config.probes.bag_tokens, n)
    ridge = layers * ridge_flop(n, d) + ridge_flop(n, bag) + ridge_flop(n, 1.5 * d)
    steps = max(MLP["min_steps"], MLP["max_epochs"] * math.ceil(n / MLP["batch_size"]))
    hidden = config.probes.mlp and w["prompt"] == config.main_prompt
    trained = 6.0 * steps * MLP["batch_size"] * d * MLP["hidden"] * MLP["weight_decays"]
    return Work(
        units=trained * hidden + float(layers * n * d),
        parts={"ridge": ridge},
        reads=2.0 * layers * n * d,
        rows=n + layers * d,
        memory=24.0 * n * d,
    )


def _holdouts(sizes: Sizes, w: Wildcards) -> Work:
    n, d = sizes.entities(w["entities"]), sizes.models[w["model"]].shape.d_model
    blocks = sizes.config.spacetime.holdouts.max_blocks
    return Work(units=blocks * (2.0 * n * d**2 + 12.0 * d**3), rows=blocks, memory=24.0 * n * d)


def _prompt_scores(sizes: Sizes, w: Wildcards) -> Work:
    planned = sizes.models[w["model"]]
    layers, _ = chosen_layers(sizes.config.spacetime.layers, planned)
    prompts = len(sizes.config.entities[w["entities"]].prompts)
    n = sizes.entities(w["entities"])
    numbers = float(prompts * n * planned.shape.d_model * layers)
    return Work(
        units=prompts * numbers,
        reads=2.0 * numbers,
        rows=prompts**2,
    )


def _entity_neurons(sizes: Sizes, w: Wildcards) -> Work:
    planned = sizes.models[w["model"]]
    prompt = sizes.prompt(w["entities"], sizes.config.spacetime.main_prompt)
    # The activations of up to 200 names of each split.
    tokens = min(400, prompt.entities) * prompt.n_ctx
    work = run(sizes, w["model"], tokens, prompt.n_ctx, 4096)
    return replace(work, units=float(planned.parameters), rows=sizes.config.spacetime.neurons.top)


def _pins(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.spacetime.pinning
    runs = config.examples * len(config.deviations) * (1 + config.controls)
    work = run(sizes, w["model"], 20.0 * runs + 400 * 8, 20, 4096, head=True)
    return replace(work, rows=runs * config.top_tokens)


def _entity_ablations(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.spacetime.ablation
    targets = 2 if sizes.config.entities[w["entities"]].target == "space" else 1
    copies = 1 + targets * config.neurons  # as many controls, from the middle on
    tokens = config.sequences * config.n_ctx * copies
    work = run(sizes, w["model"], tokens, config.n_ctx, 4096, head=True)
    return replace(work, rows=config.contexts)


def _simulation(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.dynamics
    system = config.systems[w["system"]]
    samples = system.samples(config.validation_share) * config.trials
    return Work(units=samples, rows=samples * (system.points or 1))


def _recovery(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.dynamics
    system = config.systems[w["system"]]
    cases = len(numbers_of(system.durations)) * len(numbers_of(system.noise)) * config.trials
    return Work(units=cases * len(numbers_of(system.thresholds)), rows=cases)


def _runtime(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.dynamics
    cases = len(numbers_of(config.systems[w["system"]].durations)) * config.runtime.trials
    return Work(units=cases, rows=cases)


def _context_probes(sizes: Sizes, w: Wildcards) -> Work:
    config = sizes.config.dynamics.in_context
    planned = sizes.models[w["model"]]
    layers, _ = chosen_layers(config.probes.layers, planned)
    shape, values = planned.shape, config.systems[w["system"]].values
    return Work(
        units=layers * (values * shape.d_model**2 + shape.d_model**3),
        rows=values,
        memory=8.0 * values * shape.d_model * layers,
    )


def _pairs(sizes: Sizes, w: Wildcards) -> Work:
    pairs = len(sizes.config.probed())
    return Work(units=pairs, rows=pairs)


def _maps(sizes: Sizes, w: Wildcards) -> Work:
    pairs = len(sizes.config.mapped())
    return Work(units=pairs, rows=pairs)


TABLE_COSTS = {
    "fit_probes": Cost("stored number", _probes),
    "collect_best_neurons": Cost("stored number", _best),
    "score_transfer": Cost("stored number", _best),
    "fit_sparsity_curves": Cost("example, neuron and size", _sparsity),
    "enumerate_neurons": Cost("example and neuron", _enumeration),
    "collect_methods": Cost("model and dataset", _pairs),
    "measure_superposition": Cost("FLOP", _superposition),
    "fit_entity_probes": Cost("FLOP", _entity_probes),
    "score_holdouts": Cost("FLOP", _holdouts),
    "score_prompts": Cost("number", _prompt_scores),
    "find_entity_neurons": Cost("parameter", _entity_neurons, torch=True),
    "pin_entity_neurons": Cost("FLOP", _pins, torch=True),
    "ablate_entity_neurons": Cost("FLOP", _entity_ablations, torch=True),
    "simulate_system": Cost("sample", _simulation),
    "score_recovery": Cost("fit", _recovery),
    "score_forces": Cost("fit", _recovery),
    "score_fields": Cost("fit", _recovery),
    "time_regressions": Cost("fit", _runtime),
    "probe_in_context": Cost("FLOP", _context_probes),
    "plot_scores": Cost("job", once),
    "plot_transfer": Cost("job", once),
    "plot_methods": Cost("job", once),
    "plot_sparsity": Cost("job", once),
    "build_report": Cost("model and dataset", _pairs),
    "build_methods_page": Cost("model and dataset", _pairs),
    "build_scale_page": Cost("model and dataset", _pairs),
    "build_superposition_page": Cost("model and dataset", _pairs),
    "build_context_page": Cost("model and dataset", _pairs),
    "build_refinement_page": Cost("model and dataset", _pairs),
    "build_maps_page": Cost("model and table", _maps),
    "build_space_time_page": Cost("model and table", _maps),
    "build_universality_page": Cost("job", once),
    "build_families_page": Cost("job", once),
    "build_roles_page": Cost("job", once),
    "build_dynamics_page": Cost("job", once),
    "build_in_context_page": Cost("job", once),
}
