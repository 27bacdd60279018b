"""What the command line makes of a run: filtered searches, paths to play, Lance, plots, audio tokens, costs."""

import json

import numpy as np
import pytest
import soundfile

from harken.engine.audio import load_audio
from harken.engine.bulk.tokens import AudioTokens
from harken.engine.index import Index
from harken.engine.rerank import load as rerank_load

from .sounds import fill, tone_file, write_parquet, write_tar
from .test_cli import run  # noqa: F401


@pytest.fixture
def index(run, tmp_path):  # noqa: F811
    """An index of files, a tar, a Parquet file and a part of a sound, with a column of labels."""
    fill(tmp_path / "in", 3)
    write_tar(tmp_path / "x.tar", 2)
    write_parquet(tmp_path / "x.parquet", 2)
    (tmp_path / "cut.csv").write_text("path,id,start_s,end_s\nin/a/00000.wav,cut,0.01,0.03\n")
    (tmp_path / "labels.csv").write_text(
        "id,label,year\na/00000.wav,dog,2001\nx.tar/00000.wav,cat,2002\ncut,dog,2003\n"
    )
    inputs = [tmp_path / name for name in ("in", "x.tar", "x.parquet", "cut.csv")]
    code, _, told = run(
        "bulk", *inputs, "-o", tmp_path / "out", "--index", tmp_path / "x.harken", "--metadata", tmp_path / "labels.csv"
    )
    assert code == 0 and "5 sounds are not in" in told
    return tmp_path / "x.harken"


def test_a_search_with_a_filter(run, index):  # noqa: F811
    code, said, _ = run("search", index, "a dog", "--filter", "label == 'dog' and duration_s < 10", "--json")
    hits = [json.loads(line) for line in said.splitlines()]
    assert code == 0 and {hit["id"] for hit in hits} == {"a/00000.wav", "cut"}
    assert all(hit["label"] == "dog" and hit["year"] in (2001, 2003) and "uri" in hit for hit in hits)
    code, said, told = run("search", index, "a dog", "--filter", "year > 3000")
    assert code == 0 and "no row satisfies 'year > 3000'" in told
    code, _, told = run("search", index, "a dog", "--filter", "lable == 'dog'")
    assert code == 2 and "there is no column 'lable'; the index has" in told and "Traceback" not in told
    code, said, _ = run("search", index, "a dog", "--columns", "label,year")
    assert code == 0 and "label" in said and "2001" in said
    assert "there are no columns ['lable']" in run("search", index, "a dog", "--columns", "lable")[2]
    assert "label string, year int64" in run("info", index)[1]


def test_every_hit_can_be_played(run, index, tmp_path):  # noqa: F811
    code, said, told = run("search", index, "a dog", "--play")
    paths = said.splitlines()
    assert code == 0 and len(paths) == len(Index.open(index)) == 8 and not told
    assert sum(path.startswith(str(tmp_path / "in")) for path in paths) == 3 and len(set(paths)) == 8
    by_name = {
        path.rsplit("/")[-1].rsplit(".", 2)[0]: load_audio(path)
        for path in paths
        if not path.startswith(str(tmp_path / "in"))
    }
    (tmp_path / "one.wav").write_bytes(tone_file(2))
    whole = load_audio(tmp_path / "one.wav")
    assert np.abs(by_name["x.tar_00001.wav"].samples - whole.samples).max() < 2**-14
    assert by_name["cut"].duration_s == pytest.approx(0.02, abs=1e-3)
    (tmp_path / "x.tar").unlink()
    code, said, told = run("search", index, "a dog", "--play")
    assert code == 1 and len(said.splitlines()) == 6 and "x.tar:00000.wav: cannot be read" in told


def test_lance_and_plot(run, tmp_path):  # noqa: F811
    lance = pytest.importorskip("lance", reason="pylance is not installed: pip install 'harken[lance]'")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'harken[plot]'")
    folder, out = fill(tmp_path / "in", 5), tmp_path / "out"
    code, _, _ = run("bulk", folder, "-o", out, "--lance", tmp_path / "x.lance", "--plot", tmp_path / "x.png")
    assert code == 0 and (tmp_path / "x.png").stat().st_size > 1000
    assert lance.dataset(str(tmp_path / "x.lance")).count_rows() == 5
    code, _, told = run("bulk", folder, "-o", out, "--lance", tmp_path / "x.lance")
    assert code == 2 and "x.lance: is there already" in told


def test_audio_tokens_and_costs(run, reranker, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(rerank_load, "load_reranker", lambda *_, **__: reranker)
    folder, out = fill(tmp_path / "in", 5), tmp_path / "tokens"
    assert run("bulk", folder, "-o", out, "--audio-tokens")[0] == 0
    assert len(AudioTokens(out)) == 5
    code, _, told = run("bulk", folder, "-o", out, "--audio-tokens", "--index", tmp_path / "x.harken")
    assert code == 2 and "makes no vectors" in told
    code, said, told = run("cost", out, "--clips", "1e6", "--clips", "1e8", "--gpus", 8, "--json")
    few, many = [json.loads(line) for line in said.splitlines()]
    assert (
        code == 0 and f"measured in {out}: 5 sounds" in told and "that is no GPU" in told and many["num_clips"] == 10**8
    )
    assert many["gpu_hours"] == pytest.approx(100 * few["gpu_hours"]) and few["store_bytes"] > 0
    code, said, told = run("cost", "--rate", 100)
    assert code == 0 and "given, not measured: clips_per_s" in told and "not known" in said and "2,777.8" in said
    for arguments in ((), ("--rate", 0), (folder,), ("--rate", 1, "--cores", 4)):
        code, _, told = run("cost", *arguments)
        assert code == 2 and told.count("\n") <= 2 and "Traceback" not in told


def test_an_unknown_engine_is_named(run, tmp_path):  # noqa: F811
    soundfile.write(tmp_path / "x.wav", np.zeros(1600), 16000)
    code, _, told = run("bulk", tmp_path / "x.wav", "-o", tmp_path / "out", "--engine", "spark")
    assert code == 2 and "--engine is 'spark'; wanted local or ray" in told
