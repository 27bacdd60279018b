"""A bulk run on a tiny checkpoint gives the vectors of the Embedder, window by window where a sound is long."""

import numpy as np
import pyarrow.parquet as pq

import harken
from harken.engine.bulk import Settings, run_bulk
from harken.engine.recipes import Recipe

from ... import tiny, tolerances
from .sounds import break_twelve_ways, fill
from .test_runner import tree

RECIPE = Recipe(
    name="test",
    source="own",
    backbones=("qwen2_audio",),
    audio_template="<|audio_bos|>{audio}<|audio_eos|>{instruction}",
    text_template="{text}",
    pooling="mean",
    max_audio_s=0.08,
    long_audio="window-mean",
)


def test_the_vectors_are_those_of_the_embedder(tmp_path):
    folder = fill(tmp_path / "in", 12)
    break_twelve_ways(folder / "broken")
    embedder = harken.load(tiny.qwen2_audio(tmp_path / "model", num_mels=80), recipe=RECIPE, device="cpu")
    for name in ("out", "again"):
        report = run_bulk([str(folder)], tmp_path / name, lambda: embedder, settings=Settings(part_rows=5))
        assert report.finished and report.progress.num_failed == 12
    rows = [row for path in sorted((tmp_path / "out" / "vectors").iterdir()) for row in pq.read_table(path).to_pylist()]
    expected = embedder.encode_audio([row["uri"] for row in rows])
    assert np.abs(np.array([row["vector"] for row in rows]) - expected).max() < tolerances.BATCH_INVARIANCE
    assert tree(tmp_path / "out") == tree(tmp_path / "again")
