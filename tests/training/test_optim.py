"""Parameter groups and schedules: exact values and laws."""

import math

import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.training.optim import build_optimizer, lr_factor, parameter_groups, scaled_lr


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
    sgd = build_optimizer("sgd", model, 0.1, 1e-4, 0.9)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["nesterov"]
    assert not build_optimizer("sgd", model, 0.1, 1e-4, 0.0).defaults["nesterov"]
    adamw = build_optimizer("adamw", model, 0.1, 1e-4, 0.8)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["betas"] == (0.8, 0.999)
    with pytest.raises(ValueError, match="optimizer must be 'sgd' or 'adamw', got 'lars'"):
        build_optimizer("lars", model, 0.1, 0, 0.9)


def test_linear_scaling():
    assert scaled_lr(0.1, 512, 64) == pytest.approx(0.8)
    assert scaled_lr(0.1, 512, None) == 0.1


def test_cosine_with_warmup():
    factors = [lr_factor(step, 100, "cosine", warmup_steps=10, warmup_start=0.01) for step in range(101)]
    assert factors[0] == 0.01
    assert factors[10] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)))
    assert factors[5] == pytest.approx((factors[0] + factors[10]) / 2)
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert all(a < b for a, b in zip(factors[:10], factors[1:11]))
    assert all(a > b for a, b in zip(factors[10:], factors[11:]))


def test_cosine_is_that_of_pyslowfast():
    """`lr_func_cosine`: COSINE_END_LR + (BASE - END) * (cos(pi * epoch / MAX_EPOCH) + 1) * 0.5, END = 0."""
    for step in (0, 7, 33, 99):
        assert lr_factor(step, 100) == pytest.approx((math.cos(math.pi * step / 100) + 1) * 0.5)


def test_multistep():
    factors = [lr_factor(step, 40, "multistep", milestones=(10, 30), gamma=0.1) for step in (0, 9, 10, 29, 30, 39)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_unknown_schedule():
    with pytest.raises(ValueError, match="schedule must be 'cosine' or 'multistep', got 'poly'"):
        lr_factor(0, 10, "poly")
