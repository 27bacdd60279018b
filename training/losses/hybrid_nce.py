"""Hybrid-NCE: other pairs may be positives of less weight, and hard negatives count for more.

    P_i  = e^{S_ii} + lambda sum_{j in Pos_i} e^{S_ij}
    w_ij = |N_i| e^{h_ij} / sum_{k in N_i} e^{h_ik}                                 h: hardness
    loss = -1/B sum_i log( P_i / (alpha P_i + sum_{j in N_i} w_ij e^{S_ij}) )

`hybrid_nce_paper` is equations 7 and 8: h = beta cos, alpha = 1, here in both directions. The paper prints no temperature;
tau = 1 is what is printed. `hybrid_nce_coded` is what the release runs: sound to text alone, h = beta cos / tau, 1e-8 in both
denominators. Gradients flow through w in both. With lambda = beta = 0 the first is symmetric InfoNCE and the second one
direction of it, the other positives left out of the negatives. The release takes exponentials of up to e^{1/tau} as they are;
here everything is a sum of logarithms, so tau = 0.01 does not overflow.

Source: AuroLA, arXiv 2602.18010, equations 7 and 8, and its release; spec/recipes.md C.5.
"""

import math

import torch

from ...errors import InputError
from .scores import hidden, off_diagonal, scores

_EPS = 1e-8


def hybrid_nce_paper(
    audio_BD: torch.Tensor,
    text_BD: torch.Tensor,
    positive_BB: torch.Tensor | None = None,
    *,
    tau: float | torch.Tensor = 0.05,
    lam: float = 0.2,
    beta: float = 0.1,
    ignored_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """As in the paper, the mean of both directions.

    Args:
        audio_BD, text_BD: [B, D] unit vectors; row i of both is one pair.
        positive_BB: [B, B] bool, symmetric; True where the text of j is a positive of sound i.
        tau: temperature, above 0.
        lam: weight of the other positives (intersection over union of their tags is 1).
        beta: how much the hardest negatives are favoured.
        ignored_BB: [B, B] bool, symmetric; True where a pair is neither; positives win over it.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    scores_BB = scores("hybrid_nce_paper", audio_BD, text_BD, tau)
    positive, ignored = off_diagonal(positive_BB, scores_BB), off_diagonal(ignored_BB, scores_BB)
    one_way = [_rows(s, beta * tau * s, positive, ignored, lam, 1.0, 0.0) for s in (scores_BB, scores_BB.T)]
    return 0.5 * (one_way[0] + one_way[1])


def hybrid_nce_coded(
    audio_BD: torch.Tensor,
    text_BD: torch.Tensor,
    positive_BB: torch.Tensor | None = None,
    *,
    tau: float | torch.Tensor = 0.05,
    lam: float = 0.2,
    beta: float = 0.1,
    alpha: float = 1.0,
    ignored_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """As released: sound to text. Arguments as of `hybrid_nce_paper`; alpha weighs the positives in the denominator."""
    scores_BB = scores("hybrid_nce_coded", audio_BD, text_BD, tau)
    if not alpha > 0:
        raise InputError(f"hybrid_nce_coded: alpha is {alpha}, wanted above 0")
    positive, ignored = off_diagonal(positive_BB, scores_BB), off_diagonal(ignored_BB, scores_BB)
    return _rows(scores_BB, beta * scores_BB, positive, ignored, lam, alpha, _EPS)


def _rows(
    scores_BB: torch.Tensor,
    hardness_BB: torch.Tensor,
    positive_BB: torch.Tensor,
    ignored_BB: torch.Tensor,
    lam: float,
    alpha: float,
    eps: float,
) -> torch.Tensor:
    """The loss of the rows, in logarithms."""
    own_BB = torch.eye(len(scores_BB), dtype=torch.bool, device=scores_BB.device)
    no_negative_BB = own_BB | positive_BB | ignored_BB
    log_positives_B = scores_BB.diagonal()
    if lam > 0:
        others_B = torch.logsumexp(hidden(scores_BB, ~positive_BB), 1)
        log_positives_B = torch.logaddexp(log_positives_B, others_B + math.log(lam))
    num_negatives_B = (~no_negative_BB).sum(1)
    hardness_BB = hidden(hardness_BB, no_negative_BB)
    sum_B = _plus(torch.logsumexp(hardness_BB, 1), eps)
    log_weights_BB = num_negatives_B.clamp_min(1).log()[:, None] + hardness_BB - sum_B[:, None]
    log_negatives_B = torch.logsumexp(hidden(scores_BB + log_weights_BB, no_negative_BB), 1)
    log_all_B = torch.logaddexp(log_positives_B + math.log(alpha), log_negatives_B)
    return (_plus(log_all_B, eps) - log_positives_B).mean()


def _plus(log_B: torch.Tensor, eps: float) -> torch.Tensor:
    return torch.logaddexp(log_B, torch.full_like(log_B, math.log(eps))) if eps else log_B
