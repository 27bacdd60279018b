"""run.json: what a run's folder is for. Another manifest, fingerprint or other settings are refused there.

Source: own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, FingerprintError, InputError
from ..durable import written_aside

NAME = "run.json"
VERSION = 1


def claim(
    folder: Path,
    *,
    fingerprint: Mapping[str, Any],
    manifest: Mapping[str, str],
    settings: Mapping[str, Any],
    made_with: Mapping[str, Any],
) -> dict[str, Any]:
    """Write run.json, or compare with the one that is there; gives what stands there afterwards.

    Args:
        folder: of the run; the caller holds its lock.
        fingerprint: of what makes the vectors; its "id" is compared, the rest says what it stands for.
        manifest: hash and label of the manifest, as {"sha256", "label"}.
        settings: all else that decides what the files hold.
        made_with: how to load the model again; kept, not compared.

    Raises:
        FingerprintError: the folder holds vectors of another fingerprint.
        InputError: the folder is for another manifest or other settings.
        FileFormatError: run.json is damaged.
    """
    asked = json.loads(
        json.dumps(
            {
                "version": VERSION,
                "fingerprint": dict(fingerprint),
                "manifest": dict(manifest),
                "settings": dict(settings),
                "made_with": dict(made_with),
            }
        )
    )
    known = read_identity(folder)
    if known is not None:
        _compare(folder, known, asked)
        return known
    with written_aside(folder / NAME) as aside:
        aside.write_text(json.dumps(asked, indent=1, sort_keys=True) + "\n")
    return asked


def read_identity(folder: Path) -> dict[str, Any] | None:
    """What a folder is for; None where no run has begun.

    Raises:
        FileFormatError: run.json is damaged or of another version.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        known = json.loads(path.read_text())
        version = known["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path}: is damaged: {error}") from None
    if version != VERSION:
        raise FileFormatError(f"{path}: is of version {version}; wanted {VERSION}")
    return known


def require_identity(folder: Path) -> dict[str, Any]:
    """What a folder is for.

    Raises:
        FileFormatError: as `read_identity`, or no run has begun there.
    """
    known = read_identity(folder)
    if known is None:
        raise FileFormatError(f"{folder}: is no run's folder: there is no {NAME} in it")
    return known


def _compare(folder: Path, known: dict[str, Any], asked: dict[str, Any]) -> None:
    there, here = known["manifest"], asked["manifest"]
    if there["sha256"] != here["sha256"]:
        raise InputError(f"{folder}: is for {there['label']}, but the input is {here['label']}; give another folder")
    for part, what, kind in (
        ("fingerprint", "another model", FingerprintError),
        ("settings", "other settings", InputError),
    ):
        before, now = known[part], asked[part]
        if before != now if part == "settings" else before["id"] != now["id"]:
            raise kind(f"{folder}: was begun with {what}: {_differing(before, now)}; give another folder")


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)!r} there, {now.get(name)!r} now" for name in names)
