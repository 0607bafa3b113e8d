"""Parameter groups and optimizers: exact values and laws."""

import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.training.optim import OPTIMIZERS, Optimization, parameter_groups


def test_norms_and_biases_are_not_decayed():
    model = create_model("slowonly_tiny", "gc_all", num_classes=3)
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(parameter)] for parameter in decayed["params"]}
    plain_names = {names[id(parameter)] for parameter in plain["params"]}
    assert decayed_names | plain_names == set(names.values())
    assert not decayed_names & plain_names
    assert all(name.endswith(".weight") for name in decayed_names)
    assert "blocks.2.res_blocks.0.branch2.norm_c.context.channel_add_conv.1.weight" in plain_names
    assert "blocks.2.res_blocks.0.branch2.norm_c.context.conv_mask.weight" in decayed_names
    assert "blocks.0.norm.weight" in plain_names
    assert "blocks.5.proj.weight" in decayed_names


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(model, 0.1)] == [1, 1]


def test_optimizers():
    model = nn.Linear(2, 2)
    sgd = Optimization("sgd", momentum=0.9).build(model, 0.1)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["nesterov"]
    assert not Optimization("sgd", momentum=0.0).build(model, 0.1).defaults["nesterov"]
    adamw = Optimization("adamw", momentum=0.8).build(model, 0.1)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["betas"] == (0.8, 0.999)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_its_settings_and_steps(name):
    model = nn.Linear(2, 2)
    optimizer = Optimization(name, weight_decay=0.25).build(model, 0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    before = model.weight.clone()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"name": "lars"}, "optim.name must be one of .'sgd', 'adamw'., got 'lars'"),
        ({"lr_batch": 0}, "optim.lr_batch must be at least 1 or null, got 0"),
        ({"momentum": 1.0}, "optim.momentum must be in .0, 1., got 1.0"),
        ({"weight_decay": -1.0}, "optim.weight_decay must not be negative, got -1.0"),
        ({"label_smoothing": 1.5}, "optim.label_smoothing must be in .0, 1., got 1.5"),
    ),
)
def test_bad_optimization(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimization(**settings)


def test_linear_scaling():
    assert Optimization(lr_batch=64).peak_lr(0.1, 512) == pytest.approx(0.8)
    assert Optimization(lr_batch=None).peak_lr(0.1, 512) == 0.1
