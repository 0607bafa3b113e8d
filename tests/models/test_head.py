"""The head "dense": PySlowFast's formula, written as loops; the same parameters and training as the head "pool"."""

import copy

import pytest
import torch
from pytorchvideo.models.resnet import create_resnet
from torch import nn

from gcvideo import create_model
from gcvideo.analysis import attention_maps, count_macs
from gcvideo.models.backbones import resnet3d
from gcvideo.models.head import DenseHead, set_head
from tests.models.peers import wake_net
from tests.parity import assert_parity


def both(blocks="none"):
    """A small network with each head and the same random weights."""
    nets = [create_model("slowonly_tiny", blocks, num_classes=5, head=head) for head in ("pool", "dense")]
    wake_net(nets[0])
    nn.init.normal_(nets[0].blocks[-1].proj.weight)  # probabilities that differ from window to window
    nets[1].load_state_dict(nets[0].state_dict())
    return nets[0].eval(), nets[1].eval()


def formula(features, weight, bias):
    """Probabilities of one clip [C, T, H, W]: softmax at every place of a T x 7 x 7 window, then the mean."""
    height, width = features.shape[2:]
    sums, count = 0, 0
    for y in range(max(height - 7, 0) + 1):
        for x in range(max(width - 7, 0) + 1):
            pooled = features[:, :, y : y + 7, x : x + 7].mean(dim=(1, 2, 3))
            sums = sums + torch.softmax(weight @ pooled + bias, dim=0)
            count += 1
    return sums / count, count


@pytest.mark.parametrize(("shape", "windows"), (((8, 8), 4), ((7, 7), 1), ((3, 5), 1), ((7, 10), 4), ((4, 9), 3)))
def test_probabilities_are_the_mean_over_the_windows(shape, windows):
    head = DenseHead(nn.Dropout(0.5), nn.Linear(6, 5)).eval()
    x = torch.randn(2, 6, 3, *shape) * 5
    out = head(x)
    for clip, logits in zip(x, out):
        expected, count = formula(clip, head.proj.weight, head.proj.bias)
        assert count == windows
        assert_parity(logits.softmax(dim=0), expected)
        assert_parity(logits.exp(), expected)  # already normalised: they are logarithms of probabilities


@pytest.mark.parametrize(("size", "same"), ((224, True), (256, False)))
def test_equals_pytorchvideo_as_pyslowfast_evaluates_it(size, same):
    """Its `PTVResNet`: the network without activation and average, then softmax over the classes, then the mean."""
    peer = create_resnet(
        model_num_class=5, stem_dim_out=8, stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(4, 7, 7),
        head_output_with_global_average=False,
    )  # fmt: skip
    wake_net(peer)
    nets = [resnet3d("slowonly", (3, 4, 6, 3), num_classes=5, width=8).eval() for _ in range(2)]
    set_head(nets[1], "dense")
    clip = torch.randn(1, 3, 4, size, size)
    with torch.no_grad():
        expected = peer(clip).softmax(dim=1).mean(dim=(2, 3, 4))
        pool, dense = (load(net, peer)(clip).softmax(dim=1) for net in nets)
    assert_parity(dense, expected)
    assert (((pool - expected).abs().max() / expected.max()).item() < 1e-5) == same


def load(net, peer):
    net.load_state_dict(peer.state_dict())
    return net


def test_names_initial_values_and_training_are_those_of_the_pool_head():
    nets = []
    for head in ("pool", "dense"):
        torch.manual_seed(0)
        nets.append(create_model("slowonly_tiny", "gc_all", num_classes=5, head=head, dropout=0.5).train())
    pool, dense = nets
    assert list(pool.state_dict()) == list(dense.state_dict())
    assert all(torch.equal(value, dense.state_dict()[key]) for key, value in pool.state_dict().items())
    clip = torch.randn(2, 3, 4, 96, 96)  # features of 12 x 12
    outputs = []
    for net in nets:
        torch.manual_seed(1)  # of the dropout
        outputs.append(net(clip))
    assert torch.equal(*outputs)


def test_evaluation_of_larger_images_differs():
    pool, dense = both()
    small, large = torch.randn(2, 3, 4, 56, 56), torch.randn(2, 3, 4, 96, 96)
    with torch.no_grad():
        assert_parity(dense(small), pool(small).log_softmax(dim=1))
        assert (dense(large) - pool(large).log_softmax(dim=1)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "backend", (pytest.param("compile", marks=pytest.mark.slow), "export", "deepcopy", "channels last", "autocast")
)
def test_tools(backend):
    _, dense = both("gc_all")
    clip = torch.randn(1, 3, 4, 72, 72)  # features of 9 x 9
    expected = dense(clip)
    tolerance = 1e-5
    if backend == "compile":
        out = torch.compile(dense, backend="aot_eager")(clip)
    elif backend == "export":
        out = torch.export.export(dense, (clip,)).module()(clip)
    elif backend == "deepcopy":
        out = copy.deepcopy(dense)(clip)
    elif backend == "channels last":
        dense.to(memory_format=torch.channels_last_3d)
        out = dense(clip.contiguous(memory_format=torch.channels_last_3d))
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = dense(clip)
        assert out.dtype == torch.float32
        tolerance = 0.03
    assert_parity(out, expected, tolerance)


def test_analysis_sees_the_same_network():
    pool, dense = both("gc_all")
    assert (
        attention_maps(pool, torch.randn(1, 3, 4, 64, 64)).keys()
        == attention_maps(dense, torch.randn(1, 3, 4, 64, 64)).keys()
    )
    channels = dense.blocks[-1].proj.in_features
    macs = [count_macs(net, (1, 3, 4, 72, 72)) for net in (pool, dense)]
    assert macs[1] - macs[0] == (9 - 1) * channels * 5  # the classifier runs at 3 x 3 windows instead of once
