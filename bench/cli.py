"""The commands of the bench room: they add themselves to the engine's command line (entry point `harken.commands`)."""

from .latency import command as latency
from .quality import command as quality

__all__ = ["latency", "quality"]
