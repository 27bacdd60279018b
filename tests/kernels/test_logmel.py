"""logmel against the extractors each front end comes from, at every length where an edge rule changes."""

import warnings

import numpy as np
import pytest
import torch

from harken.errors import InputError
from harken.kernels.logmel import SPECS, logmel, logmel_reference, plan_frames

from ..tolerances import LOGMEL_DB, LOGMEL_FP64, LOGMEL_HF, LOGMEL_HF_TONES, LOGMEL_NEIGHBOURS

CAP = 32000
EDGES = [1, 2, 59, 60, 61, 159, 160, 161, 199, 200, 201, 321, 399, 400, 401, 480, 640, 16000, 16160]
NEAR_CAP = [CAP - 321, CAP - 201, CAP - 200, CAP - 160, CAP - 1, CAP, CAP + 1, CAP + 7777]


def clip(n: int, kind: int = 0) -> np.ndarray:
    """Noise with a loud end (its maximum lies past frame T where n is a multiple of the hop), a chord, or full scale."""
    rng, t = np.random.default_rng(n), np.arange(n) / 16000
    if kind % 3 == 0:
        x = 0.05 * rng.standard_normal(n)
        x[-60:] *= 15
    elif kind % 3 == 1:
        x = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3001 * t) + 1e-3 * rng.standard_normal(n)
    else:
        x = np.sign(rng.standard_normal(n))
    return x.astype(np.float32)


def pack(clips: list[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
    return torch.from_numpy(np.concatenate(clips)), [0, *np.cumsum([len(c) for c in clips]).tolist()]


def drawn_lengths(num: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    some = rng.integers(1, 8000, num)
    return [*(some // 160 * 160 + 160)[: num // 4].tolist(), *some[num // 4 :].tolist()]


@pytest.mark.parametrize(
    ("num_mels", "cap_s", "lengths"),
    [
        (80, 2, EDGES + NEAR_CAP + drawn_lengths(73, 1)),
        (128, 2, EDGES + NEAR_CAP + drawn_lengths(73, 2)),
        (128, 30, [1, 16000, 479840, 480000, 490000]),
        (128, 300, [16000]),
    ],
    ids=lambda v: str(v) if isinstance(v, int) else f"{len(v)}-lengths",
)
def test_whisper_equals_transformers_padded_to_the_cap(num_mels, cap_s, lengths):
    from transformers import WhisperFeatureExtractor

    extract, spec = WhisperFeatureExtractor(feature_size=num_mels, chunk_length=cap_s), SPECS[f"whisper-{num_mels}"]
    clips = [clip(n, i) for i, n in enumerate(lengths)]
    got = logmel(*pack(clips), spec, extra_frames=2, max_samples=cap_s * 16000, backend="reference")
    for i, x in enumerate(clips):
        hf = extract(x, sampling_rate=16000, return_attention_mask=True)
        rows = got.features_FM[got.cu_frames[i] : got.cu_frames[i + 1]].numpy()
        assert got.num_frames[i] == hf.attention_mask.sum(), len(x)
        assert len(rows) == min(got.num_frames[i] + 2, cap_s * 100), len(x)
        error = np.abs(rows - hf.input_features[0].T[: len(rows)]).max()
        assert error <= (LOGMEL_HF_TONES if i % 3 == 1 else LOGMEL_HF), f"{len(x)} samples, kind {i % 3}: {error:.2e}"


def test_without_a_cap_silence_follows_for_ever():
    x = clip(CAP)
    far = logmel(*pack([x]), SPECS["whisper-128"], max_samples=2 * CAP, backend="reference")
    assert torch.equal(logmel(*pack([x]), SPECS["whisper-128"], backend="reference").features_FM, far.features_FM)


def test_silence_is_the_floor():
    got = logmel(torch.zeros(1000), [0, 321, 1000], SPECS["whisper-128"], backend="reference")
    assert got.num_frames == [3, 5] and got.cu_frames == [0, 3, 8]
    assert (got.features_FM == -1.5).all()


@pytest.mark.parametrize("n", [480, 4801, 96000])
def test_htsat_equals_clap(n):
    from transformers import ClapFeatureExtractor

    extract = ClapFeatureExtractor(frequency_min=50, frequency_max=14000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf = extract._np_extract_fbank_features(clip(n).astype(np.float64), extract.mel_filters_slaney)
    got = logmel(*pack([clip(n)]), SPECS["htsat-64"], backend="reference").features_FM.numpy()
    assert got.shape == hf.shape
    assert np.abs(got - hf).max() <= LOGMEL_DB


def dasheng_float64(x: np.ndarray) -> np.ndarray:
    """torchaudio's MelSpectrogram (HTK, no norm) and AmplitudeToDB(top_db=120) of one clip, by their formulas."""
    padded = np.pad(x.astype(np.float64), 256, mode="reflect")
    window = np.sin(np.pi * np.arange(512) / 512) ** 2
    frames = np.stack([padded[s : s + 512] * window for s in range(0, len(x) + 1, 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    top = 2595 * np.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (top * i / 65 / 2595) - 1) for i in range(66)]
    filters = np.zeros((257, 64))
    for m, (low, mid, high) in enumerate(zip(corners, corners[1:], corners[2:])):
        for k in range(257):
            hz = k * 16000 / 512
            filters[k, m] = max(0.0, min((hz - low) / (mid - low), (high - hz) / (high - mid)))
    db = 10 * np.log10(np.maximum(power @ filters, 1e-10))
    return np.maximum(db, db.max() - 120)


@pytest.mark.parametrize("n", [3200, 3201, 16000, 25119])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_dasheng_equals_its_formula(n, kind):
    x = clip(n, kind)
    x[: n // 2] *= 1e-4
    samples, cu = pack([x])
    exact = logmel_reference(samples.double(), cu, SPECS["dasheng-64"]).features_FM.numpy()
    assert exact.shape == (1 + n // 160, 64)
    assert np.abs(exact - dasheng_float64(x)).max() <= LOGMEL_FP64
    got = logmel(samples, cu, SPECS["dasheng-64"], backend="reference").features_FM.numpy()
    assert np.abs(got - exact).max() <= LOGMEL_DB


@pytest.mark.parametrize("name", sorted(SPECS))
def test_neighbours_never_matter(name):
    clips = [clip(n, i) for i, n in enumerate([777, 20000, 1, 4000])]
    packed = logmel(*pack(clips), SPECS[name], backend="reference")
    for i, x in enumerate(clips):
        alone = logmel(*pack([x]), SPECS[name], backend="reference").features_FM
        torch.testing.assert_close(
            packed.features_FM[packed.cu_frames[i] : packed.cu_frames[i + 1]],
            alone,
            rtol=LOGMEL_NEIGHBOURS,
            atol=LOGMEL_NEIGHBOURS,
        )


def test_no_clips_give_no_rows():
    got = logmel(torch.zeros(0), [0], SPECS["whisper-128"], backend="reference")
    assert got.features_FM.shape == (0, 128) and got.cu_frames == [0] and got.num_frames == []


def test_float64_is_kept_and_half_types_are_rounded_once():
    x, cu = pack([clip(1600)])
    assert logmel_reference(x.double(), cu, SPECS["whisper-128"]).features_FM.dtype == torch.float64
    full = logmel(x, cu, SPECS["whisper-128"], backend="reference").features_FM
    half = logmel(x, cu, SPECS["whisper-128"], out_dtype=torch.bfloat16, backend="reference").features_FM
    assert torch.equal(half, full.bfloat16())


def test_plan_counts_frames_past_the_end_for_the_maximum():
    plan = plan_frames(np.array([0, 1600, 1601 + 1600]), SPECS["whisper-128"], 0, CAP)
    assert plan.num_frames.tolist() == [10, 11] and plan.num_work.tolist() == [12, 12]


X = torch.zeros(1000)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s: logmel(X, [0, 400, 400, 1000], s), "clip 1 has 0 samples"),
        (lambda s: logmel(X, [0, 999], s), "cu_samples must be .* to 1000"),
        (lambda s: logmel(X, [0, 1200, 1000], s), "clip 1 has -200 samples"),
        (lambda s: logmel(X.double(), [0, 1000], s), "samples_N must be a contiguous float32"),
        (lambda s: logmel(torch.zeros(2000)[::2], [0, 1000], s), "samples_N must be a contiguous"),
        (lambda s: logmel(X / 0, [0, 1000], s), "samples_N must be finite .* at 0"),
        (lambda s: logmel(X, [0, 1000], s, out_dtype=torch.int8), "out_dtype must be"),
        (lambda s: logmel(X, [0, 1000], s, max_samples=200), "max_samples must be over 200"),
        (lambda s: logmel(X, [0, 1000], s, extra_frames=-1), "extra_frames must be 0 or more"),
        (lambda s: logmel(X, [0, 1000], SPECS["dasheng-64"], extra_frames=1), "extra_frames must be 0 for dasheng-64"),
    ],
)
def test_says_what_is_wrong(call, text):
    with pytest.raises(InputError, match=text):
        call(SPECS["whisper-128"])
