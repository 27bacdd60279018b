"""The contrastive loss is its equation, its gradient is right, and pairs that say the same are no negatives."""

import pytest
import torch
import torch.nn.functional as F

from harken.errors import InputError
from harken.training.losses import symmetric_info_nce


def pairs(num: int = 6, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio, text = torch.randn(2, num, width, dtype=torch.float64, generator=generator)
    return F.normalize(audio, dim=-1), F.normalize(text, dim=-1)


def same_of(num: int, *equal: tuple[int, int]) -> torch.Tensor:
    same = torch.eye(num, dtype=torch.bool)
    for i, j in equal:
        same[i, j] = same[j, i] = True
    return same


def test_it_is_the_equation_written_out():
    audio, text = pairs()
    same = same_of(6, (0, 3))
    total = 0.0
    for left, right in ((audio, text), (text, audio)):
        for i in range(6):
            kept = [j for j in range(6) if i == j or not same[i, j]]
            scores = torch.stack([left[i] @ right[j] for j in kept]) / 0.1
            total += torch.logsumexp(scores, 0) - left[i] @ right[i] / 0.1
    torch.testing.assert_close(symmetric_info_nce(audio, text, 0.1, same), total / 12)


@pytest.mark.parametrize("same", [None, same_of(6, (1, 2), (4, 5))])
def test_its_gradient_is_the_slope(same):
    audio, text = (x.requires_grad_() for x in pairs())
    assert torch.autograd.gradcheck(lambda a, t: symmetric_info_nce(a, t, 0.05, same), (audio, text))


def test_a_pair_of_equal_captions_does_not_push_its_twin_away():
    audio, text = pairs()
    audio.requires_grad_()
    symmetric_info_nce(audio[:2], text[:2], 0.05, same_of(2, (0, 1))).backward()
    assert torch.equal(audio.grad, torch.zeros_like(audio))


def test_it_stays_finite_at_a_small_temperature():
    audio, _ = pairs()
    loss = symmetric_info_nce(audio.float(), -audio.float(), 0.001)
    assert torch.isfinite(loss) and loss > 100


def test_wrong_shapes_and_temperatures_are_refused():
    audio, text = pairs()
    with pytest.raises(InputError, match=r"\(6, 5\), \(5, 5\)"):
        symmetric_info_nce(audio, text[:5], 0.1)
    with pytest.raises(InputError, match="tau is 0"):
        symmetric_info_nce(audio, text, 0)
