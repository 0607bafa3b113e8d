"""Laws that every block obeys: a new family in `FAMILIES` brings its tests."""

import copy

import pytest
import torch
from torch import nn

from gcvideo.blocks import BLOCKS, ContextBlock3d, SimplifiedNonLocal3d
from tests.blocks.test_context import wake

SHAPES = {1: (2, 16, 6), 2: (2, 16, 4, 5), 3: (2, 16, 3, 4, 4)}

every_block = pytest.mark.parametrize("name", BLOCKS)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return BLOCKS[name](16)


def features(name: str) -> torch.Tensor:
    return torch.randn(SHAPES[BLOCKS[name].ndim])


def test_every_family_has_every_ndim():
    families = {name[:-2] for name in BLOCKS}
    assert families == {"ContextBlock", "NonLocalBlock", "SimplifiedNonLocal", "SqueezeExcitation"}
    assert set(BLOCKS) == {f"{family}{ndim}d" for family in families for ndim in (1, 2, 3)}
    assert all(int(name[-2]) == block.ndim for name, block in BLOCKS.items())


@every_block
def test_inheritance_is_two_deep(name):
    """Public class -> base of its family -> nn.Module."""
    assert BLOCKS[name].__mro__.index(nn.Module) == 2


@every_block
@pytest.mark.parametrize("training", (True, False))
def test_new_block_is_the_identity_or_halves(name, training):
    x = features(name)
    out = make(name).train(training)(x)
    torch.testing.assert_close(out, x / 2 if "Squeeze" in name else x, rtol=0, atol=0)


@every_block
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16))
def test_keeps_shape_and_dtype(name, dtype):
    x = features(name).to(dtype)
    out = wake(make(name)).to(dtype)(x)
    assert out.shape == x.shape
    assert out.dtype == dtype
    assert not torch.equal(out, x)


@every_block
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_autocast_keeps_the_dtype_and_stays_near(name, dtype):
    block = make(name)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    block.eval()
    x = features(name)
    expected = block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x.to(dtype))
    assert out.dtype == dtype
    assert (out.float() - expected).norm() < 0.03 * expected.norm()


@every_block
def test_channels_last_memory(name):
    ndim = BLOCKS[name].ndim
    if ndim == 1:
        pytest.skip("torch has no channels-last memory for sequences")
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[ndim]
    block, x = wake(make(name)).eval(), features(name)
    expected = block(x)
    x = x.contiguous(memory_format=memory_format)
    out = block.to(memory_format=memory_format)(x)
    assert out.is_contiguous(memory_format=memory_format)
    assert block(x[:1]).stride() == x[:1].stride(), "of one sample, too"
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@every_block
def test_every_parameter_learns(name):
    block = wake(make(name))
    block(features(name)).square().sum().backward()
    assert {key for key, p in block.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0} <= {
        "conv_mask.bias",  # a softmax ignores what is added to all positions
        "conv_phi.bias",  # the same, within one query
        "conv_out.bias",  # the batch norm after it subtracts the mean
    }


@every_block
def test_first_step_of_a_new_block_moves_its_last_layer(name):
    block = make(name)
    (block(features(name)) * torch.randn(16, *(1,) * BLOCKS[name].ndim)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@every_block
@pytest.mark.parametrize("backend", ("compile", "export", "deepcopy", "state dict"))
def test_tools(name, backend):
    block, x = wake(make(name)).eval(), features(name)
    if backend == "compile":
        other = torch.compile(block, fullgraph=True, backend="aot_eager")
    elif backend == "export":
        other = torch.export.export(block, (x,)).module()
    elif backend == "deepcopy":
        other = copy.deepcopy(block)
    else:
        other = BLOCKS[name](16).eval()
        other.load_state_dict(block.state_dict())
    torch.testing.assert_close(other(x), block(x), rtol=1e-5, atol=1e-5)


@every_block
def test_permuting_positions_permutes_the_output(name):
    block = wake(make(name) if "NonLocalBlock" not in name else BLOCKS[name](16, sub_sample=False)).eval()
    x = features(name)
    order = torch.randperm(x[0, 0].numel())
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(block(shuffled).flatten(2), block(x).flatten(2)[:, :, order], rtol=1e-4, atol=1e-4)


@every_block
def test_samples_do_not_mix_in_eval_mode(name):
    block, x = wake(make(name)).eval(), features(name)
    torch.testing.assert_close(block(x)[:1], block(x[:1]), rtol=1e-4, atol=1e-5)


@every_block
def test_bad_input_shape(name):
    block = make(name)
    for shape in ((16,), (2, 16), (2, 8, *SHAPES[block.ndim][2:]), (2, 16, *SHAPES[block.ndim][2:], 2)):
        with pytest.raises(ValueError, match=r"expected input \[B, 16, .*got shape"):
            block(torch.zeros(shape))


@every_block
def test_bad_channels(name):
    with pytest.raises(ValueError, match="in_channels must be at least 1, got 0"):
        BLOCKS[name](0)


@pytest.mark.parametrize("name", [name for name in BLOCKS if "Simplified" not in name])
def test_bottleneck_needs_a_channel(name):
    with pytest.raises(ValueError, match=r"ratio \* in_channels must be at least 1 .* got ratio=0.03125"):
        BLOCKS[name](16, ratio=1 / 32)


@every_block
def test_gradients_are_right(name):
    """Finite differences. A max-pool and a ReLU have corners, which random values miss."""
    block = wake(BLOCKS[name](4, **({} if "Simplified" in name else {"ratio": 1 / 2}))).double().eval()
    shape = (1, 4, *SHAPES[BLOCKS[name].ndim][2:])
    assert torch.autograd.gradcheck(block, torch.randn(shape, dtype=torch.double, requires_grad=True))


def test_snl_is_gc_without_a_bottleneck():
    snl, gc = wake(SimplifiedNonLocal3d(16)), ContextBlock3d(16, bottleneck="none")
    names = {"conv_value": "channel_add_conv.0"}
    gc.load_state_dict(
        {
            names.get(k.rpartition(".")[0], "conv_mask") + "." + k.rpartition(".")[2]: v
            for k, v in snl.state_dict().items()
        }
    )
    x = torch.randn(SHAPES[3])
    torch.testing.assert_close(gc(x), snl(x))
