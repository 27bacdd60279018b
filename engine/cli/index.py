"""`harken index`, `harken search` and `harken info`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import AdapterOption, DeviceOption, DtypeOption, JsonOption, ModelOption, RecipeOption, app, load_model
from .output import emit, emit_facts, errors_as_lines, fail, say

index_app = typer.Typer(help="Build indexes and look into them.", no_args_is_help=True)
app.add_typer(index_app, name="index")


@index_app.command("build")
def build(
    vectors: Annotated[Path, typer.Argument(help="Vectors file, from `harken embed`")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index folder to write, by custom NAME.harken")],
    as_json: JsonOption = False,
) -> None:
    """Build an exact index from a vectors file. Rows of failed sounds are left out and counted."""
    with errors_as_lines():
        from ..index import Index
        from ..vectors import read_vectors

        table = read_vectors(vectors)
        if not len(table.ids):
            raise fail(f"{vectors}: holds no vector, {len(table.failures)} failures; wanted at least one vector")
        Index.build(table.vectors, ids=table.ids, fingerprint=table.fingerprint, made_with=table.made_with).save(out)
    if table.failures:
        say(f"left out {len(table.failures)} sounds that could not be embedded")
    emit_facts({"vectors": len(table.ids), "dim": table.vectors.shape[1], "index": str(out)}, as_json)


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Index folder")],
    text: Annotated[str | None, typer.Argument(help="What to look for")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound to look for instead of a text")] = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="Hits")] = 10,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For recipes that take one")] = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the sounds of an index that answer a text or a sound. The model is the one the index was made with."""
    if (text is None) == (audio is None):
        raise fail("search wants either a text or --audio FILE")
    with errors_as_lines():
        from ..index import Index

        opened = Index.open(index)
        made_with = opened.made_with if model is None else {}
        loaded = load_model(
            model if model is not None else made_with.get("model"),
            recipe if recipe is not None else made_with.get("recipe"),
            adapter if adapter is not None else made_with.get("adapter"),
            device,
            dtype if dtype is not None else made_with.get("dtype"),
        )
        if text is not None:
            query = loaded.encode_text([text], instruction=instruction)
        else:
            query = loaded.encode_audio([audio], instruction=instruction)
        hits = opened.search(query, k=k, fingerprint=loaded.fingerprint)
    rows = [
        {"rank": rank, "score": float(score), "id": name}
        for rank, (name, score) in enumerate(zip(hits.ids[0], hits.scores[0]), 1)
    ]
    emit(rows, as_json)


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
        return {"kind": "index", "vectors": len(index), "dim": index.dim, "fingerprint": str(index.fingerprint)}
    if (path / "adapter_config.json").is_file():
        from ..models.adapter import Adapter

        return {"kind": "LoRA adapter", **Adapter(path).describe()}
    if (path / "config.json").is_file():
        from ..models.load import model_type
        from ..models.weights import checkpoint_files

        size = sum(file.stat().st_size for file in checkpoint_files(path))
        return {"kind": "model", "model_type": model_type(path), "weights": f"{size / 1e6:.1f} MB"}
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
