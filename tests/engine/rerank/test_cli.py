"""`harken rerank` and `harken tune-fusion`, from files to files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from harken.engine.cli import application
from harken.engine.rerank.fusion import FusionWeights

from ... import tiny, tolerances
from .conftest import TEXTS


@pytest.fixture
def rows(clips):
    """Every text with every clip, the first three right."""
    return [
        {
            "query": text,
            "id": str(clip),
            "score": round(0.9 - 0.1 * i - 0.05 * t, 3),
            "relevant": i == t,
            "note": "kept",
        }
        for t, text in enumerate(TEXTS[:3])
        for i, clip in enumerate(clips)
    ]


def run(*arguments, **settings):
    return CliRunner().invoke(application(), [str(argument) for argument in arguments], **settings)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("kind", ["parquet", "json", "jsonl"])
def test_hits_come_out_reranked(checkpoint, naive, clips, rows, tmp_path, kind):
    path = tmp_path / f"hits.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        write_lines(path, rows)
    done = run("rerank", checkpoint, "--hits", path, "--device", "cpu", "-k", 4)
    assert done.exit_code == 0, done.output
    got = read_lines(done.stdout)
    assert [row["query"] for row in got] == [text for text in TEXTS[:3] for _ in clips]
    for t, text in enumerate(TEXTS[:3]):
        mine = got[t * len(clips) : (t + 1) * len(clips)]
        assert [row["rank"] for row in mine] == [1, 2, 3, 4, 5] and all(row["note"] == "kept" for row in mine)
        assert mine[4]["id"] == str(clips[4]) and mine[4]["p_yes"] is None  # past the top 4
        want = {str(clip): naive.score("t2a", text, clip) for clip in clips[:4]}
        assert [row["id"] for row in mine[:4]] == sorted(want, key=lambda name: -want[name])
        assert all(abs(row["p_yes"] - want[row["id"]]) < tolerances.P_YES_FP32 for row in mine[:4])


def test_weights_fuse_both_scores(checkpoint, rows, tmp_path):
    FusionWeights(a2t=9.0, t2a=0.5, ret=2.0).save(tmp_path / "weights.json")
    hits = write_lines(tmp_path / "hits.jsonl", rows)
    done = run("rerank", checkpoint, "--hits", hits, "--weights", tmp_path / "weights.json", "-k", 2, "--device", "cpu")
    got = read_lines(done.stdout)
    assert all(np.isclose(row["fused"], 2 * row["score"] + 0.5 * (row["p_yes"] or 0)) for row in got)
    for query in TEXTS[:3]:
        fused = [row["fused"] for row in got if row["query"] == query]
        assert fused == sorted(fused, reverse=True)


def test_one_query_for_the_rows_of_a_search(checkpoint, naive, clips):
    searched = [{"rank": 1, "score": 0.5, "id": "rain"}, {"rank": 2, "score": 0.4, "id": "a dog barks"}]
    done = run("rerank", checkpoint, "--hits", "-", "--query", clips[0], input="\n".join(map(json.dumps, searched)))
    got = {row["id"]: row for row in read_lines(done.stdout)}
    assert all(row["direction"] == "a2t" for row in got.values())
    assert abs(got["rain"]["p_yes"] - naive.score("a2t", "rain", clips[0])) < tolerances.P_YES_FP32


def test_a_hit_that_fails_keeps_its_row(checkpoint, rows, tmp_path):
    rows[1]["id"] = "absent.wav"
    hits, out = write_lines(tmp_path / "hits.jsonl", rows), tmp_path / "out.jsonl"
    done = run("rerank", checkpoint, "--hits", hits, "--out", out, "--device", "cpu")
    assert done.exit_code == 1 and "1 hits could not be scored" in done.stderr
    got = read_lines(out.read_text())
    assert len(got) == len(rows)
    (failed,) = [row for row in got if row["error"]]
    assert failed["id"] == "absent.wav" and failed["rank"] == 5 and failed["p_yes"] is None
    done = run("rerank", checkpoint, "--hits", hits, "--out", out, "--allow-errors", "--device", "cpu")
    assert done.exit_code == 0


def test_stored_audio_tokens_stand_in_for_the_sounds(checkpoint, naive, clips, tmp_path):
    """Ids are those of the bulk run, which no file answers to; another model's tokens are refused."""
    folder, tokens = clips[0].parent, tmp_path / "tokens"
    made = run("bulk", folder, "-o", tokens, "--audio-tokens", "--model", checkpoint, "--device", "cpu")
    assert made.exit_code == 0, made.output
    rows = [{"query": "rain", "id": clip.name, "score": 0.5} for clip in clips]
    hits = write_lines(tmp_path / "hits.jsonl", rows)
    done = run("rerank", checkpoint, "--hits", hits, "--audio-tokens", tokens, "--device", "cpu", "--direction", "t2a")
    assert done.exit_code == 0, done.output
    got = {row["id"]: row["p_yes"] for row in read_lines(done.stdout)}
    want = {clip.name: naive.score("t2a", "rain", clip) for clip in clips}
    log_odds = lambda p: np.log(p) - np.log1p(-p)
    assert max(abs(log_odds(got[name]) - log_odds(want[name])) for name in want) < tolerances.LOG_ODDS["bfloat16"]
    other = tiny.qwen2_audio(tmp_path / "other", text="llama")
    refused = run("rerank", other, "--hits", hits, "--audio-tokens", tokens, "--device", "cpu", "--direction", "t2a")
    assert refused.exit_code == 2 and "made by another model" in refused.stderr


def test_tuning_learns_which_score_to_trust(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for t in range(30):
        for a in range(30):
            score = float(rng.random())
            row = {"score": score, "relevant": t == a, "p_yes": 0.8 if t == a else float(0.6 * rng.random())}
            rows.append({**row, "query": f"text {t}", "id": f"{a}.wav", "direction": "t2a"})
            rows.append(
                {**row, "query": f"{a}.wav", "id": f"text {t}", "direction": "a2t", "p_yes": float(rng.random())}
            )
    path = write_lines(tmp_path / "reranked.jsonl", rows)
    out = tmp_path / "weights.json"
    done = run("tune-fusion", path, "--split", "val", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    told, weights = json.loads(done.stdout), FusionWeights.load(out)
    assert weights.t2a == told["t2a"] > weights.a2t and told["recall@1"] > 0.9
    refused = run("tune-fusion", path, "--split", "clotho-test", "-o", out)
    assert refused.exit_code == 2 and "must not be fitted" in refused.stderr


@pytest.mark.parametrize(
    "change, said",
    [
        ({"id": None}, "row 0 has id None, wanted a string"),
        ({"score": "high"}, "row 0 has score 'high', wanted a number"),
        ({"score": float("nan")}, "wanted a real number"),
    ],
)
def test_rows_that_are_no_hits_are_refused(checkpoint, rows, tmp_path, change, said):
    rows[0] |= change
    done = run("rerank", checkpoint, "--hits", write_lines(tmp_path / "hits.jsonl", rows))
    assert done.exit_code == 2 and said in done.stderr


def test_rows_that_name_no_query_want_one(checkpoint, rows, tmp_path):
    hits = write_lines(tmp_path / "hits.jsonl", [{k: v for k, v in row.items() if k != "query"} for row in rows])
    done = run("rerank", checkpoint, "--hits", hits)
    assert done.exit_code == 2 and "row 0 names no query; wanted one in the row, or --query" in done.stderr
    done = run("rerank", checkpoint, "--hits", hits, "--query", "a dog barks")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == len(rows)


def test_files_that_are_no_hits_are_refused(checkpoint, rows, tmp_path):
    (tmp_path / "hits.jsonl").write_text("{")
    for path, said in (
        (tmp_path / "hits.jsonl", "cannot be read as hits"),
        (tmp_path / "none.parquet", "cannot be read"),
    ):
        done = run("rerank", checkpoint, "--hits", path)
        assert done.exit_code == 2 and said in done.stderr
    hits = write_lines(tmp_path / "hits.jsonl", rows)
    assert "wanted a2t or t2a" in run("rerank", checkpoint, "--hits", hits, "--direction", "both").stderr
    done = run("tune-fusion", hits, "--split", "val", "-o", tmp_path / "w.json")
    assert done.exit_code == 2 and "wanted rows that `harken rerank` wrote" in done.stderr
    twice = [{**rows[0], "direction": "t2a", "p_yes": 0.5}, {**rows[0], "direction": "t2a", "p_yes": 0.5, "score": 0.1}]
    done = run("tune-fusion", write_lines(tmp_path / "two.jsonl", twice), "--split", "val", "-o", tmp_path / "w.json")
    assert "disagrees with an earlier one" in done.stderr
