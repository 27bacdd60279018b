"""What a language model wrote becomes the files that the evaluation reads."""

import json

import pytest
from typer.testing import CliRunner

from harken.bench.quality.uiq import Clip, read_queries
from harken.engine.cli import application

from . import published_files
from .world import write_lines

KINDS = ("question", "imperative", "paraphrase", "tagging", "negative")


@pytest.fixture
def make(tmp_path):
    published_files.sounds(tmp_path)
    replies = [
        {"id": f"s{i}", "task": kind, "made_with": "x", "model": "m", "reply": {"query": f"{kind} {i}"}}
        for i in range(published_files.NUM)
        for kind in KINDS
    ]
    replies[0] = {**{k: v for k, v in replies[0].items() if k != "reply"}, "error": "no answer"}
    pairs = [{"audio": f"s{i}", "negatives": [f"s{i + 1}", "s0"]} for i in range(3)]

    def run(replies=replies, pairs=pairs):
        captions, paired = write_lines(tmp_path / "c.jsonl", replies), write_lines(tmp_path / "p.jsonl", pairs)
        options = ["--captions", captions, "--pairs", paired, "-o", tmp_path / "out", "--json"]
        result = CliRunner().invoke(application(), ["eval-queries", f"manifest={tmp_path}", *map(str, options)])
        return result, replies, pairs

    return run


def test_the_files_are_read_back_with_their_hard_negatives(make, tmp_path):
    result, *_ = make()
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert counts["question"] == 5 and counts["tagging"] == 6 and counts["negative"] == 3
    found = read_queries(tmp_path / "out", [Clip(f"s{i}", ()) for i in range(published_files.NUM)])
    assert [(q.text, q.target, q.negative) for q in found.by_kind["negative"]] == [
        (f"negative {i}", i, i + 1) for i in range(3)
    ]
    row = json.loads((tmp_path / "out/negative_queries.jsonl").read_text().splitlines()[0])
    assert (
        row["negative_captions"] == ["Sound 1.", "A 1."] and row["source_model"] == "m" and row["dataset"] == "manifest"
    )


def test_what_does_not_belong_together_is_named(make):
    _, replies, pairs = make()
    stranger = {"id": "zebra", "task": "question", "made_with": "x", "model": "m", "reply": {"query": "x"}}
    for changed, words in (
        (make([*replies, stranger], pairs), "'zebra', which is none of the 6 rows"),
        (make(replies, [{"audio": "s0", "negatives": ["zebra"]}]), "hard negative 'zebra' is none of the 6 rows"),
        (make(replies, [{"audio": "s0"}]), "p.jsonl:1: negatives: is missing"),
        (make([r for r in replies if r["task"] != "tagging"], pairs), "holds no tagging query"),
    ):
        assert changed[0].exit_code == 2 and words in " ".join(changed[0].output.split())
