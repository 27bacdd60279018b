"""The bench of whole encodes in C++: nothing that strays is timed, what cannot run is named, what it writes is a report's."""

import json

import numpy as np
import pytest

from harken.bench.csrc import encode, footprint
from harken.bench.report.collect import read_result
from harken.bench.report.tables import markdown
from harken.errors import BackendError

RIGHT = np.eye(3, dtype=np.float32)


def ways_and_calls(**vectors):
    """Ways that give these vectors, whatever they are asked."""
    give = lambda made: lambda *_: made() if callable(made) else made
    ways = encode.Ways({name: encode.Way(give(made), give(made)) for name, made in vectors.items()})
    return ways, {name: way.encode_texts for name, way in ways.found.items()}


def raises():
    raise RuntimeError("no such operator\nat line 3")


def test_a_rival_that_strays_or_fails_is_told_and_not_timed():
    turned, near = RIGHT[::-1], RIGHT + np.float32(2e-4)
    ways, calls = ways_and_calls(
        torch=RIGHT, **{encode.OWN: RIGHT + np.float32(1e-6)}, onnxruntime=turned, openvino=near, broken=raises
    )
    rows = encode.measure("a sound", calls, ways, repeats=2)
    assert [row["way"] for row in rows] == ["torch", encode.OWN]
    assert set(ways.found) == {"torch", encode.OWN}
    assert ways.failed == {
        "onnxruntime": "a sound: cosine 0.000000 to torch",
        "openvino": "a sound: off by 2.0e-04 from torch",
        "broken": "a sound: RuntimeError: no such operator",
    }


@pytest.mark.parametrize("made", [RIGHT[::-1], raises])
def test_nothing_is_timed_where_libharken_strays(made):
    ways, calls = ways_and_calls(torch=RIGHT, **{encode.OWN: made})
    with pytest.raises(SystemExit, match="FAILED: libharken float32, a sound"):
        encode.measure("a sound", calls, ways, repeats=1)


def test_rounded_weights_have_a_gate_of_their_own():
    ways, calls = ways_and_calls(torch=RIGHT, **{encode.OWN: RIGHT, "libharken int8": RIGHT + np.float32(0.02)})
    ways.found["libharken int8"].dtype = "int8"
    assert len(encode.measure("a sound", calls, ways, repeats=1)) == 3


def test_resident_memory_is_read_in_bytes():
    assert footprint.read_status("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nRssAnon:\t 3 kB\n") == {
        "resident_bytes": 2048 * 1024,
        "private_bytes": 3 * 1024,
    }


def test_a_program_that_fails_is_told_in_its_own_words(tmp_path):
    with pytest.raises(BackendError, match="sh failed with status 3: oh"):
        footprint.run("sh", "-c", "echo oh >&2; exit 3")


def test_what_a_program_takes_is_in_the_report(tmp_path):
    rows = [{"what": "C, libharken float32", "resident_bytes": 1_000_000, "library_bytes": 2_000_000}]
    footprint.save(tmp_path / "f.json", "csrc", "memory", {"absent": {}}, rows)
    assert json.loads((tmp_path / "f.json").read_text())["rows"] == rows
    assert "C, libharken float32" in markdown([read_result(tmp_path / "f.json")])
