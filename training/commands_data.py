"""`harken data`: what a dataset's files hold, and what a test set shares with a training set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.cli.app import JsonOption, app
from ..engine.cli.output import SOME_FAILED, emit, emit_facts, errors_as_lines, fail, progress_bar, say

if TYPE_CHECKING:
    from .data import Row, Rows

data_app = typer.Typer(help="Read published datasets and look for leakage between them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

# Problems told one by one before the rest is only counted.
NUM_TOLD = 20
# Rows decoded between two steps of the bar.
DECODE_ROWS = 256

OptionOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="NAME=VALUE of the dataset, see `harken data datasets`; may be repeated"),
]
ProblemsOption = Annotated[Path | None, typer.Option("--problems", help="Write all problems here, a line each")]
SplitOption = Annotated[str | None, typer.Option("--split", help="Only train, val or test")]


@data_app.command("datasets")
def datasets(as_json: JsonOption = False) -> None:
    """List the datasets that can be read, and their files."""
    from .data import DATASETS

    emit(({"dataset": a.name, "files": a.about, "options": ", ".join(a.options)} for a in DATASETS.values()), as_json)


@data_app.command("check")
def check(
    dataset: Annotated[str, typer.Argument(help="A name of `harken data datasets`")],
    annotation: Annotated[Path, typer.Argument(help="The published annotation file")],
    audio: Annotated[
        Path | None, typer.Option("--audio", help="Folder of the sounds; default: none is looked for")
    ] = None,
    split: SplitOption = None,
    option: OptionOption = None,
    decode: Annotated[bool, typer.Option("--decode", help="Also read every sound to its end")] = False,
    problems: ProblemsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a dataset and say what is in it and what cannot be read. Exit code 1 if anything cannot."""
    with errors_as_lines():
        from .data import read_dataset

        rows = read_dataset(dataset, annotation, audio, split, strict=False, **parse_options(option))
        if decode and all(row.audio is None for row in rows.rows):
            raise fail("--decode wants --audio, the folder of the sounds")
        if decode:
            rows.problems += _undecodable(rows.rows)
    _tell(rows, problems, as_json)


@data_app.command("scan")
def scan(
    inputs: Annotated[list[str], typer.Argument(help="Folders, tars, Parquet files, lists, patterns")],
    decode: Annotated[bool, typer.Option("--decode", help="Also read every sound to its end")] = False,
    problems: ProblemsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read data of one's own and say what is in it and what cannot be read. Exit code 1 if anything cannot."""
    with errors_as_lines():
        from .data import Rows
        from .data.shards import every_row, find_shards
        from .data.sounds import unreadable

        shards, rows = find_shards(inputs), Rows([])
        block: list[Row] = []
        with progress_bar("reading", len(shards)) as advance:
            for shard in shards:
                for got in every_row([shard]):
                    if isinstance(got, str):
                        rows.problems.append(got)
                    else:
                        block.append(got)
                        rows.rows.append(got)
                    if len(block) == DECODE_ROWS:
                        rows.problems += unreadable(block) if decode else []
                        block = []
                advance(1)
            rows.problems += unreadable(block) if decode else []
    _tell(rows, problems, as_json)


def _tell(rows: "Rows", problems: Path | None, as_json: bool) -> None:
    if problems is not None:
        write_lines(problems, rows.problems)
    for problem in rows.problems[:NUM_TOLD]:
        say(problem)
    if len(rows.problems) > NUM_TOLD:
        say(f"... and {len(rows.problems) - NUM_TOLD} more; --problems FILE writes all")
    emit_facts(_facts(rows), as_json)
    if rows.problems:
        raise typer.Exit(SOME_FAILED)


def _facts(rows: "Rows") -> dict[str, Any]:
    splits: dict[str, int] = {}
    for row in rows.rows:
        splits[row.split or "none told"] = splits.get(row.split or "none told", 0) + 1
    return {
        "rows": len(rows.rows),
        "with a sound": sum(row.audio is not None for row in rows.rows),
        "left out": rows.num_left_out,
        "problems": len(rows.problems),
        "captions": sum(len(row.captions) for row in rows.rows),
        "with tags": sum(bool(row.tags) for row in rows.rows),
        "different labels": len({label for row in rows.rows for label in row.labels}),
        "questions": sum(row.question is not None for row in rows.rows),
        "splits": ", ".join(f"{name} {count}" for name, count in sorted(splits.items())),
    }


def _undecodable(rows: "list[Row]") -> list[str]:
    from .data.sounds import unreadable

    found: list[str] = []
    with progress_bar("decoding", len(rows)) as advance:
        for start in range(0, len(rows), DECODE_ROWS):
            found += unreadable(rows[start : start + DECODE_ROWS])
            advance(len(rows[start : start + DECODE_ROWS]))
    return found


@data_app.command("leakage")
def leakage(
    train: Annotated[
        list[str], typer.Option("--train", help="DATASET=ANNOTATION or DATASET=ANNOTATION,AUDIO; may be repeated")
    ],
    test: Annotated[list[str], typer.Option("--test", help="The same; DATASET:SPLIT=... takes one split only")],
    audio: Annotated[bool, typer.Option("--samples", help="Compare samples too; reads every sound")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the pairs here, one JSON object a line")
    ] = None,
    option: OptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count test rows whose sound is in the training set. Exit code 1 if there is one; captions in common do not count."""
    with errors_as_lines():
        from .data.leakage import find_leakage

        options = parse_options(option)
        sets = [[row for spec in specs for row in _rows_of(spec, audio, options)] for specs in (train, test)]
        found = find_leakage(*sets, audio=audio)
        if out is not None:
            pairs = (
                {"by": kind, "test": test_id, "train": ids}
                for kind, of in found.shared.items()
                for test_id, ids in of.items()
            )
            write_lines(out, [json.dumps(pair, ensure_ascii=False) for pair in pairs])
    for problem in found.problems[:NUM_TOLD]:
        say(f"not compared: {problem}")
    if len(found.problems) > NUM_TOLD:
        say(f"... and {len(found.problems) - NUM_TOLD} more sounds that cannot be read")
    emit(found.table(), as_json, title=f"{found.num_test} test rows, {found.num_train} training rows")
    if found.leaked:
        raise typer.Exit(SOME_FAILED)


def _rows_of(spec: str, audio: bool, options: dict[str, Any]) -> "list[Row]":
    rows = read_spec(spec, options)
    if audio and all(row.audio is None for row in rows.rows):
        raise fail(f"{spec}: --samples wants DATASET=ANNOTATION,AUDIO")
    return rows.rows


def read_spec(spec: str, options: dict[str, Any]) -> "Rows":
    """The rows of DATASET[:SPLIT]=ANNOTATION[,AUDIO], or of manifest=FOLDER; what cannot be read is counted on standard error.

    Args:
        spec: as given on the command line.
        options: those that the dataset knows are taken.
    """
    from .data import DATASETS
    from .rows import SourceSettings, read_rows

    name, equals, place = spec.partition("=")
    if not equals or not place:
        raise fail(f"{spec!r}: wanted DATASET=ANNOTATION or DATASET=ANNOTATION,AUDIO")
    name, _, split = name.partition(":")
    annotation, _, audio = place.partition(",")
    known = {k: v for k, v in options.items() if name in DATASETS and k in DATASETS[name].options}
    rows = read_rows([SourceSettings(name, annotation, audio or None, split or None, known)])
    if rows.problems:
        say(f"{spec}: {len(rows.problems)} records cannot be read; the first: {rows.problems[0]}")
    return rows


def parse_options(given: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE arguments; a value that is JSON counts as that, "A,AV" as two words."""
    options: dict[str, Any] = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise fail(f"--option is {one!r}; wanted NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = tuple(value.split(",")) if "," in value else value
    return options


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file; what goes wrong ends the command with one line."""
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise fail(f"{path}: cannot be written: {error.strerror or error}") from None
