"""The reranker's face: queries and candidates in, P(Yes) out.

Source: own; `rank` and `predict` are named as sentence-transformers names them in its CrossEncoder.
"""

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from ...errors import AudioError, InputError
from ..audio import source_name
from ..models.mllm import AudioLM
from ..models.prefix import kv_bytes_per_token
from ..reading import CHUNK, NUM_THREADS
from ..recipes.rerank import RerankRecipe
from ..text.tokenizer import Tokenizer
from .fusion import FusionWeights
from .product import Product
from .prompts import Direction, PairPrompts
from .runner import Bag, Place, Ranked, Runner
from .scheduler import Job, Scheduler
from .scorer import Pair, Scorer, Work
from .sounds import Sound, Sounds


class Reranker:
    """Scores pairs of a sound and a text. Made by `harken.load_reranker`; safe to use from many threads at once.

    A pair is (query, candidate): one of them a text, the other a sound (a path, bytes of a file, a Waveform, a
    (samples, rate) pair, a {"array", "sampling_rate"} dictionary, or a name in `stored`). A string is taken for a sound
    where it names a sound file, so give other strings as a Path, or say direction="a2t" (the query is the sound) or "t2a".

    Args:
        model: the packed graph.
        recipe: prompts and limits.
        tokenizer: of the checkpoint.
        yes_no_2W: the output layer's rows of the two answers.
        batch_tokens: tokens of one step.
        cache_bytes: audio tokens kept for later pairs.
        kept_kv_bytes: keys and values of prefixes kept for later pairs; worth it where the recipe is audio-first.
        max_pending_tokens: prompt tokens that may wait, as if nothing were shared; `submit` waits for room past it.
        stored: audio tokens [n, W] by path or name, made by `audio_tokens` of the same model.
        fusion: weights of retrieval scores and P(Yes) that came with the adapter, for those who have both.
        product: of the recipes that add one.
    """

    def __init__(
        self,
        model: AudioLM,
        recipe: RerankRecipe,
        tokenizer: Tokenizer,
        yes_no_2W: torch.Tensor,
        *,
        batch_tokens: int,
        cache_bytes: int,
        kept_kv_bytes: int = 0,
        max_pending_tokens: int = 1 << 20,
        stored: Mapping[str, np.ndarray] | None = None,
        fusion: FusionWeights | None = None,
        product: Product | None = None,
    ) -> None:
        self.model, self.recipe, self.tokenizer, self.fusion = model, recipe, tokenizer, fusion
        self._product = product
        self._prompts = PairPrompts(tokenizer, recipe, model.audio_token_id)
        self._sounds = Sounds(model, recipe, cache_bytes, stored)
        self._scorer = Scorer(model, yes_no_2W, self._sounds, batch_tokens, kept_kv_bytes, recipe.joint_from, product)
        self._runner = Runner(self._scorer, Scheduler(batch_tokens, batch_tokens), max_pending_tokens)

    @property
    def work(self) -> Work:
        """What has been computed since the model was loaded."""
        return self._scorer.work

    @property
    def num_cached_bytes(self) -> int:
        """Bytes of audio tokens kept for later pairs."""
        return self._sounds.cache.num_bytes

    def kv_bytes(self, duration_s: float) -> int:
        """Bytes that what is kept of one candidate sound takes (recipes with audio first)."""
        tower = self.model.tower
        num_tokens = tower.num_tokens(round(min(duration_s, self.recipe.max_audio_s) * tower.spec.sample_rate_hz))
        prefix = self._prompts.split("t2a" if self._prompts.shares_audio("t2a") else "a2t", "x", num_tokens).prefix
        a_token = kv_bytes_per_token(self.model.decoder.config, self.model.dtype, self.recipe.joint_from)
        return len(prefix) * a_token + (0 if self._product is None else self._product.num_bytes)

    def rank(
        self,
        query: Any,
        candidates: Sequence[Any],
        top_k: int | None = None,
        *,
        direction: Direction | None = None,
        priority: int = 0,
    ) -> list[Ranked]:
        """Candidates by falling score.

        Args:
            query: a text or a sound.
            candidates: sounds or texts.
            top_k: how many to give back; None: all.
            direction: "a2t" or "t2a"; None: told from what query and candidates are.
            priority: higher ones run first.

        Returns: the best `top_k`, ties by position, then an entry with `error` for each candidate that has no score.

        Raises:
            AudioError: the query is a sound that cannot be read.
            InputError: no direction can be told, or top_k is not positive.
        """
        if isinstance(candidates, (str, bytes, Path)):
            raise InputError(f"candidates must be a list, got one {type(candidates).__name__}")
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1, got {top_k}")
        pairs = [(query, candidate) for candidate in candidates]
        query_sound = None
        if pairs and self.direction_of(pairs[0], direction, "pairs[0]") == "a2t":
            query_sound = self._sounds.read(query, source_name(query, "query"))
        got = self._wait(self.submit(pairs, priority, direction=direction))
        del query_sound  # until here its samples were kept for the pairs
        ranked = sorted((r for r in got if r.score is not None), key=lambda r: (-(r.score or 0.0), r.position))
        return ranked[:top_k] + [r for r in got if r.score is None]

    def predict(self, pairs: Sequence[tuple[Any, Any]], *, direction: Direction | None = None) -> np.ndarray:
        """Scores [n] float32 of (query, candidate) pairs.

        Raises:
            InputError: a pair has no score; the text names it. `submit` gives an entry with the error instead.
        """
        got = self._wait(self.submit(pairs, direction=direction))
        failed = [r for r in got if r.score is None]
        if failed:
            more = f" (and {len(failed) - 1} more of {len(got)} failed)" if len(failed) > 1 else ""
            raise InputError(f"pairs[{failed[0].position}]: {failed[0].error}{more}")
        return np.array([r.score for r in got], np.float32)

    def submit(
        self, pairs: Sequence[tuple[Any, Any]], priority: int = 0, *, direction: Direction | None = None
    ) -> "Future[list[Ranked]]":
        """Score pairs in the background.

        Sounds are read here, in the caller's thread; where more than `max_pending_tokens` wait already, this waits too.
        From asyncio: `await asyncio.wrap_future(await asyncio.to_thread(reranker.submit, pairs))`.

        Args:
            pairs: (query, candidate) each, any mixture of queries and directions.
            priority: higher ones run first.
            direction: of all pairs; None: told for each.

        Returns: a future of one entry a pair, in the order of `pairs`; cancelling it takes back what has not run.

        Raises:
            InputError: a pair is no pair of a text and a sound.
        """
        directions = [self.direction_of(pair, direction, f"pairs[{i}]") for i, pair in enumerate(pairs)]
        bag = Bag(len(pairs))
        self._runner.open(bag)
        if not pairs:
            bag.future.set_result([])
        try:
            for first in range(0, len(pairs), CHUNK):
                if bag.future.done():
                    break
                rows = range(first, min(first + CHUNK, len(pairs)))
                self._hand_over(bag, [(i, directions[i], pairs[i]) for i in rows], priority)
        except BaseException:
            bag.future.cancel()
            raise
        return bag.future

    @torch.inference_mode()
    def audio_tokens(self, source: Any) -> np.ndarray:
        """What the model hears in a sound, float32 [n, W]: keep it beside an index and give it back as `stored`.

        Raises:
            AudioError: the sound cannot be read.
        """
        sound = self._sounds.read(source, source_name(source, "source"))
        samples, rows = sound.samples, sound.rows
        if rows is None:
            assert samples is not None
            rows, _ = self.model.audio_rows(self.model.features([samples]))
        return rows.float().cpu().numpy()

    def direction_of(self, pair: tuple[Any, Any], given: Direction | None = None, name: str = "the pair") -> Direction:
        """Whether a pair's query is a sound ("a2t") or a text ("t2a"); `given` where the caller said it.

        Raises:
            InputError: it is no pair, or query and candidate look like two of a kind.
        """
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"{name} must be (query, candidate), got {type(pair).__name__}")
        if given is not None:
            if given not in get_args(Direction):
                raise InputError(f"direction must be one of {get_args(Direction)}, got {given!r}")
            return given
        query, candidate = (self._sounds.is_sound(member) for member in pair)
        if query == candidate:
            kind = "sounds" if query else "texts"
            raise InputError(
                f"{name}: query and candidate look like two {kind}; wanted a sound and a text: give a sound's path "
                "as a Path, or say direction='a2t' or 't2a'"
            )
        return "a2t" if query else "t2a"

    def _hand_over(self, bag: Bag, rows: list[tuple[int, Direction, tuple[Any, Any]]], priority: int) -> None:
        """Read the sounds of some pairs and give them to the model's thread; what fails is noted."""
        members = {i: pair if direction == "a2t" else pair[::-1] for i, direction, pair in rows}
        sounds = self._read({i: source for i, (source, _) in members.items()})
        jobs, failed = [], []
        for i, direction, _ in rows:
            got = sounds[i]
            try:
                if isinstance(got, AudioError):
                    raise got
                jobs.append(self._job(bag, i, direction, members[i][1], got, priority))
            except InputError as error:
                failed.append((bag, Ranked(i, None, str(error))))
        self._runner.note(failed)
        self._runner.enqueue(bag, jobs)

    def _job(self, bag: Bag, row: int, direction: Direction, text: Any, sound: Sound, priority: int) -> Job:
        prompt = self._prompts.split(direction, text, sound.num_tokens)
        ids = np.asarray(prompt.prefix.token_ids, np.int32).tobytes()
        prefix = ids, sound.key if prompt.prefix.audio_span is not None else None
        return Job(prefix, len(prompt.prefix), len(prompt.suffix), priority, Place(bag, row, Pair(prompt, sound)))

    def _read(self, sources: dict[int, Any]) -> dict[int, Sound | AudioError]:
        """Each row's sound, or why it cannot be heard; a source that occurs more than once is read once."""
        rows: dict[Hashable, list[int]] = {}
        for row, source in sources.items():
            rows.setdefault(str(source) if isinstance(source, (str, Path)) else id(source), []).append(row)

        def read(same: list[int]) -> Sound | AudioError:
            source = sources[same[0]]
            try:
                return self._sounds.read(source, source_name(source, f"pairs[{same[0]}]"))
            except AudioError as error:
                return error

        if len(rows) == 1:
            got = [read(same) for same in rows.values()]
        else:
            with ThreadPoolExecutor(NUM_THREADS) as threads:
                got = list(threads.map(read, rows.values()))
        return {row: sound for same, sound in zip(rows.values(), got) for row in same}

    @staticmethod
    def _wait(future: "Future[list[Ranked]]") -> list[Ranked]:
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
