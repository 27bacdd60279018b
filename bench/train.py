"""Samples a second in training, against Hugging Face's Trainer on the same model, LoRA, loss and pairs, in one process.

    harken          tower outputs from the cache, prompts by length, LoRA merged into each product
    harken, tower   the same, the tower run on each batch again
    HF Trainer      transformers' model with peft's LoRA, log-mel padded to 30 s and prompts padded to the longest in the
                    collator, mean over the tokens, the same heads and loss

Rounds alternate; the figure is the median over rounds. The first losses of all three are printed: they train the same thing.

    harken bench train --data DIR [--model FOLDER] [--batch 16] [--steps 4] [--rounds 3] [--out FILE.json]

Source: own.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..engine.convert.mini import build_mini
from ..training.config import TrainSettings, settings_from
from ..training.data import Row
from ..training.data.sounds import load_sound
from ..training.draw import draw_rows
from ..training.features import tower_encoder
from ..training.losses import symmetric_info_nce
from ..training.models.prompts import Input, pad_right
from ..training.stages import make_task
from . import record


def run_settings(args: argparse.Namespace, out: Path) -> TrainSettings:
    """harken-mini's audio-text stage on whole sounds and their first captions."""
    source = dict(dataset="manifest", path=str(args.data))
    return settings_from(
        dict(
            stage="audio-text",
            model=str(args.model or "mini"),
            out=str(out),
            recipe="harken-mini",
            data=dict(train=[{**source, "split": "train"}], val=[{**source, "split": "val"}], max_val_rows=1),
            batch=dict(batch_size=args.batch, kinds={"long": 1.0}),
            lora=dict(rank=16, alpha=32.0, parts=["decoder"], whole_projector=True),
            loss=dict(tau=0.05),
            run=dict(dtype=args.dtype, threads=args.threads, device=args.device, tensorboard=False),
        )
    )


class Harken:
    """The step of `training.loop`, with or without the tower."""

    def __init__(self, settings: TrainSettings, *, runs_tower: bool) -> None:
        self.task = cast(Any, make_task(settings))
        self.task.start()
        self.task.after_step()
        self.optimizer = torch.optim.AdamW(self.task.model.trainable().values(), lr=1e-4)
        self._encode = tower_encoder(self.task.model.backbone.folder) if runs_tower else None
        self._batch = settings.batch.batch_size

    def __call__(self, steps: range) -> float:
        """Train; the first loss."""
        first = None
        for step in steps:
            if self._encode is not None:
                list(self._encode(draw_rows(self.task.source.train, step, 0, self._batch)))
            self.optimizer.zero_grad(set_to_none=True)
            values = self.task.backward(step)
            self.optimizer.step()
            self.task.after_step()
            first = values["loss"] if first is None else first
        return first or 0.0


class Trainer:
    """transformers.Trainer over the same rows in the same order."""

    def __init__(self, settings: TrainSettings, rows: Sequence[Row]) -> None:
        from peft.tuners.lora import Linear as LoraLinear
        from transformers import WhisperFeatureExtractor

        self.task = cast(Any, make_task(settings))
        self.task.start()
        self.model = self.task.model
        for layer in self.model.peft.modules():
            if isinstance(layer, LoraLinear) and "forward" in vars(layer):
                # Run as peft runs it.
                del layer.forward
        self.extractor = WhisperFeatureExtractor.from_pretrained(str(self.model.backbone.folder))
        self.rows, self.settings = rows, settings

    def collate(self, rows: Sequence[Row]) -> dict[str, Any]:
        """One batch as a processor would make it."""
        tower = self.model.backbone.model.model.audio_tower
        waves = [load_sound(row, 16000).samples for row in rows]
        heard = self.extractor(waves, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
        frames = heard["attention_mask"].sum(1)
        _, num_tokens = tower._get_feat_extract_output_lengths(frames)
        sounds = [self.model.prompt(Input(features=np.zeros((int(n), 1), np.float16))) for n in num_tokens]
        texts = [self.model.prompt(Input(text=row.captions[0])) for row in rows]
        batch: dict[str, Any] = dict(features=heard["input_features"], feature_mask=heard["attention_mask"])
        for name, prompts in (("sound", sounds), ("text", texts)):
            ids, _ = pad_right(prompts)
            mask = torch.zeros(ids.shape, dtype=torch.long)
            for i, prompt in enumerate(prompts):
                mask[i, : len(prompt)] = 1
            batch |= {f"{name}_ids": ids, f"{name}_mask": mask}
        return batch

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        peft = self.model.peft
        states = []
        for name, more in (
            ("sound", dict(input_features=batch["features"], feature_attention_mask=batch["feature_mask"])),
            ("text", {}),
        ):
            mask = batch[f"{name}_mask"]
            whole = peft(input_ids=batch[f"{name}_ids"], attention_mask=mask, output_hidden_states=True, **more)
            hidden = whole.hidden_states[-1].float() * mask[..., None]
            states.append(hidden.sum(1) / mask.sum(1, keepdim=True))
        return symmetric_info_nce(
            self.model.heads["audio_head"](states[0]), self.model.heads["text_head"](states[1]), 0.05
        )

    def __call__(self, steps: range) -> float:
        from transformers import Trainer as HFTrainer
        from transformers import TrainingArguments

        ours, losses = self, []

        class Contrast(HFTrainer):
            def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
                value = ours.loss(inputs)
                losses.append(float(value.detach()))
                return (value, None) if return_outputs else value

        batch = self.settings.batch.batch_size
        order = [row for step in steps for row in draw_rows(self.rows, step, 0, batch)]
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                max_steps=len(steps),
                per_device_train_batch_size=batch,
                learning_rate=1e-4,
                max_grad_norm=0.0,
                save_strategy="no",
                report_to=[],
                remove_unused_columns=False,
                dataloader_num_workers=0,
                use_cpu=self.settings.run.device == "cpu",
                train_sampling_strategy="sequential",
                disable_tqdm=True,
            )
            trainer = Contrast(model=self.model, args=arguments, train_dataset=order, data_collator=self.collate)  # type: ignore[arg-type]
            trainer.train()
        return losses[0]


def measure(systems: dict[str, Callable[[range], float]], steps: int, rounds: int, batch: int) -> list[dict[str, Any]]:
    """Samples a second of each, rounds alternating after one step to warm up."""
    firsts = {name: run(range(1)) for name, run in systems.items()}
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for round_ in range(rounds):
        for name, run in systems.items():
            began = time.perf_counter()
            run(range(1 + round_ * steps, 1 + (round_ + 1) * steps))
            speeds[name].append(steps * batch / (time.perf_counter() - began))
    return [
        dict(
            system=name,
            samples_per_s=round(statistics.median(s), 3),
            all=[round(x, 3) for x in s],
            first_loss=firsts[name],
        )
        for name, s in speeds.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="harken bench train", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--model", type=Path, help="Qwen2-Audio checkpoint; default: the built-in model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    args.model = args.model or build_mini()
    with tempfile.TemporaryDirectory() as folder:
        settings = run_settings(args, Path(folder))
        harken = Harken(settings, runs_tower=False)
        systems: dict[str, Callable[[range], float]] = {
            "harken": harken,
            "harken, tower": Harken(settings, runs_tower=True),
            "HF Trainer": Trainer(settings, harken.task.source.train),
        }
        rows = measure(systems, args.steps, args.rounds, args.batch)
    for row in rows:
        print(f"{row['system']:14} {row['samples_per_s']:8.2f} samples/s   first loss {row['first_loss']:.4f}")
    if args.out:
        chosen = {k: str(v) for k, v in vars(args).items() if k != "out"}
        record.save(args.out, "train", "samples a second in training", chosen, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
