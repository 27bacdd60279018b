"""Each loss is its equation written out, its gradient is the slope, small temperatures stay finite, wrong input is named."""

import math

import pytest
import torch

from harken.errors import InputError
from harken.training.losses import (
    Temperature,
    cosine_l1_contrastive,
    hybrid_nce_coded,
    hybrid_nce_paper,
    masked_bidirectional,
    one_direction_info_nce,
    symmetric_info_nce,
)

from .pairs import mask_of, pairs

SAME = mask_of(6, (0, 3))
POSITIVE = mask_of(6, (1, 2), (4, 5), (1, 5))
LOSSES = {
    "symmetric": lambda a, t, tau: symmetric_info_nce(a, t, tau, SAME),
    "one direction": lambda a, t, tau: one_direction_info_nce(a, t, tau, SAME),
    "hybrid paper": lambda a, t, tau: hybrid_nce_paper(a, t, POSITIVE, tau=tau, ignored_BB=SAME),
    "hybrid coded": lambda a, t, tau: hybrid_nce_coded(a, t, POSITIVE, tau=tau, ignored_BB=SAME),
    "masked": lambda a, t, tau: masked_bidirectional(a, t, tau, max_similarity=0.4),
    "weighted": lambda a, t, tau: cosine_l1_contrastive(a, t, tau, same_BB=SAME),
}
each = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def one_way(left, right, tau, left_out) -> torch.Tensor:
    """InfoNCE of the rows, one term after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(left)):
        kept = [j for j in range(len(left)) if i == j or not left_out[i, j]]
        total += torch.logsumexp(torch.stack([left[i] @ right[j] for j in kept]) / tau, 0) - left[i] @ right[i] / tau
    return total / len(left)


def hybrid(left, right, tau, lam, hardness, alpha, eps) -> torch.Tensor:
    """Hybrid-NCE of the rows as the release writes it, exponentials as they are."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(left)):
        cosine = left[i] @ right.T
        others = [j for j in range(6) if j != i and POSITIVE[i, j]]
        negatives = [j for j in range(6) if j != i and not POSITIVE[i, j] and not SAME[i, j]]
        positive = (cosine[i] / tau).exp() + lam * sum((cosine[j] / tau).exp() for j in others)
        hard = torch.stack([(hardness * cosine[j]).exp() for j in negatives])
        weights = len(negatives) * hard / (hard.sum() + eps)
        negative = sum(w * (cosine[j] / tau).exp() for w, j in zip(weights, negatives))
        total -= torch.log(positive / (alpha * positive + negative + eps))
    return total / len(left)


def test_info_nce_is_its_equation():
    a, t = pairs()
    forth, back = one_way(a, t, 0.1, SAME), one_way(t, a, 0.1, SAME)
    torch.testing.assert_close(one_direction_info_nce(a, t, 0.1, SAME), forth)
    torch.testing.assert_close(symmetric_info_nce(a, t, 0.1, SAME), 0.5 * (forth + back))


def test_hybrid_nce_as_coded_is_the_released_arithmetic():
    a, t = pairs()
    wanted = hybrid(a, t, 0.1, 0.2, 0.3 / 0.1, 0.7, 1e-8)
    got = hybrid_nce_coded(a, t, POSITIVE, tau=0.1, lam=0.2, beta=0.3, alpha=0.7, ignored_BB=SAME)
    torch.testing.assert_close(got, wanted)


def test_hybrid_nce_as_in_the_paper_favours_by_the_cosine_itself_in_both_directions():
    a, t = pairs()
    wanted = 0.5 * (hybrid(a, t, 0.1, 0.2, 0.3, 1, 0) + hybrid(t, a, 0.1, 0.2, 0.3, 1, 0))
    got = hybrid_nce_paper(a, t, POSITIVE, tau=0.1, lam=0.2, beta=0.3, ignored_BB=SAME)
    torch.testing.assert_close(got, wanted)


def test_hybrid_nce_without_lambda_and_beta_is_info_nce():
    a, t = pairs()
    left_out = POSITIVE | SAME
    got = hybrid_nce_paper(a, t, POSITIVE, tau=0.05, lam=0, beta=0, ignored_BB=SAME)
    torch.testing.assert_close(got, symmetric_info_nce(a, t, 0.05, left_out))
    got = hybrid_nce_coded(a, t, POSITIVE, tau=0.05, lam=0, beta=0, ignored_BB=SAME)
    # 1e-8 in the denominators is what remains.
    torch.testing.assert_close(got, one_direction_info_nce(a, t, 0.05, left_out), atol=1e-7, rtol=0)


def test_masked_bidirectional_adds_both_directions_without_the_near_negatives():
    a, t = pairs()
    near = a @ t.T > 0.4
    assert (near & ~torch.eye(6, dtype=torch.bool)).any()
    wanted = one_way(a, t, 0.1, near) + one_way(t, a, 0.1, near.T)
    torch.testing.assert_close(masked_bidirectional(a, t, 0.1, max_similarity=0.4), wanted)


def test_the_temperature_learns_and_keeps_its_bound():
    a, t = pairs()
    temperature = Temperature(0.07).double()
    assert temperature().item() == pytest.approx(0.07)
    masked_bidirectional(a, t, temperature()).backward()
    assert temperature.log_scale.grad.abs() > 0
    with torch.no_grad():
        temperature.log_scale.fill_(math.log(1e6))
    assert temperature().item() == pytest.approx(0.01)


def test_weighted_loss_is_its_three_parts():
    a, t = pairs()
    parts = (1 - (a * t).sum(1).mean(), (a - t).abs().mean(), symmetric_info_nce(a, t, 0.07))
    wanted = 0.2 * parts[0] + 0.1 * parts[1] + 0.7 * parts[2]
    torch.testing.assert_close(cosine_l1_contrastive(a, t, 0.07, weights=(0.2, 0.1, 0.7)), wanted)


@each
def test_the_gradient_is_the_slope(loss):
    a, t = (x.requires_grad_() for x in pairs())
    tau = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    if loss in (LOSSES["hybrid paper"], LOSSES["hybrid coded"]):
        assert torch.autograd.gradcheck(lambda a, t: loss(a, t, 0.2), (a, t))
    else:
        assert torch.autograd.gradcheck(loss, (a, t, tau))


@each
@pytest.mark.parametrize("right", [1, -1])
def test_float32_stays_finite_at_a_temperature_of_a_hundredth(loss, right):
    a = pairs()[0].float().requires_grad_()
    value = loss(a, right * a.detach(), 0.01)
    value.backward()
    exact = loss(a.detach().double(), right * a.detach().double(), 0.01)
    assert torch.isfinite(a.grad).all()
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, t, tau: symmetric_info_nce(a, t, tau),
        lambda a, t, tau: hybrid_nce_paper(a, t, tau=tau),
        lambda a, t, tau: hybrid_nce_coded(a, t, tau=tau),
        lambda a, t, tau: masked_bidirectional(a, t, tau),
    ],
    ids=["symmetric", "hybrid paper", "hybrid coded", "masked"],
)
def test_a_single_pair_without_negatives_has_a_finite_gradient(loss):
    a, t = (x[:1].requires_grad_() for x in pairs())
    loss(a, t, 0.1).backward()
    assert torch.isfinite(a.grad).all() and torch.isfinite(t.grad).all()


@each
def test_wrong_shapes_and_temperatures_are_refused(loss):
    a, t = pairs()
    with pytest.raises(InputError, match=r"\(6, 5\), \(5, 5\)"):
        loss(a, t[:5], 0.1)
    with pytest.raises(InputError, match="tau is 0"):
        loss(a, t, 0.0)


def test_a_mask_of_another_shape_is_refused():
    a, t = pairs()
    with pytest.raises(InputError, match=r"\(5, 5\), wanted \(6, 6\)"):
        symmetric_info_nce(a, t, 0.1, mask_of(5))


def test_a_pair_of_equal_captions_does_not_push_its_twin_away():
    a, t = pairs()
    a.requires_grad_()
    symmetric_info_nce(a[:2], t[:2], 0.05, mask_of(2, (0, 1))).backward()
    assert torch.equal(a.grad, torch.zeros_like(a))
