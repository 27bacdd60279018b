"""Any sound a caller can name to a `Waveform` at the sound's own rate.

soundfile reads wav, flac, ogg, opus, mp3, aiff and their kin; what it does not know goes to torchcodec where that is
installed (m4a, webm, video). A damaged file is an error, never the part of it that could be read.

Source: own.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import soundfile

from ...errors import AudioError
from .arrays import from_array, mix_down
from .truncation import declared_bytes
from .waveform import Waveform, check_rate

# 4 GiB of float32: 18 hours at 16 kHz. What decodes to more is cut into files first.
MAX_SAMPLES = 1 << 30
BLOCK_SAMPLES = 1 << 22
# mp3 headers count whole MPEG frames of 1,152 samples and may be off by the encoder's padding.
MP3_SLACK_FRAMES = 4 * 1152


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What the header of a sound file declares."""

    format: str
    sample_rate_hz: int
    num_channels: int
    num_frames: int

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.sample_rate_hz


def decode(source: Any, name: str | None = None, *, max_s: float | None = None) -> Waveform:
    """Read a sound at its own rate.

    Args:    source: path | bytes | (array, rate) | {"array", "sampling_rate"} | {"bytes", "path"} | Waveform | a
             torchcodec AudioDecoder. Arrays are [n], [n, channels] or [channels, n].
             name: what errors call it; default: the path, or the kind of the source.
             max_s: stop reading after this many seconds; None: read all.
    Returns: mono waveform: mean of the channels, integers scaled to [-1, 1).
    Raises:  AudioError: missing, not a regular file, unreadable, truncated, empty, NaN, absurd rate, unknown type.
    """
    return _cut(_decode(source, name, max_s), max_s)


def probe(path: str | os.PathLike[str]) -> SoundInfo:
    """Read the header of a sound file that soundfile knows.

    Raises:  AudioError: missing, not a regular file, not a sound, a rate no recorder has.
    """
    name = os.fspath(path)
    with _open_regular(name, name) as file, _open_sound(file, name) as sound:
        return SoundInfo(f"{sound.format} {sound.subtype}", sound.samplerate, sound.channels, sound.frames)


def _decode(source: Any, name: str | None, max_s: float | None) -> Waveform:
    if isinstance(source, Waveform):
        return source if name is None else Waveform(source.samples, source.sample_rate_hz, name)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        with _open_regular(path, name or path) as file:
            return _decode_file(file, name or path, max_s)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode_file(BytesIO(source), name or f"<{len(source)} bytes>", max_s)
    if isinstance(source, Mapping):
        return _decode_mapping(source, name, max_s)
    if isinstance(source, tuple) and len(source) == 2:
        return from_array(source[0], source[1], name or "<array>")
    if hasattr(source, "get_all_samples"):
        got = source.get_all_samples()
        return from_array(got.data, got.sample_rate, name or "<decoder>")
    if hasattr(source, "__array__"):
        return from_array(source, None, name or "<array>")
    raise AudioError(
        f"{name or '<sound>'}: {type(source).__name__} is no sound; wanted a path, bytes, (array, rate), "
        '{"array", "sampling_rate"}, {"bytes", "path"} or a Waveform'
    )


def _decode_mapping(source: Mapping[str, Any], name: str | None, max_s: float | None) -> Waveform:
    label = name or source.get("path")
    if source.get("array") is not None:
        return from_array(source["array"], source.get("sampling_rate"), label or "<array>")
    if source.get("bytes") is not None:
        return _decode(source["bytes"], label, max_s)
    if source.get("path") is not None:
        return _decode(source["path"], name, max_s)
    raise AudioError(
        f"{label or '<dict>'}: keys are {sorted(map(str, source))}; wanted array and sampling_rate, or bytes, or path"
    )


def _open_regular(path: str, name: str) -> BinaryIO:
    """Open a regular file; pipes and devices are refused without waiting on them."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise AudioError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise AudioError(f"{name}: is {kind}; wanted a sound file")
    return os.fdopen(descriptor, "rb", buffering=0)


def _open_sound(file: BinaryIO, name: str) -> soundfile.SoundFile:
    head = file.read(16)
    file.seek(0)
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes); wanted a sound file")
    _refuse_truncated(file, name)
    # By descriptor, not by name: reading then runs without Python's lock, and x.raw is not taken for bare samples.
    try:
        sound = soundfile.SoundFile(file if isinstance(file, BytesIO) else file.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(f"{name}: is not a sound file that can be read: {reason} (begins with {head!r})") from None
    try:
        check_rate(sound.samplerate, name)
    except AudioError:
        sound.close()
        raise
    return sound


def _decode_file(file: BinaryIO, name: str, max_s: float | None) -> Waveform:
    try:
        sound = _open_sound(file, name)
    except AudioError as refused:
        other = _decode_torchcodec(file, name, max_s, refused)
        if other is None:
            raise
        return other
    with sound:
        wanted = sound.frames if max_s is None else min(sound.frames, _num_frames(max_s, sound.samplerate))
        return _read(sound, name, 0, wanted)


def _read(sound: soundfile.SoundFile, name: str, first: int, wanted: int) -> Waveform:
    """The frames [first, first + wanted) of an open sound."""
    if wanted > MAX_SAMPLES:
        raise AudioError(
            f"{name}: declares {sound.frames} samples at {sound.samplerate} Hz, more than {MAX_SAMPLES} cannot be "
            "read at once; wanted a shorter file"
        )
    # libmpg123 rounds the first block otherwise after a seek; soundfile.read seeks, and so do we.
    try:
        sound.seek(first)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: damaged at its beginning: {error.error_string.rstrip('.')}") from None
    blocks, got = [], 0
    while got < wanted:
        size = min(wanted - got, max(1, BLOCK_SAMPLES // sound.channels))
        try:
            block = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name}: damaged after {got} samples: {error.error_string.rstrip('.')}") from None
        if not len(block):
            break
        blocks.append(mix_down(block))
        got += len(block)
    slack = MP3_SLACK_FRAMES if sound.format == "MP3" else 0
    if got < wanted - slack:
        raise AudioError(f"{name}: truncated: {got} of {wanted} declared samples are there; wanted the whole file")
    return Waveform(np.concatenate(blocks or [np.empty(0, np.float32)]), sound.samplerate, name)


def decode_from(source: Any, name: str | None, start_s: float, max_s: float | None) -> Waveform | None:
    """What `decode` gives from start_s on, at most max_s of it, without reading what lies before.

    Returns: None where the source is no file or bytes that can be entered at any sample: PCM and FLAC can.
    Raises:  AudioError: as `decode`; the sound ends before start_s.
    """
    if isinstance(source, str | os.PathLike):
        label = name or os.fspath(source)
        file = _open_regular(os.fspath(source), label)
    elif isinstance(source, bytes):
        label, file = name or f"<{len(source)} bytes>", BytesIO(source)
    else:
        return None
    with file:
        try:
            sound = _open_sound(file, label)
        except AudioError:
            # `decode` knows other readers, and what to say where none can.
            return None
        with sound:
            if sound.format != "FLAC" and not sound.subtype.startswith(("PCM_", "FLOAT", "DOUBLE")):
                return None
            first = _num_frames(start_s, sound.samplerate)
            if first >= sound.frames:
                raise AudioError(
                    f"{label}: lasts {sound.frames / sound.samplerate:g} s; wanted a part that begins at {start_s:g} s"
                )
            left = sound.frames - first
            return _read(
                sound, label, first, left if max_s is None else min(left, _num_frames(max_s, sound.samplerate))
            )


def _refuse_truncated(file: BinaryIO, name: str) -> None:
    try:
        found = declared_bytes(file)
    except ValueError as error:
        raise AudioError(f"{name}: {error}; wanted a header that is right") from None
    file.seek(0)
    if found is not None and found.present < found.declared:
        raise AudioError(
            f"{name}: truncated: {found.present} of {found.declared} declared bytes are there; wanted the whole file"
        )


def _decode_torchcodec(file: BinaryIO, name: str, max_s: float | None, refused: AudioError) -> Waveform | None:
    """Read what soundfile refused; None where torchcodec is not installed or has no FFmpeg to work with."""
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, RuntimeError, OSError):
        return None
    file.seek(0)
    try:
        decoder = AudioDecoder(file)
        samples = decoder.get_all_samples() if max_s is None else decoder.get_samples_played_in_range(0.0, max_s)
    except (RuntimeError, ValueError) as error:
        raise AudioError(f"{refused}; torchcodec: {str(error).splitlines()[0]}") from None
    return from_array(samples.data.numpy(), samples.sample_rate, name)


def _num_frames(seconds: float, sample_rate_hz: int) -> int:
    return round(seconds * sample_rate_hz)


def _cut(waveform: Waveform, max_s: float | None) -> Waveform:
    if max_s is None or len(waveform.samples) <= _num_frames(max_s, waveform.sample_rate_hz):
        return waveform
    end = _num_frames(max_s, waveform.sample_rate_hz)
    return Waveform(waveform.samples[:end], waveform.sample_rate_hz, waveform.name)
