"""`harken index merge / add / delete / export / import`, and `harken index run` for bulk runs."""

from pathlib import Path
from typing import Annotated

import typer

from .app import JsonOption
from .index import MetadataOption, index_app, say_unknown
from .output import emit_facts, errors_as_lines

IndexArgument = Annotated[Path, typer.Argument(help="Index folder")]


@index_app.command("run")
def run(
    folder: Annotated[Path, typer.Argument(help="Folder of a `harken bulk` run")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index folder to write")],
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an index of all finished parts of a bulk run."""
    with errors_as_lines():
        from ..bulk.index import index_run

        count, num_unknown = index_run(folder, out, metadata)
        if metadata is not None:
            say_unknown(num_unknown, metadata)
    emit_facts({"vectors": count, "index": str(out)}, as_json)


@index_app.command("merge")
def merge(
    indexes: Annotated[list[Path], typer.Argument(help="Index folders, made by one model")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index folder to write")],
    as_json: JsonOption = False,
) -> None:
    """Make one index of several."""
    with errors_as_lines():
        from ..index.edit import merge as merge_indexes

        merge_indexes(indexes, out)
    _told(out, as_json)


@index_app.command("add")
def add(
    index: IndexArgument,
    vectors: Annotated[Path, typer.Argument(help="Vectors file, from `harken embed` or a part of a bulk run")],
    as_json: JsonOption = False,
) -> None:
    """Put the vectors of a file into an index. A kill leaves the old index or the new one."""
    with errors_as_lines():
        import pyarrow as pa

        from ..index import Index
        from ..index.edit import add as add_rows
        from ..vectors import read_vectors

        table = read_vectors(vectors)
        durations = {"duration_s": pa.array(table.durations_s, pa.float32())}
        rows = Index.build(table.vectors, table.ids, fingerprint=table.fingerprint, metadata=pa.table(durations))
        add_rows(index, rows)
    _told(index, as_json)


@index_app.command("delete")
def delete(
    index: IndexArgument,
    ids: Annotated[list[str], typer.Argument(help="What to take out; @FILE holds one id a line")],
    as_json: JsonOption = False,
) -> None:
    """Take rows out of an index; an unknown id is an error, and nothing is taken out."""
    with errors_as_lines():
        from ..index.edit import delete as delete_rows

        delete_rows(index, [name for given in ids for name in _ids(given)])
    _told(index, as_json)


@index_app.command("export")
def export(
    index: IndexArgument,
    out: Annotated[Path, typer.Argument(help="NAME.faiss or NAME.usearch; ids go to a file beside it")],
    as_json: JsonOption = False,
) -> None:
    """Write an index as a file of faiss or usearch."""
    with errors_as_lines():
        from ..index.interop import export as export_index

        export_index(index, out)
    emit_facts({"file": str(out)}, as_json)


@index_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="NAME.faiss (flat, inner product) or NAME.usearch")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index folder to write")],
    as_json: JsonOption = False,
) -> None:
    """Make an index of a file of faiss or usearch. Such a file tells no fingerprint, so the index has none."""
    with errors_as_lines():
        from ..index.interop import import_ as import_index

        import_index(file).save(out)
    _told(out, as_json)


def _ids(given: str) -> list[str]:
    if not given.startswith("@"):
        return [given]
    path = Path(given[1:])
    if not path.is_file():
        from ...errors import InputError

        raise InputError(f"{path}: there is no such file; wanted one id a line")
    return [line for line in path.read_text().splitlines() if line]


def _told(path: Path, as_json: bool) -> None:
    from ..index import Index

    index = Index.open(path)
    emit_facts({"vectors": len(index), "dim": index.dim, "index": str(path)}, as_json)
