"""The UIQ benchmark over its three sets: unweighted means, as OEA's tables 4 and 17 have them.

Source: spec/recipes.md F.1.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .corpus import Corpus
from .protocols import Evaluation
from .results import Measure, Section


def mean_of_sets(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Sections whose measures are means over the sets; intervals are not carried over."""
    sections = []
    for first in (s for s in evaluations[0].sections if s.key.startswith("uiq ")):
        same = [next(s for s in each.sections if s.key == first.key) for each in evaluations]
        measures = {
            name: Measure(float(np.mean([s.measures[name].value for s in same])), is_share=measure.is_share)
            for name, measure in first.measures.items()
        }
        title = f"{first.title}, mean of {len(same)} sets"
        sections.append(
            Section(first.key, title, measures, sum(s.num_queries for s in same), sum(s.num_candidates for s in same))
        )
    corpora = [each.corpus for each in evaluations]
    whole = Corpus(
        replace(corpora[0].benchmark, name="uiq", published_clips=""),
        [row for corpus in corpora for row in corpus.rows],
        corpora[0].annotation,
        ", ".join(corpus.annotation_sha256 for corpus in corpora),
        [line for corpus in corpora for line in corpus.missing],
    )
    return Evaluation(
        whole,
        sections,
        [line for each in evaluations for line in each.failed],
        sum(each.queries_without_clip for each in evaluations),
    )
