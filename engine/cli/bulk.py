"""`harken bulk`: a corpus embedded in one go that may be killed and started again."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from .app import AdapterOption, DeviceOption, DtypeOption, JsonOption, ModelOption, RecipeOption, app, load_model
from .bulk_output import say_end, say_manifest, stop_at_interrupt, told
from .index import MetadataOption, say_unknown
from .output import SOME_FAILED, emit_facts, errors_as_lines, fail

if TYPE_CHECKING:
    from ..bulk import LocalEngine
    from ..bulk.encoder import Encoder
    from ..bulk.ray import RayEngine

# As a shell tells it of a program that Ctrl-C ended.
STOPPED = 130


@app.command()
def bulk(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Folders, patterns, sound files, lists (.csv .tsv .jsonl .parquet), tars; paths or URLs"),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write; one that a run began is gone on with")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens a batch")] = None,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For recipes that take one")] = None,
    format: Annotated[str, typer.Option("--format", help="parquet, or npy with metadata beside it")] = "parquet",
    store: Annotated[
        str | None,
        typer.Option(
            "--store", help="float32, float16 or int8 with a scale; audio tokens: bfloat16 or float16 [the first]"
        ),
    ] = None,
    audio_tokens: Annotated[
        bool,
        typer.Option("--audio-tokens", help="Instead of vectors what a reranker (--model) hears, for it to read later"),
    ] = False,
    part_rows: Annotated[
        int | None, typer.Option("--part-rows", min=1, help="Sounds a part, the unit of going on [4096; tokens: 256]")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="That read and decode [measured]")] = None,
    processes: Annotated[
        bool | None, typer.Option("--processes/--no-processes", help="Decode in as many processes [measured]")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray for a cluster")] = "local",
    address: Annotated[str, typer.Option("--address", help="Of the Ray cluster")] = "auto",
    actors: Annotated[int | None, typer.Option("--actors", min=1, help="Models at work on the cluster [GPUs]")] = None,
    actor_gpus: Annotated[float, typer.Option("--actor-gpus", min=0, help="GPUs of each")] = 1.0,
    actor_cpus: Annotated[int, typer.Option("--actor-cpus", min=1, help="CPUs, and reading threads, of each")] = 8,
    duplicates: Annotated[
        str, typer.Option("--duplicates", help="Two sounds of one id: refuse, or keep the first")
    ] = "refuse",
    num_first: Annotated[
        int | None, typer.Option("--first", min=1, help="Only that many sounds from the front")
    ] = None,
    index: Annotated[Path | None, typer.Option("--index", help="Then build an index of all vectors here")] = None,
    metadata: MetadataOption = None,
    lance: Annotated[
        Path | None, typer.Option("--lance", help="Then write a Lance dataset of all vectors here")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Then draw lengths, throughput and failures")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Do parts with failures anew")] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Hash the parts found done")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the sounds and say what is wrong")] = False,
    max_error_rate: Annotated[
        float, typer.Option("--max-error-rate", min=0, max=1, help="Exit 0 up to this share of failed sounds")
    ] = 0.0,
    prometheus: Annotated[Path | None, typer.Option("--prometheus", help="Keep counters in this text file")] = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a corpus of any size, part by part. Started again after a kill, it does what is missing.

    The first Ctrl-C finishes the part in hand, the second ends at once; both keep what is done.
    """
    with errors_as_lines():
        from ..bulk import Settings, run_bulk

        if duplicates not in ("refuse", "first"):
            raise typer.BadParameter(f"is {duplicates!r}; wanted refuse or first", param_hint="--duplicates")
        which = cast(Literal["refuse", "first"], duplicates)
        if dry_run:
            _dry_run(inputs, which, num_first, as_json)
            return
        if metadata is not None and index is None:
            raise fail("--metadata is for an index; give --index too")
        if audio_tokens:
            settings = Settings("tokens", store or "bfloat16", part_rows or 256, instruction)
            if index is not None or lance is not None:
                raise fail("--audio-tokens makes no vectors; leave out --index and --lance")
        else:
            settings = Settings(format, store or "float32", part_rows or 4096, instruction)
        ways = Ways(model, recipe, adapter, device, dtype, batch_tokens)
        with stop_at_interrupt() as stop, told(as_json, prometheus) as tell:
            report = run_bulk(
                inputs,
                out,
                partial(ways.tokens, settings.dtype) if audio_tokens else ways.vectors,
                settings=settings,
                engine=_engine(engine, threads, processes, address, actors, actor_gpus, actor_cpus),
                duplicates=which,
                num_first=num_first,
                made_with=ways.made_with,
                verify=verify,
                retry_errors=retry_errors,
                stop=stop,
                on_manifest=say_manifest,
                on_progress=tell,
            )
        if report.finished:
            _after(out, index, metadata, lance)
        if plot is not None:
            from ..bulk.plot import plot_run

            plot_run(out, plot)
    say_end(report, out, as_json, prometheus)
    if not report.finished:
        raise typer.Exit(STOPPED)
    if report.progress.num_failed > max_error_rate * report.progress.num_rows:
        raise typer.Exit(SOME_FAILED)


@dataclass(frozen=True)
class Ways:
    """How to load the model, here or on another machine."""

    model: str | None
    recipe: str | None
    adapter: Path | None
    device: str | None
    dtype: str | None
    batch_tokens: int | None

    def vectors(self) -> "Encoder":
        return load_model(self.model, self.recipe, self.adapter, self.device, self.dtype, self.batch_tokens)

    def tokens(self, store: str) -> "Encoder":
        from ..bulk.tokens import TokenEncoder
        from ..placement import BATCH_TOKENS
        from ..rerank.load import load_reranker

        options = {name: getattr(self, name) for name in ("recipe", "adapter", "device", "dtype")}
        given = {name: value for name, value in options.items() if value is not None}
        reranker = load_reranker(self.model, **given) if self.model else load_reranker(**given)
        batch_tokens = self.batch_tokens or BATCH_TOKENS[reranker.model.device.type]
        return TokenEncoder(reranker.model, reranker.recipe, batch_tokens=batch_tokens, dtype=store)

    def made_with(self, loaded: Any) -> dict[str, Any]:
        from ..bulk.tokens import TokenEncoder
        from ..vectors import made_with

        if not isinstance(loaded, TokenEncoder):
            return made_with(loaded)
        return {"model": self.model, "adapter": self.adapter and str(self.adapter), "recipe": loaded.recipe.name}


def _engine(
    name: str, threads: int | None, processes: bool | None, address: str, actors: int | None, gpus: float, cpus: int
) -> "LocalEngine | RayEngine":
    if name == "local":
        from ..bulk import LocalEngine

        return LocalEngine(threads, in_processes=processes)
    if name != "ray":
        raise fail(f"--engine is {name!r}; wanted local or ray")
    from ..bulk.ray import RayEngine

    return RayEngine(address, num_actors=actors, gpus=gpus, cpus=cpus)


def _after(run: Path, index: Path | None, metadata: Path | None, lance: Path | None) -> None:
    """What is made of a finished run's vectors."""
    if index is not None:
        from ..bulk.index import index_run

        _, num_unknown = index_run(run, index, metadata)
        if metadata is not None:
            say_unknown(num_unknown, metadata)
    if lance is not None:
        from ..bulk.lance import lance_run

        lance_run(run, lance)


def _dry_run(inputs: list[str], duplicates: Literal["refuse", "first"], num_first: int | None, as_json: bool) -> None:
    from tempfile import TemporaryDirectory

    from ..bulk import freeze

    with TemporaryDirectory() as folder:
        manifest = freeze(inputs, Path(folder) / "manifest.parquet", duplicates=duplicates, num_first=num_first)
    say_manifest(manifest)
    emit_facts(
        {
            "sounds": manifest.num_rows,
            "bytes": manifest.num_bytes,
            "missing": manifest.num_missing,
            "repeated": manifest.num_repeated,
            "left out": manifest.num_dropped,
            "sha256": manifest.sha256,
        },
        as_json,
    )
