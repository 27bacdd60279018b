"""The reranker's losses are cross entropies of the answer and of the right candidate."""

import pytest
import torch

from harken.errors import InputError
from harken.training.losses import listwise_cross_entropy, rerank_cross_entropy


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_it_is_minus_the_log_of_the_right_answers_probability():
    logits, answers = drawn(4, 2).float(), torch.tensor([0, 1, 1, 0])
    wanted = -torch.stack([row.softmax(0)[i].log() for row, i in zip(logits, answers)]).mean()
    torch.testing.assert_close(rerank_cross_entropy(logits, answers), wanted)


def test_candidates_compete_by_their_log_odds():
    logits = drawn(3, 4, 2).float()
    p_yes = logits.softmax(-1)[..., 0]
    odds = p_yes / (1 - p_yes)
    torch.testing.assert_close(listwise_cross_entropy(logits), -(odds[:, 0] / odds.sum(1)).log().mean())


def test_the_gradients_are_the_slopes_and_stay_finite():
    logits = (100 * drawn(3, 4, 2)).float().requires_grad_()
    listwise_cross_entropy(logits).backward()
    rerank_cross_entropy(logits[0], torch.tensor([0, 1, 0, 1])).backward()
    assert torch.isfinite(logits.grad).all()
    # A shift of both logits changes no probability.
    torch.testing.assert_close(logits.grad.sum(-1), torch.zeros(3, 4))


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match=r"\(4, 2\), \(3,\)"):
        rerank_cross_entropy(drawn(4, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match=r"\(3, 1, 2\)"):
        listwise_cross_entropy(drawn(3, 1, 2))
