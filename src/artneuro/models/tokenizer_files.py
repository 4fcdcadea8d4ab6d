"""Which files make a tokenizer, checked and read without loading torch."""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Tokenizer

from artneuro.core.errors import ModelError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
TOKENIZER_FIX = (
    "put its tokenizer files into the model's source, or set 'tokenizer:' of the model to another "
    "model that shares it"
)
REBUILD = "if a file is damaged, delete the folder and run snakemake again"


def read_saved_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer in the `tokenizer.json` of a folder.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    file = Path(folder) / "tokenizer.json"
    try:
        return Tokenizer.from_file(os.fspath(file))
    except Exception as error:  # the library raises plain Exception for a file it cannot read
        raise ModelError(
            f"cannot load the tokenizer ({error})", where=str(file), fix=REBUILD
        ) from error


def check_tokenizer_files(folder: str | Path) -> None:
    """Make sure that a model's folder has a tokenizer.

    Some tokenizer classes of transformers come up empty, rather than fail, where no file is.

    Raises
    ------
    ModelError
        If it has none.
    """
    if not any((Path(folder) / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(
            "the model's folder has no tokenizer files", where=str(folder), fix=TOKENIZER_FIX
        )
