from typing import Any

import numpy as np
from numpy.typing import NDArray

abi_version: int

def cpu_isa() -> str: ...

class Model:
    def __init__(
        self,
        folder: str,
        *,
        num_threads: int = 0,
        batch_tokens: int = 0,
        onnx_folder: str = "",
        onnxruntime_library: str = "",
    ) -> None: ...
    @property
    def dim(self) -> int: ...
    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def runner(self) -> str: ...
    def to_cuda(self, device: int = 0) -> None: ...
    def encode_audio(
        self, clips: list[tuple[NDArray[np.float32], int]], *, instruction: str | None = None
    ) -> NDArray[np.float32]: ...
    def encode_audio_text(
        self, pairs: list[tuple[tuple[NDArray[np.float32], int], str]], *, instruction: str | None = None
    ) -> NDArray[np.float32]: ...
    def encode_files(self, paths: list[str], *, instruction: str | None = None) -> NDArray[np.float32]: ...
    def encode_text(self, texts: list[str], *, instruction: str | None = None) -> NDArray[np.float32]: ...
    def tokenize(self, text: str) -> list[int]: ...

class ThreadPool:
    def __init__(self, num_threads: int) -> None: ...
    def __len__(self) -> int: ...

def topk(
    pool: ThreadPool,
    queries: NDArray[np.float32],
    rows: NDArray[Any],
    k: int,
    *,
    dtype: str,
    scales: NDArray[np.float32] | None = None,
    keep: NDArray[np.uint8] | None = None,
    exclude: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]: ...

class IndexFile:
    def __init__(self, folder: str) -> None: ...
    def __len__(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def id(self, row: int) -> str: ...
    def search(
        self, pool: ThreadPool, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...

class LogMel:
    def __init__(
        self,
        *,
        name: str,
        sample_rate_hz: int,
        n_fft: int,
        win_length: int,
        hop_length: int,
        num_mels: int,
        f_min_hz: float,
        f_max_hz: float,
        mel_scale: str,
        mel_norm: str | None,
        right_edge: str,
        floor: float,
        log_gain: float,
        max_range: float | None,
        shift: float,
        divisor: float,
    ) -> None: ...
    def compute(
        self,
        pool: ThreadPool,
        samples: NDArray[np.float32],
        starts: NDArray[np.int64],
        out: NDArray[np.float32],
        extra_frames: int = 0,
        max_samples: int | None = None,
    ) -> None: ...

def first_not_finite(samples: NDArray[np.float32]) -> int: ...
def read_sound(path: str) -> tuple[NDArray[np.float32], int]: ...
def decode_sound(bytes: bytes, name: str = "<bytes>") -> tuple[NDArray[np.float32], int]: ...
def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]: ...

class Tokenizer:
    def __init__(self, path: str) -> None: ...
    def encode(self, text: str | bytes) -> list[int]: ...
    def token_id(self, token: str) -> int | None: ...
    @property
    def vocab_size(self) -> int: ...

class Product:
    def __init__(self, weight: NDArray[np.float32], dtype: str = "float32") -> None: ...
    def __call__(self, pool: ThreadPool, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
