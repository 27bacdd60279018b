"""What a Yes/No reranker learns from.

    pairs       loss = -mean log softmax(z)[answer]                  z: logits of Yes and No, or of the whole vocabulary
    candidates  loss = -mean log softmax_c(z_yes - z_no)[right one]  one query's candidates against each other
    in a batch  o = z_yes - z_no of every sound and text, the right pairs on the diagonal: the pairs' loss with Yes and No
                equally heavy, and the candidates' loss of o's rows and columns
    distilled   KL of a teacher's ranking and o's, by rows and by columns

Source: AuroLA, arXiv 2602.18010 (cross entropy of the answer's token; spec/recipes.md C.6). Candidates: own, ListNet's top
one (Cao et al. 2007) on the log-odds that re-ranking sorts by.
"""

import torch
import torch.nn.functional as F

from ...errors import InputError
from .scores import hidden, off_diagonal


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


def in_batch_rerank(odds_BB: torch.Tensor, fits_BB: torch.Tensor, listwise: float) -> torch.Tensor:
    """The loss of a batch whose texts were all asked of all its sounds.

    Args:
        odds_BB: [B, B] log-odds of Yes; the right pairs are the diagonal.
        fits_BB: [B, B] bool, pairs that fit; off the diagonal they count neither as right nor as wrong.
        listwise: weight of the candidates' cross entropy.

    Returns: a scalar.
    Raises:
        InputError: shapes do not fit, or nothing is wrong in the whole batch.
    """
    if odds_BB.dim() != 2 or len(odds_BB) != odds_BB.shape[1] or fits_BB.shape != odds_BB.shape:
        raise InputError(f"in_batch_rerank wants two [B, B], got {tuple(odds_BB.shape)}, {tuple(fits_BB.shape)}")
    fits_BB = off_diagonal(fits_BB, odds_BB)
    right_BB = torch.eye(len(odds_BB), dtype=torch.bool, device=odds_BB.device)
    wrong_BB = ~(fits_BB | right_BB)
    if not wrong_BB.any():
        raise InputError(f"in_batch_rerank: every text of the {len(odds_BB)} fits every sound")
    loss = 0.5 * (F.softplus(-odds_BB[right_BB]).mean() + F.softplus(odds_BB[wrong_BB]).mean())
    candidates_BB, own_B = hidden(odds_BB, fits_BB), torch.arange(len(odds_BB), device=odds_BB.device)
    entropy = F.cross_entropy(candidates_BB, own_B) + F.cross_entropy(candidates_BB.T, own_B)
    return loss + listwise * 0.5 * entropy


def distilled_ranking(odds_BB: torch.Tensor, teacher_BB: torch.Tensor) -> torch.Tensor:
    """How far a batch's ranking is from a teacher's: KL(teacher || odds) of the rows' and columns' softmax, both halved.

    Args:
        odds_BB: [B, B] log-odds of Yes of every sound and text.
        teacher_BB: [B, B] what the teacher gives them, at temperature 1.

    Returns: a scalar, 0 where odds and teacher differ by a constant.
    Raises:
        InputError: shapes do not fit.
    """
    if odds_BB.dim() != 2 or teacher_BB.shape != odds_BB.shape:
        raise InputError(f"distilled_ranking wants two [B, B], got {tuple(odds_BB.shape)}, {tuple(teacher_BB.shape)}")
    teacher_BB = teacher_BB.to(odds_BB)
    by_row, by_column = (
        F.kl_div(odds.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
        for odds, teacher in ((odds_BB, teacher_BB), (odds_BB.T, teacher_BB.T))
    )
    return 0.5 * (by_row + by_column)
