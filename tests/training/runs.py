"""Tiny runs: a folder of sounds with captions, settings for it, losses of a log."""

import json
from pathlib import Path
from typing import Any

import soundfile

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


def losses(folder: Path) -> dict[int, float]:
    """Loss by step."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}
