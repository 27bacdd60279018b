"""`harken demo`: the built-in model on the packaged clips, from sound files to answers."""

import json
import time
from importlib.resources import as_file, files
from typing import Any

from .app import DeviceOption, JsonOption, app, load_model
from .output import emit, errors_as_lines, progress_bar, say

QUERIES = (
    "thunder in a storm",
    "waves of the sea",
    "a bell rings",
    "somebody walks",
    "a train passes by",
    "a dog barks",
)
TOP = 3


@app.command()
def demo(device: DeviceOption = None, as_json: JsonOption = False) -> None:
    """Embed the packaged clips with the built-in model, index them, and answer a few queries of text and sound."""
    with errors_as_lines():
        from ..index import Index

        start = time.perf_counter()
        model = load_model(None, None, None, device, None)
        loaded_s = time.perf_counter() - start
        with as_file(files("harken.engine") / "assets" / "clips") as folder:
            clips = json.loads((folder / "clips.json").read_text())["clips"]
            names = [clip["file"] for clip in clips]
            start = time.perf_counter()
            with progress_bar("embedding", len(names)) as advance:
                vectors = model.encode_audio([folder / name for name in names], progress=advance)
            embedded_s = time.perf_counter() - start
        index = Index.build(vectors, ids=names, fingerprint=model.fingerprint)
        seconds = sum(clip["duration_s"] for clip in clips)
        say(
            f"{model.fingerprint}: loaded in {loaded_s:.1f} s; "
            f"{len(names)} clips, {seconds:.0f} s of sound, embedded in {embedded_s:.1f} s"
        )
        captions = {clip["file"]: clip["caption"] for clip in clips}
        hits = index.search(model.encode_text(list(QUERIES)), k=TOP)
        emit(_rows(QUERIES, hits, captions, every=as_json), as_json, title="Text finds sound")
        own = index.search(model.encode_text(list(captions.values())), k=len(names))
        ranks = [found.index(name) for name, found in zip(captions, own.ids)]
        found = {f"in the first {k}": sum(rank < k for rank in ranks) for k in (1, 3, 10)}
        emit([{"captions": len(ranks), **found}], as_json, title="Captions that find their own clip")
        query = names[0]
        near = index.search(vectors[:1], k=TOP + 1)
        emit(_rows([query], near, captions, every=as_json, skip=query), as_json, title="Sound finds sound")


def _rows(
    queries: Any, hits: Any, captions: dict[str, str], *, every: bool, skip: str | None = None
) -> list[dict[str, Any]]:
    """One row a hit; a query's name stands beside every hit of it, or beside the first only."""
    rows = []
    for query, ids, scores in zip(queries, hits.ids, hits.scores):
        found = [(name, float(score)) for name, score in zip(ids, scores) if name != skip]
        for rank, (name, score) in enumerate(found[:TOP], 1):
            rows.append(
                {
                    "query": query if every or rank == 1 else "",
                    "rank": rank,
                    "score": score,
                    "clip": name,
                    "caption": captions[name],
                }
            )
    return rows
