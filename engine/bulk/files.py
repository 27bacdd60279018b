"""Files by path or URL: local ones by the operating system, others by fsspec.

Source: own; fsspec's file systems.
"""

import glob
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ...errors import BackendError, InputError

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aiff", ".aif", ".au", ".caf", ".w64",
    ".rf64", ".webm", ".wma",
)  # fmt: skip
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


class Found(NamedTuple):
    uri: str
    # Path below what was listed, with slashes.
    relative: str
    size_bytes: int | None


def is_remote(uri: str) -> bool:
    return bool(_URL.match(uri)) and not uri.startswith("file://")


def local(uri: str) -> str:
    return uri.removeprefix("file://")


def suffix(uri: str) -> str:
    """Lower-case ending of a path or URL, without a query."""
    return os.path.splitext(uri.split("?")[0] if is_remote(uri) else uri)[1].lower()


def is_sound(uri: str) -> bool:
    return suffix(uri) in AUDIO_SUFFIXES


def is_folder(uri: str) -> bool:
    if not is_remote(uri):
        return os.path.isdir(local(uri))
    if uri.startswith(("http://", "https://")):
        return False
    system, path = remote(uri)
    return bool(system.isdir(path))


def size_of(uri: str) -> int | None:
    """Bytes of a file; None where it is missing or tells no size."""
    if not is_remote(uri):
        try:
            return os.stat(local(uri)).st_size
        except OSError:
            return None
    system, path = remote(uri)
    try:
        size = system.size(path)
    except (OSError, ValueError):
        return None
    return None if size is None else int(size)


def open_file(uri: str) -> BinaryIO:
    """Open for reading, seekable. Raises OSError."""
    if not is_remote(uri):
        return open(local(uri), "rb")
    system, path = remote(uri)
    return system.open(path, "rb")


def remote(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it.

    Raises:
        BackendError: fsspec, or its package for this kind of URL, is not installed.
        InputError: fsspec knows no such kind of URL.
    """
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(uri)
    except ImportError as error:
        raise BackendError(f"{uri}: wants a package that is missing: {error}; pip install 'harken[bulk]'") from None
    except ValueError as error:
        raise InputError(f"{uri}: {error}") from None


def walk(folder: str) -> Iterator[Found]:
    """Every file below a folder, in an order that only their names decide.

    Raises:
        InputError: a folder that cannot be listed.
    """
    if is_remote(folder):
        yield from _walk_remote(folder)
        return

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}") from None

    root = local(folder)
    for here, folders, names in os.walk(root, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(here, name)
            yield Found(path, os.path.relpath(path, root).replace(os.sep, "/"), size_of(path))


def _walk_remote(folder: str) -> Iterator[Found]:
    system, root = remote(folder)
    for path, info in sorted(system.find(root, detail=True).items()):
        yield Found(system.unstrip_protocol(path), path[len(root) :].lstrip("/"), info.get("size"))


def expand(pattern: str) -> list[str]:
    """Paths or URLs a pattern stands for: {000..150} and {a,b} first, then *, ? and [] in sorted order.

    Raises:
        InputError: a pattern with *, ? or [] that nothing fits.
    """
    found = []
    for one in _expand_braces(pattern):
        if not _is_glob(one):
            found.append(one)
            continue
        if is_remote(one):
            system, path = remote(one)
            matches = sorted(system.unstrip_protocol(match) for match in system.glob(path))
        else:
            matches = sorted(glob.glob(local(one), recursive=True))
        if not matches:
            raise InputError(f"{one}: nothing fits this pattern")
        found += matches
    return found


def _is_glob(uri: str) -> bool:
    if uri.startswith(("http://", "https://")):
        return False
    return glob.has_magic(uri) and (is_remote(uri) or not os.path.exists(local(uri)))


def _expand_braces(pattern: str) -> list[str]:
    match = None if not is_remote(pattern) and os.path.exists(local(pattern)) else _BRACES.search(pattern)
    if match is None:
        return [pattern]
    first, last, choices = match.groups()
    if choices is None:
        parts = [str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)]
    else:
        parts = choices.split(",")
    return [one for part in parts for one in _expand_braces(pattern[: match.start()] + part + pattern[match.end() :])]
