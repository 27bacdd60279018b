"""What both stages of rerankers share: model, rows and features from the settings, and the parts of a Task that do not differ.

Source: own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from ...engine.recipes.rerank import get_rerank_recipe
from ..config import TrainSettings
from ..data import Row
from ..listening import Features
from ..models.yes_no import YesNoModel
from .build import CAPTIONS, init_folder, open_features, open_rows, open_run_backbone, usable, with_texts

Model = TypeVar("Model", bound=YesNoModel)


def open_model(settings: TrainSettings, kind: type[Model]) -> Model:
    """The model of the settings on its device."""
    backbone = open_run_backbone(settings)
    model = kind(
        backbone,
        get_rerank_recipe(settings.recipe),
        settings.lora,
        seed=settings.seed,
        max_tokens=settings.run.max_tokens,
    )
    return model.to(backbone.device)


def open_data(settings: TrainSettings, model: YesNoModel) -> tuple[Sequence[Row], Sequence[Row], Features]:
    """Rows to train on and rows of validation, all with features and texts, and the features."""
    train, val = open_rows(settings, "train"), open_rows(settings, "val")
    features = open_features(settings, model.backbone, train, val)
    train = with_texts(usable(features, train, "train"), settings.batch.kinds, "train")
    val = with_texts(usable(features, val, "val"), CAPTIONS, "val")[: settings.data.max_val_rows]
    return train, val, features


class YesNoTask(Generic[Model]):
    """The parts of a Task of `training.loop` that know the model alone.

    Args:
        model: of the stage.
        settings: of the run.
    """

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        self.model, self.settings = model, settings
        named = model.trainable()
        self.lora_parameters: Mapping[str, nn.Parameter] = {n: p for n, p in named.items() if ".lora_" in n}
        self.head_parameters: Mapping[str, nn.Parameter] = {n: p for n, p in named.items() if ".lora_" not in n}
        self.loss_parameters: Mapping[str, nn.Parameter] = {}

    def start(self) -> None:
        """Take over `init`: an adapter of the same layers, a reranker's or the retriever's."""
        if (init := init_folder(self.settings)) is not None:
            self.model.load(init)

    def after_step(self) -> None:
        self.model.after_step()

    def save(self, folder: Path) -> None:
        self.model.save(folder)
