"""Millions of sounds embedded in one go that can be killed anywhere and started again."""

from .freezing import freeze
from .ledger import Ledger
from .local import LocalEngine
from .manifest import Manifest
from .report import BulkReport, Progress
from .runner import run_bulk
from .settings import Settings

__all__ = ["BulkReport", "Ledger", "LocalEngine", "Manifest", "Progress", "Settings", "freeze", "run_bulk"]
