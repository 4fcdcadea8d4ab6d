"""Token datasets: crops of documents as one array of ids and a table of sequences."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.logs import Progress
from artneuro.datasets.config import CategoryCollection, DatasetConfig
from artneuro.datasets.crops import Crop, crop_pieces, pieces_of
from artneuro.datasets.seeding import hash_of
from artneuro.datasets.splits import grouped_split
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer

log = logging.getLogger(__name__)

N_PREFIX = 1
NO_CHARACTER = -1
CLASS_COLUMN = {
    "natural_language": "language",
    "code_language": "language",
    "data_subset": "subset",
}
DOCUMENT_COLUMNS = ("document", "corpus", "subset", "language", "group", "text")


@dataclass(frozen=True)
class TokenDataset:
    """A token dataset in memory.

    Attributes
    ----------
    tokens : (n_sequences, n_ctx) int32
        Ids; the document token first, padding (the document token again) last.
    starts, ends : (n_sequences, n_ctx) int32
        Characters [start, end) of each token in its document's text, -1 for the document token and
        padding. Tokens that share a character have the same ones.
    sequences : polars.DataFrame
        One row a sequence, in the order of `tokens`; besides the columns of docs/architecture.md
        `text`, the characters of the crop.
    """

    tokens: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    sequences: pl.DataFrame

    def labelled(self, skip_tokens: int) -> np.ndarray:
        """Tokens that labels may cover, (n_sequences, n_ctx) bool.

        They are those of the text, from position `skip_tokens` on: never prefix or padding.
        """
        position = np.arange(self.tokens.shape[1])
        first = np.maximum(self.sequences["n_prefix"].to_numpy(), skip_tokens)
        last = self.sequences["n_tokens"].to_numpy()
        return (position >= first[:, None]) & (position < last[:, None])


def read_token_dataset(tokens: str | Path, sequences: str | Path) -> TokenDataset:
    """Read what `build_tokens` wrote.

    Raises
    ------
    DataError
        If the two tables are not of one dataset.
    """
    arrays, table = read_table(tokens), read_table(sequences)
    if len(arrays) != len(table):
        raise DataError(
            f"{len(arrays)} rows of tokens, but {len(table)} sequences",
            where=str(tokens),
            fix="delete both files and run snakemake again",
        )
    return TokenDataset(
        arrays["tokens"].to_numpy(), arrays["starts"].to_numpy(), arrays["ends"].to_numpy(), table
    )


def build_tokens(
    config: DatasetConfig,
    tokenizer: str | Path,
    documents: str | Path,
    tokens: str | Path,
    sequences: str | Path,
) -> None:
    """Draw crops from a corpus' documents and write them as tokens (A.2.2).

    Parameters
    ----------
    config : DatasetConfig
        Which documents, how many, how long, and the split.
    tokenizer : path
        A local Hugging Face tokenizer folder.
    documents : path
        The `documents` table of the corpus.
    tokens, sequences : path
        Tables to write, see docs/architecture.md.

    Raises
    ------
    DataError
        If the corpus is empty or holds a document twice, a class is unknown or has too few
        documents, or the classes cannot be split by groups.
    ModelError
        If the tokenizer cannot be used.
    """
    table = read_table(documents, columns=list(DOCUMENT_COLUMNS))
    dataset = make_token_dataset(
        config, load_tokenizer(tokenizer, config.document_token), table, where=str(documents)
    )
    frame = {
        name: pl.Series(name, array, dtype=pl.Array(pl.Int32, config.n_ctx))
        for name, array in (
            ("tokens", dataset.tokens),
            ("starts", dataset.starts),
            ("ends", dataset.ends),
        )
    }
    write_table(pl.DataFrame(frame), tokens)
    write_table(dataset.sequences, sequences)
    split = dataset.sequences["split"]
    log.info(
        "%d sequences of %d documents, %d tokens; %d train, %d test",
        len(split),
        dataset.sequences["document"].n_unique(),
        dataset.sequences["n_tokens"].sum(),
        (split == "train").sum(),
        (split == "test").sum(),
    )


def make_token_dataset(
    config: DatasetConfig, tokenizer: TextTokenizer, documents: pl.DataFrame, where: str = ""
) -> TokenDataset:
    """Choose documents, crop them and split the crops; `build_tokens` without files.

    Documents are taken in the order of a hash of their group, one of each group before a second of
    any. Classes that share groups, such as translations of one page, thus get the same groups, and
    differ in what they are rather than in what they are about.

    Parameters
    ----------
    config : DatasetConfig
        Which documents, how many, how long, and the split.
    tokenizer : TextTokenizer
        From `load_tokenizer`.
    documents : polars.DataFrame
        The `documents` table.
    where : str
        What to call it in errors.
    """
    candidates = choose_candidates(config, documents, where)
    collection = config.collection
    is_category = isinstance(collection, CategoryCollection)
    wanted = (
        collection.sequences_per_class
        if isinstance(collection, CategoryCollection)
        else collection.max_sequences
    )
    texts = dict(documents.select("document", "text").iter_rows())
    parts = candidates.partition_by("class", as_dict=True, maintain_order=True)
    progress = Progress("crops", wanted * len(parts), "sequences", log)
    crops: dict[str, list[Crop]] = {}
    for (name,), part in sorted(parts.items()):
        crops[name] = _crops_of_class(config, tokenizer, part["document"].to_list(), texts, wanted)
        progress.add(len(crops[name]))
    if is_category:
        crops = _drop_small_classes(config, crops, candidates, where)
    elif not crops.get("", []):
        raise DataError(
            f"no document has {config.shortest} tokens",
            where=where,
            fix="lower the dataset's n_ctx or min_tokens",
        )
    class_of = {crop.document: name for name, found in crops.items() for crop in found}
    flat = sorted(
        (crop for found in crops.values() for crop in found),
        key=lambda crop: (crop.document, crop.char_start),
    )
    return _assemble(config, tokenizer, flat, class_of, documents, texts)


def choose_candidates(
    config: DatasetConfig, documents: pl.DataFrame, where: str = ""
) -> pl.DataFrame:
    """Documents that may be cropped, in the order in which they are tried.

    Texts that occur more than once are kept once, or not at all if they occur in several classes.

    Returns
    -------
    polars.DataFrame
        Columns `document` and `class` ("" where the collection has none).
    """
    if documents.is_empty():
        raise DataError(
            "the corpus has no documents",
            where=where,
            fix="see the log of read_documents for the sources that it left out",
        )
    _check_unique(documents, where)
    collection = config.collection
    if isinstance(collection, CategoryCollection):
        documents = documents.with_columns(pl.col(CLASS_COLUMN[collection.kind]).alias("class"))
        documents = documents.filter(pl.col("class").is_not_null())
        documents = _keep_classes(documents, collection, where)
    else:
        documents = documents.with_columns(pl.lit("").alias("class"))
    # No token has less than a byte, so these cannot be long enough.
    documents = documents.filter(pl.col("text").str.len_bytes() >= config.shortest - N_PREFIX)
    kept = _drop_repeated_texts(documents)
    if len(kept) < len(documents):
        log.warning(
            "left out %d of %d documents whose text is that of another",
            len(documents) - len(kept),
            len(documents),
        )
    ranked = kept.select(
        "document",
        "class",
        "group",
        _ranks(config.seed, kept["document"]).alias("rank"),
        _ranks(config.seed, kept["group"]).alias("group_rank"),
    ).sort("rank", "document")
    return (
        ranked.with_columns(pl.int_range(pl.len()).over("class", "group").alias("turn"))
        .sort("class", "turn", "group_rank", "group")
        .select("document", "class")
    )


def _ranks(seed: int, names: pl.Series) -> pl.Series:
    ranks = {name: hash_of(seed, names.name, name) >> 64 for name in names.unique()}
    return pl.Series([ranks[name] for name in names], dtype=pl.UInt64)


def _check_unique(documents: pl.DataFrame, where: str) -> None:
    repeated = documents.filter(pl.col("document").is_duplicated())["document"].unique().sort()
    if len(repeated):
        raise DataError(
            f"{len(repeated)} documents occur more than once, such as {repeated[0]!r}",
            where=where,
            fix="give each document of the corpus a name of its own",
        )


def _keep_classes(
    documents: pl.DataFrame, collection: CategoryCollection, where: str
) -> pl.DataFrame:
    known = set(documents["class"].unique())
    unknown = [name for name in collection.classes if name not in known]
    if unknown and collection.missing_classes == "error":
        raise DataError(
            f"the corpus has no documents of: {', '.join(unknown)}; "
            f"it has: {', '.join(sorted(known)) or 'no classes at all'}",
            where=where,
            fix="change collection.classes of the dataset, or set missing_classes: leave_out",
        )
    for name in unknown:
        log.warning("class %s left out: the corpus has no documents of it", name)
    if collection.classes:
        documents = documents.filter(pl.col("class").is_in(collection.classes))
    return documents


def _drop_repeated_texts(documents: pl.DataFrame) -> pl.DataFrame:
    keyed = documents.with_columns(pl.col("text").str.strip_chars().alias("key"))
    several = pl.col("class").n_unique().over("key") > 1
    first = pl.col("document") == pl.col("document").min().over("key", "class")
    return keyed.filter(first & ~several).drop("key")


def _crops_of_class(
    config: DatasetConfig,
    tokenizer: TextTokenizer,
    candidates: Sequence[str],
    texts: dict[str, str],
    wanted: int,
) -> list[Crop]:
    """Crop documents in their order until `wanted` crops are long enough or no document is left.

    A document's second crop comes after the first ones of all documents.
    """
    content = config.n_ctx - N_PREFIX
    most = 1 if config.crop == "start" else config.max_document_sequences
    by_document = [
        pieces_of(document, texts[document], content, most, config.seed) for document in candidates
    ]
    queue = [piece for turn in itertools.zip_longest(*by_document) for piece in turn if piece]
    found: list[Crop] = []
    tried = 0
    while len(found) < wanted and tried < len(queue):
        # A few more than are missing, since some will be too short.
        pieces = queue[tried : tried + (wanted - len(found)) * 5 // 4 + 4]
        tried += len(pieces)
        found.extend(
            crop
            for crop in crop_pieces(tokenizer, pieces, content, config.seed, config.crop)
            if crop is not None and len(crop.encoded.ids) + N_PREFIX >= config.shortest
        )
    return found[:wanted]


def _drop_small_classes(
    config: DatasetConfig, crops: dict[str, list[Crop]], candidates: pl.DataFrame, where: str
) -> dict[str, list[Crop]]:
    collection = config.collection
    assert isinstance(collection, CategoryCollection)
    wanted = collection.sequences_per_class
    tried = dict(candidates.group_by("class").len().iter_rows())
    names = sorted({*crops, *collection.classes})
    small = [name for name in names if len(crops.get(name, [])) < wanted]
    said = [
        f"class {name!r}: {len(crops.get(name, []))} sequences of {config.shortest} tokens or more "
        f"from {tried.get(name, 0)} documents, {wanted} needed"
        for name in small
    ]
    remaining = {name: found for name, found in crops.items() if name not in small}
    must_have_all = bool(collection.classes) and collection.missing_classes == "error"
    if (small and must_have_all) or len(remaining) < 2:
        raise DataError(
            "too few documents: "
            + ("; ".join(said) or f"{len(remaining)} classes, and telling apart takes two"),
            where=where,
            fix="lower sequences_per_class, n_ctx or min_tokens, raise max_document_sequences, "
            "or read more documents",
        )
    for line in said:
        log.warning("left out %s", line)
    return remaining


def _assemble(
    config: DatasetConfig,
    tokenizer: TextTokenizer,
    crops: Sequence[Crop],
    class_of: dict[str, str],
    documents: pl.DataFrame,
    texts: dict[str, str],
) -> TokenDataset:
    tokens = np.full((len(crops), config.n_ctx), tokenizer.document_token, dtype=np.int32)
    starts = np.full_like(tokens, NO_CHARACTER)
    ends = np.full_like(tokens, NO_CHARACTER)
    for row, crop in enumerate(crops):
        span = slice(N_PREFIX, N_PREFIX + len(crop.encoded.ids))
        tokens[row, span] = crop.encoded.ids
        starts[row, span] = crop.encoded.starts
        ends[row, span] = crop.encoded.ends
    table = pl.DataFrame(
        {
            "document": [crop.document for crop in crops],
            "char_start": pl.Series([crop.char_start for crop in crops], dtype=pl.Int32),
            "char_end": pl.Series([crop.char_end for crop in crops], dtype=pl.Int32),
            "n_tokens": pl.Series(
                [N_PREFIX + len(crop.encoded.ids) for crop in crops], dtype=pl.Int32
            ),
            "n_prefix": pl.Series([N_PREFIX] * len(crops), dtype=pl.Int32),
            "text": [texts[crop.document][crop.char_start : crop.char_end] for crop in crops],
        }
    ).join(documents.drop("text"), on="document", how="left", maintain_order="left")
    is_test = grouped_split(
        table["group"].to_numpy(),
        np.array([class_of[document] for document in table["document"]], dtype=str),
        config.test_fraction,
        config.seed,
    )
    table = table.with_columns(
        pl.int_range(len(crops), dtype=pl.Int32, eager=True).alias("sequence"),
        pl.Series("split", np.where(is_test, "test", "train")),
    ).select(
        "sequence", "document", "corpus", "subset", "language", "group", "char_start", "char_end",
        "n_tokens", "n_prefix", "split", "text",
    )  # fmt: skip
    return TokenDataset(tokens, starts, ends, table)
