"""Parameter groups and optimizers: exact values and laws."""

from typing import get_args

import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.training.optim import OPTIMIZERS, Decay, Optimization, parameter_groups

RULES = get_args(Decay)


def decayed_names(model, decay):
    """Names of the parameters that decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 0.1, decay)
    grouped = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(names.values()), "every parameter is in one group"
    assert {group["weight_decay"] for group in groups} <= {0.1, 0.0}
    return {names[id(parameter)] for group in groups if group["weight_decay"] for parameter in group["params"]}


def norm_names(model, *types):
    return {
        f"{prefix}.{name}"
        for prefix, module in model.named_modules()
        if isinstance(module, types)
        for name, _ in module.named_parameters(recurse=False)
    }


@pytest.fixture(scope="module")
def network():
    """With every kind of parameter: a GC block has convolutions with biases and a LayerNorm."""
    return create_model("slowonly_tiny", "gc_all", num_classes=3)


@pytest.mark.parametrize("decay", RULES)
def test_which_parameters_decay(network, decay):
    every = {name for name, _ in network.named_parameters()}
    norms = norm_names(network, nn.BatchNorm3d, nn.LayerNorm)
    biases = {name for name in every - norms if name.endswith(".bias")}
    gc = "blocks.2.res_blocks.0.branch2.norm_c.context"
    assert {f"{gc}.channel_add_conv.1.weight", "blocks.0.norm.weight", "blocks.0.norm.bias"} <= norms
    assert {f"{gc}.conv_mask.bias", "blocks.5.proj.bias"} <= biases
    expected = {"kernels": every - norms - biases, "biases": every - norms, "all": every}[decay]
    assert decayed_names(network, decay) == expected


def test_biases_is_the_rule_of_pyslowfast_but_for_layer_norms(network):
    """Its `construct_optimizer`: batch norms have a decay of their own (BN.WEIGHT_DECAY 0.0), all else decays."""
    theirs = {name for name, _ in network.named_parameters()}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            theirs -= {f"{prefix}.weight", f"{prefix}.bias"}
    assert theirs - decayed_names(network, "biases") == norm_names(network, nn.LayerNorm)
    without_blocks = create_model("slowonly_tiny", num_classes=3)
    assert len(decayed_names(without_blocks, "biases")) == len(list(without_blocks.parameters())) - len(
        norm_names(without_blocks, nn.BatchNorm3d)
    )


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(model, 0.1, "kernels")] == [1, 1, 0]


def test_the_state_of_a_run_fits_every_rule(network):
    """A run may resume with another `decay`: it is the settings of the resuming run that count."""
    states = [Optimization("sgd", decay=decay).build(network, 0.1).state_dict() for decay in RULES]
    assert len({str([group["params"] for group in state["param_groups"]]) for state in states}) == 1


@pytest.mark.parametrize("nesterov", (True, False))
def test_one_step_of_momentum(nesterov):
    """Two steps by hand: v = m v + g, w -= lr (g + m v) with Nesterov and lr v without."""
    weight, momentum, lr, gradients = 3.0, 0.9, 0.1, (2.0, -1.0)
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    optimizer = Optimization("sgd", momentum=momentum, nesterov=nesterov, weight_decay=0.0).build(model, lr)
    velocity = 0.0
    for gradient in gradients:
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        velocity = momentum * velocity + gradient
        weight -= lr * (gradient + momentum * velocity if nesterov else velocity)
    assert model.weight.item() == pytest.approx(weight)


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
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.0, 0.0]
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
        ({"name": "adamw", "nesterov": False}, "optim.nesterov false would have no effect with optim.name adamw"),
        ({"decay": "none"}, "optim.decay must be one of .'kernels', 'biases', 'all'., got 'none'"),
        ({"weight_decay": -1.0}, "optim.weight_decay must be a finite number of at least 0, got -1.0"),
        ({"weight_decay": float("nan")}, "optim.weight_decay must be a finite number of at least 0, got nan"),
        ({"momentum": float("nan")}, "optim.momentum must be in .0, 1., got nan"),
        ({"label_smoothing": 1.5}, "optim.label_smoothing must be in .0, 1., got 1.5"),
    ),
)
def test_bad_optimization(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimization(**settings)


def test_linear_scaling():
    assert Optimization(lr_batch=64).peak_lr(0.1, 512) == pytest.approx(0.8)
    assert Optimization(lr_batch=None).peak_lr(0.1, 512) == 0.1
