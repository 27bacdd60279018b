"""How close is close enough: one rule for every kernel, for the tests and for the gate of the benchmarks.

    max|got - exact| <= SLACK * max|plain - exact| + one unit in the last place of max|exact|

A kernel may err by SLACK times what plain PyTorch errs at the same dtype, both against the float64 answer: the bound
follows the data, and nobody tunes a tolerance until a test is green. The last term covers a PyTorch that happens to be exact.
Source: own.
"""

import torch

SLACK = 2.0


def assert_as_good_as(got: torch.Tensor, plain: torch.Tensor, exact: torch.Tensor) -> None:
    """Fail unless `got` is as good as `plain`.

    Args:
        got: what the kernel gave, any shape and floating dtype.
        plain: the same from plain PyTorch, same shape and dtype.
        exact: the same in float64.

    Raises:
        AssertionError: shape, dtype, a non-finite element where `exact` is finite, or the error, with both figures.
    """
    if got.shape != exact.shape or got.dtype != plain.dtype:
        raise AssertionError(f"got {tuple(got.shape)} {got.dtype}, wanted {tuple(exact.shape)} {plain.dtype}")
    if not exact.numel():
        return
    exact = exact.to(got.device)
    broken = ~torch.isfinite(got) & torch.isfinite(exact)
    if broken.any():
        raise AssertionError(
            f"{int(broken.sum())} elements are not finite, the first at {int(broken.flatten().nonzero()[0])}"
        )
    err, plain_err = (got.double() - exact).abs(), (plain.double() - exact).abs()
    bound = float(SLACK * plain_err.max() + exact.abs().max() * torch.finfo(got.dtype).eps)
    if float(err.max()) > bound:
        raise AssertionError(f"error {float(err.max()):.3e} > {bound:.3e} at flat index {int(err.argmax())}")
