"""Tags that mean the same put into one group, so that two clips with like tags count as positives of each other.

    vectors of the tags, unit length  ->  k-means  ->  {tag: {"cluster_index": i}};   null: a tag seen too seldom

Source: AuroLA (1,200 clusters of tag embeddings; which encoder and which tags get none is not published: a parameter here).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ...engine.durable import written_aside
from ...errors import BackendError, FileFormatError, InputError, OutputError

NUM_CLUSTERS = 1200


class TextEncoder(Protocol):
    """Whatever makes vectors of sentences: an Embedder, or `training.sentences.SentenceEncoder`."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float32."""
        ...


def count_tags(tags: Iterable[Iterable[str]]) -> Counter[str]:
    """How often each tag is there, as it is spelled."""
    return Counter(tag.strip() for of_row in tags for tag in of_row if tag.strip())


def plain_tag(tag: str) -> str:
    """A tag in lower case, with single blanks."""
    return " ".join(tag.lower().split())


def cluster_tags(
    counts: Counter[str],
    encoder: TextEncoder,
    *,
    num_clusters: int = NUM_CLUSTERS,
    min_count: int = 1,
    seed: int = 0,
    batch_size: int = 4096,
) -> dict[str, int | None]:
    """Group tags by meaning.

    Args:
        counts: of `count_tags`; spellings that differ in case or blanks are one tag, frequent tags weigh no more than others.
        encoder: of texts.
        num_clusters: groups; no more than there are tags.
        min_count: seldomer tags get no group.
        seed, batch_size: of MiniBatchKMeans.

    Returns: the group from 0 of each tag as it is spelled, or None.

    Raises:
        InputError: fewer tags than groups.
        BackendError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError:
        raise BackendError("grouping tags wants scikit-learn; pip install 'harken[captions]'") from None
    plain: Counter[str] = Counter()
    for tag, count in counts.items():
        plain[plain_tag(tag)] += count
    tags = sorted(tag for tag, count in plain.items() if count >= min_count)
    if not 0 < num_clusters <= len(tags):
        raise InputError(
            f"{len(tags)} tags are seen at least {min_count} times; wanted at least {num_clusters}, one a group"
        )
    vectors = np.asarray(encoder.encode_text(tags), np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    means = MiniBatchKMeans(num_clusters, random_state=seed, batch_size=batch_size, n_init=3)
    groups = dict(zip(tags, means.fit_predict(vectors).tolist()))
    return {tag: groups.get(plain_tag(tag)) for tag in sorted(counts)}


def write_clusters(path: str | Path, groups: dict[str, int | None]) -> None:
    """Write {tag: {"cluster_index": i or null}}.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {tag: {"cluster_index": group} for tag, group in groups.items()}
    try:
        with written_aside(Path(path)) as aside:
            aside.write_text(json.dumps(content, indent=0, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_clusters(path: str | Path) -> dict[str, int | None]:
    """What `write_clusters`, or AuroLA's code, wrote.

    Raises:
        FileFormatError: the file is none of that form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        groups = {tag: entry["cluster_index"] for tag, entry in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path}: cannot be read as groups of tags: {error!r}") from None
    if bad := [tag for tag, group in groups.items() if group is not None and not isinstance(group, int)]:
        raise FileFormatError(f"{path}: {bad[0]!r} has the group {groups[bad[0]]!r}; wanted a number or null")
    return groups


def groups_of(tags: Iterable[str], groups: dict[str, int | None]) -> frozenset[int]:
    """The groups of a row's tags; tags without a group, or unknown, give none."""
    found = (groups.get(tag, groups.get(plain_tag(tag))) for tag in tags)
    return frozenset(group for group in found if group is not None)
