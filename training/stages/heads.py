"""Heads stage: the two heads alone, in batches far larger than a decoder takes.

    state = pool(decoder(prompt)), once for every sound and text      vector = unit(head(state))

The pooled states are those of the adapter in `init`; they are kept in data.states, and a step costs milliseconds. What is
saved is that adapter with the new heads. Sounds are heard whole, whatever batch.max_rows says.

Source: own; InfoNCE's bound on information rises with the number of negatives (arXiv 1807.03748, section 2.3).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...engine.cli.output import progress_bar
from ...errors import FileFormatError, InputError
from .. import parallel
from ..config import TrainSettings
from ..data import Row
from ..draw import texts_of
from ..listening import Features
from ..models.embedder import TrainableEmbedder
from ..models.prompts import Input
from .audio_text import AudioTextPairs
from .build import CAPTIONS, autocast, init_folder, open_embedder, open_features, open_rows, usable, with_texts
from .contrastive import ContrastiveTask

# Inputs between two movements of the progress bar.
_CHUNK = 64


def build(settings: TrainSettings) -> ContrastiveTask:
    """The task of the settings.

    Raises:
        InputError: `init` names no adapter.
    """
    if (init := init_folder(settings)) is None:
        raise InputError("the stage 'heads' wants init, the adapter whose states it takes")
    model = open_embedder(settings)
    model.load(init)
    train, val = open_rows(settings, "train"), open_rows(settings, "val")
    features = open_features(settings, model.backbone, train, val)
    train = with_texts(usable(features, train, "train"), settings.batch.kinds, "train")
    val = with_texts(usable(features, val, "val"), CAPTIONS, "val")[: settings.data.max_val_rows]
    file = Path(settings.data.states or Path(settings.out) / "states.npz")
    if parallel.is_first() and not file.is_file():
        write_states(file, [*train, *val], features, model, settings)
    parallel.wait_for_all()
    states = States(file)
    return ContrastiveTask(HeadsOnStates(model, states), AudioTextPairs(train, val, states, settings), settings)


def write_states(
    file: Path, rows: Sequence[Row], features: Features, model: TrainableEmbedder, settings: TrainSettings
) -> None:
    """Run the frozen model on every row's whole sound and on every text, and keep the pooled states."""
    texts = list(dict.fromkeys(text for row in rows for of_kind in texts_of(row).values() for text in of_kind))
    with progress_bar("states", len(rows) + len(texts)) as advance:

        def states(inputs: Sequence[Input]) -> np.ndarray:
            model.eval()
            with torch.inference_mode(), autocast(settings, model.backbone.device):
                found = model.states(inputs).cpu().numpy()
            advance(len(inputs))
            return found

        heard = [
            states([Input(features=f) for f in features.of(rows[i : i + _CHUNK])]) for i in range(0, len(rows), _CHUNK)
        ]
        read = [states([Input(text=t) for t in texts[i : i + _CHUNK]]) for i in range(0, len(texts), _CHUNK)]
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        ids=np.array([row.id for row in rows]),
        audio=np.concatenate(heard),
        texts=np.array(texts),
        text=np.concatenate(read),
    )
    os.replace(temporary, file)


class States:
    """Pooled states by row and by text. A sound's state is a `Features` of one row.

    Raises:
        FileFormatError: the file cannot be read as that.
    """

    def __init__(self, file: Path) -> None:
        try:
            with np.load(file) as found:
                self._of_row = dict(zip(found["ids"].tolist(), found["audio"][:, None]))
                self._of_text = dict(zip(found["texts"].tolist(), found["text"]))
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"{file}: cannot be read as pooled states: {error!r}") from None

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        """[1, W] of each row."""
        return [self._of_row[row.id] for row in rows]

    def usable(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[str]]:
        return [row for row in rows if row.id in self._of_row], [
            f"{row.id}: has no state" for row in rows if row.id not in self._of_row
        ]

    def of_inputs(self, inputs: Sequence[Input]) -> torch.Tensor:
        """[B, W] float32."""
        return torch.from_numpy(
            np.stack([self._of_text[i.text or ""] if i.features is None else i.features[0] for i in inputs])
        )


class HeadsOnStates(nn.Module):
    """An embedder whose decoder has been run already: only its heads are trained.

    Args:
        model: the embedder; its adapter is saved with the heads.
        states: of all inputs that will come.
    """

    def __init__(self, model: TrainableEmbedder, states: States) -> None:
        super().__init__()
        self.heads, self.backbone = model.heads, model.backbone
        # In a tuple, so that its parameters do not count as this module's.
        self._model, self._states = (model,), states

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return dict(self.named_parameters())

    def groups(self, inputs: Sequence[Input]) -> list[list[int]]:
        return [list(range(len(inputs)))]

    def forward(self, inputs: Sequence[Input]) -> torch.Tensor:
        """[B, D] unit vectors."""
        states_BW = self._states.of_inputs(inputs).to(self.backbone.device)
        return self._model[0].vectors(inputs, states_BW)

    def whiten(self, sides: Sequence[Sequence[Input]]) -> None:
        self._model[0].whiten(sides, self._states.of_inputs)

    def load(self, folder: str | Path) -> None:
        self._model[0].load(folder)

    def after_step(self) -> None:
        """Nothing follows from the heads."""

    def save(self, folder: str | Path) -> None:
        self._model[0].save(folder)
