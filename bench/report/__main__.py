"""Result files as Markdown tables on the terminal:   python -m harken.bench.report FILE ...

All results of a folder, as a file and as a page: harken bench report.
"""

import sys
from pathlib import Path

from ...errors import HarkenError
from .collect import read_result
from .tables import markdown


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m harken.bench.report FILE ...")
    try:
        print(markdown([read_result(Path(name)) for name in sys.argv[1:]]))
    except HarkenError as error:
        raise SystemExit(f"harken: {error}") from None


if __name__ == "__main__":
    main()
