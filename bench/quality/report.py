"""The report of an evaluation: a folder with everything that is needed to believe it.

    report.json   settings, data (hash, clips, missing), model (fingerprint), versions, machine, sections
    values.npz    one value a query of each section, for paired tests
    report.md     the tables
    report.html   the tables and the plots in one file that needs no other

Source: own.
"""

import base64
import html
import json
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.durable import written_aside
from ...engine.fingerprint import Fingerprint
from ...errors import InputError, OutputError
from . import plots
from .protocols import Evaluation, Settings
from .published import published
from .results import Section
from .tables import headline, markdown, overview, rows_of

LIBRARIES = ("harken", "torch", "numpy", "soundfile", "soxr", "scipy", "bm25s", "matplotlib")
# Titles of two kinds of sections.
PLAIN, UIQ = "directions", "user-intent queries"
_STYLE = (
    "body{font:14px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:.6em 0}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}tr.measured{font-weight:bold;background:#eef4ff}"
    "img{max-width:100%;margin:.4em}pre{background:#f6f6f6;padding:.6em;overflow:auto}"
)


def facts(evaluation: Evaluation, settings: Settings, fingerprint: Fingerprint, command: str) -> dict[str, Any]:
    """Everything but the plots, ready for JSON."""
    return {
        "kind": "quality",
        "version": 1,
        "command": command,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": {"id": fingerprint.id, **fingerprint.to_dict()},
        "data": {
            **evaluation.corpus.facts(),
            "clips_failed": len(evaluation.failed),
            "queries_without_clip": evaluation.queries_without_clip,
            "missing": evaluation.corpus.missing,
            "failed": evaluation.failed,
        },
        "settings": settings.facts(),
        "versions": {"python": platform.python_version(), **versions()},
        "machine": f"{platform.machine()}, {platform.system()}",
        "sections": [section.to_dict() for section in evaluation.sections],
    }


def versions() -> dict[str, str]:
    """Of the libraries that the numbers depend on; those that are not installed are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def summary(told: dict[str, Any]) -> list[str]:
    """What must be read before the tables: model, data, what is missing, how ties count."""
    data, model = told["data"], told["model"]
    published = f" (published: {data['clips_published']})" if data["clips_published"] else ""
    lines = [
        f"Model {model['model']}, recipe {model['recipe']}, {model['dtype']}, fingerprint {model['id']}.",
        f"{data['dataset']}: {data['clips']} clips{published}; annotation {data['annotation']}, "
        f"sha256 {data['annotation_sha256'][:16]}.",
        f"Ties: {told['settings']['ties']}; seed {told['settings']['seed']}. Shares in percent with 95 % bootstrap "
        "intervals over clips in [].",
    ]
    left_out = [
        (data["clips_missing"], "clips have no sound"),
        (data["clips_failed"], "clips could not be embedded"),
        (data["queries_without_clip"], "user-intent queries ask for clips that are not there"),
    ]
    lines += [
        f"LEFT OUT: {count} {what}; the numbers are not those of the whole set." for count, what in left_out if count
    ]
    return lines


def write_report(folder: Path, evaluation: Evaluation, told: dict[str, Any], system: str) -> None:
    """Write the four files.

    Args:
        folder: made where it is not there.
        evaluation: what was measured.
        told: what `facts` gave.
        system: what our rows are called.

    Raises:
        InputError: matplotlib is not installed.
        OutputError: the folder cannot be written.
    """
    dataset = evaluation.corpus.benchmark.name
    values = {
        f"{section.key}/{name}": np.asarray(numbers)
        for section in evaluation.sections
        for name, numbers in {**section.per_query, "ids": np.array(distinct(section.query_ids))}.items()
        if len(numbers)
    }
    page = _page(dataset, evaluation, told, system)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(folder / "report.json") as aside:
            aside.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        with written_aside(folder / "values.npz") as aside, open(aside, "wb") as file:
            np.savez_compressed(file, **values)  # type: ignore[arg-type]
        with written_aside(folder / "report.md") as aside:
            aside.write_text("\n\n".join(as_markdown(dataset, evaluation.sections, told, system)) + "\n")
        with written_aside(folder / "report.html") as aside:
            aside.write_text(page)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None


def as_markdown(dataset: str, sections: Sequence[Section], told: dict[str, Any], system: str) -> Iterator[str]:
    """The report as blocks of text: our numbers together, then the papers' tables with our row in them."""
    yield f"## {dataset}"
    yield f"    {told['command']}"
    yield "\n".join(f"- {line}" for line in summary(told))
    yield "Behind a number in [] its interval, in () what a random order reaches."
    yield from map(markdown, overview(sections))
    yield from dict.fromkeys(note for section in sections for note in section.notes)
    for section in (section for section in sections if published(dataset, section.key)):
        yield f"### {headline(section)}"
        yield markdown(rows_of(dataset, section, system))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind each that was there before: a clip may be asked for more than once."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        out.append(f"{name} ({seen[name] + 1})" if seen[name] else name)
        seen[name] += 1
    return out


def read_values(folder: Path, section: str, measure: str) -> dict[str, float]:
    """One value a query from a report, by the query's name.

    Raises:
        InputError: the folder holds no report, or the report no such section or measure.
    """
    path = folder / "values.npz"
    try:
        with np.load(path) as kept:
            names = sorted({key.rsplit("/", 1)[0] for key in kept.files})
            if f"{section}/{measure}" not in kept.files:
                of = sorted(key.rsplit("/", 1)[1] for key in kept.files if key.startswith(f"{section}/"))
                raise InputError(f"{path}: has no {measure!r} of {section!r}; sections {names}, its measures {of}")
            return dict(zip(kept[f"{section}/ids"].tolist(), kept[f"{section}/{measure}"].tolist()))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as the values of a report: {error}") from None


def _images(evaluation: Evaluation) -> Iterator[bytes]:
    ranked = [s for s in evaluation.sections if s.ranks is not None]
    for title, of in _together(ranked).items():
        yield plots.recall_curves(of, title)
    for section in ranked:
        if _kind(section) in (PLAIN, UIQ):
            yield plots.rank_histogram(section)
    for section in evaluation.sections:
        if section.negative_ranks is not None:
            yield plots.negative_confusion(section)
        if section.confusions and _kind(section) == PLAIN:
            yield plots.label_confusion(section)
    if evaluation.projection is not None:
        yield plots.modality_plane(evaluation.projection)


def _kind(section: Section) -> str:
    if "noise at" in section.key:
        return "with noise"
    if section.key.startswith("caption-then-text"):
        return "caption-then-text baselines"
    return UIQ if section.key.startswith("uiq") else PLAIN


def _together(sections: Sequence[Section]) -> dict[str, list[Section]]:
    """Sections that are drawn in one plot, by its title."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(_kind(section), []).append(section)
    return groups


def _page(dataset: str, evaluation: Evaluation, told: dict[str, Any], system: str) -> str:
    parts = [f"<h1>{html.escape(dataset)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in summary(told))]
    for section in evaluation.sections:
        rows = rows_of(dataset, section, system)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
        body = "".join(
            f'<tr class="{"measured" if row["from"] == "measured" else "published"}">'
            + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values())
            + "</tr>"
            for row in rows
        )
        parts.append(f"<h2>{html.escape(headline(section))}</h2><table><tr>{head}</tr>{body}</table>")
        parts += [f"<p>{html.escape(note)}</p>" for note in section.notes]
    parts += [
        f'<img alt="plot" src="data:image/png;base64,{base64.b64encode(image).decode()}">'
        for image in _images(evaluation)
    ]
    without_sections = {name: value for name, value in told.items() if name != "sections"}
    parts.append(f"<h2>Provenance</h2><pre>{html.escape(json.dumps(without_sections, indent=1))}</pre>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(dataset)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
