"""Log-mel features against what one would call instead.   python -m harken.bench.kernels.logmel [--clips N] [--out FILE]

Question: what does a clip's log-mel cost, when it is not padded to 30 or 300 s?
Gate:     every way must lie within GATE of the float64 reference on the clip's frames, or is printed as FAILED and not timed.
Rivals:   transformers' WhisperFeatureExtractor with chunk_length 30 and 300, on the CPU and on CUDA (a clip a call, as its
          processors do); torch.stft at the clip's own length and a product, a clip a call; torchaudio and asrfront the same
          way, where they are installed; harken's own reference where the C++ core runs. On CUDA harken's samples lie on the
          device and the extractor's on the host, where each wants them.
Reads:    ms a clip; ratio = median of the rival / of harken, taken in turns; cpu = least processor time, whose ratio holds on
          a busy machine too. GB/s counts samples read and rows written once;
          TFLOP/s counts the products of the DFT and the filters as the kernel does them, unsplit.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ...kernels.backend import available
from ...kernels.logmel import SPECS, logmel, logmel_reference
from ...kernels.logmel_spec import mel_filters
from ..record import machine_line
from .compare import Way, ceilings, emit, in_turns

SPEC = SPECS["whisper-128"]
CAP = 30 * SPEC.sample_rate_hz
GATE = 1e-3
# Multiplications and additions of a frame: four products of N/4 x N/4, and two of N/4 x mels.
FLOP_A_FRAME = 2 * (4 * (SPEC.n_fft // 4) * (SPEC.n_fft // 4 + 1) + 2 * (SPEC.n_fft // 4 + 1) * SPEC.num_mels)


def own_length(samples_N: torch.Tensor, num_clips: int) -> Callable[[], torch.Tensor]:
    """torch.stft of a clip and one window of silence behind it, then a product: what a careful user writes."""
    window = torch.hann_window(SPEC.n_fft, device=samples_N.device)
    filters = torch.from_numpy(mel_filters(SPEC).T.copy()).to(samples_N.device, torch.float32)

    def clip(x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.pad(x, (0, SPEC.n_fft))
        power = torch.stft(x, SPEC.n_fft, SPEC.hop_length, window=window, return_complex=True)[:, :-1].abs() ** 2
        log = (filters @ power).clamp(min=SPEC.floor).log10()
        return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0)[:, : len(samples_N) // num_clips // SPEC.hop_length]

    return lambda: torch.cat([clip(x) for x in samples_N.view(num_clips, -1)], dim=1).T


def torchaudio_way(samples_N: torch.Tensor, num_clips: int) -> dict[str, Way]:
    if find_spec("torchaudio") is None:
        return {}
    from torchaudio.transforms import MelSpectrogram

    mel = MelSpectrogram(SPEC.sample_rate_hz, SPEC.n_fft, hop_length=SPEC.hop_length, n_mels=SPEC.num_mels, norm="slaney",
                         mel_scale="slaney").to(samples_N.device)  # fmt: skip

    def clip(x: torch.Tensor) -> torch.Tensor:
        log = mel(torch.nn.functional.pad(x, (0, SPEC.n_fft)))[:, :-1].clamp(min=SPEC.floor).log10()
        return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0)[:, : len(samples_N) // num_clips // SPEC.hop_length]

    return {"torchaudio own length": lambda: torch.cat([clip(x) for x in samples_N.view(num_clips, -1)], dim=1).T}


def asrfront_way(host: np.ndarray, num_clips: int) -> dict[str, Way]:
    """asrfront's Qwen3-ASR features, a clip a call, with one window of silence behind it as `own_length`."""
    if find_spec("asrfront") is None:
        return {}
    from asrfront import qwen3_asr

    frames = len(host) // num_clips // SPEC.hop_length
    clips = host.reshape(num_clips, -1)
    clip = lambda x: qwen3_asr.log_mel(np.pad(x, (0, SPEC.n_fft)))[:, :frames]
    return {"asrfront own length": lambda: np.concatenate([clip(x) for x in clips], axis=1).T}


def extractor(host: np.ndarray, num_clips: int, chunk_s: int, device: str) -> Callable[[], torch.Tensor]:
    """transformers' extractor, a clip a call, padded to chunk_s; the clips' own frames of its result."""
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor(feature_size=SPEC.num_mels, chunk_length=chunk_s)
    frames = len(host) // num_clips // SPEC.hop_length

    def way() -> torch.Tensor:
        rows = [
            extract(x, sampling_rate=SPEC.sample_rate_hz, device=device, return_tensors="pt").input_features[0]
            for x in host.reshape(num_clips, -1)
        ]
        return torch.cat([r[:, :frames] for r in rows], dim=1).T

    return way


def ways_of(samples_N: torch.Tensor, num_clips: int) -> dict[str, Way]:
    """Every way on the same clips, all of one length."""
    length = len(samples_N) // num_clips
    cu = list(range(0, len(samples_N) + 1, length))
    own = lambda: logmel(samples_N, cu, SPEC, max_samples=CAP).features_FM
    ways: dict[str, Way] = {"harken": own, "torch.stft own length": own_length(samples_N, num_clips)}
    ways |= torchaudio_way(samples_N, num_clips)
    host = samples_N.cpu().numpy()
    if not samples_N.is_cuda:
        ways |= asrfront_way(host, num_clips)
        if "cpp" in available(cpp=True):
            ways["harken reference"] = lambda: (
                logmel(samples_N, cu, SPEC, max_samples=CAP, backend="reference").features_FM
            )
    for chunk_s in (30, 300):
        ways[f"transformers cpu {chunk_s} s"] = extractor(host, num_clips, chunk_s, "cpu")
        if samples_N.is_cuda:
            ways[f"transformers cuda {chunk_s} s"] = extractor(host, num_clips, chunk_s, "cuda")
    return ways


def gate(ways: dict[str, Way], samples_N: torch.Tensor, num_clips: int) -> dict[str, float]:
    """Largest error of every way to float64; those over GATE are printed and taken out."""
    cu = list(range(0, len(samples_N) + 1, len(samples_N) // num_clips))
    exact = logmel_reference(samples_N.cpu().double(), cu, SPEC, max_samples=CAP).features_FM
    errors = {}
    for name, way in list(ways.items()):
        got = torch.as_tensor(way()).cpu().double()
        errors[name] = float((got - exact).abs().max()) if got.shape == exact.shape else float("inf")
        if not errors[name] <= GATE:
            print(f"FAILED {name}: error {errors[name]:.2e}, shape {list(got.shape)}, wanted {list(exact.shape)}")
            del ways[name]
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", help="clips a batch; default 1 64 on CUDA, 1 4 on the CPU")
    parser.add_argument("--seconds", type=int, default=10, help="length of every clip")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU; default: torch's own choice")
    parser.add_argument("--out", type=Path, help="append one JSON line a result")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    limits, where = ceilings(device), machine_line(device)
    print(where, {name: round(value, 2) for name, value in limits.items()})
    for num_clips in args.clips or ([1, 64] if device.type == "cuda" else [1, 4]):
        generator = torch.Generator().manual_seed(0)
        samples_N = 0.1 * torch.randn(num_clips * args.seconds * SPEC.sample_rate_hz, generator=generator)
        samples_N = samples_N.to(device)
        ways = ways_of(samples_N, num_clips)
        errors = gate(ways, samples_N, num_clips)
        if "harken" not in ways:
            raise SystemExit("harken is wrong here; nothing is timed")
        frames = samples_N.numel() // SPEC.hop_length
        timings = in_turns(ways, device, rounds=args.rounds)
        for name, t in timings.items():
            gb_s = 4 * (samples_N.numel() + frames * SPEC.num_mels) / t.p50_ms / 1e6
            tflop_s, ratio = frames * FLOP_A_FRAME / t.p50_ms / 1e9, t.p50_ms / timings["harken"].p50_ms
            cpu_ratio = t.cpu_ms / timings["harken"].cpu_ms
            print(
                f"clips {num_clips:3} x {args.seconds} s  {name:24} {t.p50_ms / num_clips:9.4f} ms a clip"
                f" ({t.p20_ms / num_clips:.4f}..{t.p80_ms / num_clips:.4f}) {gb_s:8.2f} GB/s {tflop_s:7.4f} TFLOP/s"
                f"  x{ratio:.2f}  cpu {t.cpu_ms / num_clips:.2f} ms x{cpu_ratio:.2f}  error {errors[name]:.1e}"
            )
            row = {"op": "logmel", "way": name, "clips": num_clips, "seconds": args.seconds, "ms_p20": t.p20_ms}
            row |= {"ms_p50": t.p50_ms, "ms_p80": t.p80_ms, "repeats": t.repeats, "ms_a_clip": t.p50_ms / num_clips}
            emit(
                where | limits | row | {"gb_s": gb_s, "tflop_s": tflop_s, "ratio": ratio, "error": errors[name]},
                args.out,
            )


if __name__ == "__main__":
    main()
