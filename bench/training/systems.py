"""A trainer as this bench sees it, harken's, and the gate that every other passes before it is timed.

    loss        equal to harken's
    gradient    of the LoRA layers and heads: cosine to harken's

Source: own.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ...training.loop import Loop
from ...training.lora import lora_layers
from ...training.stages.contrastive import ContrastiveTask, PairSource
from .case import Case


@dataclass(frozen=True, slots=True)
class Gradient:
    """What one step's batch gives, before the parameters change."""

    loss: float
    parts: Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class System:
    """One trainer."""

    name: str
    # Of step 0's batch; leaves the parameters as they are.
    gradient: Callable[[], Gradient]
    # (first, num): seconds of each of `num` steps that follow step `first`, which runs untimed.
    seconds: Callable[[int, int], list[float]]
    # Takes features that were rounded to float16 when they were kept.
    is_rounded: bool = False
    # Memory that it holds between the turns, in bytes.
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a system comes to harken."""

    loss: float
    # Relative to harken's loss.
    loss_difference: float
    gradient_cosine: float


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a system may differ by."""

    loss_difference: float
    gradient_cosine: float


EXACT = Tolerance(1e-4, 0.999)
ROUNDED_FEATURES = Tolerance(1e-3, 0.999)
HALF = Tolerance(2e-2, 0.95)


def gate(systems: Sequence[System], dtype: str) -> tuple[dict[str, Agreement], dict[str, str]]:
    """How near each system comes to the first one, and the reason for each that is not to be timed.

    Args:
        systems: harken first, with features as exact as the others'.
        dtype: of weights and products.
    """
    wanted = systems[0].gradient()
    near, failed = {systems[0].name: Agreement(wanted.loss, 0.0, 1.0)}, {}
    for system in systems[1:]:
        try:
            found = system.gradient()
        except Exception as error:
            # A rival's own failure, of whatever kind, is told in the table and ends the run with an error.
            failed[system.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            continue
        allowed = HALF if dtype != "float32" else ROUNDED_FEATURES if system.is_rounded else EXACT
        got = Agreement(found.loss, abs(found.loss / wanted.loss - 1), cosine(found.parts, wanted.parts))
        if got.loss_difference <= allowed.loss_difference and got.gradient_cosine >= allowed.gradient_cosine:
            near[system.name] = got
        else:
            failed[system.name] = (
                f"loss {got.loss:.6f}, harken's {wanted.loss:.6f}; gradient's cosine {got.gradient_cosine:.6f}; "
                f"wanted within {allowed.loss_difference:g} of it and {allowed.gradient_cosine:g}"
            )
    return near, failed


def cosine(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    """Of two gradients as one long vector each; 0 where they are not of the same parameters, or NaN is in one."""
    if a.keys() != b.keys():
        return 0.0
    dot = lambda x, y: sum(float((x[name].double() * y[name].double()).sum()) for name in x)
    found = dot(a, b) / math.sqrt(dot(a, a) * dot(b, b) or math.inf)
    return found if math.isfinite(found) else 0.0


def gradients(case: Case) -> dict[str, torch.Tensor]:
    """A copy of what the trained parameters' gradients are now."""
    return {n: p.grad.clone() for n, p in case.embedder.trainable().items() if p.grad is not None}


def clear_gradients(case: Case) -> None:
    for parameter in case.embedder.trainable().values():
        parameter.grad = None


def now(device: torch.device) -> float:
    """Seconds, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Harken:
    """Steps of `training.loop.Loop`; each turn is a loop of its own, as it is with the rivals.

    Args:
        grad_cache: as `RunSettings`.
        draws_ahead: the next batch is drawn while a step runs, as in training. A tower that runs every time would take a
            core of its own that no rival has.
    """

    def __init__(self, case: Case, source: PairSource, *, grad_cache: bool, draws_ahead: bool) -> None:
        run = replace(case.settings.run, grad_cache=grad_cache)
        self._case, self._source, self._settings = case, source, replace(case.settings, run=run)
        self._draws_ahead = draws_ahead

    def gradient(self) -> Gradient:
        task = self._task(num_steps=1)
        task.after_step()
        clear_gradients(self._case)
        return Gradient(task.backward(0)["loss"], gradients(self._case))

    def seconds(self, first: int, num: int) -> list[float]:
        # The batch of the step after the last would be drawn in another system's time.
        num_steps = first + num + 1
        with tempfile.TemporaryDirectory() as folder:
            task = self._task(num_steps)
            loop = Loop(task, replace(task.settings, out=folder))
            loop.step = first
            ends = []
            while loop.step < num_steps:
                loop.train_step()
                ends.append(now(self._case.device))
        clear_gradients(self._case)
        return [later - sooner for sooner, later in zip(ends, ends[1:])]

    def _task(self, num_steps: int) -> ContrastiveTask:
        optim = replace(self._settings.optim, num_steps=num_steps if self._draws_ahead else 0)
        return ContrastiveTask(self._case.embedder, self._source, replace(self._settings, optim=optim))


def harken_systems(case: Case) -> list[System]:
    """harken's ways; the first has features as exact as a rival's."""
    merged = sum(layer.harken_merged.nbytes for layer in lora_layers(case.embedder))
    ways = {"harken": (case.source, False), "harken, grad cache": (case.source, True)}
    if case.live is not None:
        ways = {"harken, tower each step": (case.live, False), **ways}
    made = {
        name: Harken(case, source, grad_cache=cached, draws_ahead=source is case.source)
        for name, (source, cached) in ways.items()
    }
    return [
        System(name, one.gradient, one.seconds, case.live is not None and ways[name][0] is case.source, merged)
        for name, one in made.items()
    ]
