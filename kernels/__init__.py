"""One operation a pair of files: the formula, the check and the plain reference; beside it the Triton kernel.

Nothing is imported here: `transformers` may find this folder under the name of the PyPI package `kernels`.
"""
