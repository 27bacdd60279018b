"""Whether a WAV or Ogg file is all there; libsndfile reads a cut one as a shorter sound without a word.

    RIFF: "RIFF" size "WAVE" { id:4 size:4 bytes, padded to even }*,  of which one is "data"; RF64 keeps sizes in "ds64"
    Ogg:  { "OggS" version:1 flags:1 ... num_segments:1 lengths[num_segments] bytes }*

An Ogg file cut exactly between two pages cannot be told from a stream that was never closed, and is read.

Source: Microsoft/IBM RIFF specification 1991; EBU Tech 3306 (RF64); RFC 3533 (Ogg).
"""

import os
import struct
from typing import BinaryIO, NamedTuple

# Writers to a pipe cannot go back to fill in the size: they leave a number near the largest, or zero.
STREAMED_BYTES = 0x7FFFF000
MAX_CHUNKS = 1_000
# Format tags of integer and float samples.
LINEAR = (1, 3)
MAX_OGG_PAGE_BYTES = 27 + 255 + 255 * 255


class DataBytes(NamedTuple):
    """What a header declares of a stretch of the file, and what is there of it."""

    declared: int
    present: int


def declared_bytes(file: BinaryIO) -> DataBytes | None:
    """Compare the last declared stretch of samples with what is there.

    Args:    file: any file, seekable; its position is moved.
    Returns: the data chunk of a RIFF file or the last page of an Ogg file; None for other files and open sizes.
    Raises:  ValueError: a RIFF header whose channels do not fit its bytes a frame; libsndfile believes the channels.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _riff_data(file, end)
    if head[:4] == b"OggS":
        return _last_ogg_page(file, end)
    return None


def _riff_data(file: BinaryIO, end: int) -> DataBytes | None:
    size_rf64 = None
    for _ in range(MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        kind, size = header[:4], struct.unpack("<I", header[4:])[0]
        if kind == b"data":
            if size == 0xFFFFFFFF and size_rf64 is not None:
                return DataBytes(size_rf64, end - file.tell())
            return DataBytes(size, end - file.tell()) if 0 < size < STREAMED_BYTES else None
        body = file.tell()
        if kind == b"fmt " and len(fields := file.read(16)) == 16:
            tag, channels, _, _, frame_bytes, bits = struct.unpack("<HHIIHH", fields)
            if tag in LINEAR and channels and (frame_bytes % channels or frame_bytes // channels * 8 < bits):
                raise ValueError(f"header declares {channels} channels of {bits} bits in frames of {frame_bytes} bytes")
        if kind == b"ds64":
            sizes = file.read(16)
            size_rf64 = struct.unpack("<Q", sizes[8:])[0] if len(sizes) == 16 else None
        file.seek(body + size + size % 2)
    return None


def _last_ogg_page(file: BinaryIO, end: int) -> DataBytes | None:
    file.seek(max(0, end - MAX_OGG_PAGE_BYTES - 4))
    tail = file.read(MAX_OGG_PAGE_BYTES + 4)
    start = tail.rfind(b"OggS")
    if start < 0:
        return None
    page = tail[start:]
    num_segments = page[26] if len(page) > 26 else 0
    size = 27 + num_segments + sum(page[27 : 27 + num_segments])
    rest = page[size:]
    if rest and b"OggS".startswith(rest):
        return DataBytes(27, len(rest))
    return DataBytes(size, min(len(page), size))
