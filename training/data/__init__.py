"""Datasets: one adapter a published dataset, all of them giving `Row`s."""

from .clips import Clip, Dataset, load_manifest
from .datasets import DATASETS, read_dataset
from .row import Row, Rows

__all__ = ["DATASETS", "Clip", "Dataset", "Row", "Rows", "load_manifest", "read_dataset"]
