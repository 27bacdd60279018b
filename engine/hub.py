"""Where a model's files are: a folder, or a repository of the Hugging Face hub in the local cache.

Files are fetched only if `HF_HUB_OFFLINE` does not forbid it, and never more than inference needs.
"""

import re
from pathlib import Path

from ..errors import ModelError

_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$")
_WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt"]


def resolve(path_or_repository: str | Path) -> Path:
    """The folder of a checkpoint.

    Raises:
        ModelError: neither a folder nor a repository that the cache or the hub has.
    """
    path = Path(path_or_repository).expanduser()
    if path.is_dir():
        return path
    if not _REPOSITORY.match(str(path_or_repository)):
        raise ModelError(f"{path_or_repository}: is no folder and no hub repository of the form owner/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(
            f"{path_or_repository}: is no folder; fetching from the hub needs `pip install huggingface_hub`"
        ) from None
    try:
        return Path(snapshot_download(str(path_or_repository), allow_patterns=_WANTED))
    except Exception as error:  # the hub's client raises its own, requests' and OS errors
        raise ModelError(f"{path_or_repository}: is no folder, and the hub did not give it: {error}") from error
