"""FLOPs and bytes from the configuration: the published tables' figures, and what loaded models take."""

import pytest
import torch
from safetensors import safe_open

from harken.engine.models import weights
from harken.engine.models.config import DecoderConfig, TowerConfig
from harken.engine.models.cost import dasheng_flops, decoder_flops, floor_bytes, weight_bytes, whisper_flops
from harken.engine.models.dasheng import DashengConfig
from harken.engine.models.footprint import footprint
from harken.engine.models.load import load_model
from harken.errors import ModelError

from ... import tiny, tiny_midasheng

OMNI_3B = DecoderConfig(2048, 36, 16, 2, 128, 11008, 151936, 1e-6, 1e6, False)
OMNI_7B = DecoderConfig(3584, 28, 28, 4, 128, 18944, 152064, 1e-6, 1e6, False)
QWEN2_AUDIO = DecoderConfig(4096, 32, 32, 32, 128, 11008, 156032, 1e-5, 1e4, False)
WHISPER = TowerConfig(128, 1280, 32, 20, 5120, 1500)
DASHENG = DashengConfig(1280, 32, 16, 5120, 252)


@pytest.mark.parametrize(
    ("config", "num_audio_tokens", "gflop"),
    [(OMNI_3B, 250, 1622), (OMNI_3B, 750, 4476), (OMNI_7B, 250, 3802), (OMNI_7B, 750, 10435), (QWEN2_AUDIO, 250, 3778),
     (QWEN2_AUDIO, 750, 10396), (OMNI_7B, 50, 1176), (OMNI_7B, 150, 2487)],
)  # fmt: skip
def test_decoders_cost_what_the_table_says(config, num_audio_tokens, gflop):
    assert decoder_flops(config, [num_audio_tokens + 40]) / 1e9 == pytest.approx(gflop, rel=1e-3)


@pytest.mark.parametrize(
    ("seconds", "window", "gflop"), [(10, 200, 643), (30, 200, 1930), (10, None, 676), (30, None, 2274)]
)
def test_whisper_towers_cost_what_the_table_says(seconds, window, gflop):
    assert whisper_flops(WHISPER, 100 * seconds, window) / 1e9 == pytest.approx(gflop, rel=1e-3)


@pytest.mark.parametrize(("seconds", "gflop"), [(10, 325), (30, 975)])
def test_dasheng_costs_what_the_table_says(seconds, gflop):
    assert dasheng_flops(DASHENG, 1 + 100 * seconds, 64) / 1e9 == pytest.approx(gflop, rel=2e-3)


def test_a_batch_costs_the_sum_of_its_prompts():
    assert decoder_flops(OMNI_3B, [9, 300]) == decoder_flops(OMNI_3B, [9]) + decoder_flops(OMNI_3B, [300])
    assert decoder_flops(OMNI_3B, [300], causal=False) > decoder_flops(OMNI_3B, [300])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["qwen2_audio", "omni", "midasheng"])
def test_a_loaded_model_takes_no_more_than_its_floor(tmp_path, kind, dtype):
    made = {
        "qwen2_audio": lambda: tiny.qwen2_audio(tmp_path, text="qwen2"),
        "omni": lambda: tiny.omni(tmp_path),
        "midasheng": lambda: tiny_midasheng.midasheng(tmp_path),
    }
    folder = made[kind]()
    model = load_model(folder, dtype=dtype, device="cpu")
    assert weight_bytes(model) == pytest.approx(floor_bytes(model), rel=0.05)
    # From the shapes alone, the same.
    sketch = load_model(folder, dtype=dtype, device="meta")
    assert (weight_bytes(sketch), floor_bytes(sketch)) == (weight_bytes(model), floor_bytes(model))


def test_a_checkpoint_tells_its_footprint_unread(tmp_path, monkeypatch):
    folder = tiny.omni(tmp_path, shards=3)
    held = weight_bytes(load_model(folder, dtype=torch.float32, device="cpu"))

    class ShapesOnly:
        def __init__(self, *args, **kwargs):
            handle = safe_open(*args, **kwargs)
            self.keys, self.get_slice = handle.keys, handle.get_slice

    monkeypatch.setattr(weights, "safe_open", ShapesOnly)
    facts = footprint(folder)
    assert facts["model_type"] == "qwen2_5_omni" and f"{held / 1e6:.1f} MB in float32" in facts["weights loaded"]
    assert "times that" in facts["floor"]
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match="model-00002-of-00003"):
        footprint(folder)
