"""Datasets: one adapter a published dataset, all of them giving `Row`s."""

from .clips import Clip, Dataset, load_manifest
from .row import Row, Rows

__all__ = ["Clip", "Dataset", "Row", "Rows", "load_manifest"]
