"""Train harken-mini's adapter: LoRA on the decoder, projector and heads, by symmetric InfoNCE.

    python -m harken.training.train --data DIR --out DIR

DIR holds manifest.jsonl. OUT gets `log.jsonl` (one line a step, one a validation), `checkpoint.pt` (to resume: the same
command again continues where it stopped, with the same losses) and `adapter/` (the best on validation).

Source: own.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.convert.mini import build_mini
from ..engine.recipes import get_recipe
from ..errors import InputError
from . import lora
from .batches import BatchPlan, augment, draw_captions, draw_clips, fitting
from .data import Clip, load_manifest
from .embed import embed_clips
from .evaluate import report
from .features import FeatureCache
from .losses import symmetric_info_nce
from .model import TrainableEmbedder


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a run is made of; kept in its checkpoint, which another run with other settings refuses."""

    seed: int = 0
    num_steps: int = 300
    rank: int = 16
    lora_lr: float = 4e-4
    # Of projector and heads, which start from random or whitened weights.
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 20
    max_grad_norm: float = 1.0
    tau: float = 0.05
    # Clips and captions from which the heads are whitened before the first step.
    num_whitening: int = 512
    # Steps between validations; the run stops after `patience` of them without a better recall.
    validate_every: int = 37
    patience: int = 4
    batch: BatchPlan = BatchPlan()


class Run:
    """The state of one training: model, optimizer, step, best recall."""

    def __init__(
        self,
        model: TrainableEmbedder,
        train: list[Clip],
        val: list[Clip],
        features: FeatureCache,
        settings: Settings,
        out: Path,
    ) -> None:
        if len(train) < settings.batch.batch_size:
            raise InputError(f"{len(train)} clips to train on, wanted a batch of {settings.batch.batch_size} or more")
        self.model, self.train, self.val, self.features = model, train, val, features
        self.settings, self.out = settings, out
        self.step, self.best, self.worse = 0, -1.0, 0
        named = model.trainable()
        is_lora = lambda name: ".lora_" in name
        self.optimizer = torch.optim.AdamW(
            [
                dict(params=[p for n, p in named.items() if is_lora(n)], peak=settings.lora_lr),
                dict(params=[p for n, p in named.items() if not is_lora(n)], peak=settings.head_lr),
            ],
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
        out.mkdir(parents=True, exist_ok=True)
        if (out / "checkpoint.pt").is_file():
            self._resume()
        else:
            self._whiten()

    def go(self) -> None:
        """Train to the end, or until validation stops getting better."""
        while self.step < self.settings.num_steps and self.worse < self.settings.patience:
            started = time.perf_counter()
            values = self._train_step()
            self.step += 1
            self._log(step=self.step, **values, seconds=round(time.perf_counter() - started, 2))
            if self.step % self.settings.validate_every == 0 or self.step == self.settings.num_steps:
                self._validate()
                self._save()

    def _train_step(self) -> dict[str, float]:
        s = self.settings
        rng = np.random.default_rng([s.seed, 2, self.step])
        clips = draw_clips(self.train, self.step, s.seed, s.batch.batch_size)
        texts = draw_captions(clips, rng, s.batch.tag_probability)
        audio = self.model.audio([augment(self.features[clip.id], rng, s.batch) for clip in clips])
        text = self.model.text(texts)
        loss = symmetric_info_nce(audio, text, s.tau, torch.from_numpy(fitting(clips, texts)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(self.step, s.num_steps, s.warmup_steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.trainable().values(), s.max_grad_norm)
        if not torch.isfinite(norm):
            raise InputError(f"step {self.step}: the gradient is {float(norm)}; lower the learning rate")
        self.optimizer.step()
        lora.merge(self.model)
        right = (audio @ text.T).argmax(1) == torch.arange(len(clips))
        return dict(loss=float(loss.detach()), grad_norm=float(norm), top1=float(right.float().mean()))

    def _validate(self) -> None:
        results = report(self.val, *embed_clips(self.model, self.val, self.features))
        recall = {name: round(row["R@10"]["recall"], 4) for name, row in results.items()}
        score = (recall["text->audio by caption"] + recall["audio->text by caption"]) / 2
        self._log(step=self.step, validation=recall, score=round(score, 4))
        self.worse = 0 if score > self.best else self.worse + 1
        if score > self.best:
            self.best = score
            self.model.save(self.out / "adapter")

    @torch.no_grad()
    def _whiten(self) -> None:
        some = draw_clips(self.train, 0, self.settings.seed + 1, min(self.settings.num_whitening, len(self.train)))
        rng = np.random.default_rng([self.settings.seed, 3])
        crops = [augment(self.features[clip.id], rng, self.settings.batch) for clip in some]
        self.model.audio_head.whiten(self.model.audio_states(crops))
        self.model.text_head.whiten(self.model.text_states([clip.caption for clip in some]))

    def _log(self, **values: Any) -> None:
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(values) + "\n")
        print(json.dumps(values), flush=True)

    def _save(self) -> None:
        state = dict(
            settings=dataclasses.asdict(self.settings),
            step=self.step,
            best=self.best,
            worse=self.worse,
            trainable={name: p.detach() for name, p in self.model.trainable().items()},
            optimizer=self.optimizer.state_dict(),
        )
        torch.save(state, self.out / "checkpoint.tmp")
        os.replace(self.out / "checkpoint.tmp", self.out / "checkpoint.pt")

    def _resume(self) -> None:
        state = torch.load(self.out / "checkpoint.pt", weights_only=True)
        wanted = dataclasses.asdict(self.settings)
        changed = {k: (state["settings"].get(k), v) for k, v in wanted.items() if state["settings"].get(k) != v}
        if changed:
            raise InputError(f"{self.out}/checkpoint.pt is of a run with other settings (its, these): {changed}")
        self.step, self.best, self.worse = state["step"], state["best"], state["worse"]
        with torch.no_grad():
            for name, parameter in self.model.trainable().items():
                parameter.copy_(state["trainable"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        lora.merge(self.model)


def schedule(step: int, num_steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.train", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder of the run; an interrupted run there is continued"
    )
    parser.add_argument("--features", type=Path, help="cache of tower outputs; default: DATA/features")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the built-in model")
    parser.add_argument("--steps", type=int, default=Settings().num_steps)
    parser.add_argument(
        "--max-tokens", type=int, default=BatchPlan().max_tokens, help="longest crop, 25 tokens a second"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    dataset = load_manifest(args.data)
    features = FeatureCache(args.features or args.data / "features")
    usable = [clip for clip in dataset.clips if clip.id in features]
    missing = [f"{clip.id}: not in the cache of features" for clip in dataset.clips if clip.id not in features]
    for problem in dataset.problems + missing:
        print(problem, file=sys.stderr)
    print(f"{len(usable)} clips, {len(dataset.problems + missing)} left out", file=sys.stderr)
    batch = BatchPlan(max_tokens=args.max_tokens)
    settings = Settings(seed=args.seed, num_steps=args.steps, batch=batch)
    model = TrainableEmbedder(args.model or build_mini(), get_recipe("harken-mini"), rank=settings.rank, seed=args.seed)
    train, val = ([clip for clip in usable if clip.split == split] for split in ("train", "val"))
    Run(model, train, val, features, settings, args.out).go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
