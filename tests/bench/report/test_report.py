"""The report says what the results' files say, and PERFORMANCE.md is what the files in bench/results give."""

import json
from pathlib import Path

import pytest

from harken.bench.latency.growth import exponents
from harken.bench.record import save
from harken.bench.report.collect import read_results
from harken.bench.report.roofline import share_of_limit
from harken.bench.report.tables import table
from harken.bench.report.write import render_markdown, render_page
from harken.errors import FileFormatError

ROOT = Path(__file__).resolve().parents[3]
KERNEL = {
    "device": "A chip",
    "threads": 2,
    "torch": "2.13.0",
    "copy_gb_s": 10.0,
    "product_tflop_s": 2.0,
    "op": "topk",
    "way": "harken",
    "rows": 1000,
    "k": 10,
    "dtype": "float32",
    "ms_p50": 4.0,
    "gb_s": 5.0,
    "tflop_s": 0.2,
    "ratio": 1.0,
}
SCENARIO = {"system": "harken", "boundary": "file", "workload": "10s", "scenario": "SingleStream"}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    row = SCENARIO | {"samples_per_s": 3.25, "p50_ms": 300.0, "p90_ms": 310.0, "p99_ms": 400.0}
    save(folder / "b_scenarios.json", "scenarios", "MLPerf's scenarios", {"device": "cpu"}, [row])
    points = [{"axis": "k", "size": n, "ms": n / 10, "exponent": 1.0, "last_exponent": 1.0} for n in (1, 10)]
    save(folder / "c_growth.json", "growth", "growth", {"device": "cpu"}, points)
    rival = KERNEL | {"way": "a | rival", "ms_p50": 8.0, "gb_s": 2.5, "tflop_s": 0.1, "ratio": 2.0}
    (folder / "2026-01-02_topk.jsonl").write_text("\n".join(map(json.dumps, (KERNEL, rival))))
    stats = {"median": 0.002, "iqr": 0.0001, "rounds": 5}
    info = {"machine": "x86_64", "python_version": "3.11", "cpu": {"brand_raw": "A chip"}}
    functions = {"machine_info": info, "datetime": "2026-01-02T10:00:00", "benchmarks": [{"name": "f", "stats": stats}]}
    (folder / "d_functions.json").write_text(json.dumps(functions))
    (folder / "notes.txt").write_text("not a result")
    return folder


def test_every_kind_of_result_is_read(results):
    found = {result.bench: result for result in read_results(results)}
    assert set(found) == {"scenarios", "growth", "kernels", "functions"}
    assert found["kernels"].date == "2026-01-02" and "A chip, 2 threads" in found["kernels"].machine
    assert found["functions"].rows == [{"function": "f", "median_ms": 2.0, "iqr_ms": pytest.approx(0.1), "rounds": 5}]


def test_tables_hold_the_figures(results):
    text = render_markdown(results)
    assert "| harken | file | 10s | SingleStream | 3.25 | 300 | 310 | 400 |" in text
    assert "| topk | harken | float32 rows=1000 k=10 | 4 | 2 | 50 | bandwidth | 1 |" in text
    assert "| topk | a / rival |" in text and "[2026-01-02_topk.jsonl](bench/results/2026-01-02_topk.jsonl)" in text


def test_the_page_stands_alone_and_has_every_table_and_picture(results, tmp_path):
    lines = [{"date": "2026-01-02", "machine": "m", "median_ms": {"f": 2.0}}] * 2
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, lines)))
    page = render_page(results, tmp_path / "history.jsonl")
    assert page.count("<svg") == 4 and page.count("<table>") == 4
    assert "src=" not in page and "@import" not in page and "<link" not in page


def test_the_share_is_that_of_the_nearer_limit():
    share = share_of_limit(KERNEL)
    assert share.limit == "bandwidth" and share.share == 0.5 and share.floor_ms == 2.0
    assert share_of_limit(KERNEL | {"tflop_s": 1.8}).limit == "products"
    assert share_of_limit({"ms_p50": 1.0}) is None


def test_exponents_of_known_laws():
    sizes = [1, 2, 4, 8]
    assert exponents(sizes, [3 * s**2 for s in sizes]) == pytest.approx((2, 2))
    over_all, last = exponents(sizes, [5, 5, 5, 10])
    assert 0 < over_all < 1 and last == pytest.approx(1)


def test_missing_values_and_long_numbers_are_shown_plainly():
    assert table([{"a": 1234.567, "b": None}, {"b": 0.00001234}]).splitlines()[2:] == ["| 1235 |  |", "|  | 1.2e-05 |"]


@pytest.mark.parametrize("text", ["", "{}", '{"bench": "x"}', "[1, 2]"])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(FileFormatError, match="wrong.json: is no result"):
        render_markdown(tmp_path)


def test_performance_md_is_what_the_results_give():
    wanted = ROOT / "PERFORMANCE.md"
    assert wanted.is_file(), "run: harken bench report"
    assert wanted.read_text() == render_markdown(ROOT / "bench" / "results"), "run: harken bench report"


def test_a_cosine_near_one_keeps_what_it_lacks():
    told = table([{"cosine": value} for value in (0.99974, 0.9939412, 0.9999987, 1.0, 0.99999987)])
    assert [line.strip("| ") for line in told.splitlines()[2:]] == ["0.99974", "0.9939", "0.9999987", "1", "1"]
