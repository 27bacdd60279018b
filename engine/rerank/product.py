"""What a sound and a text say of each other by a plain product, beside what the joint layers answer.

    a = unit(A [mean(S x); deviation(S x)] + b)            x  [n, W] the sound's audio tokens
    t = unit(T [mean(y); y_last] + c)                      y  [m, W] the text's rows as they go into the first joint layer
    log-odds of Yes = gain (h . w_yes - h . w_no) + scale (a . t) + offset

Two layers of attention learn such a product slowly; as a term of its own it is there from the start, and costs one vector a
sound and one a text.

Source: own; a product of the two parts beside the answer of layers that see both is also how ALBEF (Li et al. 2021, arXiv
2107.07651) ranks, whose image-text contrast and image-text matching are two terms.
Letters: W width, K rows of S, D dimensions of a and t, B pairs.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...errors import ModelError

FILE = "product.safetensors"


class Product:
    """The term's weights, in float32.

    Args:
        spread_KW: S.
        sound: A [D, 2 K] and b [D].
        text: T [D, 2 W] and c [D].
        gain, scale, offset: of the log-odds.
    """

    def __init__(
        self,
        spread_KW: torch.Tensor,
        sound: tuple[torch.Tensor, torch.Tensor],
        text: tuple[torch.Tensor, torch.Tensor],
        gain: float,
        scale: float,
        offset: float,
    ) -> None:
        self._spread_KW, self._sound, self._text = spread_KW, sound, text
        self.gain, self.scale, self.offset = gain, scale, offset

    @property
    def num_bytes(self) -> int:
        """Of one vector."""
        return self._sound[1].nbytes

    @classmethod
    def load(cls, folder: str | Path, width: int, device: torch.device | str) -> "Product":
        """Read what `training.product` wrote beside an adapter.

        Raises:
            ModelError: there is no such file, it cannot be read, or does not hold what a model of this width wants.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise ModelError(
                f"{folder}: the recipe adds a product to the answers, but there is no {FILE}; make it with "
                "`python -m harken.training.product RUN.json`, or take a recipe with product false"
            )
        try:
            tensors = {name: tensor.float().to(device) for name, tensor in load_file(file).items()}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from None
        spread = tensors.get("spread", torch.empty(0, width))
        dim = len(tensors.get("sound.bias", ()))
        wanted = {
            "spread": (len(spread), width),
            "sound.weight": (dim, 2 * len(spread)),
            "sound.bias": (dim,),
            "text.weight": (dim, 2 * width),
            "text.bias": (dim,),
            "odds": (3,),
        }
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if shapes != wanted or not dim or not len(spread):
            raise ModelError(
                f"{file}: holds {shapes}; wanted {wanted} with sizes above 0, for a model of width {width}"
            )
        sound, text = ((tensors[f"{side}.weight"], tensors[f"{side}.bias"]) for side in ("sound", "text"))
        return cls(spread, sound, text, *tensors["odds"].tolist())

    def hear(self, sounds: Sequence[torch.Tensor]) -> torch.Tensor:
        """[B, D] float32 unit vectors of sounds' audio tokens [n, W]."""
        spread = torch.cat(list(sounds)).float() @ self._spread_KW.T
        told = torch.stack([told_of_sound(rows) for rows in spread.split([len(rows) for rows in sounds])])
        return F.normalize(F.linear(told, *self._sound), dim=-1)

    def read(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """[B, D] float32 unit vectors of texts' rows [m, W]."""
        told = torch.stack([told_of_text(rows.float()) for rows in texts])
        return F.normalize(F.linear(told, *self._text), dim=-1)

    def odds(self, sounds_BD: torch.Tensor, texts_BD: torch.Tensor) -> torch.Tensor:
        """[B] float32 what is added to the joint layers' log-odds of B pairs."""
        return self.scale * (sounds_BD * texts_BD).sum(-1) + self.offset


def told_of_sound(spread_NK: torch.Tensor) -> torch.Tensor:
    """[2 K] mean and deviation of a sound's spread tokens [n, K]."""
    return torch.cat([spread_NK.mean(0), spread_NK.std(0, correction=0)])


def told_of_text(rows_MW: torch.Tensor) -> torch.Tensor:
    """[2 W] mean and last of a text's rows [m, W]."""
    return torch.cat([rows_MW.mean(0), rows_MW[-1]])
