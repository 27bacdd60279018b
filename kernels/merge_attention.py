"""Two attentions of the same queries over disjoint keys made into the attention over all of them.

    lse = log(exp(lse1) + exp(lse2)),    out = out1 exp(lse1 - lse) + out2 exp(lse2 - lse)

A part without keys has lse -inf and does not count; with neither, out is 0 and lse -inf.
Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", eq. 4. Beside this file:
merge_attention_triton.py.
"""

import torch

from .backend import pick
from .checks import FLOATS, check_tensor

# N queries, H heads, D head width.


def merge_attention(
    out1_NHD: torch.Tensor,
    lse1_HN: torch.Tensor,
    out2_NHD: torch.Tensor,
    lse2_HN: torch.Tensor,
    *,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Merge by log-sum-exp: a shared prefix and a suffix, say.

    Args:
        out1_NHD, out2_NHD: [N, H, D] float32, float16 or bfloat16; strided rows and heads are fine.
        lse1_HN, lse2_HN: [H, N] float32, natural logarithm of the sum of exponentials, as packed attention returns it.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: (out [N, H, D], dtype of out1; lse [H, N] float32). Computed in float32.
    Raises:  InputError: an argument of the wrong shape, dtype or device.
    """
    check_tensor("merge_attention", "out1_NHD", out1_NHD, ("N", "H", "D"), FLOATS)
    N, H, _ = out1_NHD.shape
    check_tensor("merge_attention", "out2_NHD", out2_NHD, tuple(out1_NHD.shape), (out1_NHD.dtype,), out1_NHD.device)
    for name, lse in (("lse1_HN", lse1_HN), ("lse2_HN", lse2_HN)):
        check_tensor("merge_attention", name, lse, (H, N), (torch.float32,), out1_NHD.device, contiguous_rows=False)
    if pick(backend, out1_NHD) == "triton":
        from .merge_attention_triton import merge_attention_triton

        with torch.cuda.device_of(out1_NHD):
            return merge_attention_triton(out1_NHD, lse1_HN, out2_NHD, lse2_HN)
    return merge_attention_reference(out1_NHD, lse1_HN, out2_NHD, lse2_HN)


def merge_attention_reference(
    out1_NHD: torch.Tensor, lse1_HN: torch.Tensor, out2_NHD: torch.Tensor, lse2_HN: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """In float32, or in float64 for float64 arguments."""
    lse_HN = torch.logaddexp(lse1_HN, lse2_HN)
    # A part without keys may hold anything, NaN included: it is left out, not multiplied by zero.
    parts = [
        torch.where(lse_HN_part.isneginf().T[..., None], 0.0, (lse_HN_part - lse_HN).exp().T[..., None] * out_NHD)
        for out_NHD, lse_HN_part in ((out1_NHD, lse1_HN), (out2_NHD, lse2_HN))
    ]
    return (parts[0] + parts[1]).to(out1_NHD.dtype), lse_HN
