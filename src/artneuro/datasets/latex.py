"""Features of LaTeX source: which tokens are in formulas, fractions, titles, references (A.2.2).

A token is within a construct if all of its characters are, white space aside, and outside if none
is. A token that holds a delimiter together with content is neither, and no example of the feature.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.config import DatasetConfig, Latex, LatexFeature
from artneuro.datasets.crops import CHARACTERS_PER_TOKEN
from artneuro.datasets.latex_parser import Parsed, parse_latex
from artneuro.datasets.seeding import generator_of, hash_of
from artneuro.datasets.windows import Target, Window, WindowSource, in_random_order

if TYPE_CHECKING:
    from artneuro.datasets.tokenizer import TextTokenizer
    from artneuro.datasets.tokens import TokenDataset

log = logging.getLogger(__name__)

NAMES: tuple[LatexFeature, ...] = get_args(LatexFeature)
# What a feature's mirrored negatives are part of.
MIRROR = {
    "is_numerator": "is_denominator",
    "is_denominator": "is_numerator",
    "is_superscript": "is_subscript",
    "is_subscript": "is_superscript",
}


def drop_unbalanced(documents: pl.DataFrame) -> pl.DataFrame:
    """Leave out documents in which a formula does not end, such as those with an odd dollar.

    Parameters
    ----------
    documents : polars.DataFrame
        The `documents` table.
    """
    balanced = [parse_latex(text).balanced for text in documents["text"]]
    kept = documents.filter(pl.Series(balanced, dtype=pl.Boolean))
    if len(kept) < len(documents):
        log.warning(
            "left out %d of %d documents with a formula that does not end",
            len(documents) - len(kept),
            len(documents),
        )
    return kept


def choose_latex_windows(
    config: DatasetConfig, names: Sequence[str], texts: Mapping[str, str], source: WindowSource
) -> list[Window]:
    """Take windows around constructs, equally many for each feature, rare features first.

    A random character of the construct lies about in the middle of the window.

    Parameters
    ----------
    config : DatasetConfig
        Its `collection` is of LaTeX.
    names : sequence of str
        The documents that windows may be from.
    texts : mapping of str to str
        The documents.
    source : WindowSource
        Where windows are taken from.
    """
    collection = config.collection
    assert isinstance(collection, Latex)
    features = collection.features or NAMES
    places: dict[str, list[Target]] = {feature: [] for feature in features}
    for name in names:
        spans = parse_latex(texts[name]).spans
        for feature in features:
            for start, stop in spans.get(feature, ()):
                middle = start + hash_of(config.seed, feature, name, start) % (stop - start)
                content = texts[name][start:stop][:80]
                places[feature].append(Target(name, middle, middle + 1, content, feature))
    windows: list[Window] = []
    in_order = sorted(features, key=lambda feature: len({t.document for t in places[feature]}))
    for done, feature in enumerate(in_order):
        wanted = (collection.max_sequences - len(windows)) // (len(in_order) - done)
        targets = in_random_order(places[feature], config.seed)
        found = source.take((_around(t, source) for t in targets), wanted, exactly=False)
        if len(found) < wanted:
            log.warning("%d windows around %s, %d wanted", len(found), feature, wanted)
        windows += found
    return windows


def _around(target: Target, source: WindowSource) -> Target:
    """Move the end of a target on so that a window has about as much after it as before."""
    stop = source.after(target.document, target.start, source.n_content // 2)
    if target.start < source.n_content * CHARACTERS_PER_TOKEN:
        # Near the document's start there may be too little before it to fill a window.
        stop = max(stop, source.after(target.document, 0, source.n_content))
    return replace(target, stop=stop)


def around_crop(text: str, start: int, stop: int) -> tuple[str, str]:
    """Return what of a document decides on the constructs of a crop: all that is before it, and the
    rest of the paragraph that it ends in.
    """
    end = text.find("\n\n", stop)
    return text[:start], text[stop : len(text) if end < 0 else end]


def token_states(
    parsed: Parsed, feature: str, text: str, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Whether tokens are within constructs of a feature.

    Parameters
    ----------
    parsed : Parsed
        From `parse_latex(text)`.
    feature : str
        The feature.
    text : str
        The text.
    starts, ends : (n,) array of int
        Characters [start, end) of each token in the text.

    Returns
    -------
    (n,) array of int8
        1 within, 0 outside, -1 for tokens that are partly within.
    """
    inside = np.zeros(len(text), dtype=bool)
    for start, stop in parsed.spans.get(feature, ()):
        inside[start:stop] = True
    for start, stop in parsed.apart:
        inside[start:stop] = False
    solid = np.fromiter((not c.isspace() for c in text), dtype=bool, count=len(text))
    n_solid, n_solid_inside, n_inside = (
        np.concatenate([[0], np.cumsum(mask)])[ends]
        - np.concatenate([[0], np.cumsum(mask)])[starts]
        for mask in (solid, solid & inside, inside)
    )
    # White space at the edge of a token does not count, unless there is nothing else.
    blank = n_solid == 0
    some = np.where(blank, n_inside, n_solid_inside)
    whole = np.where(blank, ends - starts, n_solid)
    return np.where(some == 0, 0, np.where(some == whole, 1, -1)).astype(np.int8)


def sample_mirrored(
    positive: np.ndarray,
    negative: np.ndarray,
    mirrored: np.ndarray,
    priority: np.ndarray,
    most: int,
    positive_share: float,
    mirrored_share: float,
) -> np.ndarray:
    """Sample examples of which a share is positive, and of the others a share mirrored.

    Parameters
    ----------
    positive, negative, mirrored : (n,) array of bool
        Which tokens are positives and negatives, and which negatives are preferred.
    priority : (n,) array of float
        Tokens of the lowest priority are taken.
    most : int
        Examples at most; fewer where there are too few positives or negatives for the share.
    positive_share, mirrored_share : float
        Share of positives among the examples, and of mirrored ones among the negatives. Where there
        are too few mirrored ones, others take their place, and the other way round.

    Returns
    -------
    (m,) array of int
        Indices of the examples, sorted; none if one kind is absent.
    """
    yes = np.flatnonzero(positive)
    preferred, others = np.flatnonzero(negative & mirrored), np.flatnonzero(negative & ~mirrored)
    n_negative = len(preferred) + len(others)
    n = min(float(most), len(yes) / positive_share, n_negative / (1 - positive_share))
    n_yes = min(int(n * positive_share + 0.5), len(yes))
    n_no = min(int(n * (1 - positive_share) + 0.5), n_negative)
    if not n_yes or not n_no:
        return np.empty(0, dtype=np.int64)
    n_preferred = min(len(preferred), max(int(n_no * mirrored_share + 0.5), n_no - len(others)))
    return np.sort(
        np.concatenate(
            [
                members[np.argsort(priority[members], kind="stable")[:count]]
                for members, count in (
                    (yes, n_yes),
                    (preferred, n_preferred),
                    (others, n_no - n_preferred),
                )
            ]
        )
    )


def label_latex(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Sample tokens within and outside of each kind of construct (A.2.2).

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `start`, `end`, `label`.

    Raises
    ------
    DataError
        If no feature has enough tokens.
    """
    settings = config.collection
    assert isinstance(settings, Latex)
    may = dataset.labelled(settings.skip_tokens) & ~np.isin(dataset.tokens, tokenizer.special)
    sequence, position = np.nonzero(may)
    states = _states(dataset, may)
    is_test = (dataset.sequences["split"] == "test").to_numpy()[sequence]
    priority = generator_of(config.seed, "latex").random(len(sequence))
    parts = []
    for name in settings.features or NAMES:
        state = states[name]
        mirrored = states[MIRROR[name]] == 1 if name in MIRROR else np.zeros(len(state), dtype=bool)
        examples = [
            sample_mirrored(
                (state == 1) & side,
                (state == 0) & side,
                mirrored,
                priority,
                int(settings.max_samples_per_feature * side.mean() + 0.5),
                settings.positive_share,
                settings.mirrored_share if name in MIRROR else 0.0,
            )
            for side in (~is_test, is_test)
        ]
        counts = [int((state[chosen] == 1).sum()) for chosen in examples]
        if min(counts) < settings.min_positives:
            log.warning("left out %s: %d tokens to train and %d to test on", name, *counts)
            continue
        chosen = np.sort(np.concatenate(examples))
        parts.append(
            pl.DataFrame(
                {
                    "feature": [name] * len(chosen),
                    "sequence": sequence[chosen].astype(np.int32),
                    "start": position[chosen].astype(np.int32),
                    "end": (position[chosen] + 1).astype(np.int32),
                    "label": state[chosen] == 1,
                }
            )
        )
    if not parts:
        raise DataError(
            f"no LaTeX feature has {settings.min_positives} tokens in both splits",
            fix="raise max_sequences or n_ctx, or lower min_positives",
        )
    return pl.concat(parts)


def _states(dataset: TokenDataset, may: np.ndarray) -> dict[str, np.ndarray]:
    """The states of all tokens that labels may cover, in the order of sequences, by feature."""
    states: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    columns = dataset.sequences.select("sequence", "before", "text", "after")
    for row, before, text, after in columns.iter_rows():
        whole = before + text + after
        parsed = parse_latex(whole)
        starts, ends = dataset.starts[row][may[row]], dataset.ends[row][may[row]]
        for name in NAMES:
            states[name].append(token_states(parsed, name, whole, starts, ends))
    return {name: np.concatenate(found) for name, found in states.items()}
