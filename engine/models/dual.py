"""Two encoders that meet in one space: HTSAT hears, RoBERTa reads, a projection each.

    clap         sound  W2 relu(W1 mean(states))            text  W2 relu(W1 tanh(P state of the first token))
    robust_atr   each   mean(W x + b) over the states x after a few transformer layers of its own;
                 clip   attention over the vectors of its chunks with one learned query

The transformer layers of robust_atr are torch.nn.TransformerEncoderLayer's (norm after each residual) and bear its names;
how many there are, and what follows them, its config.json says, because the paper does not.

Source: spec/recipes.md E.1 and E.3; CLAP checked against transformers' ClapModel.
Letters: N rows, B sequences, C chunks, W width, D width of the space.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...errors import InputError, ModelError
from ...kernels.attention_pool import attention_pool
from ...kernels.logmel import LogMel
from ...kernels.pool import pool
from ..text.template import Prompt
from .config import read_json
from .htsat import HTSAT, HTSATConfig
from .layers import Linear, PostNormLayer, PostNormNames, frozen
from .packed import Segments
from .roberta import Roberta, RobertaConfig
from .transfer import Samples, put
from .weights import Weights

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"gelu": F.gelu, "relu": F.relu}
Summary = Literal["mean", "first"]


class ClapProjection(nn.Module):
    """One state of each sequence, two products with a relu between."""

    def __init__(self, weights: Weights, name: str, num_in: int, dim: int, pooler: Linear | None) -> None:
        super().__init__()
        self.pooler = pooler
        self.fc1 = Linear.load(weights, f"{name}.linear1", num_in, dim)
        self.fc2 = Linear.load(weights, f"{name}.linear2", dim, dim)

    def forward(self, x_NW: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[B, D] of packed states."""
        if self.pooler is None:
            one = summarise(x_NW, segments, "mean")
        else:
            one = torch.tanh(self.pooler(summarise(x_NW, segments, "first")))
        return self.fc2(F.relu(self.fc1(one)))


_NAMES = PostNormNames(out="self_attn.out_proj", norm1="norm1", fc1="linear1", fc2="linear2", norm2="norm2")


class SequenceLayer(PostNormLayer):
    """torch.nn.TransformerEncoderLayer without dropout, over packed sequences."""

    def __init__(
        self, weights: Weights, name: str, width: int, num_heads: int, mlp_width: int, activation: str
    ) -> None:
        qkv = Linear(
            weights.take(f"{name}.self_attn.in_proj_weight", 3 * width, width),
            weights.take(f"{name}.self_attn.in_proj_bias", 3 * width),
        )
        super().__init__(
            weights,
            name,
            _NAMES,
            qkv,
            width=width,
            num_heads=num_heads,
            mlp_width=mlp_width,
            eps=1e-5,
            activation=_ACTIVATIONS[activation],
        )


class SequenceProjection(nn.Module):
    """Transformer layers, then a product, then one vector a sequence."""

    def __init__(self, weights: Weights, name: str, width: int, dim: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.summary: Summary = config["summary"]
        self.layers = nn.ModuleList(
            SequenceLayer(
                weights, f"{name}.layers.{i}", width, config["num_heads"], config["mlp_width"], config["activation"]
            )
            for i in range(config["num_layers"])
        )
        self.linear = Linear.load(weights, f"{name}.linear", width, dim)

    def forward(self, x_NW: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[B, D] of packed states."""
        for layer in self.layers:
            x_NW = layer(x_NW, segments)
        return summarise(self.linear(x_NW), segments, self.summary)


class DualEncoder(nn.Module):
    """Sounds and sentences to vectors of `width`, not yet of unit length.

    Args:
        tower: hears.
        reader: reads.
        audio_projection, text_projection: called with packed states and their cut.
        width: of the space.
        chunk_query_D: asks for the chunks of a long clip; None: the model knows of no chunks.
    """

    # No token stands for sound: sounds have no prompt here.
    audio_token_id = -1

    def __init__(
        self,
        tower: HTSAT,
        reader: Roberta,
        audio_projection: nn.Module,
        text_projection: nn.Module,
        width: int,
        chunk_query_D: torch.Tensor | None,
    ) -> None:
        super().__init__()
        self.tower, self.reader, self.width = tower, reader, width
        self.audio_projection, self.text_projection = audio_projection, text_projection
        self.chunk_query = None if chunk_query_D is None else frozen(chunk_query_D)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.reader.words.device

    @property
    def dtype(self) -> torch.dtype:
        return self.reader.words.dtype

    def audio_vectors(self, chunks: Sequence[np.ndarray]) -> torch.Tensor:
        """[C, D] float32 vectors of chunks, each float32 [n] of at most 10 s at the tower's sample rate."""
        return self.heard_vectors(self.tower.features(*Samples.of(chunks, self.device)))

    def heard_vectors(self, mel: LogMel) -> torch.Tensor:
        """[C, D] float32 vectors of the tower's features of C chunks."""
        # Both frequencies of a time are one state.
        x_CTW = self.tower(mel).mean(1)
        segments = Segments.of([x_CTW.shape[1]] * len(x_CTW))
        return self.audio_projection(x_CTW.flatten(0, 1), segments).float()

    def pool_chunks(self, vectors_CD: torch.Tensor, chunks: Segments) -> torch.Tensor:
        """[B, D] vectors of clips from those of their chunks.

        Raises:
            ModelError: the checkpoint has no query for chunks.
        """
        if self.chunk_query is None:
            raise ModelError("this checkpoint holds no chunk_query; long sounds can be averaged, not attended to")
        return attention_pool(vectors_CD, chunks.cu_seqlens(vectors_CD.device), self.chunk_query.float())

    def text_vectors(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """[B, D] float32 vectors of sentences.

        Raises:
            InputError: a sentence has more tokens than the model has positions.
        """
        segments = Segments.of([len(prompt) for prompt in prompts])
        if segments.max_length > self.reader.max_tokens:
            raise InputError(f"a text has {segments.max_length} tokens, wanted at most {self.reader.max_tokens}")
        ids = np.concatenate([np.asarray(prompt.token_ids, dtype=np.int64) for prompt in prompts])
        states_NW = self.reader(put(ids, self.device), segments)
        return self.text_projection(states_NW, segments).float()


def summarise(x_NW: torch.Tensor, segments: Segments, how: Summary) -> torch.Tensor:
    """[B, W] mean, or first row, of each sequence."""
    if how == "first":
        return x_NW[segments.cu_seqlens(x_NW.device)[:-1].long()]
    return pool(x_NW, segments.cu_seqlens(x_NW.device), mode="mean").to(x_NW.dtype)


def build(folder: Path, config: dict[str, Any], weights: Weights) -> DualEncoder:
    """Build the model of a CLAP or robust_atr checkpoint."""
    where = str(folder / "config.json")
    _check_front_end(folder / "preprocessor_config.json")
    audio = HTSATConfig.read(config.get("audio_config", {}), where)
    tower = HTSAT(weights, audio)
    reader = Roberta(weights, RobertaConfig.read(config.get("text_config", {}), where))
    width = reader.config.width
    if config["model_type"] == "robust_atr":
        projection, dim = _projection_config(config, where)
        return DualEncoder(
            tower,
            reader,
            SequenceProjection(weights, "audio_projection", audio.out_width, dim, projection),
            SequenceProjection(weights, "text_projection", width, dim, projection),
            dim,
            weights.take("chunk_query", dim),
        )
    dim = int(config.get("projection_dim", 512))
    if config.get("projection_hidden_act", "relu") != "relu" or reader.pooler is None:
        raise ModelError(f"{where}: wanted projection_hidden_act 'relu' and a checkpoint with text_model.pooler")
    return DualEncoder(
        tower,
        reader,
        ClapProjection(weights, "audio_projection", audio.out_width, dim, None),
        ClapProjection(weights, "text_projection", width, dim, reader.pooler),
        dim,
        None,
    )


def _projection_config(config: dict[str, Any], where: str) -> tuple[dict[str, Any], int]:
    """The `projection` of a robust_atr checkpoint, defaults where it is silent, and the width of its space."""
    defaults = dict(num_layers=1, num_heads=8, mlp_width=2048, activation="gelu", summary="mean", dim=512)
    given = config.get("projection", {})
    if unknown := sorted(set(given) - set(defaults)):
        raise ModelError(f"{where}: projection has unknown fields {unknown}; known are {sorted(defaults)}")
    chosen: dict[str, Any] = {**defaults, **given}
    if chosen["activation"] not in _ACTIVATIONS or chosen["summary"] not in ("mean", "first"):
        raise ModelError(
            f"{where}: projection has activation {chosen['activation']!r} and summary {chosen['summary']!r}; "
            f"wanted one of {sorted(_ACTIVATIONS)} and 'mean' or 'first'"
        )
    return chosen, int(chosen["dim"])


def _check_front_end(path: Path) -> None:
    """Raise a ModelError if preprocessor_config.json, where there is one, asks for other features than HTSAT's."""
    if not path.is_file():
        return
    wanted = dict(
        feature_size=64, sampling_rate=48000, hop_length=480, fft_window_size=1024, frequency_min=50,
        frequency_max=14000, max_length_s=10, truncation="rand_trunc", padding="repeatpad", top_db=None,
    )  # fmt: skip
    given = read_json(path)
    wrong = {key: given[key] for key, value in wanted.items() if given.get(key, value) != value}
    if wrong:
        raise ModelError(f"{path}: has {wrong}; wanted { ({key: wanted[key] for key in wrong}) }")
