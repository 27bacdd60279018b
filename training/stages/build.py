"""From a run's settings to its model, rows and features: what every stage on a multimodal LLM begins with.

Source: own.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Literal

import torch

from ...engine.convert.mini import build_mini
from ...engine.hub import resolve
from ...engine.recipes import Recipe, get_recipe
from ...errors import InputError
from .. import parallel
from ..config import TrainSettings
from ..data import Row
from ..data.index import chosen
from ..draw import texts_of
from ..features import tower_encoder, write_cache
from ..listening import CachedFeatures, Features, LiveMels
from ..models.backbone import Backbone, merge_adapter, open_backbone
from ..models.embedder import TrainableEmbedder
from ..rows import open_sources

# Kinds of texts that validation asks for.
CAPTIONS = {"long": 1.0, "short": 1.0}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def model_folder(settings: TrainSettings) -> Path:
    """Where the run's checkpoint is."""
    return build_mini() if settings.model == "mini" else resolve(settings.model)


def init_folder(settings: TrainSettings) -> Path | None:
    """The adapter that the run starts from."""
    return adapter_folder(settings.init)


def adapter_folder(name: str | None) -> Path | None:
    """An adapter that settings name: a folder, or "harken-mini"."""
    if name == "harken-mini":
        return Path(str(files("harken.engine") / "assets" / "mini"))
    return None if name is None else Path(name)


def open_run_backbone(settings: TrainSettings) -> Backbone:
    """The frozen checkpoint on its device."""
    run = settings.run
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    device = run.device or ("cuda" if torch.cuda.is_available() else "cpu")
    backbone = open_backbone(
        model_folder(settings),
        dtype=_DTYPES[run.dtype],
        trains_tower=any(part.startswith("tower") for part in settings.lora.parts),
    )
    if (merged := adapter_folder(settings.merged)) is not None:
        merge_adapter(backbone, merged)
    if run.gradient_checkpointing:
        backbone.checkpoint_layers()
    backbone.model.to(device)
    return backbone


def open_embedder(settings: TrainSettings) -> TrainableEmbedder:
    """The model that a contrastive stage trains."""
    backbone = open_run_backbone(settings)
    recipe = run_recipe(settings)
    model = TrainableEmbedder(backbone, recipe, settings.lora, seed=settings.seed, max_tokens=settings.run.max_tokens)
    return model.to(backbone.device)


def run_recipe(settings: TrainSettings) -> Recipe:
    """The recipe with the run's changes."""
    recipe = get_recipe(settings.recipe)
    unknown = sorted(set(settings.recipe_overrides) - set(recipe.to_dict()))
    if unknown:
        raise InputError(f"recipe_overrides: a recipe has no fields {unknown}")
    return replace(recipe, **settings.recipe_overrides)


def open_rows(settings: TrainSettings, what: Literal["train", "val"]) -> Sequence[Row]:
    """The rows of data.train or data.val; entries that gave none are listed on stderr and counted.

    Raises:
        InputError: there is none.
    """
    data = settings.data
    sources = data.train if what == "train" else data.val
    folder = Path(data.index or Path(settings.out) / "rows")
    found = open_sources(sources, folder, data.mix)
    if parallel.is_first():
        for problem in found.problems:
            print(problem, file=sys.stderr)
        print(f"{what}: {len(found.rows)} rows, {len(found.problems)} left out", file=sys.stderr)
    if not found.rows:
        raise InputError(f"data.{what}: there is not one row to use")
    return found.rows


def open_features(settings: TrainSettings, backbone: Backbone, *rows: Sequence[Row]) -> Features:
    """What the model hears: cached outputs of the frozen tower, or log-mel frames where the tower is trained."""
    recipe = None if settings.stage in ("rerank", "joint-rerank") else run_recipe(settings)
    if backbone.trains_tower:
        live = LiveMels(
            backbone.folder,
            max_s=recipe.max_audio_s if recipe else 30.0,
            min_s=recipe.min_audio_s if recipe else 0.0,
            verdicts=Path(settings.out) / "sounds",
        )
        if settings.batch.mask_probability and not live.zero_is_quiet:
            raise InputError(
                f"batch.mask_probability is {settings.batch.mask_probability}; wanted 0 for log-mel frames in decibels, "
                "where the zeros of a blank are loud"
            )
        return live
    folder = Path(settings.data.features or Path(settings.out) / "features")
    if not (folder / "clips.json").is_file():
        if parallel.is_first():
            with_sound = (row for row in chain(*rows) if row.audio is not None)
            encode = tower_encoder(backbone.folder, device=backbone.device)
            for problem in write_cache(folder, with_sound, encode, str(backbone.folder)):
                print(problem, file=sys.stderr)
        parallel.wait_for_all()
    return CachedFeatures(folder)


def usable(features: Features, rows: Sequence[Row], what: str) -> Sequence[Row]:
    """The rows that have features; the others are listed on stderr and counted."""
    there, problems = features.usable(rows)
    if parallel.is_first():
        for problem in problems:
            print(problem, file=sys.stderr)
        if problems:
            print(f"{what}: {len(problems)} of {len(rows)} rows have no features", file=sys.stderr)
    if not there:
        raise InputError(f"data.{what}: not one of {len(rows)} rows has features")
    return there


def with_texts(rows: Sequence[Row], kinds: Mapping[str, float], what: str) -> Sequence[Row]:
    """The rows with a text of these kinds; the others are counted on stderr.

    Raises:
        InputError: there is none.
    """
    there = chosen(rows, lambda row: any(kinds.get(kind, 0) > 0 for kind in texts_of(row)))
    wanted = ", ".join(kind for kind in kinds if kinds[kind] > 0)
    if parallel.is_first() and len(there) < len(rows):
        print(f"{what}: {len(rows) - len(there)} of {len(rows)} rows have no text ({wanted})", file=sys.stderr)
    if not there:
        raise InputError(f"data.{what}: not one of {len(rows)} rows has a text ({wanted})")
    return there


def autocast(settings: TrainSettings, device: torch.device) -> AbstractContextManager[None]:
    """Products in bfloat16, where the settings say so."""
    return torch.autocast(device.type, torch.bfloat16) if settings.run.autocast else nullcontext()
