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
from artneuro.datasets.candidates import choose_candidates
from artneuro.datasets.compound_words import choose_compound_windows
from artneuro.datasets.config import CategoryCollection, CompoundWords, DatasetConfig, Latex
from artneuro.datasets.crops import Crop, crop_pieces, pieces_of
from artneuro.datasets.latex import around_crop, choose_latex_windows, drop_unbalanced
from artneuro.datasets.linguistics_config import Linguistics
from artneuro.datasets.people import choose_people_windows, joint_groups
from artneuro.datasets.people_config import People
from artneuro.datasets.splits import grouped_split
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.datasets.windows import Target, Window, WindowSource, target_columns
from artneuro.datasets.words import WORDS_COLUMN, words_of_crops

log = logging.getLogger(__name__)

N_PREFIX = 1
NO_CHARACTER = -1
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
    people: str | Path | None = None,
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
    people : path, optional
        What `read_people` wrote, for collections of facts about people.

    Raises
    ------
    DataError
        If the corpus is empty or holds a document twice, a class is unknown or has too few
        documents, or the classes cannot be split by groups.
    ModelError
        If the tokenizer cannot be used.
    """
    columns = list(DOCUMENT_COLUMNS)
    if isinstance(config.collection, Linguistics):
        columns.append(WORDS_COLUMN)
    table = read_table(documents, columns=columns)
    dataset = make_token_dataset(
        config,
        load_tokenizer(tokenizer, config.document_token),
        table,
        where=str(documents),
        people=None if people is None else read_table(people),
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
    config: DatasetConfig,
    tokenizer: TextTokenizer,
    documents: pl.DataFrame,
    where: str = "",
    people: pl.DataFrame | None = None,
) -> TokenDataset:
    """Choose documents, crop them and split the crops; `build_tokens` without files.

    Documents are taken in the order of a hash of their group, one of each group before a second of
    any. Classes that share groups, such as translations of one page, thus get the same groups, and
    differ in what they are rather than in what they are about. Collections of what is rare choose
    windows where it occurs instead (`choose_windows`).

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
    people : polars.DataFrame, optional
        The `people` table, for collections of facts about people.
    """
    if isinstance(config.collection, Latex):
        documents = drop_unbalanced(documents)
    candidates = choose_candidates(config, documents, where)
    collection = config.collection
    texts = dict(documents.select("document", "text").iter_rows())
    source = WindowSource(config, tokenizer, texts, N_PREFIX)
    windows = choose_windows(config, candidates, texts, source, people)
    if windows is not None:
        windows = sorted(windows, key=lambda w: (w.crop.document, w.crop.char_end))
        targets = [window.target for window in windows]
        flat = [window.crop for window in windows]
        strata = [target.kind for target in targets]
        return _assemble(config, tokenizer, flat, strata, documents, texts, targets)
    is_category = isinstance(collection, CategoryCollection)
    if isinstance(collection, CategoryCollection):
        wanted = collection.sequences_per_class
    else:
        assert not isinstance(collection, CompoundWords)
        wanted = collection.max_sequences
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
    strata = [class_of[crop.document] for crop in flat]
    return _assemble(config, tokenizer, flat, strata, documents, texts)


def choose_windows(
    config: DatasetConfig,
    candidates: pl.DataFrame,
    texts: dict[str, str],
    source: WindowSource,
    people: pl.DataFrame | None,
) -> list[Window] | None:
    """Windows of a collection that chooses its own; None for one that labels crops.

    Raises
    ------
    DataError
        If there are none to choose.
    """
    collection = config.collection
    names = candidates["document"].to_list()
    found: list[Window] | None = None
    if isinstance(collection, CompoundWords):
        found = choose_compound_windows(config, names, texts, source)
    elif isinstance(collection, People):
        found = choose_people_windows(config, names, texts, people, source)
    elif isinstance(collection, Latex) and collection.windows == "constructs":
        found = choose_latex_windows(config, names, texts, source)
    if found is not None and not found:
        raise DataError(
            f"the corpus has no windows for the collection {collection.kind}",
            where=config.corpus,
            fix="read more text, or lower n_ctx, min_tokens or the collection's least numbers",
        )
    return found


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
    strata: Sequence[str],
    documents: pl.DataFrame,
    texts: dict[str, str],
    targets: Sequence[Target] = (),
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
    ).join(
        documents.drop("text", WORDS_COLUMN, strict=False),
        on="document",
        how="left",
        maintain_order="left",
    )
    if isinstance(config.collection, People):
        joint = joint_groups(table["group"].to_list(), [target.name for target in targets])
        table = table.with_columns(pl.Series("group", joint))
    is_test = grouped_split(
        table["group"].to_numpy(),
        np.array(strata, dtype=str),
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
    if WORDS_COLUMN in documents.columns:
        table = table.with_columns(words_of_crops(table, documents))
    if isinstance(config.collection, Latex):
        around = [around_crop(texts[c.document], c.char_start, c.char_end) for c in crops]
        table = table.with_columns(
            pl.Series("before", [before for before, _ in around], dtype=pl.String),
            pl.Series("after", [after for _, after in around], dtype=pl.String),
        )
    elif targets:
        table = table.with_columns(target_columns(targets))
    return TokenDataset(tokens, starts, ends, table)
