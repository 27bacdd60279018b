"""Build script. The checkout itself is the package `harken`; each folder is a subpackage of it."""

from setuptools import find_packages, setup

FOLDERS = ["engine", "kernels", "training", "bench"]

setup(
    package_dir={"harken": "."},
    py_modules=["harken.__init__", "harken.errors"],  # the root's face, and none of its scripts
    packages=["harken." + p for p in find_packages(include=[g for f in FOLDERS for g in (f, f"{f}.*")])],
    package_data={"": ["py.typed", "*.md", "*.json", "*.csv"], "harken.engine": ["assets/**/*", "serve/page/*"]},
    include_package_data=False,
)
