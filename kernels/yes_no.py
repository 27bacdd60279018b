"""Probability of "Yes" against "No" from hidden rows and two rows of the output layer.

    p[b] = softmax([h . w_yes, h . w_no])[0] = sigmoid(h . w_yes - h . w_no)

or, with log-odds from elsewhere, sigmoid(gain (h . w_yes - h . w_no) + added[b]).

Source: AuroLA, eq. 10. Beside this file: yes_no_triton.py.
"""

import torch

from .backend import pick
from .checks import FLOATS, check_tensor

# B rows, W width; row 0 of the two is Yes, row 1 No.


def yes_no(
    hidden_BW: torch.Tensor,
    weight_2W: torch.Tensor,
    added_B: torch.Tensor | None = None,
    *,
    gain: float = 1.0,
    backend: str | None = None,
) -> torch.Tensor:
    """Score hidden rows without the product with the whole vocabulary.

    Args:
        hidden_BW: [B, W] float32, float16 or bfloat16, after the final norm; rows may be strided.
        weight_2W: [2, W], dtype of hidden: the output layer's rows of "Yes" and "No".
        added_B: [B] float32, contiguous: added to the difference of the two logits.
        gain: the difference is multiplied by it first.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: [B] float32. Logits are float32 sums, not rounded to the model's dtype.
    Raises:  InputError: an argument of the wrong shape, dtype or device.
    """
    check_tensor("yes_no", "hidden_BW", hidden_BW, ("B", "W"), FLOATS)
    check_tensor("yes_no", "weight_2W", weight_2W, (2, hidden_BW.shape[1]), (hidden_BW.dtype,), hidden_BW.device)
    if added_B is not None:
        check_tensor("yes_no", "added_B", added_B, (len(hidden_BW),), (torch.float32,), hidden_BW.device)
    if pick(backend, hidden_BW) == "triton":
        from .yes_no_triton import yes_no_triton

        with torch.cuda.device_of(hidden_BW):
            return yes_no_triton(hidden_BW, weight_2W, added_B, gain)
    return yes_no_reference(hidden_BW, weight_2W, added_B, gain=gain)


def yes_no_reference(
    hidden_BW: torch.Tensor, weight_2W: torch.Tensor, added_B: torch.Tensor | None = None, *, gain: float = 1.0
) -> torch.Tensor:
    """In float32, or in float64 for float64 arguments."""
    wide = hidden_BW.dtype if hidden_BW.dtype == torch.float64 else torch.float32
    logits_B2 = hidden_BW.to(wide) @ weight_2W.to(wide).T
    odds_B = gain * (logits_B2[:, 0] - logits_B2[:, 1])
    return torch.sigmoid(odds_B if added_B is None else odds_B + added_B)
