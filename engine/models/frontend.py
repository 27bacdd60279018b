"""Which log-mel features a checkpoint was trained on, from its preprocessor_config.json.

Source: spec/models.md 1.1: the samples' cap follows from chunk_length; the key n_samples is ignored by transformers too.
"""

from typing import Any

from ...errors import ModelError
from ...kernels.logmel import SPECS, LogMelSpec


def whisper_frontend(preprocessor: dict[str, Any], num_mels: int, where: str) -> tuple[LogMelSpec, int]:
    """The spec and the longest transform in samples of a WhisperFeatureExtractor's settings.

    Raises:
        ModelError: settings that no Whisper front end of harken has.
    """
    name = f"whisper-{num_mels}"
    if name not in SPECS:
        raise ModelError(f"{where}: no front end has {num_mels} mel bins; known are {sorted(SPECS)}")
    spec = SPECS[name]
    wanted = dict(
        feature_size=spec.num_mels,
        sampling_rate=spec.sample_rate_hz,
        hop_length=spec.hop_length,
        n_fft=spec.n_fft,
        dither=0.0,
    )
    wrong = {key: preprocessor[key] for key, value in wanted.items() if preprocessor.get(key, value) != value}
    if wrong:
        raise ModelError(f"{where}: preprocessor_config.json has {wrong}, wanted { ({k: wanted[k] for k in wrong}) }")
    return spec, int(preprocessor.get("chunk_length", 30)) * spec.sample_rate_hz
