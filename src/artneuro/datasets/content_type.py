"""Programming languages of unlabelled source files, by Google's content-type model Magika.

The model gives a score to each of some 200 content types; only files whose best type scores enough
are kept (A.2.2 asks for 0.9).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from artneuro.core.errors import SourceError
from artneuro.datasets.readers.base import RawDocument

log = logging.getLogger(__name__)

# Says in a corpus part that languages are to be detected.
DETECT = "detect"

# What gives the content type of a text and its score.
Classifier = Callable[[str], tuple[str, float]]

# The model's names of the languages of table A.3 and of further ones, and how they are written.
LANGUAGES = {
    "python": "Python", "xml": "XML", "java": "Java", "cpp": "C++", "html": "HTML", "c": "C",
    "go": "Go", "php": "PHP", "javascript": "JavaScript",
    "typescript": "TypeScript", "tsx": "TypeScript", "jsx": "JavaScript", "rust": "Rust",
    "ruby": "Ruby", "perl": "Perl", "cs": "C#", "objectivec": "Objective-C", "swift": "Swift",
    "kotlin": "Kotlin", "scala": "Scala", "haskell": "Haskell", "lua": "Lua", "r": "R",
    "shell": "Shell", "powershell": "PowerShell", "sql": "SQL", "css": "CSS", "scss": "SCSS",
    "json": "JSON", "yaml": "YAML", "toml": "TOML", "markdown": "Markdown", "rst": "RST",
    "latex": "LaTeX", "matlab": "MATLAB", "julia": "Julia", "dart": "Dart", "clojure": "Clojure",
    "erlang": "Erlang", "elixir": "Elixir", "ocaml": "OCaml", "lisp": "Lisp", "fortran": "Fortran",
    "asm": "Assembly", "groovy": "Groovy", "vba": "VBA", "verilog": "Verilog", "vhdl": "VHDL",
    "cmake": "CMake", "makefile": "Makefile", "dockerfile": "Dockerfile",
}  # fmt: skip


def magika_classifier() -> Classifier:
    """Make a classifier from the content-type model.

    Raises
    ------
    SourceError
        If the package magika is not installed.
    """
    try:
        from magika import Magika, PredictionMode
    except ImportError as error:
        raise SourceError(
            "detecting the languages of files needs the package magika, which is not installed",
            where="language: detect",
            fix="pip install 'artneuro[content-type]', or give the part's language",
        ) from error
    # Its own thresholds differ by type; ours is the part's.
    model = Magika(prediction_mode=PredictionMode.BEST_GUESS)

    def classify(text: str) -> tuple[str, float]:
        result = model.identify_bytes(text.encode("utf-8", "surrogatepass"))
        return str(result.dl.label), float(result.score)

    return classify


def with_detected_language(
    documents: Iterable[RawDocument], min_confidence: float, classify: Classifier | None = None
) -> Iterator[RawDocument]:
    """Give documents without a language the one that is detected; leave out doubtful ones.

    Also left out are content types that are no language of source files, such as plain text.

    Parameters
    ----------
    documents : iterable of RawDocument
        Documents.
    min_confidence : float
        Least score of the best content type.
    classify : callable, optional
        What gives the content type of a text and its score. None: `magika_classifier()`.
    """
    classify = classify or magika_classifier()
    kept: Counter[str] = Counter()
    others: Counter[str] = Counter()
    doubtful = 0
    for document in documents:
        if document.language is not None:
            yield document
            continue
        label, score = classify(document.text)
        if score < min_confidence:
            doubtful += 1
        elif label not in LANGUAGES:
            others[label] += 1
        else:
            kept[LANGUAGES[label]] += 1
            yield replace(document, language=LANGUAGES[label])
    log.info(
        "languages detected: %s; left out: %d below a confidence of %g, %d of other types: %s",
        ", ".join(f"{name} {count}" for name, count in sorted(kept.items())) or "none",
        doubtful,
        min_confidence,
        others.total(),
        ", ".join(f"{name} {count}" for name, count in others.most_common(5)) or "none",
    )
