"""Tags of one meaning get one group; files of groups are read back."""

import numpy as np
import pytest

from harken.errors import FileFormatError, InputError
from harken.training.captions.clusters import cluster_tags, count_tags, groups_of, read_clusters, write_clusters

MEANINGS = {"dog bark": 0, "barking": 0, "woof": 0, "rain": 1, "downpour": 1, "violin": 2, "fiddle": 2}


class Encoder:
    def encode_text(self, texts):
        noise = np.random.default_rng(0).normal(0, 0.02, (len(texts), 3))
        return (np.eye(3)[[MEANINGS[text] for text in texts]] + noise).astype(np.float32)


def test_tags_of_one_meaning_share_a_group(tmp_path):
    counts = count_tags(
        [["Dog  bark", "rain"], ["barking", "WOOF", "downpour", "dog bark", "woof"], ["violin", "fiddle", " "]]
    )
    groups = cluster_tags(counts, Encoder(), num_clusters=3)
    assert (
        groups["Dog  bark"] == groups["WOOF"] and groups["WOOF"] == groups["woof"] and set(groups.values()) == {0, 1, 2}
    )
    for tag, meaning in MEANINGS.items():
        assert all((groups[tag] == groups[other]) == (meaning == of_other) for other, of_other in MEANINGS.items())
    assert groups == cluster_tags(counts, Encoder(), num_clusters=3)
    write_clusters(tmp_path / "groups.json", groups)
    assert read_clusters(tmp_path / "groups.json") == groups
    assert groups_of(["Woof", " barking", "unknown"], groups) == {groups["dog bark"]}


def test_seldom_tags_get_no_group(tmp_path):
    counts = count_tags([["rain", "violin"], ["Rain", "dog bark"], ["dog bark"]])
    groups = cluster_tags(counts, Encoder(), num_clusters=2, min_count=2)
    assert groups["violin"] is None and groups_of(["violin"], groups) == frozenset()
    write_clusters(tmp_path / "groups.json", groups)
    assert read_clusters(tmp_path / "groups.json") == groups


def test_more_groups_than_tags_are_refused():
    with pytest.raises(InputError, match="2 tags are seen at least 1 times; wanted at least 1200"):
        cluster_tags(count_tags([["rain", "violin"]]), Encoder(), num_clusters=1200)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"cluster_index": "x"}}', '{"a": {}}'])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(FileFormatError, match="x.json"):
        read_clusters(tmp_path / "x.json")
