"""Millions of sounds embedded in one go that can be killed anywhere and started again."""

from .ledger import Ledger
from .manifest import Manifest, freeze
from .report import BulkReport, Progress
from .runner import Settings, run_bulk

__all__ = ["BulkReport", "Ledger", "Manifest", "Progress", "Settings", "freeze", "run_bulk"]
