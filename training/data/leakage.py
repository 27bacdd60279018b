"""What a test set shares with a training set: the reason a published figure may be too good.

    id        the same id in both (ids of digits alone count within one source only)
    origin    the same recording under its site's name: YouTube video, Freesound sound, file name
    audio     the same samples, whatever the container; only where asked for, for it reads every sound
    caption   the same caption but for case and punctuation; told apart, for two sounds may share one

Source: own; an audit of OEA's set-up found 17.7 % of AudioCaps' test clips and 61 % of Clotho's in WavCaps this way.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...engine.audio import Waveform
from .row import Row
from .sounds import load_sounds, sound_hash

KINDS = ("id", "origin", "audio", "caption")
_NO_WORD = re.compile(r"[^\w]+")


@dataclass(slots=True)
class Leakage:
    """What was found."""

    num_train: int
    num_test: int
    # For each kind that was looked for: test id -> ids of training rows, in their order.
    shared: dict[str, dict[str, list[str]]]
    # Sounds that could not be read, and so not compared.
    problems: list[str] = field(default_factory=list)

    @property
    def leaked(self) -> list[str]:
        """Ids of test rows whose sound is in the training set, by any kind of evidence but captions."""
        found = {test_id for kind, pairs in self.shared.items() if kind != "caption" for test_id in pairs}
        return sorted(found)

    def table(self) -> list[dict[str, object]]:
        """A line a kind: how many test rows are shared, and their percentage."""
        lines = [(kind, len(pairs)) for kind, pairs in self.shared.items()] + [("any but caption", len(self.leaked))]
        return [
            {"by": kind, "test rows": n, "of": self.num_test, "percent": round(100 * n / max(self.num_test, 1), 2)}
            for kind, n in lines
        ]


def find_leakage(train: Sequence[Row], test: Sequence[Row], *, audio: bool = False) -> Leakage:
    """Compare two sets of rows.

    Args:
        train, test: rows of one or several datasets each.
        audio: compare samples too.
    """
    result = Leakage(len(train), len(test), {})
    names: dict[str, Callable[[Row], Iterable[str]]] = {"id": _ids, "origin": lambda row: row.origins}
    if audio:
        hashes = {id(row): value for row, value in _hashes([*train, *test], result.problems)}
        names["audio"] = lambda row: [hashes[id(row)]] if id(row) in hashes else []
    names["caption"] = lambda row: {plain(caption) for caption in row.captions} - {""}
    for kind, names_of in names.items():
        result.shared[kind] = _shared(train, test, names_of)
    return result


def _ids(row: Row) -> list[str]:
    return [f"{row.source}/{row.id}" if row.id.isdigit() else row.id]


def _shared(
    train: Sequence[Row], test: Sequence[Row], names_of: Callable[[Row], Iterable[str]]
) -> dict[str, list[str]]:
    wanted = {name for row in test for name in names_of(row)}
    found: dict[str, list[str]] = {}
    for row in train:
        for name in names_of(row):
            if name in wanted:
                found.setdefault(name, []).append(row.id)
    pairs: Mapping[str, list[str]] = {
        row.id: list(dict.fromkeys(i for name in names_of(row) for i in found.get(name, ()))) for row in test
    }
    return {test_id: ids for test_id, ids in pairs.items() if ids}


def _hashes(rows: Sequence[Row], problems: list[str]) -> Iterable[tuple[Row, str]]:
    for row, got in load_sounds(row for row in rows if row.audio is not None):
        if isinstance(got, Waveform):
            yield row, sound_hash(got)
        else:
            problems.append(str(got))


def plain(caption: str) -> str:
    """A caption without case and punctuation."""
    return _NO_WORD.sub(" ", caption.lower()).strip()
