"""Retrieval by words alone, what vectors are held against: BM25 by the library bm25s, k1 1.5, b 0.75.

Source: Robertson and Zaragoza 2009, as Lucene computes it.
"""

import re
from collections.abc import Sequence

import numpy as np

from ..errors import InputError


def words(text: str) -> list[str]:
    """Lower-cased words and numbers of any script."""
    return re.findall(r"\w+", text.lower())


def bm25(queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
    """Scores [queries, documents] float32; stop words are kept.

    Raises:
        InputError: bm25s is not installed.
    """
    try:
        import bm25s
    except ImportError:
        raise InputError('the BM25 baseline needs bm25s: pip install "harken[quality]"') from None
    retriever = bm25s.BM25(k1=1.5, b=0.75)
    retriever.index([words(document) or [""] for document in documents], show_progress=False)
    known = retriever.vocab_dict
    scores = [
        retriever.get_scores(found) if (found := [w for w in words(q) if w in known]) else np.zeros(len(documents))
        for q in queries
    ]
    return np.asarray(scores, np.float32)
