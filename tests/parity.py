"""How two implementations are compared."""

import torch
from torch import Tensor


def assert_parity(out: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The largest difference is at most `tolerance` of the largest expected value."""
    assert out.shape == expected.shape, (out.shape, expected.shape)
    assert torch.isfinite(out).all()
    error = ((out - expected).abs().max() / expected.abs().max()).item()
    assert error <= tolerance, f"relative error {error:.2e}"
