"""Strings that tokenizers disagree on: scripts, emoji, marks, white space, contractions, special tokens, broken UTF-8."""

import random
from collections.abc import Iterator

_POOLS: list[list[str]] = [
    [chr(c) for c in range(32, 127)],
    list(" \t\n\r\u00a0\u3000\u2003\u0085\x0b\x1c\u2028"),
    ["'s", "'T", "'re", "'LL", "'ve", "'m", "'d", "'\u017f", "\u2019s", "'"],
    [chr(c) for c in range(0x4E00, 0x4F00)] + list("\u3042\u3044\u30ab\u30bf\ud55c\uae00"),
    ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea"],
    [chr(c) for c in range(0x300, 0x370)] + list("aeiouAEnq\u1e63\u0344\u212b\ufb1d"),
    list("0123456789\u00b2\u00bd\u2167\u0663\u0967\uff11"),
    [chr(c) for c in range(0x1100, 0x1200)] + [chr(0xAC00 + i) for i in range(0, 200, 7)],
    list("\u0627\u0628\u062a\u05d0\u05d1\u05d2\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0939\u093f\u0928\u094d\u0926\u0940"),
]  # fmt: skip
_WORDS = (
    "The dog's bark; they've SAID we'll go, DON'T! 12345 3.14 foo_bar C++ na\u00efve caf\u00e9 r\u00e9sum\u00e9".split()
)


def drawn_strings(num: int, special: list[str], seed: int) -> Iterator[bytes]:
    """UTF-8, a part of it broken."""
    rng = random.Random(seed)
    for i in range(num):
        text = _mixed(rng)
        if i % 5 == 1:
            text = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(0, 20)))
        if i % 5 == 2 and special:
            for _ in range(rng.randint(1, 3)):
                at = rng.randint(0, len(text))
                text = text[:at] + rng.choice(special) + text[at:]
        if i % 50 == 4:
            text = " " * rng.randint(1, 300) + text + "\n" * rng.randint(0, 40) + "a" * rng.randint(0, 500)
        data = bytearray(text.encode())
        if i % 5 == 3:
            for _ in range(rng.randint(1, 5)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
        yield bytes(data)


def _mixed(rng: random.Random) -> str:
    parts: list[str] = []
    for _ in range(rng.randint(0, 12)):
        if rng.random() < 0.1:
            parts.append(chr(rng.choice([rng.randint(0, 0xD7FF), rng.randint(0xE000, 0x10FFFF)])))
        else:
            parts += rng.choices(rng.choice(_POOLS), k=rng.randint(1, 6))
    return "".join(parts)
