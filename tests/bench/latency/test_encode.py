"""The benchmark of encoding, as a toy: transformers and harken agree before they are timed, and what it writes is whole."""

import json

import numpy as np
import pytest
import torch

from harken.bench.latency import encode
from harken.bench.latency.architectures import ARCHS, build

CPU = torch.device("cpu")


# As toys, the two sizes of Omni are one.
@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch != "omni-7b"])
def test_every_architecture_runs_and_agrees_with_transformers(arch):
    made = build(arch, device=CPU, dtype=torch.float32, tiny=True)
    model = made.embedder("float32")
    clips = encode.noise_clips(2, 0.7) + encode.noise_clips(1, 1.2)
    own_length = arch.startswith("omni")
    found = encode.ways(model, made.rival(model), 2, own_length=own_length)
    assert len(found) == (2 if arch == "midasheng" else 5 if own_length else 4)
    # The windows of 300 s are slow on a CPU: one clip goes through them.
    vectors = {name: way(clips[:1] if name == "hf published" else clips) for name, way in found.items()}
    for got in vectors.values():
        assert encode.smallest_cosine(got, vectors["harken"][: len(got)]) > 0.999999


def test_a_way_that_disagrees_is_not_timed():
    right = lambda clips: np.eye(2, dtype=np.float32)
    wrong = lambda clips: np.eye(2, dtype=np.float32)[::-1]
    with pytest.raises(SystemExit, match="FAILED: hf batched disagrees with harken"):
        encode.measure({"harken": right, "hf batched": wrong}, [], 1, min_cosine=0.99, device=CPU)


def test_clotho_lengths_lie_between_15_and_30_s():
    lengths = [len(clip) / 16000 for clip in encode.noise_clips(40, "clotho")]
    assert 15 <= min(lengths) < 17 and 28 < max(lengths) <= 30


def test_the_run_writes_every_way_with_its_cost(tmp_path, capsys):
    arguments = "--arch midasheng --tiny --lengths 0.5 --clips 2 --repeats 1 --device cpu --float8 --out".split()
    encode.main([*arguments, str(tmp_path / "r.json")])
    result = json.loads((tmp_path / "r.json").read_text())
    assert [row["way"] for row in result["rows"]] == ["harken", "harken one by one", "harken float8"]
    assert all(row["clips_per_s"] > 0 and 0 < row["mfu"] < 1.5 for row in result["rows"])
    assert 0.9 < result["settings"]["float8_cosines"]["text"] <= 1.000001
    assert result["settings"]["weight_bytes"] <= 1.05 * result["settings"]["floor_bytes"]
    assert "MFU" in capsys.readouterr().out
