"""The model's side of re-ranking: sounds to audio tokens, prefixes to keys and values, continuations to P(Yes).

    p = softmax([h . w_yes, h . w_no])[0],   h = norm(last hidden state)

Two rows of the output layer are read from the checkpoint; the product with the vocabulary is never made. Recipes with a
`product` add that of the sound's and the text's vector (product.py).

Source: AuroLA equation 10; spec/recipes.md C.6.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from ...errors import ModelError
from ...kernels.yes_no import yes_no
from ..batching import plan_batches
from ..models.mllm import AudioLM
from ..models.names import canonical
from ..models.packed import Segments
from ..models.prefix import PrefixKV, apart, extend, prefill
from ..models.weights import checkpoint_files
from ..text.template import Prompt
from .cache import ByteLRU
from .product import Product
from .prompts import SplitPrompt
from .sounds import Sound, Sounds

# Bound of the texts' states that are kept, where texts run through the lower layers alone.
TEXT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair as the model sees it."""

    prompt: SplitPrompt
    sound: Sound


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What is known of a prefix: its keys and values, and its sound's vector [D], empty where there is no product."""

    kv: PrefixKV
    vector_D: torch.Tensor

    @property
    def num_bytes(self) -> int:
        return self.kv.num_bytes + self.vector_D.nbytes


@dataclass(frozen=True, slots=True)
class _Text:
    """A text's rows [m, W] as they go into the first joint layer, and its vector [D], empty where there is no product."""

    rows: torch.Tensor
    vector_D: torch.Tensor

    @property
    def num_bytes(self) -> int:
        return self.rows.nbytes + self.vector_D.nbytes


@dataclass(slots=True)
class Work:
    """What has been computed so far."""

    num_pairs: int = 0
    num_decoder_tokens: int = 0
    num_prefixes: int = 0
    num_sounds: int = 0
    num_audio_tokens: int = 0


class Scorer:
    """Scores pairs that are grouped by prefix. For one thread at a time.

    Args:
        model: the packed graph, causal.
        yes_no_2W: the output layer's rows of the two answers.
        sounds: keeps audio tokens.
        batch_tokens: audio tokens a run of the tower.
        kept_kv_bytes: prefixes' keys and values kept after their last pair, for later ones.
        joint_from: the first layer in which a continuation sees its prefix.
        product: added to the answers of the joint layers.
    """

    def __init__(
        self,
        model: AudioLM,
        yes_no_2W: torch.Tensor,
        sounds: Sounds,
        batch_tokens: int,
        kept_kv_bytes: int,
        joint_from: int = 0,
        product: Product | None = None,
    ) -> None:
        self._model, self._yes_no_2W, self._sounds, self._batch_tokens = model, yes_no_2W, sounds, batch_tokens
        self._joint_from, self._product = joint_from, product
        self.kept: ByteLRU[_Prefix] = ByteLRU(kept_kv_bytes)
        self._held: dict[Hashable, _Prefix] = {}
        self._texts: ByteLRU[_Text] = ByteLRU(TEXT_BYTES)
        self.work = Work()

    @property
    def num_held(self) -> int:
        """Prefixes whose keys and values are held for pairs that wait."""
        return len(self._held)

    def hold_only(self, prefixes: Iterable[Hashable]) -> None:
        """Free the keys and values of all other prefixes."""
        wanted = set(prefixes)
        self._held = {key: prefix for key, prefix in self._held.items() if key in wanted}

    @torch.inference_mode()
    def score(self, groups: Sequence[tuple[Hashable, Sequence[Pair]]]) -> list[list[float]]:
        """P(Yes) of every pair, as the groups are given; each group is a prefix's key and its pairs."""
        self._hear([pair.sound for _, pairs in groups for pair in pairs])
        prefixes, counts = self._prefixes(groups), [len(pairs) for _, pairs in groups]
        # Equal lengths side by side make dense runs for attention.
        order = [sorted(range(len(pairs)), key=lambda i: len(pairs[i].prompt.suffix)) for _, pairs in groups]
        ordered = [pairs[i] for (_, pairs), places in zip(groups, order) for i in places]
        x_NW, segments, texts_BD = self._continuations(ordered)
        self.work.num_pairs += len(ordered)
        self.work.num_decoder_tokens += segments.num_rows
        decoder = self._model.decoder
        last_BW = extend(
            decoder, x_NW, segments, [prefix.kv for prefix in prefixes], counts, joint_from=self._joint_from
        )
        found = iter(self._answer(decoder.norm(last_BW), prefixes, counts, texts_BD).tolist())
        scores = [[0.0] * len(pairs) for _, pairs in groups]
        for group, places in zip(scores, order):
            for i in places:
                group[i] = next(found)
        return scores

    def _answer(
        self, hidden_BW: torch.Tensor, prefixes: Sequence[_Prefix], counts: Sequence[int], texts_BD: torch.Tensor
    ) -> torch.Tensor:
        """[B] P(Yes)."""
        if self._product is None:
            return yes_no(hidden_BW, self._yes_no_2W)
        sounds_BD = torch.stack([prefix.vector_D for prefix, count in zip(prefixes, counts) for _ in range(count)])
        return yes_no(hidden_BW, self._yes_no_2W, self._product.odds(sounds_BD, texts_BD), gain=self._product.gain)

    def _continuations(self, pairs: Sequence[Pair]) -> tuple[torch.Tensor, Segments, torch.Tensor]:
        """What stands behind the prefixes, as it goes into the first joint layer, and its vectors [B, D].

        Below the first joint layer a known text is not run again.
        """
        if not self._joint_from:
            rows = self._rows([(pair.prompt.suffix, pair.sound) for pair in pairs])
            x_NW, segments = self._model.embed([pair.prompt.suffix for pair in pairs], rows)
            return x_NW, segments, x_NW.new_empty(len(pairs), 0)
        prompts = {tuple(pair.prompt.suffix.token_ids): pair.prompt.suffix for pair in pairs}
        known = {key: text for key in prompts if (text := self._texts.get(key)) is not None}
        if new := [key for key in prompts if key not in known]:
            x_NW, segments = self._model.embed([prompts[key] for key in new], None)
            parts = apart(self._model.decoder, x_NW, segments, self._joint_from).split(segments.lengths)
            vectors_BD = x_NW.new_empty(len(new), 0) if self._product is None else self._product.read(parts)
            for key, rows, vector_D in zip(new, parts, vectors_BD):
                known[key] = text = _Text(rows.clone(), vector_D)
                self._texts.put(key, text, text.num_bytes)
        found = [known[tuple(pair.prompt.suffix.token_ids)] for pair in pairs]
        segments = Segments.of([len(text.rows) for text in found])
        return torch.cat([text.rows for text in found]), segments, torch.stack([text.vector_D for text in found])

    def _hear(self, sounds: Iterable[Sound]) -> None:
        """Run the tower on the sounds that have no audio tokens yet."""
        new: dict[Hashable, list[Sound]] = {}
        for sound in dict.fromkeys(sounds):
            if sound.rows is None:
                new.setdefault(sound.key, []).append(sound)
        firsts = [same[0] for same in new.values()]
        for batch in plan_batches([sound.num_tokens for sound in firsts], self._batch_tokens):
            clips = [firsts[i].samples for i in batch]
            rows, counts = self._model.audio_rows(self._model.features([clip for clip in clips if clip is not None]))
            for i, own in zip(batch, rows.split(list(counts))):
                for sound in new[firsts[i].key]:
                    self._sounds.heard(sound, own.clone())
            self.work.num_sounds += len(batch)
            self.work.num_audio_tokens += len(rows)

    def _prefixes(self, groups: Sequence[tuple[Hashable, Sequence[Pair]]]) -> list[_Prefix]:
        """What each group's prefix gives, computed where it is neither held nor kept."""
        at_hand = {key: self._held.get(key) or self.kept.get(key) for key, _ in groups}
        new = {key: pairs[0] for key, pairs in groups if at_hand[key] is None}
        if new:
            prompts = [pair.prompt.prefix for pair in new.values()]
            x_NW, segments = self._model.embed(prompts, self._rows([(p.prompt.prefix, p.sound) for p in new.values()]))
            kvs = prefill(self._model.decoder, x_NW, segments, joint_from=self._joint_from)
            heard = [pair.sound.rows for pair in new.values() if pair.sound.rows is not None]
            vectors_BD = x_NW.new_empty(len(new), 0) if self._product is None else self._product.hear(heard)
            for key, kv, vector_D in zip(new, kvs, vectors_BD):
                at_hand[key] = prefix = _Prefix(kv, vector_D)
                self.kept.put(key, prefix, prefix.num_bytes)
            self.work.num_prefixes += len(new)
            self.work.num_decoder_tokens += segments.num_rows
        self._held.update((key, prefix) for key, prefix in at_hand.items() if prefix is not None)
        return [self._held[key] for key, _ in groups]

    @staticmethod
    def _rows(parts: Sequence[tuple[Prompt, Sound]]) -> torch.Tensor | None:
        """The audio tokens that the prompts' spans take, end to end."""
        rows = [sound.rows for prompt, sound in parts if prompt.audio_span is not None and sound.rows is not None]
        return torch.cat(rows) if rows else None


def load_yes_no(folder: Path, model: AudioLM, token_ids: tuple[int, int]) -> torch.Tensor:
    """The output layer's rows of two tokens, [2, W] in the model's dtype; of the embedding where the two are tied.

    Raises:
        ModelError: the checkpoint has no output layer, or one of another width.
    """
    if model.decoder.config.tied_head:
        return model.decoder.embed_tokens[list(token_ids)].clone()
    for file in checkpoint_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():
                if canonical(key) == "lm_head.weight":
                    whole = tensors.get_slice(key)
                    num_rows, width = whole.get_shape()
                    if width != model.width or max(token_ids) >= num_rows:
                        raise ModelError(
                            f"{folder}: {key} has shape ({num_rows}, {width}), wanted at least {max(token_ids) + 1} "
                            f"rows of {model.width}"
                        )
                    rows = torch.cat([whole[i : i + 1] for i in token_ids])
                    return rows.to(model.device, model.dtype)
    raise ModelError(
        f"{folder}: has no lm_head.weight, so it cannot answer; wanted a causal language model's checkpoint"
    )
