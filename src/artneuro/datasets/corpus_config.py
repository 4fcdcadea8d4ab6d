"""Config of corpora: which files make up a corpus, and how text is read from them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.web import Sha256, problem_of


def _regular_expression(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups < 1:
        raise ValueError(
            "the pattern needs a capturing group: what it captures is the group's name"
        )
    return pattern


GroupPattern = Annotated[str, AfterValidator(_regular_expression)]


class SpacyPipeline(Section):
    """A spaCy pipeline that annotates words."""

    source: Name | None = Field(
        None, description="A source of resources/sources.yaml that holds the pipeline."
    )
    package: str | None = Field(
        None,
        description="Instead of a source: the name of an installed pipeline package, such as "
        "en_core_web_sm or en_core_web_trf, or a local folder with a pipeline.",
    )
    entities: bool = Field(
        False,
        description="Whether named entities are looked for as well, which takes a third longer.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> SpacyPipeline:
        if (self.source is None) == (self.package is None):
            raise ValueError("annotate_with needs exactly one of source and package")
        return self


class Part(Section):
    """What every part of a corpus has, however it is read."""

    subset: Name = Field(description="Name of the part; parts in several languages share it.")
    language: str | None = Field(
        None,
        description="Natural or programming language of the part's documents. detect: the "
        "programming language of each file is detected from its text (package magika needed).",
    )
    min_confidence: float = Field(
        0.9,
        ge=0,
        le=1,
        description="With `language: detect`, the score that the detected language needs; other "
        "files are left out.",
    )
    source: Name | None = Field(
        None, description="A source of resources/sources.yaml whose files are read."
    )
    path: str | None = Field(
        None,
        description="Instead of a source: a local file, a folder, or a glob such as "
        "data/**/*.txt, relative to the folder that snakemake runs in.",
    )
    only_without: Name | None = Field(
        None,
        description="Read this part only where this source is not to be had: a stand-in for it.",
    )
    files: list[str] = Field(
        ["*"],
        description="Shell patterns over paths inside the source or folder, of files to read; `*` "
        "matches across folders.",
    )
    exclude: list[str] = Field([], description="Shell patterns of files not to read.")
    group: GroupPattern | None = Field(
        None,
        description="Regular expression searched in a file's path inside the source; what its "
        "first group captures (a page, an author, a folder) is never split between train and test. "
        "Empty: the file.",
    )
    min_chars: int = Field(200, ge=1, description="Shorter documents are left out.")
    split_chars: int | None = Field(
        None,
        ge=100,
        description="Cut longer documents at blank lines into pieces of at least so many "
        "characters, which stay in one group. Empty: do not cut.",
    )
    max_documents: int | None = Field(
        None, ge=1, description="Keep a random sample of so many documents. Empty: all."
    )

    annotate_with: SpacyPipeline | None = Field(
        None,
        description="Parse the documents with spaCy, for linguistic features of tokens (package "
        "spacy needed); in place of annotations that the files themselves have. Empty: do not.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Part:
        origins = [key for key in ("source", "path", "hub") if getattr(self, key, None)]
        if len(origins) != 1:
            raise ValueError(f"a part needs exactly one of source, path (or hub); it has {origins}")
        return self


FileFormat = Literal["plain", "latex", "latex_source", "man", "brown", "brown_tagged", "email"]


class FilesPart(Part):
    """Text or source files, one document a file."""

    reader: Literal["files"] = Field(description="One document a file.")
    format: FileFormat = Field(
        "plain",
        description="How text is made of a file. plain: as it is. latex: body without comments and "
        "Sweave's code chunks. latex_source: the whole file without Sweave's code chunks. man: "
        "manual pages in roff. brown: word/tag pairs. brown_tagged: the same, and the tags are "
        "kept as parts of speech. email: the body of a message.",
    )
    max_line: int | None = Field(
        None,
        ge=80,
        description="Skip files with a longer line, in characters: they are minified or generated.",
    )


class JsonPart(Part):
    """Texts inside JSON files."""

    reader: Literal["json"] = Field(description="Texts inside JSON files.")
    records: Literal["file", "items", "lines"] = Field(
        "file",
        description="What one document is. file: each file. items: each element of the list or "
        "object that a file holds. lines: each line.",
    )
    text: str | None = Field(
        None,
        description="Keys that lead to the text, joined by dots. Empty: all strings of the record, "
        "as an outline of keys and values.",
    )
    group_key: str | None = Field(
        None, description="Keys that lead to the group, joined by dots. Empty: see `group`."
    )
    format: Literal["plain", "email"] = Field(
        "plain", description="plain: as it is. email: the body of a message, grouped by subject."
    )


class MarkupPart(Part):
    """Pages in HTML or XML, such as help pages in several languages."""

    reader: Literal["markup"] = Field(description="Paragraphs of HTML or XML pages.")
    parser: Literal["html", "xml"] = Field(
        "html", description="Syntax of the pages. Namespaces of XML are dropped from the tags."
    )
    root: str = Field("//body", description="XPath of the element that holds the text.")
    paragraphs: str = Field(
        ".//h1|.//h2|.//h3|.//p|.//li[not(.//p)]|.//td[not(.//p)]",
        description="XPath, from the root, of the elements that are paragraphs.",
    )
    skip: str | None = Field(
        None, description="XPath, from the root, of elements to remove before reading."
    )
    one_document: Literal["page", "root"] = Field(
        "page",
        description="What one document is. page: a page. root: each element that `root` finds, "
        "such as an article; equally numbered ones of parallel pages are one group.",
    )
    drop_identical_to: str | None = Field(
        None,
        description="A language of the same subset: paragraphs that also occur in it are left out, "
        "because they are not translated.",
    )


class ConlluPart(Part):
    """A treebank in CoNLL-U, whose documents come with their words' grammar."""

    reader: Literal["conllu"] = Field(
        description="Documents of a treebank in CoNLL-U (# newdoc), such as UD English EWT, with "
        "parts of speech, dependencies and morphology; each is a group."
    )


class PilePart(Part):
    """Records in the format of the Pile: JSON lines with `text` and `meta.pile_set_name`."""

    reader: Literal["pile"] = Field(description="Pile-format JSON lines (.jsonl, .gz, .zst).")
    subset: Name | None = Field(  # type: ignore[assignment]
        None, description="Name of the part. Empty: each record's meta.pile_set_name."
    )
    path: str | None = Field(
        None,
        description="Local file, folder or glob of .jsonl, .jsonl.gz or .jsonl.zst, or an https "
        "address of one, which is downloaded as a whole.",
    )
    sha256: Sha256 | None = Field(
        None,
        description="Hash of the file that the address gives, which is checked before it is read. "
        "An https address needs it.",
    )
    hub: str | None = Field(None, description="A dataset of the Hugging Face hub, streamed.")
    hub_config: str | None = Field(None, description="Configuration of the hub dataset.")
    hub_split: str = Field("test", description="Split of the hub dataset.")
    hub_revision: str | None = Field(
        None,
        description="Revision of the hub dataset; only a commit pins it, else the log warns.",
    )
    pile_subsets: list[str] = Field(
        [], description="Keep only records of these pile_set_name. Empty: all."
    )
    sample: bool = Field(
        True,
        description="Whether max_documents, which here counts for each subset and language, draws "
        "at random (and reads everything) or takes the first ones.",
    )
    max_records: int | None = Field(
        None, ge=1, description="Read at most so many records. Empty: all."
    )

    @model_validator(mode="after")
    def _groups_are_records(self) -> PilePart:
        if self.group is not None:
            raise ValueError("group: each record of the Pile is a group of its own; leave it out")
        if self.path is not None and "://" in self.path:
            if wrong := problem_of(self.path, ("https",)):
                raise ValueError(f"path: {wrong}")
            if self.sha256 is None:
                raise ValueError("sha256: it is needed for what an https address gives")
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the path is an address."""
        return self.path is not None and self.path.startswith("https://")


AnyPart = Annotated[
    FilesPart | JsonPart | MarkupPart | ConlluPart | PilePart, Field(discriminator="reader")
]


class CorpusConfig(Section):
    """A corpus: parts that are read into one table of documents."""

    parts: list[AnyPart] = Field(min_length=1, description="What the corpus is made of.")
    seed: int = Field(0, ge=0, description="Seed of the random samples (max_documents).")

    @model_validator(mode="after")
    def _known_siblings(self) -> CorpusConfig:
        for part in self.parts:
            if not isinstance(part, MarkupPart) or part.drop_identical_to is None:
                continue
            if sibling(self, part) is None:
                raise ValueError(
                    f"part {part.subset} ({part.language}): drop_identical_to names "
                    f"{part.drop_identical_to!r}, but no markup part of this subset has that "
                    "language"
                )
        return self

    def source_names(self) -> list[str]:
        """The sources that the corpus reads, sorted."""
        named = {part.source for part in self.parts} | {part.only_without for part in self.parts}
        named |= {part.annotate_with.source for part in self.parts if part.annotate_with}
        return sorted(name for name in named if name)


def sibling(corpus: CorpusConfig, part: MarkupPart) -> MarkupPart | None:
    """The part of the same subset in the language that `drop_identical_to` names."""
    for other in corpus.parts:
        if (
            isinstance(other, MarkupPart)
            and other is not part
            and other.subset == part.subset
            and other.language == part.drop_identical_to
        ):
            return other
    return None
