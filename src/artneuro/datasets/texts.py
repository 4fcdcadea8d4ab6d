"""Texts: whole documents as sequences of tokens without labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.holdout import held_out
from artneuro.core.logs import Progress
from artneuro.datasets.seeding import hash_of
from artneuro.datasets.text_config import TextConfig
from artneuro.datasets.tokenizer import Encoded, TextTokenizer, load_tokenizer
from artneuro.datasets.tokens import DOCUMENT_COLUMNS, N_PREFIX, NO_CHARACTER, TokenDataset
from artneuro.datasets.words import WORDS_COLUMN, words_of_crops

log = logging.getLogger(__name__)

# Characters that are tokenized at a time, in parallel.
BATCH_CHARACTERS = 4_000_000


def build_text(
    config: TextConfig,
    tokenizer: str | Path,
    documents: str | Path,
    tokens: str | Path,
    sequences: str | Path,
) -> None:
    """Cut the documents of a corpus into sequences of tokens and write them.

    Parameters
    ----------
    config : TextConfig
        Which documents, how many tokens, and how long the sequences are.
    tokenizer : path
        A local Hugging Face tokenizer folder.
    documents : path
        The `documents` table of the corpus.
    tokens, sequences : path
        Tables to write, as those of `build_tokens`. The split is "test" where documents are held
        out.

    Raises
    ------
    DataError
        If the split has no document, or words are asked for that the corpus does not have.
    ModelError
        If the tokenizer cannot be used.
    """
    columns = [*DOCUMENT_COLUMNS, *((WORDS_COLUMN,) if config.words else ())]
    text = make_text(
        config,
        load_tokenizer(tokenizer, config.document_token),
        read_table(documents, columns=columns),
        where=str(documents),
    )
    arrays = {"tokens": text.tokens, "starts": text.starts, "ends": text.ends}
    frame = {
        name: pl.Series(name, array, dtype=pl.Array(pl.Int32, config.n_ctx))
        for name, array in arrays.items()
    }
    write_table(pl.DataFrame(frame), tokens)
    write_table(text.sequences, sequences)
    log.info(
        "%d tokens in %d sequences of %d documents",
        (text.sequences["n_tokens"] - text.sequences["n_prefix"]).sum(),
        len(text.sequences),
        text.sequences["document"].n_unique(),
    )


def make_text(
    config: TextConfig, tokenizer: TextTokenizer, documents: pl.DataFrame, where: str = ""
) -> TokenDataset:
    """`build_text` without files.

    Documents are taken in the order of a hash of their names, so that a larger `max_tokens` adds
    to a smaller one. Those whose text is that of another are taken once.

    Parameters
    ----------
    config : TextConfig
        Which documents, how many tokens, and how long the sequences are.
    tokenizer : TextTokenizer
        From `load_tokenizer`.
    documents : polars.DataFrame
        The `documents` table, with `words` if the config asks for them.
    where : str
        What to call it in errors.
    """
    if config.words and documents[WORDS_COLUMN].null_count() == len(documents):
        raise DataError(
            "words are asked for, but no document is annotated",
            where=where,
            fix="give the parts of the corpus annotate_with, or set words: false",
        )
    chosen = _ordered(config, documents, where)
    content = config.n_ctx - N_PREFIX
    rows: list[tuple[int, Encoded]] = []
    left = config.max_tokens
    progress = Progress("tokens", config.max_tokens, "tokens", log)
    for place, encoded in _encoded(chosen["text"], tokenizer):
        pieces = [
            piece
            for piece in cut(encoded, content)
            if len(piece.ids) + N_PREFIX >= config.min_tokens
        ]
        for piece in pieces:
            if len(piece.ids) > left:
                left = 0
                break
            left -= len(piece.ids)
            rows.append((place, piece))
            progress.add(len(piece.ids))
        if left == 0:
            break
    if not rows:
        raise DataError(
            f"no document gives {config.min_tokens} tokens",
            where=where,
            fix="lower the text's min_tokens, or raise its max_tokens above one sequence",
        )
    return _assemble(config, tokenizer, rows, chosen)


def cut(encoded: Encoded, most: int) -> Iterator[Encoded]:
    """Cut tokens into runs of `most`, fewer where a run would end within a character.

    Every token is in one run, and the runs follow each other.
    """
    start, total = 0, len(encoded.ids)
    while start < total:
        stop = min(start + most, total)
        while start + 1 < stop < total and encoded.starts[stop] < encoded.ends[stop - 1]:
            stop -= 1
        if stop < total and encoded.starts[stop] < encoded.ends[stop - 1]:
            stop = min(start + most, total)  # one character has more tokens than a run
        run = slice(start, stop)
        yield Encoded(encoded.ids[run], encoded.starts[run], encoded.ends[run])
        start = stop


def _ordered(config: TextConfig, documents: pl.DataFrame, where: str) -> pl.DataFrame:
    """The documents of the split in the order in which they are read, with `split`."""
    is_held = pl.Series("held", held_out(documents["group"], config.held_out))
    documents = documents.with_columns(
        pl.when(is_held).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split")
    )
    if config.split != "all":
        wanted = "test" if config.split == "held_out" else "train"
        documents = documents.filter(pl.col("split") == wanted)
    if documents.is_empty():
        raise DataError(
            f"the corpus has no documents of the split {config.split!r}",
            where=where,
            fix="change the text's split or held_out, or read more documents",
        )
    ranks = [hash_of(config.seed, "document", name) >> 64 for name in documents["document"]]
    return (
        documents.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
        .sort("rank", "document")
        .unique("text", keep="first", maintain_order=True)
        .drop("rank")
    )


def _encoded(texts: pl.Series, tokenizer: TextTokenizer) -> Iterator[tuple[int, Encoded]]:
    """Tokens of each text with its place, tokenized as they are asked for."""
    batch: list[str] = []
    size = first = 0
    for place, text in enumerate(texts):
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield from enumerate(tokenizer.encode(batch), first)
            batch, size, first = [], 0, place + 1
    yield from enumerate(tokenizer.encode(batch), first)


def _assemble(
    config: TextConfig,
    tokenizer: TextTokenizer,
    rows: list[tuple[int, Encoded]],
    documents: pl.DataFrame,
) -> TokenDataset:
    tokens = np.full((len(rows), config.n_ctx), tokenizer.document_token, dtype=np.int32)
    starts = np.full_like(tokens, NO_CHARACTER)
    ends = np.full_like(tokens, NO_CHARACTER)
    for row, (_, piece) in enumerate(rows):
        span = slice(N_PREFIX, N_PREFIX + len(piece.ids))
        tokens[row, span] = piece.ids
        starts[row, span] = piece.starts
        ends[row, span] = piece.ends
    texts = documents["text"].to_list()
    table = documents.drop("text")[[place for place, _ in rows]].with_columns(
        pl.int_range(len(rows), dtype=pl.Int32, eager=True).alias("sequence"),
        pl.Series("char_start", [int(p.starts[0]) for _, p in rows], dtype=pl.Int32),
        pl.Series("char_end", [int(p.ends[-1]) for _, p in rows], dtype=pl.Int32),
        pl.Series("n_tokens", [N_PREFIX + len(p.ids) for _, p in rows], dtype=pl.Int32),
        pl.lit(N_PREFIX, dtype=pl.Int32).alias("n_prefix"),
    )
    if config.words:
        table = table.with_columns(words_of_crops(table, documents))
    crops = [texts[place][int(p.starts[0]) : int(p.ends[-1])] for place, p in rows]
    table = table.with_columns(pl.Series("text", crops, dtype=pl.String)).select(
        "sequence", "document", "corpus", "subset", "language", "group", "char_start", "char_end",
        "n_tokens", "n_prefix", "split", "text", *([WORDS_COLUMN] if config.words else []),
    )  # fmt: skip
    return TokenDataset(tokens, starts, ends, table)
