"""The loop of every stage: learning rate, step, log, checkpoint, validation, early stop.

A stage is a Task: it adds one batch's gradient, validates and saves. Everything random follows from the seed and the step, so
a run that was killed goes on from its last checkpoint with the losses it would have had.

    OUT/settings.json     what the run is made of; another run with other settings refuses the folder
    OUT/log.jsonl         one line a step, one a validation
    OUT/checkpoint.pt     to resume
    OUT/adapter/          the best on validation
    OUT/curves.png        at the end

Source: own.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import InputError
from . import parallel
from .config import OptimSettings, TrainSettings
from .log import Log


class Task(Protocol):
    """What a stage is made of."""

    # Parts that share the learning rate `lr`, and those that have `head_lr`.
    lora_parameters: Mapping[str, nn.Parameter]
    head_parameters: Mapping[str, nn.Parameter]
    # Of the head parameters, those inside the loss: every process has their whole gradient.
    loss_parameters: Mapping[str, nn.Parameter]

    def start(self) -> None:
        """Before the first step of a run that is not resumed."""
        ...

    def backward(self, step: int) -> dict[str, float]:
        """Add the gradient of step's batch; loss and what else is to be logged."""
        ...

    def after_step(self) -> None:
        """Parameters have changed."""
        ...

    def validate(self) -> dict[str, float]:
        """Recalls and whatever else; "score" is what the best is chosen by."""
        ...

    def save(self, folder: Path) -> None: ...


class Loop:
    """One run in one folder.

    Args:
        task: the stage.
        settings: of the run; kept in its folder.
        on_validation: told of each validation, its step and what was found.
    """

    def __init__(
        self,
        task: Task,
        settings: TrainSettings,
        on_validation: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        self.task, self.settings, self.out = task, settings, Path(settings.out)
        self._on_validation = on_validation
        self.step, self.best, self.worse = 0, -math.inf, 0
        self._named = {**task.lora_parameters, **task.head_parameters}
        optim = settings.optim
        groups = [(task.lora_parameters, optim.lr), (task.head_parameters, optim.head_lr or optim.lr)]
        self.optimizer = torch.optim.AdamW(
            [dict(params=list(named.values()), peak=peak) for named, peak in groups if named],
            lr=optim.lr,
            betas=optim.betas,
            weight_decay=optim.weight_decay,
        )
        self.out.mkdir(parents=True, exist_ok=True)
        if (self.out / "checkpoint.pt").is_file():
            self._resume()
        else:
            task.start()
        task.after_step()

    def go(self) -> dict[str, float]:
        """Train to the end, or until validation stops getting better; the last validation."""
        run, num_steps = self.settings.run, self.settings.optim.num_steps
        found: dict[str, float] = {}
        with Log(self.out, num_steps, self.step, tensorboard=run.tensorboard) as log:
            while self.step < num_steps and not self._has_stopped():
                started = time.perf_counter()
                values = self.train_step()
                seconds = time.perf_counter() - started
                values["samples_per_s"] = round(self.settings.batch.batch_size / seconds, 2)
                log.step(self.step, values)
                if self.step % run.validate_every == 0 or self.step == num_steps:
                    found = self._validate(log)
                    self._save()
                elif run.save_every and self.step % run.save_every == 0:
                    self._save()
        if parallel.is_first():
            from .plot import plot_log

            plot_log(self.out / "log.jsonl", self.out / "curves.png")
        return found

    def _has_stopped(self) -> bool:
        patience = self.settings.run.patience
        return patience is not None and self.worse >= patience

    def train_step(self) -> dict[str, float]:
        """One step; what is to be logged of it."""
        optim = self.settings.optim
        rate = schedule(self.step, optim)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        values = self.task.backward(self.step)
        inside = self.task.loss_parameters
        parallel.add_gradients([p for n, p in self._named.items() if n not in inside], inside.values())
        norm = torch.nn.utils.clip_grad_norm_(self._named.values(), optim.max_grad_norm or math.inf)
        if not torch.isfinite(norm):
            raise InputError(
                f"step {self.step}: the gradient is {float(norm)}; lower the learning rate or raise the temperature"
            )
        self.optimizer.step()
        self.task.after_step()
        self.step += 1
        return {**values, "grad_norm": float(norm), "lr": optim.lr * rate}

    def _validate(self, log: Log) -> dict[str, float]:
        found = self.task.validate()
        log.validation(self.step, found)
        better = found["score"] > self.best
        self.worse = 0 if better else self.worse + 1
        if better:
            self.best = found["score"]
            if parallel.is_first():
                self.task.save(self.out / "adapter")
        parallel.wait_for_all()
        if self._on_validation is not None:
            self._on_validation(self.step, found)
        return found

    def _save(self) -> None:
        if not parallel.is_first():
            return
        state = dict(
            step=self.step,
            best=self.best,
            worse=self.worse,
            trainable={name: p.detach() for name, p in self._named.items()},
            optimizer=self.optimizer.state_dict(),
            settings=json.dumps(comparable(self.settings)),
        )
        torch.save(state, self.out / "checkpoint.tmp")
        os.replace(self.out / "checkpoint.tmp", self.out / "checkpoint.pt")

    def _resume(self) -> None:
        state = torch.load(self.out / "checkpoint.pt", weights_only=True, map_location="cpu")
        theirs, ours = json.loads(state["settings"]), comparable(self.settings)
        changed = {k: (theirs.get(k), v) for k, v in ours.items() if theirs.get(k) != v}
        if changed:
            raise InputError(f"{self.out}/checkpoint.pt is of a run with other settings (its, these): {changed}")
        self.step, self.best, self.worse = state["step"], state["best"], state["worse"]
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state["trainable"][name])
        self.optimizer.load_state_dict(state["optimizer"])


def comparable(settings: TrainSettings) -> dict[str, Any]:
    """The settings that a resumed run must share; where it runs and how often it logs may change."""
    values = settings.to_dict()
    free = ("threads", "device", "tensorboard", "save_every")
    values["run"] = {k: v for k, v in values["run"].items() if k not in free}
    values.pop("out")
    return values


def schedule(step: int, optim: OptimSettings) -> float:
    """Linear warm-up, then constant, or half a cosine down to final_lr."""
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return 1.0
    done = (step - optim.warmup_steps) / max(1, optim.num_steps - optim.warmup_steps)
    return optim.final_lr + (1 - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
