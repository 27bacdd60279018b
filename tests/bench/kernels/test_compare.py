"""The benches' clock and gate: ways take turns, and one that gives other answers is not timed."""

import json

import pytest
import torch

from harken.bench.kernels.compare import emit, in_turns
from harken.bench.kernels.glue import operations
from harken.bench.kernels.pool import gate as pool_gate
from harken.bench.kernels.pool import ways_of as pool_ways
from harken.bench.kernels.topk import gate, ways_of
from harken.kernels.pool import Norm, PoolHead

CPU = torch.device("cpu")


def test_ways_take_turns():
    calls = []
    timings = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, CPU, rounds=5, warmup=1)
    assert calls == ["a", "b"] * 6
    assert timings["a"].repeats == 5 and timings["a"].p20_ms <= timings["a"].p50_ms <= timings["a"].p80_ms


def test_rows_are_appended_as_json_lines(tmp_path):
    for value in (1, 2):
        emit({"op": "x", "ms": value}, tmp_path / "out")
    assert [json.loads(line)["ms"] for line in (tmp_path / "out").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8], ids=str)
def test_topk_rivals_find_the_same_rows_and_a_wrong_one_is_taken_out(dtype, capsys):
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(1500, 64, generator=generator), dim=1)
    corpus = (vectors * 127 / vectors.abs().max()).round().to(dtype) if dtype == torch.int8 else vectors.to(dtype)
    queries = torch.nn.functional.normalize(torch.randn(4, 64, generator=generator), dim=1)
    ways = ways_of(queries, corpus, 10)
    ways["wrong"] = lambda: torch.zeros(4, 10, dtype=torch.int64)
    recall = gate(ways, queries, corpus)
    assert recall["harken"] == 1.0 and "wrong" not in ways and "FAILED wrong" in capsys.readouterr().out


def test_pool_rivals_give_the_same_vectors():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    head = PoolHead(draw(32, 48), torch.ones(32), draw(32), normalize_input=True)
    hidden, norm = draw(21, 48), Norm(torch.ones(48), 1e-6)
    pool_gate(hidden, 7, norm, head)
    ways = pool_ways(hidden, 7, norm, head, compiled=False)
    torch.testing.assert_close(ways["harken"](), ways["torch eager"]())


def test_every_glue_operation_runs():
    for name, (call, elements) in operations(3, CPU, torch.bfloat16).items():
        assert elements > 0 and torch.isfinite(call("reference").float()).all(), name
