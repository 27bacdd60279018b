"""What the contrastive stages share: pairs of inputs, a loss over the batch, recall on validation.

A stage gives the pairs; the loss is chosen by name.

Source: own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from .. import losses, parallel
from ..ahead import Ahead
from ..config import LossSettings, TrainSettings
from ..grad_cache import Loss, backward
from ..metrics import first_ranks, recall
from ..models.backbone import Backbone
from ..models.prompts import Input
from .build import autocast, init_folder


@dataclass(frozen=True, slots=True)
class Pairs:
    """One step's batch: this process's inputs, and the masks of the batch of all."""

    left: list[Input]
    right: list[Input]
    # [B, B] bool: no negatives of each other.
    same_BB: np.ndarray
    # [B, B] bool: positives beside the pair itself.
    positive_BB: np.ndarray


@dataclass(frozen=True, slots=True)
class Validation:
    """Queries and documents, and which answer which."""

    left: list[Input]
    right: list[Input]
    # [left, right] bool.
    fits: np.ndarray
    # What the two directions are called.
    names: tuple[str, str]


class PairSource(Protocol):
    """What a stage provides."""

    def draw(self, step: int, own: slice) -> Pairs: ...

    def whitening(self, num: int) -> list[list[Input]]: ...

    def validation(self) -> Validation: ...


class PairModel(Protocol):
    """What gives both sides their vectors: an embedder, or its heads alone."""

    backbone: Backbone

    def trainable(self) -> Mapping[str, nn.Parameter]: ...

    def groups(self, inputs: Sequence[Input]) -> list[list[int]]: ...

    def __call__(self, inputs: Sequence[Input]) -> torch.Tensor: ...

    def whiten(self, sides: Sequence[Sequence[Input]]) -> None: ...

    def load(self, folder: Path) -> None: ...

    def after_step(self) -> None: ...

    def save(self, folder: Path) -> None: ...

    def train(self) -> object: ...

    def eval(self) -> object: ...


class ContrastiveTask:
    """A Task of `training.loop`.

    Args:
        model: of both sides.
        source: of pairs.
        settings: of the run.
    """

    def __init__(self, model: PairModel, source: PairSource, settings: TrainSettings) -> None:
        self.model, self.source, self.settings = model, source, settings
        loss = settings.loss
        self.temperature = losses.Temperature(loss.tau) if loss.learn_tau else None
        named = model.trainable()
        self.loss_parameters: Mapping[str, nn.Parameter] = {}
        if self.temperature is not None:
            self.temperature.to(model.backbone.device)
            self.loss_parameters = {"loss.log_scale": self.temperature.log_scale}
        self._batch = Ahead(
            lambda step: self.source.draw(step, parallel.own_part(settings.batch.batch_size)), settings.optim.num_steps
        )
        heads = {n: p for n, p in named.items() if ".lora_" not in n}
        self.lora_parameters: Mapping[str, nn.Parameter] = {n: p for n, p in named.items() if ".lora_" in n}
        self.head_parameters: Mapping[str, nn.Parameter] = heads | dict(self.loss_parameters)

    def start(self) -> None:
        """Take over `init`, then whiten the heads, as the settings say."""
        if (init := init_folder(self.settings)) is not None:
            self.model.load(init)
        if self.settings.num_whitening:
            self.model.eval()
            self.model.whiten(self.source.whitening(self.settings.num_whitening))

    def after_step(self) -> None:
        self.model.after_step()

    def backward(self, step: int) -> dict[str, float]:
        settings = self.settings
        pairs = self._batch(step)
        tau = settings.loss.tau if self.temperature is None else self.temperature()
        self.model.train()
        with autocast(settings, self.model.backbone.device):
            value, left, right = backward(
                self.model,
                pairs.left,
                pairs.right,
                contrastive_loss(settings.loss, tau, pairs),
                two_passes=settings.run.grad_cache,
                seed=(settings.seed, step, parallel.rank()),
            )
        top1 = float(((left @ right.T).argmax(1) == torch.arange(len(left), device=left.device)).float().mean())
        return {"loss": float(value), "tau": tau.item() if isinstance(tau, torch.Tensor) else tau, "top1": top1}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """R@1, R@5 and R@10 both ways; the score is the mean of both R@10."""
        found = self.source.validation()
        left, right = (self.encode(side).numpy() for side in (found.left, found.right))
        return recall_both_ways(left @ right.T, found.fits, found.names)

    @torch.no_grad()
    def encode(self, inputs: Sequence[Input]) -> torch.Tensor:
        """[n, D] float32 unit vectors on the CPU."""
        self.model.eval()
        with autocast(self.settings, self.model.backbone.device):
            return self.model(inputs).float().cpu()

    def save(self, folder: Path) -> None:
        self.model.save(folder)


def recall_both_ways(scores: np.ndarray, fits: np.ndarray, names: tuple[str, str]) -> dict[str, float]:
    """R@1, R@5 and R@10 of the rows' and of the columns' queries; "score" is the mean of both R@10."""
    values: dict[str, float] = {}
    for name, scored, right in ((names[0], scores, fits), (names[1], scores.T, fits.T)):
        ranks = first_ranks(scored, right)
        values |= {f"{name} R@{k}": round(recall(ranks, k), 4) for k in (1, 5, 10)}
    values["score"] = round((values[f"{names[0]} R@10"] + values[f"{names[1]} R@10"]) / 2, 4)
    return values


def contrastive_loss(settings: LossSettings, tau: float | torch.Tensor, pairs: Pairs) -> Loss:
    """The chosen loss of both sides' vectors."""
    same, positive = torch.from_numpy(pairs.same_BB), torch.from_numpy(pairs.positive_BB)
    s = settings
    hybrid: dict[str, Any] = dict(tau=tau, lam=s.lam, beta=s.beta, ignored_BB=same)
    by_name: dict[str, Loss] = {
        "symmetric": lambda a, t: losses.symmetric_info_nce(a, t, tau, same),
        "one-direction": lambda a, t: losses.one_direction_info_nce(a, t, tau, same),
        "hybrid-paper": lambda a, t: losses.hybrid_nce_paper(a, t, positive, **hybrid),
        "hybrid-coded": lambda a, t: losses.hybrid_nce_coded(a, t, positive, alpha=s.alpha, **hybrid),
        "masked-bidirectional": lambda a, t: losses.masked_bidirectional(
            a, t, tau, max_similarity=s.max_similarity, same_BB=same
        ),
        "cosine-l1-contrastive": lambda a, t: losses.cosine_l1_contrastive(a, t, tau, weights=s.weights, same_BB=same),
    }
    return by_name[s.name]
