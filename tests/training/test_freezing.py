"""What is frozen, in every kind of network, through a real fit."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcvideo import create_model
from gcvideo.errors import UsageError
from gcvideo.training.class_weights import balanced_weights, weights_of
from gcvideo.training.freezing import FREEZE, depths_of, freeze, head_of
from gcvideo.training.optim import Optimization, parameter_groups
from gcvideo.training.task import VideoTask


def trainable(net):
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def test_what_each_setting_trains():
    names = {name for name, _ in create_model("slowonly_tiny", "gc_all", 3, ratio=1 / 8).named_parameters()}
    of_head = {name for name in names if name.startswith("blocks.5.")}
    of_blocks = {name for name in names if ".context." in name}
    of_norms = {name for name in names if "norm" in name} - of_blocks
    expected = {
        "nothing": names,
        "norms": names - of_norms,
        "all_but_blocks_and_head": of_head | of_blocks,
        "all_but_head": of_head,
    }
    assert set(expected) == set(FREEZE)
    for what, left in expected.items():
        net = create_model("slowonly_tiny", "gc_all", 3, ratio=1 / 8)
        norms = freeze(net, what)
        assert trainable(net) == left, what
        trunk_norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        assert norms == ([] if what == "nothing" else trunk_norms)


def test_norms_of_nl_blocks_are_theirs():
    net = create_model("slowonly_tiny", "nl", 3, at={"res4": "all"}, mode="dot_product")
    norms = freeze(net, "all_but_blocks_and_head")
    (block,) = (module for name, module in net.named_modules() if name.endswith(".context"))
    assert not {id(norm) for norm in norms} & {id(module) for module in block.modules()}


def test_a_network_of_ones_own():
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    freeze(net, "all_but_head")
    assert head_of(net) is net[-1]
    assert trainable(net) == {"4.weight", "4.bias"}


@pytest.mark.parametrize("what", FREEZE[1:])
def test_a_training_leaves_the_frozen_as_they_are(what):
    torch.manual_seed(0)
    task = VideoTask(["a", "b"], "slowonly_tiny", "gc_all", block={"ratio": 1 / 8}, freeze=what, lr=0.1)
    task._frozen_norms = freeze(task.net, what)
    task.train()
    before = {name: tensor.clone() for name, tensor in task.net.state_dict().items()}
    optimizer = task.optim.build(task.net, 0.1)
    frames = torch.randint(0, 256, (4, 1, 3, 4, 32, 32), dtype=torch.uint8)
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(task(frames).flatten(0, 1), torch.tensor([0, 1, 0, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changed = {name for name, tensor in task.net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= trainable(task.net), "neither parameters nor running statistics"
    assert any(name.startswith("blocks.5.") for name in changed)


def test_layer_decay_gives_each_stage_its_rate():
    net = create_model("slowonly_tiny", "gc_all", 3, ratio=1 / 8)
    factors = {}
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    for group in parameter_groups(net, 0.1, "kernels", 0.5, depths_of(net)):
        factors |= {names[id(parameter)]: group["lr_factor"] for parameter in group["params"]}
    assert set(factors) == set(names.values())
    for name, factor in factors.items():
        stage = int(name.split(".")[1])  # blocks.0 is the stem, blocks.5 the head
        assert factor == (1.0 if ".context." in name else 0.5 ** (5 - stage)), name


def test_balanced_weights_have_mean_1_over_the_videos():
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = weights_of(labels, 3)
    assert weights[:2].tolist() == pytest.approx([8 / 12, 2.0])
    assert weights[labels].mean() == pytest.approx(1.0)
    with pytest.raises(UsageError, match="fit with a VideoDataModule"):
        balanced_weights(object(), 3)


@pytest.mark.parametrize("settings,message", [
    ({"layer_decay": 0.0}, r"layer_decay must be in \(0, 1\], got 0.0"),
    ({"layer_decay": 1.5}, r"layer_decay must be in \(0, 1\], got 1.5"),
    ({"class_weights": "inverse"}, "class_weights must be one of"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimization(**settings)
    with pytest.raises(UsageError, match="model.freeze must be one of"):
        VideoTask(["a", "b"], "slowonly_tiny", freeze="everything")
