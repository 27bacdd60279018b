"""From a dataset's files to hard negatives, reviewed pairs, captions that fit and groups of tags, by the commands alone."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from harken.engine.cli import application
from harken.engine.recipes import Recipe

from .. import tiny
from .captions.fake import Endpoint, completion
from .data import miniatures

RECIPE = Recipe(
    name="tiny-mean",
    source="own",
    backbones=("qwen2_audio",),
    audio_template="<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>{instruction}<|im_end|>\n",
    text_template="<|im_start|>user\n{text}<|im_end|>\n",
    pooling="mean",
    max_audio_s=2.0,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "recipe.json").write_text(json.dumps(RECIPE.to_dict()))
    return ["--model", str(tiny.qwen2_audio(folder / "checkpoint")), "--recipe", str(folder / "recipe.json")]


@pytest.fixture
def spec(tmp_path) -> str:
    """Eight clips with a caption each, the last one's file damaged."""
    lines = []
    for i in range(8):
        video = f"abcdefghi_{i}"
        path = miniatures.write_sound(tmp_path / "audio" / f"{video}_0.wav", i)
        lines.append({"video_id": f"{video}_0", "caption": [f"{'dog cat rain car'.split()[i % 4]} number {i}"]})
    path.write_bytes(path.read_bytes()[:50])
    (tmp_path / "val.json").write_text(json.dumps(lines))
    return f"audiocaps={tmp_path / 'val.json'},{tmp_path / 'audio'}"


@pytest.fixture
def run():
    def call(*arguments) -> tuple[int, dict, str]:
        result = CliRunner().invoke(application(), [str(a) for a in (*arguments, "--json")])
        return result.exit_code, json.loads(result.stdout or "{}"), result.stderr

    return call


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_hard_negatives_are_the_same_from_a_vectors_file(run, tmp_path, spec, model):
    out = tmp_path / "hard.jsonl"
    code, facts, err = run("mine", "hard", spec, "-o", out, "-k", 3, *model)
    assert code == 0 and facts["rows"] == 7 and facts["texts a row"] == 3 and "abcdefghi_7_0" in err
    first = lines_of(out)
    assert all(one["id"] not in one["text_ids"] and one["id"] not in one["sounds"] for one in first)
    vectors = tmp_path / "v.parquet"
    assert run("embed", tmp_path / "audio", "-o", vectors, "--allow-errors", *model)[0] == 0
    again = tmp_path / "again.jsonl"
    code, _, err = run("mine", "hard", spec, "-o", again, "-k", 3, "--audio-vectors", vectors, *model)
    assert code == 0 and "has no vector" in err
    for one, other in zip(first, lines_of(again)):
        assert one["texts"] == other["texts"] and one["sounds"] == other["sounds"]
        np.testing.assert_allclose(one["text_scores"], other["text_scores"], atol=1e-5)


def test_pairs_go_through_a_persons_hands(run, tmp_path, spec, model):
    review, final = tmp_path / "review.csv", tmp_path / "pairs.jsonl"
    code, facts, _ = run("mine", "review", spec, "-o", review, "-k", 4, "--max-text", 2, *model)
    assert (
        code == 0 and 14 <= facts["to review"] <= facts["described otherwise"] <= facts["pairs that sound alike"] <= 28
    )
    assert run("mine", "pairs", review, "-o", final)[0] == 2
    lines = review.read_text().splitlines()
    lines[1] = re.sub(r",,,", ",yes,,", lines[1], count=1)
    review.write_text("\n".join(lines))
    code, facts, _ = run("mine", "pairs", review, "-o", final)
    assert code == 0 and (facts["with a decision"], facts["negatives"]) == (1, 2)
    one, other = lines[1].split(",")[:2]
    assert lines_of(final) == [{"audio": one, "negatives": [other]}, {"audio": other, "negatives": [one]}]
    # The pair's captions then stand in the queries that rule a sound out.
    queries = tmp_path / "queries.jsonl"
    with Endpoint(lambda body, turn: (200, {}, completion("this but not that"))) as endpoint:
        code, facts, _ = run(
            "captions", "write", "oea", spec, "-o", queries, "--endpoint", endpoint.url, "--name", "m", "--text-only",
            "--task", "negative", "--negatives", final,
        )  # fmt: skip
    assert code == 1 and (facts["written"], facts["failed"]) == (2, 6)
    assert any("Negative:" in body["messages"][-1]["content"] for body in endpoint.bodies)


def test_captions_are_written_gone_on_with_filtered_and_their_tags_grouped(run, tmp_path, spec, model):
    raw, kept, tags, groups = (tmp_path / f"{n}.jsonl" for n in ("raw", "kept", "tags", "groups"))

    def script(body, turn):
        if "JSON object" in body["messages"][-1]["content"][-1]["text"]:
            reply = {"long": "A long one", "short": "Short", "tags": [f"tag {turn}", "dog"]}
            return 200, {}, completion(json.dumps(reply))
        return 200, {}, completion(f"caption {turn} of a dog")

    with Endpoint(script) as endpoint:
        common = ["--endpoint", endpoint.url, "--name", "m"]
        code, facts, _ = run("captions", "write", "robust_atr", spec, "-o", raw, "--first", 2, *common)
        assert code == 0 and facts["written"] == 14
        code, facts, err = run("captions", "write", "robust_atr", spec, "-o", raw, *common)
        assert code == 1 and (facts["done before"], facts["written"], facts["failed"]) == (14, 35, 7)
        assert run("captions", "write", "aurola", spec, "-o", tags, *common)[1]["written"] == 7
    assert all("abcdefghi_7_0" in line["error"] for line in lines_of(raw) if "error" in line)
    code, facts, _ = run("captions", "filter", raw, spec, "-o", kept, "--keep", 3, *model)
    assert code == 0 and facts["written"] == 7
    assert all(len(line["reply"]["captions"]) == 3 and len(line["reply"]["scores"]) == 7 for line in lines_of(kept))
    code, facts, _ = run("captions", "groups", "--captions", tags, "-o", groups, "--groups", 2, *model)
    assert code == 0 and facts["tags"] == 8
    assert {entry["cluster_index"] for entry in json.loads(groups.read_text()).values()} == {0, 1}
    code, _, err = run("captions", "groups", "--captions", tags, "-o", groups, *model)
    assert code == 2 and "wanted at least 1200, one a group" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["captions", "write", "aurora", "x=y", "-o", "o"],
            "pipeline is 'aurora'; wanted one of aurola, oea, robust_atr",
        ),
        (["captions", "write", "oea", "x=y", "-o", "o", "--task", "shout"], "task is 'shout'"),
        (["captions", "write", "oea", "x=y", "-o", "o"], "wanted --endpoint URL with --name MODEL, or --local FOLDER"),
        (["captions", "write", "oea", "x=y", "-o", "o", "--endpoint", "u"], "--endpoint wants --name"),
        (["captions", "groups", "-o", "o"], "no tag is there"),
        (["mine", "hard", "x=y", "-o", "o"], "dataset is 'x'"),
        (["mine", "review", "x=y", "-o", "o", "--overshoot", "0"], "wanted at least 1"),
        (["mine", "pairs", "gone.csv", "-o", "o"], "there is no such file"),
    ],
)
def test_wrong_use_is_one_line_and_code_two(run, arguments, message):
    code, _, err = run(*arguments)
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_a_pipelines_tasks_can_be_changed_and_given_back(tmp_path, spec):
    printed = CliRunner().invoke(application(), ["captions", "tasks", "robust_atr"])
    tasks = json.loads(printed.stdout)
    assert printed.exit_code == 0 and len(tasks) == 7
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([{**tasks[0], "prompt": "Say it my way."}]))
    with Endpoint(lambda body, turn: (200, {}, completion("Rain"))) as endpoint:
        CliRunner().invoke(
            application(),
            ["captions", "write", "robust_atr", spec, "-o", str(tmp_path / "o.jsonl"), "--first", "1", "--endpoint",
             endpoint.url, "--name", "m", "--tasks", str(path)],
        )  # fmt: skip
    assert endpoint.bodies[0]["messages"][-1]["content"][-1]["text"] == "Say it my way."
