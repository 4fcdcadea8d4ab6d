"""What the neurons that probes have found respond to, and what they do to the output.

A probe says that a neuron tells a feature. Whether the feature is what the neuron represents shows
in its activations on every token: on which it is highest, which n-grams it fires on, how much of
its firing the feature explains; and in its effect on the logits (thesis, section 2.5.4).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel

from artneuro.activations.trace import trace_neurons
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.logs import Progress
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.tokenizer import check_ids, load_tokenizer
from artneuro.datasets.tokens import read_token_dataset
from artneuro.models.loading import load_causal_lm
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import random_generator
from artneuro.probing.neuron_description import TracedText, describe_neurons
from artneuro.probing.neurons import KEYS, single_neurons
from artneuro.probing.refinement_tables import SCHEMAS
from artneuro.probing.token_statistics import sequences_to_trace
from artneuro.probing.token_truth import is_known_everywhere, take_sequences, token_truth
from artneuro.weights.logit_effects import logit_effects, read_neuron_outputs, read_output_weights

log = logging.getLogger(__name__)

SITE = "mlp_post"


@dataclass(frozen=True)
class RefinementFacts:
    """What a refinement looked at, for its provenance: neurons, sequences and their tokens."""

    neurons: int
    sequences: int
    tokens: int


def refine_neurons(
    config: ProbingConfig,
    dataset_config: DatasetConfig | Mapping[str, Any],
    *,
    weights: Path,
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    labels: Path,
    scores: Path,
    outputs: Mapping[str, Path],
    model: str,
    dataset: str,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> RefinementFacts:
    """Describe the best single neurons of each feature by their activations on all tokens.

    Neurons are those with the highest F1 on the training split. Sequences of the test split are
    traced first; firing is counted on test tokens alone, everything else on all that were traced.
    All activations and effects are in the direction of the class: times the `sign` of the probe's
    coefficient, so that high speaks for the class.

    Parameters
    ----------
    config : ProbingConfig
        `refinement`, `histogram_bins` and `seed`.
    dataset_config : DatasetConfig or mapping
        What the token dataset is of, or the plain values of that.
    weights : path
        The model folder.
    tokenizer : path
        The folder whose tokenizer made the tokens.
    tokens, sequences, labels : path
        The token dataset.
    scores : path
        What `fit_probes` made.
    outputs : mapping of str to path
        Tables to write, schemas in docs/architecture.md: `neurons` (one row a neuron of a
        feature), `tokens` (mean activation on each token of the vocabulary), `effects` (on the
        output), `ngrams` and `examples`.
    model, dataset : str
        Names for the tables.
    dtype, device, threads, trust_remote_code
        How the model runs: see `load_model`.

    Returns
    -------
    RefinementFacts

    Raises
    ------
    DataError
        If there are no probes of the site mlp_post, or the tokens are of another tokenizer.
    StoreError
        If an activation is not finite.
    """
    if not isinstance(dataset_config, DatasetConfig):
        dataset_config = DatasetConfig.model_validate(dataset_config)
    if threads is not None:
        torch.set_num_threads(threads)
    settings = config.refinement
    score_table = read_table(scores)
    chosen = chosen_neurons(score_table, settings.neurons_per_feature)
    if chosen.is_empty():
        raise DataError(
            f"there are no probes of single neurons at {SITE}",
            where=str(scores),
            fix=f"name {SITE} in activations.sites and probing.sites",
        )
    traced = _choose_text(config, dataset_config, tokenizer, tokens, sequences, dataset)
    features = list(dict.fromkeys(chosen.select("collection", "feature").iter_rows()))
    truth = token_truth(
        dataset_config,
        traced.tokenizer,
        traced.dataset,
        _labels_of(read_table(labels), traced.original),
        features,
    )

    lm = load_causal_lm(weights, dtype, device, trust_remote_code)
    units = list(dict.fromkeys(chosen.select("layer", "neuron").iter_rows()))
    counter = Progress("tracing", int(traced.text.sum()), "tokens", log)
    activations = trace_neurons(
        replace(lm, model=cast(PreTrainedModel, lm.model.base_model)),
        traced.dataset.tokens,
        traced.text,
        units,
        site=SITE,
        on_batch=counter.add,
    )[traced.text]
    effects = logit_effects(read_output_weights(lm), read_neuron_outputs(lm, units))
    found = describe_neurons(config, traced, truth, chosen, units, activations, effects)
    everywhere = is_known_everywhere(dataset_config)
    found["neurons"] = found["neurons"].with_columns(pl.lit(everywhere).alias("every_token"))
    for name, schema in SCHEMAS.items():
        table = found[name].with_columns(
            pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset")
        )
        write_table(table.select(schema.names()).cast(schema), outputs[name])
    facts = RefinementFacts(len(units), len(traced.original), int(traced.text.sum()))
    log.info(
        "%d neurons on %d tokens of %d sequences", facts.neurons, facts.tokens, facts.sequences
    )
    return facts


def chosen_neurons(scores: pl.DataFrame, per_feature: int) -> pl.DataFrame:
    """The best single neurons of each feature by training F1, best first, with their probes.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores`.
    per_feature : int

    Returns
    -------
    DataFrame
        The columns of `scores` with `neuron` and `coef` of the one neuron, and `rank` from 1.
    """
    best = single_neurons(scores.filter(pl.col("site") == SITE))
    best = best.with_columns((pl.int_range(pl.len()).over(KEYS) + 1).alias("rank"))
    return best.filter(pl.col("rank") <= per_feature)


def _choose_text(
    config: ProbingConfig,
    dataset_config: DatasetConfig,
    tokenizer_folder: Path,
    tokens: Path,
    sequences: Path,
    name: str,
) -> TracedText:
    tokenizer = load_tokenizer(tokenizer_folder, dataset_config.document_token)
    whole_dataset = read_token_dataset(tokens, sequences)
    check_ids(whole_dataset.tokens, tokenizer.n_ids, str(tokens))
    table = whole_dataset.sequences
    original = sequences_to_trace(
        table["n_tokens"].to_numpy(),
        (table["split"] == "test").to_numpy(),
        config.refinement.max_tokens,
        random_generator(config.seed, "refinement", name),
    )
    dataset = take_sequences(whole_dataset, original)
    text = dataset.labelled(0) & ~np.isin(dataset.tokens, tokenizer.special)
    sequence, position = np.nonzero(text)
    strings = tokenizer.strings()
    return TracedText(
        dataset=dataset,
        original=original,
        text=text,
        sequence=sequence,
        position=position,
        is_test=(dataset.sequences["split"] == "test").to_numpy()[sequence],
        strings=strings,
        whole=tokenizer.whole(strings),
        tokenizer=tokenizer,
    )


def _labels_of(labels: pl.DataFrame, original: np.ndarray) -> pl.DataFrame:
    """The labels of some sequences, numbered as in the dataset of these alone."""
    numbers = pl.DataFrame(
        {"sequence": original.astype(np.int32), "new": np.arange(len(original), dtype=np.int32)}
    )
    found = labels.join(numbers, on="sequence", how="inner", maintain_order="left")
    return found.with_columns(pl.col("new").alias("sequence")).drop("new")
