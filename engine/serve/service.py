"""What the server does, without HTTP: items to vectors, searches, and the reranker's scores.

Reading and decoding happen in threads, the model's work in the queue's thread. Whatever a client asks for at once is
limited here; what fails is told item by item.

Source: own.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import HarkenError, InputError
from ..audio.waveform import Waveform
from ..embedder import Embedder
from ..reading import NUM_THREADS
from ..rerank.fusion import FusionWeights
from ..rerank.reranker import Reranker
from ..rerank.runner import Ranked
from ..text.template import check_text
from .catalog import Catalog
from .inputs import Item, read_url
from .limits import Limits
from .metrics import Metrics
from .problems import Problem, problem_of
from .queue import BatchQueue, Closed, Overloaded, Work
from .remote import Remote

# What a second of sound and a prompt count for in the queue's tokens.
TOKENS_PER_S, PROMPT_TOKENS = 25, 16
# Candidates that the reranker looks at in a search.
NUM_RERANKED = 50


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector [d] float32 or an error for each item, in order, and the tokens they took."""

    results: list[np.ndarray | Problem]
    num_tokens: int


class Service:
    """A model, and what else is served with it.

    Args:
        embedder: makes the vectors.
        name: what clients call the model.
        catalog: what is searched; None: nothing.
        reranker: None: there is none.
        weights: of retrieval and reranker; None: the reranker's order alone.
        limits, remote: what may be asked for.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        name: str,
        catalog: Catalog | None = None,
        reranker: Reranker | None = None,
        weights: FusionWeights | None = None,
        limits: Limits | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.embedder, self.name, self.catalog, self.reranker = embedder, name, catalog, reranker
        self.weights, self.limits, self.remote = weights, limits or Limits(), remote or Remote()
        self.metrics = Metrics(lambda: self.queue.num_pending_tokens)
        self.queue = BatchQueue(
            self._run,
            batch_tokens=embedder.batch_tokens,
            max_pending_tokens=self.limits.max_pending_tokens,
            on_batch=self.metrics.batch,
        )
        self._readers = ThreadPoolExecutor(NUM_THREADS, "harken-read")
        self._num_pending_pairs = 0

    def close(self) -> bool:
        """Finish what waits; gives whether all of it was done in time."""
        done = self.queue.close(self.limits.shutdown_s)
        self._readers.shutdown(cancel_futures=True)
        return done

    def decode_tokens(self, token_ids: Sequence[int]) -> str:
        """The text of token ids of this model."""
        return self.embedder.tokenizer.decode(list(token_ids))

    async def embed(self, items: Sequence[Item], instruction: str | None = None, param: str = "input") -> Embedded:
        """Vectors of items; an item's own instruction goes before the request's.

        Raises:
            Problem: the request as a whole asks for too much, or there is no room for it now.
        """
        if len(items) > self.limits.max_items:
            raise Problem(400, f"{len(items)} items; at most {self.limits.max_items} are allowed", param=param)
        names = [f"{param}[{i}]" if len(items) > 1 else param for i in range(len(items))]
        works = await self._in_threads(lambda item, name: self._prepare(item, instruction, name), items, names)
        good = [work for work in works if isinstance(work, Work)]
        clips = [clip for work in good for clip in _clips(work)]
        audio_s = sum(clip.duration_s for clip in clips)
        num_tokens = sum(work.num_tokens for work in good)
        for asked, limit, what in (
            (audio_s, self.limits.max_audio_s, "seconds of sound"),
            (num_tokens, self.limits.max_request_tokens, "tokens"),
        ):
            if asked > limit:
                raise Problem(413, f"{asked:g} {what}; at most {limit:g} are allowed in one request", param=param)
        answers = await self._through_queue(good)
        results: list[np.ndarray | Problem] = []
        for work in works:
            answer = next(answers) if isinstance(work, Work) else work
            results.append(problem_of(answer) if isinstance(answer, BaseException) else answer)
        failed = sum(isinstance(result, Problem) for result in results)
        self.metrics.failed_items.inc(failed)
        self.metrics.audio_seconds.inc(audio_s)
        return Embedded(results, num_tokens)

    async def search(
        self,
        query: Item | int,
        k: int,
        *,
        instruction: str | None = None,
        tags: Sequence[str] = (),
        filter: str | None = None,
        rerank: bool = False,
    ) -> list[dict[str, Any]]:
        """Hits as the schema's SearchRow has them, best first.

        Args:
            query: a text or a sound, or a row of the index whose likes are wanted.
            k: hits; with rerank the best 50 of the retrieval are looked at.
            tags, filter: which rows may be found.

        Raises:
            Problem: there is nothing to search, or the query cannot be embedded.
        """
        if (catalog := self.catalog) is None:
            raise Problem(404, "this server has no index; start it with one", code="no_index")
        if rerank and (self.reranker is None or not isinstance(query, Item) or query.text is None):
            raise Problem(
                400, "rerank wants a text query" if self.reranker else "this server has no reranker", param="rerank"
            )
        if isinstance(query, int):
            if query >= len(catalog):
                raise Problem(404, f"like is {query}; the index has {len(catalog)} rows", param="like")
            vector = catalog.index.vectors([query])[0]
        else:
            result = (await self.embed([query], instruction, "query")).results[0]
            if isinstance(result, Problem):
                raise result
            vector = result
        depth = max(k, NUM_RERANKED) if rerank else k + isinstance(query, int)
        try:
            hits = await asyncio.to_thread(self._retrieve, vector, depth, tags, filter)
        except HarkenError as error:
            raise Problem(400, str(error), param="filter") from None
        rows = [
            {"position": hit.position, "score": hit.score, **catalog.describe(hit.position)}
            for hit in hits
            if hit.position != query
        ]
        if rerank:
            assert isinstance(query, Item) and query.text is not None
            rows = await self._reranked(query.text, rows)
        return [{"rank": rank, **row} for rank, row in enumerate(rows[:k], 1)]

    async def rerank(self, query: Item, documents: Sequence[Item]) -> list[Ranked]:
        """The reranker's word on each document, in their order.

        Raises:
            Problem: there is no reranker, the query cannot be read, or too much waits.
        """
        if self.reranker is None:
            raise Problem(404, "this server has no reranker; start it with one", code="no_reranker")
        if len(documents) > self.limits.max_items:
            raise Problem(400, f"{len(documents)} documents; at most {self.limits.max_items}", param="documents")
        items = [query, *documents]
        names = ["query", *(f"documents[{i}]" for i in range(len(documents)))]
        members = await self._in_threads(self._member, items, names)
        if isinstance(members[0], BaseException):
            raise problem_of(members[0])
        good = [i for i, member in enumerate(members[1:]) if not isinstance(member, BaseException)]
        scored = await self._score([(members[0], members[1 + i]) for i in good])
        ranked = [Ranked(i, None, str(member)) for i, member in enumerate(members[1:])]
        for i, got in zip(good, scored):
            ranked[i] = Ranked(i, got.score, got.error)
        return ranked

    async def _reranked(self, text: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert self.catalog is not None
        files = [self.catalog.file(row["position"]) for row in rows]
        for row, file in zip(rows, files):
            if file is None:
                raise Problem(400, f"{row['name']}: there is no file of it here to rerank", param="rerank")
        scored = await self._score([(text, file) for file in files], "t2a")
        weights = self.weights or FusionWeights(ret=0.0, a2t=0.0, t2a=1.0)
        for rank, (row, got) in enumerate(zip(rows, scored), 1):
            row |= {"p_yes": got.score, "retrieval_rank": rank}
        order = lambda row: -(weights.ret * row["score"] + weights.t2a * (row["p_yes"] or 0.0))
        return sorted(rows, key=order)

    async def _score(self, pairs: list[tuple[Any, Any]], direction: Any = None) -> list[Ranked]:
        assert self.reranker is not None
        if self._num_pending_pairs and self._num_pending_pairs + len(pairs) > self.limits.max_pending_pairs:
            raise Problem(429, "the reranker is busy", code="overloaded", retry_after_s=5)
        self._num_pending_pairs += len(pairs)
        try:
            future = await asyncio.to_thread(self.reranker.submit, pairs, direction=direction)
            return await asyncio.wrap_future(future)
        except HarkenError as error:
            raise problem_of(error) from None
        finally:
            self._num_pending_pairs -= len(pairs)

    def _retrieve(self, vector: np.ndarray, k: int, tags: Sequence[str], filter: str | None) -> Any:
        assert self.catalog is not None
        keep = self.catalog.keep(tags)
        if filter is not None:
            chosen = self.catalog.index.where(filter)
            keep = chosen if keep is None else keep & chosen
        return self.catalog.index.search(vector, k, filter=keep)[0]

    async def _in_threads(self, prepare: Callable[[Item, str], Any], items: Sequence[Item], names: list[str]) -> list:
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(self._readers, prepare, item, name) for item, name in zip(items, names)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def _through_queue(self, works: Sequence[Work]) -> Any:
        """Each work's vector or exception; a caller that goes away takes what has not run out of the queue."""
        try:
            futures = self.queue.submit(works)
        except (Overloaded, Closed) as error:
            raise problem_of(error) from None
        return iter(await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True))

    def _prepare(self, item: Item, instruction: str | None, name: str) -> Work:
        """An item ready for the queue."""
        told = instruction if item.instruction is None else item.instruction
        if item.text is not None:
            check_text(item.text, f"{name}: ")
            num_tokens = PROMPT_TOKENS + len(self.embedder.tokenizer.encode(item.text).ids)
        if item.sound is None:
            return Work(("text", told), item.text, num_tokens)
        clip = self.embedder.load_clip(read_url(item.sound, self.remote, name), name)
        audio_tokens = PROMPT_TOKENS + math.ceil(clip.duration_s * TOKENS_PER_S)
        if item.text is None:
            return Work(("audio", told), clip, audio_tokens)
        return Work(("audio+text", told), (clip, item.text), audio_tokens + num_tokens)

    def _member(self, item: Item, name: str) -> Any:
        """One side of a reranker's pair: a text, or a sound."""
        if item.sound is None:
            check_text(item.text, f"{name}: ")
            return item.text
        if item.text is not None:
            raise InputError(f"{name}: holds a sound and a text; the reranker wants one of them")
        return self.embedder.load_clip(read_url(item.sound, self.remote, name), name)

    def _run(self, kind: tuple[str, str | None], items: list[Any]) -> Sequence[np.ndarray]:
        what, instruction = kind
        if what == "text":
            return list(self.embedder.encode_text(items, instruction=instruction))
        if what == "audio":
            return list(self.embedder.encode_clips(items, instruction=instruction))
        return list(self.embedder.encode_audio_text(items, instruction=instruction))


def _clips(work: Work) -> list[Waveform]:
    what = work.kind[0]  # type: ignore[index]
    return [] if what == "text" else [work.item if what == "audio" else work.item[0]]
