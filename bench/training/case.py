"""What all trainers train: one model with one set of LoRA layers and heads, and the same pairs in the same order.

    text          a sentence against another
    audio-text    a sound against its sentence

The model is there once and every system trains it in its turn, so all start a step from the same weights.

Source: own.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...engine.placement import DTYPES
from ...engine.recipes import get_recipe
from ...training.config import TrainSettings
from ...training.data import Row
from ...training.draw import draw_rows
from ...training.features import Encode, tower_encoder
from ...training.models.embedder import TrainableEmbedder
from ...training.models.omni import OmniBackbone
from ...training.rows import read_rows
from ...training.stages.audio_text import AudioTextPairs
from ...training.stages.build import model_folder, open_embedder, open_features, usable
from ...training.stages.contrastive import PairSource
from ...training.stages.text import TextPairs
from ..latency.architectures import build
from ..latency.workload import make_sentences, make_workload, write_files

STAGES = ("text", "audio-text")
# Of LoRA's B at the start, which peft sets to zero: A would have no gradient that could be compared.
B_STD = 0.01


@dataclass(frozen=True, slots=True)
class Case:
    """One stage's pairs on one model."""

    settings: TrainSettings
    embedder: TrainableEmbedder
    # Pairs as harken is given them: of a frozen tower its outputs, which were kept.
    source: PairSource
    # The same with a frozen tower that runs on every batch; None where there is none.
    live: PairSource | None
    rows: Sequence[Row]
    # Seconds that keeping the tower's outputs of all sounds took, once for a whole training.
    kept_s: float

    @property
    def batch(self) -> int:
        return self.settings.batch.batch_size

    @property
    def device(self) -> torch.device:
        return self.embedder.backbone.device

    def examples(self, steps: Iterable[int]) -> list[dict[str, str]]:
        """The pairs of some steps for other trainers: "left" is a sentence or a sound's path, "right" a sentence."""
        found = []
        for step in steps:
            if self.settings.stage == "text":
                drawn = self.source.draw(step, slice(None))
                found += [{"left": str(a.text), "right": str(b.text)} for a, b in zip(drawn.left, drawn.right)]
            else:
                rows = draw_rows(self.rows, step, self.settings.seed, self.batch)
                found += [{"left": str(row.audio), "right": row.captions[0]} for row in rows]
        return found


class LiveTower:
    """Features of `training.listening` from a frozen tower that runs every time."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        return [np.asarray(found) for found in self._encode(rows)]

    def usable(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[str]]:
        return rows, []


def open_model(settings: TrainSettings, arch: str | None, *, tiny: bool) -> TrainableEmbedder:
    """The settings' model, or in its place one of a published size with random weights (Qwen2.5-Omni's thinker)."""
    if arch is None:
        embedder = open_embedder(settings)
    else:
        device, dtype = torch.device(settings.run.device or "cpu"), DTYPES[settings.run.dtype]
        made = build(arch, device=device, dtype=dtype, tiny=tiny)
        spread(made.rival_model)
        backbone = OmniBackbone(made.folder, dtype=dtype, trains_tower=True, model=made.rival_model)
        backbone.model.requires_grad_(False)
        if settings.run.gradient_checkpointing:
            backbone.checkpoint_layers()
        recipe = get_recipe(settings.recipe)
        embedder = TrainableEmbedder(
            backbone, recipe, settings.lora, seed=settings.seed, max_tokens=settings.run.max_tokens
        )
        embedder.to(device)
    torch.manual_seed(settings.seed)
    for name, parameter in embedder.trainable().items():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=B_STD)
    embedder.after_step()
    return embedder


@torch.no_grad()
def spread(model: Any) -> None:
    """Scale random weights so that inputs that differ have states that differ.

    As transformers draws them all inputs come near one vector, and the gradient of the loss is what rounding leaves.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            wanted = 1.0 if "embed_tokens" in name else parameter[0].numel() ** -0.5
            parameter.mul_(wanted / parameter.float().std())


def open_case(settings: TrainSettings, embedder: TrainableEmbedder) -> Case:
    """The pairs that the settings name; the tower's outputs are kept in the settings' folder."""
    rows: Sequence[Row] = read_rows(settings.data.train).rows
    if settings.stage == "text":
        rows = distinct(rows, 2)
        return Case(settings, embedder, TextPairs(rows, [], settings), None, rows, 0.0)
    began = time.perf_counter()
    features = open_features(settings, embedder.backbone, rows)
    rows = distinct(usable(features, rows, "train"), 1)
    kept_s = time.perf_counter() - began
    source, live = AudioTextPairs(rows, [], features, settings), None
    if not embedder.backbone.trains_tower:
        encode = tower_encoder(model_folder(settings), device=embedder.backbone.device)
        live = AudioTextPairs(rows, [], LiveTower(encode), settings)
    return Case(settings, embedder, source, live, rows, 0.0 if live is None else kept_s)


def distinct(rows: Iterable[Row], num_captions: int) -> list[Row]:
    """Rows with their first captions alone, of which no two rows share one.

    Pairs that share a text are no negatives of each other to harken, and are to the others.
    """
    found, said = [], set[str]()
    for row in rows:
        captions = row.captions[:num_captions]
        if len(captions) == num_captions and not said & set(captions):
            found.append(replace(row, long=captions, short=(), tags=()))
            said |= set(captions)
    return found


def write_pairs(folder: Path, lengths: str, num: int) -> Path:
    """A folder of `num` sounds, noise of `lengths` (as `make_workload`), with two sentences each and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_files(make_workload(lengths, num), folder)
    sentences = make_sentences(2 * num)
    lines = [
        {"id": path.stem, "path": path.name, "caption": a, "captions": [a, b], "split": "train"}
        for path, a, b in zip(paths, sentences[::2], sentences[1::2])
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
