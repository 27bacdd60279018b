"""What every bench writes is read by the report, and its figures stand in the tables and on the page."""

import html
import sys
from functools import partial

import pytest
import torch

from harken.bench.kernels import glue, linear, logmel, pool, topk
from harken.bench.latency import ablation, bulk, encode, growth, rerank
from harken.bench.latency.command import functions
from harken.bench.report.collect import read_result
from harken.bench.report.tables import TITLES
from harken.bench.report.write import render_markdown, render_page

from ... import tiny

CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"))


def assert_read(out, bench, *words):
    """The file is a result of that kind, and the words stand in what is made of it."""
    result = read_result(out)
    assert result.bench == bench and bench in TITLES and result.rows and result.date and result.machine
    text, page = render_markdown(out.parent), render_page(out.parent)
    assert f"## {TITLES[bench]}" in text and html.escape(TITLES[bench]) in page
    for word in words:
        assert word in text and word in page, word


def test_encode(tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "peak_flops", lambda device, dtype: 1e12)
    size = ["--arch", "midasheng", "--tiny", "--lengths", "0.5", "--clips", "2", "--repeats", "1"]
    encode.main([*size, *CPU, "--out", str(tmp_path / "r.json")])
    assert_read(tmp_path / "r.json", "encode", "harken one by one", "MFU %", "peak MB")


def test_rerank(folder, tmp_path):
    size = ["--model", str(folder), "--candidates", "2", "--length", "0.5", "--repeats", "1"]
    rerank.main([*size, *CPU, "--out", str(tmp_path / "r.json")])
    assert_read(tmp_path / "r.json", "rerank", "harken, heard", "hf pairwise", "2 candidates")


def test_bulk(folder, tmp_path):
    size = ["--model", str(folder), "--recipe", "qwen2-audio", "--clips", "2", "--length", "0.5", "--repeats", "1"]
    bulk.main([*size, "--workers", "0", "--out", str(tmp_path / "r.json")])
    assert_read(tmp_path / "r.json", "bulk", "harken bulk", "eval loader", "cpu_s_a_clip")


def test_growth(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "by_k", partial(growth.by_k, 64))
    monkeypatch.setattr(growth, "by_disk_rows", partial(growth.by_disk_rows, max_rows=64))
    monkeypatch.setattr(growth, "make_task", lambda way, num, length_s: rerank.make_task(way, num, 0.2))
    axes = ["--axis", "candidates", "disk_rows", "k"]
    growth.main([*axes, "--model", str(folder), *CPU, "--out", str(tmp_path / "r.json")])
    result = read_result(tmp_path / "r.json")
    sizes = {axis: [row["size"] for row in result.rows if row["axis"] == axis] for axis in axes[1:]}
    assert sizes == {"candidates": [1, 2, 5, 10, 25, 50], "disk_rows": [4, 8, 16, 32, 64], "k": [1, 10, 100, 1000]}
    assert_read(tmp_path / "r.json", "growth", "exponent")


def test_ablation(folder, tmp_path):
    size = ["--model", str(folder), "--recipe", "qwen2-audio", "--lengths", "0.5s", "--clips", "1"]
    ablation.main([*size, *CPU, "--out", str(tmp_path / "r.json")])
    assert_read(tmp_path / "r.json", "ablation", "all on", "LoRA not merged")


def test_functions(tmp_path):
    functions(tmp_path / "r.json", tmp_path / "history", "pack")
    assert_read(tmp_path / "r.json", "functions", "test_pack")
    assert (tmp_path / "history").read_text().count("test_pack") == 1


@pytest.mark.parametrize(
    "bench, size",
    [
        (logmel, ["--clips", "1", "--seconds", "1"]),
        (pool, ["--sequences", "2", "--length", "8", "--width", "64"]),
        (topk, ["--rows", "200", "--width", "16", "--queries", "1", "--k", "5", "--dtypes", "float32"]),
        (glue, ["--rows", "4"]),
        (linear, ["--rows", "1"]),
    ],
    ids=lambda value: value.__name__.rpartition(".")[2] if hasattr(value, "__name__") else "",
)
def test_kernels(bench, size, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bench, "ceilings", lambda device: {"copy_gb_s": 10.0, "product_tflop_s": 0.1})
    monkeypatch.setattr(sys, "argv", ["bench", *size, "--rounds", "5", "--out", str(tmp_path / "r.jsonl")])
    bench.main()
    assert_read(tmp_path / "r.jsonl", "kernels", "% of limit")
