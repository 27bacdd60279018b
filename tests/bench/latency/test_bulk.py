"""Every rival gives the vectors of the files in their order, whatever order it works in, and one that does not is told."""

import numpy as np
import pytest
import soundfile
import torch

from harken.bench.latency.bulk import cpu_seconds, eval_loader, hf_loop, measure, st_style


class Path:
    """A stand-in for transformers: a clip's vector is its length and its loudness, of unit length."""

    def __init__(self):
        self.batches = []

    def inputs(self, clips, own_length):
        return {"x": torch.tensor([[len(clip), 1e4 * np.abs(clip).mean()] for clip in clips], dtype=torch.float32)}

    def forward(self, inputs, *, head):
        self.batches.append((len(inputs["x"]), head))
        return (inputs["x"] / inputs["x"].norm(dim=1, keepdim=True)).numpy()

    def encode(self, clips, *, head):
        return self.forward(self.inputs(clips, False), head=head)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for i, length in enumerate((800, 3200, 1600, 4800, 2400)):
        soundfile.write(tmp_path / "in" / f"{i}.flac", np.full(length, 0.01 * (i + 1)), 16000)
    return tmp_path / "in"


def test_all_rivals_agree_in_the_files_order(folder, tmp_path):
    path = Path()
    expected = hf_loop(path)(folder, tmp_path / "a")
    assert path.batches == [(1, True)] * 5
    for name, way in {
        "st": st_style(path, 2),
        "loader": eval_loader(path, 2, 0),
        "workers": eval_loader(path, 2, 1),
    }.items():
        path.batches.clear()
        assert np.array_equal(way(folder, tmp_path / name), expected), name
        assert path.batches == [(2, name != "st"), (2, name != "st"), (1, name != "st")]
        assert np.array_equal(torch.load(tmp_path / name / "vectors.pth").numpy(), expected)


def test_a_rival_that_disagrees_stops_the_benchmark(folder):
    right, wrong = Path(), Path()
    wrong.forward = lambda inputs, head: Path.forward(wrong, inputs, head=head)[::-1]
    figures = measure({"harken bulk": hf_loop(right), "st": st_style(right, 3)}, folder, 2)
    assert set(figures) == {"harken bulk", "st"} and all(f["wall_s"] > 0 and f["cpu_s"] >= 0 for f in figures.values())
    with pytest.raises(SystemExit, match="FAILED: st disagrees with harken"):
        measure({"harken bulk": hf_loop(right), "st": st_style(wrong, 5)}, folder, 1)
    assert cpu_seconds() > 0
