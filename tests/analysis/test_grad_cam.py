"""Grad-CAM against captum and against the formula on features known by hand."""

import pytest
import torch
from torch import nn
from torchvision.models.video import r3d_18

from gcvideo import create_model
from gcvideo.analysis import grad_cam
from gcvideo.analysis.grad_cam import last_stage
from gcvideo.errors import UsageError
from tests.parity import assert_parity


def awake(net):
    """Random weights, also where they start at zero."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2) if parameter.ndim == 1 else nn.init.kaiming_normal_(parameter)
    return net.eval()


@pytest.mark.parametrize("blocks", ("none", "gc_all", "nl_all"))
def test_parity_with_captum(blocks):
    captum = pytest.importorskip("captum.attr")
    net = awake(create_model("slowonly_tiny", blocks, num_classes=4))
    clips = torch.randn(1, 3, 4, 48, 48).expand(4, -1, -1, -1, -1)
    maps = grad_cam(net, clips, [0, 1, 2, 3])
    peer = captum.LayerGradCam(net, net.get_submodule("blocks.4"))
    expected = peer.attribute(clips, target=torch.arange(4), relu_attributions=True)
    assert maps.max() > 0
    assert_parity(maps[:, None], expected.detach())


def test_parity_with_captum_in_a_network_of_ones_own():
    captum = pytest.importorskip("captum.attr")
    net = r3d_18(num_classes=5).eval()  # its ReLU changes what the layer before returns in place
    clips = torch.randn(1, 3, 4, 32, 32)
    for layer in ("layer4", "layer2"):
        peer = captum.LayerGradCam(net, net.get_submodule(layer))
        assert_parity(grad_cam(net, clips, [2], layer)[:, None], peer.attribute(clips, 2, relu_attributions=True))
    assert last_stage(net) == "layer4"


def test_the_formula():
    """y_c = mean over the positions of w_c A: each alpha is w_ck / N, and the map ReLU(sum_k w_ck A_k) / N."""
    net = nn.Sequential(nn.Conv3d(3, 6, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 2))
    clips = torch.randn(2, 3, 2, 3, 4)
    features, weight = net[0](clips), net[3].weight[[1, 0]]  # of class 1 for the first clip, and 0 for the second
    expected = torch.einsum("bk,bkthw->bthw", weight, features).relu() / 24
    torch.testing.assert_close(grad_cam(net, clips, [1, 0]), expected)


def test_the_default_class_is_the_predicted_one_and_nothing_stays_behind():
    net = awake(create_model("slowonly_tiny", num_classes=4))
    net.requires_grad_(False)
    clips = torch.randn(3, 3, 4, 32, 32)
    before = net(clips)
    torch.testing.assert_close(grad_cam(net, clips), grad_cam(net, clips, before.argmax(dim=1).tolist()))
    torch.testing.assert_close(net(clips), before)
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_mistakes_are_told():
    net = create_model("slowonly_tiny", num_classes=4).eval()
    clips = torch.randn(1, 3, 4, 32, 32)
    with pytest.raises(UsageError, match="no module 'blocks.9'"):
        grad_cam(net, clips, layer="blocks.9")
    with pytest.raises(UsageError, match=r"expected output \[B, C, T, H, W\] of module 'blocks.5', got \[1, 4\]"):
        grad_cam(net, clips, layer="blocks.5")
    with pytest.raises(UsageError, match="expected 1 classes in 0 to 3"):
        grad_cam(net, clips, [4])
    with pytest.raises(UsageError, match="has no stages"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), torch.randn(1, 3, 1, 1, 1))
    unused = nn.ModuleDict({"a": nn.Conv3d(3, 3, 1), "b": nn.Linear(3, 2)})
    unused.forward = lambda x: unused["b"](x.mean(dim=(2, 3, 4)))
    with pytest.raises(UsageError, match="do not depend"):
        grad_cam(unused, clips)
