"""Prompts: the names of entities as a model reads them, and the token that is probed of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.prompts_config import PromptConfig
from artneuro.datasets.seeding import generator_of, hash_of
from artneuro.datasets.tokenizer import Encoded, TextTokenizer, load_tokenizer
from artneuro.datasets.tokens import N_PREFIX, NO_CHARACTER, TokenDataset

log = logging.getLogger(__name__)

ENTITY_COLUMNS = ["entity", "name", "group", "split"]


@dataclass(frozen=True)
class Prompts:
    """Prompts in memory.

    Attributes
    ----------
    dataset : TokenDataset
        `starts` and `ends` count characters of the prompt's text; random tokens have none.
    labels : polars.DataFrame
        The probed token of each sequence, in the layout of labels.
    """

    dataset: TokenDataset
    labels: pl.DataFrame


def build_prompts(
    config: PromptConfig,
    tokenizer: str | Path,
    entities: str | Path,
    tokens: str | Path,
    sequences: str | Path,
    labels: str | Path,
) -> None:
    """Write the prompts of a table of entities as a token dataset (thesis, section 4.3.3).

    Parameters
    ----------
    config : PromptConfig
        What stands around a name, and which token is probed.
    tokenizer : path
        A local Hugging Face tokenizer folder.
    entities : path
        The table of entities.
    tokens, sequences, labels : path
        Tables to write, as those of `build_tokens` and `label_features`; `sequences` says which
        `entity` it names, and which tokens the name has (`name_start`, `name_end`, half-open).

    Raises
    ------
    DataError
        If there is no entity, or a name gives no token.
    ModelError
        If the tokenizer cannot be used.
    """
    prompts = make_prompts(
        config,
        load_tokenizer(tokenizer, config.document_token),
        read_table(entities, ENTITY_COLUMNS),
        where=str(entities),
    )
    dataset = prompts.dataset
    arrays = {"tokens": dataset.tokens, "starts": dataset.starts, "ends": dataset.ends}
    kind = pl.Array(pl.Int32, dataset.tokens.shape[1])
    write_table(pl.DataFrame({k: pl.Series(k, v, dtype=kind) for k, v in arrays.items()}), tokens)
    write_table(dataset.sequences, sequences)
    write_table(prompts.labels, labels)
    log.info("%d prompts of %d tokens", len(dataset.sequences), dataset.sequences["n_tokens"].sum())


def make_prompts(
    config: PromptConfig, tokenizer: TextTokenizer, entities: pl.DataFrame, where: str = ""
) -> Prompts:
    """`build_prompts` without files.

    Parameters
    ----------
    config : PromptConfig
        What stands around a name, and which token is probed.
    tokenizer : TextTokenizer
        From `load_tokenizer`.
    entities : polars.DataFrame
        Columns `entity`, `name`, `group`, `split`.
    where : str
        What to call the table in errors.
    """
    if entities.is_empty():
        raise DataError("there are no entities", where=where, fix="see its filters in the config")
    chosen = _chosen(config, entities)
    names = [name.upper() if config.capitals else name for name in chosen["name"]]
    texts = [config.before + name + config.after for name in names]
    encoded = tokenizer.encode(texts)
    # Characters of the name in the text are those of the name's tokens, whatever tokenizer it is.
    first = len(config.before)
    spans = [_span(e, first, first + len(n)) for e, n in zip(encoded, names, strict=True)]
    if None in spans:
        name = chosen["name"][spans.index(None)]
        raise DataError(
            f"the name {name!r} gives no token", where=where, fix="leave the entity out"
        )
    random = _random_tokens(config, tokenizer, chosen["name"].to_list())
    offset = N_PREFIX + config.random_tokens
    starts, ends = (np.array([s[i] + offset for s in spans if s], np.int32) for i in (0, 1))
    lengths = np.array([offset + len(e.ids) for e in encoded], dtype=np.int32)
    sequences = chosen.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("sequence"),
        "entity",
        pl.Series("n_tokens", lengths),
        pl.lit(N_PREFIX, dtype=pl.Int32).alias("n_prefix"),
        pl.Series("name_start", starts),
        pl.Series("name_end", ends),
        "group",
        "split",
        pl.Series("text", texts, dtype=pl.String),
    )
    probed = ends if config.read == "name" else lengths
    labels = sequences.select(
        pl.lit("entities").alias("collection"),
        pl.lit(config.read).alias("feature"),
        "sequence",
        pl.Series("start", probed - 1, dtype=pl.Int32),
        pl.Series("end", probed, dtype=pl.Int32),
        pl.lit(True).alias("label"),
    )
    return Prompts(_assemble(tokenizer, encoded, random, lengths, sequences), labels)


def _chosen(config: PromptConfig, entities: pl.DataFrame) -> pl.DataFrame:
    """The entities that the prompt is made for, in the order of the table."""
    if config.max_entities is None or config.max_entities >= entities.height:
        return entities
    # By name rather than by row, so that the choice is the same in a longer table.
    ranks = [hash_of(config.seed, "prompt", name) >> 64 for name in entities["name"]]
    order = entities.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64)).sort("rank", "entity")
    return order.head(config.max_entities).drop("rank").sort("entity")


def _span(encoded: Encoded, first: int, last: int) -> tuple[int, int] | None:
    """Tokens [start, end) that have a character of [first, last), None if there are none."""
    inside = np.flatnonzero((encoded.starts < last) & (encoded.ends > first))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else None


def _random_tokens(config: PromptConfig, tokenizer: TextTokenizer, names: list[str]) -> np.ndarray:
    """Ids in front of each name, (n_names, random_tokens) int32, none of them special."""
    if not config.random_tokens:
        return np.empty((len(names), 0), dtype=np.int32)
    known = set(tokenizer.backend.get_vocab(with_added_tokens=True).values())
    ids = np.array(sorted(known - set(tokenizer.special)), dtype=np.int32)
    drawn = [
        generator_of(config.seed, "random tokens", name).choice(ids, config.random_tokens)
        for name in names
    ]
    return np.stack(drawn).astype(np.int32)


def _assemble(
    tokenizer: TextTokenizer,
    encoded: Sequence[Encoded],
    random: np.ndarray,
    lengths: np.ndarray,
    sequences: pl.DataFrame,
) -> TokenDataset:
    shape = (len(encoded), int(lengths.max()))
    tokens = np.full(shape, tokenizer.document_token, dtype=np.int32)
    starts, ends = (np.full(shape, NO_CHARACTER, dtype=np.int32) for _ in range(2))
    offset = N_PREFIX + random.shape[1]
    tokens[:, N_PREFIX:offset] = random
    for row, item in enumerate(encoded):
        own = slice(offset, offset + len(item.ids))
        tokens[row, own], starts[row, own], ends[row, own] = item.ids, item.starts, item.ends
    return TokenDataset(tokens, starts, ends, sequences)
