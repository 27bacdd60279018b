"""From hidden states to vectors, as a recipe says: final norm, pooling, head, unit length.

Source: spec/recipes.md B.3 (mean over all tokens, head, L2) and C.3 (one position).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .models.heads import Head
from .models.layers import RMSNorm
from .models.packed import Segments
from .recipes import Recipe
from .text.template import Prompt


def pool(
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
    if recipe.pooling == "last":
        pooled = norm(hidden_NW).float()
    else:
        spans = [p.content if recipe.pooling == "mean-content" else (0, len(p)) for p in prompts]
        pooled = torch.stack(
            [
                norm(hidden_NW[first + start : first + stop]).float().mean(0)
                for first, (start, stop) in zip(segments.starts, spans)
            ]
        )
    if head is not None:
        if recipe.normalize_before_head:
            pooled = F.normalize(pooled, dim=-1)
        pooled = head(pooled)
    return F.normalize(pooled, dim=-1) if recipe.normalize else pooled
