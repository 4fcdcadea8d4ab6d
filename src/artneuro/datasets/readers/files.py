"""One document a file: text, source code, manual pages, LaTeX, the Brown corpus, emails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from artneuro.datasets.corpus_config import FilesPart
from artneuro.datasets.readers.base import RawDocument, group_of, part_files, read_text
from artneuro.datasets.readers.brown import read_tagged_brown
from artneuro.datasets.readers.formats import (
    brown_text,
    email_text,
    latex_source,
    latex_text,
    man_text,
    tidy,
)

log = logging.getLogger(__name__)

PLAIN: dict[str, Callable[[str], str]] = {
    "plain": tidy,
    "latex": latex_text,
    "latex_source": latex_source,
    "man": man_text,
    "brown": brown_text,
}


def read_files(part: FilesPart, folder: Path | None) -> Iterator[RawDocument]:
    """Read a part with one document a file, in the order of the files' names.

    Binary files, and with `max_line` minified or generated ones, are left out.

    Parameters
    ----------
    part : FilesPart
        The part.
    folder : Path or None
        The fetched folder of its source, where it has one.
    """
    skipped: Counter[str] = Counter()
    for file in part_files(part, folder):
        text = read_text(file.path)
        if text is None:
            skipped["binary"] += 1
        elif part.max_line is not None and max(map(len, text.split("\n"))) > part.max_line:
            skipped["with long lines"] += 1
        elif part.format == "email":
            body, subject = email_text(text)
            group = subject if subject and part.group is None else group_of(part, file.name)
            yield RawDocument(file.name, group, body)
        elif part.format == "brown_tagged":
            tagged = read_tagged_brown(text, file.name)
            yield RawDocument(file.name, group_of(part, file.name), tagged.text, words=tagged.words)
        else:
            yield RawDocument(file.name, group_of(part, file.name), PLAIN[part.format](text))
    for reason, count in skipped.items():
        log.info("%s (%s): %d files %s left out", part.subset, part.language, count, reason)
