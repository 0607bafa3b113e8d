"""GC blocks against a formula written with loops, and the laws they keep.

Zero-initialised layers are woken (random) wherever values are compared: a block that is still the identity hides
every mistake.
"""

import math

import pytest
import torch
from torch import nn

from gcvideo.blocks import ContextBlock1d, ContextBlock2d, ContextBlock3d
from gcvideo.blocks.context import BOTTLENECKS, FUSION_TYPES, POOLING_TYPES

BLOCKS = {1: ContextBlock1d, 2: ContextBlock2d, 3: ContextBlock3d}
SHAPES = {1: (2, 8, 7), 2: (2, 8, 3, 5), 3: (2, 8, 4, 3, 5)}
FUSIONS = (("channel_add",), ("channel_mul",), ("channel_add", "channel_mul"))

every_ndim = pytest.mark.parametrize("ndim", (1, 2, 3))
every_pooling = pytest.mark.parametrize("pooling", POOLING_TYPES)
every_fusion = pytest.mark.parametrize("fusion", FUSIONS, ids="+".join)


def wake(block: nn.Module) -> nn.Module:
    """Random values in every parameter."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7)
    return block


def transform_formula(block: nn.Module, name: str, context: list[float]) -> list[float]:
    """W_2 ReLU(LN(W_1 context + b_1)) + b_2 for one sample."""
    first, norm, _, last = getattr(block, name)
    hidden = [
        sum(w * v for w, v in zip(row, context, strict=True)) + b
        for row, b in zip(first.weight.flatten(1).tolist(), first.bias.tolist(), strict=True)
    ]
    mean = sum(hidden) / len(hidden)
    variance = sum((h - mean) ** 2 for h in hidden) / len(hidden)
    affine = zip(hidden, norm.weight.flatten().tolist(), norm.bias.flatten().tolist(), strict=True)
    relu = [max((h - mean) / math.sqrt(variance + 1e-5) * gain + shift, 0.0) for h, gain, shift in affine]
    return [
        sum(w * v for w, v in zip(row, relu, strict=True)) + b
        for row, b in zip(last.weight.flatten(1).tolist(), last.bias.tolist(), strict=True)
    ]


def formula(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Equation 5 of the paper on Python floats (float64), one number at a time."""
    channels, positions = x.shape[1], x[0, 0].numel()
    out = []
    for sample in x.detach().double().flatten(2).tolist():
        attention = [1 / positions] * positions
        if block.pooling_type == "att":
            weight, bias = block.conv_mask.weight.flatten().tolist(), block.conv_mask.bias.item()
            logits = [sum(weight[c] * sample[c][n] for c in range(channels)) + bias for n in range(positions)]
            powers = [math.exp(logit - max(logits)) for logit in logits]
            attention = [power / sum(powers) for power in powers]
        context = [sum(attention[n] * sample[c][n] for n in range(positions)) for c in range(channels)]
        gate, added = [1.0] * channels, [0.0] * channels
        if "channel_mul" in block.fusion_types:
            gate = [1 / (1 + math.exp(-v)) for v in transform_formula(block, "channel_mul_conv", context)]
        if "channel_add" in block.fusion_types:
            added = transform_formula(block, "channel_add_conv", context)
        out.append([[sample[c][n] * gate[c] + added[c] for n in range(positions)] for c in range(channels)])
    return torch.tensor(out, dtype=torch.double).view_as(x)


@every_ndim
@every_pooling
@every_fusion
def test_equals_the_formula(ndim, pooling, fusion):
    block = wake(BLOCKS[ndim](8, ratio=1 / 2, pooling_type=pooling, fusion_types=fusion))
    x = torch.randn(SHAPES[ndim])
    torch.testing.assert_close(block(x).double(), formula(block, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ndim", (2, 3))
@every_fusion
def test_equals_the_formula_in_channels_last_memory(ndim, fusion):
    block = wake(BLOCKS[ndim](8, ratio=1 / 2, fusion_types=fusion))
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[ndim]
    x = torch.randn(SHAPES[ndim]).contiguous(memory_format=memory_format)
    expected = formula(block, x)
    out = block.to(memory_format=memory_format)(x)
    assert out.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@every_ndim
@every_pooling
@every_fusion
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_bf16_autocast_keeps_the_dtype_and_is_near_the_formula(ndim, pooling, fusion, dtype):
    block = wake(BLOCKS[ndim](8, ratio=1 / 2, pooling_type=pooling, fusion_types=fusion))
    x = torch.randn(SHAPES[ndim]).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x)
    assert out.dtype == dtype
    expected = formula(block, x)
    # bf16 keeps 8 bits: each of about ten roundings may move a value by 2^-8 of its scale.
    assert (out.double() - expected).abs().max() < 0.1 * expected.abs().max()
    assert (out.double() - expected).norm() < 0.03 * expected.norm()


@every_ndim
@every_pooling
def test_additive_block_is_the_identity_at_the_start(ndim, pooling):
    x = torch.randn(SHAPES[ndim])
    assert torch.equal(BLOCKS[ndim](8, pooling_type=pooling)(x), x)


@every_ndim
def test_multiplicative_block_halves_at_the_start(ndim):
    x = torch.randn(SHAPES[ndim])
    torch.testing.assert_close(BLOCKS[ndim](8, fusion_types=("channel_mul",))(x), x / 2)


@every_ndim
@every_fusion
def test_permuting_positions_permutes_the_output(ndim, fusion):
    block = wake(BLOCKS[ndim](8, fusion_types=fusion))
    x = torch.randn(SHAPES[ndim])
    order = torch.randperm(x[0, 0].numel())
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(block(shuffled).flatten(2), block(x).flatten(2)[:, :, order])


@every_ndim
def test_every_position_sees_every_other(ndim):
    block = wake(BLOCKS[ndim](8, ratio=1))
    x = torch.randn(SHAPES[ndim], requires_grad=True)
    first = (slice(None), slice(None), *(0,) * ndim)
    block(x)[first].sum().backward()
    assert (x.grad != 0).all()


@every_ndim
def test_attention_sums_to_one_over_all_positions(ndim):
    block = wake(BLOCKS[ndim](8))
    x = torch.randn(SHAPES[ndim])
    attention = block.attention(x)
    assert attention.shape == (2, 1, *SHAPES[ndim][2:])
    assert (attention >= 0).all()
    torch.testing.assert_close(attention.flatten(1).sum(1), torch.ones(2))
    peak = attention[0].argmax()
    logits = torch.einsum("bcn,c->bn", x.flatten(2), block.conv_mask.weight.flatten())
    assert peak == logits[0].argmax()


@every_ndim
def test_average_attention_is_uniform_and_equals_the_attention_of_constant_features(ndim):
    x = torch.randn(SHAPES[ndim])
    uniform = BLOCKS[ndim](8, pooling_type="avg").attention(x)
    torch.testing.assert_close(uniform, torch.full_like(uniform, 1 / x[0, 0].numel()))
    attending = wake(BLOCKS[ndim](8)).attention(torch.ones(SHAPES[ndim]))
    torch.testing.assert_close(attending, uniform)


@every_ndim
def test_initialisation_is_the_official_one(ndim):
    block = BLOCKS[ndim](256, ratio=1 / 4, fusion_types=FUSION_TYPES)
    # kaiming_init(mode="fan_in", nonlinearity="relu"): normal with std sqrt(2 / fan_in), fan_in = 256
    assert block.conv_mask.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.15)
    assert block.conv_mask.bias.abs().max() == 0
    for transform in (block.channel_add_conv, block.channel_mul_conv):
        assert transform[3].weight.abs().max() == 0
        assert transform[3].bias.abs().max() == 0
        assert (transform[1].weight == 1).all()
        assert (transform[1].bias == 0).all()
        # torch's default for a convolution: uniform within 1 / sqrt(fan_in)
        assert 0.9 / 16 < transform[0].weight.abs().max() <= 1 / 16


def test_state_dict_of_2d_is_that_of_mmcv():
    block = ContextBlock2d(64, 1 / 16, "att", ("channel_add", "channel_mul"))
    shapes = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    transform = {
        "0.weight": (4, 64, 1, 1),
        "0.bias": (4,),
        "1.weight": (4, 1, 1),
        "1.bias": (4, 1, 1),
        "3.weight": (64, 4, 1, 1),
        "3.bias": (64,),
    }
    assert shapes == {"conv_mask.weight": (1, 64, 1, 1), "conv_mask.bias": (1,)} | {
        f"{name}.{key}": shape for name in ("channel_add_conv", "channel_mul_conv") for key, shape in transform.items()
    }


def test_norm_weights_load_in_either_layout():
    source = wake(ContextBlock3d(8)).state_dict()
    published = {key: value.view(-1, 1, 1, 1) if ".1." in key else value for key, value in source.items()}
    block = ContextBlock3d(8)
    block.load_state_dict(published)
    assert all(torch.equal(value, source[key]) for key, value in block.state_dict().items())


def test_norm_weights_of_another_size_do_not_load():
    state = ContextBlock3d(8).state_dict()
    state["channel_add_conv.1.weight"] = torch.ones(3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        ContextBlock3d(8).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"in_channels": 8, "ratio": 1 / 16}, r"ratio \* in_channels must be at least 1 .* got ratio=0.0625 .*8 = 0.5"),
        ({"in_channels": 8, "pooling_type": "max"}, r"pooling_type must be one of .*'att', 'avg'.*got 'max'"),
        ({"in_channels": 8, "fusion_types": ()}, "fusion_types must be a non-empty subset"),
        ({"in_channels": 8, "fusion_types": ("add",)}, r"got \('add',\)"),
        ({"in_channels": 8, "fusion_types": "channel_add"}, "got 'channel_add'"),
    ),
)
@every_ndim
def test_bad_arguments(ndim, arguments, message):
    with pytest.raises(ValueError, match=message):
        BLOCKS[ndim](**arguments)


@every_ndim
@pytest.mark.parametrize("shape", ((8, 8), (2, 8), (2, 4, 3, 3, 3), (2, 8, 2, 2, 2, 2)))
def test_bad_input_shape(ndim, shape):
    block = BLOCKS[ndim](8)
    with pytest.raises(ValueError, match=r"expected input \[B, 8, .*got shape"):
        block(torch.zeros(shape))


@every_ndim
@every_pooling
@every_fusion
def test_gradients_are_right(ndim, pooling, fusion):
    block = wake(BLOCKS[ndim](4, ratio=1 / 2, pooling_type=pooling, fusion_types=fusion)).double()
    x = torch.randn((1, 4, *(2,) * ndim), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


@every_ndim
@pytest.mark.parametrize("bottleneck", ("relu", "linear", "none"))
def test_other_designs_of_the_transform(ndim, bottleneck):
    """'relu' is the block without LayerNorm, 'linear' two layers, 'none' one layer C -> C."""
    block = BLOCKS[ndim](8, ratio=1 / 2, bottleneck=bottleneck)
    x = torch.randn(SHAPES[ndim])
    assert torch.equal(block(x), x)
    wake(block)
    hidden = torch.einsum("bcn,bn->bc", x.flatten(2), block.attention(x).flatten(1))
    layers = [layer for layer in block.channel_add_conv if hasattr(layer, "weight")]
    assert len(layers) == (1 if bottleneck == "none" else 2)
    assert block.planes == (8 if bottleneck == "none" else 4)
    for number, layer in enumerate(layers):
        if number and bottleneck == "relu":
            hidden = hidden.relu()
        hidden = hidden @ layer.weight.flatten(1).T + layer.bias
    torch.testing.assert_close(block(x), x + hidden.view(2, 8, *(1,) * ndim), rtol=1e-5, atol=1e-5)


def test_designs_keep_the_keys_of_the_layers_they_have():
    keys = {design: set(ContextBlock3d(8, bottleneck=design).state_dict()) for design in BOTTLENECKS}
    assert keys["relu"] == keys["linear"] == {k for k in keys["ln_relu"] if ".1." not in k}
    assert keys["none"] < keys["relu"]


def test_unknown_design():
    with pytest.raises(ValueError, match=r"bottleneck must be one of .*'ln_relu'.*, got 'gelu'"):
        ContextBlock3d(8, bottleneck="gelu")
