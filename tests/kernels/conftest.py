"""Kernels run under Triton's interpreter where there is no GPU (tests/conftest.py chooses); it is mended here."""

from .interpreter import repair

repair()
