"""Robust-ATR: projections over frozen HTSAT and RoBERTa, by cosine, L1 and contrast.

The encoders' states are computed once, at the start, and kept in memory; only the projections run in training.

Source: Robust-ATR, arXiv 2604.23323; spec/recipes.md E.1 and E.2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...engine.audio.load import split_windows
from ...engine.audio.segment import drop_silences
from ...engine.models.dual import DualEncoder
from ...engine.models.load import load_any
from ...engine.models.packed import Segments
from ...engine.text.template import Template
from ...engine.text.tokenizer import Tokenizer
from ...errors import AudioError, InputError
from .. import parallel
from ..config import TrainSettings
from ..data import Row
from ..data.sounds import load_sounds
from ..draw import DROPOUT, ITEM, draw_rows, draw_text, fitting, rng_of, seed_torch, texts_of
from ..losses import cosine_l1_contrastive, gather_rows
from ..models.robust_atr import RobustATR, as_tensors, save_checkpoint
from .build import model_folder, open_rows, run_recipe
from .contrastive import recall_both_ways


def build(settings: TrainSettings) -> "RobustTask":
    """The task of the settings."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    folder = model_folder(settings)
    encoders = load_any(folder, dtype=torch.float32, device="cpu")
    if not isinstance(encoders, DualEncoder):
        raise InputError(f"{folder}: the stage 'robust-atr' wants a checkpoint of two encoders (clap or robust_atr)")
    states = States(encoders, folder, settings)
    train, val = open_rows(settings, "train"), open_rows(settings, "val")
    train, val = states.heard(train), states.heard(val)[: settings.data.max_val_rows]
    return RobustTask(states, train, val, folder, settings)


class States:
    """What the frozen encoders make of sounds and texts, kept by row and by text."""

    def __init__(self, encoders: DualEncoder, folder: Path, settings: TrainSettings) -> None:
        self._encoders, self._recipe = encoders, run_recipe(settings)
        assert self._recipe.text_template is not None
        self._template = Template(
            Tokenizer(folder), self._recipe.text_template, max_text_tokens=self._recipe.max_text_tokens
        )
        # [C, T, W] float16 of a sound's chunks; [T, W] of a text.
        self._sounds: dict[str, np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}
        self.problems: list[str] = []

    @property
    def widths(self) -> tuple[int, int]:
        """Of the states of sounds and of texts."""
        return self._encoders.tower.norm.weight.shape[0], self._encoders.reader.config.width

    @torch.inference_mode()
    def heard(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose sounds can be read; their states are kept."""
        there = []
        tower, recipe = self._encoders.tower, self._recipe
        for row, got in load_sounds(rows, tower.spec.sample_rate_hz):
            if isinstance(got, AudioError):
                self.problems.append(str(got))
                continue
            if recipe.silence_db is not None and len(got.samples) > recipe.max_audio_s * got.sample_rate_hz:
                got = drop_silences(got, silence_db=recipe.silence_db, silence_s=recipe.silence_s)
            windows = [window.samples for window in split_windows(got, recipe.max_audio_s)]
            chunks = [samples for samples in windows if tower.num_tokens(len(samples))]
            if not chunks:
                self.problems.append(f"{row.id}: too short to hear anything in")
                continue
            cuts = (0, *np.cumsum([len(chunk) for chunk in chunks]).tolist())
            mel = tower.features(torch.from_numpy(np.concatenate(chunks)), cuts)
            self._sounds[row.id] = tower(mel).mean(1).numpy().astype(np.float16)
            there.append(row)
        if not there:
            raise InputError(f"not one of {len(rows)} rows has a sound that can be read; first: {self.problems[:1]}")
        return there

    def chunks(self, rows: Sequence[Row]) -> tuple[list[np.ndarray], list[int]]:
        """States of all chunks, and how many each row has."""
        own = [self._sounds[row.id] for row in rows]
        return [chunk for chunks in own for chunk in chunks], [len(chunks) for chunks in own]

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """States of texts."""
        new = list(dict.fromkeys(text for text in texts if text not in self._texts))
        if new:
            prompts = [self._template.text(text) for text in new]
            segments = Segments.of([len(p) for p in prompts])
            ids = torch.tensor([i for p in prompts for i in p.token_ids])
            states = self._encoders.reader(ids, segments)
            for text, own in zip(new, states.split([len(p) for p in prompts])):
                self._texts[text] = own.numpy().astype(np.float16)
        return [self._texts[text] for text in texts]


class RobustTask:
    """A Task of `training.loop`."""

    def __init__(
        self, states: States, train: Sequence[Row], val: Sequence[Row], folder: Path, settings: TrainSettings
    ) -> None:
        torch.manual_seed(settings.seed)
        self.device = settings.run.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = RobustATR(*states.widths, settings.robust).to(self.device)
        self.states, self.train, self.val, self.folder, self.settings = states, train, val, folder, settings
        self.lora_parameters: Mapping[str, nn.Parameter] = dict(self.model.named_parameters())
        self.head_parameters: Mapping[str, nn.Parameter] = {}
        self.loss_parameters: Mapping[str, nn.Parameter] = {}

    def start(self) -> None:
        """Nothing is taken over: projections start as drawn."""

    def after_step(self) -> None:
        """Nothing follows from the parameters."""

    def backward(self, step: int) -> dict[str, float]:
        s = self.settings
        rows = draw_rows(self.train, step, s.seed, s.batch.batch_size)
        rngs = [rng_of(s.seed, ITEM, step, place) for place in range(len(rows))]
        texts = [draw_text(row, rng, s.batch.kinds)[1] for row, rng in zip(rows, rngs)]
        learned = torch.tensor([rng.random() < s.robust.query_probability for rng in rngs], device=self.device)
        own = parallel.own_part(len(rows))
        chunks, counts = self.states.chunks(rows[own])
        seed_torch(s.seed, DROPOUT, step, parallel.rank())
        self.model.train()
        plain, attended = self.model.pairs(
            as_tensors(chunks, self.device),
            counts,
            as_tensors(self.states.texts(texts[own]), self.device),
            learned[own],
        )
        loss = cosine_l1_contrastive(
            gather_rows(plain[0]),
            gather_rows(plain[1]),
            s.loss.tau,
            weights=s.loss.weights,
            same_BB=torch.from_numpy(fitting(rows, texts)),
            attended=(gather_rows(attended[0]), gather_rows(attended[1])),
        )
        loss.backward()
        return {"loss": float(loss.detach()), "tau": s.loss.tau}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Recall both ways of sounds and their captions; the score is the mean of both R@10."""
        self.model.eval()
        captions = [
            [t for texts in texts_of(row).values() for t in texts][: self.settings.data.max_val_captions]
            for row in self.val
        ]
        texts = list(dict.fromkeys(text for of_row in captions for text in of_row))
        fits = np.array([[text in of_row for text in texts] for of_row in captions])
        chunks, counts = self.states.chunks(self.val)
        audio = self.model.audio(as_tensors(chunks, self.device), counts)
        text = self.model.text(as_tensors(self.states.texts(texts), self.device))[0]
        scores = (nn.functional.normalize(audio, dim=-1) @ nn.functional.normalize(text, dim=-1).T).cpu().numpy()
        return recall_both_ways(scores, fits, ("audio->text", "text->audio"))

    def save(self, folder: Path) -> None:
        """A whole checkpoint: the published system has no adapter."""
        save_checkpoint(self.model, self.folder, folder)
