"""The linear CLAP learns pairs that a linear map can tell apart."""

import numpy as np
import torch

from harken.training.baselines import _Side, linear_clap
from harken.training.metrics import first_ranks
from harken.training.rows import SourceSettings, read_rows

from .. import tiny
from .runs import settings, write_sounds


def test_a_linear_clap_finds_its_training_pairs(tmp_path):
    model = tiny.qwen2_audio(tmp_path / "model", text="llama", num_mels=80)
    sounds = write_sounds(tmp_path / "sounds")
    rows = read_rows([SourceSettings("manifest", str(sounds), split="train")]).rows
    made = settings(model, sounds, tmp_path / "run", features=str(sounds / "features"))
    audio, captions, text = linear_clap(made, rows, rows, steps=150, batch=8)
    ranks = first_ranks(text @ audio.T, np.eye(len(rows), dtype=bool))
    assert len(captions) == 10 and (ranks == 1).mean() > 0.8


def test_states_are_brought_to_one_scale():
    side = _Side(torch.randn(50, 3) * torch.tensor([1.0, 100.0, 0.01]) + 7, 0)
    torch.testing.assert_close(side.states.std(0), torch.ones(3), rtol=1e-3, atol=1e-3)
