"""Tiny runs: a folder of sounds with captions, settings for it, losses of a log."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import soundfile

from harken.engine.recipes.rerank import get_rerank_recipe
from harken.training.config import TrainSettings, settings_from

from .. import tiny


def write_sounds(folder: Path, num: int = 14, num_train: int = 10) -> Path:
    """A manifest with `num` sounds, the first `num_train` of them for training."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(num):
        soundfile.write(folder / f"{i}.wav", tiny.wave(4000 + 700 * i, i), 16000)
        line = dict(
            id=str(i),
            path=f"{i}.wav",
            caption=f"a dog barks {i}",
            captions=[f"a dog barks {i}", f"barking {i}"],
            tags=["dog", str(i % 3)],
            group="dog",
            split="train" if i < num_train else "val",
        )
        lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def settings(model: Path, sounds: Path, out: Path, *, features: str | None = None, **changes: Any) -> TrainSettings:
    """Four steps of the audio-text stage; `changes` are merged into it."""
    source = dict(dataset="manifest", path=str(sounds))
    values: dict[str, Any] = dict(
        stage="audio-text",
        model=str(model),
        out=str(out),
        recipe="harken-mini",
        num_whitening=8,
        data=dict(
            train=[{**source, "split": "train"}],
            val=[{**source, "split": "val"}],
            max_val_captions=1,
            features=features,
        ),
        batch=dict(batch_size=4, max_rows=12, mask_probability=0.5),
        lora=dict(rank=4, whole_projector=True),
        loss=dict(tau=0.05),
        optim=dict(lr=1e-3, num_steps=4, warmup_steps=1),
        run=dict(validate_every=2, max_tokens=64, threads=1, tensorboard=False, device="cpu"),
    )
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    return settings_from(values)


def write_joint_run(folder: Path, *, product: bool) -> None:
    """A checkpoint, sounds and the recipe of a joint reranker."""
    tiny.qwen2_audio(folder / "model", text="llama", num_mels=80, tied=True)
    write_sounds(folder / "sounds")
    recipe = asdict(replace(get_rerank_recipe("mini-rerank"), joint_from=2, product=product))
    (folder / "recipe.json").write_text(json.dumps(recipe))


def joint_settings(folder: Path, out: Path, **changes: Any) -> TrainSettings:
    """Four steps of the joint-rerank stage in a folder of `write_joint_run`."""
    return settings(
        folder / "model",
        folder / "sounds",
        out,
        stage="joint-rerank",
        recipe=str(folder / "recipe.json"),
        num_whitening=0,
        features=str(folder / "features"),
        **{**dict(batch=dict(mask_probability=0.0, max_rows=4), loss=dict(listwise=1.0)), **changes},
        lora=dict(whole_projector=False, from_layer=2),
    )


def losses(folder: Path) -> dict[int, float]:
    """Loss by step."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}
