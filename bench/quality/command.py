"""`harken eval` and `harken eval-compare`.

Source: own.
"""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ...engine.cli.app import (
    AdapterOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    RecipeOption,
    app,
    load_model,
)
from ...engine.cli.output import emit, emit_facts, errors_as_lines, fail, progress_bar, say
from ...training.commands_data import OptionOption, parse_options, read_spec

if TYPE_CHECKING:
    from .corpus import Corpus
    from .protocols import Evaluation, Settings
    from .vectors import Vectors

UIQ_SETS = ("audiocaps", "clotho", "mecat")


@app.command("eval")
def evaluate_command(
    benchmark: Annotated[
        str,
        typer.Argument(
            help="audiocaps, clotho, auto-acd, valor, mecat, vggsounder, epic-sounds, hd-epic, esc50, fsd50k, librisqa, "
            "mmau-mini, sounds (a folder with manifest.jsonl), uiq (folders audiocaps, clotho, mecat and UIQ) or triplets"
        ),
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of the published files; triplets: the file")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    annotation: Annotated[Path | None, typer.Option("--annotation", help="In place of the published name")] = None,
    audio_dir: Annotated[Path | None, typer.Option("--audio-dir", help="In place of the usual folder")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Default: the one the papers report")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Evaluate what is there; the report says what was left out")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Folder for JSON, tables and an HTML page")] = None,
    name: Annotated[str, typer.Option("--name", help="What our rows are called; default: model and recipe")] = "",
    ties: Annotated[
        str, typer.Option("--ties", help="Equal scores: pessimistic (count against us), optimistic (OEA) or index")
    ] = "pessimistic",
    queries: Annotated[str, typer.Option("--queries", help="Captions that ask: all, or one a clip")] = "all",
    label_template: Annotated[
        str, typer.Option("--label-template", help='Text of a class; WavCaps: "{label} can be heard"')
    ] = "{label}",
    side: Annotated[
        str | None,
        typer.Option("--side", help="librisqa: question, answer or both; mmau-mini: audio+question or audio"),
    ] = None,
    audio_instruction: Annotated[
        str | None, typer.Option("--audio-instruction", help="For recipes that take one")
    ] = None,
    text_instruction: Annotated[
        str | None, typer.Option("--text-instruction", help="For recipes that take one")
    ] = None,
    noise: Annotated[
        Path | None, typer.Option("--noise", help="Folder of noise: also evaluate with it mixed in")
    ] = None,
    snr_db: Annotated[
        list[float] | None, typer.Option("--snr", help="dB, may be given again; default 5, 10, 15")
    ] = None,
    uiq: Annotated[
        Path | None, typer.Option("--uiq", help="Folder of *_queries.jsonl of five kinds: also evaluate these")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option("--captions", help="JSON lines {id, caption}: also evaluate caption-then-text")
    ] = None,
    known_captions: Annotated[
        Path | None,
        typer.Option("--known-captions", help="A caption a line: the same, each sound captioned by its nearest one"),
    ] = None,
    projection: Annotated[str, typer.Option("--projection", help="Of the report's plane: pca or umap")] = "pca",
    seed: Annotated[int, typer.Option("--seed", help="Of intervals, noise and draws")] = 0,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder that keeps vectors; default: in --report's")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a model by a published protocol: the paper's table with our row in it."""
    from .protocols import Settings
    from .vectors import Vectors

    settings = Settings(
        ties=_one_of("--ties", ties, ("pessimistic", "optimistic", "index")),
        seed=seed,
        queries=_one_of("--queries", queries, ("all", "one")),
        label_template=label_template,
        noise=noise,
        snrs_db=tuple(snr_db) if snr_db else Settings().snrs_db,
        uiq=uiq,
        captions=captions,
        known_captions=known_captions,
        projection=_one_of("--projection", projection, ("pca", "umap")),
        allow_missing=allow_missing,
    )
    settings = _with_side(settings, benchmark, side)
    _require(settings, report)
    with errors_as_lines():
        corpora = _corpora(benchmark, data, annotation, audio_dir, split, settings)
        loaded = load_model(model, recipe, adapter, device, dtype)
        kept = cache or (None if report is None else report / "vectors")
        vectors = Vectors(loaded, kept, audio_instruction=audio_instruction, text_instruction=text_instruction)
        system = name or f"{loaded.fingerprint.model}, {loaded.recipe.name}"
        done = []
        for corpus, chosen in corpora:
            done.append(_run(corpus, vectors, chosen))
            _tell(done[-1], chosen, vectors, system, report if len(corpora) == 1 else _inside(report, corpus), as_json)
        if benchmark == "uiq":
            from .uiq_sets import mean_of_sets

            mean = mean_of_sets(done)
            _tell(mean, settings, vectors, system, report, as_json)


@app.command("eval-compare")
def compare_command(
    ours: Annotated[Path, typer.Argument(help="Folder that --report wrote")],
    theirs: Annotated[Path, typer.Argument(help="Another one, of the same data")],
    section: Annotated[str, typer.Option("--section", help="a2t, t2a, a2l, ...")] = "a2t",
    measure: Annotated[str, typer.Option("--measure", help="mAP@10, rank, ...")] = "mAP@10",
    as_json: JsonOption = False,
) -> None:
    """Compare two reports query by query: paired Wilcoxon signed-rank test."""
    import numpy as np

    from .metrics import wilcoxon
    from .report import read_values

    with errors_as_lines():
        a, b = read_values(ours, section, measure), read_values(theirs, section, measure)
        if set(a) != set(b):
            raise fail(f"{ours} and {theirs} hold {len(a)} and {len(b)} queries, {len(set(a) & set(b))} in common")
        pairs = np.array([(a[query], b[query]) for query in a])
        found = wilcoxon(pairs[:, 0], pairs[:, 1])
    first, second = pairs.mean(0).tolist()
    emit_facts({"queries": len(pairs), str(ours): first, str(theirs): second, **found}, as_json)


@app.command("eval-queries")
def queries_command(
    rows: Annotated[str, typer.Argument(help="DATASET[:SPLIT]=ANNOTATION[,AUDIO] or manifest=FOLDER")],
    captions: Annotated[Path, typer.Option("--captions", help="What `harken captions write oea` wrote")],
    pairs: Annotated[Path, typer.Option("--pairs", help="What `harken mine pairs` wrote")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write")],
    option: OptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the files of user-intent queries that `harken eval --uiq` reads."""
    from .make_queries import queries_of, read_pairs, write_queries

    with errors_as_lines():
        made = queries_of(
            read_spec(rows, parse_options(option)).rows, captions, read_pairs(pairs), rows.split("=")[0].split(":")[0]
        )
        write_queries(out, made)
    emit_facts({kind: len(of) for kind, of in made.items()} | {"folder": str(out)}, as_json)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise fail(f"{option} is {value!r}; wanted one of {', '.join(allowed)}")
    return value


def _require(settings: "Settings", report: Path | None) -> None:
    """What is not installed is said before the work begins."""
    cascades = settings.captions is not None or settings.known_captions is not None
    needed = [("matplotlib", report is not None), ("bm25s", cascades), ("umap", settings.projection == "umap")]
    for module, is_needed in needed:
        if is_needed and find_spec(module) is None:
            how = "pip install umap-learn" if module == "umap" else 'pip install "harken[quality]"'
            raise fail(f"{module} is not installed: {how}")


def _with_side(settings: "Settings", benchmark: str, side: str | None) -> "Settings":
    from .questions import ChoiceSide, SpokenSide

    if side is None:
        return settings
    if benchmark == "librisqa":
        return replace(settings, spoken_side=_one_of("--side", side, get_args(SpokenSide)))
    if benchmark == "mmau-mini":
        return replace(settings, choice_side=_one_of("--side", side, get_args(ChoiceSide)))
    raise fail(f"--side is for librisqa and mmau-mini; {benchmark} has no sides")


def _corpora(
    benchmark: str,
    data: Path,
    annotation: Path | None,
    audio_dir: Path | None,
    split: str | None,
    settings: "Settings",
) -> "list[tuple[Corpus, Settings]]":
    """What is to be evaluated, and how."""
    from .corpus import read_corpus, read_triplet_corpus

    if benchmark in ("uiq", "triplets") and (annotation, audio_dir, split) != (None, None, None):
        raise fail(f"{benchmark} takes no --annotation, --audio-dir or --split")
    if benchmark == "triplets":
        return [(read_triplet_corpus(data), settings)]
    if benchmark != "uiq":
        read = read_corpus(
            benchmark,
            data,
            annotation=annotation,
            audio_dir=audio_dir,
            split=split,
            allow_missing=settings.allow_missing,
        )
        return [(read, settings)]
    folder = settings.uiq or data / "UIQ"
    return [
        (
            read_corpus(name, data / name, allow_missing=settings.allow_missing),
            replace(settings, uiq=folder / name),
        )
        for name in UIQ_SETS
    ]


def _run(corpus: "Corpus", vectors: "Vectors", settings: "Settings") -> "Evaluation":
    from .protocols import evaluate

    num_passes = 1 if settings.noise is None else 1 + len(settings.snrs_db)
    with progress_bar("embedding", num_passes * len(corpus.rows)) as advance:
        vectors.progress = lambda what, count: advance(count if what != "texts" else 0)
        return evaluate(corpus, vectors, settings)


def _inside(report: Path | None, corpus: "Corpus") -> Path | None:
    return None if report is None else report / corpus.benchmark.name


def _tell(
    evaluation: "Evaluation",
    settings: "Settings",
    vectors: "Vectors",
    system: str,
    report: Path | None,
    as_json: bool,
) -> None:
    from .report import facts, summary, write_report
    from .tables import headline, rows_of

    command = " ".join(["harken", *(argument if " " not in argument else repr(argument) for argument in sys.argv[1:])])
    told = facts(evaluation, settings, vectors.model.fingerprint, command)
    for line in summary(told):
        say(line)
    dataset = evaluation.corpus.benchmark.name
    for section in evaluation.sections:
        rows = rows_of(dataset, section, system, intervals=False)
        emit([{"section": section.key, **row} for row in rows] if as_json else rows, as_json, title=headline(section))
    if report is not None:
        write_report(report, evaluation, told, system)
        say(f"report: {report / 'report.html'}")
