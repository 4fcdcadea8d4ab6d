"""The text of a corpus as one table: every reader's documents, filtered and sampled."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ConfigError, DataError, SourceError
from artneuro.core.hashing import sha256_bytes
from artneuro.core.sources import read_source
from artneuro.datasets.content_type import DETECT, with_detected_language
from artneuro.datasets.corpus_config import (
    ConlluPart,
    CorpusConfig,
    FilesPart,
    JsonPart,
    MarkupPart,
    PilePart,
    SpacyPipeline,
    sibling,
)
from artneuro.datasets.readers.base import RawDocument
from artneuro.datasets.readers.conllu import read_conllu
from artneuro.datasets.readers.files import read_files
from artneuro.datasets.readers.json_records import read_json_records
from artneuro.datasets.readers.markup import all_paragraphs, read_markup
from artneuro.datasets.readers.pile import read_pile
from artneuro.datasets.spacy_words import SpacyAnnotator
from artneuro.datasets.words import (
    WORDS_COLUMN,
    WORDS_TYPE,
    as_records,
    check_words,
    shifted,
    words_within,
)

log = logging.getLogger(__name__)

AnyPart = FilesPart | JsonPart | MarkupPart | ConlluPart | PilePart
DOCUMENT_SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("document", "corpus", "subset", "language", "group", "text"), pl.String()),
        WORDS_COLUMN: WORDS_TYPE,
    }
)


def read_documents(
    config: CorpusConfig, sources: Mapping[str, str | Path], output: str | Path, corpus: str
) -> pl.DataFrame:
    """Read a corpus and write its table of documents.

    Documents that are too short, or whose text already occurred in the corpus, are left out.
    Parts whose source cannot be had on this machine are left out with a warning.

    Parameters
    ----------
    config : CorpusConfig
        The corpus.
    sources : mapping of str to path
        The fetched folder of every source that the corpus names.
    output : path
        The Parquet file to write, in the `documents` schema.
    corpus : str
        Name of the corpus.

    Returns
    -------
    pl.DataFrame
        What was written, in the order of parts and files.

    Raises
    ------
    SourceError
        If no part's source is to be had.
    DataError
        If a part gives no document, or two documents have one name.
    """
    folders, parts = _available(config, sources, corpus)
    seen: set[str] = set()
    rows: list[tuple[object, ...]] = []
    untranslated: dict[tuple[str, str | None], frozenset[str]] = {}
    for part in parts:
        folder = folders.get(part.source) if part.source is not None else None
        raw = _read(config, part, folder, folders, untranslated)
        if part.language == DETECT:
            raw = with_detected_language(raw, part.min_confidence)
        documents = _filtered(part, raw, seen)
        chosen = _chosen(part, documents, _generator(config.seed, part))
        if not chosen:
            raise DataError(
                f"part {part.subset} ({part.language}) of corpus {corpus} gives no document",
                where=str(folder or part.path or getattr(part, "hub", None)),
                fix="check `files` and `min_chars` of the part; texts that occurred in an earlier "
                "part are left out too",
            )
        if part.annotate_with is not None:
            chosen = _annotated(part.annotate_with, folders, chosen)
        label = part.source or Path(part.path or getattr(part, "hub", "") or "").name
        for document in chosen:
            subset = document.subset or part.subset or corpus
            language = document.language or part.language
            name = "/".join(filter(None, (subset, language, label, document.key)))
            group = f"{subset}/{document.group}"
            check_words(document.words or (), document.text, name)
            words = as_records(document.words)
            rows.append((name, corpus, subset, language, group, document.text, words))
    frame = pl.DataFrame(rows, schema=DOCUMENT_SCHEMA, orient="row")
    _check_unique(frame, corpus)
    _log_counts(frame)
    write_table(frame, output)
    return frame


def _available(
    config: CorpusConfig, sources: Mapping[str, str | Path], corpus: str
) -> tuple[dict[str, Path], list[AnyPart]]:
    """The folders of the sources that are to be had, and the parts that are to be read."""
    folders, missing = {}, {}
    for name in config.source_names():
        if name not in sources:
            raise ConfigError(
                f"corpus {corpus} reads source {name!r}, which was not fetched",
                where=f"known: {sorted(sources)}",
                fix="add the source to resources/sources.yaml, or correct the name",
            )
        info = read_source(sources[name])
        if info.available:
            folders[name] = Path(sources[name])
        else:
            missing[name] = info.reason
    for name, reason in missing.items():
        without = sorted({f"{p.subset} ({p.language})" for p in config.parts if name in _needs(p)})
        if not without:
            continue
        log.warning(
            "corpus %s goes without %s, because source %s is not to be had: %s",
            corpus, ", ".join(without), name, reason,
        )  # fmt: skip
    parts = [
        part
        for part in config.parts
        if not _needs(part) & set(missing)
        and (part.only_without is None or part.only_without in missing)
    ]
    if not parts:
        raise SourceError(
            f"none of the sources of corpus {corpus} is to be had",
            where="; ".join(f"{name}: {reason}" for name, reason in missing.items()),
            fix="provide one of them, or leave out the datasets that use this corpus",
        )
    return folders, parts


def _needs(part: AnyPart) -> set[str | None]:
    """The sources without which a part cannot be read, and perhaps None."""
    return {part.source, part.annotate_with.source if part.annotate_with else None}


def _annotated(
    pipeline: SpacyPipeline, folders: Mapping[str, Path], documents: list[RawDocument]
) -> list[RawDocument]:
    annotator = SpacyAnnotator(
        folders[pipeline.source] if pipeline.source else pipeline.package or "",
        pipeline.entities,
    )
    found = annotator.annotate([document.text for document in documents])
    log.info(
        "%s: %d words in %d documents",
        annotator.name, sum(len(one.words) for one in found), len(found),
    )  # fmt: skip
    return [
        replace(document, words=one.words) for document, one in zip(documents, found, strict=True)
    ]


def _read(
    config: CorpusConfig,
    part: AnyPart,
    folder: Path | None,
    folders: Mapping[str, Path],
    untranslated: dict[tuple[str, str | None], frozenset[str]],
) -> Iterator[RawDocument]:
    if isinstance(part, FilesPart):
        return read_files(part, folder)
    if isinstance(part, JsonPart):
        return read_json_records(part, folder)
    if isinstance(part, PilePart):
        return read_pile(part, folder)
    if isinstance(part, ConlluPart):
        return read_conllu(part, folder)
    other = sibling(config, part) if part.drop_identical_to is not None else None
    if other is None:
        return read_markup(part, folder)
    if other.source is not None and other.source not in folders:
        log.warning(
            "%s (%s): paragraphs identical to %s cannot be told, its source is not to be had",
            part.subset, part.language, other.language,
        )  # fmt: skip
        return read_markup(part, folder)
    key = (other.subset, other.language)
    if key not in untranslated:
        untranslated[key] = all_paragraphs(other, folders.get(other.source or ""))
    return read_markup(part, folder, untranslated[key])


def _filtered(
    part: AnyPart, documents: Iterable[RawDocument], seen: set[str]
) -> Iterator[RawDocument]:
    """Pieces of the documents, without the short ones and those whose text was seen before."""
    short = repeated = 0
    for document in documents:
        for piece in _pieces(document, part.split_chars):
            if len(piece.text.strip()) < part.min_chars:
                short += 1
                continue
            digest = sha256_bytes(piece.text.strip().encode("utf-8", "surrogatepass"))
            if digest in seen:
                repeated += 1
                continue
            seen.add(digest)
            yield piece
    if short or repeated:
        log.info(
            "%s (%s): %d texts shorter than %d characters and %d repeated ones left out",
            part.subset, part.language, short, part.min_chars, repeated,
        )  # fmt: skip


def _pieces(document: RawDocument, split_chars: int | None) -> Iterator[RawDocument]:
    """The document cut at blank lines into pieces of at least `split_chars` characters."""
    if split_chars is None or len(document.text) < 2 * split_chars:
        yield document
        return
    pieces: list[str] = []
    pending = ""
    for paragraph in document.text.split("\n\n"):
        pending = f"{pending}\n\n{paragraph}" if pending else paragraph
        if len(pending) >= split_chars:
            pieces.append(pending)
            pending = ""
    if pending:
        if pieces:
            pieces[-1] += f"\n\n{pending}"
        else:
            pieces.append(pending)
    start = 0
    for number, text in enumerate(pieces):
        # Empty paragraphs at a piece's start are not part of it.
        start = document.text.index(text, start)
        stop = start + len(text)
        words = document.words
        if words is not None:
            words = tuple(shifted(words_within(words, start, stop), -start))
        yield replace(document, key=f"{document.key}#{number}", text=text, words=words)
        start = stop


def _chosen(
    part: AnyPart, documents: Iterator[RawDocument], rng: np.random.Generator
) -> list[RawDocument]:
    """At most `max_documents` of each subset and language, in their order: a uniform sample.

    Reservoir sampling, so that a part larger than memory can be sampled from.
    """
    limit = part.max_documents
    if limit is None:
        return list(documents)
    first_ones = isinstance(part, PilePart) and not part.sample
    kinds = len(part.pile_subsets) if isinstance(part, PilePart) else 1
    kept: dict[tuple[str | None, str | None], list[tuple[int, RawDocument]]] = defaultdict(list)
    counts: dict[tuple[str | None, str | None], int] = defaultdict(int)
    for number, document in enumerate(documents):
        key = (document.subset, document.language)
        counts[key] += 1
        if len(kept[key]) < limit:
            kept[key].append((number, document))
            full = first_ones and kinds and len(kept) >= kinds
            if full and all(len(have) == limit for have in kept.values()):
                break
        elif not first_ones:
            place = int(rng.integers(counts[key]))
            if place < limit:
                kept[key][place] = (number, document)
    merged = sorted((item for have in kept.values() for item in have), key=lambda item: item[0])
    return [document for _, document in merged]


def _generator(seed: int, part: AnyPart) -> np.random.Generator:
    """A generator of the part's own, so that adding a part leaves the others' samples alone."""
    digest = sha256_bytes(f"{part.subset}/{part.language}/{part.source or part.path}".encode())
    return np.random.default_rng([seed, int(digest[:16], 16)])


def _check_unique(frame: pl.DataFrame, corpus: str) -> None:
    repeated = frame.filter(pl.col("document").is_duplicated())["document"]
    if len(repeated):
        raise DataError(
            f"corpus {corpus} has two documents of one name",
            where=repeated[0],
            fix="give parts that read the same files different subsets",
        )


def _log_counts(frame: pl.DataFrame) -> None:
    counts = frame.group_by("subset", "language", maintain_order=True).agg(
        pl.len().alias("documents"),
        pl.col("group").n_unique().alias("groups"),
        pl.col("text").str.len_chars().sum().alias("characters"),
    )
    for subset, language, documents, groups, characters in counts.iter_rows():
        log.info(
            "%s (%s): %d documents in %d groups, %d characters",
            subset, language, documents, groups, characters,
        )  # fmt: skip
