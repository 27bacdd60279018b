"""From hidden states to vectors, as a recipe says: final norm, pooling, head, unit length.

Source: spec/recipes.md B.3 (mean over all tokens, head, L2) and C.3 (one position); the arithmetic is kernels/pool.py.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..kernels.pool import Mode, Norm, pool
from .models.heads import Head
from .models.layers import RMSNorm
from .models.packed import Segments
from .models.transfer import put
from .recipes import Recipe
from .text.template import Prompt

_MODES: dict[str, Mode] = {"mean": "mean", "mean-content": "span", "last": "last"}


def pool_vectors(
    hidden_NW: torch.Tensor,
    segments: Segments,
    prompts: Sequence[Prompt],
    *,
    recipe: Recipe,
    norm: RMSNorm,
    head: Head | None,
) -> torch.Tensor:
    """Vectors of packed hidden states.

    Args:
        hidden_NW: [N, W] before the final norm; with pooling "last" only the last row of each prompt, [B, W].
        segments: the cut of the N rows.
        prompts: the B prompts, for the span that "mean-content" pools.
        recipe: gives pooling and normalisation.
        norm: the decoder's final norm.
        head: applied to the pooled state in float32; None: the pooled state is the vector.

    Returns: [B, d] float32.
    """
    device = hidden_NW.device
    spans = None
    if recipe.pooling == "mean-content":
        spans = put(torch.tensor([prompt.content for prompt in prompts], dtype=torch.int32), device)
    if recipe.pooling == "last":
        cu_seqlens = torch.arange(len(prompts) + 1, dtype=torch.int32, device=device)
    else:
        cu_seqlens = segments.cu_seqlens(device)
    fused = None if head is None else head.as_pool_head(recipe.normalize_before_head)
    plain = head if fused is None else None
    pooled = pool(
        hidden_NW,
        cu_seqlens,
        mode=_MODES[recipe.pooling],
        spans=spans,
        norm=Norm(norm.weight, norm.eps),
        head=fused,
        normalize=recipe.normalize if plain is None else recipe.normalize_before_head,
    )
    if plain is None:
        return pooled
    return F.normalize(plain(pooled), dim=-1) if recipe.normalize else plain(pooled)
