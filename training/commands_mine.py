"""`harken mine`: hard negatives for a reranker, and pairs of clips that sound alike for a person to review."""

import json
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
from ..engine.cli.output import emit_facts, errors_as_lines, fail, progress_bar, say
from .commands_data import NUM_TOLD, OptionOption, parse_options, read_spec, write_lines

if TYPE_CHECKING:
    import numpy as np

    from .data import Row

mine_app = typer.Typer(help="Find negatives that are hard to tell from the right answer.", no_args_is_help=True)
app.add_typer(mine_app, name="mine")

SpecArgument = Annotated[str, typer.Argument(help="DATASET[:SPLIT]=ANNOTATION,AUDIO or manifest=FOLDER")]
VectorsOption = Annotated[
    Path | None, typer.Option("--audio-vectors", help="Vectors of the sounds, from `harken embed`; default: made now")
]


@mine_app.command("hard")
def hard(
    rows: SpecArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="JSONL to write: id, texts, sounds, nearest first")],
    k: Annotated[int, typer.Option("-k", min=1, help="Negatives each way")] = 32,
    max_score: Annotated[
        float | None, typer.Option("--max-score", help="Leave out what scores higher: it may be right")
    ] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="Leave out what scores lower")] = None,
    vectors: VectorsOption = None,
    option: OptionOption = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Of each sound the captions, and of each caption the sounds, that score best and are not its own."""
    with errors_as_lines():
        from .mining import mine_hard
        from .row_vectors import text_vectors

        wanted = _captioned(rows, option)
        loaded = load_model(model, recipe, adapter, device, dtype)
        kept, audio = _audio(wanted, vectors, loaded, same_space=True)
        mined = mine_hard(kept, audio, text_vectors(kept, loaded), k=k, max_score=max_score, min_score=min_score)
        write_lines(out, [one.line() for one in mined])
    facts = {
        "rows": len(kept),
        "texts a row": round(sum(len(one.texts) for one in mined) / len(mined), 2),
        "sounds a row": round(sum(len(one.sounds) for one in mined) / len(mined), 2),
        "file": str(out),
    }
    emit_facts(facts, as_json)


@mine_app.command("review")
def review(
    rows: SpecArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Review file to write, .csv or .jsonl; decisions in it stay")
    ],
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="Checkpoint of a sentence encoder, as BGE-large; default: --model's texts"),
    ] = None,
    pooling: Annotated[str, typer.Option("--pooling", help="Of the encoder: cls (BGE) or mean")] = "cls",
    k: Annotated[int, typer.Option("-k", min=1, help="Nearest clips of each clip")] = 20,
    min_acoustic: Annotated[
        float | None,
        typer.Option("--min-acoustic", help="Least cosine; default: what leaves --overshoot times the target"),
    ] = None,
    max_acoustic: Annotated[float | None, typer.Option("--max-acoustic", help="Largest cosine; default: none")] = None,
    max_text: Annotated[float, typer.Option("--max-text", help="Captions must be less alike than this cosine")] = 0.7,
    overshoot: Annotated[float, typer.Option("--overshoot", help="Pairs to review for each that is wanted")] = 3.0,
    num_wanted: Annotated[int | None, typer.Option("--wanted", help="Pairs in the end; default: one a clip")] = None,
    vectors: VectorsOption = None,
    option: OptionOption = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pairs of clips that sound alike and are described otherwise, to a file in which a person writes yes or no."""
    with errors_as_lines():
        from .mining import PairSettings, mine_pairs
        from .review import write_review
        from .sentences import SentenceEncoder

        settings = PairSettings(k, min_acoustic, max_acoustic, max_text, overshoot, num_wanted)
        wanted = _captioned(rows, option)
        loaded = load_model(model, recipe, adapter, device, dtype) if vectors is None or encoder is None else None
        texts: Any = loaded
        if encoder is not None:
            texts = SentenceEncoder(encoder, pooling=pooling, device=device or "cpu")  # type: ignore[arg-type]
        kept, audio = _audio(wanted, vectors, loaded, same_space=False)
        mined = mine_pairs(kept, audio, texts, settings)
        num_kept = write_review(out, mined.pairs, kept)
    facts = {
        "clips": len(kept),
        "pairs that sound alike": mined.num_acoustic,
        "described otherwise": mined.num_text,
        "to review": len(mined.pairs),
        "least acoustic similarity": mined.threshold,
        "decisions kept": num_kept,
        "file": str(out),
    }
    emit_facts(facts, as_json)


@mine_app.command("pairs")
def pairs(
    reviewed: Annotated[Path, typer.Argument(help="Review file with decisions")],
    out: Annotated[Path, typer.Option("-o", "--out", help='JSONL to write: {"audio": id, "negatives": [ids]}')],
    per_clip: Annotated[int, typer.Option("--per-clip", min=1, help="Negatives a clip")] = 1,
    unreviewed: Annotated[bool, typer.Option("--unreviewed", help="Take pairs without a decision too")] = False,
    as_json: JsonOption = False,
) -> None:
    """The accepted pairs of a review file, nearest first."""
    with errors_as_lines():
        from .mining import final_pairs
        from .review import read_review

        given = read_review(reviewed)
        final = final_pairs(given, per_clip, unreviewed=unreviewed)
        lines = [json.dumps({"audio": anchor, "negatives": ids}, ensure_ascii=False) for anchor, ids in final.items()]
        write_lines(out, lines)
    decided = sum(bool(pair.decision) for pair in given)
    facts = {
        "pairs": len(given),
        "with a decision": decided,
        "clips": len(final),
        "negatives": sum(map(len, final.values())),
        "file": str(out),
    }
    emit_facts(facts, as_json)


def _captioned(spec: str, option: list[str] | None) -> "list[Row]":
    rows = read_spec(spec, parse_options(option)).rows
    captioned = [row for row in rows if row.captions]
    if len(captioned) < len(rows):
        say(f"{len(rows) - len(captioned)} rows without a caption are left out")
    if not captioned:
        raise fail(f"{spec}: no row has a caption")
    return captioned


def _audio(rows: "list[Row]", vectors: Path | None, model: Any, *, same_space: bool) -> "tuple[list[Row], np.ndarray]":
    from .row_vectors import audio_vectors, read_audio_vectors

    if vectors is not None:
        kept, found, problems = read_audio_vectors(rows, vectors, model.fingerprint if same_space else None)
    else:
        with progress_bar("embedding sounds", len(rows)) as advance:
            kept, found, problems = audio_vectors(rows, model, advance)
    for problem in problems[:NUM_TOLD]:
        say(f"left out: {problem}")
    if len(problems) > NUM_TOLD:
        say(f"... and {len(problems) - NUM_TOLD} more are left out")
    return kept, found
