"""A tiny checkpoint, its reranker, sounds on disk, and every pair's score by transformers."""

from pathlib import Path

import pytest
import soundfile

from ... import tiny
from ..hf import Qwen2AudioOracle
from .naive import NaiveReranker
from .use import make

TEXTS = [
    "a dog barks",
    "somebody is speaking over music",
    "rain",
    "cars pass by while a dog barks in the rain",
    '"Ünïcödé" 狗 🐕\nand a  second line',
]
LENGTHS = [16000, 9000, 33333, 16000, 700]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return tiny.qwen2_audio(tmp_path_factory.mktemp("rerank") / "qwen2")


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    for i, length in enumerate(LENGTHS):
        soundfile.write(folder / f"{i}.wav", tiny.wave(length, seed=i), 16000, subtype="FLOAT")
    return [folder / f"{i}.wav" for i in range(len(LENGTHS))]


@pytest.fixture(scope="session")
def naive(checkpoint) -> NaiveReranker:
    return NaiveReranker(Qwen2AudioOracle(checkpoint))


@pytest.fixture(scope="session")
def reranker(checkpoint):
    return make(checkpoint)


@pytest.fixture(scope="session")
def joint_checkpoint(tmp_path_factory) -> Path:
    return tiny.qwen2_audio(tmp_path_factory.mktemp("joint") / "model", text="llama", num_mels=80, tied=True)


@pytest.fixture(scope="session")
def joint_oracle(joint_checkpoint) -> Qwen2AudioOracle:
    oracle = Qwen2AudioOracle(joint_checkpoint)
    oracle.model.lm_head.weight = oracle.model.get_input_embeddings().weight
    return oracle
