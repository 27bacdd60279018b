"""Models of two encoders over padded batches: chunks of sound to vectors, sentences to vectors, chunk vectors to one.

    audio_tower   mel [C, 1001, 64] -> vectors [C, D]
    text_tower    token ids [B, T], lengths [B] -> vectors [B, D]
    chunk_pool    chunk vectors [B, C, D], counts [B] -> vectors [B, D]       where the recipe attends to chunks

Stretching 1001 frames to 1024 is a fixed linear map, so it is a product with a constant matrix here.

Source: models/dual.py, htsat.py and roberta.py in padded form; checked against them.
Letters: B sequences, T rows, C chunks, M mels, W width, D width of the space.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..embedder import Embedder
from ..models.dual import ClapProjection, DualEncoder, SequenceLayer, SequenceProjection
from ..models.htsat import NUM_SAMPLES
from ..models.layers import frozen
from ..models.roberta import RobertaLayer
from .graph import Graph, attend

_BATCH, _CHUNKS = 256, 512


class AudioVectors(nn.Module):
    """HTSAT and the projection of sounds."""

    def __init__(self, model: DualEncoder, num_frames: int, normalize: bool) -> None:
        super().__init__()
        self.tower, self.projection, self.normalize = model.tower, model.audio_projection, normalize
        # Column t: what frame t adds to each stretched frame; mels do not mix.
        one = torch.eye(num_frames, device=model.device)[:, :, None].expand(-1, -1, model.tower.spec.num_mels)
        self.stretch = frozen(model.tower.stretched(one)[:, :, 0].T.contiguous())

    def forward(self, mel_CTM: torch.Tensor) -> torch.Tensor:
        """[C, D] float32 of mel frames [C, T, M] float32."""
        mel = self.stretch @ (mel_CTM * self.tower.slope + self.tower.offset)
        # Both frequencies of a time are one state.
        x_CTW = self.tower.states(mel).mean(1)
        lengths_C = torch.full_like(x_CTW[:, 0, 0], x_CTW.shape[1], dtype=torch.int64)
        vectors = _projected(self.projection, x_CTW, lengths_C).float()
        return F.normalize(vectors, dim=-1) if self.normalize else vectors


class TextVectors(nn.Module):
    """RoBERTa and the projection of sentences."""

    def __init__(self, model: DualEncoder, normalize: bool) -> None:
        super().__init__()
        self.reader, self.projection, self.normalize = model.reader, model.text_projection, normalize

    def forward(self, token_ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """[B, D] float32 of int64 ids, anything past a sentence's length."""
        reader = self.reader
        x = F.embedding(token_ids_BT, reader.words) + reader.positions[: token_ids_BT.shape[1]]
        x = reader.norm(x)
        mask = _seen(x, lengths_B)
        for layer in reader.layers:
            x = _after(layer, x, mask, F.gelu)  # type: ignore[arg-type]
        vectors = _projected(self.projection, x, lengths_B).float()
        return F.normalize(vectors, dim=-1) if self.normalize else vectors


class ChunkPool(nn.Module):
    """One learned query over the vectors of each clip's chunks."""

    def __init__(self, query_D: torch.Tensor, normalize: bool) -> None:
        super().__init__()
        self.query, self.normalize = frozen(query_D.float()), normalize

    def forward(self, vectors_BCD: torch.Tensor, counts_B: torch.Tensor) -> torch.Tensor:
        """[B, D] float32 of float32 vectors, those past a clip's count unread."""
        scores_BC = vectors_BCD @ self.query * self.query.shape[0] ** -0.5
        kept_BC = torch.arange(vectors_BCD.shape[1], device=vectors_BCD.device)[None] < counts_B[:, None]
        weights_BC = torch.where(kept_BC, scores_BC, float("-inf")).softmax(1)
        pooled = (weights_BC[:, :, None] * torch.where(kept_BC[:, :, None], vectors_BCD, 0.0)).sum(1)
        return F.normalize(pooled, dim=-1) if self.normalize else pooled


def _seen(x_BTW: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
    return (torch.arange(x_BTW.shape[1], device=x_BTW.device)[None] < lengths_B[:, None])[:, None, None]


def _after(layer: RobertaLayer | SequenceLayer, x_BTW: torch.Tensor, mask: torch.Tensor, activation) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """A layer whose norms follow its residuals."""
    q, k, v = layer.qkv(x_BTW).unflatten(-1, (3, layer.num_heads, -1)).unbind(2)
    x_BTW = layer.norm1(x_BTW + layer.out(attend(q, k, v, mask, q.shape[-1] ** -0.5)))
    return layer.norm2(x_BTW + layer.fc2(activation(layer.fc1(x_BTW))))


def _projected(projection: nn.Module, x_BTW: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
    """[B, D] of padded states."""
    if isinstance(projection, ClapProjection):
        first = projection.pooler
        one = _mean(x_BTW, lengths_B) if first is None else torch.tanh(first(x_BTW[:, 0]))
        return projection.fc2(F.relu(projection.fc1(one)))
    assert isinstance(projection, SequenceProjection)
    mask = _seen(x_BTW, lengths_B)
    for layer in projection.layers:
        assert isinstance(layer, SequenceLayer)
        x_BTW = _after(layer, x_BTW, mask, layer.activation)
    y = projection.linear(x_BTW)
    return y[:, 0] if projection.summary == "first" else _mean(y, lengths_B)


def _mean(x_BTW: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
    kept = torch.arange(x_BTW.shape[1], device=x_BTW.device)[None] < lengths_B[:, None]
    total = torch.where(kept[:, :, None], x_BTW.float(), 0.0).sum(1)
    return (total / lengths_B[:, None].float()).to(x_BTW.dtype)


def dual_graphs(embedder: Embedder) -> list[Graph]:
    """The graphs of a model of two encoders."""
    model, recipe = embedder.model, embedder.recipe
    assert isinstance(model, DualEncoder)
    attends = recipe.long_audio == "chunk-attention"
    spec, device = model.tower.spec, model.device
    num_frames = 1 + NUM_SAMPLES // spec.hop_length
    hears = AudioVectors(model, num_frames, recipe.normalize and not attends)
    reads = TextVectors(model, recipe.normalize)
    graphs = [
        Graph(
            "audio_tower",
            hears.eval(),
            {"mel": torch.zeros(2, num_frames, spec.num_mels, device=device)},
            {"mel": {0: "chunks"}},
            {"chunks": (1, 8, _CHUNKS)},
            ("vectors",),
        ),
        Graph(
            "text_tower",
            reads.eval(),
            {
                "token_ids": torch.zeros(2, 7, dtype=torch.int64, device=device),
                "lengths": torch.tensor([7, 5], device=device),
            },
            {"token_ids": {0: "batch", 1: "rows"}, "lengths": {0: "batch"}},
            {"batch": (1, 32, _BATCH), "rows": (2, min(32, model.reader.max_tokens), model.reader.max_tokens)},
            ("vectors",),
        ),
    ]
    if attends:
        assert model.chunk_query is not None
        graphs.append(
            Graph(
                "chunk_pool",
                ChunkPool(model.chunk_query.detach(), recipe.normalize).eval(),
                {
                    "chunk_vectors": torch.zeros(2, 3, model.width, device=device),
                    "counts": torch.tensor([3, 2], device=device),
                },
                {"chunk_vectors": {0: "batch", 1: "chunks"}, "counts": {0: "batch"}},
                {"batch": (1, 8, _BATCH), "chunks": (1, 4, _CHUNKS)},
                ("vectors",),
            )
        )
    return graphs
