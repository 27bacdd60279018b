"""The trainers that a user would take instead, on padded.py's model with the same LoRA layers, pairs and rate.

    sentence-transformers                 SentenceTransformerTrainer, MultipleNegativesRankingLoss both ways
    sentence-transformers, cached loss    the same with CachedMultipleNegativesRankingLoss
    HF Trainer                            transformers.Trainer with InfoNCE over the batch as compute_loss

sentence-transformers has no module for sounds with these prompts and heads: PaddedModule is the thinnest that has. Every turn
is a trainer of its own, whose first step is not counted.

Source: the usage of the libraries, sentence-transformers 6 and transformers 5.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import InputError
from .case import Case
from .padded import Collator, PaddedModel, as_published
from .systems import Gradient, System, clear_gradients, gradients, now

# Makes a trainer of (arguments, examples, watch).
Make = Callable[[dict[str, Any], list[dict[str, str]], "Watch"], Any]


class Watch:
    """What is read off a trainer while it runs."""

    def __init__(self, case: Case, *, wants_gradient: bool) -> None:
        from transformers import TrainerCallback

        self.ends: list[float] = []
        self.loss = torch.tensor(0.0)
        self.parts: dict[str, torch.Tensor] = {}
        watch = self

        class Callback(TrainerCallback):
            def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if wants_gradient:
                    watch.parts = gradients(case)

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                watch.ends.append(now(case.device))

        self.callback = Callback()


class Rival:
    """Turns of one kind of trainer."""

    def __init__(self, case: Case, make: Make, workers: int) -> None:
        self._case, self._make, self._workers = case, make, workers

    def gradient(self) -> Gradient:
        watch = Watch(self._case, wants_gradient=True)
        self._train(range(1), 0.0, watch)
        return Gradient(float(watch.loss), watch.parts)

    def seconds(self, first: int, num: int) -> list[float]:
        watch = Watch(self._case, wants_gradient=False)
        self._train(range(first, first + num + 1), self._case.settings.optim.lr, watch)
        return [later - sooner for sooner, later in zip(watch.ends, watch.ends[1:])]

    def _train(self, steps: range, lr: float, watch: Watch) -> None:
        from transformers import PrinterCallback

        settings = self._case.settings
        clear_gradients(self._case)
        with tempfile.TemporaryDirectory() as folder, as_published(self._case.embedder):
            arguments = dict(
                output_dir=folder,
                max_steps=len(steps),
                per_device_train_batch_size=self._case.batch,
                learning_rate=lr,
                lr_scheduler_type="constant",
                weight_decay=settings.optim.weight_decay,
                max_grad_norm=settings.optim.max_grad_norm,
                bf16=settings.run.autocast,
                use_cpu=self._case.device.type == "cpu",
                dataloader_num_workers=self._workers,
                dataloader_pin_memory=self._case.device.type == "cuda",
                remove_unused_columns=False,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )
            trainer = self._make(arguments, self._case.examples(steps), watch)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        clear_gradients(self._case)


def rival_systems(case: Case, *, micro_batch: int, workers: int) -> list[System]:
    """All rivals.

    Args:
        micro_batch: pairs that sentence-transformers' cached loss runs at once.
        workers: processes that read and pad a rival's batches; 0: none but the trainer's own.

    Raises:
        InputError: sentence-transformers, or datasets which its trainer wants, is not installed.
    """
    kinds: dict[str, Make] = {
        "sentence-transformers": _sentence_transformers(case, None),
        "sentence-transformers, cached loss": _sentence_transformers(case, micro_batch),
        "HF Trainer": _hugging_face(case),
    }
    rivals = {name: Rival(case, make, workers) for name, make in kinds.items()}
    return [System(name, rival.gradient, rival.seconds) for name, rival in rivals.items()]


def info_nce(left_BD: torch.Tensor, right_BD: torch.Tensor, tau: float) -> torch.Tensor:
    """Symmetric InfoNCE as it is usually written into a compute_loss."""
    scores_BB = left_BD @ right_BD.T / tau
    own = torch.arange(len(scores_BB), device=scores_BB.device)
    return (F.cross_entropy(scores_BB, own) + F.cross_entropy(scores_BB.T, own)) / 2


def _hugging_face(case: Case) -> Make:
    from transformers import Trainer, TrainingArguments

    collator = _collator(case)

    def collate(examples: list[dict[str, str]]) -> dict[str, dict[str, torch.Tensor]]:
        return {side: collator([one[side] for one in examples]) for side in ("left", "right")}

    def make(arguments: dict[str, Any], examples: list[dict[str, str]], watch: Watch) -> Any:
        class Contrast(Trainer):
            def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
                value = info_nce(model(inputs["left"]), model(inputs["right"]), case.settings.loss.tau)
                watch.loss = value.detach()
                return (value, None) if return_outputs else value

        return Contrast(
            model=PaddedModel(case.embedder),
            args=TrainingArguments(**arguments, train_sampling_strategy="sequential"),
            train_dataset=examples,  # type: ignore[arg-type]
            data_collator=collate,
            callbacks=[watch.callback],
        )

    return make


def _sentence_transformers(case: Case, micro_batch: int | None) -> Make:
    try:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
        from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
        from sentence_transformers.base.modules import Module
        from sentence_transformers.base.sampler import DefaultBatchSampler
        from sentence_transformers.sentence_transformer import losses
    except ImportError as error:
        raise InputError(f"{error}: pip install sentence-transformers datasets, which are of harken[test]") from None

    collator = _collator(case)

    class PaddedModule(Module):
        def __init__(self) -> None:
            super().__init__()
            self.padded = PaddedModel(case.embedder)

        def preprocess(self, inputs: list[str], prompt: str | None = None, **_: Any) -> dict[str, torch.Tensor]:
            return collator(inputs)

        def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {**features, "sentence_embedding": self.padded(features)}

        def save(self, *_: Any, **__: Any) -> None:
            """Nothing of it is kept."""

    class Watched(SentenceTransformerTrainer):
        def compute_loss(self, *args: Any, **more: Any) -> Any:
            value = super().compute_loss(*args, **more)
            self.watch.loss = value.detach()
            return value

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """No card is written of a model that is thrown away."""

    def in_order(dataset: Any, *, batch_size: int, drop_last: bool, **more: Any) -> Any:
        return DefaultBatchSampler(torch.utils.data.SequentialSampler(dataset), batch_size, drop_last, **more)

    def make(arguments: dict[str, Any], examples: list[dict[str, str]], watch: Watch) -> Any:
        model = SentenceTransformer(modules=[PaddedModule()], device=str(case.device))
        same: dict[str, Any] = dict(
            scale=1 / case.settings.loss.tau,
            directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
        )
        loss: nn.Module = (
            losses.MultipleNegativesRankingLoss(model, **same)
            if micro_batch is None
            else losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=micro_batch, **same)
        )
        trainer = Watched(
            model=model,
            args=Arguments(**arguments, batch_sampler=in_order),
            train_dataset=Dataset.from_list(examples),
            loss=loss,
            callbacks=[watch.callback],
        )
        trainer.watch = watch
        return trainer

    return make


def _collator(case: Case) -> Collator:
    return Collator(case.embedder, {str(row.audio): row for row in case.rows if row.audio is not None})
