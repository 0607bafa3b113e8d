"""Batch norms folded away: the function stays."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from gcvideo import create_model, fuse, insert, inserted_blocks
from gcvideo.blocks import ContextBlock3d
from gcvideo.models import is_fusible
from tests.models.peers import wake_net
from tests.parity import assert_parity

CASES = [
    *[("slowonly_thin", blocks) for blocks in ("none", "gc_all", "nl5", "snl5", "se_all")],
    ("i3d_r50", "gc5"),
    ("resnet50", "gc_all"),
]


def trained(network, blocks):
    """A network whose norms have seen data and whose zero-initialised layers are awake."""
    torch.manual_seed(0)
    return wake_net(create_model(network, blocks, 5))


def clip(network):
    return torch.randn(2, 3, 1 if network.startswith("resnet") else 4, 64, 64)


@pytest.mark.parametrize(("network", "blocks"), CASES)
def test_computes_the_same(network, blocks):
    model, x = trained(network, blocks), clip(network)
    fused = fuse(model)
    with torch.no_grad():
        assert_parity(fused(x), model(x), 1e-5)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in fused.modules())
    assert list(inserted_blocks(fused)) == list(inserted_blocks(model))


def test_the_model_itself_does_not_change():
    model = trained("slowonly_tiny", "gc_all")
    before = copy.deepcopy(model.state_dict())
    fuse(model.train())
    assert model.training
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
def test_memory_format_stays(memory_format):
    model = trained("slowonly_tiny", "gc_all").to(memory_format=memory_format)
    fused, x = fuse(model), clip("slowonly_tiny").to(memory_format=memory_format)
    with torch.no_grad():
        # Not always that of x: with one thread torch takes convolutions whose output is contiguous.
        assert fused.blocks[1](fused.blocks[0](x)).stride() == model.blocks[1](model.blocks[0](x)).stride()


def test_tools():
    """A fused network is a module like any other."""
    fused, x = fuse(trained("slowonly_tiny", "gc_all")), clip("slowonly_tiny")
    with torch.no_grad():
        for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused)), fuse(fused)):
            assert torch.equal(other(x), fused(x))
        assert_parity(torch.export.export(fused, (x,)).module()(x), fused(x))


def test_what_is_between_a_convolution_and_its_norm_is_not_folded_over():
    model = trained("slowonly_tiny", "none")
    insert(model, {"blocks.2.res_blocks.0.branch2.conv_c": ContextBlock3d})
    for parameter in inserted_blocks(model)["blocks.2.res_blocks.0.branch2.conv_c"].parameters():
        nn.init.normal_(parameter, std=0.3)
    x = clip("slowonly_tiny")
    fused = fuse(model)
    with torch.no_grad():
        assert_parity(fused(x), model(x))
    assert isinstance(fused.blocks[2].res_blocks[0].branch2.norm_c, nn.BatchNorm3d)


class PreActivation(nn.Module):
    """Its norm is applied before the convolution of the same name."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)
        nn.init.uniform_(self.bn1.running_var, 0.5, 2)

    def forward(self, x):
        return self.conv1(self.bn1(x).relu())


def test_networks_of_other_types_stay_as_they_are():
    model, x = PreActivation().eval(), torch.randn(1, 3, 2, 4, 4)
    assert not is_fusible(model)
    assert is_fusible(trained("slowonly_tiny", "none"))
    assert torch.equal(fuse(model)(x), model(x))


def test_networks_with_hooks_of_the_user_stay():
    """They would be called in the copy, if at all."""
    model = trained("slowonly_tiny", "gc_all")
    assert is_fusible(model)
    model.blocks[1].register_forward_hook(lambda *_: None)
    assert not is_fusible(model)
    pruned = trained("slowonly_tiny", "gc_all")
    prune.l1_unstructured(pruned.blocks[0].conv, "weight", 0.3)
    assert not is_fusible(pruned)


def test_weights_that_are_computed_from_others_stay():
    model = trained("slowonly_tiny", "none")
    nn.utils.parametrizations.spectral_norm(model.blocks[0].conv)
    x = clip("slowonly_tiny")
    fused = fuse(model)
    with torch.no_grad():
        assert_parity(fused(x), model(x))
    assert isinstance(fused.blocks[0].norm, nn.BatchNorm3d)


def test_norms_that_use_the_statistics_of_the_batch_stay():
    model = trained("slowonly_tiny", "none")
    norm = model.blocks[0].norm
    norm.running_mean = norm.running_var = None
    norm.track_running_stats = False
    x = clip("slowonly_tiny")
    fused = fuse(model)
    with torch.no_grad():
        assert_parity(fused(x), model(x))
