"""Print where CMake finds the library of this install.  python -m harken.csrc"""

from . import prefix_path

print(prefix_path())
