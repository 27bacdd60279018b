"""Benchmarks of single functions with pytest-benchmark:  harken bench functions."""
