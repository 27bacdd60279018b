"""The reranker's losses are cross entropies of the answer and of the right candidate."""

import pytest
import torch

from harken.errors import InputError
from harken.training.losses import distilled_ranking, in_batch_rerank, listwise_cross_entropy, rerank_cross_entropy


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


def test_a_batch_weighs_yes_and_no_alike_and_leaves_out_what_fits_too():
    odds, fits = drawn(4, 4).float(), torch.eye(4, dtype=torch.bool)
    fits[0, 2] = fits[2, 0] = True
    p_yes = odds.sigmoid()
    wrong = ~fits
    answers = -0.5 * (p_yes.diag().log().mean() + (1 - p_yes[wrong]).log().mean())
    torch.testing.assert_close(in_batch_rerank(odds, fits, 0.0), answers)
    rivals = [[j for j in range(4) if j == i or wrong[i, j]] for i in range(4)]
    rows = -torch.stack([odds[i, rivals[i]].softmax(0)[rivals[i].index(i)].log() for i in range(4)]).mean()
    columns = -torch.stack([odds[rivals[i], i].softmax(0)[rivals[i].index(i)].log() for i in range(4)]).mean()
    torch.testing.assert_close(in_batch_rerank(odds, fits, 0.6), answers + 0.3 * (rows + columns))


def test_a_batchs_gradient_is_the_slope_and_no_pair_that_fits_has_one():
    odds, fits = drawn(3, 3).requires_grad_(), torch.eye(3, dtype=torch.bool)
    fits[0, 1] = True
    assert torch.autograd.gradcheck(lambda o: in_batch_rerank(o, fits, 1.0), odds)
    in_batch_rerank(odds, fits, 1.0).backward()
    assert odds.grad[0, 1] == 0 and (odds.grad[fits & torch.eye(3, dtype=torch.bool)] < 0).all()
    far = (100 * drawn(3, 3)).requires_grad_()
    in_batch_rerank(far, fits, 1.0).backward()
    assert torch.isfinite(far.grad).all()


def test_a_teachers_ranking_is_reached_up_to_a_constant():
    odds, teacher = drawn(4, 4).float(), drawn(8, 4)[4:].float()
    rows, taught = odds.softmax(1), teacher.softmax(1)
    columns, taught_columns = odds.softmax(0), teacher.softmax(0)
    wanted = (taught * (taught / rows).log()).sum(1).mean() + (taught_columns * (taught_columns / columns).log()).sum(
        0
    ).mean()
    torch.testing.assert_close(distilled_ranking(odds, teacher), wanted / 2)
    assert float(distilled_ranking(teacher + 3, teacher)) == pytest.approx(0, abs=1e-6)
    slope = drawn(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda o: distilled_ranking(o, drawn(6, 3)[3:]), slope)
    with pytest.raises(InputError, match=r"got \(4, 4\), \(4, 3\)"):
        distilled_ranking(odds, teacher[:, :3])


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match=r"two \[B, B\], got \(4, 2\), \(4, 2\)"):
        in_batch_rerank(drawn(4, 2), torch.zeros(4, 2, dtype=torch.bool), 1.0)
    with pytest.raises(InputError, match="every text of the 3 fits every sound"):
        in_batch_rerank(drawn(3, 3), torch.ones(3, 3, dtype=torch.bool), 1.0)
    with pytest.raises(InputError, match=r"\(4, 2\), \(3,\)"):
        rerank_cross_entropy(drawn(4, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match=r"\(3, 1, 2\)"):
        listwise_cross_entropy(drawn(3, 1, 2))
