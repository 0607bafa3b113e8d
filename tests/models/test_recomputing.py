"""Residual blocks that compute their features twice: gradients and statistics of one pass, memory of less."""

import copy

import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.doctor.network import saved_for_gradients
from gcvideo.errors import UsageError
from gcvideo.models import recompute
from gcvideo.models.recomputing import _without_statistics


def make(network, blocks):
    torch.manual_seed(0)
    model = create_model(network, blocks, 5, dropout=0.5)
    for name, parameter in model.named_parameters():
        if "context" in name or name.endswith(("norm_c.weight", "bn3.weight")):
            nn.init.normal_(parameter, std=0.3)
    return model


def step(model, x):
    torch.manual_seed(1)  # of the dropout
    out = model(x)
    out.square().sum().backward()
    return out


@pytest.mark.parametrize(
    ("network", "blocks"), [("slowonly_thin", "gc_all"), ("slowonly_thin", "nl5"), ("resnet50", "se_all")]
)
def test_gradients_and_statistics_are_those_of_one_pass(network, blocks):
    x = torch.randn(2, 3, 1 if network == "resnet50" else 4, 64, 64)
    plain, saving = make(network, blocks), make(network, blocks)
    recompute(saving)
    assert list(saving.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(step(saving, x), step(plain, x), rtol=0, atol=0)
    for (name, ours), expected in zip(saving.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad, rtol=0, atol=0, msg=name)
    for (name, ours), expected in zip(saving.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, expected), name


@pytest.mark.parametrize("training", (True, False))
def test_less_is_kept(training):
    """In evaluation mode, too: gradients are what costs the memory, as of a network whose norms are frozen."""
    x = torch.randn(1, 3, 8, 64, 64)
    sizes = []
    for change in (lambda model: None, recompute):
        model = make("slowonly_thin", "gc_all").train(training)
        change(model)
        with saved_for_gradients(model) as saved:
            out = model(x)
        assert out.requires_grad
        sizes.append(sum(saved.values()))
    assert sizes[1] < sizes[0] / 3


def test_a_copy_computes_with_its_own_parameters():
    model, x = make("slowonly_thin", "gc_all"), torch.randn(2, 3, 4, 64, 64)
    recompute(model)
    twin = copy.deepcopy(model)
    expected = step(model, x)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(step(twin, x), expected, rtol=0, atol=0)


def test_evaluation_is_plain():
    model, x = make("slowonly_thin", "gc_all").eval(), torch.randn(1, 3, 4, 64, 64)
    expected = model(x)
    recompute(model)
    assert torch.equal(model(x), expected)


def test_synchronised_norms():
    """They need a count of batches."""
    norm = nn.SyncBatchNorm(4)
    block = nn.Sequential(norm)
    with _without_statistics(block):
        norm(torch.randn(2, 4, 3))
    assert norm.num_batches_tracked.item() == 0
    assert torch.equal(norm.running_mean, torch.zeros(4))


def test_networks_without_residual_blocks():
    with pytest.raises(UsageError, match="recompute needs a network with residual blocks of create_model, got Linear"):
        recompute(nn.Linear(2, 2))
