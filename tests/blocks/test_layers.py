"""Our layers compute what torch's do."""

import pytest
import torch
from torch import nn

from gcvideo.blocks.layers import BatchNorm3d, Conv3d, ReLU, add_to_branch

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
@pytest.mark.parametrize("training", (True, False))
def test_norm(device, memory_format, training):
    torch.manual_seed(0)
    results = []
    x = torch.randn(2, 6, 3, 4, 5)
    for norm_type in (nn.BatchNorm3d, BatchNorm3d):
        torch.manual_seed(1)
        norm = norm_type(6).to(device).train(training)
        nn.init.normal_(norm.weight)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        given = x.to(device, memory_format=memory_format).requires_grad_()
        out = norm(given)
        out.square().sum().backward()
        assert out.is_contiguous(memory_format=memory_format)
        results.append([out, given.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for ours, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", ((2, 6), (2, 6, 3), (2, 6, 3, 4), (2, 6, 3, 4, 5, 6)))
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="expected 5D input"):
        BatchNorm3d(6)(torch.zeros(shape))


@pytest.fixture(params=(1, 2))
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (1, {}),
        (1, {"stride": 2, "bias": False}),
        ((3, 1, 1), {"padding": (1, 0, 0)}),
        ((3, 1, 1), {"padding": (2, 0, 0), "dilation": (2, 1, 1), "groups": 2}),
        ((1, 3, 1), {"padding": (0, 1, 0)}),
        ((1, 3, 3), {"padding": (0, 1, 1)}),
        (1, {"padding": 1, "padding_mode": "replicate"}),
        ((3, 1, 1), {"padding": "same"}),
    ],
)
def test_convolution(kernel, options, memory_format, device, threads):
    """On one CPU thread a dilation is added that dilates nothing."""
    torch.manual_seed(0)
    convolutions = [nn.Conv3d(4, 6, kernel, **options), Conv3d(4, 6, kernel, **options)]
    convolutions[1].load_state_dict(convolutions[0].state_dict())
    x = torch.randn(2, 4, 5, 6, 7)
    results = []
    for convolution in convolutions:
        convolution.to(device, memory_format=memory_format)
        given = x.to(device, memory_format=memory_format).requires_grad_()
        out = convolution(given)
        out.square().sum().backward()
        results.append([out, given.grad, *(parameter.grad for parameter in convolution.parameters())])
    for ours, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


def test_one_thread_takes_onednn(threads):
    """The reason for `Conv3d`. Once torch itself does so, it can go."""
    x, convolution = torch.randn(1, 8, 2, 3, 3), Conv3d(8, 8, 1)
    for function, expected in ((convolution, "aten::mkldnn_convolution"), (nn.Conv3d(8, 8, 1), "aten::slow_conv3d")):
        with torch.profiler.profile() as profile, torch.no_grad():
            function(x.expand(2, -1, -1, -1, -1))
        names = {event.key for event in profile.key_averages()}
        assert (expected if threads == 1 else "aten::mkldnn_convolution") in names


@pytest.mark.parametrize("device", DEVICES)
def test_relu_and_sum(device):
    x, y = torch.randn(2, 3, device=device), torch.randn(2, 3, device=device)
    assert torch.equal(ReLU()(x.clone()), x.relu())
    assert torch.equal(add_to_branch(x, y.clone()), x + y)
