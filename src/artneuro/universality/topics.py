"""Topics of documents: singular vectors of their TF-IDF matrix, cut into yes or no."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from artneuro.universality.explanations_config import TopicsConfig

log = logging.getLogger(__name__)

# Words that a topic is called after.
_NAMED_AFTER = 4


@dataclass(frozen=True)
class Topics:
    """Which documents are of which topic.

    Attributes
    ----------
    names : tuple of str
        Number of the singular vector, its end, and the words that weigh most there.
    members : (n_documents, n_topics) bool
    """

    names: tuple[str, ...]
    members: np.ndarray


def find_topics(texts: Sequence[str], config: TopicsConfig, seed: int) -> Topics:
    """Find topics of documents.

    Of each singular vector, the documents with the highest scores, `share` of all, are one topic,
    and those with the lowest another: their signs are arbitrary, and both ends of a vector are
    about something. A document may be of several topics. Scores are of TF-IDF vectors of unit
    length, so that long documents do not score higher.

    Parameters
    ----------
    texts : sequence of str
        Whole documents.
    config : TopicsConfig
    seed : int
        Of the randomised decomposition.

    Returns
    -------
    Topics
        None where there are too few documents or words for any.

    Notes
    -----
    Thesis, section 3.4.3, semantic neurons; topics there were named by hand.
    """
    n_top = math.ceil(config.share * len(texts))
    nothing = Topics((), np.zeros((len(texts), 0), dtype=bool))
    if len(texts) < 4 or 2 * n_top >= len(texts):
        log.warning("no topics: there are %d documents", len(texts))
        return nothing
    vectorizer = TfidfVectorizer(
        stop_words="english",
        token_pattern=r"(?u)\b[^\W\d_]{3,}\b",
        min_df=2,
        max_df=0.5,
        sublinear_tf=True,
    )
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # no word is in two documents
        log.warning("no topics: the documents share no words")
        return nothing
    components = min(config.components, *(side - 1 for side in matrix.shape))
    if components < 1:
        return nothing
    svd = TruncatedSVD(components, random_state=seed)
    scores = svd.fit_transform(matrix)
    words = vectorizer.get_feature_names_out()
    names, members = [], []
    for number, (vector, score) in enumerate(zip(svd.components_, scores.T, strict=True)):
        for end, sign in (("high", 1), ("low", -1)):
            order = np.argsort(-sign * score, kind="stable")
            top = np.argsort(-sign * vector, kind="stable")[:_NAMED_AFTER]
            names.append(f"{number} {end}: {', '.join(words[top])}")
            member = np.zeros(len(texts), dtype=bool)
            member[order[:n_top]] = True
            members.append(member)
    return Topics(tuple(names), np.stack(members, axis=1))
