"""Write src/unicode_tables.cpp: what the `tokenizers` library takes for a letter, a number, white space, and NFC.

    python csrc/tools/make_unicode_tables.py csrc/src/unicode_tables.cpp

The tables are read off the library's behaviour, character by character, so that they are those of its own Unicode versions
(its expressions and its normalizer have different ones). Canonical combining classes come from Python's unicodedata, of the
characters that the normalizer reorders.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HANGUL = range(0xAC00, 0xD7A4)
# The bit of each class, as in unicode.h.
PATTERNS = {1: r"\p{L}", 2: r"\p{N}", 4: r"\s"}
WORD, DIGIT = 8, 16
WIDTH = 100


def matched(pattern: str) -> set[str]:
    """Characters that an expression of one character takes."""
    split, found = pre_tokenizers.Split(Regex(pattern), "removed"), set()
    for i in range(0, len(CHARACTERS), 4096):
        some = CHARACTERS[i : i + 4096]
        left = {c for piece, _ in split.pre_tokenize_str("".join(some)) for c in piece}
        found |= set(some) - left
    return found


def word_characters() -> set[str]:
    """Characters that may not stand beside an added token which wants to be a word of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("\u00a7\u00a7", single_word=True, normalized=False)])
    return {c for c in CHARACTERS if not tokenizer.encode("\u00a7\u00a7" + c, add_special_tokens=False).ids}


def digits() -> set[str]:
    """Characters that the pre-tokenizer Digits takes out of a word."""
    split = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CHARACTERS if len(split.pre_tokenize_str("a" + c + "a")) == 3}


def class_ranges() -> list[tuple[int, int, int]]:
    """(first, last, bits) of runs of characters of the same classes."""
    bits = dict.fromkeys(map(ord, CHARACTERS), 0)
    for bit, members in [*((b, matched(p)) for b, p in PATTERNS.items()), (WORD, word_characters()), (DIGIT, digits())]:
        for c in members:
            bits[ord(c)] |= bit
    runs: list[tuple[int, int, int]] = []
    for code, value in bits.items():
        if runs and runs[-1][1] == code - 1 and runs[-1][2] == value:
            runs[-1] = (runs[-1][0], code, value)
        elif value:
            runs.append((code, code, value))
    return runs


def normal_forms() -> tuple[list[tuple[int, str]], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Full decompositions; (first, second, composite); (first, last, combining class). Hangul is left to arithmetic."""
    nfd: Callable[[str], str] = normalizers.NFD().normalize_str
    nfc: Callable[[str], str] = normalizers.NFC().normalize_str
    decompositions = [(ord(c), nfd(c)) for c in CHARACTERS if ord(c) not in HANGUL and nfd(c) != c]
    composites = []
    for code, parts in decompositions:
        first = nfc(parts[:-1])
        if len(parts) > 1 and nfc(chr(code)) == chr(code):
            assert len(first) == 1, f"U+{code:04X} is composed of more than two characters"
            composites.append((ord(first), ord(parts[-1]), code))
    combining: list[tuple[int, int, int]] = []
    highest = "\u0345"
    for c in CHARACTERS:
        value = unicodedata.combining(c)
        if not value or (c != highest and nfd(highest + c)[0] == highest):
            continue
        if combining and combining[-1][1] == ord(c) - 1 and combining[-1][2] == value:
            combining[-1] = (combining[-1][0], ord(c), value)
        else:
            combining.append((ord(c), ord(c), value))
    return decompositions, sorted(composites), combining


def table(declaration: str, rows: Iterable[tuple[int, ...]]) -> str:
    lines, line = [f"{declaration} = {{"], "   "
    for row in rows:
        entry = " {" + ", ".join(f"{v:#x}" for v in row) + "},"
        if len(line + entry) > WIDTH:
            lines.append(line)
            line = "   "
        line += entry
    return "\n".join([*lines, line, "};"])


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: make_unicode_tables.py OUT.cpp")
    decompositions, composites, combining = normal_forms()
    text, rows = "", []
    for code, parts in decompositions:
        rows.append((code, len(text), len(parts)))
        text += parts
    sizes = {"class_ranges": class_ranges(), "decompositions": rows, "composites": composites, "combining": combining}
    types = {
        "class_ranges": "ClassRange",
        "decompositions": "Decomposition",
        "composites": "Composite",
        "combining": "ClassRange",
    }
    lines = [
        f"// Written by tools/make_unicode_tables.py from tokenizers {tokenizers.__version__}.",
        '#include "unicode_tables.h"\n\nnamespace harken::unicode {\n',
    ]
    for name, values in sizes.items():
        lines.append(table(f"const {types[name]} {name}[]", values))
        lines.append(f"const std::size_t num_{name} = {len(values)};\n")
    letters = ", ".join(f"{ord(c):#x}" for c in text)
    lines.append(f"const char32_t decomposed[] = {{\n    {letters}}};\n")
    lines.append("}  // namespace harken::unicode\n")
    Path(sys.argv[1]).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
