"""NL blocks against loops over positions, against pytorchvideo, and the law that no N x M matrix exists."""

import copy
import math

import pytest
import torch
from fvcore.nn.weight_init import c2_msra_fill
from pytorchvideo.layers.nonlocal_net import create_nonlocal
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcvideo.blocks import NonLocalBlock1d, NonLocalBlock2d, NonLocalBlock3d
from gcvideo.blocks.non_local import MODES
from tests.blocks.test_context import wake
from tests.parity import assert_parity

BLOCKS = {1: NonLocalBlock1d, 2: NonLocalBlock2d, 3: NonLocalBlock3d}
SHAPES = {1: (2, 8, 6), 2: (2, 8, 4, 5), 3: (2, 8, 3, 4, 2)}

every_mode = pytest.mark.parametrize("mode", MODES)
every_ndim = pytest.mark.parametrize("ndim", (1, 2, 3))


def pool_formula(x: torch.Tensor) -> torch.Tensor:
    """Maximum over windows of 2, in space for images and videos."""
    windows = {3: (2,), 4: (2, 2), 5: (1, 2, 2)}[x.ndim]
    for axis, window in enumerate(windows, start=2):
        slots = range(x.shape[axis] // window)
        x = torch.stack([x.narrow(axis, window * i, window).amax(dim=axis) for i in slots], dim=axis)
    return x


def project(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    out = torch.einsum("oc,bc...->bo...", conv.weight.detach().double().flatten(1), x)
    return out + conv.bias.detach().double().view(-1, *(1,) * (x.ndim - 2))


def formula(block: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of the block and its weights [B, N, M] on float64, one pair of positions at a time."""
    x = x.detach().double()
    pool = pool_formula if block.sub_sample else (lambda features: features)
    theta = x if block.mode == "gaussian" else project(block.conv_theta, x)
    keys, values = pool(x), x
    if block.mode != "gaussian":
        keys = project(block.conv_phi, pool(x)) if block.pool_first else pool(project(block.conv_phi, x))
    values = project(block.conv_g, pool(x)) if block.pool_first else pool(project(block.conv_g, x))
    theta, keys, values = (features.flatten(2) for features in (theta, keys, values))
    count = keys.shape[2]
    weights = torch.zeros(x.shape[0], theta.shape[2], count, dtype=torch.double)
    for b in range(x.shape[0]):
        for i in range(theta.shape[2]):
            row = []
            for j in range(count):
                dot = sum((theta[b, :, i] * keys[b, :, j]).tolist())
                if block.mode == "concatenation":
                    w = block.conv_concat.weight.flatten().tolist()
                    pair = theta[b, :, i].tolist() + keys[b, :, j].tolist()
                    row.append(max(sum(p * q for p, q in zip(w, pair, strict=True)), 0.0) / count)
                elif block.mode == "dot_product":
                    row.append(dot / count)
                else:
                    scaled = block.mode == "embedded_gaussian" and block.use_scale
                    row.append(dot / math.sqrt(block.planes) if scaled else dot)
            if "gaussian" in block.mode:
                powers = [math.exp(value - max(row)) for value in row]
                row = [power / sum(powers) for power in powers]
            weights[b, i] = torch.tensor(row)
    y = torch.einsum("bnm,bpm->bpn", weights, values).unflatten(2, x.shape[2:])
    z = project(block.conv_out, y)
    if block.norm is not None:
        norm = block.norm
        shape = (-1, *(1,) * (x.ndim - 2))
        mean, var = (v.double().view(shape) for v in (norm.running_mean, norm.running_var))
        z = (z - mean) / (var + 1e-5).sqrt()
        z = z * norm.weight.detach().double().view(shape) + norm.bias.detach().double().view(shape)
    return x + z, weights


@every_ndim
@every_mode
@pytest.mark.parametrize(
    "arguments",
    (
        {},
        {"pool_first": False},
        {"sub_sample": False, "use_scale": False},
        {"norm": False, "ratio": 1 / 4},
    ),
    ids=str,
)
def test_equals_the_formula(ndim, mode, arguments):
    torch.manual_seed(ndim)
    block = wake(BLOCKS[ndim](8, mode=mode, **arguments))
    if block.norm is not None:
        nn.init.normal_(block.norm.running_mean)
        nn.init.uniform_(block.norm.running_var, 0.5, 2)
    block.eval()
    x = torch.randn(SHAPES[ndim])
    expected, weights = formula(block, x)
    assert_parity(block(x).double(), expected)
    torch.testing.assert_close(block.attention(x).flatten(2).double(), weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "instantiation"), (("embedded_gaussian", "softmax"), ("dot_product", "dot_product")))
@pytest.mark.parametrize("sub_sample", (True, False))
@pytest.mark.parametrize("training", (True, False))
def test_equals_pytorchvideo(mode, instantiation, sub_sample, training):
    """Same keys, same output, same gradients, same running statistics."""
    pool = (1, 2, 2) if sub_sample else (1, 1, 1)
    peer = create_nonlocal(dim_in=16, dim_inner=8, pool_size=pool, instantiation=instantiation)
    peer = wake(peer).train(training)
    block = NonLocalBlock3d(16, mode=mode, sub_sample=sub_sample).train(training)
    block.load_state_dict(peer.state_dict())
    x = torch.randn(2, 16, 4, 6, 6)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = block(ours), peer(theirs)
    assert_parity(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert_parity(ours.grad, theirs.grad)
    torch.testing.assert_close(block.state_dict(), peer.state_dict(), rtol=1e-5, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Remembers the number of values of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))])
        return out


@every_mode
@pytest.mark.parametrize("sub_sample", (True, False))
def test_no_matrix_of_positions_is_formed(mode, sub_sample):
    block = wake(NonLocalBlock3d(8, mode=mode, sub_sample=sub_sample))
    x = torch.randn(1, 8, 4, 16, 16, requires_grad=True)  # N = 1024
    with LargestTensor() as largest:
        block(x).square().sum().backward()
    # Linear in N: a tensor of B x C x N, and G and H with one more row. N x M would be 262,144 or 1,048,576.
    assert largest.numel <= 2 * x.numel()


def test_gaussian_with_unequal_widths_forms_no_matrix_either():
    block = wake(NonLocalBlock3d(16, ratio=1 / 4, mode="gaussian"))
    x = torch.randn(1, 16, 4, 16, 16, requires_grad=True)
    with LargestTensor() as largest:
        block(x).square().sum().backward()
    assert largest.numel <= 2 * x.numel()


@every_mode
@every_ndim
def test_attention_of_chosen_queries_is_those_rows(mode, ndim):
    block = wake(BLOCKS[ndim](8, mode=mode))
    x = torch.randn(SHAPES[ndim])
    every = block.attention(x)
    keys = {1: (3,), 2: (2, 2), 3: (3, 2, 1)}[ndim]
    assert every.shape == (2, x[0, 0].numel(), *keys)
    torch.testing.assert_close(block.attention(x, queries=[4, 0]), every[:, [4, 0]])
    torch.testing.assert_close(block.attention(x, queries=torch.tensor([5])), every[:, 5:6])
    if "gaussian" in mode:
        torch.testing.assert_close(every.flatten(2).sum(2), torch.ones(2, x[0, 0].numel()))


@pytest.mark.parametrize("queries", ([-1], [24], [[0]], [0.5], []))
def test_bad_queries(queries):
    with pytest.raises(ValueError, match=r"queries must be flat indices in \[0, 24\), got"):
        NonLocalBlock3d(8).attention(torch.randn(SHAPES[3]), queries=queries)


@every_mode
@every_ndim
@pytest.mark.parametrize("norm", (True, False))
def test_initialisation(mode, ndim, norm):
    block = BLOCKS[ndim](256, mode=mode, norm=norm)
    for name, parameter in block.named_parameters():
        if name.endswith("bias") or name == ("norm.weight" if norm else "conv_out.weight"):
            assert parameter.abs().max() == 0
        else:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.15)
    x = torch.randn((2, 256, *SHAPES[ndim][2:]))
    assert torch.equal(block(x), x)


@every_mode
@every_ndim
@pytest.mark.parametrize("norm", (True, False))
def test_msra_initialisation_is_that_of_pyslowfast(mode, ndim, norm):
    """fvcore's `c2_msra_fill` over all convolutions: std sqrt(2 / (output channels)), in the order of the layers."""
    torch.manual_seed(0)
    block = BLOCKS[ndim](64, mode=mode, norm=norm, init="msra")
    for name, parameter in block.named_parameters():
        if name.endswith("bias") or name == ("norm.weight" if norm else "conv_out.weight"):
            assert parameter.abs().max() == 0
        else:
            bound = 5 * (2 * parameter.numel()) ** -0.5  # 5 standard errors of a standard deviation
            assert parameter.std().item() == pytest.approx((2 / len(parameter)) ** 0.5, rel=bound)
    x = torch.randn((2, 64, *SHAPES[ndim][2:]))
    assert torch.equal(block(x), x)
    torch.manual_seed(1)
    block.reset_parameters()
    torch.manual_seed(1)
    c2_msra_fill(theta := copy.deepcopy(block.conv_g if mode == "gaussian" else block.conv_theta))
    assert torch.equal(theta.weight, block.conv_g.weight if mode == "gaussian" else block.conv_theta.weight)


@pytest.mark.parametrize(("channels", "ratio"), ((512, 78), (1024, 39)))
def test_msra_sharpens_the_initial_attention(channels, ratio):
    """theta . phi of res3 and res4 is (0.0884 / 0.01)^2 and (0.0625 / 0.01)^2 times as large as with std 0.01."""
    x = torch.randn(1, channels, 2, 4, 4)
    sizes = {}
    for init in ("normal", "msra"):
        torch.manual_seed(0)
        block = NonLocalBlock3d(channels, mode="dot_product", init=init)
        sizes[init] = block.attention(x).std().item()
    assert sizes["msra"] / sizes["normal"] == pytest.approx(ratio, rel=0.02)


@every_mode
def test_gradients_are_right(mode):
    block = wake(NonLocalBlock3d(4, mode=mode)).double().eval()
    x = torch.randn(1, 4, 2, 2, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


def test_concatenation_with_equal_and_extreme_keys():
    """All keys on, all off, and ties: the cases in which a sorted sum could go wrong."""
    block = wake(NonLocalBlock3d(8, mode="concatenation", norm=False)).eval()
    for shift in (50.0, 0.0, -50.0):
        nn.init.constant_(block.conv_theta.bias, shift)
        for x in (torch.randn(SHAPES[3]), torch.ones(SHAPES[3]), torch.zeros(SHAPES[3])):
            expected, _ = formula(block, x)
            assert_parity(block(x).double(), expected)


def test_scale_matters():
    block = wake(NonLocalBlock3d(8)).eval()
    x = torch.randn(SHAPES[3])
    scaled = block(x)
    block.use_scale = False
    assert (block(x) - scaled).abs().max() > 1e-3


def test_too_small_to_sub_sample():
    with pytest.raises(ValueError, match=r"sub_sample needs positions of at least \(1, 2, 2\), got \(1, 8, 4, 1, 2\)"):
        NonLocalBlock3d(8)(torch.zeros(1, 8, 4, 1, 2))


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"mode must be one of .*'concatenation'.*, got 'softmax'"):
        NonLocalBlock3d(8, mode="softmax")
    with pytest.raises(ValueError, match=r"init must be one of \('normal', 'msra'\), got 'xavier'"):
        NonLocalBlock3d(8, init="xavier")


@every_mode
def test_float16_autocast_does_not_overflow(mode):
    """Features of a trained net: positive, up to 8, on many positions."""
    torch.manual_seed(0)
    block = NonLocalBlock3d(64, mode=mode).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.12)
    x = torch.rand(1, 64, 8, 14, 14) * 8
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.isfinite(block(x)).all()
