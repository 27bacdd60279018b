"""`harken captions`: captions, queries and tags by a language model, filtered by fit, tags put into groups."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.cli.app import (
    AdapterOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    RecipeOption,
    app,
    load_model,
)
from ..engine.cli.output import SOME_FAILED, emit_facts, errors_as_lines, fail, progress_bar, say
from .commands_data import OptionOption, parse_options, read_spec

if TYPE_CHECKING:
    from .captions import CaptionTask
    from .captions.run import CaptionReport

captions_app = typer.Typer(help="Have captions, queries and tags written, filter and group them.", no_args_is_help=True)
app.add_typer(captions_app, name="captions")

SpecArgument = Annotated[str, typer.Argument(help="DATASET[:SPLIT]=ANNOTATION[,AUDIO] or manifest=FOLDER")]
TasksOption = Annotated[Path | None, typer.Option("--tasks", help="JSON file of tasks instead of the pipeline's own")]


@captions_app.command("tasks")
def tasks(pipeline: Annotated[str, typer.Argument(help="aurola, oea or robust_atr")]) -> None:
    """Print a pipeline's tasks as JSON, to be changed and given to --tasks."""
    with errors_as_lines():
        from .captions.task import to_json

        print(to_json(_tasks(pipeline, None, None)))


@captions_app.command("write")
def write(
    pipeline: Annotated[str, typer.Argument(help="aurola, oea or robust_atr")],
    rows: SpecArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="JSONL to write; one that is there is gone on with")],
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="OpenAI-compatible URL up to /v1; key from OPENAI_API_KEY")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name at the endpoint")] = None,
    local: Annotated[Path | None, typer.Option("--local", help="Checkpoint folder for transformers, instead")] = None,
    deaf: Annotated[bool, typer.Option("--text-only", help="The endpoint's model takes no sounds")] = False,
    only: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated")] = None,
    tasks_file: TasksOption = None,
    negatives: Annotated[
        Path | None, typer.Option("--negatives", help="Pairs of `harken mine pairs`, for tasks that rule a sound out")
    ] = None,
    num_first: Annotated[int | None, typer.Option("--first", min=1, help="Only that many rows")] = None,
    per_minute: Annotated[float | None, typer.Option("--per-minute", help="Requests a minute at most")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Requests under way at a time")] = 4,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Of a request, before it is given up")] = 5,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds a try may take")] = 120.0,
    tokens_field: Annotated[
        str, typer.Option("--max-tokens-field", help="max_tokens, or max_completion_tokens")
    ] = "max_tokens",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Requests between two syncs to the disk")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of the model's sampling")] = 0,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Also ask again what failed before")] = False,
    option: OptionOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a language model about every row. Killed and started again it goes on; what fails has a line with its error."""
    with errors_as_lines():
        from .captions.run import write_captions

        chosen = _tasks(pipeline, tasks_file, only)
        if (endpoint is None) == (local is None):
            raise fail("wanted --endpoint URL with --name MODEL, or --local FOLDER")
        if endpoint is not None and name is None:
            raise fail("--endpoint wants --name, the model's name there")
        wanted = read_spec(rows, parse_options(option)).rows
        if negatives is not None:
            wanted = _with_negatives(wanted, negatives)
        wanted = wanted[:num_first]
        captioner: Any
        if endpoint is not None:
            from .captions.endpoint import EndpointCaptioner

            captioner = EndpointCaptioner(
                endpoint,
                name or "",
                hears=not deaf,
                timeout_s=timeout_s,
                max_tries=tries,
                requests_per_minute=per_minute,
                num_threads=threads,
                max_tokens_field=tokens_field,
            )
        else:
            from .captions.local import LocalCaptioner

            captioner = LocalCaptioner(local or "", device=device or "cpu")
        with progress_bar("asking", len(wanted) * len(chosen)) as advance:
            report = write_captions(
                wanted,
                chosen,
                captioner,
                out,
                seed=seed,
                batch_size=batch_size,
                retry_errors=retry_errors,
                progress=advance,
            )
    _end(report, out, as_json)


@captions_app.command("filter")
def filter_(
    captions: Annotated[Path, typer.Argument(help="Captions file, as the pipeline robust_atr writes it")],
    rows: SpecArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="JSONL to write: the captions kept, and all scores")],
    keep: Annotated[int, typer.Option("--keep", min=1, help="Captions a sound at most")] = 5,
    min_score: Annotated[float | None, typer.Option("--min-score", help="Least cosine; default: none")] = None,
    option: OptionOption = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score captions against their sounds with a model of both (a CLAP, or any other) and keep the best."""
    with errors_as_lines():
        from .captions.filter import filter_captions

        wanted = read_spec(rows, parse_options(option)).rows
        loaded = load_model(model, recipe, adapter, device, dtype)
        with progress_bar("scoring", len(wanted)) as advance:
            report = filter_captions(wanted, captions, loaded, out, keep=keep, min_score=min_score, progress=advance)
    _end(report, out, as_json)


@captions_app.command("groups")
def groups(
    out: Annotated[Path, typer.Option("-o", "--out", help='JSON to write: {tag: {"cluster_index": number or null}}')],
    captions: Annotated[
        list[Path] | None, typer.Option("--captions", help="Captions file with tags; may be repeated")
    ] = None,
    rows: Annotated[list[str] | None, typer.Option("--rows", help="Rows with tags, as DATASET=ANNOTATION")] = None,
    num_groups: Annotated[int, typer.Option("--groups", min=1, help="How many")] = 1200,
    min_count: Annotated[int, typer.Option("--min-count", min=1, help="Seldomer tags get no group")] = 1,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", help="Checkpoint of a sentence encoder; default: --model's texts")
    ] = None,
    pooling: Annotated[str, typer.Option("--pooling", help="Of the encoder: cls or mean")] = "cls",
    seed: Annotated[int, typer.Option("--seed", help="Of k-means")] = 0,
    option: OptionOption = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put tags of like meaning into groups (k-means of their vectors)."""
    with errors_as_lines():
        from .captions.clusters import cluster_tags, count_tags, write_clusters
        from .captions.lines import read_captions

        options = parse_options(option)
        replies = [reply for path in captions or [] for of in read_captions(path).values() for reply in of.values()]
        tags = [reply["tags"] for reply in replies if "tags" in reply]
        tags += [list(row.tags) for spec in rows or [] for row in read_spec(spec, options).rows]
        counts = count_tags(tags)
        if not counts:
            raise fail("no tag is there; wanted --captions or --rows with tags")
        texts: Any
        if encoder is not None:
            from .sentences import SentenceEncoder

            texts = SentenceEncoder(encoder, pooling=pooling, device=device or "cpu")  # type: ignore[arg-type]
        else:
            texts = load_model(model, recipe, adapter, device, dtype)
        found = cluster_tags(counts, texts, num_clusters=num_groups, min_count=min_count, seed=seed)
        write_clusters(out, found)
    without = sum(group is None for group in found.values())
    emit_facts({"tags": len(found), "groups": num_groups, "without a group": without, "file": str(out)}, as_json)


def _tasks(pipeline: str, path: Path | None, only: list[str] | None) -> "tuple[CaptionTask, ...]":
    from .captions import PIPELINES, load_tasks

    if pipeline not in PIPELINES:
        raise fail(f"pipeline is {pipeline!r}; wanted one of {', '.join(PIPELINES)}")
    known = PIPELINES[pipeline] if path is None else load_tasks(path)
    if unknown := sorted(set(only or []) - {task.name for task in known}):
        raise fail(f"task is {unknown[0]!r}; wanted some of {', '.join(task.name for task in known)}")
    return tuple(task for task in known if not only or task.name in only)


def _with_negatives(rows: Any, path: Path) -> Any:
    from .data.table import read_records
    from .mining import with_negatives

    final = {}
    for number, fields in read_records(path):
        audio, ids = fields.get("audio"), fields.get("negatives")
        if not isinstance(audio, str) or not isinstance(ids, list):
            raise fail(f'{path}:{number}: wanted {{"audio": id, "negatives": [ids]}}')
        final[audio] = [str(i) for i in ids]
    return with_negatives(rows, final)


def _end(report: "CaptionReport", out: Path, as_json: bool) -> None:
    facts = {
        "written": report.num_done,
        "failed": report.num_failed,
        "done before": report.num_before,
        "file": str(out),
    }
    emit_facts(facts, as_json)
    if report.num_failed:
        say(f"{report.num_failed} have a line with their error in {out}")
        raise typer.Exit(SOME_FAILED)
