"""SE blocks against torchvision's, timm's key names, and the formula's gate."""

import pytest
import torch
from torchvision.ops import SqueezeExcitation

from gcvideo.blocks import SqueezeExcitation1d, SqueezeExcitation2d, SqueezeExcitation3d
from tests.blocks.test_context import wake


def test_equals_torchvision():
    peer = wake(SqueezeExcitation(32, 8))
    block = SqueezeExcitation2d(32, ratio=1 / 4)
    block.load_state_dict(peer.state_dict())
    x = torch.randn(2, 32, 5, 6)
    torch.testing.assert_close(block(x), peer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block_type", (SqueezeExcitation1d, SqueezeExcitation3d))
def test_1d_and_3d_gate_as_the_2d_block_on_the_same_positions(block_type):
    flat = wake(SqueezeExcitation2d(16, ratio=1 / 4))
    block = block_type(16, ratio=1 / 4)
    shape = (1,) * block.ndim
    block.load_state_dict({k: v.view(*v.shape[:2], *shape) if v.ndim > 1 else v for k, v in flat.state_dict().items()})
    x = torch.randn(2, 16, 4, 6)
    reshaped = x.reshape(2, 16, *((24,) if block.ndim == 1 else (2, 3, 4)))
    torch.testing.assert_close(block(reshaped).flatten(2), flat(x).flatten(2))


def test_attention_is_uniform():
    attention = SqueezeExcitation3d(16).attention(torch.randn(2, 16, 2, 3, 4))
    assert attention.shape == (2, 1, 2, 3, 4)
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / 24))
