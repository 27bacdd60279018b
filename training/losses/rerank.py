"""What a Yes/No reranker learns from.

    pairs       loss = -mean log softmax(z)[answer]                  z: logits of Yes and No, or of the whole vocabulary
    candidates  loss = -mean log softmax_c(z_yes - z_no)[right one]  one query's candidates against each other

Source: AuroLA, arXiv 2602.18010 (cross entropy of the answer's token; spec/recipes.md C.6). Candidates: own, ListNet's top
one (Cao et al. 2007) on the log-odds that re-ranking sorts by.
"""

import torch
import torch.nn.functional as F

from ...errors import InputError


def rerank_cross_entropy(logits_BC: torch.Tensor, answer_B: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the answers.

    Args:
        logits_BC: [B, C] logits at the position after the prompt: C = 2 of (Yes, No), or the vocabulary.
        answer_B: [B] int, the column of the right answer.

    Returns: a scalar.
    Raises:
        InputError: shapes do not fit.
    """
    if logits_BC.dim() != 2 or answer_B.shape != logits_BC.shape[:1]:
        raise InputError(
            f"rerank_cross_entropy wants [B, C] and [B], got {tuple(logits_BC.shape)}, {tuple(answer_B.shape)}"
        )
    return F.cross_entropy(logits_BC.float(), answer_B)


def listwise_cross_entropy(logits_QK2: torch.Tensor) -> torch.Tensor:
    """Each query's first candidate, the right one, against its others.

    Args:
        logits_QK2: [Q, K, 2] logits of (Yes, No); candidate 0 is right, the others are not.

    Returns: a scalar.
    Raises:
        InputError: the shape is another, or there is no candidate to stand against.
    """
    if logits_QK2.dim() != 3 or logits_QK2.shape[2] != 2 or logits_QK2.shape[1] < 2:
        raise InputError(f"listwise_cross_entropy wants [Q, K >= 2, 2], got {tuple(logits_QK2.shape)}")
    odds_QK = (logits_QK2[..., 0] - logits_QK2[..., 1]).float()
    return F.cross_entropy(odds_QK, torch.zeros(len(odds_QK), dtype=torch.long, device=odds_QK.device))
