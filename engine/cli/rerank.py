"""`harken rerank` and `harken tune-fusion`."""

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import AdapterOption, DeviceOption, DtypeOption, JsonOption, app
from .output import SOME_FAILED, emit_facts, errors_as_lines, fail, progress_bar, say

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..rerank.fusion import FusionWeights
    from ..rerank.prompts import Direction
    from ..rerank.reranker import Reranker
    from ..rerank.runner import Ranked


@app.command()
def rerank(
    hits: Annotated[
        str, typer.Option("--hits", help='Rows of query, id, score: .parquet, .json, JSON lines; "-": standard input')
    ],
    model: Annotated[
        str | None,
        typer.Argument(help="Reranker: checkpoint folder or hub repository; default: the built-in model"),
    ] = None,
    query: Annotated[str | None, typer.Option("--query", help="Query of rows that name none")] = None,
    direction: Annotated[
        str | None, typer.Option("--direction", help="a2t (queries are sounds) or t2a; default: told from the rows")
    ] = None,
    top: Annotated[int, typer.Option("-k", "--top", min=1, help="Hits a query that are reranked")] = 50,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", help="From `harken tune-fusion`; default: fusion.json of the adapter, else P(Yes) alone"
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Rerank recipe: name (see `harken recipes`) or JSON file")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="JSON lines file; default: standard output")] = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    audio_tokens: Annotated[
        Path | None, typer.Option("--audio-tokens", help="Folder of `harken bulk --audio-tokens` by the same model")
    ] = None,
    cache_mb: Annotated[int, typer.Option("--cache-mb", min=0, help="Memory for audio tokens, MB")] = 1024,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Exit 0 even if hits failed")] = False,
) -> None:
    """Rerank hits with a multimodal LLM: JSON lines, best first within each query. A hit that fails keeps its row."""
    from ..bulk.tokens import AudioTokens
    from ..rerank.fusion import FusionWeights
    from ..rerank.hits import by_query, read_hits
    from ..rerank.load import load_reranker

    if direction not in (None, "a2t", "t2a"):
        raise fail(f"--direction is {direction!r}; wanted a2t or t2a")
    with errors_as_lines():
        fusion = None if weights is None else FusionWeights.load(weights)
        groups = by_query(read_hits(hits, query))
        loaded = load_reranker(
            model,
            adapter=adapter,
            recipe=recipe,
            device=device,
            dtype=dtype,
            cache_bytes=cache_mb * 10**6,
            stored=None if audio_tokens is None else AudioTokens(audio_tokens),
        )
        with ExitStack() as stack:
            file = sys.stdout if out is None else stack.enter_context(open(out, "w"))
            advance = stack.enter_context(progress_bar("reranking", len(groups)))
            num_failed = 0
            for rows in reranked(loaded, groups, direction, top, fusion or loaded.fusion):  # type: ignore[arg-type]
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                num_failed += sum(row["error"] is not None for row in rows)
                advance(1)
    if num_failed:
        say(f"{num_failed} hits could not be scored; their rows have an error")
        if not allow_errors:
            raise typer.Exit(SOME_FAILED)


@app.command("tune-fusion")
def tune_fusion(
    reranked: Annotated[
        list[str],
        typer.Argument(help="What `harken rerank` wrote of one or both directions, with `relevant` in each row"),
    ],
    split: Annotated[str, typer.Option("--split", help="Name of the split; a test split is refused")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Weights file to write (JSON)")],
    as_json: JsonOption = False,
) -> None:
    """Fit the weights of retrieval and reranker scores on a validation split."""
    from ..rerank.fusion import fit_fusion
    from ..rerank.hits import read_hits, tables

    with errors_as_lines():
        found = tables([row for path in reranked for row in read_hits(path)], ", ".join(reranked))
        fitted, recall = fit_fusion(
            found["similarity"], found["relevant"], a2t_TA=found.get("a2t"), t2a_TA=found.get("t2a"), split=split
        )
        fitted.save(out)
    emit_facts({"a2t": fitted.a2t, "t2a": fitted.t2a, "recall@1": recall, "split": split, "file": str(out)}, as_json)


def reranked(
    loaded: "Reranker",
    groups: list[list[dict[str, Any]]],
    direction: "Direction | None",
    top: int,
    fusion: "FusionWeights | None",
) -> Iterator[list[dict[str, Any]]]:
    """Each query's rows in their new order, as soon as they and those of all queries before are done."""
    from ..rerank.hits import reordered

    waiting: deque[tuple[list[dict[str, Any]], Direction, Future[list[Ranked]]]] = deque()
    take = lambda rows, told, future: reordered(rows, future.result(), told, fusion)
    for rows in groups:
        pairs = [(row["query"], row["id"]) for row in rows[:top]]
        told = direction or loaded.direction_of(pairs[0])
        waiting.append((rows, told, loaded.submit(pairs, direction=told)))
        while waiting and waiting[0][2].done():
            yield take(*waiting.popleft())
    while waiting:
        yield take(*waiting.popleft())
