"""Put the demo's real output into a Markdown file.   python -m harken.bench.demo_docs README.md

Replaces what stands between the lines `<!-- demo -->` and `<!-- /demo -->`.
"""

import subprocess
import sys
from pathlib import Path

START, END = "<!-- demo -->\n", "<!-- /demo -->"


def main() -> None:
    path = Path(sys.argv[1])
    text = path.read_text()
    if START not in text or END not in text:
        raise SystemExit(f"{path}: has no {START.strip()} ... {END} to fill")
    demo = subprocess.run(
        [str(Path(sys.executable).parent / "harken"), "demo"], capture_output=True, text=True, check=True
    ).stdout
    before, rest = text.split(START, 1)
    path.write_text(f"{before}{START}```text\n{demo.strip()}\n```\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
