"""Which files make a tokenizer, checked without loading torch."""

from __future__ import annotations

from pathlib import Path

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
