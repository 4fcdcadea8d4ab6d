"""A tokenizer trained on a recipe's documents, and these documents as its tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from artneuro.core.artifacts import atomic_directory, read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.holdout import held_out
from artneuro.models.tokenizer_files import read_saved_tokenizer
from artneuro.models.training_config import TrainingConfig

log = logging.getLogger(__name__)

DOCUMENT_TOKEN = "<|endoftext|>"
BATCH = 1024


def train_tokenizer(config: TrainingConfig, documents: str | Path, folder: str | Path) -> Tokenizer:
    """Train a byte-level BPE tokenizer and save it as a Hugging Face folder.

    The same documents give the same tokenizer, whatever the number of threads.

    Parameters
    ----------
    config : TrainingConfig
        Size of the vocabulary, and which documents are held out.
    documents : path
        The `documents` table of the corpus.
    folder : path
        Folder to write; it loads without the network.

    Raises
    ------
    DataError
        If no document is left to learn from, or the text is too short for so many tokens.
    """
    table = read_table(documents, columns=["group", "text"])
    kept = table.filter(~_held_out(config, table))["text"]
    if kept.is_empty():
        raise DataError(
            "every document is held out", where=str(documents), fix="lower held_out of the recipe"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[DOCUMENT_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(kept, trainer, length=len(kept))
    if tokenizer.get_vocab_size() != config.vocabulary:
        raise DataError(
            f"the text has only {tokenizer.get_vocab_size()} tokens to learn, "
            f"{config.vocabulary} are wanted",
            where=str(documents),
            fix="lower vocabulary of the recipe, or read more documents",
        )
    with atomic_directory(folder) as temporary:
        _save(tokenizer, config, temporary)
    log.info("%d tokens from %d documents", config.vocabulary, len(kept))
    return tokenizer


def _save(tokenizer: Tokenizer, config: TrainingConfig, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=DOCUMENT_TOKEN,
        eos_token=DOCUMENT_TOKEN,
        unk_token=DOCUMENT_TOKEN,
        model_max_length=config.n_ctx,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def tokenize_documents(
    config: TrainingConfig, documents: str | Path, tokenizer: str | Path, output: str | Path
) -> None:
    """Write the tokens of every document of a recipe's corpus.

    Parameters
    ----------
    config : TrainingConfig
        Which documents are held out.
    documents : path
        The `documents` table of the corpus.
    tokenizer : path
        The folder that `train_tokenizer` wrote.
    output : path
        Table to write: `document`, `held_out` (bool), `tokens` (list of uint32).

    Raises
    ------
    ModelError
        If the tokenizer cannot be read.
    """
    backend = read_saved_tokenizer(tokenizer)
    backend.encode_special_tokens = True
    table = read_table(documents, columns=["document", "group", "text"])
    column = pl.Series("tokens", list(_encoded(backend, table["text"])), dtype=pl.List(pl.UInt32))
    held = pl.Series("held_out", _held_out(config, table))
    write_table(pl.DataFrame([table["document"], held, column]), output)
    sizes = column.list.len()
    log.info(
        "%d tokens to learn from, %d held out", sizes.filter(~held).sum(), sizes.filter(held).sum()
    )


def _encoded(backend: Tokenizer, texts: pl.Series) -> Iterator[np.ndarray]:
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH].to_list()
        for encoding in backend.encode_batch_fast(batch, add_special_tokens=False):
            yield np.asarray(encoding.ids, dtype=np.uint32)


def _held_out(config: TrainingConfig, table: pl.DataFrame) -> np.ndarray:
    return held_out(table["group"], config.held_out)
