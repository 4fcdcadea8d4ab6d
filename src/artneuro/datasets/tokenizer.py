"""A model's tokenizer as datasets need it: plain text in, ids with their characters out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from artneuro.core.errors import DataError, ModelError
from artneuro.models.tokenizer_files import (
    REBUILD,
    check_tokenizer_files,
    read_saved_tokenizer,
)

REPLACEMENT = "\ufffd"
# Classes of transformers that take tokenizer.json as it is; others change it as they load it.
_AS_SAVED = ("TokenizersBackend", "PreTrainedTokenizerFast")


@dataclass(frozen=True)
class Encoded:
    """Tokens of a text: `ids`, and the characters [`starts`, `ends`) of each, (n_tokens,) int32.

    Tokens that hold part of a character's bytes have the characters of the whole one.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer that reads everything as plain text and adds nothing of its own.

    Attributes
    ----------
    backend : tokenizers.Tokenizer
        With neither post-processor, truncation nor padding; the names of special tokens in a text
        are encoded like any other text.
    document_token : int
        Id of the token that is put before a document.
    special : tuple of int
        Ids of all special tokens, sorted.
    """

    backend: Tokenizer
    document_token: int
    special: tuple[int, ...]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokenize texts, in parallel; no special token is added or recognised."""
        encoded = []
        for encoding in self.backend.encode_batch(list(texts), add_special_tokens=False):
            offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            ids = np.asarray(encoding.ids, dtype=np.int32)
            encoded.append(Encoded(ids, offsets[:, 0], offsets[:, 1]))
        return encoded

    @property
    def n_ids(self) -> int:
        """One more than the largest id."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    def strings(self) -> list[str]:
        """Return the text of every id (n_ids strings), spaces at their start kept.

        Decoders drop the space of a text's first token, so each token is decoded behind a letter.
        Ids that the tokenizer does not know give empty strings.
        """
        letter = [int(i) for i in self.encode(["a"])[0].ids]
        prefix = self.backend.decode(letter, skip_special_tokens=False)
        decoded = self.backend.decode_batch(
            [[*letter, i] for i in range(self.n_ids)], skip_special_tokens=False
        )
        return [text.removeprefix(prefix) for text in decoded]

    def whole(self, strings: Sequence[str]) -> np.ndarray:
        """Which ids stand for whole characters, (n_ids,) bool; the rest hold part of one's bytes.

        Parameters
        ----------
        strings : sequence of str
            What `strings` gave.
        """
        mask = np.array([REPLACEMENT not in text for text in strings], dtype=bool)
        own = self.encode([REPLACEMENT])[0].ids
        if len(own) == 1:  # the one token that really is the replacement character
            mask[own[0]] = True
        return mask


def load_tokenizer(folder: str | Path, document_token: str | None = None) -> TextTokenizer:
    """Load the tokenizer of a local Hugging Face folder. Nothing is looked up elsewhere.

    Parameters
    ----------
    folder : str or Path
        Holds tokenizer.json, or what transformers needs to make a fast tokenizer.
    document_token : str, optional
        The special token to put before documents. None: what the tokenizer itself puts before a
        text, else `<|endoftext|>` where it has that, else its beginning-of-sequence token, else its
        end-of-sequence token. The second comes before the third because instruction-tuned models
        often declare a chat marker as their beginning of sequence.

    Raises
    ------
    ModelError
        If the folder has no fast tokenizer, or the tokenizer has no token to put first.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(
            "there is no tokenizer folder", where=str(path), fix="run the rule fetch_model"
        )
    check_tokenizer_files(path)
    backend, bos, eos = _read_saved(path) or _make_fast(path)
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    special.update(i for i in map(backend.token_to_id, filter(None, (bos, eos))) if i is not None)
    document = _document_token(document_token, backend, special, (bos, eos), path)
    backend.no_padding()
    backend.no_truncation()
    # Byte-level post-processors take leading spaces out of the offsets.
    backend.post_processor = None
    backend.encode_special_tokens = True
    return TextTokenizer(backend, document, tuple(sorted(special)))


def _read_saved(path: Path) -> tuple[Tokenizer, str | None, str | None] | None:
    """The saved fast tokenizer of a folder with its first and last token, if there is one.

    What transformers would load, without its seconds of imports: each job of the datasets stage
    needs a tokenizer and no more of it.
    """
    declared = path / "tokenizer_config.json"
    if not ((path / "tokenizer.json").is_file() and declared.is_file()):
        return None
    backend = read_saved_tokenizer(path)
    try:
        config = json.loads(declared.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot load the tokenizer ({error})", where=str(declared), fix=REBUILD
        ) from error
    if config.get("tokenizer_class") not in _AS_SAVED or "add_bos_token" in config:
        return None
    bos, eos = (_content(config.get(key)) for key in ("bos_token", "eos_token"))
    named = [_content(config.get(key)) for key in ("unk_token", "pad_token")]
    backend.add_special_tokens([t for t in (bos, eos, *named) if t is not None])
    return backend, bos, eos


def _content(token: str | dict | None) -> str | None:
    """The text of a special token, which a file may describe with its options."""
    return token.get("content") if isinstance(token, dict) else token


def _make_fast(path: Path) -> tuple[Tokenizer, str | None, str | None]:
    """The fast tokenizer that transformers makes of a folder, with its first and last token."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        loaded = AutoTokenizer.from_pretrained(os.fspath(path), local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"cannot load the tokenizer ({error})", where=str(path), fix=REBUILD
        ) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise ModelError(
            "the tokenizer has no fast version, which gives the characters of each token",
            where=str(path),
            fix="save it with a tokenizer.json",
        )
    backend = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    return backend, loaded.bos_token, loaded.eos_token


def _document_token(
    wanted: str | None,
    backend: Tokenizer,
    special: set[int],
    declared: tuple[str | None, ...],
    path: Path,
) -> int:
    if wanted is not None:
        found = backend.token_to_id(wanted)
        if found is None or found not in special:
            known = [str(backend.id_to_token(i)) for i in sorted(special)]
            raise ModelError(
                f"the tokenizer has no special token {wanted!r}; it has: {', '.join(known)}",
                where=str(path),
                fix="change document_token in the dataset's config",
            )
        return found
    first = backend.encode("a", add_special_tokens=True).ids[:1]
    if first and first[0] in special:
        return first[0]
    for name in ("<|endoftext|>", *declared):
        found = backend.token_to_id(name) if name else None
        if found is not None:
            return found
    raise ModelError(
        "the tokenizer has no token to put before a document: neither <|endoftext|> nor a "
        "beginning- or end-of-sequence token",
        where=str(path),
        fix="declare bos_token or eos_token in its tokenizer_config.json",
    )


def check_ids(tokens: np.ndarray, n_ids: int, where: str) -> None:
    """Raise DataError unless every token id is one of the tokenizer's."""
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < n_ids):
        raise DataError(
            f"the tokens hold ids outside 0 to {n_ids - 1}: they are another tokenizer's",
            where=where,
            fix="build the dataset anew with this tokenizer",
        )
