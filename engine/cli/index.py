"""`harken index build` and `harken info`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import JsonOption, app
from .output import emit_facts, errors_as_lines, fail, say

index_app = typer.Typer(help="Build indexes and look into them.", no_args_is_help=True)
app.add_typer(index_app, name="index")

MetadataOption = Annotated[
    Path | None, typer.Option("--metadata", help="Table (.csv .tsv .jsonl .parquet) whose columns are joined by id")
]


@index_app.command("build")
def build(
    vectors: Annotated[Path, typer.Argument(help="Vectors file, from `harken embed`")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index folder to write, by custom NAME.harken")],
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an exact index from a vectors file. Rows of failed sounds are left out and counted."""
    with errors_as_lines():
        import pyarrow as pa

        from ..index import Index
        from ..index.metadata import join_metadata, read_metadata
        from ..vectors import read_vectors

        table = read_vectors(vectors)
        if not len(table.ids):
            raise fail(f"{vectors}: holds no vector, {len(table.failures)} failures; wanted at least one vector")
        columns = pa.table({"id": table.ids, "duration_s": pa.array(table.durations_s, pa.float32())})
        if metadata is not None:
            columns, num_unknown = join_metadata(columns, read_metadata(metadata))
            say_unknown(num_unknown, metadata)
        Index.build(
            table.vectors,
            ids=table.ids,
            fingerprint=table.fingerprint,
            metadata=columns.drop_columns(["id"]),
            made_with=table.made_with,
        ).save(out)
    if table.failures:
        say(f"left out {len(table.failures)} sounds that could not be embedded")
    emit_facts({"vectors": len(table.ids), "dim": table.vectors.shape[1], "index": str(out)}, as_json)


def say_unknown(num_unknown: int, metadata: Path) -> None:
    """Tell of rows that a table of metadata lacks."""
    if num_unknown:
        say(f"{num_unknown} sounds are not in {metadata}; their columns are empty")


@index_app.command("info")
@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Model or adapter folder, vectors file, index, or sound")],
    as_json: JsonOption = False,
) -> None:
    """Say what a file or folder is."""
    with errors_as_lines():
        emit_facts(_facts(path), as_json)


def _facts(path: Path) -> dict[str, Any]:
    from ..vectors import read_vectors

    if not path.exists():
        raise fail(f"{path}: there is no such file or folder")
    if (path / "index.json").is_file():
        from ..index import Index

        index = Index.open(path)
        columns = ", ".join(f"{field.name} {field.type}" for field in index.metadata.schema)
        return {
            "kind": "index",
            "vectors": len(index),
            "dim": index.dim,
            "dtype": index.dtype,
            "columns": columns,
            "fingerprint": str(index.fingerprint),
        }
    if (path / "adapter_config.json").is_file():
        from ..models.adapter import Adapter

        return {"kind": "LoRA adapter", **Adapter(path).describe()}
    if (path / "config.json").is_file():
        from ..models.footprint import footprint

        return {"kind": "model", **footprint(path)}
    if path.is_dir():
        raise fail(f"{path}: is a folder without config.json, adapter_config.json or index.json")
    if path.suffix == ".parquet":
        table = read_vectors(path)
        return {
            "kind": "vectors",
            "vectors": len(table.ids),
            "failed": len(table.failures),
            "dim": table.vectors.shape[1],
            "fingerprint": str(table.fingerprint),
        }
    from ..audio import probe

    sound = probe(path)
    return {
        "kind": "sound",
        "format": sound.format,
        "seconds": round(sound.duration_s, 3),
        "rate_hz": sound.sample_rate_hz,
        "channels": sound.num_channels,
    }
