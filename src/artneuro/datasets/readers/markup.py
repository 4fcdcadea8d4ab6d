"""Paragraphs of HTML and XML pages, such as help pages in several languages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from lxml import etree, html

from artneuro.core.errors import ConfigError
from artneuro.datasets.corpus_config import MarkupPart
from artneuro.datasets.readers.base import RawDocument, group_of, part_files

log = logging.getLogger(__name__)


def read_markup(
    part: MarkupPart, folder: Path | None, untranslated: Set[str] = frozenset()
) -> Iterator[RawDocument]:
    """Read a part of HTML or XML pages, one line a paragraph.

    Parameters
    ----------
    part : MarkupPart
        The part.
    folder : Path or None
        The fetched folder of its source, where it has one.
    untranslated : set of str
        Paragraphs to leave out: those of the same pages in another language.
    """
    dropped = total = 0
    for file in part_files(part, folder):
        group = group_of(part, file.name)
        for number, paragraphs in enumerate(page_sections(part, file.path), start=1):
            kept = [text for text in paragraphs if text not in untranslated]
            total += len(paragraphs)
            dropped += len(paragraphs) - len(kept)
            mark = f"#{number}" if part.one_document == "root" else ""
            yield RawDocument(file.name + mark, group + mark, "\n".join(kept))
    if untranslated:
        log.info(
            "%s (%s): %d of %d paragraphs are identical to those in %s and left out",
            part.subset, part.language, dropped, total, part.drop_identical_to,
        )  # fmt: skip


def all_paragraphs(part: MarkupPart, folder: Path | None) -> frozenset[str]:
    """Every paragraph of a part's pages."""
    return frozenset(
        text
        for file in part_files(part, folder)
        for paragraphs in page_sections(part, file.path)
        for text in paragraphs
    )


def page_sections(part: MarkupPart, path: Path) -> list[list[str]]:
    """The paragraphs of each document of a page in their order, white space collapsed.

    A page is one document, or as many as it has root elements (`one_document`). A page without the
    root element gives no paragraphs. Syntax errors are passed over, as browsers do.

    Raises
    ------
    ConfigError
        If an XPath of the part is not valid.
    """
    data = path.read_bytes()
    if not data.strip():
        return []
    if part.parser == "html":
        tree = html.document_fromstring(data, parser=html.HTMLParser(encoding="utf-8"))
    else:
        # Entities and the network stay closed: pages come from outside.
        tree = etree.fromstring(
            data, parser=etree.XMLParser(recover=True, resolve_entities=False, no_network=True)
        )
        if tree is None:
            return []
        for element in tree.iter(etree.Element):
            element.tag = etree.QName(element).localname
    try:
        sections = []
        for root in tree.xpath(part.root):
            found = []
            for element in root.xpath(part.skip) if part.skip else ():
                _drop(element)
            for element in root.xpath(part.paragraphs):
                text = " ".join(str(element.xpath("string()")).split())
                if text:
                    found.append(text)
            sections.append(found)
    except etree.XPathError as error:
        raise ConfigError(
            f"part {part.subset} ({part.language}): not an XPath ({error})",
            where=f"root: {part.root}; skip: {part.skip}; paragraphs: {part.paragraphs}",
            fix="correct the expression",
        ) from error
    if part.one_document == "page":
        return [[text for found in sections for text in found]]
    return sections


def _drop(element: Any) -> None:
    """Remove an element, keeping the text that follows it."""
    parent, before = element.getparent(), element.getprevious()
    if parent is None:
        return
    if element.tail:
        if before is not None:
            before.tail = (before.tail or "") + element.tail
        else:
            parent.text = (parent.text or "") + element.tail
    parent.remove(element)
