"""Exact search over vectors: built in memory, saved in one step, opened by mapping."""

from .hits import Hit, Hits
from .index import Index

__all__ = ["Hit", "Hits", "Index"]
