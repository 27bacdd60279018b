"""The stages of training, one file each: `STAGES[name](settings)` gives the task that `training.loop` runs."""

from collections.abc import Callable
from importlib import import_module

from ..config import TrainSettings
from ..loop import Task

_MODULES = {
    "text": "text",
    "audio-text": "audio_text",
    "heads": "heads",
    "qa": "qa",
    "rerank": "rerank",
    "joint-rerank": "joint_rerank",
    "robust-atr": "robust_atr",
}


def make_task(settings: TrainSettings) -> Task:
    """The task of a run's stage."""
    build: Callable[[TrainSettings], Task] = import_module(f".{_MODULES[settings.stage]}", __package__).build
    return build(settings)
